"""
Rows as the warehouse gives them back, and the source's as it would: to be compared value by value.

Pure Arrow, the partner of `to_postgres`, which made what the warehouse was given.
How a type is selected there is written in its row (`postgres_types`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import TYPE_CHECKING

import pyarrow as pa

from arrowetl import lazy
from arrowetl.model.plan import Field
from arrowetl.types.mapping import is_json
from arrowetl.types.postgres_types import TYPES, bare

if TYPE_CHECKING:
    import pyarrow.compute as pc
else:
    pc = lazy.module("pyarrow.compute")


def read_back(field: Field) -> tuple[str, pa.DataType]:
    """How a field is read from the warehouse to be compared (`{c}` is its quoted name), and the Arrow type of it."""
    if pa.types.is_decimal(field.arrow):
        # All of its digits as one number: Arrow would write some as 1E-7.
        return f"trunc({{c}} * 1{'0' * field.arrow.scale})::text", pa.string()
    type_ = TYPES[bare(field.type_postgres)]
    return type_.back, type_.arrow


def as_read_back(table: pa.Table, fields: Sequence[Field]) -> pa.Table:
    """The rows that the warehouse was given, as it gives them back to be compared."""
    arrays = [_as_read_back(column, field) for column, field in zip(table.columns, fields, strict=True)]
    return pa.table(arrays, names=table.column_names)


def _as_read_back(column: pa.ChunkedArray, field: Field) -> pa.ChunkedArray:
    _, type_ = read_back(field)
    if pa.types.is_decimal(column.type):
        return pa.chunked_array([_unscaled(chunk) for chunk in column.chunks], type_)
    if is_json(field):
        # jsonb's wire form begins with a byte of its version.
        texts = pc.binary_replace_slice(column, 0, 1, b"") if field.type_postgres == "jsonb" else column
        return _meant(texts.cast(pa.string()))
    text = column.cast(type_)
    return pc.utf8_rtrim(text, " ") if field.type_postgres.startswith("char(") else text


def _unscaled(decimals: pa.Array) -> pa.Array:
    """
    All digits of each as one number, in text.

    >>> _unscaled(pa.array([Decimal("-1.50")], pa.decimal128(5, 2))).to_pylist()
    ['-150']
    """
    type_ = type(decimals.type)
    whole = (
        pa.decimal256(decimals.type.precision, 0)
        if type_ is pa.Decimal256Type
        else (pa.decimal128(decimals.type.precision, 0))
    )
    return pa.Array.from_buffers(whole, len(decimals), decimals.buffers(), offset=decimals.offset).cast(pa.string())


def comparable(table: pa.Table, fields: Sequence[Field]) -> pa.Table:
    """The rows that the warehouse gave back, where equal ones are written alike."""
    for index, field in enumerate(fields):
        if is_json(field):
            meant = _meant(table.column(index).cast(pa.string()))
            table = table.set_column(index, table.schema.field(index).name, meant)
    return table


def _meant(documents: pa.ChunkedArray) -> pa.ChunkedArray:
    """JSON without the freedom of its spelling; what is none stays as it is."""
    return pa.chunked_array([pa.array([_spelled(text) for text in documents.to_pylist()], pa.string())])


def _spelled(document: str | None) -> str | None:
    if document is None:
        return None
    try:
        return json.dumps(json.loads(document, parse_float=_number, parse_int=_number), sort_keys=True)
    except ValueError:
        return document


_EXACT = Context(prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX)


def _number(text: str) -> str:
    """
    A number of a document, which no text of one can be taken for.

    >>> _number("1.10"), _number("11e-1")
    ('\\x00 1.1', '\\x00 1.1')
    """
    # Of as many digits as it has: the usual context rounds to 28. Zero has no sign there.
    number = Decimal(text).normalize(_EXACT)
    return f"\0 {number or 0}"
