"""
The nouns of arrowetl, as frozen values: what the catalog found, what was
asked for, what was planned.

Nothing here does anything; whoever needs a new word for a thing that moves
between modules adds it here first. Catalog values come from `source`, plans
from `plan`; what came of a plan is in `outcome`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import pyarrow as pa


class Flavour(StrEnum):
    """Which family a MySQL-speaking server belongs to."""

    MYSQL = "MySQL"
    MARIADB = "MariaDB"


VARIABLES = {"source": "OPENDENTAL_SOURCE", "replica": "MYSQL_REPLICATION", "warehouse": "POSTGRES_ANALYTICS"}
"""Server's name → what the names of its settings begin with."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server and one database on it, and how to reach them."""

    name: str
    """`source`, `replica` or `warehouse`."""
    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    namespace: str = ""
    """PostgreSQL's schema; empty for MySQL."""
    ssl_mode: str = "preferred"
    ssl_ca: str | None = None

    def __str__(self) -> str:
        place = f"{self.database}/{self.namespace}" if self.namespace else self.database
        return f"{self.name} {self.host}:{self.port}/{place}"


@dataclass(frozen=True, slots=True)
class Route:
    """Where one run reads and where it writes: all that a worker must know to reach the servers."""

    run_id: str
    source: Endpoint
    """The source, or the replica that is read in its stead."""
    replica: Endpoint | None
    """None where it is left as it is."""
    warehouse: Endpoint
    spill_directory: Path | None
    """The run's own, where there is a replica to load."""


# --- what introspection found -------------------------------------------------------------------


INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint")
"""MySQL's bare integer types."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the source, as information_schema has it."""

    name: str
    data_type: str
    """The bare type, lower case: `bigint`."""
    column_type: str
    """The whole type: `bigint(20) unsigned`."""
    nullable: bool = True
    charset: str | None = None
    collation: str | None = None
    precision: int | None = None
    """Digits of a number, or fraction digits of a time."""
    scale: int | None = None
    extra: str = ""
    """`auto_increment`, `on update current_timestamp()`, `VIRTUAL GENERATED` …"""

    @property
    def unsigned(self) -> bool:
        return "unsigned" in self.column_type


@dataclass(frozen=True, slots=True)
class Index:
    """A secondary index; each column with the length of its prefix, if it has one."""

    name: str
    columns: tuple[tuple[str, int | None], ...]
    unique: bool
    kind: str = "BTREE"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the source."""

    name: str
    flavour: Flavour
    """Of the server it stands on."""
    engine: str
    charset: str | None
    collation: str | None
    rows: int
    """Exact for MyISAM, an estimate for InnoDB."""
    data_bytes: int
    row_bytes: int
    """Average width of a row."""
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    indexes: tuple[Index, ...] = ()

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def integer_key(self) -> str | None:
        """The primary key, where it is one integer column: by it examples are told."""
        key = self.primary_key[0] if len(self.primary_key) == 1 else None
        return key if key and self.column(key).data_type in INTEGERS else None


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """What stands at the warehouse by a table's name: its columns with their types, in order, and who looks at it."""

    columns: tuple[tuple[str, str], ...]
    primary_key: tuple[str, ...]
    dependents: tuple[str, ...] = ()
    kind: str = "table"
    """Another one cannot be written into."""
    not_null: tuple[str, ...] = ()
    """Columns that somebody else forbade to be NULL, the key's left out."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the source says of a table at one moment, to tell whether it moved while it was read."""

    rows: int
    update_time: datetime | None
    now: datetime
    """The server's own clock."""


# --- what was asked for -------------------------------------------------------------------------

CATEGORIES = ("large", "medium", "small", "tiny")
PRIORITIES = ("high", "medium", "low")
STRATEGIES = ("full_table", "incremental", "incremental_chunked")


@dataclass(frozen=True, slots=True)
class TableSettings:
    """One table's entry of tables.yml, a person's overrides applied."""

    values: Mapping[str, Any] = field(default_factory=dict)

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    @property
    def excluded(self) -> bool:
        return bool(self.get("exclude", False))

    def column_types(self) -> dict[str, str]:
        return {name: entry["type"] for name, entry in self.get("columns", {}).items() if "type" in entry}

    def excluded_columns(self) -> set[str]:
        return {name for name, entry in self.get("columns", {}).items() if entry.get("exclude")}


# --- what was decided ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Partition:
    """A half-open range of the first primary key column; None is open."""

    index: int
    lower: int | None
    """WHERE key >= lower"""
    upper: int | None
    """AND key < upper"""


class Mode(StrEnum):
    FULL = "full"
    SKIPPED = "skipped"
    INCREMENTAL = "incremental"
    RECONCILE = "reconcile"


class Cutover(StrEnum):
    """How a staged table becomes the published one at the warehouse."""

    SWAP = "swap"
    """Rename staging into place: for a first load, or columns that cannot be followed in place."""
    MERGE = "merge"
    """Write only the rows that differ, by primary key, in one transaction."""
    REPLACE = "replace"
    """Delete all and insert all, in one transaction: for tables without a primary key."""


@dataclass(frozen=True, slots=True)
class Field:
    """A column on its way: where it comes from, what it is called and typed at the warehouse, by which rule."""

    column: Column
    rule: str
    """Name of the rule in `rules.RULES`."""
    name_postgres: str
    type_postgres: str
    arrow: pa.DataType


@dataclass(frozen=True, slots=True)
class TablePlan:
    """Everything decided about one table before a byte of it moves."""

    table: Table
    mode: Mode
    reason: str
    category: str
    priority: int
    """0 before 1 before 2."""
    fields: tuple[Field, ...]
    rows_per_partition: int
    name_postgres: str
    key_postgres: tuple[str, ...]
    """Primary key at the warehouse; empty where there is none."""
    cutover: Cutover
    published: PublishedTable | None = None
    """The table as it stands at the warehouse, where there is one."""
    added_columns: tuple[Field, ...] = ()
    """Columns the warehouse's table lacks and gets before the merge."""
    adds_key: bool = False
    """Whether the warehouse's table gets the primary key it lacks."""
    drops_key: bool = False
    """Whether it loses the one it has."""
    adopted: Mapping[str, str] = field(default_factory=dict)
    """Columns → types of a table somebody else made, kept as they are; to be recorded as overrides."""
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.table.name
