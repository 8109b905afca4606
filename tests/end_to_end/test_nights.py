"""
Runs in a row at a simulated clinic: edits, deletes, drift, crashes, writes during the run; equal ends after each.

ARROWETL_TEST_NIGHTS chooses how many (9), ARROWETL_TEST_CLINIC_TABLES how
many tables (40, or `all`), ARROWETL_TEST_SEED what happens.
"""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path

import pytest
from support.clinic import Clinic, crash
from support.independent import differences, many_tables
from support.simulation import Busy, Day

from arrowetl import drivers
from arrowetl.sandbox import opendental, seed

DAYS = int(os.environ.get("ARROWETL_TEST_NIGHTS", "9"))
TABLES = os.environ.get("ARROWETL_TEST_CLINIC_TABLES", "40")
SEED = int(os.environ.get("ARROWETL_TEST_SEED", "4"))
SCALE = 0.002
# Large, small and wide ones, updated and not, with random keys, with keys that are others' keys, with blobs, without
# a key, and some that are empty.
SHOWING = """
adjustment appointment claim claimproc clockevent commlog definition deletedobject document documentmisc ehrpatient fee
files histappointment inseditlog inssub patient patientnote patplan payment paysplit periomeasure preference procedurecode
procedurelog procnote provider recall schedule scheduleop securitylog securityloghash sheetfield signalod statement task
tempprocedurecode_bak_20240617 tempscheduleop_bak_20200424 timeadjust userod
"""  # noqa: E501
CRASHES = ("arrowetl", "replica", "warehouse")


pytestmark = pytest.mark.server


def test_simulated_days_end_equal(hospital: Clinic) -> None:
    """Whatever the day was like, and whatever happened the run before."""
    rng = random.Random(SEED)
    tables = opendental.tables(SCALE)
    chosen = {name: tables[name] for name in (tables if TABLES == "all" else SHOWING.split()[: int(TABLES)])}
    admin = hospital.sandbox.admin("source")
    with tempfile.TemporaryDirectory() as directory:
        session = drivers.MySQL(admin, infile_directory=Path(directory))
        session.execute("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'")
        for table in chosen.values():
            seed.fill(session, table, SCALE, opendental.SEED, Path(directory))
    assert hospital.arrowetl("analyze").returncode == 0
    assert hospital.run()["exit_code"] == 0
    seen: dict[str, int] = {}
    for number in range(1, DAYS + 1):
        day = Day(session, chosen, rng)
        day.work(len(chosen) // 3, drift=number % 3 == 0)
        raced: list[str] = []
        if number % 7 == 3:
            raced = rng.sample(sorted(chosen), 4)
            with Busy(day, raced):
                run = hospital.run()
        elif number % 2 == 0:
            crash(hospital, CRASHES[number // 2 % len(CRASHES)], rng.uniform(0.3, 2.5))
            run = hospital.run()
        else:
            run = hospital.run()
        reported = [table["error"] for table in run["tables"] if table["error"]]
        # A table that is altered while it is read may fail, and is loaded the next run.
        assert [error for error in reported if not raced] == [], (number, day.done)
        with many_tables():
            found = [one for name in chosen if name not in raced for one in differences(hospital.sandbox, name)[0]]
        assert found == [], (number, day.done)
        for table in run["tables"]:
            seen[table["mode"]] = seen.get(table["mode"], 0) + 1
        assert hospital.leftovers() == []
    assert hospital.run()["exit_code"] == 0
    with many_tables():
        assert [problem for name in chosen for problem in differences(hospital.sandbox, name)[0]] == []
    if DAYS >= 9:
        assert seen.keys() == {"full", "skipped", "incremental", "reconcile"}
    session.close()
