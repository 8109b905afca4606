"""
A range of a table at all servers, value by value in Arrow.

What checksums cannot compare is compared here: JSON, of which the warehouse
keeps the meaning and not the spelling, and rows that are too large for a server's
checksum. `verify_table` decides where it is used; nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from arrowetl.checksums import arrow_diff
from arrowetl.model.plan import Partition, TablePlan
from arrowetl.model.verdict import RowDifference
from arrowetl.pipeline import find_changes
from arrowetl.source.reader import Source
from arrowetl.types import conversion, from_postgres
from arrowetl.verify.drilldown import DifferenceFormat
from arrowetl.warehouse.loader import Warehouse


@dataclass(frozen=True)
class Deep:
    """What was found of a range."""

    rows: dict[str, int]
    differences: int
    differing: list[RowDifference]


def compared(
    source: Source,
    replica: Source | None,
    warehouse: Warehouse,
    plan: TablePlan,
    part: Partition,
    style: DifferenceFormat,
    limit: int,
) -> Deep:
    """
    Every value of a range, at the replica as it was read, at the warehouse as the source's becomes there.

    Raises:
        DatabaseError, DataExtractionError: one of them could not be read.
    """
    number, found = 0, list[RowDifference]()
    if replica:
        read, rows, at_replica = find_changes.read_both(source, replica, plan, part)
        counts = {"source": rows.num_rows, "replica": at_replica.num_rows}
        number, found = _row_differences("replica", rows, at_replica, read, style, limit)
        del at_replica
    else:
        read, rows = source.extract(plan, part)
        counts = {"source": rows.num_rows}
    options, _ = conversion.to_warehouse(plan.name, rows, read.fields, plan.table.integer_key)
    there = warehouse.rows(read, part)
    counts["warehouse"] = there.num_rows
    more, others = _row_differences(
        "warehouse", from_postgres.as_read_back(options, read.fields), there, read, style, limit - len(found)
    )
    return Deep(counts, number + more, found + others)


def _row_differences(
    target: str, ours: pa.Table, theirs: pa.Table, plan: TablePlan, style: DifferenceFormat, limit: int
) -> tuple[int, list[RowDifference]]:
    names = [field.column.name for field in plan.fields]
    left, right = arrow_diff.diff_counting(ours, theirs)
    rows = [ours.rename_columns(names).take(left), theirs.rename_columns(names).take(right)]
    key = [field.column.name for field in style.key]
    keys = [list(zip(*(one.column(name).to_pylist() for name in key), strict=True)) if key else [] for one in rows]
    places = {value: place for place, value in enumerate(keys[1])}
    pairs: list[tuple[int | None, int | None]] = []
    for place in range(rows[0].num_rows):
        pairs.append((place, places.pop(keys[0][place], None) if key else None))
    pairs += [(None, other) for other in (places.values() if key else range(rows[1].num_rows))]
    found = []
    for mine, other in pairs[:limit]:
        kind = "extra" if mine is None else "missing" if other is None else "changed"
        at = () if not key else keys[0][mine] if mine is not None else keys[1][other or 0]
        named = style.named([_text(value) for value in at])
        found.append(RowDifference(target, kind, named, **_columns(rows, mine, other, style)))
    return len(pairs), found


def _columns(rows: Sequence[pa.Table], mine: int | None, other: int | None, style: DifferenceFormat) -> dict[str, Any]:
    """Which columns differ, by digests and, where they may be shown, values."""
    if mine is None or other is None:
        return {"values": {} if style.shows else None}
    both = {
        name: (ours, theirs)
        for name in rows[0].column_names
        if (ours := _text(rows[0].column(name)[mine].as_py())) != (theirs := _text(rows[1].column(name)[other].as_py()))
    }
    return {
        "columns": tuple(both),
        "digests": {name: (style.digest(a), style.digest(b)) for name, (a, b) in both.items()},
        "values": both if style.shows else None,
    }


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return None if value is None else repr(value) if isinstance(value, float) else str(value)
