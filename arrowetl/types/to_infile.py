"""
What was read → the text LOAD DATA reads, without changing a value: one function a form.

The dialect is MySQL's own: tabs between fields, a backslash before a tab, a line's end or a backslash within them, \\N
for NULL. The server reads it in 0.85 of the time of quoted fields, and nothing need be quoted that has none of the
three. Pure; which of them a column needs is written in its rule (`rules`), by which `conversion` calls them. The
statement that reads the text is in `replica_sql`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pyarrow as pa

from arrowetl import lazy
from arrowetl.model.plan import Field
from arrowetl.types import text_bytes
from arrowetl.types.text_bytes import HEX_AND_TEXT, series

if TYPE_CHECKING:
    import polars as pl
else:
    pl = lazy.module("polars")

NULL = "\\N"
DIALECT = r"FIELDS TERMINATED BY '\t' ESCAPED BY '\\' LINES TERMINATED BY '\n'"
_SPECIAL = "\\\t\n"
_ESCAPES = {special: f"\\{special}" for special in _SPECIAL}

_SECOND = 1_000_000

Printer = Callable[[pa.ChunkedArray, Field], "pl.Series"]


def escaped(printed: pl.Series, column: pa.ChunkedArray) -> pl.Series:
    # Only what came as text can have something to escape, and few columns do.
    if printed.dtype != pl.String or not _is_text(column.type) or not text_bytes.holds(column, _SPECIAL):
        return printed
    return printed.str.replace_many(list(_ESCAPES), list(_ESCAPES.values()))


def _is_text(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_))


def labels(column_type: str) -> list[str]:
    """
    An enum's labels.

    >>> labels(r"enum('a','it''s','')")
    ['a', "it's", '']
    """
    return [label.replace("''", "'") for label in re.findall(r"'((?:[^']|'')*)'", column_type)]


def as_it_is(column: pa.ChunkedArray, field: Field) -> pl.Series:
    return series(column)


def decimal(column: pa.ChunkedArray, field: Field) -> pl.Series:
    # connectorx gives every decimal ten digits behind the point; the server would note each one cut off.
    return series(column.cast(field.arrow))


def floating(column: pa.ChunkedArray, field: Field) -> pl.Series:
    # The shortest text of a float's own is read through a double, and the largest of all is then out of range.
    numbers = series(column).cast(pl.Float64)
    precision, scale = field.column.precision, field.column.scale
    if precision is None or scale is None:
        return numbers
    # FLOAT(8,2) holds 999999.99 as 1000000, and would not take that again.
    bound = (10**precision - 1) / 10**scale
    return numbers.clip(-bound, bound)


def in_hex(column: pa.ChunkedArray, field: Field) -> pl.Series:
    return series(column).bin.encode("hex")


def timestamp(column: pa.ChunkedArray, field: Field) -> pl.Series:
    """yyyymmdd[hhmmss[.ffffff]]: as it was read, which is as MySQL reads it, once all its digits are there."""
    digits = 8 if field.column.data_type == "date" else 14
    if pa.types.is_decimal(column.type):
        return series(column.cast(pa.decimal128(20, 6))).cast(pl.String).str.zfill(digits + 7)
    timestamps = series(column)
    lowest = timestamps.min()
    four_digits = lowest is None or int(lowest) >= 10 ** (digits - 1)  # type: ignore[arg-type]
    # Making every row a text would cost three times as much.
    return timestamps if four_digits else timestamps.cast(pl.String).str.zfill(digits)


def integer(column: pa.ChunkedArray, field: Field) -> pl.Series:
    numbers = series(column)
    # As a text, 0 is the year 2000.
    return numbers.cast(pl.String).str.zfill(4) if field.column.data_type == "year" else numbers


def from_hex(column: pa.ChunkedArray, field: Field) -> pl.Series:
    return series(column).str.extract(HEX_AND_TEXT, 1)


def label(column: pa.ChunkedArray, field: Field) -> pl.Series:
    return series(column).str.extract(HEX_AND_TEXT, 3)


def time_of_day(column: pa.ChunkedArray, field: Field) -> pl.Series:
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
