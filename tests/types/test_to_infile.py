"""
What is written for LOAD DATA, read back by the rules of MySQL's manual.
"""

from __future__ import annotations

import io
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.catalog_values import column, fields

from arrowetl.types import conversion, to_infile

TEXT = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    ["", "NULL", "\\N", '"', '""', 'a","b', '",\n', "x\\", "\r\n", "\t", "'", "\0", ",", '"\n"', "😀"]
)


def written(values: list[Any], type_: str, arrow: pa.DataType) -> str:
    file = io.BytesIO()
    conversion.write_infile(
        pa.table({"c": pa.chunked_array([pa.array(values, arrow)])}), fields(column("c", type_)), file
    )
    return file.getvalue().decode()


def read_back(text: str, columns: int) -> list[tuple[str | None, ...]]:
    """FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n', letter by letter."""
    specials = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}
    rows, row, value, at, is_null = [], list[str | None](), "", 0, False
    while at < len(text):
        letter = text[at]
        if letter == "\\":
            at += 1
            is_null = is_null or text[at] == "N"
            value += specials.get(text[at], text[at])
        elif letter in "\t\n":
            row.append(None if is_null else value)
            value, is_null = "", False
        else:
            value += letter
        if letter == "\n":
            assert len(row) == columns
            rows.append(tuple(row))
            row = []
        at += 1
    return rows


@given(st.lists(st.tuples(st.none() | TEXT, st.none() | TEXT), max_size=8))
def test_every_text_survives_load_data(rows: list[tuple[str | None, str | None]]) -> None:
    """NULL and 'NULL', separators, line ends and backslashes are reported apart."""
    columns = fields(column("a", "text"), column("b", "varchar(50)"))
    arrays = [pa.array([row[i] for row in rows], pa.string()) for i in (0, 1)]
    file = io.BytesIO()
    conversion.write_infile(pa.table(arrays, names=["a", "b"]), columns, file)

    assert read_back(file.getvalue().decode(), 2) == rows


@pytest.mark.parametrize(
    ("type_", "arrow", "value", "text"),
    [
        ("tinyint(4)", pa.int8(), -128, "-128"),
        ("bigint(20) unsigned", pa.uint64(), 2**64 - 1, "18446744073709551615"),
        ("double", pa.float64(), 1e-7, "1e-7"),
        ("double", pa.float64(), 1e300, "1e+300"),
        ("float", pa.float32(), 0.1, "0.10000000149011612"),
        # As MySQL shows the largest that it takes, it would not take it again.
        ("float(8,2)", pa.float32(), 1_000_000.0, "999999.99"),
        ("float(8,2)", pa.float32(), -1_000_000.0, "-999999.99"),
        ("float(8,2)", pa.float32(), 999_999.0, "999999.0"),
        ("float(8,2)", pa.float32(), -0.5, "-0.5"),
        ("double(5,1)", pa.float64(), 9_999.9, "9999.9"),
        ("decimal(10,2)", pa.decimal128(38, 10), Decimal("1234.5"), "1234.50"),
        ("date", pa.int64(), 20240229, "20240229"),
        ("date", pa.int64(), 10101, "00010101"),
        ("date", pa.int64(), 0, "00000000"),
        ("datetime", pa.int64(), 20240229235959, "20240229235959"),
        ("datetime", pa.int64(), 0, "00000000000000"),
        ("datetime(6)", pa.decimal128(38, 10), Decimal("10101000000.000005"), "00010101000000.000005"),
        ("blob", pa.large_binary(), b"\x00\xff,\n", "00ff2c0a"),
        ("year(4)", pa.int16(), 0, "0000"),
        ("year(4)", pa.int16(), 2026, "2026"),
        ("int(11)", pa.int32(), 0, "0"),
        ("datetime", pa.int64(), 10101000000, "00010101000000"),
        ("datetime(6)", pa.decimal128(38, 10), Decimal("20240229235959.5"), "20240229235959.500000"),
        ("datetime(6)", pa.decimal128(38, 10), Decimal(0), "00000000000000.000000"),
        ("date", pa.int64(), 10000000, "10000000"),
        ("date", pa.int64(), 9999999, "09999999"),
        ("time", pa.int64(), 3_661_000_000, "10101"),
        ("time", pa.int64(), -59_000_000, "-59"),
        ("time(6)", pa.int64(), 3_723_004_005, "01:02:03.004005"),
        ("time(6)", pa.int64(), -3_020_399_999_999, "-838:59:59.999999"),
        ("time(6)", pa.int64(), 0, "00:00:00.000000"),
        ("time", pa.int64(), -3_600_000_000, "-10000"),
        ("time", pa.int64(), 0, "0"),
        ("time", pa.int64(), 59_000_000, "59"),
        ("time", pa.int64(), 3_020_399_000_000, "8385959"),
        ("time(6)", pa.int64(), -1, "-00:00:00.000001"),
        ("time(6)", pa.int64(), 86_400_000_000, "24:00:00.000000"),
    ],
)
def test_values_are_printed_exactly(type_: str, arrow: pa.DataType, value: Any, text: str) -> None:
    """Exactly, at the limits of its range; and NULL as \\N."""
    assert written([value, None], type_, arrow) == f"{text}\n\\N\n"


@pytest.mark.parametrize(
    ("type_", "reported", "text"),
    [
        ("varchar(9)", "419842!A?B", "419842"),
        ("varchar(9)", "=", ""),
        ("varchar(9)", "0A=\n", "0A"),
        ("enum('a','b')", "61=a", "a"),
        ("enum('a\tb')", "610962=a\tb", "a\\\tb"),
        ("enum('','b')", "=", ""),
    ],
)
def test_texts_read_as_hex_are_printed_as_bytes(type_: str, reported: str, text: str) -> None:
    """Texts as their bytes, which LOAD DATA takes for the column's own; labels as they are."""
    file = io.BytesIO()
    table = pa.table({"c": pa.array([reported, None], pa.string())})
    conversion.write_infile(table, fields(column("c", type_, charset="cp1251")), file)

    assert file.getvalue().decode() == f"{text}\n\\N\n"


def test_rows_are_printed_in_bounded_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, no more than so many bytes at once; in order."""
    monkeypatch.setattr(conversion.limits, "infile_bytes", 100)
    table = pa.table({"a": pa.array(range(1000), pa.int64()), "b": pa.array([f"{n}\t" for n in range(1000)])})
    printed: list[int] = []

    class Counted(io.BytesIO):
        def write(self, some: Any) -> int:
            printed.append(bytes(some).count(b"\n"))
            return super().write(some)

    file = Counted()
    conversion.write_infile(table, fields(column("a", "bigint(20)"), column("b", "varchar(9)")), file)

    assert read_back(file.getvalue().decode(), 2) == [(str(n), f"{n}\t") for n in range(1000)]
    assert 1 <= max(printed) <= 100 * 1000 // table.nbytes


@pytest.mark.parametrize(("rows", "at_once"), [(10, 10), (11, 11)])
def test_few_rows_are_printed_at_once(rows: int, at_once: int) -> None:
    assert written(list(range(rows)), "int(11)", pa.int32()).count("\n") == at_once


def test_no_rows_print_nothing() -> None:
    assert written([], "int(11)", pa.int32()) == ""
    assert written([7], "int(11)", pa.int32()) == "7\n"


@pytest.mark.parametrize(
    ("type_", "labels"),
    [
        ("enum('a','b')", ["a", "b"]),
        ("enum('a')", ["a"]),
        ("enum('')", [""]),
        ("enum('a','it''s','')", ["a", "it's", ""]),
        ("set('x,y','z')", ["x,y", "z"]),
        ("enum('''')", ["'"]),
        ("int(11)", []),
    ],
)
def test_enum_labels_are_parsed(type_: str, labels: list[str]) -> None:
    assert to_infile.labels(type_) == labels


@pytest.mark.parametrize(
    ("type_", "charset", "values", "none"),
    [
        ("enum('a','b')", "utf8", ["a", "", "b", "", None], 2),
        ("enum('a','b')", "utf8", ["a", "b"], 0),
        ("enum('a','b')", "utf8", [None], 0),
        ("enum('a','b')", "utf8", [], 0),
        # One of its labels may be the empty text.
        ("enum('a','')", "utf8", ["a", "", ""], 0),
        ("enum('a','b')", "cp1251", ["61=a", "=", "="], 2),
        ("enum('a','')", "cp1251", ["61=a", "="], 0),
        ("set('a','b')", "utf8", ["", ""], 0),
        ("varchar(9)", "utf8", ["", ""], 0),
    ],
)
def test_invalid_enum_values_are_counted(type_: str, charset: str, values: list[str | None], none: int) -> None:
    """A server stores them only with a warning each, which are to be that many and no more."""
    two = fields(column("n", "int(11)"), column("c", type_, charset=charset))
    table = pa.table({"n": pa.array(range(len(values)), pa.int32()), "c": pa.array(values, pa.string())})

    assert conversion.unlabelled(table, two) == none


@pytest.mark.parametrize("text", ["\\", "\t", "\n", "a\\\t\n\\"])
@pytest.mark.parametrize("arrow", [pa.string(), pa.large_string(), pa.string_view()])
def test_special_characters_are_escaped(text: str, arrow: pa.DataType) -> None:
    said = written(["plain", text], "text", arrow)

    assert read_back(said, 1) == [("plain",), (text,)]
