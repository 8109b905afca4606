"""
Parquet files read again, by nobody's code but the readers' own, and compared with what the source has.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, datetime, time
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pandas
import polars
import pyarrow.parquet as pq

from support.clinic import Clinic
from support.independent import Column, _number, expected, mysql_rows


def rows_of(directory: Path) -> list[dict[str, Any]]:
    """All files of a table's directory, read by pyarrow alone."""
    return [row for path in sorted(directory.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def _micros(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    hours, minutes, seconds = text.lstrip("-").split(":")
    whole, _, fraction = seconds.partition(".")
    return sign * ((int(hours) * 3600 + int(minutes) * 60 + int(whole)) * 1_000_000 + int(fraction.ljust(6, "0") or 0))


def _timestamp(text: str) -> datetime:
    zone = "+00:00" if text.endswith("+00") else ""
    return datetime.fromisoformat(text.removesuffix("+00") + zone)


def wanted(text: str | None, column: Column, asked: str) -> object:
    """A source's value, as its text must be at the warehouse → what Python gets of the file."""
    if text is None:
        return None
    kind = asked or column.type
    if column.is_("float") and asked != "text":
        return struct.unpack("f", struct.pack("f", float(text)))[0]
    if kind.startswith("double"):
        return float(text)
    if kind.startswith("bit(1)") or asked == "boolean":
        return text in ("t", "1")
    if text.startswith("\\x"):
        return bytes.fromhex(text[2:])
    if asked in ("text",) or asked.startswith(("varchar", "char")):
        return text.rstrip(" ") if asked.startswith("char") else text
    if column.is_("timestamp", "datetime"):
        return _timestamp(text)
    if column.is_("date"):
        return date.fromisoformat(text)
    if column.is_("time"):
        return time.fromisoformat(text) if asked == "time" else _micros(text)
    if column.is_("decimal"):
        return Decimal(text) if int(column.type[8:].split(",")[0].rstrip(")")) <= 38 else text
    if not asked and ((column.is_("bigint") and "unsigned" in column.type) or column.is_("bit(64)")):
        return Decimal(text)
    if column.is_("tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit") and not column.is_("inet"):
        return int(text)
    return text


def _comparable(value: object, asked: str) -> object:
    if asked in ("uuid", "inet") and value is not None:
        return UUID(str(value)) if asked == "uuid" else ip_address(str(value))
    if isinstance(value, float):
        return struct.pack(">d", value)
    if isinstance(value, datetime):
        return value.isoformat()
    if asked in ("jsonb", "json") and isinstance(value, str):
        with suppress(ValueError):
            return json.dumps(json.loads(value, parse_float=_number, parse_int=_number), sort_keys=True)
    if isinstance(value, str) and ":" in value:
        with suppress(ValueError):
            return ip_address(value)
    return value


def differences(clinic: Clinic, table: str, directory: Path, asked: Mapping[str, str], renamed: bool) -> list[str]:
    """In what a snapshot is not what the source has."""
    columns, source = mysql_rows(clinic.sandbox.admin("source"), table)
    kinds = [asked.get(c.name, "") for c in columns]
    right = [
        [_comparable(wanted(expected(v, c, k)[0], c, k), k) for v, c, k in zip(row, columns, kinds, strict=True)]
        for row in source
    ]
    files = [pq.read_table(path) for path in sorted(directory.glob("*.parquet"))]
    names = files[0].column_names
    if not renamed and names != [c.name for c in columns]:
        return [f"{table}: columns {names}"]
    found = [
        [_comparable(v, asked.get(c.name, "")) for v, c in zip(row.values(), columns, strict=True)]
        for file in files
        for row in file.to_pylist()
    ]
    left, other = sorted(map(repr, found)), sorted(map(repr, right))
    return [f"{table}: {a:.600} | {b:.600}" for a, b in zip(left, other, strict=False) if a != b] + (
        [f"{table}: {len(left)} rows, {len(other)} at the source"] if len(left) != len(other) else []
    )


def opens_everywhere(directory: Path) -> bool:
    """Whether DuckDB, polars and pandas find as many rows in the files of a directory."""
    files = [str(path) for path in sorted(directory.glob("*.parquet"))]
    rows = sum(pq.read_metadata(path).num_rows for path in files)
    found = duckdb.read_parquet(files).aggregate("count(*)").fetchall()
    return found == [(rows,)] and polars.read_parquet(files).height == len(pandas.read_parquet(files)) == rows
