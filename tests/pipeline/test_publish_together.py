"""
All tables of a run at once: who reads the warehouse finds the run before, or this one, and never half of one.

ARROWETL_TEST_NIGHTS chooses how many runs (9), ARROWETL_TEST_SEED what happens in them.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from support.clinic import Clinic, configure, crash
from support.practice import FULL_TABLES, PRACTICE, SETTLE, TABLES, TOGETHER, different, work

from arrowetl import drivers
from arrowetl.errors import ArrowetlError

DAYS = int(os.environ.get("ARROWETL_TEST_NIGHTS", "9"))
SEED = int(os.environ.get("ARROWETL_TEST_SEED", "4"))
BROKEN = """
SELECT (SELECT count(*) FROM raw.procedurelog p LEFT JOIN raw.patient q USING ("PatNum") WHERE q."PatNum" IS NULL)
     + (SELECT count(*) FROM raw.payment p LEFT JOIN raw.patient q USING ("PatNum") WHERE q."PatNum" IS NULL)
     + abs((SELECT sum("Owes") FROM raw.patient)
           - (SELECT sum("Fee") FROM raw.procedurelog) + (SELECT sum("Amount") FROM raw.payment))
"""


class Reader:
    """Who asks the warehouse, all run long, whether every procedure has its patient and every account adds up."""

    def __init__(self, clinic: Clinic) -> None:
        self.asked, self.broken, self._clinic = 0, list[int](), clinic
        self._stop, self._thread = threading.Event(), threading.Thread(target=self._read)

    def _read(self) -> None:
        session: drivers.Postgres | None = None
        while not self._stop.is_set():
            # The server itself may be killed in such a run.
            with suppress(ArrowetlError):
                session = session or drivers.Postgres(self._clinic.sandbox.warehouse)
                try:
                    found = int(session.rows(BROKEN)[0][0])
                except ArrowetlError:
                    session.close()
                    session = None
                    raise
                self.asked += 1
                self.broken += [found] if found else []
        if session:
            session.close()

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def contents(clinic: Clinic) -> list[Any]:
    """What a reader of the warehouse finds, and which rows these are physically."""
    return [clinic.warehouse(f'SELECT ctid::text, t::text FROM raw."{name}" t ORDER BY 1') for name in TABLES]


def test_all_tables_become_visible_at_once(practice: Clinic) -> None:
    """Both targets are the source's; the summary shows how long the one transaction took."""
    work(practice, 1, random.Random(SEED))
    with Reader(practice) as reader:
        run = practice.run(*TOGETHER[1:])

    assert (run["exit_code"], run["published"]["tables"]) == (0, 3)
    assert [table["verdict"] for table in run["tables"]] == ["equal"] * 3
    assert reader.broken == []
    assert different(practice) == []
    assert practice.leftovers() == []


def test_first_loads_become_visible_at_once(clinic: Clinic) -> None:
    """Tables that are not there yet come to be in the same time."""
    clinic.create(PRACTICE)
    seen, process = set[int](), clinic.start(*TOGETHER, "--json")
    while process.poll() is None:
        seen.add(clinic.warehouse(f"SELECT count(*) FROM pg_tables WHERE tablename IN {TABLES}")[0][0])
    run = json.loads(process.communicate()[0])

    assert seen <= {0, 3}
    assert (run["exit_code"], run["published"]["tables"]) == (0, 3)
    assert different(clinic) == []


def test_without_publish_together_readers_see_partial_runs(practice: Clinic) -> None:
    """Which is what this is for, and shows that the reader of these tests would notice."""
    practice.create(
        "DELETE FROM patient WHERE PatNum = 7;\nDELETE FROM procedurelog WHERE PatNum = 7;\n"
        "DELETE FROM payment WHERE PatNum = 7"
    )
    practice.run("--table", "patient")

    assert int(practice.warehouse(BROKEN)[0][0]) > 0
    assert practice.run(*TOGETHER[1:])["exit_code"] == 0
    assert int(practice.warehouse(BROKEN)[0][0]) == 0


def break_payments(clinic: Clinic) -> None:
    """By a column that tables.yml wants as a type that cannot hold its values."""
    narrow = {"overrides": {"columns": {"Note": {"type": "varchar(3)"}}}}
    clinic.create("UPDATE payment SET Note = 'far too long' WHERE PayNum = 5")
    configure(clinic, **{**FULL_TABLES, "payment": {"extraction_strategy": "full_table", **narrow}})


@pytest.fixture
def noted(practice: Clinic) -> Clinic:
    """The same, with a note to each payment."""
    practice.create("ALTER TABLE payment ADD Note varchar(50) NULL")
    assert practice.run(*TOGETHER[1:])["exit_code"] == 0
    return practice


def test_failed_tables_keep_their_rows(noted: Clinic) -> None:
    """The others are published."""
    before = contents(noted)
    work(noted, 1, random.Random(SEED))
    break_payments(noted)
    run = noted.run(*TOGETHER[1:])
    after = contents(noted)

    assert run["exit_code"] == 1
    assert {t["table"]: t["status"] for t in run["tables"]} == {
        "patient": "succeeded",
        "payment": "failed",
        "procedurelog": "succeeded",
    }
    assert run["published"]["tables"] == 2
    assert after[2] == before[2]
    assert after[0] != before[0]


def test_strict_publishes_nothing_if_a_table_fails(noted: Clinic) -> None:
    """Where one fails; neither at the replica. Once it is mended, the next run has all."""
    before = contents(noted)
    work(noted, 1, random.Random(SEED))
    break_payments(noted)
    run = noted.run(*TOGETHER[1:], "--strict")

    assert (run["exit_code"], run["published"]) == (1, None)
    assert {t["status"] for t in run["tables"]} == {"failed"}
    withheld = next(t["error"]["message"] for t in run["tables"] if t["table"] == "patient")
    assert withheld == (
        "patient: staged and compared, and withheld: --strict publishes nothing where a table failed (payment)"
    )
    assert contents(noted) == before
    configure(noted, **FULL_TABLES)
    noted.create("UPDATE payment SET Note = NULL")
    assert noted.run(*TOGETHER[1:], "--strict")["published"]["tables"] == 3
    assert different(noted) == []
    assert noted.leftovers() == []


def test_an_edited_warehouse_table_is_reloaded_within_the_transaction(practice: Clinic) -> None:
    """What changed does not suffice: it takes the full table from the replica, in the same transaction."""
    work(practice, 1, random.Random(SEED))
    practice.warehouse_execute('DELETE FROM raw.patient WHERE "PatNum" BETWEEN 100 AND 120')
    run = practice.run(*TOGETHER[1:], "--strict")

    assert (run["exit_code"], run["published"]["tables"]) == (0, 3)
    assert different(practice) == []


def test_a_lagging_warehouse_catches_up_within_the_transaction(practice: Clinic) -> None:
    """It catches up from the replica, and is published with the others."""
    work(practice, 1, random.Random(SEED))
    assert practice.run("--all", "--to", "replica")["exit_code"] == 0
    work(practice, 2, random.Random(SEED))
    with Reader(practice) as reader:
        run = practice.run(*TOGETHER[1:])

    assert (run["exit_code"], run["published"]["tables"]) == (0, 3)
    assert reader.broken == []
    assert different(practice) == []


def test_publish_together_needs_the_warehouse(practice: Clinic) -> None:
    done = practice.arrowetl(*TOGETHER, "--to", "replica")

    assert done.returncode == 2
    assert "leave out --publish, or --to" in done.stderr


def test_the_joint_cutover_is_short(practice: Clinic) -> None:
    """A reader that holds a table for long is waited for only where the table itself must follow."""
    work(practice, 1, random.Random(SEED))
    session = drivers.Postgres(practice.sandbox.warehouse)
    with session.transaction():
        session.rows("SELECT count(*) FROM raw.patient")
        assert practice.run(*TOGETHER[1:])["published"]["tables"] == 3
    session.close()


@pytest.fixture
def ward(hospital: Clinic) -> Iterator[Clinic]:
    """The three tables on servers that may be killed."""
    configure(hospital, **FULL_TABLES)
    hospital.create(PRACTICE)
    hospital.create(SETTLE)
    assert hospital.run(*TOGETHER[1:])["exit_code"] == 0
    yield hospital


def trouble(clinic: Clinic, what: str, seconds: float) -> None:
    """A run in which something goes wrong."""
    if what in ("arrowetl", "replica", "warehouse"):
        crash(clinic, what, seconds, *TOGETHER, "--strict")
        return
    if what == "stopped":
        process = clinic.start(*TOGETHER, "--strict")
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    if what == "refused":
        clinic.warehouse_execute('ALTER TABLE raw.payment ADD CONSTRAINT small CHECK ("Amount" < 0) NOT VALID')
        assert clinic.run(*TOGETHER[1:], "--strict")["published"] is None
        clinic.warehouse_execute("ALTER TABLE raw.payment DROP CONSTRAINT small")


def test_readers_never_see_inconsistent_tables_through_failures(ward: Clinic) -> None:
    """Nobody ever sees a procedure without its patient, nor an account that does not add up."""
    rng = random.Random(SEED)
    kinds = ["arrowetl", "warehouse", "refused", "stopped", "replica", "arrowetl", "nothing"]
    with Reader(ward) as reader:
        for runner in range(1, DAYS + 1):
            work(ward, runner, rng)
            trouble(ward, kinds[runner % len(kinds)], rng.uniform(0.4, 1.4))
            if runner % 3 == 0:
                # The next run has what this one had not.
                continue
            run = ward.run(*TOGETHER[1:], "--strict")
            assert [table["error"] for table in run["tables"] if table["error"]] == [], runner
            assert different(ward) == [], runner
            assert ward.leftovers() == []
    assert ward.run(*TOGETHER[1:], "--strict")["exit_code"] == 0
    assert different(ward) == []
    assert reader.broken == []
    assert reader.asked > 20 * DAYS
