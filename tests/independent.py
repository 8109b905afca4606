"""
Both ends read again, by nobody's code but the drivers' and PostgreSQL's own text.

What a MySQL value must have become at the warehouse is written here a second
time, from the contract, and not taken from arrowetl's rules.
"""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator

import mysql.connector

from arrowetl.sandbox import programs, servers

Row = tuple[str | None, ...]
_COERCED = "coerced"


def mysql_rows(
    sandbox: servers.Sandbox, server: str, table: str
) -> tuple[list[tuple[str, str]], list[tuple[bytes | None, ...]]]:
    """Columns (name, type) and rows, each value as the server itself prints it; floats as doubles, to be exact."""
    endpoint = sandbox.admin(server)
    connection = mysql.connector.connect(
        host=endpoint.host, port=endpoint.port, user=endpoint.user, password=endpoint.password,
        database=endpoint.database, use_pure=True, collation="utf8mb4_general_ci", time_zone="+00:00",
    )  # fmt: skip
    cursor = connection.cursor(raw=True)
    quoted = "`" + table.replace("`", "``") + "`"
    cursor.execute(f"SHOW COLUMNS FROM {quoted}")
    columns = [(row[0].decode(), row[1].decode().lower()) for row in cursor.fetchall()]
    names = []
    for name, type_ in columns:
        column = "`" + name.replace("`", "``") + "`"
        if type_.startswith("float"):
            column = f"{column} + 0e0"
        elif "blob" in type_ or "binary" in type_ or type_.startswith("bit"):
            column = f"HEX({column})"
        names.append(column)
    cursor.execute(f"SELECT {', '.join(names)} FROM {quoted}")
    rows = [tuple(None if value is None else bytes(value) for value in row) for row in cursor.fetchall()]
    cursor.close()
    connection.close()
    return columns, rows


def postgres_rows(sandbox: servers.Sandbox, table: str, columns: list[tuple[str, str]]) -> list[Row]:
    """The warehouse's rows, by psql's COPY TO STDOUT in text form."""
    endpoint = sandbox.warehouse
    selected = []
    for name, type_ in columns:
        column = '"' + name.replace('"', '""') + '"'
        selected.append(f"{column}::float8" if type_.startswith("float") else column)
    quoted = '"' + table.replace('"', '""') + '"'
    statement = f"COPY (SELECT {', '.join(selected)} FROM raw.{quoted}) TO STDOUT"
    done = subprocess.run(
        [str(programs.postgres() / "psql"), "-X", "-q", "-h", endpoint.host, "-p", str(endpoint.port),
         "-U", endpoint.user, "-d", endpoint.database, "-c", statement],
        env={**os.environ, "PGPASSWORD": endpoint.password, "PGTZ": "UTC", "PGCLIENTENCODING": "UTF8"},
        capture_output=True, check=True,
    )  # fmt: skip
    return [tuple(_unescaped(field) for field in line.split("\t")) for line in done.stdout.decode().split("\n")[:-1]]


_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}


def _unescaped(field: str) -> str | None:
    if field == r"\N":
        return None
    return "".join(_characters(field)) if "\\" in field else field


def _characters(field: str) -> Iterator[str]:
    characters = iter(field)
    for character in characters:
        yield _ESCAPES[next(characters)] if character == "\\" else character


def expected(value: bytes | None, type_: str) -> tuple[str | None, bool]:
    """What a source's value must be at the warehouse, and whether it was coerced."""
    if value is None:
        return None, False
    if type_.startswith(("blob", "longblob", "mediumblob", "tinyblob", "binary", "varbinary")):
        return "\\x" + value.decode().lower(), False
    text = value.decode()
    if type_.startswith(("date", "datetime", "timestamp")):
        year, month, day = text[:10].split("-")
        if "00" in (month, day) or year == "0000":
            return None, True
        if "." in text:
            text = text.rstrip("0").rstrip(".")
        return text + ("+00" if type_.startswith("timestamp") else ""), False
    if type_.startswith("time") and "." in text:
        return text.rstrip("0").rstrip("."), False
    if type_.startswith(("char", "varchar", "text", "tinytext", "mediumtext", "longtext", "enum", "set")):
        return text.replace("\0", ""), "\0" in text
    return text, False


def _comparable(text: str | None, type_: str) -> str | None:
    # A double is its eight bytes, however many digits either side prints.
    if text is not None and type_.startswith(("float", "double")):
        return struct.pack(">d", float(text)).hex()
    return text


def differences(
    sandbox: servers.Sandbox, table: str, at_warehouse: str | None = None
) -> tuple[list[str], dict[str, int]]:
    """
    Everything in which a table differs at the three ends, in words; and the values coerced, by column.

    `at_warehouse` is the table's name there, where PostgreSQL could not hold its own.
    """
    columns, source = mysql_rows(sandbox, "source", table)
    replica_columns, replica = mysql_rows(sandbox, "replica", table)
    found, coerced = [], dict[str, int]()
    if [name for name, _ in columns] != [name for name, _ in replica_columns]:
        found.append(f"{table}: the replica's columns are {replica_columns}")
    if sorted(source, key=repr) != sorted(replica, key=repr):
        found.append(f"{table}: source and replica differ: {_first_difference(source, replica)}")
    wanted = []
    for row in source:
        values = []
        for value, (name, type_) in zip(row, columns, strict=True):
            text, was_coerced = expected(value, type_)
            coerced[name] = coerced.get(name, 0) + was_coerced
            values.append(_comparable(text, type_))
        wanted.append(tuple(values))
    got = [
        tuple(_comparable(text, type_) for text, (_, type_) in zip(row, columns, strict=True))
        for row in postgres_rows(sandbox, at_warehouse or table, columns)
    ]
    if sorted(wanted, key=repr) != sorted(got, key=repr):
        found.append(f"{table}: source and warehouse differ: {_first_difference(wanted, got)}")
    return found, {name: number for name, number in coerced.items() if number}


def _first_difference(left: list[tuple[object, ...]], right: list[tuple[object, ...]]) -> str:
    if len(left) != len(right):
        return f"{len(left)} and {len(right)} rows"
    pairs = zip(sorted(left, key=repr), sorted(right, key=repr), strict=True)
    return next(f"{a!r:.2000} | {b!r:.2000}" for a, b in pairs if a != b)
