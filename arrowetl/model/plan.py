"""
The nouns of arrowetl, as frozen values: what the catalog found, what was
asked for, what was planned.

Nothing here acts. A new noun for something that moves between modules is
added here first. Catalog values come from `catalog`, plans
from `table_plan`; what came of a plan is in `result`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from arrowetl.model.dialect import INTEGERS, Flavour

if TYPE_CHECKING:
    import pyarrow as pa

# --- what introspection found -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the source, as information_schema has it."""

    name: str
    data_type: str
    """The bare type, lower case: `bigint`."""
    column_type: str
    """The full type: `bigint(20) unsigned`."""
    nullable: bool = True
    charset: str | None = None
    collation: str | None = None
    precision: int | None = None
    """Digits of a number, or fraction digits of a time."""
    scale: int | None = None
    extra: str = ""
    """`auto_increment`, `on update current_timestamp()`, `VIRTUAL GENERATED` …"""
    depends_on: str = ""
    """What the values of a VIRTUAL column depend on besides their row: `curdate()`, `rand()` …; empty of all others."""

    @property
    def labels_lost(self) -> bool:
        """Whether the catalog may lack the labels of an enum or set: it cannot store characters of four bytes."""
        return self.data_type in ("enum", "set") and self.charset == "utf8mb4" and "?" in self.column_type

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
    """Of the table's server."""
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
    update_time: datetime | None = None
    """When it last changed (UTC), where the engine records it."""
    checksum: int | None = None
    """Of all rows, where it was asked."""
    create_time: datetime | None = None
    """When it was created, or recreated (UTC)."""
    update_time_doubted: str = ""
    """Why `update_time` proves nothing, in words; empty where it does."""
    partitioned: bool = False
    exchangeable: str = ""
    """Why another table may have taken its place without moving its times: there is one like it; empty where not."""
    exchanges_partitions: str = ""
    """The same where a partition may be exchanged, now or any time."""
    hides_columns: bool = False
    """Whether it has columns that are not shown to this account, where that was asked."""
    cascades: tuple[str, ...] = ()
    """Foreign keys whose actions change its rows; of tables of which that was asked."""

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def integer_key(self) -> str | None:
        """The primary key, where it is one integer column: examples are named by it."""
        key = self.primary_key[0] if len(self.primary_key) == 1 else None
        return key if key and self.column(key).data_type in INTEGERS else None


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """The warehouse's table of a table's name: its columns with their types, in order, and who looks at it."""

    columns: tuple[tuple[str, str], ...]
    primary_key: tuple[str, ...]
    dependents: tuple[str, ...] = ()
    kind: str = "table"
    """Another one cannot be written into."""
    not_null: tuple[str, ...] = ()
    """Columns that somebody else forbade to be NULL, the key's left out."""
    used: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Column → the views that name it."""
    united: frozenset[str] = frozenset()
    """Views over the tables of many clinics, which are recreated from whatever the tables then have."""
    is_empty: bool = False
    """Whether it has no page of rows, as after TRUNCATE."""
    columns_ever: int = 0
    """How many it has had: dropped columns count against PostgreSQL's limit."""


# --- what was asked for -------------------------------------------------------------------------


# --- what was decided ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Partition:
    """A half-open range of the first primary key column; None is open."""

    index: int
    lower: int | None
    """WHERE key >= lower"""
    upper: int | None
    """AND key < upper"""
    incremental_from: str | None = None
    """AND watermark >= since"""
    keys: tuple[int, ...] | None = None
    """AND key IN (…)"""
    condition: str = ""
    """AND whatever else, in the server's own words."""
    rows: int = 0
    """About how many the source has in it."""
    bytes: int = 0
    """Of what may be long in them, where that was added up; 0 where it was not."""
    resume_token: str | None = None
    """By which both targets record that they have it, where an interrupted run's successor is to find it."""
    attempt: str | None = None
    """Of this load of the table; a job of another attempt may load nothing. None where no job can be lost."""
    execution: str | None = None
    """Which of the times that it was begun, where a job that was lost may be done twice."""
    may_defer_ingest: bool = False
    """Whether its rows may wait for the warehouse until the replica has all of the table."""


class Mode(StrEnum):
    """How a table was loaded, as documents and tracking tables have it."""

    FULL = "full"
    """Every row is read; and staged, unless the targets are proven to have it."""
    SKIPPED = "skipped"
    """Nothing is read: the source is proven unchanged."""
    INCREMENTAL = "incremental"
    """Rows past the watermark are read and staged; what else differs is found by checksums."""
    RECONCILE = "reconcile"
    """Source and replica are compared; only what differs is staged."""


class Stages(StrEnum):
    ALL = "all rows"
    CHANGES = "what changed"
    NOTHING = "nothing"


class LoadKind(StrEnum):
    """
    How a table is loaded: one of these, chosen by `sync_mode`, and all that is to be known of each.

    The value is the `value` of etl_table_history, by which what runs took is remembered.
    """

    mode: Mode
    stages: Stages
    copies: int
    """How many times a partition's rows are held at once; 0 where only sums of them are."""

    def __new__(cls, value: str, mode: Mode, stages: Stages, copies: int) -> LoadKind:
        kind = str.__new__(cls, value)
        kind._value_, kind.mode, kind.stages, kind.copies = value, mode, stages, copies
        return kind

    FIRST_LOAD = "first load", Mode.FULL, Stages.ALL, 1
    FULL = "full", Mode.FULL, Stages.ALL, 1
    PROOF = "proof", Mode.FULL, Stages.CHANGES, 2
    """All three servers are read, and each target is given only the rows it is missing."""
    FROM_REPLICA = "from replica", Mode.FULL, Stages.ALL, 1
    """The replica is read, and only the warehouse written."""
    INCREMENTAL = "incremental", Mode.INCREMENTAL, Stages.CHANGES, 0
    """Rows past the watermark are read, and the rest is compared by checksums."""
    BY_READING = "compared by reading", Mode.RECONCILE, Stages.CHANGES, 2
    """Source and replica are read, and compared here."""
    BY_CHECKSUMS = "compared by checksums", Mode.RECONCILE, Stages.CHANGES, 0
    """Both servers add up checksums of their rows; rows are read where these differ."""
    COMPARE_THEN_FULL = "compared whole", Mode.RECONCILE, Stages.CHANGES, 2
    """Without a key to identify rows: both are read, and where they differ, the full table is loaded."""
    CATCHING_UP = "catching up", Mode.SKIPPED, Stages.NOTHING, 0
    """The source is proven unchanged, and the warehouse lags behind the replica: it is reloaded from there."""
    SKIPPED = "skipped", Mode.SKIPPED, Stages.NOTHING, 0

    @property
    def reads_all(self) -> bool:
        """Whether its time follows the number of rows."""
        return self.copies > 0

    @property
    def goes_by_checksums(self) -> bool:
        """Whether rows are read only where sums of them differ."""
        return self in (LoadKind.INCREMENTAL, LoadKind.BY_CHECKSUMS)

    @property
    def is_full_load(self) -> bool:
        """Whether its duration is what is meant by reading a full table."""
        return self in (LoadKind.FIRST_LOAD, LoadKind.FULL, LoadKind.PROOF)


class Cutover(StrEnum):
    """How staged rows become published ones at the warehouse."""

    SWAP = "swap"
    """Rename staging into place: for a first load."""
    MERGE = "merge"
    """Write only the rows that differ, by primary key, in one transaction."""
    MATCH = "match"
    """Write only the rows that differ, row against row, in one transaction: where there is no primary key."""


@dataclass(frozen=True, slots=True)
class Field:
    """A column in transit: where it comes from, its name and type at the warehouse, by which rule."""

    column: Column
    rule: str
    """Name of the rule in `rules.RULES`."""
    name_postgres: str
    type_postgres: str
    arrow: pa.DataType
    mask: str | None = None
    """One of `connection.MASKS`: the targets get a mask instead of the source's values."""

    @property
    def is_compared(self) -> bool:
        """Whether the targets are to have what the source has at any other time."""
        return not self.mask and not self.column.depends_on


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """What the warehouse's table is to become first, so that it can hold the rows; its identity stays."""

    added: tuple[Field, ...] = ()
    retyped: tuple[Field, ...] = ()
    """To be of their new types."""
    widened: tuple[Field, ...] = ()
    """Of those, the ones whose new type holds every value of the old."""
    dropped: tuple[str, ...] = ()
    adds_key: bool = False
    drops_key: bool = False
    """Whether it loses the primary key it has, be it for another."""
    views: tuple[str, ...] = ()
    """Views that block a change of type, to be saved and recreated in the same transaction."""
    recreates_table: bool = False
    """Whether the table itself is recreated, so that dropped columns no longer count."""

    def __bool__(self) -> bool:
        return bool(self.added or self.retyped or self.dropped or self.adds_key or self.drops_key)

    @property
    def changes_values(self) -> bool:
        """Whether values of a column change: they are missing until the rows are there."""
        return len(self.retyped) > len(self.widened)


@dataclass(frozen=True, slots=True)
class TableEstimate:
    """What a table will take."""

    rows: int = 0
    """That will be read of the source."""
    seconds: float = 0.0
    spread: float = 0.0
    """Seconds, more or less, by which the runs before differed."""
    runs: int = 0
    """By how many runs before; 0 is a guess."""


NO_ESTIMATE = TableEstimate()


@dataclass(frozen=True, slots=True)
class TablePlan:
    """Everything decided about one table before a byte of it moves."""

    table: Table
    kind: LoadKind
    reason: str
    category: str
    priority: int
    """0 before 1 before 2."""
    fields: tuple[Field, ...]
    rows_per_partition: int
    """As planned; where tables.yml chooses none, they follow the run's pace."""
    name_postgres: str
    key_postgres: tuple[str, ...]
    """Primary key at the warehouse; empty where there is none."""
    cutover: Cutover
    reason_code: str = ""
    """The reason, for programs: one of `reasons.CODES`."""
    full_scan_per_partition: bool = False
    """Whether the source scans the full table for each partition."""
    batch_size: int | None = None
    """Rows of a partition at most, as tables.yml has it."""
    partition_bytes: int | None = None
    """Bytes of a partition, where tables.yml chooses."""
    workers: int | None = None
    """Partitions at a time at most, where tables.yml chooses."""
    published: PublishedTable | None = None
    """The warehouse's table, where there is one."""
    drift: SchemaChange = SchemaChange()
    """How the warehouse's table is to follow before the rows do."""
    watermark: str | None = None
    """The column by which changes are known, where there is one."""
    incremental_from: str | None = None
    """From where on the watermark is read: the recorded one less the overlap."""
    structure: str = ""
    """A digest of the columns and the key."""
    warehouse_key_dropped: bool = False
    """Whether the warehouse was found not to hold the primary key."""
    reload_warehouse_from_replica: bool = False
    """Whether the warehouse is behind the replica, and is to take everything from there."""
    at_replica: str = ""
    """The shape of the replica's table, once this plan is done."""
    mask_mark: str = ""
    """By which another key of its masks is noticed."""
    adopted: Mapping[str, str] = field(default_factory=dict)
    """Columns → types of a table that arrowetl did not make, kept as they are; to be recorded in arrowetl.yml."""
    notes: tuple[str, ...] = ()
    expected: TableEstimate = NO_ESTIMATE
    only: str = ""
    """The only target that is written, where the other cannot take it; empty where all are."""
    run: str = ""
    """The mark of its run, which names its staging."""

    @property
    def mode(self) -> Mode:
        return self.kind.mode

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def staging_id(self) -> str:
        """By which staging that a run left is known to be of the same columns, in the same form."""
        forms = [(f.column.name, f.rule, f.type_postgres) for f in self.fields]
        said = repr((self.structure, forms, self.key_postgres, self.cutover.value))
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    @property
    def key_fields(self) -> tuple[Field, ...]:
        """The fields of the primary key, in the key's order; none where a column of it is left out."""
        fields = {field.column.name: field for field in self.fields}
        key = self.table.primary_key
        return tuple(fields[name] for name in key) if fields.keys() >= set(key) else ()

    @property
    def masked(self) -> tuple[str, ...]:
        """The columns that are masked."""
        return tuple(field.column.name for field in self.fields if field.mask)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The columns that are in no checksum, and compared by none: masked ones, and those of the clock."""
        return tuple(field.column.name for field in self.fields if not field.is_compared)

    @property
    def is_partitioned(self) -> bool:
        """Whether it may be loaded in several partitions."""
        return self.table.rows > self.rows_per_partition

    @property
    def reads_replica(self) -> bool:
        """Whether the replica is read, and only the warehouse written."""
        return self.kind is LoadKind.FROM_REPLICA

    @property
    def stages_changes_only(self) -> bool:
        """Whether only what changed is staged."""
        return self.kind.stages is Stages.CHANGES

    @property
    def stages_all_rows(self) -> bool:
        """Whether all of the source's rows are staged."""
        return self.kind.stages is Stages.ALL and not self.reads_replica
