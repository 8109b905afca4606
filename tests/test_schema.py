"""
What becomes of each type, as one table; and of names PostgreSQL cannot hold.
"""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nouns import column, fields

from arrowetl import coerce, infile, rules, schema
from arrowetl.dialect import Flavour
from arrowetl.errors import DataError

TYPES = [
    # MySQL, warehouse, Arrow that ADBC encodes into exactly that
    ("tinyint(4)", "smallint", pa.int8()),
    ("tinyint(1)", "smallint", pa.int8()),
    ("tinyint(3) unsigned", "smallint", pa.uint8()),
    ("smallint(6)", "smallint", pa.int16()),
    ("smallint(5) unsigned", "integer", pa.uint16()),
    ("mediumint(9)", "integer", pa.int32()),
    ("mediumint(8) unsigned", "integer", pa.int32()),
    ("int(11)", "integer", pa.int32()),
    ("int(10) unsigned", "bigint", pa.uint32()),
    ("int", "integer", pa.int32()),
    ("bigint(20)", "bigint", pa.int64()),
    ("bigint(20) unsigned", "numeric(20,0)", pa.uint64()),
    ("float", "real", pa.float32()),
    ("double", "double precision", pa.float64()),
    ("decimal(10,2)", "numeric(10,2)", pa.decimal128(10, 2)),
    ("decimal(38,0)", "numeric(38,0)", pa.decimal128(38, 0)),
    ("decimal(65,30)", "numeric(65,30)", pa.decimal256(65, 30)),
    ("date", "date", pa.date32()),
    ("datetime", "timestamp", pa.timestamp("us")),
    ("datetime(6)", "timestamp", pa.timestamp("us")),
    ("timestamp", "timestamptz", pa.timestamp("us", "UTC")),
    ("timestamp(3)", "timestamptz", pa.timestamp("us", "UTC")),
    ("time", "interval", pa.duration("us")),
    ("time(6)", "interval", pa.duration("us")),
    ("year(4)", "smallint", pa.int16()),
    ("char(5)", "text", pa.string()),
    ("varchar(255)", "text", pa.string()),
    ("longtext", "text", pa.string()),
    ("enum('a','b')", "text", pa.string()),
    ("set('a','b')", "text", pa.string()),
    ("binary(16)", "bytea", pa.large_binary()),
    ("longblob", "bytea", pa.large_binary()),
    ("bit(1)", "boolean", pa.bool_()),
    ("bit(8)", "bigint", pa.int64()),
    ("bit(64)", "numeric(20,0)", pa.uint64()),
    ("json", "jsonb", pa.binary()),
    ("point", "bytea", pa.large_binary()),
    ("vector(3)", "bytea", pa.large_binary()),
    ("uuid", "uuid", pa.binary(16)),
    ("inet6", "inet", pa.binary()),
]


@pytest.mark.parametrize(("mysql", "postgres", "arrow"), TYPES, ids=lambda value: str(value))
def test_a_type(mysql: str, postgres: str, arrow: pa.DataType) -> None:
    """Its type at the warehouse, and the Arrow type it travels as."""
    (field,) = fields(column("c", mysql))

    assert (field.type_postgres, field.arrow) == (postgres, arrow)


@pytest.mark.parametrize(
    ("mysql", "asked", "postgres"),
    [("tinyint(1)", "boolean", "boolean"), ("timestamp", "timestamp", "timestamp"),
     ("timestamp(3)", "timestamp without time zone", "timestamp"), ("varchar(5)", "text", "text"),
     ("varchar(5)", "character varying(9)", "varchar(9)"), ("char(5)", "character(5)", "char(5)"),
     ("char(1)", "char", "char(1)"), ("enum('a')", "varchar(9)", "varchar(9)"),
     ("time", "time without time zone", "time"), ("date", "text", "text"), ("text", "bytea", "bytea"),
     ("longtext", "jsonb", "jsonb"), ("year(4)", "integer", "integer"), ("bigint(20) unsigned", "int8", "bigint"),
     ("int(10) unsigned", "integer", "integer"), ("float", "double precision", "double precision")],
)  # fmt: skip
def test_a_type_that_was_asked_for(mysql: str, asked: str, postgres: str) -> None:
    """An override chooses among the rules that fit."""
    (field,) = fields(column("c", mysql), c=asked)

    assert field.type_postgres == postgres


@pytest.mark.parametrize(
    ("mysql", "asked", "told"),
    [
        ("varchar(5)", "boolean", "t.c: varchar(5) cannot be carried as boolean"),
        ("datetime", "date", "t.c: datetime cannot be carried as date"),
        ("blob", "text", "t.c: blob cannot be carried as text"),
        ("varchar(5)", "varchar(0)", "t.c: varchar(5) cannot be carried as varchar(0)"),
        ("varchar(5)", "varchar(99999999999)", "t.c: varchar(5) cannot be carried as varchar(99999999999)"),
        ("int(11)", "smallint(3)", "t.c: int(11) cannot be carried as smallint(3)"),
        ("cursor", None, "t.c: no rule for the type cursor"),
    ],
)
def test_a_type_that_cannot_be(mysql: str, asked: str | None, told: str) -> None:
    """The error names table, column, type and what solves it."""
    with pytest.raises(DataError) as refusal:
        fields(column("c", mysql), **({"c": asked} if asked else {}))

    assert refusal.value.message == told
    assert refusal.value.remedy is not None
    assert "tables.t.overrides.columns.c" in refusal.value.remedy


@pytest.mark.parametrize(
    ("mysql", "asked", "refused"),
    [
        ("tinyint(1)", "boolean", "{c} NOT IN (0, 1)"),
        ("int(11)", "bigint", None),
        ("int(10) unsigned", "integer", "{c} > 2147483647"),
        ("int(11)", "smallint", "{c} < -32768 OR {c} > 32767"),
        ("bigint(20) unsigned", "bigint", "{c} > 9223372036854775807"),
        ("year(4)", "integer", None),
        ("varchar(100)", "varchar(100)", None),
        ("varchar(255)", "varchar(100)", "CHAR_LENGTH({c}) > 100"),
        ("text", "varchar(100)", "CHAR_LENGTH({c}) > 100"),
        ("time", "time", "{c} < '00:00:00' OR {c} >= '24:00:00'"),
        ("timestamp", "timestamp", None),
        ("bigint(20)", "bigint", None),
    ],
)
def test_what_a_type_asked_for_cannot_hold(mysql: str, asked: str, refused: str | None) -> None:
    """As SQL the source can be asked; nothing where every value fits."""
    assert schema.refused_values(column("c", mysql), asked) == refused


@pytest.mark.parametrize(
    ("mysql", "asked", "remedy"),
    [
        ("tinyint(1)", {"c": "boolean"}, "let it be smallint: remove the type from tables.t.overrides.columns.c"),
        ("json", {}, "carry it as it stands with tables.t.overrides.columns.c: {type: text}"),
        ("varchar(5)", {}, "carry it as it stands with tables.t.overrides.columns.c: {type: bytea}"),
        ("double", {}, "leave the column out with tables.t.overrides.columns.c: {exclude: true}"),
    ],
)
def test_what_would_carry_it(mysql: str, asked: dict[str, str], remedy: str) -> None:
    """Each error about a value ends with the override that solves it."""
    (field,) = fields(column("c", mysql), **asked)

    assert schema.remedy_of("t", field).startswith(remedy)


# What was seen to arrive right (and no more): another width is refused, but a double in a bigint, or an integer in a
# timestamp, is taken bit for bit and in silence.
ENCODES = {
    "boolean": {pa.bool_()}, "smallint": {pa.int8(), pa.uint8(), pa.int16()}, "integer": {pa.uint16(), pa.int32()},
    "bigint": {pa.uint32(), pa.int64()}, "real": {pa.float32()}, "double precision": {pa.float64()},
    "date": {pa.date32()}, "timestamp": {pa.timestamp("us")}, "timestamptz": {pa.timestamp("us", "UTC")},
    "interval": {pa.duration("us")}, "time": {pa.time64("us")}, "text": {pa.string()}, "varchar": {pa.string()},
    "char": {pa.string()}, "bytea": {pa.large_binary()}, "uuid": {pa.binary(16)}, "inet": {pa.binary()},
    "json": {pa.binary()}, "jsonb": {pa.binary()},
}  # fmt: skip


def test_every_pair_of_types_is_one_that_arrives() -> None:
    """Of all rules and all types they fit, the Arrow type is one that ADBC encodes into exactly that of PostgreSQL."""
    wrong = []
    for rule in rules.RULES:
        for type_, unsigned in [(type_, unsigned) for type_ in rule.mysql for unsigned in ("", " unsigned")]:
            of = column("c", type_ + unsigned, precision=10, scale=2)
            if rule.unsigned not in (None, of.unsigned):
                continue
            arrow = rule.arrow(of) if callable(rule.arrow) else rule.arrow
            numeric = rule.postgres.startswith("numeric") and (arrow == pa.uint64() or pa.types.is_decimal(arrow))
            if not numeric and arrow not in ENCODES.get(rule.postgres, set()):
                wrong.append((rule.name, of.column_type, arrow))

    assert wrong == []


def test_rules_have_names_of_their_own() -> None:
    """A plan names its rule, and finds it again."""
    every = (*rules.RULES, *rules.MASKED)
    names = [rule.name for rule in every]

    assert len(set(names)) == len(names)
    assert {rule.converts for rule in every} == coerce.CONVERSIONS.keys()
    assert {rule.prints for rule in rules.RULES} == infile.PRINTERS.keys()
    assert {rule.fallback for rule in rules.RULES} - set(names) == {None}


def test_the_origin_travels_along() -> None:
    """Each Arrow field says which MySQL column it was."""
    arrow = schema.to_arrow(fields(column("PatNum", "bigint(20)")))

    assert json.loads(arrow.field("PatNum").metadata[b"mysql"]) == {
        "name": "PatNum",
        "type": "bigint(20)",
        "rule": "bigint",
    }


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=64))
def test_every_name_becomes_one_that_postgres_can_hold(name: str) -> None:
    """Itself where it fits; otherwise another, always the same, that fits."""
    held = schema.postgres_name(name)

    assert len(held.encode()) <= 63
    assert held == schema.postgres_name(name)
    assert held == name or len(name.encode()) > 63


def test_a_system_columns_name_is_another() -> None:
    """PostgreSQL has an xmin of its own in every table."""
    (field,) = fields(column("xmin", "int(11)"))

    assert field.name_postgres != "xmin"


@pytest.mark.parametrize(
    ("mysql", "source", "replica", "there"),
    [
        ("json", Flavour.MYSQL, Flavour.MARIADB, "longtext CHARACTER SET utf8mb4"),
        ("json", Flavour.MYSQL, Flavour.MYSQL, "json"),
        ("uuid", Flavour.MARIADB, Flavour.MYSQL, "char(36)"),
        ("inet6", Flavour.MARIADB, Flavour.MYSQL, "varchar(45)"),
        ("vector(3)", Flavour.MARIADB, Flavour.MARIADB, "vector(3)"),
        ("int(11)", Flavour.MARIADB, Flavour.MYSQL, "int(11)"),
    ],
)
def test_a_type_the_replica_lacks(mysql: str, source: Flavour, replica: Flavour, there: str) -> None:
    """The nearest its engine has; the same one where it has it."""
    (field,) = fields(column("c", mysql))

    assert schema.replica_type(field, source, replica) == there


@pytest.mark.parametrize(
    ("column_type", "select"),
    [
        ("decimal(12,6)", "trunc({c} * 1000000)::text"),
        ("decimal(65,30)", "trunc({c} * 1" + "0" * 30 + ")::text"),
        ("bigint(20) unsigned", "{c}::text"),
    ],
)
def test_decimals_that_are_read_back(column_type: str, select: str) -> None:
    """To be compared as whole numbers in text, of as many digits as there are: nothing can be written in two ways."""
    (field,) = fields(column("a", column_type))

    assert schema.read_back(field)[0] == select
