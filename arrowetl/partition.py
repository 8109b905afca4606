"""
A table → half-open ranges of its first primary key column.

Pure arithmetic: how many rows a partition holds, and ranges from the keys
that `source` found by walking the index. The ranges cover every integer
there is, whatever the keys do meanwhile: the first is open below, the last
above.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def partitions(keys: Sequence[int], rows: int = 0) -> tuple[Partition, ...]:
    """
    Ranges between the given keys, which ascend.

    Args:
        rows: about how many each of them has.

    >>> [(p.lower, p.upper) for p in partitions([10, 20])]
    [(None, 10), (10, 20), (20, None)]
    """
    edges: list[int | None] = [None, *sorted(set(keys)), None]
    return tuple(Partition(index, lower, upper, rows=rows) for index, (lower, upper) in enumerate(pairwise(edges)))
