"""
From nothing to a first run: `arrowetl init` asks, tries, writes, and says what is next.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from support import launcher
from support.clinic import Clinic

from arrowetl.config import first_files
from arrowetl.config.connections import without_password
from arrowetl.config.env import read_variables


def urls(clinic: Clinic) -> dict[str, str]:
    found = {}
    for server in ("source", "replica", "warehouse"):
        one = getattr(clinic.sandbox, server)
        scheme = "postgresql" if server == "warehouse" else "mysql"
        found[server] = f"{scheme}://{one.user}:{quote(one.password, safe='')}@{one.host}:{one.port}/{one.database}"
    return found


def arrowetl(where: Path, *arguments: str, answers: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("TEST_", "ETL_", "ARROWETL_"))}
    if answers:
        return subprocess.run(
            [sys.executable, "-m", "arrowetl", *arguments], cwd=where, env={**outside, **more}, input=answers,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    process = launcher.start("arrowetl", arguments, {**outside, **more}, where)
    stdout, stderr = process.communicate(timeout=120)
    return subprocess.CompletedProcess(arguments, process.returncode or 0, stdout, stderr)


@pytest.fixture
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with nothing in it."""
    return tmp_path_factory.mktemp("new")


@pytest.fixture
def practice(clinic: Clinic) -> Clinic:
    clinic.create(
        "CREATE TABLE patient (Num int PRIMARY KEY, Name varchar(20));\nINSERT INTO patient VALUES (1, 'a'), (2, 'b')"
    )
    return clinic


def test_a_new_user_gets_from_nothing_to_verified_data(practice: Clinic, elsewhere: Path) -> None:
    """By six commands; the files are private, and nothing of them shows a password."""
    there = urls(practice)
    done = arrowetl(
        elsewhere, "init", "--no-input", "--source", there["source"], "--replica", there["replica"],
        "--warehouse", there["warehouse"],
    )  # fmt: skip
    conf = elsewhere / "conf"

    assert done.returncode == 0, done.stderr
    assert "export ETL_ENVIRONMENT=production" in done.stdout
    assert practice.sandbox.source.password not in done.stdout + done.stderr
    assert stat.S_IMODE((conf / ".env_production").stat().st_mode) == 0o600
    assert ".env*" in (conf / ".gitignore").read_text().splitlines()
    assert len((conf / "arrowetl.yml").read_text().splitlines()) <= 15
    chosen = {"ETL_ENVIRONMENT": "production", "ARROWETL_SPILL_DIR": str(elsewhere)}
    for command in (
        ["validate"],
        ["run", "--all"],
        ["verify", "--all"],
        ["status", "--check"],
        ["report"],
        ["analyze"],
    ):
        done = arrowetl(elsewhere, *command, **chosen)
        assert (command, done.returncode) == (command, 0), done.stdout + done.stderr
    assert practice.warehouse("SELECT count(*) FROM raw.patient") == [(2,)]


def test_what_is_not_an_option_is_asked(practice: Clinic, elsewhere: Path) -> None:
    """URL and password of each server; no replica where its answer is empty, and then nothing needs one."""
    there = {server: without_password(url) for server, url in urls(practice).items()}
    answers = "\n".join([*there["source"], "", *there["warehouse"], ""])
    done = arrowetl(elsewhere, "init", answers=answers)
    known = read_variables(elsewhere / "conf" / ".env_production")
    chosen = {"ETL_ENVIRONMENT": "production"}

    assert done.returncode == 0, done.stdout + done.stderr
    assert known["ARROWETL_SOURCE_PASSWORD"] == practice.sandbox.source.password
    assert not any(name.startswith("ARROWETL_REPLICA") for name in known)
    for command in (
        ["test-connections"],
        ["validate"],
        ["run", "--all"],
        ["verify", "--all"],
        ["verify", "--all", "--deep"],
    ):
        done = arrowetl(elsewhere, *command, **chosen)
        assert (command, done.returncode) == (command, 0), done.stdout + done.stderr
    assert "2 rows" in done.stdout and "source and warehouse" in done.stdout
    assert practice.published()["replica"] == set()
    practice.warehouse_execute('UPDATE raw.patient SET "Name" = \'c\' WHERE "Num" = 2')
    differs = arrowetl(elsewhere, "verify", "--all", **chosen)
    assert (differs.returncode, "patient: 1 row differs" in differs.stdout) == (5, True)
    assert arrowetl(elsewhere, "verify", "--all", "--repair", **chosen).returncode == 0
    assert arrowetl(elsewhere, "verify", "--all", "--changed", **chosen).returncode == 0
    assert practice.warehouse('SELECT "Name" FROM raw.patient ORDER BY 1') == [("a",), ("b",)]


def test_nothing_is_written_where_a_server_refuses(practice: Clinic, elsewhere: Path) -> None:
    """What is missing is said as an administrator would grant it; --force writes all the same, and replaces."""
    there = urls(practice)
    wrong = there["replica"].replace("test_opendental_replication", "nowhere")
    asked = ("init", "--no-input", "--source", there["source"], "--replica", wrong, "--warehouse", there["warehouse"])
    refused = arrowetl(elsewhere, *asked)

    assert (refused.returncode, list(elsewhere.iterdir())) == (4, [])
    assert "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX ON `nowhere`.*" in refused.stdout
    assert arrowetl(elsewhere, *asked, "--force").returncode == 0
    again = arrowetl(elsewhere, *asked)
    assert (again.returncode, "is there already" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    "arguments", [[], ["--source", "mysql://u@h/d"], ["--source", "postgres://u:s3cret@h/d", "--warehouse", "x"]]
)
def test_without_input_what_is_missing_is_a_usage_error(arguments: list[str], tmp_path: Path) -> None:
    done = arrowetl(tmp_path, "init", "--no-input", *arguments)

    assert done.returncode in (2, 3)
    assert "s3cret" not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_settings_that_are_replaced_are_not_read(practice: Clinic, elsewhere: Path) -> None:
    """An old file of other names would differ from what is given; the key of its masks is kept."""
    there = urls(practice)
    (elsewhere / "conf").mkdir()
    old = elsewhere / "conf" / ".env_production"
    old.write_text("OPENDENTAL_SOURCE_HOST=nowhere\nARROWETL_MASK_KEY=the-key-of-all-the-masks\n")
    asked = ("init", "--no-input", "--source", there["source"], "--warehouse", there["warehouse"])
    done = arrowetl(elsewhere, *asked, "--force")

    assert done.returncode == 0, done.stderr
    assert "nowhere" not in old.read_text()
    assert read_variables(old)["ARROWETL_MASK_KEY"] == "the-key-of-all-the-masks"


def test_an_exported_production_server_is_not_written_for_test(practice: Clinic, elsewhere: Path) -> None:
    """In `test` only names that begin with TEST_ count."""
    there = urls(practice)
    production = {"ARROWETL_SOURCE_URL": there["source"], "ARROWETL_WAREHOUSE_URL": there["warehouse"]}
    refused = arrowetl(elsewhere, "init", "--no-input", "--environment", "test", **production)
    done = arrowetl(
        elsewhere, "init", "--no-input", "--environment", "test",
        **{f"TEST_{name}": url for name, url in production.items()},
    )  # fmt: skip

    assert (refused.returncode, "no source was named" in refused.stderr) == (2, True)
    assert done.returncode == 0, done.stderr
    assert (elsewhere / "conf" / ".env_test").exists()


def test_too_few_answers_are_a_usage_error(practice: Clinic, elsewhere: Path) -> None:
    done = arrowetl(elsewhere, "init", answers="mysql://reader@127.0.0.1/nothing\n")

    assert done.returncode == 2
    assert "standard input ended" in done.stderr
    assert "--no-input" in done.stderr
    assert "GetPassWarning" not in done.stderr


def test_a_clinic_needs_no_replica_and_may_have_urls(practice: Clinic, elsewhere: Path) -> None:
    """fleet.yml's schema holds over that of a URL."""
    there = urls(practice)
    (elsewhere / "conf").mkdir()
    (elsewhere / "conf" / "fleet.yml").write_text("clinics: {north: {prefix: NORTH_, schema: raw_of_north}}\n")
    chosen = {
        "ETL_ENVIRONMENT": "production", "ARROWETL_SPILL_DIR": str(elsewhere),
        "NORTH_ARROWETL_SOURCE_URL": there["source"],
        "NORTH_ARROWETL_WAREHOUSE_URL": there["warehouse"] + "?schema=raw",
    }  # fmt: skip
    practice.undo.append(lambda: practice.warehouse_execute("DROP SCHEMA IF EXISTS raw_of_north CASCADE"))
    assert arrowetl(elsewhere, "analyze", "--clinic", "north", **chosen).returncode == 0
    for command in (
        ["fleet", "validate"],
        ["fleet", "plan"],
        ["fleet", "run"],
        ["verify", "--all", "--clinic", "north"],
        ["run", "--all", "--clinic", "north"],
        ["validate", "--clinic", "north"],
    ):
        done = arrowetl(elsewhere, *command, **chosen)
        assert (command, done.returncode) == (command, 0), done.stdout + done.stderr
    assert practice.warehouse("SELECT count(*) FROM raw_of_north.patient") == [(2,)]


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (
            "tables: {patien: {columns: {Name: {exclude: true}}}}",
            "tables.patien: no such table (did you mean patient?)",
        ),
        ("exclude: [patint]", "exclude: patint matches no table (did you mean patient?)"),
        ("include: ['nothing*']", "include: nothing* matches no table"),
    ],
)
def test_a_choice_of_no_table_is_refused_before_anything_is_loaded(
    practice: Clinic, elsewhere: Path, choices: str, words: str
) -> None:
    """A column that was to be left out would arrive."""
    there = urls(practice)
    asked = ("init", "--no-input", "--source", there["source"], "--warehouse", there["warehouse"])
    assert arrowetl(elsewhere, *asked).returncode == 0
    (elsewhere / "conf" / "arrowetl.yml").write_text(choices)
    chosen = {"ETL_ENVIRONMENT": "production", "ARROWETL_SPILL_DIR": str(elsewhere)}

    for command in (["run", "--all"], ["validate"], ["validate", "--offline"]):
        done = arrowetl(elsewhere, *command, **chosen)
        assert (command, done.returncode) == (command, 3)
        assert words in done.stdout + done.stderr
    assert practice.published()["warehouse"] == set()


def test_the_copy_of_a_table_that_is_left_out_later_is_noted(practice: Clinic, elsewhere: Path) -> None:
    """It stays in the warehouse as it was."""
    there = urls(practice)
    asked = ("init", "--no-input", "--source", there["source"], "--warehouse", there["warehouse"])
    chosen = {"ETL_ENVIRONMENT": "production", "ARROWETL_SPILL_DIR": str(elsewhere)}
    assert arrowetl(elsewhere, *asked).returncode == 0
    assert arrowetl(elsewhere, "run", "--all", **chosen).returncode == 0
    (elsewhere / "conf" / "arrowetl.yml").write_text("exclude: [patient]")

    assert "note: patient: is left out, and the warehouse keeps" in arrowetl(elsewhere, "validate", **chosen).stdout


def test_a_choice_of_tables_that_may_come_is_a_note(practice: Clinic, elsewhere: Path) -> None:
    there = urls(practice)
    asked = ("init", "--no-input", "--source", there["source"], "--warehouse", there["warehouse"])
    assert arrowetl(elsewhere, *asked).returncode == 0
    (elsewhere / "conf" / "arrowetl.yml").write_text("exclude: ['*_bak*']\ntables: {zzz: {workers: 1}}")
    done = arrowetl(elsewhere, "validate", ETL_ENVIRONMENT="production")

    assert done.returncode == 0
    assert "note: conf/arrowetl.yml: tables.zzz: no such table\n" in done.stdout
    assert "note: conf/arrowetl.yml: exclude: *_bak* matches no table\n" in done.stdout


@pytest.mark.parametrize("password", ["it's", 'a "b"', "back\\slash", "#hash $dollar", "p@ss:w/rd#1?&%", "é 表"])
def test_written_passwords_are_read_back(password: str, tmp_path: Path) -> None:
    first_files.write(
        tmp_path, "dev", {"source": "mysql://u@h/d"}, {"source": password}, {"ARROWETL_MASK_KEY": "k" * 32}
    )

    assert read_variables(tmp_path / ".env_dev") == {
        "ARROWETL_SOURCE_URL": "mysql://u@h/d", "ARROWETL_SOURCE_PASSWORD": password, "ARROWETL_MASK_KEY": "k" * 32,
    }  # fmt: skip
