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

from arrowetl import schema
from arrowetl.errors import DataError
from arrowetl.model import Flavour

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
     ("timestamp(3)", "timestamp", "timestamp"), ("varchar(5)", "text", "text")],
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


def test_rules_have_names_of_their_own() -> None:
    """A plan names its rule, and finds it again."""
    names = [rule.name for rule in schema.RULES]

    assert len(set(names)) == len(names)


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
        ("json", Flavour.MYSQL, Flavour.MARIADB, "longtext"),
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
