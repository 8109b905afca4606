"""
What the warehouse can hold is kept; what it cannot is changed as promised, and counted.
"""

from __future__ import annotations

import uuid
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nouns import column, fields

from arrowetl import coerce
from arrowetl.errors import DataExtractionError
from arrowetl.outcome import Coercion

MOMENT = datetime(2024, 1, 2, 3, 4, 5)


def converted(type_: str, values: list[Any], arrow: pa.DataType, **asked: str) -> tuple[list[Any], dict[str, int]]:
    """The values as the warehouse gets them, and what was coerced."""
    table = pa.table({"c": pa.chunked_array([pa.array(values, arrow)])})
    found, coercions = coerce.to_warehouse(table, fields(column("c", type_), **asked), None)
    return found.column(0).to_pylist(), {coercion.found: coercion.count for coercion in coercions}


@pytest.mark.parametrize(
    ("type_", "arrow", "given", "kept", "coerced"),
    [
        ("tinyint(1)", pa.int8(), [5, -1, None], [5, -1, None], {}),
        ("bigint unsigned", pa.uint64(), [2**64 - 1], [2**64 - 1], {}),
        ("decimal(65,30)", pa.string(), ["1." + "0" * 29 + "1"], [Decimal("1." + "0" * 29 + "1")], {}),
        ("date", pa.date32(), [date(1, 1, 1), None], [date(1, 1, 1), None], {}),
        ("date", pa.string(), ["0001-01-01", "9999-12-31"], [date(1, 1, 1), date(9999, 12, 31)], {}),
        ("date", pa.string(), ["0000-00-00", "2024-00-15", "2024-01-00", "0000-05-05"], [None] * 4,
         {"zero date": 1, "partial date": 3}),
        ("datetime", pa.string(), ["2024-01-02 03:04:05", "0000-00-00 00:00:00"], [MOMENT, None], {"zero date": 1}),
        ("datetime(6)", pa.string(), ["2024-01-02 03:04:05.000001"], [MOMENT + timedelta(microseconds=1)], {}),
        ("time", pa.int64(), [-1, 3_020_399_999_999], [timedelta(microseconds=-1),
         timedelta(hours=838, minutes=59, seconds=59, microseconds=999_999)], {}),
        ("varchar(9)", pa.string(), ["a\0b", "", None, "\0"], ["ab", "", None, ""], {"NUL character": 2}),
        ("json", pa.string(), ['{"a": "\\u0000b"}', '"\\\\u0000"'], [b'\x01{"a": "b"}', b'\x01"\\\\u0000"'],
         {"\\u0000": 1}),
        ("bit(1)", pa.uint64(), [0, 1, None], [False, True, None], {}),
        ("bit(64)", pa.uint64(), [2**64 - 1], [2**64 - 1], {}),
        ("point", pa.large_binary(), [b"\x00\x00\x00\x00\x01wkb"], [b"\x01wkb"], {}),
        ("uuid", pa.string(), [str(uuid.UUID(int=7))], [uuid.UUID(int=7).bytes], {}),
        ("inet4", pa.string(), ["10.0.0.1"], [b"\x02\x20\x00\x04\x0a\x00\x00\x01"], {}),
    ],
)  # fmt: skip
def test_a_value(type_: str, arrow: pa.DataType, given: list[Any], kept: list[Any], coerced: dict[str, int]) -> None:
    """In, out, and what was counted on the way."""
    assert converted(type_, given, arrow) == (kept, coerced)


def test_a_boolean_that_is_none() -> None:
    """A 2 in a column that was asked to be boolean is an error that names the column, not a true."""
    assert converted("tinyint(1)", [0, 1, None], pa.int8(), c="boolean") == ([False, True, None], {})
    with pytest.raises(DataExtractionError, match=r"^c \(tinyint\(1\)\): holds a value that boolean cannot"):
        converted("tinyint(1)", [0, 2], pa.int8(), c="boolean")


def test_examples_are_told_by_key() -> None:
    """The first three integer keys, however many there are."""
    table = pa.table({"k": [1, 2, 3, 4, 5], "d": ["0000-00-00", "2024-01-01", *["0000-00-00"] * 3]})
    _, coercions = coerce.to_warehouse(table, fields(column("k", "bigint"), column("d", "date")), "k")

    assert coercions == (Coercion("d", "zero date", "NULL", 4, (1, 3, 4)),)


def test_coercions_of_several_partitions_are_one() -> None:
    """Counts add up; the examples are the first."""
    parts = [Coercion("d", "zero date", "NULL", 2, (1, 2)), Coercion("d", "zero date", "NULL", 5, (7, 8, 9))]

    assert coerce.merged(parts) == (Coercion("d", "zero date", "NULL", 7, (1, 2, 7)),)


@given(st.dates(min_value=date(1, 1, 1)) | st.just(date(1, 1, 1)))
def test_a_date_is_the_same_however_it_was_read(day: date) -> None:
    """Natively or as text."""
    native, _ = converted("date", [day], pa.date32())
    read_again, _ = converted("date", [day.isoformat()], pa.string())

    assert native == read_again == [day]


@pytest.mark.parametrize(
    ("type_", "arrow", "raw", "plain"),
    [
        ("date", pa.date32(), -719_163, False),
        ("date", pa.date32(), -719_162, True),
        ("datetime", pa.timestamp("us"), -62_135_596_800_000_001, False),
        ("datetime", pa.timestamp("us"), -62_135_596_800_000_000, True),
    ],
)
def test_a_year_zero_is_not_plain(type_: str, arrow: pa.DataType, raw: int, plain: bool) -> None:
    """connectorx reads year 0 without complaint; PostgreSQL has none."""
    table = pa.table({"c": pa.array([raw, None], pa.int32() if type_ == "date" else pa.int64()).cast(arrow)})

    assert coerce.is_plain(table, fields(column("c", type_))) is plain
