"""
Arrow as it was read → the text LOAD DATA reads, with nothing bent on the way.

The dialect is MySQL's own: tabs between fields, a backslash before a tab, a
line's end or a backslash within them, \\N for NULL. The server reads it in 0.85
of the time of quoted fields, and nothing need be quoted that has none of the
three. Pure, but for the file that `spill` names; the statement that reads it
is in `sql`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING

import pyarrow as pa

from arrowetl import lazy, limits
from arrowetl.model.plan import Field
from arrowetl.types import text_bytes
from arrowetl.types.mapping import rule_of
from arrowetl.types.rules import TOLD
from arrowetl.types.to_postgres import series

if TYPE_CHECKING:
    import polars as pl
    import pyarrow.compute as pc
else:
    pl = lazy.module("polars")
    pc = lazy.module("pyarrow.compute")

NULL = "\\N"
DIALECT = r"FIELDS TERMINATED BY '\t' ESCAPED BY '\\' LINES TERMINATED BY '\n'"
_SPECIAL = "\\\t\n"
_ESCAPES = {special: f"\\{special}" for special in _SPECIAL}

_SECOND = 1_000_000


def write(table: pa.Table, fields: Sequence[Field], file: IO[bytes]) -> None:
    """
    Write a partition as an infile.

    Args:
        table: the columns of `fields`, in order, as the source's select gave them.
    """
    rows = max(1, limits.infile_bytes * table.num_rows // max(table.nbytes, 1))
    for start in range(0, table.num_rows, rows):
        columns = []
        for index, field in enumerate(fields):
            column = table.column(index).slice(start, rows)
            printed = PRINTERS[rule_of(field).prints](column, field)
            columns.append(_escaped(printed, column).alias(str(index)))
        frame = pl.DataFrame(columns)
        frame.write_csv(file, include_header=False, separator="\t", quote_style="never", null_value=NULL)


def _escaped(printed: pl.Series, column: pa.ChunkedArray) -> pl.Series:
    # Only what came as text can have something to escape, and few columns do.
    if printed.dtype != pl.String or not _is_text(column.type) or not text_bytes.holds(column, _SPECIAL):
        return printed
    return printed.str.replace_many(list(_ESCAPES), list(_ESCAPES.values()))


def _is_text(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_))


def unlabelled(table: pa.Table, fields: Sequence[Field]) -> int:
    """
    How many values of enums are none of their labels, but the empty text that a server puts in place of a wrong one.

    A server stores them only with a warning each.
    """
    return sum(
        pc.sum(pc.equal(table.column(index), "=" if rule_of(field).prints == "label" else "")).as_py() or 0
        for index, field in enumerate(fields)
        if field.column.data_type == "enum" and "" not in labels(field.column.column_type)
    )


def labels(column_type: str) -> list[str]:
    """
    An enum's labels.

    >>> labels(r"enum('a','it''s','')")
    ['a', "it's", '']
    """
    return [label.replace("''", "'") for label in re.findall(r"'((?:[^']|'')*)'", column_type)]


def _plain(column: pa.ChunkedArray, field: Field) -> pl.Series:
    return series(column)


def _decimal(column: pa.ChunkedArray, field: Field) -> pl.Series:
    # connectorx gives every decimal ten digits behind the point; the server would note each one cut off.
    return series(column.cast(field.arrow))


def _float(column: pa.ChunkedArray, field: Field) -> pl.Series:
    # The shortest text of a float's own is read by way of a double, and the largest of all is then out of range.
    numbers = series(column).cast(pl.Float64)
    precision, scale = field.column.precision, field.column.scale
    if precision is None or scale is None:
        return numbers
    # FLOAT(8,2) holds 999999.99 as 1000000, and would not take that again.
    bound = (10**precision - 1) / 10**scale
    return numbers.clip(-bound, bound)


def _hex(column: pa.ChunkedArray, field: Field) -> pl.Series:
    return series(column).bin.encode("hex")


def _stamp(column: pa.ChunkedArray, field: Field) -> pl.Series:
    """yyyymmdd[hhmmss[.ffffff]]: as it was read, which is as MySQL reads it, once all its digits are there."""
    digits = 8 if field.column.data_type == "date" else 14
    if pa.types.is_decimal(column.type):
        return series(column.cast(pa.decimal128(20, 6))).cast(pl.String).str.zfill(digits + 7)
    stamps = series(column)
    lowest = stamps.min()
    whole = lowest is None or int(lowest) >= 10 ** (digits - 1)  # type: ignore[arg-type]
    # Making every row a text would cost three times as much.
    return stamps if whole else stamps.cast(pl.String).str.zfill(digits)


def _whole(column: pa.ChunkedArray, field: Field) -> pl.Series:
    whole = series(column)
    # As a text, 0 is the year 2000.
    return whole.cast(pl.String).str.zfill(4) if field.column.data_type == "year" else whole


def _told(column: pa.ChunkedArray, field: Field) -> pl.Series:
    return series(column).str.extract(TOLD, 1)


def _label(column: pa.ChunkedArray, field: Field) -> pl.Series:
    return series(column).str.extract(TOLD, 3)


def _time(column: pa.ChunkedArray, field: Field) -> pl.Series:
    """Signed microseconds → the number -8385959, which MySQL reads as a TIME; or `-838:59:59.999999`."""
    span = pl.col("span")
    whole = span.abs() // _SECOND
    hours, minutes, seconds = whole // 3600, whole // 60 % 60, whole % 60
    # Numbers are printed in a tenth of the time that texts are put together.
    printed = span.sign() * (hours * 10_000 + minutes * 100 + seconds)
    if field.column.precision:
        sign = pl.when(span < 0).then(pl.lit("-")).otherwise(pl.lit(""))
        fraction = (span.abs() % _SECOND).cast(pl.String).str.zfill(6)
        printed = pl.format("{}{}:{}:{}.{}", sign, *(_two(part) for part in (hours, minutes, seconds)), fraction)
    return series(column).alias("span").to_frame().select(printed).to_series()


def _two(number: pl.Expr) -> pl.Expr:
    return number.cast(pl.String).str.zfill(2)


PRINTERS: dict[str, Callable[[pa.ChunkedArray, Field], pl.Series]] = {
    "plain": _plain,
    "decimal": _decimal,
    "float": _float,
    "hex": _hex,
    "time": _time,
    "stamp": _stamp,
    "told": _told,
    "label": _label,
    "whole": _whole,
}
