"""
A table → half-open ranges of its first primary key column.

Pure arithmetic: how many rows a partition holds, and ranges from the keys
that `ranges` finds by walking the index, one when it is its turn. The ranges
cover every integer there is, whatever the keys do meanwhile: the first is open
below, the last above.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count

from arrowetl import limits
from arrowetl.model.dialect import INTEGERS
from arrowetl.model.plan import Column, Partition, Table
from arrowetl.types.mysql_types import BYTES_OF_TEXT, SHORT_MAX, bytes_max, is_compressed, varies_in_length

Bounds = tuple[int | None, int | None]
"""Of a range of keys: from where on, and up to where; None is open."""


def rows_per_partition(table: Table, batch_size: int | None, partition_bytes: int) -> int:
    """
    How many rows of average width fit a partition's bytes, within the cap on rows.
    """
    rows_max = batch_size or limits.partition_rows_max
    return max(1, min(rows_max, partition_bytes // max(1, table.row_bytes)))


def scanned(table: Table, batch_size: int | None) -> int | None:
    """
    How many rows each partition of a table has that is best scanned in full for each of them; None of others.

    As many partitions as come in even numbers: the last one is not to be loaded alone.
    """
    if not can_be_split(table):
        return None
    count = -(-table.data_bytes // limits.scan_bytes_max)
    count += count % 2
    rows = -(-table.rows // max(count, 1))
    fits = (
        table.engine == "MyISAM" and 1 <= count <= limits.full_scans_max and table.data_bytes > limits.partition_bytes
    )
    return rows if fits and rows <= (batch_size or limits.partition_rows_max) else None


def can_be_split(table: Table) -> bool:
    """Whether the first primary key column is an integer, so that ranges of it mean the same to everybody."""
    return bool(table.primary_key) and table.column(table.primary_key[0]).data_type in INTEGERS


def counted(table: Table, rows: int) -> Table:
    """
    The table by what was counted, where the engine's estimate is far from it: of one that was just filled, or
    never analyzed, it may be nothing.
    """
    if rows <= 2 * table.rows + limits.estimate_off_rows:
        return table
    width = table.row_bytes or sum(map(_usual_width, table.columns))
    return replace(table, rows=rows, row_bytes=width, data_bytes=max(table.data_bytes, rows * width))


def _usual_width(column: Column) -> int:
    """Bytes that a value has more or less, where nothing is known of it but its type."""
    declared = re.search(r"\((\d+)", column.column_type)
    if not varies_in_length(column):
        return _WIDTH_OF_NUMBER
    return min(int(declared[1]), _WIDTH_OF_TEXT) if declared else _WIDTH_OF_TEXT


_WIDTH_OF_TEXT, _WIDTH_OF_NUMBER = 64, 8


def varies(table: Table) -> bool:
    """
    Whether some of its rows may be so much wider than the average that as many of them as usual are too many, or the
    average be so wrong.
    """
    compressed = any(map(is_compressed, table.columns))
    if not any(bytes_max(column) > SHORT_MAX for column in table.columns) and not compressed:
        return False
    if compressed or not table.row_bytes:
        return True
    if table.data_bytes <= limits.partition_bytes:
        # 100 MB were estimated to be 352 KB: what is stored outside the rows' pages is not in it, nor what came since.
        return table.engine not in _COUNTS_BYTES
    is_huge = any(bytes_max(column) > BYTES_OF_TEXT for column in table.columns)
    return is_huge or table.row_bytes >= limits.varying_row_bytes


_COUNTS_BYTES = ("MyISAM", "Aria", "MEMORY", "ARCHIVE")
"""Engines that know how large a table is; others estimate it."""


def fewer(rows: int, bytes_: int) -> int:
    """
    How many rows a range is to have instead, of which so many had so many bytes.

    >>> fewer(1000, 4 * limits.range_bytes_max)
    125
    >>> fewer(1, 2**30)
    1
    """
    # Half of its share: the wide ones may lie together.
    return max(1, rows * limits.range_bytes_max // max(bytes_, 1) // 2)


def slices(bytes_: int) -> int:
    """How many slices a table of so many bytes is read in, that cannot be cut into ranges."""
    return min(limits.slices_max, max(1, -(-bytes_ // limits.slice_bytes_max)))


def widths_edge(widths: Sequence[tuple[int, int]], bytes_: int) -> int | None:
    """
    The key at which a partition of so many bytes ends; None where all of the rows fit.

    Args:
        widths: keys, ascending, and how many bytes each row has.

    >>> widths_edge([(1, 60), (2, 30), (5, 20), (7, 10)], 100)
    5
    >>> widths_edge([(1, 600), (2, 600)], 100)
    2
    """
    total = 0
    for number, (key, width) in enumerate(widths):
        total += width
        if number and total > bytes_ and key != widths[number - 1][0]:
            return key
    return None


def gaps(done: Sequence[Partition]) -> tuple[Bounds, ...]:
    """
    The ranges that are left when some partitions are done, which do not overlap.

    >>> gaps([Partition(0, 10, 20), Partition(1, 20, 30)])
    ((None, 10), (30, None))
    >>> gaps([])
    ((None, None),)
    """
    found: list[Bounds] = []
    lower: int | None = None
    begun = False
    for part in sorted(done, key=lambda part: (part.lower is not None, part.lower or 0)):
        if part.lower is not None and (not begun or lower != part.lower):
            found.append((lower, part.lower))
        lower, begun = part.upper, True
        if lower is None:
            return tuple(found)
    return (*found, (lower, None))


def walked(
    edge_after: Callable[[int | None], tuple[int | None, int]], lower: int | None = None, upper: int | None = None
) -> Iterator[Partition]:
    """
    Ranges that meet, from one bound to the other, each made when it is asked for.

    Args:
        edge_after: where the range that begins at a key ends, and about how many rows it has; None for the last one.
        lower, upper: the bounds of all of them together.

    >>> edges = {None: (10, 5), 10: (20, 5), 20: (None, 3)}
    >>> [(p.lower, p.upper, p.rows) for p in walked(edges.__getitem__)]
    [(None, 10, 5), (10, 20, 5), (20, None, 3)]
    """
    for index in count():
        edge, rows = edge_after(lower)
        if edge is None or (upper is not None and edge >= upper):
            yield Partition(index, lower, upper, rows=rows)
            return
        yield Partition(index, lower, edge, rows=rows)
        lower = edge
