"""
A run that loses its lock while it does not change, and another that works meanwhile: nothing of the first is published.

The first is stopped at a step (a laptop's lid, a machine that is moved), its sessions are ended, the second one runs
from beginning to end, and the first goes on. ARROWETL_TEST_LOCKS=all tries every step in both ways of publishing.
"""

from __future__ import annotations

import itertools
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from support.clinic import Clinic
from support.faults import Ground, ground, rob, wait_for
from support.independent import differences
from support.injected import STEPS
from support.launcher import Started

from arrowetl import drivers
from arrowetl.errors import ArrowetlError

ROWS = 30_000
# Steps that a run to one target alone does not come to.
NOT_REACHED = {
    "both": (),
    "replica": ("prepare", "ingest", "warehouse's cutover"),
    "warehouse": ("load", "compare", "between the cutovers", "replica's cutover"),
}
ALL = [
    (step, publish, robbed, executor, to)
    for step, publish, robbed, executor, to in itertools.product(
        STEPS, ("each", "together"), ("its locks", "every session"), ("thread", "process"), NOT_REACHED
    )
    # A step at which a worker process stops is another process's.
    if (executor == "thread" or step not in ("mark", "plan"))
    and step not in NOT_REACHED[to]
    # A replica's tables alone are not published together.
    and (publish == "each" or to != "replica")
]
SHORT = [
    ("plan", "each", "its locks", "thread", "both"),
    ("finish", "each", "its locks", "process", "both"),
    ("compare", "together", "its locks", "thread", "both"),
    ("compare", "each", "every session", "thread", "both"),
    ("warehouse's cutover", "together", "every session", "thread", "both"),
    ("warehouse's cutover", "each", "its locks", "thread", "both"),
    ("between the cutovers", "each", "its locks", "thread", "both"),
    ("replica's cutover", "each", "every session", "thread", "both"),
    ("record", "together", "its locks", "thread", "both"),
    ("replica's cutover", "each", "its locks", "thread", "replica"),
    ("finish", "together", "its locks", "thread", "warehouse"),
]
CHOSEN = ALL if os.environ.get("ARROWETL_TEST_LOCKS") == "all" else SHORT
TABLES = ("first", "edited", "keyless")


@contextmanager
def reader(clinic: Clinic) -> Iterator[list[str]]:
    """Somebody who asks all the while how many rows there are, at both targets; what was wrong, in words."""
    wrong, stop = list[str](), threading.Event()

    def ask() -> None:
        warehouse, replica = drivers.Postgres(clinic.sandbox.warehouse), drivers.MySQL(clinic.sandbox.admin("replica"))
        while not stop.wait(0.01):
            for end, session in (("warehouse", warehouse), ("replica", replica)):
                for table in TABLES:
                    place = f"raw.{table}" if end == "warehouse" else f"`{table}`"
                    # The table that is new is not there yet, and the switch of the replica's is no transaction.
                    with suppress(ArrowetlError):
                        rows = session.rows(f"SELECT count(*) FROM {place}")[0][0]
                        if rows not in ALLOWED[table]:
                            wrong.append(f"{table} at the {end}: {rows} rows")
        warehouse.close()
        replica.close()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield wrong
    finally:
        stop.set()
        thread.join()


# The server counts how long a switch waits for another while the run does not change.
_WHY = "lock|connection was lost|no more|busy with another switch"
ALLOWED = {"first": {ROWS, ROWS - 5}, "edited": {ROWS, ROWS - 7}, "keyless": {100, 101}}


@pytest.mark.parametrize(("step", "publish", "robbed", "executor", "to"), CHOSEN)
def test_a_run_that_lost_its_lock_publishes_nothing(
    clinic: Clinic, tmp_path: Path, step: str, publish: str, robbed: str, executor: str, to: str
) -> None:
    clinic.create(
        "CREATE TABLE edited (Id int PRIMARY KEY, V varchar(40), KEY (V)) ENGINE=MyISAM;\n"
        f"INSERT INTO edited SELECT seq, MD5(seq) FROM seq_1_to_{ROWS};\n"
        "CREATE TABLE keyless (V int) ENGINE=MyISAM;\n"
        "INSERT INTO keyless SELECT seq FROM seq_1_to_100"
    )
    assert clinic.run()["exit_code"] == 0
    clinic.create(
        "CREATE TABLE first (Id int PRIMARY KEY, V varchar(40), KEY (V)) ENGINE=MyISAM;\n"
        f"INSERT INTO first SELECT seq, MD5(seq) FROM seq_1_to_{ROWS};\n"
        "UPDATE edited SET V = 'x' WHERE Id % 100 = 0;\nINSERT INTO keyless VALUES (101)"
    )
    clinic.tables_file.write_text("tables: {first: {overrides: {batch_size: 5000}}}")
    with ground(clinic) as there, reader(clinic) as wrong:
        first = _stopped(there, step, tmp_path / "first", publish, executor, to)
        if first is None:
            pytest.fail(f"the run never came to {step}")
        process, family = first
        try:
            for one in family:
                one.suspend()
            rob(clinic, robbed)
            clinic.create(
                "DELETE FROM first WHERE Id <= 5;\nDELETE FROM edited WHERE Id <= 7;\n"
                "UPDATE edited SET V = 'y' WHERE Id = 9"
            )
            second = there.start(
                "run", "--all", "--json", "--publish", publish, "--to", to, ARROWETL_SILENCE_SECONDS="60"
            )
            said, errors = second.communicate(timeout=240)
            # Where the first is in the middle of a switch, the second may have to give way.
            assert second.returncode in (0, 1, 6), (errors, said)
            assert second.returncode == 0 or re.search("switching a table there|[Ll]ock (wait )?timeout", errors + said)
            (tmp_path / "first" / "go").touch()
            for one in family:
                one.resume()
            stdout, stderr = process.communicate(timeout=240)
            # It ends right, or says why not; of what it cannot know it says nothing.
            assert process.returncode in (0, 1, 4, 6), stderr
            if process.returncode == 0:
                assert second.returncode or step == "record"
            else:
                assert re.search(_WHY, stdout + stderr), (stdout, stderr)
        finally:
            # One that is stopped would stay for ever; the number of one that has ended may be another's.
            for one in family:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
        _agrees_with_the_records(clinic)
        # Whatever became of either, the next run loads what is missing.
        last = clinic.run()
        assert last["exit_code"] == 0, [one["error"] for one in last["tables"]]
        assert [problem for name in TABLES for problem in differences(clinic.sandbox, name)[0]] == []
        assert clinic.leftovers() == []
    assert wrong == []


@pytest.mark.parametrize("robbed", ["its locks", "every session"])
@pytest.mark.parametrize("step", ["mark", "plan"])
def test_a_suspended_run_takes_nothing_from_the_next(clinic: Clinic, tmp_path: Path, step: str, robbed: str) -> None:
    """It takes nothing from the one that has the lock now: neither its mark, nor what that has staged."""
    clinic.create(
        "CREATE TABLE first (Id int PRIMARY KEY, V varchar(40)) ENGINE=MyISAM;\n"
        f"INSERT INTO first SELECT seq, MD5(seq) FROM seq_1_to_{ROWS}"
    )
    clinic.tables_file.write_text("tables: {first: {overrides: {batch_size: 5000}}}")
    with ground(clinic) as there:
        sleeper = _stopped(there, step, tmp_path / "first", "each", "thread")
        assert sleeper is not None, f"the run never came to {step}"
        slept, family = sleeper
        for one in family:
            one.suspend()
        rob(clinic, robbed)
        worker = _stopped(there, "compare", tmp_path / "second", "each", "thread")
        assert worker is not None, "the second run never came to its end"
        (tmp_path / "first" / "go").touch()
        for one in family:
            one.resume()
        stdout, stderr = slept.communicate(timeout=120)
        (tmp_path / "second" / "go").touch()
        done, errors = worker[0].communicate(timeout=120)

    assert slept.returncode in (1, 4), (stdout, stderr)
    assert re.search("lock|connection was lost", stdout + stderr)
    assert worker[0].returncode == 0, (done, errors)
    assert differences(clinic.sandbox, "first") == ([], {})
    assert clinic.leftovers() == []


def _stopped(
    there: Ground, step: str, directory: Path, publish: str, executor: str, to: str = "both"
) -> tuple[Started, list[psutil.Process]] | None:
    """A run that is at a step, with its worker processes; None where it never came there."""
    directory.mkdir()
    process = there.start(
        "run", "--all", "--json", "--publish", publish, "--executor", executor, "--to", to, at=step,
        directory=directory, ARROWETL_RETRIES="0", ARROWETL_SILENCE_SECONDS="60",
    )  # fmt: skip
    if not wait_for(directory / "reached", process):
        return None
    first = psutil.Process(process.pid)
    return process, [first, *first.children(recursive=True)]


def _agrees_with_the_records(clinic: Clinic) -> None:
    """What is recorded of each table is what is there, where anything is."""
    recorded = clinic.warehouse("SELECT table_name, rows_total FROM raw.etl_load_status WHERE version IS NOT NULL")
    for name, rows in recorded:
        assert clinic.warehouse(f'SELECT count(*) FROM raw."{name}"') == [(rows,)]
    replica = drivers.MySQL(clinic.sandbox.admin("replica"))
    for name, rows, version in replica.rows("SELECT table_name, rows_total, version FROM etl_copy_status"):
        if version and not version.startswith("in doubt"):
            assert replica.rows(f"SELECT COUNT(*) FROM `{name}`") == [(rows,)]
    replica.close()
