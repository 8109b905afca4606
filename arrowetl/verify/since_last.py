"""
What the last verification found, and which parts of a table therefore need not be read.

Asked for with `verify --changed`. A table that the source proves unchanged is
as it was found; of one whose changes the server timestamps, only the ranges with
changes are added up again. Anything else is verified in full, by `verify_table`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from arrowetl import limits
from arrowetl.model.connection import SERVERS
from arrowetl.model.plan import Partition, TablePlan
from arrowetl.model.state import LastVerification, SourceStats, SyncPoint, TableState, TargetState, VerifiedRange
from arrowetl.model.verdict import Ranged, Verdict, equal_sums
from arrowetl.planning import evidence, sync_mode
from arrowetl.source.reader import Source
from arrowetl.types import checksum_text
from arrowetl.verify.drilldown import TableSide


@dataclass(frozen=True)
class IncrementalVerification:
    """What is to be verified of a table, and what need not be."""

    parts: tuple[Partition, ...]
    kept: tuple[VerifiedRange, ...]
    note: str
    as_of: datetime
    """When the trusted part was read."""


def structure(planned: TablePlan) -> str:
    """A digest of what is compared of a table, and how."""
    said = [
        [f.column.name, f.rule, f.type_postgres, checksum_text.canonical_text(f)]
        for f in planned.fields
        if f.is_compared
    ]
    return hashlib.sha256(json.dumps([said, planned.table.primary_key]).encode()).hexdigest()[:16]


def recalled(
    planned: TablePlan,
    known: LastVerification | None,
    state: TableState,
    reading: SourceStats,
    asked: Sequence[TableSide],
    source: Source,
) -> IncrementalVerification | None:
    """
    What need not be read; None where nothing is certain.

    Args:
        reading: what the source says now.
    """
    version = _version(state, has_replica=len(asked) == len(SERVERS))
    if known is None or version is None or known.structure != structure(planned):
        return None
    seen = replace(
        planned.table,
        rows=reading.rows,
        update_time=reading.update_time,
        checksum=reading.checksum,
        create_time=reading.create_time,
    )
    before = TargetState(as_of=SyncPoint("", "", known.verified_at, known.reading))
    as_of_words = f"as it was found on {known.verified_at:%Y-%m-%d %H:%M} UTC"
    if version == known.version and (proof := evidence.unchanged(seen, before)):
        # That no one else emptied a target, or took rows out of it, is soon asked.
        if all(_counted(one, asked) for one in known.ranges):
            return IncrementalVerification((), known.ranges, f"{as_of_words}: {proof.words}", known.verified_at)
        return None
    since = (
        sync_mode.watermark_less_overlap(known.watermark, planned.table.column(planned.watermark))
        if planned.watermark
        else None
    )
    if since is None or not asked[0].side.key:
        return None
    keys = source.changed_keys(planned, since)
    touched = {number for number, one in enumerate(known.ranges) if _has(one.part, keys) or not _counted(one, asked)}
    bounds = [(known.ranges[number].part.lower, known.ranges[number].part.upper) for number in sorted(touched)]
    parts = tuple(source.partitions(planned, bounds, lambda: limits.verified_rows))
    kept = tuple(one for number, one in enumerate(known.ranges) if number not in touched)
    words = f"{len(kept)} of {len(known.ranges)} ranges {as_of_words}: no row of them changed later"
    return IncrementalVerification(parts, kept, words, known.verified_at)


def _version(state: TableState, has_replica: bool) -> str | None:
    """That the targets have; None where they do not have the same."""
    version = state.warehouse.version
    return version if not has_replica or version == state.replica.version else None


def _has(part: Partition, keys: Sequence[int]) -> bool:
    return any((part.lower is None or key >= part.lower) and (part.upper is None or key < part.upper) for key in keys)


def _counted(one: VerifiedRange, asked: Sequence[TableSide]) -> bool:
    """Whether all servers still have as many rows in it: deletes have no timestamp."""
    return all(int(a.target.answers(a.side.sums(one.part, (), 0))[0][0]) == one.rows for a in asked)


def as_found(kept: Sequence[VerifiedRange]) -> tuple[Ranged, ...]:
    """What is remembered, as if it had been read."""
    return tuple(Ranged(one.part, equal_sums(one.rows, one.images, one.texts)) for one in kept)


def known_of(
    verdicts: Sequence[Verdict], states: Mapping[str, TableState], has_replica: bool, run_id: str, now: datetime
) -> dict[str, LastVerification]:
    """
    Table → what is to be remembered of it: of those that are equal. What was trusted stays as old as it was.
    """
    found = {}
    for verdict in verdicts:
        state = states.get(verdict.table, TableState())
        version = state.replica.version if has_replica else state.warehouse.version
        ranges = _known_ranges(verdict)
        if verdict.verdict == "equal" and ranges and verdict.reading and version:
            as_of = (verdict.recalled or now).astimezone(UTC)
            found[verdict.table] = LastVerification(
                run_id=run_id,
                verified_at=as_of,
                version=version,
                structure=verdict.structure,
                reading=verdict.reading,
                watermark=verdict.watermark,
                ranges=ranges,
            )
    return found


def _known_ranges(verdict: Verdict) -> tuple[VerifiedRange, ...]:
    """None where values were compared, and nothing was added up."""
    found = []
    for ranged in verdict.ranges:
        # Without a replica the source itself adds up texts.
        has_replica = "replica" in ranged.sums
        here = ranged.sums["replica" if has_replica else "source"]
        if here.texts is None or (has_replica and here.images is None):
            return ()
        found.append(VerifiedRange(ranged.part, here.rows, here.images, here.texts))
    return tuple(sorted(found, key=lambda one: (one.part.lower is not None, one.part.lower or 0)))
