"""
The nouns of recorded state: what the source said of a table when it was read, and what the targets say they store.

The partner of `plan`, which has what is found and planned. `ledger` and
the loaders write and read them; `sync_mode` decides by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from arrowetl.model.plan import Partition, PublishedTable


@dataclass(frozen=True, slots=True)
class SourceStats:
    """What the source says of a table at one time, to see whether it changed while it was read, or since."""

    rows: int
    update_time: datetime | None
    now: datetime
    """The server's own clock."""
    checksum: int | None = None
    """Of all rows, of small tables whose engine does not say when they changed."""
    create_time: datetime | None = None
    """When the table was made; None where the server does not say."""
    update_time_reliable: bool = True
    """Whether `update_time` would have moved at any change."""
    server_changes: int | None = None
    """How many rows of any table its server has written and removed so far; None where `update_time` says more."""


@dataclass(frozen=True, slots=True)
class SyncPoint:
    """What was known of the source when a target was last in sync with it."""

    source: str
    """Which server and database was read."""
    structure: str
    """A digest of the columns and the key that were loaded."""
    compared_at: datetime
    """When every row was last read, or compared."""
    reading: SourceStats | None = None
    """None where the table was written to meanwhile, or may have been."""
    warehouse_key_dropped: bool = False
    """Whether the warehouse could not hold the primary key."""
    masks: str = ""
    """A digest of the columns that were masked, and how."""
    keys: str = ""
    """A digest of the unique keys that the replica was given."""
    at_replica: str = ""
    """The shape of the replica's table, as its server described it."""


@dataclass(frozen=True, slots=True)
class TargetState:
    """What the ledger of one target says of a table."""

    version: str | None = None
    """The run that last changed the target's rows: targets of one version store the same. None is in doubt."""
    rows: int | None = None
    checked_at: datetime | None = None
    """When it was last proven current."""
    watermark: str | None = None
    watermark_column: str | None = None
    as_of: SyncPoint | None = None
    changed_at: datetime | None = None
    """When its rows were last changed, by the target's own clock."""


NO_STATE = TargetState()


@dataclass(frozen=True, slots=True)
class RangesToRepair:
    """What a comparison has just found in a table: only some ranges differ, the others need not be read again."""

    differing: tuple[Partition, ...]
    rows_equal: int
    """The source's rows in all the others."""
    reading: SourceStats
    """What the source said of the table before it was compared."""
    began: datetime
    """When the comparison did."""
    watermark: str | None = None
    """That had been reached then."""


@dataclass(frozen=True, slots=True)
class VerifiedRange:
    """A range that was equal at all servers, and its sums there."""

    part: Partition
    rows: int
    images: int | None
    """None where there is no replica, with whose the source's are compared."""
    texts: int


@dataclass(frozen=True, slots=True)
class LastVerification:
    """What is remembered of a table's last verification, which found it equal."""

    run_id: str
    """Of the verification."""
    verified_at: datetime
    version: str | None
    """That both targets had."""
    structure: str
    """A digest of the columns that were compared, and of the key."""
    reading: SourceStats
    watermark: str | None
    """That had been reached when it began."""
    ranges: tuple[VerifiedRange, ...]

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.ranges)


@dataclass(frozen=True, slots=True)
class TableState:
    """What exists at the targets under a table's name, and what is recorded of it there."""

    replica: TargetState = NO_STATE
    warehouse: TargetState = NO_STATE
    at_replica: bool = False
    """Whether the replica has the table."""
    published: PublishedTable | None = None
