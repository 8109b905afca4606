"""
Both targets read again, by nobody's code but the drivers' and PostgreSQL's own text.

What a MySQL value must have become at the warehouse is written here a second
time, from the contract, and not taken from arrowetl's rules.
"""

from __future__ import annotations

import calendar
import ipaddress
import json
import re
import struct
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import mysql.connector
import psycopg

from arrowetl.model.connection import Endpoint
from arrowetl.sandbox import servers

Row = tuple[str | None, ...]
GEOMETRIES = ("geom", "point", "linestring", "polygon", "multi")
TEXTS = ("char", "varchar", "text", "tinytext", "mediumtext", "longtext", "enum", "set")
BYTES = ("binary", "varbinary", "blob", "tinyblob", "mediumblob", "longblob", *GEOMETRIES)

# Python's names for MySQL's character sets; its latin1 is cp1252 with all bytes in use.
CODECS = {"utf8": "utf-8", "utf8mb3": "utf-8", "utf8mb4": "utf-8", "ucs2": "utf-16-be", "utf16": "utf-16-be",
          "utf32": "utf-32-be", "koi8r": "koi8-r", "sjis": "cp932", "greek": "iso8859-7"}  # fmt: skip


# Whatever a role has set for itself.
_SETTINGS = (
    "statement_timeout=0", "search_path=pg_catalog", "bytea_output=hex", "IntervalStyle=postgres",
    "DateStyle=ISO,MDY", "TimeZone=UTC", "extra_float_digits=1", "standard_conforming_strings=on",
)  # fmt: skip
_OPTIONS = " ".join(f"-c {setting}" for setting in _SETTINGS)


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    charset: str | None

    def is_(self, *kinds: str) -> bool:
        return self.type.startswith(kinds)


def mysql_rows(
    endpoint: Endpoint, table: str, like: list[Column] | None = None
) -> tuple[list[Column], list[tuple[bytes | None, ...]]]:
    """
    Columns and rows, each value as the server itself prints it; as if of other columns' types, where those are given.

    Floats are made doubles, to be exact; texts and bytes are hexadecimal digits of what is stored, so that nothing is
    lost in translation; an enum is its number and its label.
    """
    with _session(_mysql, endpoint) as connection, closing(connection.cursor(raw=True)) as cursor:
        return _mysql_rows(cursor, table, like)


def _mysql(endpoint: Endpoint) -> Any:
    connection = mysql.connector.connect(
        host=endpoint.host, port=endpoint.port, user=endpoint.user, password=endpoint.password, ssl_disabled=True,
        database=endpoint.database, use_pure=True, collation="utf8mb4_general_ci", time_zone="+00:00", autocommit=True,
    )  # fmt: skip
    cursor = connection.cursor()
    # Whatever the server says of itself to everybody.
    cursor.execute(
        "SET NAMES utf8mb4, sql_select_limit = 18446744073709551615, sql_big_selects = 1, time_zone = '+00:00'"
    )
    cursor.execute("SET /*M!100103 max_statement_time = 0, */ completion_type = 0")
    cursor.close()
    return connection


def _mysql_rows(
    cursor: Any, table: str, like: list[Column] | None
) -> tuple[list[Column], list[tuple[bytes | None, ...]]]:
    quoted = "`" + table.replace("`", "``") + "`"
    cursor.execute(f"SHOW FULL COLUMNS FROM {quoted}")
    columns = [
        Column(row[0].decode(), row[1].decode(), row[2].decode().partition("_")[0] if row[2] else None)
        for row in cursor.fetchall()
    ]
    names = []
    for column in like or columns:
        name = "`" + column.name.replace("`", "``") + "`"
        if column.is_("float"):
            name = f"{name} + 0e0"
        elif column.is_("bit"):
            name = f"{name} + 0"
        elif column.is_("enum") and "?" in column.type:
            # The catalog has no room for its label: the replica has that as a text.
            name = f"HEX(CAST({name} AS BINARY))"
        elif column.is_("enum"):
            name = f"CONCAT({name} + 0, ' ', HEX(CAST({name} AS BINARY)))"
        elif column.is_(*TEXTS, *BYTES):
            name = f"HEX(CAST({name} AS BINARY))"
        names.append(name)
    cursor.execute(f"SELECT {', '.join(names)} FROM {quoted}")
    rows = [tuple(None if value is None else bytes(value) for value in row) for row in cursor.fetchall()]
    return columns, rows


def postgres_rows(endpoint: Endpoint, table: str, columns: list[tuple[str, str]]) -> list[Row]:
    """The warehouse's rows, by COPY TO STDOUT in text form; columns as (name there, MySQL type)."""
    selected = []
    for name, type_ in columns:
        column = '"' + name.replace('"', '""') + '"'
        selected.append(f"{column}::float8" if type_.startswith("float") else column)
    quoted = '"' + table.replace('"', '""') + '"'
    statement = f"COPY (SELECT {', '.join(selected)} FROM ONLY {endpoint.namespace}.{quoted}) TO STDOUT"
    with _session(_postgres, endpoint) as connection, connection.cursor().copy(statement) as copy:
        text = b"".join(map(bytes, copy)).decode()
    return [tuple(_unescaped(field) for field in line.split("\t")) for line in text.split("\n")[:-1]]


def _postgres(endpoint: Endpoint) -> Any:
    return psycopg.connect(
        host=endpoint.host, port=endpoint.port, user=endpoint.user, password=endpoint.password,
        dbname=endpoint.database, options=_OPTIONS, client_encoding="UTF8", autocommit=True,
    )  # fmt: skip


_kept: dict[Any, Any] | None = None


@contextmanager
def many_tables() -> Iterator[None]:
    """In the block, whoever asks about many tables does so in the same sessions."""
    global _kept
    _kept = {}
    try:
        yield
    finally:
        for session in _kept.values():
            session.close()
        _kept = None


@contextmanager
def _session(connect: Callable[[Endpoint], Any], endpoint: Endpoint) -> Iterator[Any]:
    if _kept is None:
        with closing(connect(endpoint)) as session:
            yield session
    else:
        if endpoint not in _kept:
            _kept[endpoint] = connect(endpoint)
        yield _kept[endpoint]


_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}


def _unescaped(field: str) -> str | None:
    if field == r"\N":
        return None
    return "".join(_characters(field)) if "\\" in field else field


def _characters(field: str) -> Iterator[str]:
    characters = iter(field)
    for character in characters:
        yield _ESCAPES[next(characters)] if character == "\\" else character


def expected(value: bytes | None, column: Column, asked: str = "") -> tuple[str | None, bool]:
    """What a source's value must be at the warehouse, in the type asked for, and whether it was coerced."""
    if value is None:
        return None, False
    text = value.decode()
    if column.is_("bit(1)"):
        return "t" if text == "1" else "f", False
    if asked == "bytea" or column.is_(*BYTES):
        # Before the bytes of a geometry are four of its reference system.
        return "\\x" + (text[8:] if column.is_(*GEOMETRIES) else text).lower(), False
    if column.is_(*TEXTS):
        return _text(bytes.fromhex(text.rpartition(" ")[2]), column.charset or "utf8")
    if column.is_("date", "timestamp") and asked != "text":
        year, month, day = map(int, text[:10].split("-"))
        if not (year and month and 1 <= day <= calendar.monthrange(year, month)[1]):
            return None, True
        zone = "+00" if column.is_("timestamp") and asked != "timestamp" else ""
        return (text.rstrip("0").rstrip(".") if "." in text else text) + zone, False
    if column.is_("time") and asked != "text" and "." in text:
        return text.rstrip("0").rstrip("."), False
    if asked == "boolean":
        return {"0": "f", "1": "t"}[text], False
    if asked != "text" and (
        asked in ("smallint", "integer", "bigint") or column.is_("year") or "zerofill" in column.type
    ):
        return f"{Decimal(text):f}", False
    if column.is_("inet"):
        return str(ipaddress.ip_address(text)), False
    return text, False


def _text(stored: bytes, charset: str) -> tuple[str, bool]:
    """The characters of the bytes, where they are any, `?` for each that is none, and without NUL."""
    if charset == "latin1":
        text = "".join(bytes([b]).decode("cp1252", "ignore") or chr(b) for b in stored)
    elif CODECS.get(charset) == "utf-8":
        text = stored.decode("utf-8", "surrogatepass")
    else:
        text = stored.decode(CODECS.get(charset, charset), "replace")
    shown = re.sub("[\ud800-\udfff\ufffd]", "?", text).replace("\0", "")
    return shown, shown != text


def _number(text: str) -> str:
    return f"{Decimal(text).normalize():f}"


def _comparable(text: str | None, column: Column, asked: str = "") -> object:
    if text is None:
        return None
    # A double is its eight bytes, however many digits either side prints.
    if column.is_("float", "double"):
        return struct.pack(">d", float(text)).hex()
    if column.is_("inet") or asked == "inet":
        return str(ipaddress.ip_address(text))
    if asked == "uuid":
        return str(uuid.UUID(text))
    if asked == "jsonb":
        return json.dumps(json.loads(text, parse_float=_number, parse_int=_number), sort_keys=True)
    if asked.startswith("char"):
        return text.rstrip(" ")
    return text


def differences(
    sandbox: servers.Sandbox,
    table: str,
    at_warehouse: str | None = None,
    renamed: Mapping[str, str] | None = None,
    asked: Mapping[str, str] | None = None,
) -> tuple[list[str], dict[str, int]]:
    """
    Everything in which a table differs at the three servers, in words; and the values coerced, by column.

    Args:
        at_warehouse: the table's name there, where PostgreSQL could not hold its own.
        renamed: its columns' names there, where it could not hold theirs.
        asked: the types that some columns were asked to have there.
    """
    renamed, asked = renamed or {}, asked or {}
    columns, source = mysql_rows(sandbox.admin("source"), table)
    replica_columns, replica = mysql_rows(sandbox.admin("replica"), table, columns)
    found, coerced = [], dict[str, int]()
    if [column.name for column in columns] != [column.name for column in replica_columns]:
        found.append(f"{table}: the replica's columns are {replica_columns}")
    if Counter(source) != Counter(replica):
        found.append(f"{table}: source and replica differ: {_first_difference(columns, source, replica)}")
    wanted_columns = []
    for column, values in zip(columns, _columns(source, columns), strict=True):
        # Most values of a table are there many times.
        known = {value: expected(value, column, asked.get(column.name, "")) for value in set(values)}
        coerced[column.name] = sum(known[value][1] for value in values)
        shown = {value: _comparable(text, column, asked.get(column.name, "")) for value, (text, _) in known.items()}
        wanted_columns.append([shown[value] for value in values])
    wanted = list(zip(*wanted_columns, strict=True))
    for index, column in enumerate(columns):
        if column.is_(*GEOMETRIES):
            systems = [row[index][:8] for row in source if row[index] is not None]  # type: ignore[index]
            coerced[column.name] = sum(system != b"0" * 8 for system in systems) if len(set(systems)) > 1 else 0
    there = postgres_rows(
        sandbox.warehouse, at_warehouse or table, [(renamed.get(c.name, c.name), c.type) for c in columns]
    )
    got_columns = []
    for column, texts in zip(columns, _columns(there, columns), strict=True):
        shown = {text: _comparable(text, column, asked.get(column.name, "")) for text in set(texts)}
        got_columns.append([shown[text] for text in texts])
    got = list(zip(*got_columns, strict=True))
    if Counter(wanted) != Counter(got):
        found.append(f"{table}: source and warehouse differ: {_first_difference(columns, wanted, got)}")
    return found, {name: number for name, number in coerced.items() if number}


def _columns(rows: list[Any], columns: list[Column]) -> Iterator[tuple[Any, ...]]:
    return iter(zip(*rows, strict=True)) if rows else iter([()] * len(columns))


def _first_difference(columns: list[Column], left: list[tuple[object, ...]], right: list[tuple[object, ...]]) -> str:
    if len(left) != len(right):
        return f"{len(left)} and {len(right)} rows"
    for a, b in zip(sorted(left, key=repr), sorted(right, key=repr), strict=True):
        for column, one, other in zip(columns, a, b, strict=True):
            if one != other:
                return f"{column.name} ({column.type}): {one!r:.1000} | {other!r:.1000}"
    return "in nothing that was looked at"
