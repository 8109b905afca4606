"""
Days of random work, nights of random faults; after the last clean run both ends are the source.

Twenty rounds here, by a seed that is printed; `ARROWETL_TEST_ROUNDS=500 ARROWETL_TEST_SEED=7 nox -s tests --
tests/test_chaos.py -n 0` makes any other number.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from conftest import Clinic
from faults import FAULTS, IN_WORKERS, Ground, ground, met
from independent import differences
from injected import STEPS

from arrowetl import drivers

ROUNDS = int(os.environ.get("ARROWETL_TEST_ROUNDS", "20"))
SEED = int(os.environ.get("ARROWETL_TEST_SEED", random.SystemRandom().randrange(10**6)))
COLUMNS = (
    "a int, b varchar(60), c decimal(12,3), d datetime, "
    "s timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP"
)
TABLES = {
    "stamped": ("MyISAM", f"Num int NOT NULL, {COLUMNS}, PRIMARY KEY (Num), KEY (b)"),
    "random": ("InnoDB", f"Num bigint NOT NULL, {COLUMNS}, PRIMARY KEY (Num)"),
    "keyless": ("MyISAM", f"Num int, {COLUMNS}"),
    "paired": ("InnoDB", f"Num int NOT NULL, k varchar(20) NOT NULL, {COLUMNS}, PRIMARY KEY (Num, k)"),
}
SETTINGS = """
settings: {statement_seconds: 2}
tables:
  stamped: {batch_size: 300, extraction_strategy: incremental, primary_incremental_column: s}
  random: {batch_size: 300}
"""
# A stall is waited for seconds, and tried at its steps elsewhere.
SOME = [fault for fault in FAULTS if "stalled" not in fault]


def fill(session: drivers.MySQL, rng: random.Random, table: str, rows: int) -> None:
    lowest = rng.randrange(-(10**6), 10**6)
    key = "seq * 7919 % 1000003" if table == "random" else "seq"
    more = ", CONCAT('k', seq)" if table == "paired" else ""
    values = "seq % 97, CONCAT('row ', seq, REPEAT('x', seq % 40)), seq / 7, '2020-01-01' + INTERVAL seq MINUTE, NOW()"
    session.execute(
        f"INSERT IGNORE INTO {table} SELECT {lowest} + {key}{more}, {values} "
        f"FROM (SELECT CAST(seq AS SIGNED) AS seq FROM seq_1_to_{rows}) s"
    )


def work(session: drivers.MySQL, rng: random.Random, done: list[str]) -> None:
    """What a day does to the tables, in words that say it again."""
    for table in rng.sample(sorted(TABLES), rng.randrange(1, len(TABLES) + 1)):
        modulo, rest = rng.choice([3, 11, 97]), rng.randrange(3)
        one = rng.choice(
            [
                f"UPDATE {table} SET b = 'edited {rng.randrange(999)}' WHERE MOD(Num, {modulo}) = {rest}",
                f"UPDATE {table} SET c = c + 1, s = s WHERE MOD(Num, {modulo}) = {rest}",
                f"DELETE FROM {table} WHERE MOD(Num, {modulo}) = {rest}",
                f"ALTER TABLE {table} ADD COLUMN n{rng.randrange(10**6)} int NOT NULL DEFAULT 5",
                "more rows", "more rows", "empty",
            ]
        )  # fmt: skip
        done.append(f"{table}: {one}")
        if one == "more rows":
            # Columns may have been added: the table begins anew where they were.
            session.execute(f"DROP TABLE {table}")
            engine, columns = TABLES[table]
            session.execute(f"CREATE TABLE {table} ({columns}) ENGINE={engine} DEFAULT CHARSET=utf8")
            fill(session, rng, table, rng.randrange(1, 2_000))
        elif one == "empty":
            session.execute(f"TRUNCATE {table}")
        else:
            session.execute(one)


def night(there: Ground, rng: random.Random, place: Path, done: list[str]) -> str:
    """A run, and a fault at some step of it or at some moment; what it was, in words."""
    fault, executor = rng.choice(SOME), rng.choice(["thread", "process"])
    if rng.random() < 0.6:
        step = rng.choice(IN_WORKERS if "worker" in fault else sorted(STEPS))
        came = met(there, fault, step, place, "--executor", "process" if "worker" in fault else executor)
        words = f"{fault} at {step}" if came else f"{fault} at {step}, where it never came"
    else:
        process = there.start("run", "--all", "--json", "--max-workers", "2", "--executor", executor)
        delay = rng.uniform(0.1, 1.5)
        time.sleep(delay)
        children = psutil.Process(process.pid).children() if process.poll() is None else []
        target = rng.choice(children).pid if children else process.pid
        if process.poll() is None:
            FAULTS[fault](there, process, target)
        process.communicate(timeout=90)
        words = f"{fault} after {delay:.2f} s"
    done.append(words)
    there.mend()
    return fault


def test_chaos(clinic: Clinic, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever was done, and whatever failed: after a clean run both ends have what the source has, and no more."""
    with capsys.disabled():
        print(f"\nchaos: {ROUNDS} rounds, ARROWETL_TEST_SEED={SEED}", flush=True)
    rng, done, met_by = random.Random(SEED), list[str](), Counter[str]()
    clinic.tables_file.write_text(SETTINGS)
    session = drivers.MySQL(clinic.sandbox.admin("source"))
    for table, (engine, columns) in TABLES.items():
        session.execute(f"CREATE TABLE {table} ({columns}) ENGINE={engine} DEFAULT CHARSET=utf8")
        fill(session, rng, table, 1_000)
    session.close()
    with ground(clinic) as there:
        for number in range(1, ROUNDS + 1):
            session = drivers.MySQL(clinic.sandbox.admin("source"))
            work(session, rng, done)
            session.close()
            met_by[night(there, rng, tmp_path / str(number), done)] += 1
            if number % 5 and number != ROUNDS:
                continue
            run = clinic.run("--all")
            told = (SEED, number, done)
            assert run["exit_code"] == 0, ([one["error"] for one in run["tables"] if one["error"]], told)
            assert clinic.leftovers() == [], told
            assert [problem for name in TABLES for problem in differences(clinic.sandbox, name)[0]] == [], told
            done.clear()
    with capsys.disabled():
        print("\n".join(f"{number:4} {fault}" for fault, number in sorted(met_by.items())), flush=True)
