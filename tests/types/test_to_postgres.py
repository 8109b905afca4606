"""
What the warehouse can hold is kept; what it cannot is changed as promised, and counted.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.catalog_values import column, fields

from arrowetl.errors import DataExtractionError
from arrowetl.model.result import Coercion
from arrowetl.types import conversion

TIME = datetime(2024, 1, 2, 3, 4, 5)
TIMESTAMPS = pa.decimal128(38, 10)


def converted(type_: str, values: list[Any], arrow: pa.DataType, **asked: str) -> tuple[list[Any], dict[str, int]]:
    """The values as the warehouse gets them, and what was coerced."""
    table = pa.table({"c": pa.chunked_array([pa.array(values, arrow)])})
    reported = any(isinstance(v, str) and re.match("[0-9A-F]*[=!]", v) for v in values)
    columns = fields(column("c", type_, charset="cp1251" if reported else None), **asked)
    found, coercions = conversion.to_warehouse("t", table, columns, None)
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
        ("datetime", pa.int64(), [20240102030405, 0, 10203], [TIME, None, None], {"zero date": 2}),
        ("datetime(6)", TIMESTAMPS, [Decimal("20240102030405.000001"), Decimal("20240015000000"), None],
         [TIME + timedelta(microseconds=1), None, None], {"partial date": 1}),
        ("timestamp", pa.int64(), [20240102030405], [TIME.replace(tzinfo=UTC)], {}),
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
def test_values_are_converted_or_counted(
    type_: str, arrow: pa.DataType, given: list[Any], kept: list[Any], coerced: dict[str, int]
) -> None:
    """In, out, and what was counted on the way."""
    assert converted(type_, given, arrow) == (kept, coerced)


@pytest.mark.parametrize(
    ("type_", "asked", "arrow", "fit", "unfit", "reported"),
    [
        ("tinyint(1)", "boolean", pa.int8(), [0, 1, None], [2, 0, -1], "2 values other than 0 and 1, which boolean"),
        ("bigint(20) unsigned", "bigint", pa.uint64(), [2**63 - 1, None], [2**63], "1 value outside of 64 bits"),
        ("int(10) unsigned", "integer", pa.uint32(), [2**31 - 1], [2**31, 0], "1 value outside of 32 bits"),
        ("varchar(9)", "varchar(3)", pa.string(), ["abc", "äöü", "", None], ["abcd"], "longer than 3 characters"),
        ("time", "time", pa.int64(), [0, 86_399_999_999], [-1, 86_400_000_000], "2 values of another day, which time"),
    ],
)
def test_requested_types_refuse_values_that_do_not_fit(
    type_: str, asked: str, arrow: pa.DataType, fit: list[Any], unfit: list[Any], reported: str
) -> None:
    """What fits is kept; what does not is an error with table, column, number and remedy, and without a value."""
    kept, coerced = converted(type_, fit, arrow, c=asked)
    assert (len(kept), coerced) == (len(fit), {})

    with pytest.raises(DataExtractionError) as refusal:
        converted(type_, unfit, arrow, c=asked)
    assert refusal.value.message.startswith(f"t.c ({type_}): ")
    assert reported in refusal.value.message
    assert "tables.t.columns.c" in str(refusal.value.remedy)


def test_conversion_errors_show_no_value() -> None:
    """The library's own words hold the cell."""
    with pytest.raises(DataExtractionError) as refusal:
        converted("decimal(65,30)", ["secret"], pa.string())

    assert refusal.value.message == "t.c (decimal(65,30)): holds a value that numeric(65,30) cannot"
    assert refusal.value.__cause__ is None


def test_examples_are_the_first_three_keys() -> None:
    """The first three integer keys, however many there are."""
    table = pa.table({"k": [1, 2, 3, 4, 5], "d": [0, 20240101, 0, 0, 0]})
    _, coercions = conversion.to_warehouse("t", table, fields(column("k", "bigint"), column("d", "date")), "k")

    assert coercions == (Coercion("d", "zero date", "NULL", 4, (1, 3, 4)),)


def test_coercions_of_partitions_are_merged() -> None:
    """Counts add up; the examples are the first."""
    parts = [Coercion("d", "zero date", "NULL", 2, (1, 2)), Coercion("d", "zero date", "NULL", 5, (7, 8, 9))]

    assert conversion.merged(parts) == (Coercion("d", "zero date", "NULL", 7, (1, 2, 7)),)


@given(st.lists(st.datetimes(min_value=datetime(1, 1, 1)), max_size=5))
def test_every_date_and_time_is_converted(times: list[datetime]) -> None:
    """As numbers of eight, fourteen and twenty digits; leap years and all."""
    days = [int(f"{timestamp:%Y%m%d}") for timestamp in times]
    timestamps = [Decimal(f"{timestamp:%Y%m%d%H%M%S.%f}") for timestamp in times]

    assert converted("date", days, pa.int64()) == ([timestamp.date() for timestamp in times], {})
    assert converted("datetime(6)", timestamps, TIMESTAMPS) == (times, {})


@given(st.integers(0, 99_999_999))
def test_invalid_dates_become_null_and_are_counted(timestamp: int) -> None:
    """What the calendar does not have is NULL, and never another day."""
    (kept,), coerced = converted("date", [timestamp], pa.int64())

    assert (kept is None) == (sum(coerced.values()) == 1)
    assert kept is None or int(f"{kept.year:04}{kept.month:02}{kept.day:02}") == timestamp


def test_new_coercions_are_marked() -> None:
    """A kind that the last run had not; nothing where there was no last run."""
    old, new = Coercion("d", "zero date", "NULL", 2), Coercion("t", "NUL character", "removed", 1)

    assert [one.is_new for one in conversion.merged([old, new], known_coercions=[old])] == [False, True]
    assert [one.is_new for one in conversion.merged([old, new], known_coercions=None)] == [False, False]


@pytest.mark.parametrize(
    ("found", "comments", "left"),
    [
        ({"SRID 0": 3}, {}, {}),
        ({"SRID 4326": 3}, {"g": "SRID 4326"}, {}),
        ({"SRID 0": 1, "SRID 4326": 2}, {}, {"SRID 4326": 2}),
        ({"SRID 25832": 1, "SRID 4326": 2}, {}, {"SRID 25832": 1, "SRID 4326": 2}),
    ],
)
def test_srids_are_recorded_or_counted(found: dict[str, int], comments: dict[str, str], left: dict[str, int]) -> None:
    """One for the whole column is its comment; of several, each is counted."""
    said, coercions = conversion.srids(Coercion("g", kind, "left out", count) for kind, count in found.items())

    assert said == comments
    assert {coercion.found: coercion.count for coercion in coercions} == left


# --- what the source gave -----------------------------------------------------------------------


def read(type_: str, values: list[Any], arrow: pa.DataType, charset: str = "utf8", key: str | None = "k") -> Any:
    """A column as it was read, next to a key."""
    table = pa.table({"k": pa.array(range(1, len(values) + 1), pa.int64()), "c": pa.array(values, arrow)})
    two = fields(column("k", "bigint(20)"), column("c", type_, charset=charset))
    return conversion.as_read("t", table, two, key)


def test_bytes_become_texts() -> None:
    """Are texts again; NULL stays NULL, and another column what it is."""
    found, odd = read("varchar(9)", ["ä".encode(), b"", None], pa.large_binary())

    assert found.schema.types == [pa.int64(), pa.string()]
    assert found.column_names == ["k", "c"]
    assert found.column("c").to_pylist() == ["ä", "", None]
    assert odd == frozenset()


def test_invalid_bytes_are_left_for_hex() -> None:
    """Stay as they are, and the column is reported: it is to be read again, as hex."""
    found, odd = read("varchar(9)", [b"a", b"\xed\xa0\x80"], pa.large_binary())

    assert found.column("c").type == pa.large_binary()
    assert odd == {"c"}
    assert read("blob", [b"\xff"], pa.large_binary())[1] == frozenset()
    assert read("varchar(9)", ["a"], pa.string())[1] == frozenset()


@pytest.mark.parametrize(
    ("values", "key", "reported"),
    [
        (["", None, "61=a"], "k", "t.c (varchar(9)): 1 value too large for the source to say (for example at k 1)"),
        (
            ["61=a", "", "", "", ""],
            "k",
            "t.c (varchar(9)): 4 values too large for the source to say (for example at k 2, 3, 4)",
        ),
        ([""] * 1234, None, "t.c (varchar(9)): 1,234 values too large for the source to say"),
        ([""], "other", "t.c (varchar(9)): 1 value too large for the source to say"),
    ],
)
def test_truncated_values_are_refused(values: list[str | None], key: str | None, reported: str) -> None:
    with pytest.raises(DataExtractionError) as refusal:
        read("varchar(9)", values, pa.string(), "cp1251", key)

    assert refusal.value.message == reported
    assert refusal.value.remedy == "raise max_allowed_packet at the source"


def test_empty_texts_are_distinguished_from_truncated_ones() -> None:
    """Reported as hex, an empty text is not empty; one of utf8 may be."""
    assert read("varchar(9)", ["=", None], pa.string(), "cp1251")[1] == frozenset()
    assert read("varchar(9)", ["", None], pa.string())[0].column("c").to_pylist() == ["", None]


# --- each conversion, at its edges --------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "arrow", "given", "kept", "coerced"),
    [
        ("smallint(6)", pa.int16(), [-32768, 32767], [-32768, 32767], {}),
        ("mediumint(8) unsigned", pa.uint32(), [2**24 - 1, None], [2**24 - 1, None], {}),
        ("year(4)", pa.int16(), [0, 1901, None], [0, 1901, None], {}),
        ("float", pa.float32(), [1.5, None], [1.5, None], {}),
        ("decimal(10,2)", TIMESTAMPS, [Decimal("1.50"), None], [Decimal("1.50"), None], {}),
        # The first day there is, and leap years of both kinds.
        ("date", pa.int64(), [101, 10101, 10100], [None, date(1, 1, 1), None], {"partial date": 2}),
        ("date", pa.int64(), [20000229, 19000229, 20240229], [date(2000, 2, 29), None, date(2024, 2, 29)],
         {"impossible date": 1}),
        ("date", pa.int64(), [20241301, 20240132, 20240431, 9999], [None] * 4,
         {"impossible date": 3, "partial date": 1}),
        ("date", pa.int64(), [10000, 20240000, 20240001], [None] * 3, {"partial date": 3}),
        ("date", pa.int64(), [None, None], [None, None], {}),
        ("date", pa.int64(), [], [], {}),
        ("datetime", pa.int64(), [20240102235959, 20240102000000, None],
         [TIME.replace(hour=23, minute=59, second=59), TIME.replace(hour=0, minute=0, second=0), None], {}),
        ("datetime", pa.int64(), [20240230101010, 20240010101010, 101010], [None] * 3,
         {"impossible date": 1, "partial date": 1, "zero date": 1}),
        ("datetime(6)", TIMESTAMPS, [Decimal("20240102030405.999999"), Decimal("20240102030405"), Decimal(0)],
         [TIME.replace(microsecond=999_999), TIME, None], {"zero date": 1}),
        ("timestamp(3)", TIMESTAMPS, [Decimal("20240102030405.123")],
         [TIME.replace(microsecond=123_000, tzinfo=UTC)], {}),
        ("varchar(9)", pa.string(), ["plain", None], ["plain", None], {}),
        ("varchar(9)", pa.string(), ["\0\0a\0"], ["a"], {"NUL character": 1}),
        ("enum('a','b')", pa.string(), ["a", "", None], ["a", "", None], {}),
        ("bit(1)", pa.uint64(), [None, 1], [None, True], {}),
        ("bit(8)", pa.uint64(), [255, None], [255, None], {}),
        ("blob", pa.large_binary(), [b"\0\xff", b"", None], [b"\0\xff", b"", None], {}),
        ("varchar(9)", pa.string(), ["3F=?", "80!?", "61=a", "80!\ufffd"], ["?", "?", "a", "\ufffd"],
         {"no character": 2}),
        ("varchar(9)", pa.string(), ["80!ab"], ["ab"], {}),
        ("enum('a','b')", pa.string(), ["61=a", "=", None], ["a", "", None], {}),
        ("point", pa.large_binary(), [b"\xe6\x10\0\0\x01w", b"\x01\0\0\0\x01x", None, b"\xe6\x10\0\0\x01z"],
         [b"\x01w", b"\x01x", None, b"\x01z"], {"SRID 4326": 2, "SRID 1": 1}),
        ("point", pa.large_binary(), [None], [None], {}),
        ("uuid", pa.string(), [str(uuid.UUID(int=2**127 + 5)), None], [uuid.UUID(int=2**127 + 5).bytes, None], {}),
        ("inet6", pa.string(), ["::1", None], [b"\x03\x80\x00\x10" + b"\0" * 15 + b"\x01", None], {}),
        ("inet4", pa.string(), ["255.1.2.3", None], [b"\x02\x20\x00\x04\xff\x01\x02\x03", None], {}),
        ("json", pa.string(), ['{"a": 1}', None], [b'\x01{"a": 1}', None], {}),
        ("json", pa.string(), ['"\\u0000\\u0000\\\\\\u0000x\\\\u0000"'], [b'\x01"\\\\x\\\\u0000"'], {"\\u0000": 1}),
        ("json", pa.string(), ['"\\u0000"', '"plain"', None], [b'\x01""', b'\x01"plain"', None], {"\\u0000": 1}),
    ],
)  # fmt: skip
def test_edge_values_are_converted(
    type_: str, arrow: pa.DataType, given: list[Any], kept: list[Any], coerced: dict[str, int]
) -> None:
    assert converted(type_, given, arrow) == (kept, coerced)


@pytest.mark.parametrize(
    ("type_", "asked", "arrow", "given", "kept"),
    [
        ("tinyint(1)", "boolean", pa.int8(), [0, 1, None], [False, True, None]),
        ("int(10) unsigned", "integer", pa.uint32(), [0, 2**31 - 1, None], [0, 2**31 - 1, None]),
        ("bigint(20)", "smallint", pa.int64(), [-32768, 32767, None], [-32768, 32767, None]),
        ("varchar(9)", "varchar(3)", pa.string(), ["äöü", None, "ab\0c"], ["äöü", None, "abc"]),
        ("text", "bytea", pa.string(), ["6100!a", "=", None], [b"a\0", b"", None]),
        ("longtext", "json", pa.string(), ['{"a": 1}', None], [b'{"a": 1}', None]),
        ("longtext", "jsonb", pa.string(), ["[1]", None], [b"\x01[1]", None]),
        ("char(36)", "uuid", pa.string(), [str(uuid.UUID(int=7)), None], [uuid.UUID(int=7).bytes, None]),
        ("varchar(45)", "inet", pa.string(), ["::1", None], [b"\x03\x80\x00\x10" + b"\0" * 15 + b"\x01", None]),
        ("timestamp", "timestamp", pa.int64(), [20240102030405], [TIME]),
        ("bigint(20)", "text", pa.string(), ["5", None], ["5", None]),
    ],
)
def test_requested_types_convert_values(
    type_: str, asked: str, arrow: pa.DataType, given: list[Any], kept: list[Any]
) -> None:
    assert converted(type_, given, arrow, c=asked)[0] == kept


def test_json_keys_that_collide_after_cleaning_are_refused() -> None:
    """PostgreSQL would keep the last of them: the document would lose a value in silence."""
    for odd in ('{"a": 1, "\\u0000a": 2}', '[{"b": {"x": 1, "x\\u0000": 2}}]'):
        with pytest.raises(DataExtractionError, match=r"1 value with equal keys but for \\u0000, which jsonb cannot"):
            converted("json", [odd, '{"a": 1, "a": 2}', None], pa.string())
    assert converted("json", ['{"a": 1, "b\\u0000": 2}', '{"a": 1, "a": 2}'], pa.string())[1] == {"\\u0000": 1}


def test_enum_labels_that_are_no_text_are_refused() -> None:
    """The replica's labels are the texts that the catalog reported, and would be others."""
    table = pa.table({"c": ["61=a", "98!?", None]})
    with pytest.raises(DataExtractionError) as refusal:
        conversion.to_warehouse("t", table, fields(column("c", "enum('a','?')", charset="cp1251")), None)

    assert refusal.value.message == (
        "t.c (enum('a','?')): 1 value whose label is no text in cp1251, which text cannot hold"
    )


@pytest.mark.parametrize(
    ("type_", "asked", "arrow", "odd", "reported"),
    [
        ("char(36)", "uuid", pa.string(), "no uuid at all", "t.c (char(36)): holds a value that uuid cannot"),
        (
            "char(36)",
            "uuid",
            pa.string(),
            "6ccd780c baba-1026-9564-5b8c656024db",
            "t.c (char(36)): holds a value that uuid cannot",
        ),
        ("varchar(45)", "inet", pa.string(), "fe80::1%2", "t.c (varchar(45)): holds a value that inet cannot"),
        ("varchar(45)", "inet", pa.string(), "10.0.0.256", "t.c (varchar(45)): holds a value that inet cannot"),
        ("bigint(20)", "smallint", pa.int64(), 32768, "t.c (bigint(20)): 1 value outside of 16 bits, which smallint"),
        ("bigint(20)", "smallint", pa.int64(), -32769, "t.c (bigint(20)): 1 value outside of 16 bits, which smallint"),
    ],
)
def test_values_outside_the_type_are_refused(
    type_: str, asked: str, arrow: pa.DataType, odd: Any, reported: str
) -> None:
    with pytest.raises(DataExtractionError) as refusal:
        converted(type_, [odd, None], arrow, c=asked)

    assert refusal.value.message.startswith(reported)
    assert refusal.value.remedy is not None


def test_masked_columns_are_not_coerced() -> None:
    """Nothing is left of it, whatever it was."""
    (field,) = fields(column("c", "varchar(9)"))
    masked = replace(field, rule="nullified", arrow=pa.int64())
    found, coercions = conversion.to_warehouse("t", pa.table({"c": ["a", None, "b"]}), [masked], None)

    assert found.column(0).to_pylist() == [None, None, None]
    assert found.column(0).type == pa.int64()
    assert coercions == ()


def test_the_copy_schema_follows_the_fields() -> None:
    """Names and types of the warehouse, of several columns, in order."""
    two = fields(column("b", "varchar(9)"), column("xmin", "int(11)"))
    found, _ = conversion.to_warehouse("t", pa.table({"b": ["x"], "xmin": pa.array([1], pa.int32())}), two, None)

    assert found.column_names == ["b", two[1].name_postgres]
    assert found.schema.types == [pa.string(), pa.int32()]


def test_keyless_coercions_have_no_examples() -> None:
    table = pa.table({"k": [1, 2], "d": [0, 0]})
    two = fields(column("k", "bigint"), column("d", "date"))

    assert [one.example_keys for one in conversion.to_warehouse("t", table, two, None)[1]] == [()]
    assert [one.example_keys for one in conversion.to_warehouse("t", table, two, "other")[1]] == [()]


def test_coercions_are_summed_by_kind() -> None:
    """Are added up by column, by what was found and by what it became."""
    parts = [
        Coercion("d", "zero date", "NULL", 2, (1,)),
        Coercion("d", "partial date", "NULL", 1, (5,)),
        Coercion("e", "zero date", "NULL", 4, ()),
        Coercion("d", "zero date", "NULL", 3, (2, 3, 4)),
    ]

    assert conversion.merged(parts) == (
        Coercion("d", "zero date", "NULL", 5, (1, 2, 3)),
        Coercion("d", "partial date", "NULL", 1, (5,)),
        Coercion("e", "zero date", "NULL", 4, ()),
    )
    assert conversion.merged([]) == ()


@pytest.mark.parametrize(
    ("type_", "arrow", "values", "coercion"),
    [
        ("varchar(9)", pa.string(), [None, "a\0", "\0"], Coercion("c", "NUL character", "removed", 2, (2, 3))),
        ("json", pa.string(), [None, '"\\u0000"', "1"], Coercion("c", "\\u0000", "removed", 1, (2,))),
        ("point", pa.large_binary(), [None, b"\xe6\x10\0\0w"], Coercion("c", "SRID 4326", "left out", 1, (2,))),
        ("date", pa.int64(), [None, 0, 20240102, 0], Coercion("c", "zero date", "NULL", 2, (2, 4))),
    ],
)
def test_coercions_name_their_result(type_: str, arrow: pa.DataType, values: list[Any], coercion: Coercion) -> None:
    table = pa.table({"k": pa.array(range(1, len(values) + 1)), "c": pa.array(values, arrow)})
    _, coercions = conversion.to_warehouse("t", table, fields(column("k", "bigint"), column("c", type_)), "k")

    assert coercions == (coercion,)


def test_invalid_characters_become_question_marks() -> None:
    table = pa.table({"k": [1, 2], "c": ["80!?", "61=a"]})
    two = fields(column("k", "bigint"), column("c", "varchar(9)", charset="cp1251"))

    assert conversion.to_warehouse("t", table, two, "k")[1] == (Coercion("c", "no character", "?", 1, (1,)),)


def test_invalid_json_is_left_to_the_warehouse() -> None:
    """Which refuses it, and says where."""
    assert converted("longtext", ['{"a\\u0000": '], pa.string(), c="jsonb") == ([b'\x01{"a": '], {"\\u0000": 1})
