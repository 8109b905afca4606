"""
A table → half-open ranges of its first primary key column.

Pure arithmetic: how many rows a partition holds, and ranges from the keys
that `source` found by walking the index. The ranges cover every integer
there is, whatever the keys do meanwhile: the first is open below, the last
above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from arrowetl import limits
from arrowetl.model import INTEGERS, Partition, Table


def rows_per_partition(table: Table, batch_size: int | None, partition_bytes: int | None) -> int:
    """
    How many rows of average width fit a partition's bytes, within the cap on rows.
    """
    rows_max = batch_size or limits.partition_rows_max
    return max(1, min(rows_max, (partition_bytes or limits.partition_bytes) // max(1, table.row_bytes)))


def can_be_split(table: Table) -> bool:
    """Whether the first primary key column is an integer, so that ranges of it mean the same to everybody."""
    return bool(table.primary_key) and table.column(table.primary_key[0]).data_type in INTEGERS


def with_waiting(parts: Sequence[Partition], row_bytes: int, room: int) -> tuple[Partition, ...]:
    """
    The partitions, of which the last ones wait for the warehouse, as many as there is room for.

    >>> [p.waits for p in with_waiting([Partition(i, None, None, rows=10) for i in range(3)], 5, 100)]
    [False, True, True]
    """
    marked = []
    for part in reversed(parts):
        room -= part.rows * max(row_bytes, 1)
        marked.append(replace(part, waits=room >= 0))
    return tuple(reversed(marked))


def gaps(done: Sequence[Partition]) -> tuple[tuple[int | None, int | None], ...]:
    """
    The ranges that are left when some partitions are done, which do not overlap.

    >>> gaps([Partition(0, 10, 20), Partition(1, 20, 30)])
    ((None, 10), (30, None))
    >>> gaps([])
    ((None, None),)
    """
    found: list[tuple[int | None, int | None]] = []
    lower: int | None = None
    begun = False
    for part in sorted(done, key=lambda part: (part.lower is not None, part.lower or 0)):
        if part.lower is not None and (not begun or lower != part.lower):
            found.append((lower, part.lower))
        lower, begun = part.upper, True
        if lower is None:
            return tuple(found)
    return (*found, (lower, None))


def partitions(
    keys: Sequence[int], rows: int = 0, lower: int | None = None, upper: int | None = None
) -> tuple[Partition, ...]:
    """
    Ranges between the given keys, which ascend.

    Args:
        rows: about how many each of them has.
        lower, upper: the bounds of all of them together.

    >>> [(p.lower, p.upper) for p in partitions([10, 20])]
    [(None, 10), (10, 20), (20, None)]
    """
    edges: list[int | None] = [lower, *sorted(set(keys)), upper]
    return tuple(Partition(index, *edge, rows=rows) for index, edge in enumerate(pairwise(edges)))
