"""
What somebody who has just installed arrowetl runs into: each is said, at once, in words, and by the right exit code.
"""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner, Result
from rich.console import Console

import arrowetl
from arrowetl.cli import main, progress
from arrowetl.model.events import Step, StepBegan, TableRetried
from arrowetl.monitoring.webhook import document

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "ARROWETL_SOURCE_URL": "mysql://reader:pw@127.0.0.1:1/od",
    "ARROWETL_WAREHOUSE_URL": "postgresql://etl:pw@127.0.0.1:1/dw",
}
Typed = Callable[..., Result]


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """A command as it is typed in a directory whose `conf/` names two servers that are down."""
    monkeypatch.chdir(tmp_path)
    for name in [one for one in os.environ if one.startswith(("ARROWETL_", "ETL_", "TEST_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ETL_ENVIRONMENT", "production")
    Path("conf").mkdir()
    written({})
    Path("conf/tables.yml").write_text("tables:\n  patient: {}\n")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main.commands, list(arguments), prog_name="arrowetl")

    return run


def written(more: dict[str, str], mode: int = 0o600) -> None:
    """`conf/.env_production`, with more than the servers."""
    path = Path("conf/.env_production")
    path.write_text("".join(f"{name}={value}\n" for name, value in {**SETTINGS, **more}.items()))
    path.chmod(mode)


@pytest.mark.parametrize("arguments", [["demo"], ["sandbox", "up"], ["sandbox", "seed"]])
def test_what_needs_the_extra_says_so(arguments: list[str], tmp_path: Path) -> None:
    """The demo's data are made by numpy, which comes with the extra."""
    program = "import sys; sys.modules['numpy'] = None; from arrowetl.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "ETL_ENVIRONMENT": "test"}, check=False,
    )  # fmt: skip

    assert (done.returncode, "Traceback" in done.stderr) == (3, False)
    assert "pip install 'arrowetl[sandbox]'" in done.stderr


def test_validate_shows_what_holds_and_where_it_is_from(typed: Typed) -> None:
    """After the verdict, and only where one wants it; secrets are named, and not shown."""
    written({"ARROWETL_RETRIES": "9", "ARROWETL_WEBHOOK_URL": "https://example.org/hook"})
    short, long = typed("validate", "--offline"), typed("validate", "--offline", "-v")

    assert short.output == "no problem found\n"
    lines = long.output.splitlines()
    assert lines[0] == "no problem found"
    for line in (
        "ARROWETL_RETRIES = 9 (conf/.env_production)",
        "ARROWETL_RETRY_SECONDS = 1 (default)",
        "ARROWETL_WEBHOOK_URL = set (conf/.env_production)",
        "source.host = 127.0.0.1 (ARROWETL_SOURCE_URL in conf/.env_production)",
        "settings.source_connections = none (default)",
    ):
        assert line in lines
    assert "pw" not in long.output
    assert "hook" not in long.output


def test_an_env_file_that_others_can_read_is_noted(typed: Typed) -> None:
    written({}, mode=0o644)

    assert "chmod 600 conf/.env_production" in typed("validate", "--offline").output


@pytest.mark.parametrize("text", ["", "tables: {}\n", "tables:\n"])
def test_a_tables_yml_without_tables_is_noted(typed: Typed, text: str) -> None:
    Path("conf/tables.yml").write_text(text)

    assert "conf/tables.yml names no table: all of the source are loaded" in typed("validate", "--offline").output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "which tables are meant?"),
        (["run", "--all", "--max-workers", "0"], "--max-workers must be 1 … 64"),
        (["run", "--all", "--category", "tiny"], "which tables are meant?"),
        (["verify"], "choose tables"),
        (["run", "--category", "tiny", "--category", "smal"], "no category 'smal'"),
        (["report", "--open", "--output", "-"], "--open cannot be combined with --output -"),
        (["status", "--watch", "--json"], "--watch cannot be combined with --json"),
    ],
)
def test_a_request_is_refused_before_anything_is_asked(
    typed: Typed, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    """Without an environment, settings or a server."""
    monkeypatch.delenv("ETL_ENVIRONMENT")
    Path("conf/.env_production").unlink()
    done = typed(*arguments)

    assert done.exit_code == 2
    assert words in done.output


def test_a_file_that_was_asked_for_and_is_missing_is_named(typed: Typed) -> None:
    """Rather than all the settings that it might have had next to it."""
    done = typed("--config", "nope/tables.yml", "status")

    assert done.exit_code == 3
    assert "nope/tables.yml: no such file, and no directory nope" in done.output
    assert "is missing" not in done.output


def test_without_settings_one_is_shown_the_way(typed: Typed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = typed("run", "--all")

    assert done.exit_code == 3
    assert "there is no conf/ here: `arrowetl init` asks for the servers" in done.output


@pytest.mark.parametrize("command", [["run", "--all"], ["validate", "--offline"], ["config", "show"]])
def test_an_arrowetl_yml_that_is_no_yaml_is_reported(typed: Typed, command: list[str]) -> None:
    """Whoever reads it: it may have the servers' addresses."""
    Path("conf/arrowetl.yml").write_text("connections: {source: [\n")
    done = typed(*command)

    assert done.exit_code == 3
    assert "conf/arrowetl.yml, line 2: invalid YAML" in done.output


def test_what_is_wrong_with_both_files_is_said_at_once(typed: Typed) -> None:
    Path("conf/tables.yml").unlink()
    Path("conf/arrowetl.yml").write_text("tabels: {}\n")
    done = typed("validate", "--offline")

    assert "conf/tables.yml: no such file" in done.output
    assert "line 1: tabels: unknown key" in done.output


def test_config_show_has_each_value_with_its_origin(typed: Typed) -> None:
    """As YAML has it; a table that neither file has is refused."""
    Path("conf/tables.yml").write_text(
        "tables:\n  patient: {monitoring: {alert_on_failure: true}, incremental_columns: [A]}\n"
    )
    Path("conf/arrowetl.yml").write_text("tables: {patient: {monitoring: {alert_on_slow_extraction: false}}}\n")
    done, unknown = typed("config", "show", "patient"), typed("config", "show", "patnt")

    assert "patient.monitoring.alert_on_failure = true (tables.yml)" in done.output.splitlines()
    assert "patient.monitoring.alert_on_slow_extraction = false (arrowetl.yml: tables)" in done.output.splitlines()
    assert "patient.incremental_columns = [A] (tables.yml)" in done.output.splitlines()
    assert (unknown.exit_code, "did you mean patient?" in unknown.output) == (2, True)


def test_a_page_says_that_a_run_did_not_begin(typed: Typed) -> None:
    """The one of yesterday would be taken for today's."""
    Path("run.html").write_text("of yesterday")
    done = typed("run", "--all", "--report", "run.html")
    page = Path("run.html").read_text()

    assert done.exit_code == 4
    assert "Did not run" in page
    assert "cannot connect" in page
    assert "of yesterday" not in page


def test_a_failures_document_says_whose_it_is(typed: Typed) -> None:
    done = typed("run", "--all", "--json")
    document = json.loads(done.stdout)

    assert (document["command"], document["environment"], document["exit_code"]) == ("run", "production", 4)
    assert document["servers"]["source"]["database"] == "od"
    usage = json.loads(typed("--config", "conf/tables.yml", "fleet", "run", "--json", "--bogus").stdout)
    assert (usage["command"], usage["exit_code"]) == ("fleet run", 2)


def test_phi_is_suggested_as_yaml_alone(typed: Typed) -> None:
    assert typed("analyze", "--suggest-phi", "--json").exit_code == 2


def test_a_socket_needs_no_password(typed: Typed) -> None:
    written({"ARROWETL_WAREHOUSE_URL": "postgresql://etl@/dw?host=/run/postgresql"})

    assert "PASSWORD" not in typed("validate", "--offline").output


def test_each_remedy_names_its_server(typed: Typed) -> None:
    done = typed("run", "--all")

    assert done.exit_code == 4
    remedies = [line.strip() for line in done.output.splitlines() if "check that" in line]
    assert [line.partition(":")[0] for line in remedies] == ["source", "warehouse"]


def test_a_stream_of_ascii_is_written_to(typed: Typed, tmp_path: Path) -> None:
    """What it cannot show becomes something that it can."""
    done = subprocess.run(
        [sys.executable, "-m", "arrowetl", "test-connections"], capture_output=True, cwd=tmp_path, check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip

    assert done.returncode == 4
    assert b"Traceback" not in done.stderr
    assert (done.stdout + done.stderr).isascii()


def offered(command: str) -> set[str]:
    """The options that its help shows."""
    options = (one for one in main.commands.commands[command].params if isinstance(one, click.Option))
    return {name for option in options if not option.hidden for name in option.opts}


@pytest.mark.parametrize("command", ["demo", "types"])
def test_options_are_offered_where_they_act(command: str) -> None:
    assert offered(command).isdisjoint({"--config", "--env-file", "--clinic"})


@pytest.mark.parametrize("command", ["run", "verify", "status", "snapshot", "bench", "report", "analyze", "validate"])
def test_a_clinic_may_be_of_any_fleet(command: str) -> None:
    assert {"--clinic", "--fleet"} <= offered(command)


@pytest.mark.parametrize(("verbose", "begun"), [(True, 1), (False, 0)])
def test_verbose_prints_steps_above_the_bars(verbose: bool, begun: int) -> None:
    """On a terminal; retries are printed without it as well."""
    said = io.StringIO()
    bars = progress.Bars(Console(file=said, width=150, force_terminal=True, color_system=None), verbose)
    bars(StepBegan(Step.LOAD))
    bars(TableRetried("payment", 1, 1.0, "payment: connection lost"))
    bars.close()

    assert said.getvalue().count(Step.LOAD.words) == begun
    assert "payment: connection lost" in said.getvalue()


def test_paths_may_be_texts(tmp_path: Path) -> None:
    (tmp_path / "tables.yml").write_text("tables: {}\n")
    settings = {**SETTINGS, "ETL_ENVIRONMENT": "production"}
    with arrowetl.open(settings, tables_file=str(tmp_path / "tables.yml")) as etl:
        assert etl.settings.tables_file == tmp_path / "tables.yml"


def test_a_star_import_hides_no_name_of_pythons() -> None:
    names: dict[str, object] = {}
    exec("from arrowetl import *", names)

    assert {"Etl", "ArrowetlError"} <= names.keys()
    assert names.keys().isdisjoint({"open", "EnvironmentError"})
    assert callable(arrowetl.open)


def test_the_package_is_typed_and_described() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert (ROOT / "arrowetl" / "py.typed").exists()
    assert project["optional-dependencies"].keys() == {"report", "sandbox", "dask", "all"}
    assert not [one for one in project["dependencies"] if one.startswith(("vl-convert", "numpy", "distributed"))]
    for minor in ("3.11", "3.12", "3.13", "3.14"):
        assert f"Programming Language :: Python :: {minor}" in project["classifiers"]


def test_a_webhooks_document_has_a_text_for_chats() -> None:
    alerts = [{"table": "patient", "kind": "failed", "message": "patient: no room", "remedy": None}]

    assert "patient: no room" in document("production", "", "run", 1, alerts)["text"]


def test_the_unit_of_a_failed_run_is_a_failed_unit() -> None:
    unit = (ROOT / "examples/systemd/arrowetl.service").read_text()

    assert "SuccessExitStatus" not in unit
    assert "OnFailure=arrowetl-alert@%n.service" in unit


def test_cron_lines_name_the_program_or_its_path() -> None:
    """cron's own PATH has no virtual environment."""
    for page in ("README.md", "docs/how-to/schedule.md", "docs/tutorial/first-load.md"):
        text = (ROOT / page).read_text()
        for line in (one.strip() for one in text.splitlines() if one.strip().startswith("0 ")):
            assert "PATH=/srv/etl/.venv/bin" in text or ".venv/bin/arrowetl" in line


def test_the_dag_imports_arrowetl_in_its_tasks_alone() -> None:
    """Airflow reads the file every few seconds. Its variables are those that the command line knows."""
    text = (ROOT / "examples/airflow/arrowetl_nightly.py").read_text()
    at_the_top = {ast.unparse(node) for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)}

    assert not [one for one in at_the_top if "arrowetl" in one]
    for name in ("ARROWETL_TABLES_FILE", "ARROWETL_RETRY_DELAY"):
        assert name not in text


def test_the_replicas_privileges_are_said_once() -> None:
    """In statements; `cli/test_security.py` has a run of an account that has these and no others."""
    settings = (ROOT / "docs/reference/settings.md").read_text()

    assert "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX" in settings
    assert "all privileges" not in (ROOT / "README.md").read_text().lower()


def test_the_sandboxs_choices_are_short() -> None:
    """What a person must read of conf/ fits on a screen."""
    text = (ROOT / "conf/arrowetl.yml").read_text()

    assert len(text.splitlines()) <= 15
    assert isinstance(yaml.safe_load(text), dict)
