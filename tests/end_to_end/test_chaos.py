"""
Days of random work, runs of random faults; after the last clean run both targets are the source.

Twelve rounds here, the same each time; `ARROWETL_TEST_ROUNDS=500 ARROWETL_TEST_SEED=7 nox -s tests --
tests/end_to_end/test_chaos.py -n 0` makes others, and as many as one has time for.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from support.clinic import Clinic
from support.faults import FAULTS, IN_WORKERS, Act, Ground, ground, met, rob
from support.independent import differences
from support.injected import STEPS

from arrowetl import drivers
from arrowetl.errors import ArrowetlError
from arrowetl.model.connection import VARIABLES
from arrowetl.sandbox.launch import PASSWORD

ROUNDS = int(os.environ.get("ARROWETL_TEST_ROUNDS", "12"))
SEED = int(os.environ.get("ARROWETL_TEST_SEED", "20"))
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
  updated: {batch_size: 300, extraction_strategy: incremental, primary_incremental_column: s}
  random: {batch_size: 300}
"""
# A stall is waited for seconds, and tried at its steps elsewhere.
SOME: dict[str, Act] = {
    **{fault: act for fault, act in FAULTS.items() if "stalled" not in fault},
    "the run's locks are lost": lambda there, process, pid: rob(there.clinic, "its locks"),
    "all of its sessions at the targets are lost": lambda there, process, pid: rob(there.clinic, "every session"),
}
BACKUP = "chaos_backup"
ACCOUNT = "chaos"
# What servers may do to sessions that say nothing: server, statement, and the one that puts it back.
HABITS = (
    ("source", "SET GLOBAL init_connect = 'SET NAMES latin1'", "SET GLOBAL init_connect = ''"),
    ("source", "SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'", "SET GLOBAL sql_mode = DEFAULT"),
    ("source", "SET GLOBAL max_join_size = 10", "SET GLOBAL max_join_size = DEFAULT"),
    ("source", "SET GLOBAL time_zone = '+11:00'", "SET GLOBAL time_zone = 'SYSTEM'"),
    ("replica", "SET GLOBAL wait_timeout = 3", "SET GLOBAL wait_timeout = DEFAULT"),
    ("replica", "SET GLOBAL sql_mode = 'TRADITIONAL,PIPES_AS_CONCAT'", "SET GLOBAL sql_mode = DEFAULT"),
    ("replica", "SET GLOBAL tx_isolation = 'SERIALIZABLE'", "SET GLOBAL tx_isolation = DEFAULT"),
    *(
        ("warehouse", f"ALTER ROLE {{role}} SET {name} = {value}", f"ALTER ROLE {{role}} RESET {name}")
        for name, value in {
            "statement_timeout": "100", "standard_conforming_strings": "off", "quote_all_identifiers": "on",
            "datestyle": "'SQL, DMY'", "bytea_output": "escape", "search_path": "nowhere",
            "default_transaction_read_only": "on", "timezone": "'Asia/Tokyo'",
        }.items()
    ),
)  # fmt: skip


class Administrator:
    """Who changes servers, privileges and tables at the targets between two runs, and puts right what must be."""

    def __init__(self, clinic: Clinic) -> None:
        self._clinic = clinic
        self._back: list[tuple[str, str]] = []

    def say(self, server: str, *statements: str) -> None:
        endpoint = self._clinic.sandbox.admin(server)
        session = drivers.Postgres(endpoint) if server == "warehouse" else drivers.MySQL(endpoint)
        for statement in statements:
            # A table that has not arrived yet cannot be emptied.
            with suppress(ArrowetlError):
                session.execute(statement.replace("{role}", self._clinic.sandbox.warehouse.user))
        session.close()

    def day(self, rng: random.Random, done: list[str]) -> None:
        """One thing, or two, or none."""
        table = rng.choice(sorted(TABLES))
        for what in rng.sample(["empty", "lose", "backup", "restore", "revoke", "habit", "nothing", "nothing"], 2):
            if what == "empty":
                end = rng.choice(["replica", "warehouse"])
                self.say(end, f"TRUNCATE {'raw.' if end == 'warehouse' else ''}{table}")
            elif what == "lose":
                self.say("replica", f"DELETE FROM {table} WHERE MOD(Num, 2) = 0")
            elif what in ("backup", "restore"):
                kept = f"{BACKUP}.{table}"
                self.say("source", *(_copied(table, kept) if what == "backup" else _copied(kept, table)))
            elif what == "revoke":
                self.say("source", f"REVOKE SELECT ON {self._clinic.sandbox.source.database}.{table} FROM {ACCOUNT}")
            elif what == "habit":
                server, said, back = rng.choice(HABITS)
                self.say(server, said)
                self._back.append((server, back))
            done.append(f"{what} {table}")

    def grant(self) -> None:
        """What was taken from the account is given back: what it does not see cannot arrive."""
        database = self._clinic.sandbox.source.database
        self.say("source", *(f"GRANT SELECT ON {database}.{table} TO {ACCOUNT}" for table in TABLES))

    def put_back(self) -> None:
        for server, statement in self._back:
            self.say(server, statement)
        self._back.clear()


def _copied(there: str, here: str) -> tuple[str, ...]:
    """A table as it was, timestamps and all; nothing where there is none."""
    return (
        f"CREATE TABLE {here}_new LIKE {there}",
        f"INSERT INTO {here}_new SELECT * FROM {there}",
        # Without a copy of it the other one stays.
        f"RENAME TABLE {here} TO {here}_old, {here}_new TO {here}",
        f"RENAME TABLE {here}_new TO {here}",
        f"DROP TABLE IF EXISTS {here}_old, {here}_new",
    )


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
                "more rows",
                "more rows",
                "empty",
            ]
        )
        done.append(f"{table}: {one}")
        if one == "more rows":
            # Columns may have been added: the table begins again where they were.
            session.execute(f"DROP TABLE {table}")
            engine, columns = TABLES[table]
            session.execute(f"CREATE TABLE {table} ({columns}) ENGINE={engine} DEFAULT CHARSET=utf8")
            fill(session, rng, table, rng.randrange(1, 2_000))
        elif one == "empty":
            session.execute(f"TRUNCATE {table}")
        else:
            session.execute(one)


def day(there: Ground, rng: random.Random, place: Path, done: list[str]) -> str:
    """A run, and a fault at some step of it or at some time; what it was, in words."""
    fault, executor = rng.choice(sorted(SOME)), rng.choice(["thread", "process"])
    if rng.random() < 0.6:
        step = rng.choice(IN_WORKERS if "worker" in fault else sorted(STEPS))
        came = met(
            there, fault, step, place, "--executor", "process" if "worker" in fault else executor, act=SOME[fault]
        )
        words = f"{fault} at {step}" if came else f"{fault} at {step}, where it never came"
    else:
        process = there.start("run", "--all", "--json", "--max-workers", "2", "--executor", executor)
        delay = rng.uniform(0.1, 1.5)
        time.sleep(delay)
        children = psutil.Process(process.pid).children() if process.poll() is None else []
        target = rng.choice(children).pid if children else process.pid
        if process.poll() is None:
            SOME[fault](there, process, target)
        process.communicate(timeout=90)
        words = f"{fault} after {delay:.2f} s"
    done.append(words)
    there.mend()
    return fault


def test_chaos_ends_equal_after_a_clean_run(clinic: Clinic, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever was done, and whatever failed: after a clean run both targets have what the source has, and no more."""
    with capsys.disabled():
        print(f"\nchaos: {ROUNDS} rounds, ARROWETL_TEST_SEED={SEED}", flush=True)
    rng, done, met_by = random.Random(SEED), list[str](), Counter[str]()
    clinic.tables_file.write_text(SETTINGS)
    session = drivers.MySQL(clinic.sandbox.admin("source"))
    admin = Administrator(clinic)
    clinic.undo.append(admin.put_back)
    clinic.undo.append(lambda: admin.say("source", f"DROP DATABASE {BACKUP}", f"DROP USER {ACCOUNT}"))
    session.execute(f"CREATE DATABASE {BACKUP}")
    session.execute(f"CREATE USER {ACCOUNT} IDENTIFIED BY 'another {PASSWORD}'")
    clinic.environment |= {
        f"TEST_{VARIABLES['source']}_USER": ACCOUNT,
        f"TEST_{VARIABLES['source']}_PASSWORD": f"another {PASSWORD}",
    }
    for table, (engine, columns) in TABLES.items():
        session.execute(f"CREATE TABLE {table} ({columns}) ENGINE={engine} DEFAULT CHARSET=utf8")
        fill(session, rng, table, 1_000)
    session.close()
    admin.grant()
    with ground(clinic) as there:
        for number in range(1, ROUNDS + 1):
            session = drivers.MySQL(clinic.sandbox.admin("source"))
            work(session, rng, done)
            session.close()
            admin.day(rng, done)
            met_by[day(there, rng, tmp_path / str(number), done)] += 1
            if number % 5 and number != ROUNDS:
                continue
            admin.grant()
            run = clinic.run("--all")
            reported = (SEED, number, done)
            assert run["exit_code"] == 0, ([one["error"] for one in run["tables"] if one["error"]], reported)
            assert clinic.leftovers() == [], reported
            assert [problem for name in TABLES for problem in differences(clinic.sandbox, name)[0]] == [], reported
            done.clear()
            admin.put_back()
    with capsys.disabled():
        print("\n".join(f"{number:4} {fault}" for fault, number in sorted(met_by.items())), flush=True)
