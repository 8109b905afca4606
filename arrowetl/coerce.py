"""
Arrow as it was read → Arrow as PostgreSQL can hold it, and a count of every
value that had to change.

Pure: arrays in, arrays out. Which conversion a column needs is written in its
rule (`schema`); the replica's form of the same rows is `infile`'s business.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from arrowetl.errors import DataExtractionError
from arrowetl.model import Field
from arrowetl.outcome import Coercion
from arrowetl.schema import rule_of, to_arrow

_EXAMPLES = 3

# A value, what it was found to be, and what it became: the masks of one column.
Found = list[tuple[str, str, pa.Array]]
Conversion = Callable[[pa.ChunkedArray, Field], tuple[pa.Array, Found]]


def is_plain(table: pa.Table, fields: Sequence[Field]) -> bool:
    """
    Whether the native read kept every value: a year 0, which no driver minds, is no year in PostgreSQL.
    """
    for index, field in enumerate(fields):
        column = table.column(index)
        if pa.types.is_temporal(column.type) and rule_of(field).safe:
            lowest = pc.min(column)
            first = date(1, 1, 1) if pa.types.is_date(column.type) else datetime(1, 1, 1)
            if lowest.is_valid and pc.less(lowest, pa.scalar(first, column.type)).as_py():
                return False
    return True


def to_warehouse(table: pa.Table, fields: Sequence[Field], key: str | None) -> tuple[pa.Table, tuple[Coercion, ...]]:
    """
    Convert a partition into what COPY takes.

    Args:
        table: the columns of `fields`, in order, as the source's select gave them.
        key: the primary key, where it is one integer column: examples are told by it.

    Returns:
        The table with the schema of `schema.to_arrow`, and what was coerced.

    Raises:
        DataExtractionError: a value fits neither the rule nor a coercion.
    """
    arrays, coercions = [], []
    keys = next((table.column(i) for i, field in enumerate(fields) if field.column.name == key), None)
    for index, field in enumerate(fields):
        try:
            array, found = CONVERSIONS[rule_of(field).converts](table.column(index), field)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pl.exceptions.PolarsError) as error:
            raise DataExtractionError(
                f"{field.column.name} ({field.column.column_type}): holds a value that {field.type_postgres} cannot",
                f"carry it otherwise: overrides.columns.{field.column.name}.type, or exclude it; see `arrowetl types`",
            ) from error
        arrays.append(array)
        for what, became, mask in found:
            examples = keys.filter(mask).slice(0, _EXAMPLES).to_pylist() if keys is not None else []
            coercions.append(Coercion(field.column.name, what, became, pc.sum(mask).as_py(), tuple(examples)))
    return pa.Table.from_arrays(arrays, schema=to_arrow(fields)), tuple(coercions)


def merged(coercions: Iterable[Coercion]) -> tuple[Coercion, ...]:
    """The same coercions of several partitions as one each."""
    sums: dict[tuple[str, str, str], Coercion] = {}
    for one in coercions:
        kind = (one.column, one.found, one.became)
        before = sums.get(kind, Coercion(*kind, 0))
        keys = (before.example_keys + one.example_keys)[:_EXAMPLES]
        sums[kind] = Coercion(*kind, before.count + one.count, keys)
    return tuple(sums.values())


def _cast(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    return column if column.type == field.arrow else column.cast(field.arrow), []


def _temporal(parse: Callable[[pl.Series], pl.Series]) -> Conversion:
    def convert(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            return column.cast(field.arrow), []
        text = pl.Series(pl.from_arrow(column))
        parsed = parse(text)
        # chrono knows a year 0, PostgreSQL does not.
        parsed = parsed.zip_with((parsed.dt.year() >= 1).fill_null(False), pl.Series([None], dtype=parsed.dtype))
        lost = parsed.is_null() & text.is_not_null()
        zero = lost & text.str.starts_with("0000-00-00")
        found: Found = []
        if zero.any():
            found.append(("zero date", "NULL", zero.to_arrow()))
        if (partial := lost & ~zero).any():
            found.append(("partial date", "NULL", partial.to_arrow()))
        return parsed.to_arrow().cast(field.arrow), found

    return convert


_date = _temporal(lambda text: text.str.to_date("%Y-%m-%d", strict=False))
_datetime = _temporal(lambda text: text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False))


def _duration(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    return column.cast(field.arrow), []


def _boolean(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    if (len(column) and pc.any(pc.greater(column, 1)).as_py()) or pc.any(pc.less(column, 0)).as_py():
        raise pa.ArrowInvalid("a value other than 0 and 1")
    return pc.not_equal(column, 0), []


def _without(character: str, name: str) -> Conversion:
    """Remove what PostgreSQL's text cannot hold, and count the values it was in."""

    def convert(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
        marked = pc.match_substring(column, character)
        if not pc.any(marked).as_py():
            return column.cast(field.arrow), []
        cleaned = pc.replace_substring(column, character, "")
        return cleaned.cast(field.arrow), [(name, "removed", pc.fill_null(marked, False))]

    return convert


def _json(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    # \u0000 after an even number of backslashes is the escape; after an odd number it is text.
    escape = r"(^|[^\\])((?:\\\\)*)\\u0000"
    marked = pc.match_substring_regex(column, escape)
    found: Found = []
    if pc.any(marked).as_py():
        found = [("\\u0000", "removed", pc.fill_null(marked, False))]
        while pc.any(pc.match_substring_regex(column, escape)).as_py():
            column = pc.replace_substring_regex(column, escape, r"\1\2")
    # jsonb's own wire form: a version byte, then the text.
    prefix = pa.scalar(b"\x01", pa.binary())
    return pc.binary_join_element_wise(prefix, column.cast(pa.binary()), b""), found


def _wkb(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
    # MySQL stores four bytes of SRID before the well-known bytes.
    return pc.binary_slice(column.cast(pa.binary()), 4).cast(field.arrow), []


def _each(convert: Callable[[str], bytes]) -> Conversion:
    def conversion(column: pa.ChunkedArray, field: Field) -> tuple[pa.Array, Found]:
        values: list[Any] = [None if value is None else convert(value) for value in column.to_pylist()]
        return pa.array(values, field.arrow), []

    return conversion


def _inet_send(text: str) -> bytes:
    address = ipaddress.ip_address(text)
    family, bits = (2, 32) if address.version == 4 else (3, 128)
    return bytes([family, bits, 0, len(address.packed)]) + address.packed


CONVERSIONS: dict[str, Conversion] = {
    "cast": _cast,
    "date": _date,
    "datetime": _datetime,
    "duration": _duration,
    "boolean": _boolean,
    "text": _without("\0", "NUL character"),
    "json": _json,
    "wkb": _wkb,
    "uuid": _each(lambda text: bytes.fromhex(text.replace("-", ""))),
    "inet": _each(_inet_send),
}
