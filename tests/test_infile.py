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
from nouns import column, fields

from arrowetl import infile

TEXT = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    ["", "NULL", "\\N", '"', '""', 'a","b', '",\n', "x\\", "\r\n", "\t", "'", "\0", ",", '"\n"', "😀"]
)


def written(values: list[Any], type_: str, arrow: pa.DataType) -> str:
    file = io.BytesIO()
    infile.write(pa.table({"c": pa.chunked_array([pa.array(values, arrow)])}), fields(column("c", type_)), file)
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
def test_every_text_comes_back(rows: list[tuple[str | None, str | None]]) -> None:
    """NULL and 'NULL', separators, line ends and backslashes are told apart."""
    columns = fields(column("a", "text"), column("b", "varchar(50)"))
    arrays = [pa.array([row[i] for row in rows], pa.string()) for i in (0, 1)]
    file = io.BytesIO()
    infile.write(pa.table(arrays, names=["a", "b"]), columns, file)

    assert read_back(file.getvalue().decode(), 2) == rows


@pytest.mark.parametrize(
    ("type_", "arrow", "value", "text"),
    [
        ("tinyint(4)", pa.int8(), -128, "-128"),
        ("bigint(20) unsigned", pa.uint64(), 2**64 - 1, "18446744073709551615"),
        ("double", pa.float64(), 1e-7, "1e-7"),
        ("double", pa.float64(), 1e300, "1e+300"),
        ("float", pa.float32(), 0.1, "0.10000000149011612"),
        ("decimal(10,2)", pa.decimal128(38, 10), Decimal("1234.5"), "1234.50"),
        ("date", pa.int64(), 20240229, "20240229"),
        ("date", pa.int64(), 10101, "00010101"),
        ("date", pa.int64(), 0, "00000000"),
        ("datetime", pa.int64(), 20240229235959, "20240229235959"),
        ("datetime", pa.int64(), 0, "00000000000000"),
        ("datetime(6)", pa.decimal128(38, 10), Decimal("10101000000.000005"), "00010101000000.000005"),
        ("blob", pa.large_binary(), b"\x00\xff,\n", "00ff2c0a"),
        ("time", pa.int64(), -3_600_000_000, "-10000"),
        ("time", pa.int64(), 0, "0"),
        ("time", pa.int64(), 59_000_000, "59"),
        ("time", pa.int64(), 3_020_399_000_000, "8385959"),
        ("time(6)", pa.int64(), -1, "-00:00:00.000001"),
        ("time(6)", pa.int64(), 86_400_000_000, "24:00:00.000000"),
    ],
)
def test_a_value_as_mysql_reads_it(type_: str, arrow: pa.DataType, value: Any, text: str) -> None:
    """Exactly, at the ends of its range; and NULL as \\N."""
    assert written([value, None], type_, arrow) == f"{text}\n\\N\n"
