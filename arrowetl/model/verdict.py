"""
The nouns of a verification: what was found of a table, and of each row that is not the same everywhere.

Frozen values. `verify_table` finds them, `render_verify` shows them, `receipt` keeps them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from arrowetl.model.connection import SERVERS
from arrowetl.model.document import NOBODY, Identity, document
from arrowetl.model.judgement import Facts, judge
from arrowetl.model.plan import Partition
from arrowetl.model.result import Failure
from arrowetl.model.state import SourceStats


@dataclass(frozen=True, slots=True)
class Sum:
    """What one server says of a range: its rows, and the order-free sums of their checksums."""

    rows: int
    images: int | None = None
    """Over stored images: of the source and the replica."""
    texts: int | None = None
    """Over canonical texts: of the replica and the warehouse."""

    def __add__(self, other: Sum) -> Sum:
        return Sum(self.rows + other.rows, _added(self.images, other.images), _added(self.texts, other.texts))

    def as_json(self) -> dict[str, Any]:
        return {"rows": self.rows, "stored": _hex(self.images), "canonical": _hex(self.texts)}


def equal_sums(rows: int, images: int | None, texts: int) -> dict[str, Sum]:
    """Server → what it says of rows that are the same everywhere."""
    if images is None:
        return {"source": Sum(rows, None, texts), "warehouse": Sum(rows, None, texts)}
    return {
        "source": Sum(rows, images),
        "replica": Sum(rows, images, texts),
        "warehouse": Sum(rows, None, texts),
    }


def _added(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _hex(number: int | None) -> str | None:
    return None if number is None else f"{number:x}"


@dataclass(frozen=True, slots=True)
class RowDifference:
    """A row that differs at a target, is missing there, or exists only there."""

    target: str
    kind: str
    """missing, extra or changed; changed only where a key identifies rows."""
    key: Mapping[str, Any]
    """Column → value where it is an integer or values may be shown, else its digest."""
    columns: tuple[str, ...] = ()
    digests: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Column → a digest of the source's value, and of the target's; valid within this verification."""
    values: Mapping[str, tuple[Any, Any]] | None = None
    """The values themselves, where they were asked for; None where not."""

    def as_json(self) -> dict[str, Any]:
        shown = {"values": _pairs(self.values)} if self.values is not None else {}
        return {
            "end": self.target, "kind": self.kind, "key": dict(self.key), "columns": list(self.columns),
            "digests": _pairs(self.digests), **shown,
        }  # fmt: skip


def _pairs(each: Mapping[str, tuple[Any, Any]]) -> dict[str, dict[str, Any]]:
    return {column: {"source": source, "end": target} for column, (source, target) in each.items()}


@dataclass(frozen=True, slots=True)
class Ranged:
    """A range of a table with what each server said of it."""

    part: Partition
    sums: Mapping[str, Sum]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of comparing one table."""

    table: str
    verdict: str
    """equal, differs or failed."""
    ranges: tuple[Ranged, ...] = ()
    rows: Mapping[str, int | None] = field(default_factory=dict)
    differences: int = 0
    differing: tuple[RowDifference, ...] = ()
    """The first of them."""
    ranges_differing: tuple[Partition, ...] = ()
    left_out: tuple[str, ...] = ()
    """Columns that are not compared, since both targets have them masked, or do not have them."""
    note: str = ""
    """Remarks on the verdict: how little was read for it, or what prevents more."""
    seconds: float = 0.0
    rows_read: int = 0
    """Rows that were read, or added up, at all servers together."""
    failure: Failure | None = None
    repaired: int = 0
    """Rows that differed before they were reloaded."""
    repaired_rows: tuple[RowDifference, ...] = ()
    """The first of them."""
    reading: SourceStats | None = None
    """What the source said of the table before it was compared."""
    began: datetime | None = None
    """When it was compared."""
    watermark: str | None = None
    """That had been reached then."""
    recalled: datetime | None = None
    """When the trusted part of it was read; None where all was read."""
    structure: str = ""
    """A digest of what was compared."""

    @property
    def sums(self) -> dict[str, Sum]:
        """End → of all ranges together; nothing where not all were added up."""
        found: dict[str, Sum] = {}
        for ranged in self.ranges:
            for target, one in ranged.sums.items():
                found[target] = found[target] + one if target in found else one
        return found

    def as_json(self) -> dict[str, Any]:
        return {
            "table": self.table,
            "verdict": self.verdict,
            **{f"rows_{target}": self.rows.get(target) for target in SERVERS},
            "differences": self.differences if self.failure is None else None,
            "differing": [one.as_json() for one in self.differing],
            "columns_left_out": list(self.left_out),
            "checksums": {target: one.as_json() for target, one in self.sums.items()},
            "rows_read": self.rows_read,
            "seconds": round(self.seconds, 3),
            "repaired": self.repaired,
            "repaired_rows": [one.as_json() for one in self.repaired_rows],
            "note": self.note or None,
            "error": self.failure and self.failure.as_json(),
        }


@dataclass(frozen=True)
class VerifyResult:
    """What came of comparing many."""

    run_id: str
    tables: tuple[Verdict, ...]
    receipt: str | None = None
    """Digest of the receipt; None where none could be kept."""
    warnings: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """Tables that the targets have, and the source does not show."""
    has_replica: bool = True
    """Whether a replica was compared as well."""
    about: Identity = NOBODY
    """Whose it is."""
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def exit_code(self) -> int:
        """0, 5 where something differs, 1 where something could not be compared, or is missing."""
        words = Counter(verdict.verdict for verdict in self.tables)
        return judge(
            Facts(
                tables=len(self.tables), differing=words["differs"], failed=words["failed"], missing=len(self.missing)
            )
        ).exit_code

    def as_json(self) -> dict[str, Any]:
        """The document `verify --json` prints."""
        times = (self.started_at, self.ended_at)
        took = (times[1] - times[0]).total_seconds() if times[0] and times[1] else None
        more: dict[str, Any] = {
            "run_id": self.run_id,
            "started_at": times[0] and times[0].isoformat(),
            "ended_at": times[1] and times[1].isoformat(),
            "seconds": took and round(took, 3),
            "totals": {
                "tables": len(self.tables),
                **{word: sum(one.verdict == word for one in self.tables) for word in ("equal", "differs", "failed")},
                "rows_read": sum(one.rows_read for one in self.tables),
                "differences": sum(one.differences for one in self.tables),
            },
            "tables": [verdict.as_json() for verdict in self.tables],
            "missing": list(self.missing),
            "receipt": self.receipt,
            "warnings": list(self.warnings),
        }
        return document("verify", self.exit_code, self.about, **more)
