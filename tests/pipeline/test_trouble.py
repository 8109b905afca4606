"""
What servers and clocks do to a run without dying: locks, deadlocks, full disks, no more connections, altered tables.

A disk that is full is a small tmpfs, which only root can mount: these tests say so where they are not root.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.clinic import Clinic, settle
from support.faults import Ground, ground, wait_for
from support.independent import differences

from arrowetl import drivers
from arrowetl.model.connection import VARIABLES
from arrowetl.sandbox import launch, servers

KEYED = "(Num int NOT NULL, Note varchar(200), PRIMARY KEY (Num)) ENGINE=MyISAM DEFAULT CHARSET=utf8"


@pytest.fixture
def notes(clinic: Clinic) -> Clinic:
    """A table at all three servers; the source has moved on."""
    clinic.tables_file.write_text("tables: {notes: {batch_size: 700}}\n")
    clinic.create(f"CREATE TABLE notes {KEYED};\nINSERT INTO notes SELECT seq, 'old' FROM seq_1_to_2000")
    assert clinic.run()["exit_code"] == 0
    clinic.create("UPDATE notes SET Note = CONCAT('new ', Num) WHERE Num > 500;\nDELETE FROM notes WHERE Num = 7")
    return clinic


def only(run: dict[str, Any]) -> dict[str, Any]:
    (table,) = run["tables"]
    return dict(table)


# --- locks --------------------------------------------------------------------------------------


def test_a_lock_at_the_replica_is_waited_for(notes: Clinic) -> None:
    """Held for seconds by somebody who reads and writes there: it is waited for, whatever the server's own patience."""
    notes.create("SET GLOBAL innodb_lock_wait_timeout = 1", "replica")
    notes.undo.append(lambda: notes.create("SET GLOBAL innodb_lock_wait_timeout = 50", "replica"))
    session = drivers.MySQL(notes.sandbox.admin("replica"))
    notes.undo.append(session.close)
    session.execute("START TRANSACTION")
    session.execute("UPDATE notes SET Note = Note WHERE Num = 600")
    session.rows("SELECT * FROM notes WHERE Num = 600 FOR UPDATE")
    release = threading.Timer(4, session.close)
    release.start()
    table = only(notes.run("--all", ARROWETL_RETRY_SECONDS="1"))
    release.join()

    assert (table["status"], table["attempts"]) == ("succeeded", 1), table["error"]
    assert differences(notes.sandbox, "notes")[0] == []


WAITING = {
    "replica": "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'",
    "warehouse": "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
}


@pytest.mark.parametrize("server", ["replica", "warehouse"])
def test_a_deadlock_is_retried(notes: Clinic, server: str) -> None:
    """Of two that wait for each other the server ends ours: it is tried again, and nothing of it was done."""
    connect, schema, admin = drivers.MySQL, "", notes.sandbox.admin("replica")
    if server == "warehouse":
        connect, schema, admin = drivers.Postgres, "raw.", replace(notes.sandbox.warehouse, user=launch.ADMIN)
    other, watching = (connect(admin) for _ in range(2))
    # Whatever becomes of the test, nobody waits for what it holds.
    notes.undo += [other.close, watching.close]
    # A server ends whoever has changed less, or finds out first: ours.
    if server == "replica":
        other.execute("CREATE OR REPLACE TABLE weight (Num int PRIMARY KEY) ENGINE=InnoDB")
        notes.undo.append(lambda: notes.create("DROP TABLE IF EXISTS weight", "replica"))
        other.execute("START TRANSACTION")
        other.execute("INSERT INTO weight SELECT seq FROM seq_1_to_20000")
    else:
        other.execute("SET deadlock_timeout = '1h'")
        other.execute("BEGIN")
    name = f"{schema}notes SET {quoted('Note', server)} = {quoted('Note', server)}"
    other.execute(f"UPDATE {name} WHERE {quoted('Num', server)} = 1200")
    process = notes.start("run", "--all", "--json", ARROWETL_RETRY_SECONDS="1")
    deadline = time.monotonic() + 60
    while not int(watching.rows(WAITING[server])[0][0]):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.15)
    # Ours has changed others of its rows by now.
    other.execute(f"UPDATE {name}")
    other.execute("ROLLBACK")
    stdout, stderr = process.communicate(timeout=60)

    assert process.returncode == 0, stdout + stderr
    assert only(json.loads(stdout))["attempts"] == 2
    assert differences(notes.sandbox, "notes")[0] == []
    assert notes.leftovers() == []


def quoted(name: str, server: str) -> str:
    return f'"{name}"' if server == "warehouse" else f"`{name}`"


# --- connections --------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["replica", "warehouse"])
def test_exhausted_connections_are_reported_with_a_remedy(notes: Clinic, server: str) -> None:
    """Reported with what to do, nothing is half done; with connections again, all is loaded."""
    user = getattr(notes.sandbox, server).user
    if server == "replica":
        host = f"'{user}'@'127.0.0.1'"
        limit = [f"ALTER USER {host} WITH MAX_USER_CONNECTIONS {number}" for number in (1, 0)]
        act = [lambda statement=one: notes.create(statement, "replica") for one in limit]
    else:
        admin = replace(notes.sandbox.warehouse, user=launch.ADMIN)

        def alter(statement: str) -> None:
            with closing(drivers.Postgres(admin)) as session:
                session.execute(statement)

        limit = [f'ALTER ROLE "{user}" CONNECTION LIMIT {number}' for number in (1, -1)]
        act = [lambda statement=one: alter(statement) for one in limit]
    act[0]()
    try:
        failed = notes.arrowetl("run", "--all", ARROWETL_RETRIES="1")
    finally:
        act[1]()
    run = notes.run("--all")

    assert failed.returncode in (1, 4), failed.stdout
    assert "lower --max-workers, or raise" in failed.stdout + failed.stderr
    assert (run["exit_code"], notes.leftovers(), differences(notes.sandbox, "notes")[0]) == (0, [], [])


def test_connections_stay_within_the_allowed_number(notes: Clinic) -> None:
    """At each server no more at once than the run says, which is what its workers and their bookkeeping need."""
    for number in range(6):
        notes.create(f"CREATE TABLE t{number} {KEYED};\nINSERT INTO t{number} SELECT seq, 'x' FROM seq_1_to_500")
    with ground(notes) as there:
        process = there.start("run", "--all", "--json", "--max-workers", "2")
        stdout, _ = process.communicate(timeout=120)
        reported = json.loads(stdout)["connections"]
        most = {name: way.most for name, way in there.relays.items()}

    # One that was closed is on its way out for a time.
    assert {name: most[name] <= reported[name]["peak"] + 1 for name in reported} == dict.fromkeys(reported, True), (
        most,
        reported,
    )
    assert max(most.values()) <= 12


# --- tables that change -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ("DROP TABLE notes", "failed", "dropped or renamed at the source"),
        ("RENAME TABLE notes TO others", "failed", "dropped or renamed at the source"),
        ("ALTER TABLE notes DROP COLUMN Note", "succeeded", None),
        ("ALTER TABLE notes ADD COLUMN Extra int NOT NULL DEFAULT 3 FIRST", "succeeded", None),
        ("ALTER TABLE notes MODIFY Note mediumtext", "succeeded", None),
    ],
)
def test_a_table_altered_while_read_is_planned_again(
    notes: Clinic, tmp_path: Path, change: str, status: str, words: str | None
) -> None:
    """It is planned again where it can be loaded as it is now; else it fails, and says why, and the others go on."""
    notes.create(f"CREATE TABLE other {KEYED};\nINSERT INTO other VALUES (1, 'x')")
    with ground(notes) as there:
        run = run_changed(there, tmp_path / "fault", change)
    table = next(one for one in run["tables"] if one["table"] == "notes")
    other = next(one for one in run["tables"] if one["table"] == "other")

    assert (table["status"], other["status"]) == (status, "succeeded"), table["error"]
    assert words is None or words in table["error"]["message"]
    settle()
    again = notes.run("--all")
    # One that no longer exists is missed until somebody says that it is right.
    assert (again["exit_code"], again["missing"]) == ((0, []) if status == "succeeded" else (1, ["notes"]))
    assert notes.leftovers() == []
    if status == "succeeded":
        assert differences(notes.sandbox, "notes")[0] == []


def run_changed(there: Ground, directory: Path, change: str) -> dict[str, Any]:
    directory.mkdir()
    process = there.start("run", "--all", "--json", at="extract", directory=directory, ARROWETL_RETRIES="2")
    assert wait_for(directory / "reached", process)
    there.clinic.create(change)
    (directory / "go").touch()
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode in (0, 1), stderr
    document: dict[str, Any] = json.loads(stdout)
    return document


# --- clocks -------------------------------------------------------------------------------------


def test_clock_jumps_lose_no_change(notes: Clinic) -> None:
    """A year ahead and two back: every run loads what changed, and no watermark is lost for it."""
    notes.create(
        "CREATE TABLE updated (Num int NOT NULL, v int, s timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE "
        "CURRENT_TIMESTAMP, PRIMARY KEY (Num)) ENGINE=MyISAM;\nINSERT INTO updated (Num) SELECT seq FROM seq_1_to_900"
    )
    notes.tables_file.write_text(
        "tables: {updated: {extraction_strategy: incremental, primary_incremental_column: s}}\n"
    )
    with ground(notes) as there:
        for number, days in enumerate((0, 365, -365, 0)):
            notes.create(f"UPDATE updated SET v = {number} WHERE MOD(Num, 7) = {number};\nDELETE FROM updated LIMIT 3")
            process = there.start("run", "--all", "--json", ARROWETL_CLOCK_DAYS=str(days))
            stdout, stderr = process.communicate(timeout=120)
            assert process.returncode == 0, stdout + stderr
            assert [differences(notes.sandbox, name)[0] for name in ("updated", "notes")] == [[], []], days
            verified = there.start("verify", "--all", "--changed", ARROWETL_CLOCK_DAYS=str(days))
            said, _ = verified.communicate(timeout=120)
            assert verified.returncode == 0, said


# --- disks --------------------------------------------------------------------------------------


@contextmanager
def small_disk(place: Path, mebibytes: int) -> Iterator[Path]:
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if sudo and (not shutil.which("sudo") or subprocess.run([*sudo, "true"], capture_output=True).returncode):
        pytest.skip("a small disk is mounted for this test, which takes root, or sudo that asks for no password")
    place.mkdir()
    owned = f"size={mebibytes}m,mode=0755,uid={os.getuid()},gid={os.getgid()}"
    subprocess.run([*sudo, "mount", "-t", "tmpfs", "-o", owned, "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run([*sudo, "umount", "-l", str(place)], check=True)
        place.rmdir()


@contextmanager
def server_on(disk: Path, clinic: Clinic, target: str) -> Iterator[Callable[[], None]]:
    """A replica or warehouse whose data lies there, in the place of the clinic's; and what starts it again."""
    endpoint = replace(getattr(clinic.sandbox, target), port=servers.free_port())
    launched: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        """As whoever looks after a server does, once there is room again."""
        for one in launched:
            family = [psutil.Process(one.pid), *psutil.Process(one.pid).children(recursive=True)]
            for process in family:
                process.kill()
            one.wait(20)
            psutil.wait_procs(family[1:], timeout=20)
        launched.clear()
        if target == "warehouse":
            launched.append(launch.postgres(disk / target, endpoint))
        else:
            launched.append(launch.mariadb(disk / target, endpoint, "--innodb-use-native-aio=0"))
        launch.wait_until_up(endpoint, disk / target, lambda: launched[0].poll() is None)

    try:
        start()
        clinic.environment[f"TEST_{VARIABLES[target]}_PORT"] = str(endpoint.port)
        clinic.sandbox = replace(clinic.sandbox, **{target: endpoint})
        yield start
    finally:
        for one in launched:
            one.kill()
            one.wait(20)


@pytest.mark.parametrize("target", ["replica", "warehouse"])
def test_a_full_disk_at_a_target_fails_the_table_and_recovers(clinic: Clinic, target: str) -> None:
    """The table fails and says what to do; what was there is, whole; with room again, the next run completes."""
    clinic.create(f"CREATE TABLE notes {KEYED};\nINSERT INTO notes SELECT seq, 'old' FROM seq_1_to_2000")
    with small_disk(clinic.sandbox.directory / "disk", 420) as disk, server_on(disk, clinic, target) as start_again:
        assert clinic.run()["exit_code"] == 0
        clinic.create(
            "UPDATE notes SET Note = CONCAT('new ', Num);\nSET SESSION group_concat_max_len = 1000000;\n"
            "CREATE TABLE wide (Num int NOT NULL, T longtext, PRIMARY KEY (Num)) ENGINE=MyISAM CHARSET=latin1;\n"
            "INSERT INTO wide SELECT a.seq, GROUP_CONCAT(SHA2(CONCAT(a.seq, ' ', b.seq), 512) SEPARATOR '') "
            "FROM seq_1_to_150 a, seq_1_to_700 b GROUP BY a.seq"
        )
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        (disk / "filler").write_bytes(bytes(max(0, free - 8 * 2**20)))
        failed = clinic.run("--table", "wide", ARROWETL_RETRIES="0", ARROWETL_SILENCE_SECONDS="5")
        (disk / "filler").unlink()
        start_again()
        settle()
        done = clinic.run("--all")

        error = failed["tables"][0]["error"]
        assert failed["exit_code"] == 1
        assert error["remedy"], error
        assert done["exit_code"] == 0, [one["error"] for one in done["tables"]]
        assert clinic.leftovers() == []
        assert [differences(clinic.sandbox, name)[0] for name in ("notes", "wide")] == [[], []]
