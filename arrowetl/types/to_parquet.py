"""
The Parquet form of a value of the warehouse, and the metadata that describes it.

Pure Arrow. A file opens in DuckDB, polars and pandas with these types: where Parquet, or one of these, has no
type for a value, `postgres_types` names a substitute. `snapshot` writes the files.
"""

from __future__ import annotations

import json

import pyarrow as pa

from arrowetl.model.plan import Field
from arrowetl.types.postgres_types import A_NUMBER, TYPES, bare, digits_of, in_words

# DuckDB and polars read no decimal of more digits.
_DIGITS_MAX = 38


def parquet_type(type_postgres: str) -> tuple[pa.DataType, str, str]:
    """
    A warehouse type in a file: Arrow's type, how it is selected there, its unit.

    >>> parquet_type("numeric(10,2)")[0], parquet_type("numeric(65,30)")[0], parquet_type("jsonb")[0]
    (Decimal128Type(decimal128(10, 2)), DataType(string), DataType(string))
    """
    type_, digits = TYPES.get(bare(type_postgres), _ANOTHER), digits_of(type_postgres)
    if type_ is TYPES["numeric"] and len(digits) == 2 and digits[0] <= _DIGITS_MAX:
        return pa.decimal128(digits[0], digits[1]), f"CASE WHEN {A_NUMBER} THEN {{c}}::text END", ""
    return type_.file or type_.arrow, type_.file_select or type_.back, type_.unit


# Of a view that arrowetl did not make.
_ANOTHER = TYPES["text"]


def type_in_words(type_postgres: str) -> str:
    """
    The file's type of a rule's type, in words.

    >>> type_in_words("numeric({p},{s})"), type_in_words("interval"), type_in_words("jsonb")
    ('decimal128(p, s); string past 38 digits', 'int64, microseconds', 'string')
    """
    if "{" in type_postgres:
        return f"decimal128(p, s); string past {_DIGITS_MAX} digits"
    type_, _, unit = parquet_type(type_postgres)
    return f"{type_}, {unit}" if unit else str(type_)


def beyond(type_postgres: str) -> str | None:
    """SQL that is true of the warehouse's values that no file has; None where there are none."""
    type_ = TYPES.get(bare(type_postgres), _ANOTHER)
    if type_ is TYPES["numeric"]:
        return f"COALESCE(NOT ({A_NUMBER}), FALSE)" if "(" in type_postgres else None
    return f"COALESCE({type_.file_lacks}, FALSE)" if type_.file_lacks else None


def from_arrow(column: pa.ChunkedArray, type_postgres: str, wanted: pa.DataType) -> pa.ChunkedArray:
    """
    What COPY would have been given, as the file has it.

    Args:
        wanted: what `parquet_type` for the type.
    """
    if column.type == wanted:
        return column
    type_ = TYPES.get(bare(type_postgres), _ANOTHER)
    if type_.from_copy:
        return type_.from_copy(column)
    if pa.types.is_decimal(column.type) and wanted == pa.string():
        return in_words(column, lambda value: f"{value:f}")
    if pa.types.is_uint64(column.type):
        return column.cast(pa.decimal128(20, 0)).cast(wanted)
    return column.cast(wanted)


def field_of(name: str, type_postgres: str, field: Field | None) -> pa.Field:
    """A column of a file, with what it is at the warehouse and at its origin in its metadata."""
    type_, _, unit = parquet_type(type_postgres)
    metadata = {"postgres": type_postgres}
    if unit:
        metadata["unit"] = unit
    if field:
        metadata["mysql"] = field.column.column_type
        metadata["rule"] = field.rule
        metadata["mask"] = field.mask or ""
    return pa.field(name, type_, metadata={"arrowetl": json.dumps({k: v for k, v in metadata.items() if v})})
