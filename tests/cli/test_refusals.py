"""
Bad input and unwilling servers: a clear error, the promised exit code, nothing half done.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from support.clinic import Clinic

from arrowetl import drivers
from arrowetl.sandbox import servers
from arrowetl.sandbox.servers import PASSWORD

SERVERS = ("OPENDENTAL_SOURCE", "MYSQL_REPLICATION", "POSTGRES_ANALYTICS")
WORDS = {"OPENDENTAL_SOURCE": "source", "MYSQL_REPLICATION": "replica", "POSTGRES_ANALYTICS": "warehouse"}


@pytest.fixture
def patients(clinic: Clinic) -> Clinic:
    """A source with two tables."""
    clinic.create(
        "CREATE TABLE patient (PatNum bigint NOT NULL, LName varchar(50), PRIMARY KEY (PatNum)) ENGINE=MyISAM;\n"
        "INSERT INTO patient VALUES (1, 'Nguyen'), (2, 'Lee');\n"
        "CREATE TABLE payment (PayNum bigint NOT NULL, Amt double, PRIMARY KEY (PayNum)) ENGINE=MyISAM;\n"
        "INSERT INTO payment VALUES (1, 10.5)"
    )
    return clinic


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port at which somebody listens and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def timed(clinic: Clinic, **change: str) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Seconds until `arrowetl run --all` ended, and how."""
    clock = time.monotonic()
    done = clinic.arrowetl("run", "--all", **change)
    return time.monotonic() - clock, done


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("fault", ["down", "silent", "password"])
def test_an_unreachable_server_exits_4_within_5_seconds(
    patients: Clinic, silent_port: int, server: str, fault: str
) -> None:
    """Exit 4 within 5 seconds of asking, saying which server, and what to check."""
    change = {
        "down": {f"TEST_{server}_PORT": "1"},
        "silent": {f"TEST_{server}_PORT": str(silent_port)},
        "password": {f"TEST_{server}_PASSWORD": "wr:ng/p@ss#"},
    }[fault]
    # How long Python and its libraries take to start is the machine's affair: it is measured, not assumed.
    to_start, refused = timed(patients, TEST_OPENDENTAL_SOURCE_PORT="33O6")
    seconds, done = timed(patients, **change)

    assert (refused.returncode, done.returncode) == (3, 4)
    assert seconds - to_start < 6
    assert f"arrowetl: {WORDS[server]} 127.0.0.1:" in done.stderr
    assert server in done.stderr
    assert "Traceback" not in done.stderr
    assert "wr:ng" not in done.stderr
    assert patients.published() == {"replica": set(), "warehouse": set()}


def test_all_unreachable_servers_are_in_one_error(patients: Clinic) -> None:
    """Two servers down: both are in the one error."""
    done = patients.arrowetl("run", "--all", TEST_MYSQL_REPLICATION_PORT="1", TEST_POSTGRES_ANALYTICS_PORT="1")

    assert done.returncode == 4
    assert "replica 127.0.0.1:1/" in done.stderr
    assert "warehouse 127.0.0.1:1/" in done.stderr


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        ({"ETL_ENVIRONMENT": ""}, ["ETL_ENVIRONMENT is not set", "production, test"]),
        ({"ETL_ENVIRONMENT": "../prod"}, ["ETL_ENVIRONMENT is '../prod'", "production, test"]),
        (
            {
                "TEST_OPENDENTAL_SOURCE_HOST": "",
                "TEST_MYSQL_REPLICATION_PORT": "33O6",
                "TEST_POSTGRES_ANALYTICS_PASSWORD": "",
                "TEST_MYSQL_REPLICATION_SSL_MODE": "maybe",
            },
            ["4 problems", "TEST_OPENDENTAL_SOURCE_HOST is missing",
             "TEST_MYSQL_REPLICATION_PORT: must be a number", "'33O6'",
             "TEST_POSTGRES_ANALYTICS_PASSWORD is missing", "TEST_MYSQL_REPLICATION_SSL_MODE: must be one of"],
        ),
        ({"ARROWETL_SPILL_DIR": "/nowhere/at/all"}, ["ARROWETL_SPILL_DIR: /nowhere/at/all is no directory"]),
    ],
)  # fmt: skip
def test_impossible_settings_exit_3_with_every_problem(
    clinic: Clinic, change: dict[str, str], reported: list[str]
) -> None:
    """Exit 3, every problem at once."""
    done = clinic.arrowetl("run", "--all", **change)

    assert done.returncode == 3
    assert [words for words in reported if words not in done.stderr] == []


def test_production_variables_are_ignored_in_test(clinic: Clinic) -> None:
    """In the test environment an exported OPENDENTAL_SOURCE_HOST counts for nothing."""
    done = clinic.arrowetl("analyze", TEST_OPENDENTAL_SOURCE_HOST="", OPENDENTAL_SOURCE_HOST="production.example")

    assert done.returncode == 3
    assert "TEST_OPENDENTAL_SOURCE_HOST is missing" in done.stderr


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        (None, ["no such file", "arrowetl analyze"]),
        ("tables: [", ["tables.yml, line ", "invalid YAML"]),
        ("- a list\n", ["must be a mapping"]),
        (
            "tables:\n  patient: {extraction_stratgy: full_table, batch_size: 0, overrides: {exclude: maybe}}\n"
            "  payment: 7\n",
            ["4 problems", "tables.patient.extraction_stratgy: unknown key", "did you mean extraction_strategy",
             "tables.patient.batch_size: must be an integer", "got 0",
             "tables.patient.overrides.exclude: must be true or false", "tables.payment: must be a mapping"],
        ),
    ],
)  # fmt: skip
def test_a_broken_tables_yml_exits_3_with_every_problem(
    patients: Clinic, text: str | None, reported: list[str]
) -> None:
    """Exit 3; what is wrong and where, all of it."""
    if text is None:
        patients.tables_file.unlink()
    else:
        patients.tables_file.write_text(text)
    done = patients.arrowetl("run", "--all")

    assert done.returncode == 3
    assert [words for words in reported if words not in done.stderr] == []
    assert patients.published() == {"replica": set(), "warehouse": set()}


def test_an_unknown_table_exits_2_with_the_nearest_names(patients: Clinic) -> None:
    """Exit 2, with the nearest names."""
    done = patients.arrowetl("run", "--table", "pateint,payment")

    assert done.returncode == 2
    assert "unknown table: pateint (did you mean patient" in done.stderr
    assert patients.published() == {"replica": set(), "warehouse": set()}


@pytest.mark.parametrize("arguments", [(), ("--all", "--table", "patient"), ("--all", "--max-workers", "0")])
def test_contradicting_options_exit_2(patients: Clinic, arguments: tuple[str, ...]) -> None:
    """Exit 2."""
    assert patients.arrowetl("run", *arguments).returncode == 2


def test_local_infile_off_exits_4_with_the_remedy(patients: Clinic) -> None:
    """Exit 4; what to run there."""
    admin = drivers.MySQL(patients.sandbox.admin("replica"))
    admin.execute("SET GLOBAL local_infile = 0")
    try:
        done = patients.arrowetl("run", "--all")
        examined = patients.arrowetl("test-connections")
    finally:
        admin.execute("SET GLOBAL local_infile = 1")
        admin.close()

    assert (done.returncode, examined.returncode) == (4, 4)
    assert "local_infile is off" in done.stderr
    assert "SET GLOBAL local_infile = 1" in done.stderr
    assert "local_infile is off" in examined.stdout


def test_a_read_only_replica_is_reported_as_such(patients: Clinic) -> None:
    """It is reported as that, and not as whatever fails first."""
    admin = drivers.MySQL(patients.sandbox.admin("replica"))
    admin.execute("SET GLOBAL read_only = 1")
    try:
        refused, examined = patients.arrowetl("run", "--all"), patients.arrowetl("test-connections")
    finally:
        admin.execute("SET GLOBAL read_only = 0")
        admin.close()

    assert refused.returncode == 4
    for said in (refused.stderr, examined.stdout + examined.stderr):
        assert "read_only is on" in said
        assert "local_infile" not in said.partition("read_only is on")[2][:200]


def test_missing_privileges_at_the_replica_exit_4_before_any_row_is_read(patients: Clinic) -> None:
    """Exit 4 before any row is read; the statement that was refused, and what to grant."""
    admin = drivers.MySQL(patients.sandbox.admin("replica"))
    admin.execute(f"CREATE USER IF NOT EXISTS 'reader'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
    admin.execute(f"GRANT SELECT ON {servers.DATABASES['replica']}.* TO 'reader'@'127.0.0.1'")
    admin.close()
    done = patients.arrowetl("run", "--all", TEST_MYSQL_REPLICATION_USER="reader")

    assert done.returncode == 4
    assert "CREATE command denied" in done.stderr
    assert "grant the account that privilege" in done.stderr
    assert patients.published() == {"replica": set(), "warehouse": set()}


def test_missing_privileges_at_the_warehouse_exit_4(patients: Clinic) -> None:
    """Exit 4; `test-connections` says the same beforehand."""
    admin = drivers.Postgres(patients.sandbox.admin("warehouse"))
    admin.execute("CREATE SCHEMA IF NOT EXISTS raw AUTHORIZATION arrowetl")
    if not admin.rows("SELECT 1 FROM pg_roles WHERE rolname = 'reader'"):
        admin.execute(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'")
    admin.execute("GRANT USAGE ON SCHEMA raw TO reader")
    try:
        done = patients.arrowetl("run", "--all", TEST_POSTGRES_ANALYTICS_USER="reader")
        examined = patients.arrowetl("test-connections", TEST_POSTGRES_ANALYTICS_USER="reader")
    finally:
        admin.execute("DROP OWNED BY reader")
        admin.close()

    assert done.returncode == 4
    assert "permission denied for schema raw" in done.stderr
    assert examined.returncode == 4
    assert "no CREATE privilege on schema raw" in examined.stdout
    assert patients.published() == {"replica": set(), "warehouse": set()}


def test_a_full_spill_disk_fails_the_table_at_the_replica_alone(patients: Clinic) -> None:
    """The table fails and says what to do; the warehouse gets it, which needs no spill; none stays."""
    patients.create(
        "CREATE TABLE wide (Num bigint NOT NULL, T longtext, PRIMARY KEY (Num)) ENGINE=MyISAM DEFAULT CHARSET=utf8;\n"
        "INSERT INTO wide SELECT seq, REPEAT('x', 100000) FROM seq_1_to_20"
    )
    # No file of this process may grow past 512 KiB: a write fails as it does on a full disk.
    process = patients.start("run", "--all", "--json", limit_file_bytes="524288")
    stdout, stderr = process.communicate(timeout=120)

    assert process.returncode == 1, stderr
    assert '"table": "wide"' in stdout
    assert "spill in " in stdout
    assert "ARROWETL_SPILL_DIR" in stdout
    assert patients.published() == {"replica": {"patient", "payment"}, "warehouse": {"patient", "payment", "wide"}}
    assert list((patients.directory / "spills").iterdir()) == []


def test_a_replica_that_is_the_source_is_refused_before_any_write(patients: Clinic) -> None:
    """Exit 3 before any write, whoever asks and under whatever name the server goes."""
    source = patients.sandbox.source
    admin = drivers.MySQL(patients.sandbox.admin("source"))
    admin.execute(f"CREATE USER IF NOT EXISTS 'writer'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
    admin.execute(f"GRANT ALL PRIVILEGES ON {source.database}.* TO 'writer'@'127.0.0.1'")
    before = admin.rows("SHOW TABLES")
    done = patients.arrowetl(
        "run", "--all", TEST_MYSQL_REPLICATION_HOST="localhost", TEST_MYSQL_REPLICATION_PORT=str(source.port),
        TEST_MYSQL_REPLICATION_DB=source.database, TEST_MYSQL_REPLICATION_USER="writer",
    )  # fmt: skip
    after = admin.rows("SHOW TABLES")
    admin.execute("DROP USER 'writer'@'127.0.0.1'")
    admin.close()

    assert done.returncode == 3
    assert "and the source are the same database; nothing was written" in done.stderr
    assert before == after
    assert patients.published()["warehouse"] == set()


def test_a_failed_table_does_not_stop_the_others(patients: Clinic) -> None:
    """A table that cannot be loaded is reported with its remedy, last; exit 1."""
    patients.create("CREATE TABLE etl_load_status (n int NOT NULL, PRIMARY KEY (n)) ENGINE=MyISAM")
    done = patients.arrowetl("run", "--all")

    assert done.returncode == 1
    assert "✗ etl_load_status: arrowetl keeps its own records under this name" in done.stdout
    assert "exclude: true" in done.stdout.splitlines()[-1]
    assert patients.published()["replica"] == {"patient", "payment"}


def test_a_change_blocked_by_views_is_refused_before_any_row_moves(patients: Clinic) -> None:
    """A retyped column under a view: the view is named, and is; the replica is left alone too."""
    assert patients.run()["exit_code"] == 0
    patients.warehouse("SELECT 1")
    session = drivers.Postgres(patients.sandbox.warehouse)
    session.execute('CREATE VIEW raw.stg_patient AS SELECT "PatNum" FROM raw.patient')
    session.close()
    patients.create("ALTER TABLE patient MODIFY PatNum int NOT NULL")
    run = patients.run()

    failed = {table["table"]: table["error"] for table in run["tables"] if table["error"]}
    assert run["exit_code"] == 1
    assert failed.keys() == {"patient"}
    assert "raw.stg_patient" in failed["patient"]["message"]
    assert patients.warehouse("SELECT count(*) FROM raw.stg_patient") == [(2,)]


def test_a_concurrent_run_exits_6(patients: Clinic) -> None:
    """Exit 6: another run holds the lock."""
    session = drivers.Postgres(patients.sandbox.warehouse)
    from arrowetl.sql import lock_number

    number = lock_number(f"arrowetl {patients.sandbox.warehouse.database} raw")
    session.rows(f"SELECT pg_advisory_lock({number})")
    done = patients.arrowetl("run", "--all")
    session.close()

    assert done.returncode == 6
    assert "another run is at work" in done.stderr


def test_a_dry_run_writes_nothing(patients: Clinic) -> None:
    """The plan is shown; neither end has so much as a tracking table afterwards."""
    done = patients.arrowetl("run", "--all", "--dry-run")

    assert done.returncode == 0
    assert "patient" in done.stdout
    assert "first load" in done.stdout
    assert patients.warehouse("SELECT count(*) FROM pg_namespace WHERE nspname = 'raw'") == [(0,)]
    assert list((patients.directory / "spills").iterdir()) == []


def test_from_replica_needs_no_source(patients: Clinic) -> None:
    """`--from replica` needs no source, and no settings of one."""
    assert patients.run()["exit_code"] == 0
    session = drivers.Postgres(patients.sandbox.warehouse)
    session.execute("DROP SCHEMA raw CASCADE")
    session.close()
    without = {f"TEST_OPENDENTAL_SOURCE_{key}": "" for key in ("HOST", "PORT", "DB", "USER", "PASSWORD")}
    run = patients.run("--all", "--from", "replica", **without)

    assert run["exit_code"] == 0
    assert patients.warehouse('SELECT "LName" FROM raw.patient ORDER BY 1') == [("Lee",), ("Nguyen",)]
    assert run["connections"]["source"] == {"opened": 0, "peak": 0}
    again = patients.run("--all", "--from", "replica", **without)
    assert {table["mode"] for table in again["tables"]} == {"skipped"}


@pytest.mark.parametrize(
    ("change", "code", "kind"),
    [
        ({"ETL_ENVIRONMENT": ""}, 3, "EnvironmentError"),
        ({"TEST_OPENDENTAL_SOURCE_PORT": "1"}, 4, "DatabaseConnectionError"),
    ],
)
def test_refusals_are_json_with_json(patients: Clinic, change: dict[str, str], code: int, kind: str) -> None:
    """With --json, stdout has exactly one document whatever happens."""
    done = patients.arrowetl("run", "--all", "--json", **change)
    document = json.loads(done.stdout)

    assert (done.returncode, document["exit_code"], document["error"]["kind"]) == (code, code, kind)


def test_passwords_are_in_no_output(patients: Clinic) -> None:
    """Whatever is asked and whatever fails, the sandbox's password is in no output."""
    said = []
    for arguments in (["run", "--all"], ["status"], ["test-connections"], ["validate"], ["run", "--all", "--json"]):
        for change in ({}, {"TEST_OPENDENTAL_SOURCE_PORT": "1"}):
            done = patients.arrowetl(*arguments, **change)
            said.append(done.stdout + done.stderr)

    assert [text for text in said if PASSWORD in text] == []
