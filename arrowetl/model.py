"""
The nouns of arrowetl, as frozen values: what the catalog found, what was
planned, what came of it.

Nothing here does anything; whoever needs a new word for a thing that moves
between modules adds it here first. `catalog` values come from `source`,
plans from `plan`, outcomes from `transfer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import pyarrow as pa


class Flavour(StrEnum):
    """Which family a MySQL-speaking server belongs to."""

    MYSQL = "MySQL"
    MARIADB = "MariaDB"


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


# --- what introspection found -------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """A table as it stands at the warehouse: its columns with their types, in order, and who looks at it."""

    columns: tuple[tuple[str, str], ...]
    primary_key: tuple[str, ...]
    dependents: tuple[str, ...] = ()


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
    """Name of the rule in `schema.RULES`."""
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
    added_columns: tuple[Field, ...] = ()
    """Columns the warehouse's table lacks and gets before the merge."""
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.table.name


# --- what came of it ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reading:
    """What the source says of a table at one moment, to tell whether it moved while it was read."""

    rows: int
    update_time: datetime | None
    now: datetime
    """The server's own clock."""


@dataclass(frozen=True, slots=True)
class Coercion:
    """Values of one column that the warehouse could not hold as they were."""

    column: str
    found: str
    became: str
    count: int
    example_keys: tuple[int, ...] = ()
    """Primary keys of the first few, where the key is one integer column."""


@dataclass(frozen=True, slots=True)
class PartitionOutcome:
    rows: int
    bytes: int
    """Arrow bytes."""
    coercions: tuple[Coercion, ...] = ()


@dataclass(frozen=True, slots=True)
class Changes:
    """What a cutover wrote into the published table."""

    rows: int
    inserted: int = 0
    updated: int = 0
    deleted: int = 0


# --- what is told while it happens --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunPlanned:
    plans: tuple[TablePlan, ...]


@dataclass(frozen=True, slots=True)
class TableStarted:
    table: str
    partitions: int


@dataclass(frozen=True, slots=True)
class PartitionCarried:
    table: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class TableEnded:
    outcome: Outcome


class Status(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Failure:
    kind: str
    message: str
    remedy: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One table's result."""

    table: str
    category: str
    mode: Mode
    reason: str
    status: Status
    partitions: int = 0
    rows_extracted: int = 0
    rows_replica: int | None = None
    rows_warehouse: int | None = None
    changes: Changes = Changes(0)
    bytes_extracted: int = 0
    seconds: float = 0.0
    coercions: tuple[Coercion, ...] = ()
    settled: bool | None = None
    verdict: str | None = None
    failure: Failure | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """One run's result."""

    run_id: str
    environment: str
    started_at: datetime
    ended_at: datetime
    outcomes: tuple[Outcome, ...]
    connections: Mapping[str, Mapping[str, int]]
    """Endpoint name → opened, peak."""
    exit_code: int
    warnings: tuple[str, ...] = ()
    interrupted: bool = False

    @property
    def seconds(self) -> float:
        return (self.ended_at - self.started_at).total_seconds()

    def of(self, status: Status) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.status is status)

    def as_json(self) -> dict[str, Any]:
        """
        The document `run --json` prints.
        """
        categories = {
            category: _totals([o for o in self.outcomes if o.category == category])
            for category in ("large", "medium", "small", "tiny")
            if any(o.category == category for o in self.outcomes)
        }
        return {
            "run_id": self.run_id,
            "environment": self.environment,
            "started_at": self.started_at.isoformat(),
            "ended_at": self.ended_at.isoformat(),
            "seconds": round(self.seconds, 3),
            "exit_code": self.exit_code,
            "totals": _totals(self.outcomes) | {"by_category": categories},
            "connections": {name: dict(counts) for name, counts in self.connections.items()},
            "tables": [_outcome_json(outcome) for outcome in self.outcomes],
            "warnings": list(self.warnings),
        }


def _totals(outcomes: Any) -> dict[str, Any]:
    return {
        "tables": len(outcomes),
        "succeeded": sum(o.status is Status.SUCCEEDED for o in outcomes),
        "failed": sum(o.status is Status.FAILED for o in outcomes),
        "skipped": sum(o.status is Status.SKIPPED for o in outcomes),
        "rows_extracted": sum(o.rows_extracted for o in outcomes),
        "rows_deleted": sum(o.changes.deleted for o in outcomes),
        "bytes_extracted": sum(o.bytes_extracted for o in outcomes),
    }


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    coerced: dict[str, int] = {}
    for coercion in outcome.coercions:
        coerced[coercion.column] = coerced.get(coercion.column, 0) + coercion.count
    failure = outcome.failure
    return {
        "table": outcome.table,
        "category": outcome.category,
        "mode": outcome.mode.value,
        "reason": outcome.reason,
        "status": outcome.status.value,
        "partitions": outcome.partitions,
        "rows_extracted": outcome.rows_extracted,
        "rows_replica": outcome.rows_replica,
        "rows_warehouse": outcome.rows_warehouse,
        "rows_inserted": outcome.changes.inserted,
        "rows_updated": outcome.changes.updated,
        "rows_deleted": outcome.changes.deleted,
        "bytes_extracted": outcome.bytes_extracted,
        "seconds": round(outcome.seconds, 3),
        "rows_per_second": round(outcome.rows_extracted / outcome.seconds) if outcome.seconds else 0,
        "coerced": coerced,
        "coercions": [
            {
                "column": c.column,
                "from": c.found,
                "to": c.became,
                "count": c.count,
                "example_keys": list(c.example_keys),
            }
            for c in outcome.coercions
        ],
        "settled": outcome.settled,
        "verdict": outcome.verdict,
        "notes": list(outcome.notes),
        "error": failure and {"kind": failure.kind, "message": failure.message, "remedy": failure.remedy},
    }


Event = RunPlanned | TableStarted | PartitionCarried | TableEnded
