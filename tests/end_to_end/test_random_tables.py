"""
Tables nobody thought of: any mix of types, any legal name, values weighted to the limits of their ranges.

Thirty of them here; `ARROWETL_TEST_TABLES=5000 nox -s tests -- tests/end_to_end/test_random_tables.py` makes more. What
differs is reported by column and value.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from support.clinic import Clinic, chosen
from support.independent import differences

import arrowetl
from arrowetl import drivers
from arrowetl.sql import mysql_name
from arrowetl.types import mapping

TABLES = int(os.environ.get("ARROWETL_TEST_TABLES", "30"))
Values = st.SearchStrategy[str]


@dataclass(frozen=True)
class Kind:
    """A column's type, how its values are written in SQL, and what it may be asked to be at the warehouse."""

    type: str
    values: Values
    asked: tuple[str, ...] = ()
    key: bool = False


# --- values, as SQL -----------------------------------------------------------------------------


def hexed(value: bytes) -> str:
    return f"UNHEX('{value.hex()}')"


def said(text: str) -> str:
    return f"CONVERT({hexed(text.encode())} USING utf8mb4)"


def integers(lowest: int, highest: int) -> Values:
    return (st.sampled_from([lowest, highest, 0, 1, lowest + 1, highest - 1]) | st.integers(lowest, highest)).map(str)


SPECIAL = ["", " ", "NULL", "\\N", "\\", '"', '""', "'", 'a","b', '",\n', "\r\n", "\t", "\0", "a\0b", "x ", "=", "!",
           "0", "😀", "ß☺", "\u0000", "%s", "{c}", "\x1a", "\u2028"]  # fmt: skip
texts = st.sampled_from(SPECIAL) | st.text(st.characters(codec="utf-8"), max_size=20)
NO_CHARACTERS = {"utf8": b"a\xed\xa0\x80", "utf8mb4": b"\xed\xbf\xbfz", "cp1251": b"\x98", "ascii": b"a\xff",
                 "latin1": b"\x81"}  # fmt: skip
dates = st.sampled_from(
    ["0000-00-00", "2024-00-15", "2024-01-00", "0000-05-05", "2024-02-30", "0001-01-01", "9999-12-31", "1000-01-01"]
) | st.dates().map(str)
days = st.sampled_from(["00:00:00", "23:59:59", "00:00:01"]) | st.times().map(lambda time: f"{time:%H:%M:%S}")
# MySQL's end a second before MariaDB's.
spans = st.sampled_from(["-838:59:58", "838:59:58", "24:00:00", "-00:00:00", "-00:00:01", "00:00:00"]) | st.builds(
    "{}{:02}:{:02}:{:02}".format,
    st.sampled_from(["", "-"]),
    st.integers(0, 837),
    st.integers(0, 59),
    st.integers(0, 59),
)


def fractions(digits: int) -> Values:
    return st.sampled_from([".0", ".9", ".000001", ".999999"]).map(lambda text: text[: digits + 1] if digits else "")


def quoted(*parts: Values) -> Values:
    return st.tuples(*parts).map(lambda texts: "'" + "".join(texts) + "'")


# --- types --------------------------------------------------------------------------------------


@st.composite
def an_integer(draw: Any) -> Kind:
    name, bits = draw(
        st.sampled_from([("tinyint", 8), ("smallint", 16), ("mediumint", 24), ("int", 32), ("bigint", 64)])
    )
    if draw(st.booleans()):
        fill = draw(st.sampled_from(["", " zerofill"]))
        wider = ("numeric(20,0)",) if bits == 64 else ("bigint",)
        return Kind(f"{name} unsigned{fill}", integers(0, 2**bits - 1), (*wider, "text"), True)
    return Kind(name, integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1), ("bigint", "text"), True)


@st.composite
def a_decimal(draw: Any) -> Kind:
    precision = draw(st.integers(1, 65))
    scale = draw(st.integers(0, min(30, precision)))
    digits = st.sampled_from(["9" * precision, "0", "1"]) | st.text("0123456789", min_size=1, max_size=precision)
    values = st.builds("{}{}".format, st.sampled_from(["", "-"]), digits).map(lambda text: f"{text}e-{scale}")
    written = values.map(lambda text: _decimal(text, scale))
    return Kind(f"decimal({precision},{scale})", written, ("text",), True)


def _decimal(text: str, scale: int) -> str:
    digits, sign = text.partition("e")[0].lstrip("-").rjust(scale + 1, "0"), "-" if text.startswith("-") else ""
    return sign + digits[: len(digits) - scale] + ("." + digits[len(digits) - scale :] if scale else "")


@st.composite
def a_time(draw: Any) -> Kind:
    fraction = draw(st.integers(0, 6))
    kind = draw(st.sampled_from(["date", "datetime", "timestamp", "time"]))
    some = {
        "date": quoted(dates),
        "datetime": quoted(dates, st.just(" "), days, fractions(fraction)),
        "timestamp": st.sampled_from(["0", "'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'"])
        | quoted(st.dates(_date(1971), _date(2037)).map(str), st.just(" "), days, fractions(fraction)),
        "time": quoted(spans, fractions(fraction)),
    }
    also = ("timestamp",) if kind == "timestamp" else ()
    return Kind(kind if kind == "date" else f"{kind}({fraction})", some[kind], ("text", *also), kind != "timestamp")


def _date(year: int) -> Any:
    from datetime import date

    return date(year, 1, 1)


@st.composite
def a_text(draw: Any) -> Kind:
    length = draw(st.integers(0, 60))
    type_ = draw(
        st.sampled_from([f"char({length})", f"varchar({length})", "tinytext", "text", "mediumtext", "longtext"])
    )
    charset = draw(st.sampled_from(["latin1", "utf8", "utf8mb4", "cp1251", "ascii", "ucs2", "koi8r"]))
    collation = draw(st.sampled_from(["", f" COLLATE {charset}_bin"]))
    odd = st.just(hexed(NO_CHARACTERS[charset])) if charset in NO_CHARACTERS else st.nothing()
    asked = (
        ("bytea", f"varchar({max(length, 1)})") if type_.startswith("varchar") and charset in ("utf8",) else ("bytea",)
    )
    key = type_.startswith("varchar") and charset != "ucs2" and length > 0
    return Kind(f"{type_} CHARACTER SET {charset}{collation}", texts.map(said) | odd, asked, key)


@st.composite
def some_bytes(draw: Any) -> Kind:
    length = draw(st.integers(0, 60))
    type_ = draw(
        st.sampled_from([f"binary({length})", f"varbinary({length})", "tinyblob", "blob", "mediumblob", "longblob"])
    )
    values = st.sampled_from([b"", b"\0", b"\xff", b"NULL", b"\\N", b'"']) | st.binary(max_size=60)
    return Kind(type_, values.map(hexed), (), type_.startswith("varbinary") and length > 0)


@st.composite
def a_choice(draw: Any) -> Kind:
    letters = st.text(
        st.characters(codec="utf-8", categories=["L", "N", "P", "S"], exclude_characters=",", max_codepoint=0x1FFF),
        min_size=1,
        max_size=8,
    )
    labels = draw(st.lists(letters, min_size=1, max_size=5, unique_by=lambda text: text.casefold()))
    labels = [f"{label}{index}" for index, label in enumerate(labels)]
    listed = ", ".join("'" + label.replace("\\", "\\\\").replace("'", "''") + "'" for label in labels)
    kind = draw(st.sampled_from(["enum", "set"]))
    values = integers(0, len(labels) if kind == "enum" else 2 ** len(labels) - 1)
    return Kind(f"{kind}({listed}) CHARACTER SET utf8 COLLATE utf8_bin", values)


@st.composite
def a_place(draw: Any) -> Kind:
    number = st.sampled_from(["0", "-0.5", "1e300", "48.137154"])
    systems = draw(st.sampled_from([[0], [4326], [0, 4326]]))
    point = st.builds("ST_GeomFromText('POINT({} {})', {})".format, number, number, st.sampled_from(systems))
    return Kind(draw(st.sampled_from(["point", "geometry"])), point)


@st.composite
def a_bit(draw: Any) -> Kind:
    length = draw(st.integers(1, 64))
    return Kind(f"bit({length})", integers(0, 2**length - 1))


singles = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from(
    [3.4028234663852886e38, -3.4028234663852886e38, 1.401298464324817e-45, -0.0, 16777217.0]
)
doubles = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [1.7976931348623157e308, 5e-324, -0.0, 1e16]
)
KINDS: list[st.SearchStrategy[Kind]] = [
    an_integer(), a_decimal(), a_time(), a_text(), some_bytes(), a_choice(), a_place(), a_bit(),
    st.just(Kind("float", singles.map(repr), ("double precision",))),
    st.just(Kind("double", doubles.map(repr))),
    st.just(Kind("year", st.sampled_from(["1901", "2155", "0", "2024"]), ("integer", "text"), True)),
]  # fmt: skip
if chosen("source") == "mariadb":
    KINDS += [
        st.just(Kind("uuid", st.uuids().map(lambda value: f"'{value}'"), ("text",))),
        st.just(Kind("inet4", st.ip_addresses(v=4).map(lambda value: f"'{value}'"))),
        st.just(Kind("inet6", st.ip_addresses(v=6).map(lambda value: f"'{value}'"))),
        st.just(Kind("json", st.sampled_from(['{"a": [1, 2.50]}', '"x"', "null"]).map(lambda t: f"'{t}'"), ("jsonb",))),
    ]

# --- tables -------------------------------------------------------------------------------------

# MySQL's names are of the basic plane, and end with no space.
names = st.sampled_from(["select", "order by", "ctid", "xmin", "Größe", "per%cent", "back`tick", "{c}", "{v}", "@c0",
                         'q"q', "it's", "$$", "n" * 64, "ü" * 40, "a.b", "NULL", "with space", "1", "\\"]) | st.text(
    st.characters(codec="utf-8", max_codepoint=0xFFFF, exclude_characters="\0"), min_size=1, max_size=60
).filter(lambda name: name == name.strip() and "\x7f" not in name)  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """A table, its rows, and what was asked for."""

    name: str
    create: str
    insert: str
    columns: tuple[str, ...]
    asked: dict[str, str]


@st.composite
def tables(draw: Any) -> Drawn:
    kinds = draw(st.lists(st.one_of(KINDS), min_size=1, max_size=8))
    columns = tuple(f"{draw(names)[:60]}_{index}" for index in range(len(kinds)))
    asked = {
        column: draw(st.sampled_from(kind.asked))
        for column, kind in zip(columns, kinds, strict=True)
        if kind.asked and draw(st.integers(0, 3)) == 0
    }
    able = [column for column, kind in zip(columns, kinds, strict=True) if kind.key]
    key = draw(st.sampled_from(["number", "number", "none", *(["its own"] if able else [])]))
    keys = {
        "number": ["arrow number"],
        "none": [],
        "its own": draw(st.lists(st.sampled_from(able or [""]), min_size=1, max_size=2, unique=True)),
    }[key]
    lines = ["`arrow number` int NOT NULL"]
    for column, kind in zip(columns, kinds, strict=True):
        lines.append(f"{mysql_name(column)} {kind.type} {'NOT NULL' if column in keys else 'NULL'}")
    if keys:
        lines.append(f"PRIMARY KEY ({', '.join(map(mysql_name, keys))})")
    engine = draw(st.sampled_from(["MyISAM", "InnoDB"]))
    name = draw(names)
    cells = [
        kind.values if column in keys else st.just("NULL") | kind.values
        for column, kind in zip(columns, kinds, strict=True)
    ]
    rows = draw(st.lists(st.tuples(*cells), max_size=6))
    listed = ", ".join(f"({', '.join([str(number), *row])})" for number, row in enumerate(rows))
    return Drawn(
        name,
        f"CREATE TABLE {mysql_name(name)} ({', '.join(lines)}) ENGINE={engine} DEFAULT CHARSET=utf8",
        f"INSERT IGNORE INTO {mysql_name(name)} VALUES {listed}" if rows else "",
        columns,
        asked,
    )


@pytest.fixture
def load(clinic: Clinic) -> Callable[[Drawn], dict[str, Any]]:
    """Make a table alone at the source, and load it in this very process."""
    admin = drivers.MySQL(clinic.sandbox.admin("source"))
    targets = [drivers.MySQL(clinic.sandbox.admin("replica")), drivers.Postgres(clinic.sandbox.warehouse)]
    clinic.undo += [admin.close, *(target.close for target in targets)]
    admin.execute("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'")

    def load(drawn: Drawn) -> dict[str, Any]:
        for (name,) in admin.rows("SHOW TABLES"):
            admin.execute(f"DROP TABLE {mysql_name(name)}")
            targets[0].execute(f"DROP TABLE IF EXISTS {mysql_name(name)}")
            targets[1].execute(f"DROP TABLE IF EXISTS raw.{schema_name(name)}")
            if targets[1].rows("SELECT to_regclass('raw.etl_load_status')::text")[0][0]:
                targets[1].execute("DELETE FROM raw.etl_load_status")
        admin.execute(drawn.create)
        if drawn.insert:
            admin.execute(drawn.insert)
        columns = {name: {"type": type_} for name, type_ in drawn.asked.items()}
        document = {"tables": {drawn.name: {"overrides": {"columns": columns, "batch_size": 2}}}}
        clinic.tables_file.write_text(yaml.safe_dump(document, allow_unicode=False))
        with arrowetl.open(clinic.environment, clinic.tables_file) as etl:
            return etl.run(all=True).as_json()

    return load


@pytest.fixture
def another_day(clinic: Clinic) -> Callable[[str, str], dict[str, Any]]:
    """Change the table, and load what changed, found in one way or the other."""
    admin = drivers.MySQL(clinic.sandbox.admin("source"))
    clinic.undo.append(admin.close)
    admin.execute("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'")

    def another_day(statement: str, by: str) -> dict[str, Any]:
        admin.execute(statement)
        document = yaml.safe_load(clinic.tables_file.read_text())
        clinic.tables_file.write_text(yaml.safe_dump({**document, "settings": {"reconcile_by": by}}))
        with arrowetl.open(clinic.environment, clinic.tables_file) as etl:
            return etl.run(all=True).as_json()

    return another_day


def schema_name(name: str) -> str:
    return '"' + mapping.postgres_name(name).replace('"', '""') + '"'


SYSTEM = {"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"}


@settings(
    max_examples=TABLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
@given(drawn=tables())
def test_any_table_arrives_exactly_or_counted(
    clinic: Clinic,
    load: Callable[[Drawn], dict[str, Any]],
    another_day: Callable[[str, str], dict[str, Any]],
    drawn: Drawn,
) -> None:
    """Exactly at the replica, at the warehouse but for what is counted; and so again when rows go, and come back."""
    note(f"{drawn.create}\n{drawn.insert}")
    run = load(drawn)

    assert [table["error"] for table in run["tables"] if table["error"]] == []
    renamed = {name: mapping.postgres_name(name, SYSTEM) for name in drawn.columns}
    found, coerced = differences(clinic.sandbox, drawn.name, mapping.postgres_name(drawn.name), renamed, drawn.asked)
    assert found == []
    assert run["tables"][0]["coerced"] == coerced
    if drawn.insert:
        deleted = f"DELETE FROM {mysql_name(drawn.name)} LIMIT 2"
        for statement, by in (
            (deleted, "checksum"),
            (drawn.insert, "checksum"),
            (deleted, "reading"),
            (drawn.insert, "auto"),
        ):
            run = another_day(statement, by)
            assert [table["error"] for table in run["tables"] if table["error"]] == []
            there = (drawn.name, mapping.postgres_name(drawn.name), renamed, drawn.asked)
            assert differences(clinic.sandbox, *there)[0] == [], (by, run)
