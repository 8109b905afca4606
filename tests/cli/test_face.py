"""
What leaves by the edges, and what is obeyed there: conditions, files for others, webhooks, names, usage, signals.
"""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from ruamel.yaml import YAML
from support.clinic import Clinic

from arrowetl.cli import progress, render_run
from arrowetl.cli.screen import Screen
from arrowetl.config import env, files
from arrowetl.errors import ConfigurationError, DataError, UsageError
from arrowetl.export import where_clause
from arrowetl.export.dbt_sources import _quote
from arrowetl.model.connection import reserved_name
from arrowetl.model.events import TableEnded, TableRetried, TableStarted
from arrowetl.model.plan import Mode
from arrowetl.model.result import Failure, Outcome, Status
from arrowetl.monitoring import webhook
from arrowetl.pages.printable import printable, printable_document, printable_name

COLUMNS = {"Name": "Name", "Age": "Age"}


@pytest.mark.parametrize(
    ("said", "mysql"),
    [
        ("Name NOT LIKE 'A%'", "`Name` NOT LIKE 'A%'"),
        ("NOT Name LIKE 'A%'", "NOT `Name` LIKE 'A%'"),
        ("Age NOT BETWEEN 1 AND 5", "NOT `Age` BETWEEN 1 AND 5"),
        ("Age NOT IN (1, 2)", "NOT `Age` IN (1, 2)"),
        ("Age IS NOT NULL", "NOT `Age` IS NULL"),
    ],
)
def test_a_negated_condition_is_kept(said: str, mysql: str) -> None:
    """The NOT is in what is sent, wherever it was."""
    sent = where_clause.in_mysql(where_clause.read(said), COLUMNS)

    assert "NOT" in sent
    assert "".join(sent.replace("(", "").replace(")", "").split()) == "".join(
        mysql.replace("(", "").replace(")", "").split()
    )


@pytest.mark.parametrize(
    "said",
    [
        "Age BETWEEN SYMMETRIC 5 AND 1", "Name LIKE 'A%' ESCAPE 'x'", "Name ILIKE 'a%'", "Name RLIKE 'a'",
        "Age IN (SELECT 1)", "Name = ANY (Age)", "Age <=> 1", "Name COLLATE utf8mb4_bin = 'a'",
        "CAST(Age AS CHAR) = '1'",
    ],
)  # fmt: skip
def test_a_condition_that_cannot_be_expressed_is_refused(said: str) -> None:
    """Is refused whole, rather than sent as another one."""
    with pytest.raises(UsageError):
        where_clause.in_mysql(where_clause.read(said), COLUMNS)


@pytest.mark.parametrize(
    "name", ["no", "off", "y", "12:30", "1e3", "null", "~", "2026-01-02", "0x1f", "- a", "a: b", "=x"]
)
def test_ambiguous_yaml_names_are_quoted(name: str) -> None:
    """Is quoted in dbt's file, and read by either edition of the language as the text that it is."""
    said = io.StringIO()
    YAML().dump(_quote({"name": name, "tests": [name]}), said)

    assert yaml.safe_load(said.getvalue()) == {"name": name, "tests": [name]}


def test_a_webhook_redirect_is_a_reported_failure() -> None:
    """A redirect is a failure that is reported, and nobody else is asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(f"POST {self.path}")
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(301)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def do_GET(self) -> None:
            asked.append(f"GET {self.path}")
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        wrong = webhook.post(f"http://127.0.0.1:{server.server_address[1]}/here", {"alerts": []})
        server.shutdown()

    assert wrong is not None
    assert asked == ["POST /here"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain é 表", "plain é 表"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\r", "a\\r"),
        ("\u202etxt", "\\u202etxt"),
        ("\x9b", "\\x9b"),
        ("\u2028", "\\u2028"),
    ],
)
def test_control_characters_in_names_are_escaped(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert printable_document({name: [name, (name,), 5]}) == {shown: [shown, (shown,), 5]}
    assert printable_name(f"{name}\nx") == f"{shown}\\nx"


@pytest.mark.parametrize(
    ("server", "place", "is_ours"),
    [
        ("warehouse", "raw", True), ("warehouse", "pg_catalog", False), ("warehouse", "PG_toast", False),
        ("warehouse", "information_schema", False), ("replica", "mysql", False), ("replica", "SYS", False),
        ("replica", "opendental", True), ("source", "mysql", True),
    ],
)  # fmt: skip
def test_reserved_schemas_and_databases_are_refused(server: str, place: str, is_ours: bool) -> None:
    assert (reserved_name(server, place) == "") == is_ours


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("OPENDENTAL_SOURCE_SSLMODE", "OPENDENTAL_SOURCE_SSL_MODE"),
        ("POSTGRES_ANALYTICS_SSL_MOD", "POSTGRES_ANALYTICS_SSL_MODE"),
        ("ARROWETL_MASK_KEYS", "ARROWETL_MASK_KEY"),
        ("ARROWETL_WEBHOOK", "ARROWETL_WEBHOOK_URL"),
    ],
)
def test_a_misspelt_variable_is_refused(name: str, meant: str) -> None:
    (problem,) = env.unknown_variables({name: "x", "PATH": "/bin", "ARROWETL_TEST_ROUNDS": "1"})

    assert name in problem and f"did you mean {meant}?" in problem


@pytest.mark.parametrize("arguments", [["run", "--nonsense", "--json"], ["snapshot", "--json"], ["nonsense", "--json"]])
def test_usage_errors_are_json_with_json(arguments: list[str], tmp_path: Path) -> None:
    """To a program that asked for one."""
    done = subprocess.run(
        [sys.executable, "-m", "arrowetl", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "ETL_ENVIRONMENT": "test"},
    )

    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["message"]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["SIGHUP", "SIGTERM", "SIGINT"])
def test_termination_signals_stop_a_run_with_130_and_remove_spills(clinic: Clinic, tmp_path: Path, name: str) -> None:
    """A terminal that closes is a TERM: it exits with 130, and leaves no patient's rows on the disk."""
    clinic.tables_file.write_text("settings: {pause_milliseconds: 300}\ntables: {t: {batch_size: 2000}}\n")
    clinic.create(
        "CREATE TABLE t (Num int PRIMARY KEY, Note varchar(200)) ENGINE=MyISAM;\n"
        "INSERT INTO t SELECT seq, REPEAT('x', 150) FROM seq_1_to_60000"
    )
    process = clinic.start("run", "--all", "--executor", "process")
    clinic.wait_for_the_middle(process)
    process.send_signal(getattr(signal, name))
    process.communicate(timeout=60)
    deadline = time.monotonic() + 5
    while (left := list((clinic.directory / "spills").rglob("*"))) and time.monotonic() < deadline:
        time.sleep(0.1)

    assert (process.returncode, left) == (130, [])


# --- what cannot be read, and what cannot be written ----------------------------------------------


def test_an_env_file_that_is_no_text_is_refused_with_its_place(clinic: Clinic) -> None:
    """Reported with its place, and what to do."""
    (clinic.directory / ".env_test").write_bytes(b"TEST_OPENDENTAL_SOURCE_HOST=caf\xe9\n")
    done = clinic.arrowetl("status")

    assert done.returncode == 3
    assert ".env_test: cannot be read: it is no UTF-8" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_tables_yml_that_is_no_text_is_refused(clinic: Clinic) -> None:
    clinic.tables_file.write_bytes(b"tables: {caf\xe9: {}}\n")
    done = clinic.arrowetl("run", "--all")

    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "tables.yml" in done.stderr


@pytest.mark.parametrize("arguments", [["types"], ["--help"], ["types", "--json"]])
def test_a_full_disk_behind_stdout_exits_74(arguments: list[str], tmp_path: Path) -> None:
    """A full disk behind stdout: that is reported, and exit code 74 says it to a program."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "arrowetl", *arguments], stdout=full, stderr=subprocess.PIPE, text=True,
            cwd=tmp_path, check=False,
        )  # fmt: skip

    assert done.returncode == 74
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr


@pytest.mark.parametrize("where", ["| true", ">&-"])
def test_a_result_that_nobody_can_read_exits_74(where: str, tmp_path: Path) -> None:
    """A pipe that was closed, or no stdout at all: 0 would say that it was written, and 1 that a table failed."""
    command = f'"{sys.executable}" -m arrowetl types --json {where}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, check=False)

    assert (done.returncode, "Traceback" in done.stderr) == (74, False)


def test_usage_errors_are_in_the_logs_format(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "arrowetl", "run", "--bogus", "--log-format", "json"], capture_output=True, text=True,
        cwd=tmp_path, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert (json.loads(line)["event"], json.loads(line)["code"]) == ("failed", "usage")


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-"])
def test_a_closed_stderr_is_no_traceback(closed: str, tmp_path: Path) -> None:
    """The exit code still says what it was."""
    command = f'"{sys.executable}" -m arrowetl run --all {closed}'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=tmp_path, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")


def test_a_ctrl_c_while_libraries_are_imported_ends_silently(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")
    done = subprocess.run(
        [sys.executable, "-m", "arrowetl", "run", "--all"], capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("attribute", ["write_text", "replace"])
def test_nothing_half_written_is_left_of_a_file(
    attribute: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: what was there still is, and nothing next to it."""
    place = tmp_path / "report.html"
    place.write_text("of yesterday")
    really = getattr(Path, attribute)

    def fails(path: Path, *arguments: Any, **more: Any) -> None:
        really(path, *arguments, **more) if attribute == "write_text" else None
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, attribute, fails)
    with pytest.raises(ConfigurationError, match=r"report.html: cannot be written: No space left on device"):
        files.write_where_asked(place, "of today")

    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("report.html", "of yesterday")]


FORGED = "x\nall equal: 381 of 381 tables"


def test_no_name_is_markup() -> None:
    """What rich would take for a colour is a name's own."""
    said = io.StringIO()
    table = render_run.grid("table")
    table.add_row("br[ack] [bold]red")
    Screen(file=said, width=80).print(table)

    assert "br[ack] [bold]red" in said.getvalue()


def test_no_name_makes_a_line_of_its_own() -> None:
    """Neither in a log, where an event is a line, nor in what is shown of a run."""
    failure = Failure("DataError", f"{FORGED}: it failed", "see\nthere")
    outcome = Outcome(table=FORGED, category="", mode=Mode.FULL, reason="", status=Status.FAILED, failure=failure)
    log, shown = io.StringIO(), io.StringIO()
    lines = progress.Lines(Screen(file=log, width=200), verbose=True)
    for event in (TableStarted(FORGED, 1), TableRetried(FORGED, 1, 1.0, f"{FORGED}: lost"), TableEnded(outcome)):
        lines(event)
    Screen(file=shown, width=200).print(render_run.error(DataError(failure.message, failure.remedy)))

    assert len(log.getvalue().splitlines()) == 2
    for text in (log.getvalue(), shown.getvalue()):
        assert not any(line.startswith("all equal") for line in text.splitlines())


def test_a_url_as_host_is_refused_without_being_shown(clinic: Clinic) -> None:
    """It may have a password in it, and is shown to nobody."""
    done = clinic.arrowetl("status", TEST_POSTGRES_ANALYTICS_HOST="postgresql://etl:s3cret@db.example/raw")

    assert done.returncode == 3
    assert "POSTGRES_ANALYTICS_HOST: must be a host's name or its address" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr
