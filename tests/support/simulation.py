"""
A clinic's day, invented: what its people and its programs do to the tables between two runs.

The same for the same seed. Everything goes through the source as an
administrator; what is done to a table is reported by name, so that a run that
goes wrong can be read.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from arrowetl import drivers
from arrowetl.sandbox.opendental import SyntheticTable
from arrowetl.sql import mysql_name

NEW_COLUMNS = ("int NOT NULL DEFAULT 7", "varchar(40) NOT NULL DEFAULT 'new'", "datetime NULL", "tinyint(4) NULL",
               "double NOT NULL DEFAULT 0.5")  # fmt: skip
TEXTS, NUMBERS = ("varchar", "text", "mediumtext", "longtext", "char"), ("bigint", "int", "smallint", "double", "float")


@dataclass
class Day:
    """One day's work on the source."""

    session: drivers.MySQL
    tables: dict[str, SyntheticTable]
    rng: random.Random
    done: list[str] = field(default_factory=list)

    def work(self, tables: int, drift: bool) -> None:
        """Something to some of the tables; a column added to one of them, where the day has that."""
        for name in self.rng.sample(sorted(self.tables), tables):
            self.something(self.tables[name])
        if drift:
            table = self.tables[self.rng.choice(sorted(self.tables))]
            place = self.rng.choice(["", " FIRST", f" AFTER {mysql_name(table.columns[0].name)}"])
            column = f"Added{self.rng.randrange(10**6)}"
            self.say(table.name, f"ALTER TABLE {{t}} ADD COLUMN {column} {self.rng.choice(NEW_COLUMNS)}{place}")

    def something(self, table: SyntheticTable) -> None:
        acts: list[Callable[[SyntheticTable], None]] = [self.insert, self.update, self.update, self.delete]
        if table.key:
            acts += [self.update_without_timestamp, self.reinsert, self.move_keys]
        if self.rng.random() < 0.06:
            acts = [self.purge, self.empty]
        for act in self.rng.sample(acts, min(len(acts), self.rng.choice([1, 1, 2, 3]))):
            act(table)

    def say(self, table: str, statement: str) -> None:
        self.done.append(f"{table}: {statement}")
        self.session.execute(statement.replace("{t}", mysql_name(table)))

    def insert(self, table: SyntheticTable) -> None:
        """Copies of some rows under new keys, above the others or at random."""
        names = ", ".join(mysql_name(column.name) for column in table.columns)
        values = names
        if table.key:
            key = mysql_name(table.key)
            highest = self.session.rows(f"SELECT COALESCE(MAX({key}), 0) FROM {mysql_name(table.name)}")[0][0]
            above = int(highest) + 1 if highest < 2**40 else self.rng.randrange(2**50)
            above = min(above, 2**31 - 2_000_000)
            values = names.replace(key, f"{key} + {above}")
        limit = self.rng.randrange(1, 30)
        self.say(table.name, f"INSERT IGNORE INTO {{t}} ({names}) SELECT {values} FROM {{t}} LIMIT {limit}")

    def update(self, table: SyntheticTable, keep: str = "") -> None:
        columns = [c for c in table.columns if c.name != table.key and c.bare in (*TEXTS, *NUMBERS)]
        if not columns:
            return
        column = self.rng.choice(columns)
        name, number = mysql_name(column.name), self.rng.randrange(1000)
        value = f"'{number}'"[: (column.length or 255) + 1].rstrip("'") + "'" if column.bare in TEXTS else str(number)
        self.say(table.name, f"UPDATE {{t}} SET {name} = {value}{keep} WHERE {self.some(table)}")

    def update_without_timestamp(self, table: SyntheticTable) -> None:
        """As a tool does that writes back all columns of a row, its timestamp among them."""
        timestamps = [c.name for c in table.columns if "on update" in c.extra.lower()]
        self.update(table, "".join(f", {mysql_name(name)} = {mysql_name(name)}" for name in timestamps))

    def delete(self, table: SyntheticTable) -> None:
        self.say(table.name, f"DELETE FROM {{t}} WHERE {self.some(table)}")

    def reinsert(self, table: SyntheticTable) -> None:
        """A key that went comes back with another row's contents."""
        key = mysql_name(table.key or "")
        found = self.session.rows(f"SELECT {key} FROM {mysql_name(table.name)} ORDER BY {key} LIMIT 2")
        if len(found) == 2:
            (one,), (other,) = found
            names = ", ".join(mysql_name(column.name) for column in table.columns)
            self.say(table.name, f"DELETE FROM {{t}} WHERE {key} = {one}")
            copied = names.replace(key, str(one), 1)
            self.say(table.name, f"INSERT IGNORE INTO {{t}} ({names}) SELECT {copied} FROM {{t}} WHERE {key} = {other}")

    def move_keys(self, table: SyntheticTable) -> None:
        """Some rows under other keys, as a merge of two databases gives them."""
        key, by = mysql_name(table.key or ""), self.rng.randrange(10**6, 10**8)
        self.say(
            table.name, f"UPDATE IGNORE {{t}} SET {key} = {key} + {by} WHERE {key} < 1000000 AND {self.some(table)}"
        )

    def purge(self, table: SyntheticTable) -> None:
        """Most of a table goes at once."""
        key = mysql_name(table.key or table.columns[0].name)
        self.say(table.name, f"DELETE FROM {{t}} WHERE MOD({key}, 10) <> 3")

    def empty(self, table: SyntheticTable) -> None:
        self.say(table.name, "TRUNCATE {t}")

    def some(self, table: SyntheticTable) -> str:
        """A condition that is true of a few rows, one in ten to one in five hundred."""
        key, among = mysql_name(table.key or table.columns[0].name), self.rng.choice([10, 50, 200, 500])
        return f"MOD({key}, {among}) = {self.rng.randrange(among)}"


class Busy:
    """Somebody who goes on working while the run's run is under way."""

    def __init__(self, day: Day, tables: list[str]) -> None:
        self._day, self._tables, self._stop = day, tables, threading.Event()
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        while not self._stop.wait(0.02):
            self._day.something(self._day.tables[self._day.rng.choice(self._tables)])

    def __enter__(self) -> Busy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
