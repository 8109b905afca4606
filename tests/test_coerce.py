"""
What the warehouse can hold is kept; what it cannot is changed as promised, and counted.
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC, date, datetime, timedelta
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
STAMPS = pa.decimal128(38, 10)


def converted(type_: str, values: list[Any], arrow: pa.DataType, **asked: str) -> tuple[list[Any], dict[str, int]]:
    """The values as the warehouse gets them, and what was coerced."""
    table = pa.table({"c": pa.chunked_array([pa.array(values, arrow)])})
    told = any(isinstance(v, str) and re.match("[0-9A-F]*[=!]", v) for v in values)
    columns = fields(column("c", type_, charset="cp1251" if told else None), **asked)
    found, coercions = coerce.to_warehouse("t", table, columns, None)
    return found.column(0).to_pylist(), {coercion.found: coercion.count for coercion in coercions}


@pytest.mark.parametrize(
    ("type_", "arrow", "given", "kept", "coerced"),
    [
        ("tinyint(1)", pa.int8(), [5, -1, None], [5, -1, None], {}),
        ("bigint unsigned", pa.uint64(), [2**64 - 1], [2**64 - 1], {}),
        ("decimal(65,30)", pa.string(), ["1." + "0" * 29 + "1"], [Decimal("1." + "0" * 29 + "1")], {}),
        ("date", pa.int64(), [10101, 99991231, None], [date(1, 1, 1), date(9999, 12, 31), None], {}),
        ("date", pa.int64(), [0, 20240015, 20240100, 505, 20240230], [None] * 5,
         {"zero date": 1, "partial date": 3, "impossible date": 1}),
        ("datetime", pa.int64(), [20240102030405, 0, 10203], [MOMENT, None, None], {"zero date": 2}),
        ("datetime(6)", STAMPS, [Decimal("20240102030405.000001"), Decimal("20240015000000"), None],
         [MOMENT + timedelta(microseconds=1), None, None], {"partial date": 1}),
        ("timestamp", pa.int64(), [20240102030405], [MOMENT.replace(tzinfo=UTC)], {}),
        ("time", pa.int64(), [-1, 3_020_399_999_999], [timedelta(microseconds=-1),
         timedelta(hours=838, minutes=59, seconds=59, microseconds=999_999)], {}),
        ("varchar(9)", pa.string(), ["a\0b", "", None, "\0"], ["ab", "", None, ""], {"NUL character": 2}),
        ("json", pa.string(), ['{"a": "\\u0000b"}', '"\\\\u0000"'], [b'\x01{"a": "b"}', b'\x01"\\\\u0000"'],
         {"\\u0000": 1}),
        ("bit(1)", pa.uint64(), [0, 1, None], [False, True, None], {}),
        ("bit(64)", pa.uint64(), [2**64 - 1], [2**64 - 1], {}),
        ("varchar(9)", pa.string(), ["419842!A?B", "61=a", "=", None, "610062=a\0b"], ["A?B", "a", "", None, "ab"],
         {"no character": 1, "NUL character": 1}),
        ("point", pa.large_binary(), [None, b"\x00\x00\x00\x00\x01wkb"], [None, b"\x01wkb"], {"SRID 0": 1}),
        ("uuid", pa.string(), [str(uuid.UUID(int=7))], [uuid.UUID(int=7).bytes], {}),
        ("inet4", pa.string(), ["10.0.0.1"], [b"\x02\x20\x00\x04\x0a\x00\x00\x01"], {}),
    ],
)  # fmt: skip
def test_a_value(type_: str, arrow: pa.DataType, given: list[Any], kept: list[Any], coerced: dict[str, int]) -> None:
    """In, out, and what was counted on the way."""
    assert converted(type_, given, arrow) == (kept, coerced)


@pytest.mark.parametrize(
    ("type_", "asked", "arrow", "fit", "unfit", "told"),
    [
        ("tinyint(1)", "boolean", pa.int8(), [0, 1, None], [2, 0, -1], "2 values other than 0 and 1, which boolean"),
        ("bigint(20) unsigned", "bigint", pa.uint64(), [2**63 - 1, None], [2**63], "1 value outside of 64 bits"),
        ("int(10) unsigned", "integer", pa.uint32(), [2**31 - 1], [2**31, 0], "1 value outside of 32 bits"),
        ("varchar(9)", "varchar(3)", pa.string(), ["abc", "äöü", "", None], ["abcd"], "longer than 3 characters"),
        ("time", "time", pa.int64(), [0, 86_399_999_999], [-1, 86_400_000_000], "2 values of another day, which time"),
    ],
)  # fmt: skip
def test_a_type_asked_for_that_cannot_hold_the_data(
    type_: str, asked: str, arrow: pa.DataType, fit: list[Any], unfit: list[Any], told: str
) -> None:
    """What fits is kept; what does not is an error with table, column, number and remedy, and without a value."""
    kept, coerced = converted(type_, fit, arrow, c=asked)
    assert (len(kept), coerced) == (len(fit), {})

    with pytest.raises(DataExtractionError) as refusal:
        converted(type_, unfit, arrow, c=asked)
    assert refusal.value.message.startswith(f"t.c ({type_}): ")
    assert told in refusal.value.message
    assert "tables.t.overrides.columns.c" in str(refusal.value.remedy)


def test_a_value_that_fits_nothing_tells_no_value() -> None:
    """The library's own words hold the cell."""
    with pytest.raises(DataExtractionError) as refusal:
        converted("decimal(65,30)", ["secret"], pa.string())

    assert refusal.value.message == "t.c (decimal(65,30)): holds a value that numeric(65,30) cannot"
    assert refusal.value.__cause__ is None


def test_examples_are_told_by_key() -> None:
    """The first three integer keys, however many there are."""
    table = pa.table({"k": [1, 2, 3, 4, 5], "d": [0, 20240101, 0, 0, 0]})
    _, coercions = coerce.to_warehouse("t", table, fields(column("k", "bigint"), column("d", "date")), "k")

    assert coercions == (Coercion("d", "zero date", "NULL", 4, (1, 3, 4)),)


def test_coercions_of_several_partitions_are_one() -> None:
    """Counts add up; the examples are the first."""
    parts = [Coercion("d", "zero date", "NULL", 2, (1, 2)), Coercion("d", "zero date", "NULL", 5, (7, 8, 9))]

    assert coerce.merged(parts) == (Coercion("d", "zero date", "NULL", 7, (1, 2, 7)),)


@given(st.lists(st.datetimes(min_value=datetime(1, 1, 1)), max_size=5))
def test_every_day_and_moment_of_the_calendar(moments: list[datetime]) -> None:
    """As numbers of eight, fourteen and twenty digits; leap years and all."""
    days = [int(f"{moment:%Y%m%d}") for moment in moments]
    stamps = [Decimal(f"{moment:%Y%m%d%H%M%S.%f}") for moment in moments]

    assert converted("date", days, pa.int64()) == ([moment.date() for moment in moments], {})
    assert converted("datetime(6)", stamps, STAMPS) == (moments, {})


@given(st.integers(0, 99_999_999))
def test_every_number_is_a_day_or_counted(stamp: int) -> None:
    """What the calendar does not have is NULL, and never another day."""
    (kept,), coerced = converted("date", [stamp], pa.int64())

    assert (kept is None) == (sum(coerced.values()) == 1)
    assert kept is None or int(f"{kept.year:04}{kept.month:02}{kept.day:02}") == stamp


def test_what_is_news() -> None:
    """A kind that the last run had not; nothing where there was no last run."""
    old, new = Coercion("d", "zero date", "NULL", 2), Coercion("t", "NUL character", "removed", 1)

    assert [one.news for one in coerce.merged([old, new], remembered=[old])] == [False, True]
    assert [one.news for one in coerce.merged([old, new], remembered=None)] == [False, False]


@pytest.mark.parametrize(
    ("found", "comments", "left"),
    [
        ({"SRID 0": 3}, {}, {}),
        ({"SRID 4326": 3}, {"g": "SRID 4326"}, {}),
        ({"SRID 0": 1, "SRID 4326": 2}, {}, {"SRID 4326": 2}),
        ({"SRID 25832": 1, "SRID 4326": 2}, {}, {"SRID 25832": 1, "SRID 4326": 2}),
    ],
)
def test_spatial_references(found: dict[str, int], comments: dict[str, str], left: dict[str, int]) -> None:
    """One for the whole column is its comment; of several, each is counted."""
    said, coercions = coerce.srids(Coercion("g", kind, "left out", count) for kind, count in found.items())

    assert said == comments
    assert {coercion.found: coercion.count for coercion in coercions} == left
