"""
Two readings of the same range, one of the source and one of the replica → what the replica lacks.

Pure Arrow. Both were read by the same select, so that equal values are equal
bits; of floats, the bits themselves are compared. How a range is read, or
whether a checksum spares reading it, is `find_changes`'s business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from arrowetl import lazy

if TYPE_CHECKING:
    import polars as pl
    import pyarrow.compute as pc
else:
    pl = lazy.module("polars")
    pc = lazy.module("pyarrow.compute")

_BITS = {pa.float32(): pa.int32(), pa.float64(): pa.int64()}


def diff_by_key(source: pa.Table, replica: pa.Table, key: Sequence[str]) -> tuple[pa.Table, pa.Table]:
    """
    The rows that the replica is missing.

    Args:
        key: names of the columns that identify rows.

    Returns:
        The source's rows that are new or changed, as they were read; and the keys, in the key's columns, that the
        source no longer has.
    """
    places, deleted = differing(source, replica, key)
    return source.take(places), deleted


def differing(left: pa.Table, right: pa.Table, key: Sequence[str]) -> tuple[pa.Array, pa.Table]:
    """
    Where in the left table the rows are that the right one has not; and the keys that only the right one has.

    Args:
        left, right: tables of the same columns.
    """
    if left.num_rows == right.num_rows and as_bits(left).equals(as_bits(right)):
        return pa.array([], pa.uint32()), right.select(key).slice(0, 0)
    ours, theirs = _frame(left), _frame(right)
    changed = ours.with_row_index(_ROW).join(theirs, on=ours.columns, how="anti", nulls_equal=True)[_ROW]
    on = [str(left.column_names.index(name)) for name in key]
    deleted = theirs.select(on).with_row_index(_ROW).join(ours.select(on), on=on, how="anti")[_ROW]
    return changed.sort().to_arrow(), right.select(list(key)).take(deleted.sort().to_arrow())


def diff_counting(left: pa.Table, right: pa.Table) -> tuple[pa.Array, pa.Array]:
    """Where the rows are that only the left, and only the right table has; equal rows are counted."""
    if left.num_rows == right.num_rows and as_bits(left).equals(as_bits(right)):
        return pa.array([], pa.uint32()), pa.array([], pa.uint32())
    frames = [_numbered(left), _numbered(right)]
    on = [name for name in frames[0].columns if name != _ROW]
    only = [
        ours.join(theirs, on=on, how="anti", nulls_equal=True)[_ROW].sort().to_arrow()
        for ours, theirs in (frames, frames[::-1])
    ]
    return only[0], only[1]


def _numbered(table: pa.Table) -> pl.DataFrame:
    """A table's rows, each with its place, and its number among those that are equal."""
    frame = _frame(table)
    return frame.with_columns(pl.int_range(pl.len()).over(frame.columns).alias("number")).with_row_index(_ROW)


def ordered(table: pa.Table, key: str) -> pa.Table:
    """The table by its key: servers give rows as they lie."""
    keys = table.column(key).combine_chunks()
    if len(keys) < 2 or pc.all(pc.less(keys[:-1], keys[1:])).as_py():
        return table
    return table.sort_by(key)


def same_rows(source: pa.Table, replica: pa.Table) -> bool:
    """Whether both have the same rows, each as often as the other, in whatever order."""
    if source.num_rows != replica.num_rows:
        return False
    left, right = _frame(source), _frame(replica)
    if left.equals(right):
        return True
    columns = left.columns
    counts = [frame.group_by(columns).len(name=_ROW) for frame in (left, right)]
    return counts[0].join(counts[1], on=[*columns, _ROW], how="anti", nulls_equal=True).is_empty()


def without(keys: pa.Table, rows: pa.Table) -> pa.Table:
    """The keys that none of the rows has."""
    names = keys.column_names
    left, right = _frame(keys), _frame(rows.select(names))
    kept = left.with_row_index(_ROW).join(right, on=right.columns, how="anti")[_ROW]
    return keys.take(kept.to_arrow())


_ROW = "row"


def as_bits(table: pa.Table) -> pa.Table:
    """The table with floats as integers of the same bits: 0.0 and -0.0 are two values."""
    arrays = [
        pa.chunked_array([chunk.view(bits) for chunk in column.chunks], bits)
        if (bits := _BITS.get(column.type))
        else column
        for column in table.columns
    ]
    return pa.table(arrays, names=[str(index) for index in range(table.num_columns)])


def _frame(table: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(as_bits(table)))
