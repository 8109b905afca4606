"""
What becomes of each type, as one table; and of names PostgreSQL cannot hold.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.catalog_values import column, fields

from arrowetl.errors import DataError, DataExtractionError
from arrowetl.model.dialect import Flavour
from arrowetl.model.plan import Column
from arrowetl.types import checksum_text, from_postgres, mapping, postgres_types, rules

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
def test_each_column_gets_its_warehouse_and_arrow_type(mysql: str, postgres: str, arrow: pa.DataType) -> None:
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
     ("text", "varchar(10485760)", "varchar(10485760)"),
     ("longtext", "jsonb", "jsonb"), ("year(4)", "integer", "integer"), ("bigint(20) unsigned", "int8", "bigint"),
     ("int(10) unsigned", "integer", "integer"), ("float", "double precision", "double precision")],
)  # fmt: skip
def test_overrides_choose_among_fitting_rules(mysql: str, asked: str, postgres: str) -> None:
    """An override chooses among the rules that fit."""
    (field,) = fields(column("c", mysql), c=asked)

    assert field.type_postgres == postgres


@pytest.mark.parametrize(
    ("mysql", "asked", "reported"),
    [
        ("varchar(5)", "boolean", "t.c: varchar(5) cannot be loaded as boolean"),
        ("datetime", "date", "t.c: datetime cannot be loaded as date"),
        ("blob", "text", "t.c: blob cannot be loaded as text"),
        ("varchar(5)", "varchar(0)", "t.c: varchar(5) cannot be loaded as varchar(0)"),
        ("varchar(5)", "varchar(99999999999)", "t.c: varchar(5) cannot be loaded as varchar(99999999999)"),
        ("int(11)", "smallint(3)", "t.c: int(11) cannot be loaded as smallint(3)"),
        ("cursor", None, "t.c: no rule for the type cursor"),
    ],
)
def test_impossible_types_are_refused_with_a_remedy(mysql: str, asked: str | None, reported: str) -> None:
    """The error names table, column, type and what solves it."""
    with pytest.raises(DataError) as refusal:
        fields(column("c", mysql), **({"c": asked} if asked else {}))

    assert refusal.value.message == reported
    assert refusal.value.remedy is not None
    assert "tables.t.columns.c" in refusal.value.remedy


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
def test_requested_types_list_the_values_they_refuse(mysql: str, asked: str, refused: str | None) -> None:
    """As SQL the source can be asked; nothing where every value fits."""
    assert mapping.refused_values(column("c", mysql), asked) == refused


@pytest.mark.parametrize(
    ("existing", "wanted", "kept"),
    [
        ("smallint", "integer", True), ("smallint", "bigint", True), ("smallint", "real", True),
        ("smallint", "double precision", True), ("integer", "bigint", True), ("integer", "double precision", True),
        ("integer", "real", False), ("integer", "smallint", False), ("bigint", "double precision", False),
        ("bigint", "integer", False), ("real", "double precision", True), ("double precision", "real", False),
        ("date", "timestamp", True), ("date", "timestamptz", False), ("timestamp", "date", False),
        ("char(5)", "text", True), ("text", "varchar(9)", False), ("varchar(9)", "text", True),
        ("varchar(9)", "varchar", True), ("varchar", "varchar(9)", False), ("varchar(9)", "varchar(9)", True),
        ("varchar(9)", "varchar(10)", True), ("varchar(9)", "varchar(8)", False), ("varchar(9)", "bytea", False),
        ("boolean", "smallint", False), ("smallint", "numeric", True), ("bigint", "numeric", True),
        ("smallint", "numeric(5,0)", True), ("smallint", "numeric(4,0)", False), ("smallint", "numeric(6,2)", False),
        ("smallint", "numeric(7,2)", True), ("integer", "numeric(10,0)", True), ("integer", "numeric(9,0)", False),
        ("bigint", "numeric(19,0)", True), ("bigint", "numeric(18,0)", False), ("bigint", "numeric(20,0)", True),
        ("real", "numeric(40,0)", False), ("text", "numeric(2000,0)", False), ("text", "numeric", False),
        ("numeric(10,2)", "numeric(12,2)", True), ("numeric(10,2)", "numeric(12,4)", True),
        ("numeric(10,2)", "numeric(12,5)", False), ("numeric(10,2)", "numeric(12,1)", False),
        ("numeric(10,2)", "numeric(10,2)", True), ("numeric(10,2)", "numeric(11,3)", True),
        ("numeric(10,2)", "numeric", False), ("numeric", "numeric(10,2)", False),
        ("something", "numeric(1000,0)", False), ("timestamp", "something", False),
    ],
)  # fmt: skip
def test_widening_keeps_every_value(existing: str, wanted: str, kept: bool) -> None:
    """Whether PostgreSQL keeps each of its values when the column is altered."""
    assert postgres_types.widens(existing, wanted) is kept


@pytest.mark.parametrize(
    ("type_", "spelled"),
    [
        ("int4", "integer"), ("BOOL", "boolean"), ("int2", "smallint"), ("int", "integer"), ("int8", "bigint"),
        ("float4", "real"), ("float8", "double precision"), ("decimal(10, 2)", "numeric(10,2)"),
        ("character varying", "varchar"), ("character varying( 9 )", "varchar(9)"), ("character", "char(1)"),
        ("char", "char(1)"), ("char(3)", "char(3)"), ("timestamp without time zone", "timestamp"),
        ("timestamp(3) with time zone", "timestamptz(3)"), ("time  without  time zone", "time"), ("text", "text"),
        ("My Type", "my type"),
    ],
)  # fmt: skip
def test_type_spellings_are_normalised(type_: str, spelled: str) -> None:
    assert postgres_types.spelled(type_) == spelled


@pytest.mark.parametrize(
    ("type_", "digits"), [("numeric(10,2)", (10, 2)), ("varchar(9)", (9,)), ("int4", ()), ("numeric(65, 30)", (65, 30))]
)
def test_type_digits_are_parsed(type_: str, digits: tuple[int, ...]) -> None:
    assert postgres_types.digits_of(type_) == digits


@pytest.mark.parametrize(
    ("of", "asked", "reported", "remedy"),
    [
        (column("c", "cursor"), None, "t.c: no rule for the type cursor",
         "leave the column out with tables.t.columns.c: {exclude: true}"),
        (column("c", "varchar(5)"), "boolean", "t.c: varchar(5) cannot be loaded as boolean",
         "correct tables.t.columns.c.type; varchar(5) can be: text, varchar, bytea, jsonb, json, uuid, inet"),
        (column("c", "blob"), "text", "t.c: blob cannot be loaded as text",
         "correct tables.t.columns.c.type; blob can be: bytea"),
        (column("c", "int(10) unsigned"), "bool(3)", "t.c: int(10) unsigned cannot be loaded as bool(3)",
         "correct tables.t.columns.c.type; int(10) unsigned can be: "
         "bigint, boolean, smallint, integer, text"),
        (column("c", "char(5)", charset="cp1251"), "jsonb", "t.c: char(5) cannot be loaded as jsonb",
         "correct tables.t.columns.c.type; char(5) can be: text, varchar, char, bytea, uuid, inet"),
    ],
)  # fmt: skip
def test_refusals_list_the_possible_types(of: Column, asked: str | None, reported: str, remedy: str) -> None:
    with pytest.raises(DataError) as refusal:
        fields(of, **({"c": asked} if asked else {}))

    assert (refusal.value.message, refusal.value.remedy) == (reported, remedy)


def test_unknown_types_cannot_be_requested() -> None:
    with pytest.raises(DataError) as refusal:
        fields(column("c", "cursor"), c="text")

    assert refusal.value.message == "t.c: cursor cannot be loaded as text"


def test_all_impossible_columns_are_in_one_error() -> None:
    with pytest.raises(DataError) as refusal:
        fields(column("a", "cursor"), column("b", "int(11)"), column("c", "cursor"))

    assert "t.a: no rule" in str(refusal.value)
    assert "t.c: no rule" in str(refusal.value)


@pytest.mark.parametrize(
    ("mysql", "asked", "remedy"),
    [
        (
            "tinyint(1)",
            {"c": "boolean"},
            "let it be smallint: remove the type from tables.t.columns.c, or name that one",
        ),
        ("json", {}, "load it unchanged with tables.t.columns.c: {type: text}"),
        ("varchar(5)", {}, "load it unchanged with tables.t.columns.c: {type: bytea}"),
        ("double", {}, "leave the column out with tables.t.columns.c: {exclude: true}"),
        ("uuid", {}, "load it unchanged with tables.t.columns.c: {type: text}"),
    ],
)
def test_errors_end_with_the_override_that_loads_the_value(mysql: str, asked: dict[str, str], remedy: str) -> None:
    """Each error about a value ends with the override that solves it."""
    (field,) = fields(column("c", mysql), **asked)

    assert mapping.remedy_of("t", field) == remedy


@pytest.mark.parametrize(
    ("mysql", "charset", "asked", "rule"),
    [
        ("varchar(5)", "utf8", {}, "text read as hex"),
        ("varchar(5)", "utf8", {"c": "varchar(9)"}, "text read as hex"),
        ("char(5)", "utf8", {"c": "char(5)"}, "text read as hex"),
        # These show no text that could come as bytes.
        ("int(11)", None, {}, "mediumint, int"),
        ("enum('a')", "utf8", {}, "enum, set"),
    ],
)
def test_texts_that_came_as_bytes_are_read_as_hex(
    mysql: str, charset: str | None, asked: dict[str, str], rule: str
) -> None:
    """Is read again by the rule that shows its bytes; another column stays as it is."""
    other, field = fields(column("other", "text", charset="utf8"), column("c", mysql, charset=charset), **asked)

    assert mapping.fields_read_as_hex("t", (other, field), {"c"}) == (other, replace(field, rule=rule))
    assert mapping.fields_read_as_hex("t", (other, field), set()) == (other, field)


def test_texts_without_a_hex_rule_fail() -> None:
    with pytest.raises(DataExtractionError) as refusal:
        mapping.fields_read_as_hex("t", fields(column("c", "text", charset="utf8"), c="jsonb"), {"c"})

    assert refusal.value.message == "t.c (text): holds bytes that are no character, which jsonb cannot"
    assert refusal.value.remedy == ("let it be text: remove the type from tables.t.columns.c, or name that one")


@pytest.mark.parametrize(
    ("name", "length", "shorter"),
    [
        ("a" * 64, 63, "a" * 54 + "_ffe054fe"),
        ("ä" * 40, 63, "ä" * 27 + "_e99cfb61"),
        ("PatNum", 12, "Pat_2d711642"),
    ],
)
def test_long_names_are_shortened_distinctly(name: str, length: int, shorter: str) -> None:
    """Cut where a letter ends, and reported apart by eight digits of itself."""
    found = mapping.shortened(name, length)

    assert found[:-8] == shorter[:-8]
    assert found[-8:] == hashlib.sha256(name.encode()).hexdigest()[:8]


def test_taken_names_are_replaced() -> None:
    """63 bytes fit; a system column's name, and one that another column was given, do not."""
    assert mapping.postgres_name("a" * 63) == "a" * 63
    assert mapping.postgres_name("b", {"a"}) == "b"
    assert mapping.postgres_name("a", {"a"}).startswith("a_")
    # Another column may have the very name that would be given instead.
    for names in (("xmin_eafb2f50", "xmin"), ("xmin", "xmin_eafb2f50"), ("a" * 70, mapping.postgres_name("a" * 70))):
        held = [field.name_postgres for field in fields(*(column(name, "int(11)") for name in names))]
        assert len(set(held)) == 2
        assert all(len(name) <= 63 for name in held)


@pytest.mark.parametrize(
    ("mysql", "charset", "there"),
    [
        ("enum('a','?')", "utf8mb4", "varchar(255)"),
        ("set('?')", "utf8mb4", "text"),
        ("enum('a','?')", "utf8", "enum('a','?')"),
        ("enum('a')", "utf8mb4", "enum('a')"),
    ],
)
def test_enums_with_unknown_labels_become_texts(mysql: str, charset: str, there: str) -> None:
    """Are texts at the replica, whatever its flavour."""
    (field,) = fields(column("c", mysql, charset=charset))

    assert mapping.replica_type(field, Flavour.MARIADB, Flavour.MARIADB) == there


def test_masked_columns_have_no_canonical_text() -> None:
    (field,) = fields(column("c", "varchar(5)"))

    assert checksum_text.canonical_text(replace(field, mask="hash")) is None


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


def test_every_arrow_type_can_be_encoded() -> None:
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


def test_rule_names_are_unique() -> None:
    """A plan names its rule, and finds it again."""
    every = (*rules.RULES, *rules.MASKED)
    names = [rule.name for rule in every]

    assert len(set(names)) == len(names)
    assert {rule.fallback for rule in rules.RULES} - set(names) == {None}


def test_arrow_fields_name_their_mysql_column() -> None:
    """Each Arrow field says which MySQL column it was."""
    arrow = mapping.to_arrow(fields(column("PatNum", "bigint(20)")))

    assert json.loads(arrow.field("PatNum").metadata[b"mysql"]) == {
        "name": "PatNum",
        "type": "bigint(20)",
        "rule": "bigint",
    }


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=64))
def test_every_name_fits_postgres(name: str) -> None:
    """Itself where it fits; otherwise another, always the same, that fits."""
    held = mapping.postgres_name(name)

    assert len(held.encode()) <= 63
    assert held == mapping.postgres_name(name)
    assert held == name or len(name.encode()) > 63


def test_system_column_names_are_replaced() -> None:
    """PostgreSQL has an xmin of its own in every table."""
    (field,) = fields(column("xmin", "int(11)"))

    assert field.name_postgres != "xmin"


@pytest.mark.parametrize(
    ("mysql", "source", "replica", "there"),
    [
        ("json", Flavour.MYSQL, Flavour.MARIADB, "longtext CHARACTER SET utf8mb4"),
        ("json", Flavour.MYSQL, Flavour.MYSQL, "json"),
        ("uuid", Flavour.MARIADB, Flavour.MYSQL, "char(36) CHARACTER SET ascii"),
        ("inet6", Flavour.MARIADB, Flavour.MYSQL, "varchar(45) CHARACTER SET ascii"),
        ("vector(3)", Flavour.MARIADB, Flavour.MARIADB, "vector(3)"),
        ("int(11)", Flavour.MARIADB, Flavour.MYSQL, "int(11)"),
    ],
)
def test_types_missing_at_the_replica_get_the_nearest(
    mysql: str, source: Flavour, replica: Flavour, there: str
) -> None:
    """The nearest its engine has; the same one where it has it."""
    (field,) = fields(column("c", mysql))

    assert mapping.replica_type(field, source, replica) == there


@pytest.mark.parametrize(
    ("column_type", "select"),
    [
        ("decimal(12,6)", "trunc({c} * 1000000)::text"),
        ("decimal(65,30)", "trunc({c} * 1" + "0" * 30 + ")::text"),
        ("bigint(20) unsigned", "{c}::text"),
    ],
)
def test_decimals_are_compared_at_full_precision(column_type: str, select: str) -> None:
    """To be compared as whole numbers in text, of as many digits as there are: nothing can be written in two ways."""
    (field,) = fields(column("a", column_type))

    assert from_postgres.read_back(field)[0] == select
