"""
Results, as frozen values: of a partition, a table, a run.

The partner of `plan`, which says what was planned. Outcomes are made by
`load_table`, a summary by `run`; nothing here does anything but show itself as
the document that `run --json` prints.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from arrowetl.errors import WITHHELD, ArrowetlError, Interrupted
from arrowetl.model.connection import CATEGORIES
from arrowetl.model.document import NOBODY, Identity, document
from arrowetl.model.plan import NO_ESTIMATE, LoadKind, Mode, Partition, TableEstimate, TablePlan


@dataclass(frozen=True, slots=True)
class ConnectionCount:
    """How many connections a server has had from somewhere, and how many at once."""

    endpoint: str
    opened: int
    peak: int


@dataclass(frozen=True, slots=True)
class Coercion:
    """Values of one column that the warehouse could not hold as they were."""

    column: str
    found: str
    became: str
    count: int
    example_keys: tuple[int, ...] = ()
    """Primary keys of the first few, where the key is one integer column."""
    is_new: bool = False
    """Whether the last run of the table that succeeded had none such."""

    def as_json(self) -> dict[str, Any]:
        return {
            "column": self.column,
            "from": self.found,
            "to": self.became,
            "count": self.count,
            "example_keys": list(self.example_keys),
            "is_new": self.is_new,
        }

    @classmethod
    def from_json(cls, recorded: Mapping[str, Any]) -> Coercion:
        """One that was recorded; its news are old."""
        return cls(recorded["column"], recorded["from"], recorded["to"], recorded["count"])


def coercions_text(coercions: Iterable[Coercion]) -> str:
    """As they are recorded."""
    return json.dumps([coercion.as_json() for coercion in coercions])


def coercions_from(text: str | None) -> tuple[Coercion, ...]:
    """What `coercions_text` made."""
    return tuple(map(Coercion.from_json, json.loads(text or "[]")))


PHASES = ("extract", "compare", "spill", "load", "coerce", "ingest", "finish", "cutover")
"""
What rows go through: read, or compared with what is there; written as text, LOAD DATA; made the warehouse's own, COPY;
indexed in staging; switched.
"""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What came of the rows that a target was given."""

    coercions: tuple[Coercion, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Phase → seconds."""


@dataclass(frozen=True, slots=True)
class PartitionOutcome:
    """What one worker loaded, or found to differ."""

    rows: int
    """Rows read from the source."""
    bytes: int
    """Arrow bytes of them."""
    staged: int
    """Rows that were staged at the targets."""
    rows_deleted: int
    """Rows that the source no longer has."""
    rows_in_source: int
    """Rows that the source has in the range."""
    coercions: tuple[Coercion, ...]
    process: int | str
    """The process that did it, or a cluster's worker, and the connections it has had until then."""
    connections: tuple[ConnectionCount, ...]
    deferred: DeferredIngest | None = None
    """What of it is still to be given to the warehouse."""
    completes: bool = False
    """Whether it is the rest of a partition whose rows had waited."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Phase → seconds."""
    part: Partition | None = None
    """As it was loaded, where it may have been loaded more than once."""


@dataclass(frozen=True, slots=True)
class DeferredIngest:
    """Rows on disk that the replica has, and the warehouse has not."""

    plan: TablePlan
    """With its fields as they were read."""
    part: Partition
    path: Path


@dataclass(frozen=True, slots=True)
class StagedCounts:
    """What lies in staging, and how many rows the published table has when it is theirs."""

    rows: int
    rows_deleted: int
    expected: int

    def __bool__(self) -> bool:
        return bool(self.rows or self.rows_deleted)


@dataclass(frozen=True, slots=True)
class RowCounts:
    """How many rows a cutover wrote into the published table."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    how: str = ""
    """The method by which they were written, where there was a choice."""

    def __bool__(self) -> bool:
        return bool(self.inserted or self.updated or self.deleted)


StateStatement = Callable[[RowCounts], str]
"""What was changed → the ledger's statement about it, for the same transaction."""


class Status(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a table failed, and what to do about it."""

    kind: str
    message: str
    remedy: str | None
    code: str = ""
    """For programs, finer than the kind."""

    @classmethod
    def of(cls, error: ArrowetlError, table: str = "") -> Failure:
        """An error as a table's failure: its message names the table, if it did not already."""
        message = error.message if error.message.startswith(table) else f"{table}: {error.message}"
        return cls(error.kind, message, error.remedy, error.slug)

    @property
    def is_collateral(self) -> bool:
        """Whether nothing is wrong with the table itself: the run was stopped, or another one failed."""
        return self.kind in (Interrupted.__name__, WITHHELD)

    def as_json(self) -> dict[str, str | None]:
        return {"kind": self.kind, "code": self.code or None, "message": self.message, "remedy": self.remedy}


@dataclass(frozen=True, slots=True)
class Flag:
    """Something a person should look at, although nothing failed."""

    kind: str
    """One of `monitor.KINDS`."""
    message: str

    def as_json(self) -> dict[str, str]:
        return {"kind": self.kind, "message": self.message}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One table's result."""

    table: str
    category: str
    mode: Mode
    reason: str
    status: Status
    reason_code: str = ""
    """The reason, for programs."""
    partitions: int = 0
    rows_extracted: int = 0
    rows_replica: int | None = None
    rows_warehouse: int | None = None
    changes: RowCounts = RowCounts()
    """At the warehouse."""
    bytes_extracted: int = 0
    seconds: float = 0.0
    coercions: tuple[Coercion, ...] = ()
    settled: bool | None = None
    verdict: str | None = None
    failure: Failure | None = None
    notes: tuple[str, ...] = ()
    flags: tuple[Flag, ...] = ()
    kind: LoadKind = LoadKind.SKIPPED
    expected: TableEstimate = NO_ESTIMATE
    """As it was planned."""
    attempts: int = 1
    """How often it was tried, the last time included."""
    started_at: datetime | None = None
    worker: int | None = None
    """Which of the threads walked it, from 0."""
    phases: Mapping[str, float] = field(default_factory=dict)
    """Phase → seconds, of all its partitions together."""

    def followed_by(self, second: Outcome) -> Outcome:
        """The outcome of a table that the warehouse took from the replica afterwards."""
        return replace(
            self,
            rows_warehouse=second.rows_warehouse,
            changes=second.changes,
            seconds=self.seconds + second.seconds,
            coercions=second.coercions,
            notes=tuple(dict.fromkeys((*self.notes, *second.notes))),
            phases={
                phase: self.phases.get(phase, 0.0) + second.phases.get(phase, 0.0)
                for phase in {**self.phases, **second.phases}
            },
        )

    def coerced(self) -> dict[str, int]:
        """Column → values coerced, whatever they became."""
        counts: dict[str, int] = {}
        for coercion in self.coercions:
            counts[coercion.column] = counts.get(coercion.column, 0) + coercion.count
        return counts

    def as_json(self) -> dict[str, Any]:
        return {
            "table": self.table,
            "category": self.category,
            "mode": self.mode.value,
            "reason": self.reason,
            "reason_code": self.reason_code or None,
            "status": self.status.value,
            "partitions": self.partitions,
            "rows_extracted": self.rows_extracted,
            "rows_replica": self.rows_replica,
            "rows_warehouse": self.rows_warehouse,
            "rows_inserted": self.changes.inserted,
            "rows_updated": self.changes.updated,
            "rows_deleted": self.changes.deleted,
            "bytes_extracted": self.bytes_extracted,
            "seconds": round(self.seconds, 3),
            "seconds_expected": round(self.expected.seconds, 3),
            "rows_per_second": round(self.rows_extracted / self.seconds) if self.seconds else 0,
            "coerced": self.coerced(),
            "coercions": [coercion.as_json() for coercion in self.coercions],
            "settled": self.settled,
            "verdict": self.verdict,
            "attempts": self.attempts,
            "started_at": self.started_at and self.started_at.isoformat(),
            "worker": self.worker,
            "phases": {phase: round(self.phases[phase], 3) for phase in PHASES if phase in self.phases},
            "notes": list(self.notes),
            "flags": [flag.as_json() for flag in self.flags],
            "error": self.failure and self.failure.as_json(),
        }


@dataclass(frozen=True, slots=True)
class Published:
    """All tables of a run, switched in one transaction of the warehouse."""

    tables: int
    seconds: float
    """That it took, in which readers still saw what was there before."""

    def as_json(self) -> dict[str, Any]:
        return {"tables": self.tables, "seconds": round(self.seconds, 3)}


@dataclass(frozen=True, slots=True)
class Summary:
    """One run's result."""

    run_id: str
    environment: str
    started_at: datetime
    ended_at: datetime
    outcomes: tuple[Outcome, ...] = ()
    exit_code: int = 0
    connections: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Server's name → `opened` and `peak`."""
    warnings: tuple[str, ...] = ()
    interrupted: bool = False
    estimate: Mapping[str, Any] = field(default_factory=dict)
    """How long it was expected to take; nothing where it was not."""
    overdue: Mapping[str, Flag] = field(default_factory=dict)
    """Tables that the run was not asked for, and that no run has loaded for too long."""
    published: Published | None = None
    """Where all tables were switched together, what that was."""
    read_from: str = "source"
    to: str = "both"
    """Which targets were written."""
    vanished: tuple[str, ...] = ()
    """Tables that tables.yml or a record names, and the source has not, or does not show to this account."""
    missing: tuple[str, ...] = ()
    """Those of them that were there."""
    shows_nothing: bool = False
    """Whether the source shows no table."""
    about: Identity = NOBODY
    """Whose it is."""

    @property
    def seconds(self) -> float:
        return (self.ended_at - self.started_at).total_seconds()

    def of(self, status: Status) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.status is status)

    def totals(self) -> dict[str, int]:
        return _totals(self.outcomes)

    def as_json(self) -> dict[str, Any]:
        """
        The document `run --json` prints.
        """
        categories = {
            category: _totals(those)
            for category in CATEGORIES
            if (those := [outcome for outcome in self.outcomes if outcome.category == category])
        }
        more: dict[str, Any] = {
            "run_id": self.run_id,
            "from": self.read_from,
            "to": self.to,
            "started_at": self.started_at.isoformat(),
            "ended_at": self.ended_at.isoformat(),
            "seconds": round(self.seconds, 3),
            "totals": {**self.totals(), "by_category": categories},
            "connections": {name: dict(counts) for name, counts in self.connections.items()},
            "estimate": dict(self.estimate) or None,
            "published": self.published and self.published.as_json(),
            "tables": [outcome.as_json() for outcome in self.outcomes],
            "vanished": list(self.vanished),
            "missing": list(self.missing),
            "shows_nothing": self.shows_nothing,
            "overdue": [{"table": name, "message": flag.message} for name, flag in self.overdue.items()],
            "warnings": list(self.warnings),
        }
        about = replace(self.about, environment=self.environment)
        return document("run", self.exit_code, about, **more)


def _totals(outcomes: Iterable[Outcome]) -> dict[str, int]:
    outcomes = list(outcomes)
    return {
        "tables": len(outcomes),
        **{status.value: sum(o.status is status for o in outcomes) for status in Status},
        "rows_extracted": sum(o.rows_extracted for o in outcomes),
        "rows_inserted": sum(o.changes.inserted for o in outcomes),
        "rows_updated": sum(o.changes.updated for o in outcomes),
        "rows_deleted": sum(o.changes.deleted for o in outcomes),
        "coerced": sum(sum(o.coerced().values()) for o in outcomes),
        "bytes_extracted": sum(o.bytes_extracted for o in outcomes),
    }
