"""
Each piece of knowledge about a type is there once, and for every type: nothing falls through to a default.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from support.catalog_values import column, fields

from arrowetl.model.connection import MASKS
from arrowetl.model.dialect import Flavour
from arrowetl.model.plan import Field
from arrowetl.types import (
    checksum_text,
    conversion,
    from_postgres,
    mapping,
    masking,
    mysql_types,
    postgres_types,
    rules,
    to_parquet,
)
from arrowetl.types.rules import Rule

DECLARED = {
    "varchar": "varchar(300)", "char": "char(9)", "enum": "enum('a','b')", "set": "set('a','b')", "bit": "bit(8)",
    "decimal": "decimal(12,2)", "binary": "binary(16)", "varbinary": "varbinary(20)", "vector": "vector(3)",
}  # fmt: skip
DIGITS = {"varchar": "varchar(9)", "char": "char(9)"}
CHARSETS = ("utf8mb4", "cp1251")
TEXTS = (*rules.LETTERS, "enum", "set")


def given_by(rule: Rule) -> list[Field]:
    """A field of each type that a rule fits, by that rule."""
    found = []
    for type_ in rule.mysql:
        for declared in dict.fromkeys((DECLARED.get(type_, type_), "bit(1)", "bit(64)", "decimal(65,30)")):
            if declared.partition("(")[0] != type_.partition("(")[0]:
                continue
            for sign in ("", " unsigned"):
                for charset in CHARSETS if type_ in TEXTS else (None,):
                    of = column("c", declared + sign, charset=charset)
                    asked = {"c": DIGITS.get(rule.postgres, rule.postgres)} if rule.only_on_request else {}
                    if rule.unsigned in (None, of.unsigned) and rule.when(of):
                        found += [one for one in fields(of, **asked) if one.rule == rule.name]
    return found


GIVEN = [
    pytest.param(field, id=f"{field.rule}: {field.column.column_type}")
    for rule in rules.RULES
    for field in given_by(rule)
]


def test_every_rule_names_types() -> None:
    assert {rule.name for rule in rules.RULES} == {param.values[0].rule for param in GIVEN}  # type: ignore[attr-defined]


def test_every_type_has_a_row() -> None:
    """Of MySQL's those that a rule names, and no other; of PostgreSQL's those that a rule gives."""
    assert {type_ for rule in rules.RULES for type_ in rule.mysql} == mysql_types.TYPES.keys()
    assert {postgres_types.bare(rule.postgres) for rule in rules.RULES} == postgres_types.TYPES.keys()
    assert set(rules.REPLICA_TYPES) <= mysql_types.TYPES.keys()


@pytest.mark.parametrize("type_", sorted(rules.LOST_AT_REPLICAS))
def test_what_a_replica_has_as_text_can_be_asked_for(type_: str) -> None:
    """Or a load from a replica of another flavour would make a text of it."""
    assert {"jsonb", "uuid", "inet"} == rules.LOST_AT_REPLICAS
    assert [one.type_postgres for one in fields(column("c", "varchar(45)", charset="utf8"), c=type_)] == [type_]


FILED = {
    # Of each type whose wire form is no value of Arrow's: a value as MySQL writes it, and as a file has it.
    "jsonb": ('{"a": [1]}', '{"a": [1]}'),
    "uuid": ("6CCD780C-BABA-1026-9564-5B8C656024DB", "6ccd780c-baba-1026-9564-5b8c656024db"),
    "inet": ("2001:DB8:0:0::1", "2001:db8::1"),
}


@pytest.mark.parametrize("type_", [name for name, one in postgres_types.TYPES.items() if one.from_copy])
def test_a_wire_form_is_a_text_in_a_file(type_: str) -> None:
    written, filed = FILED[type_]
    (field,) = fields(column("c", "varchar(45)", charset="utf8"), c=type_)
    found, _ = conversion.to_warehouse("t", pa.table({"c": [written, None]}), [field], None)

    assert to_parquet.from_arrow(found.column(0), type_, pa.string()).to_pylist() == [filed, None]


QUESTIONS: dict[str, Any] = {
    "selected": mapping.expression,
    "compared as stored": checksum_text.stored_text,
    "compared at the warehouse": checksum_text.canonical_text,
    "shown": checksum_text.shown_text,
    "long": checksum_text.is_long,
    "read back": from_postgres.read_back,
    "in a file": lambda field: to_parquet.parquet_type(field.type_postgres),
    "in no file": lambda field: to_parquet.beyond(field.type_postgres),
    "masked": lambda field: [masking.refused(field.column, mask, ()) for mask in MASKS],
    "widened": lambda field: postgres_types.widens(field.type_postgres, "text"),
    "at the replica": lambda field: mapping.replica_type(field, Flavour.MYSQL, Flavour.MARIADB),
    "solved": lambda field: mapping.remedy_of("t", field),
}


@pytest.mark.parametrize("field", GIVEN)
def test_every_rule_answers_every_question(field: Field) -> None:
    for question, ask in QUESTIONS.items():
        assert ask(field) is not ..., question
    assert checksum_text.stored_text(field).count("{c}") == 1
    assert "{c}" in mapping.expression(field)


def read_as(field: Field) -> pa.DataType:
    """The type in which the source's driver gives it, more or less."""
    said = mapping.expression(field)
    if field.column.data_type == "decimal" and said == "{c}":
        return pa.decimal128(38, 10)
    if field.arrow == pa.large_binary() and "CONCAT(" not in said:
        return pa.large_binary()
    is_text = "CHAR" in said or "CONCAT(" in said or field.column.data_type in TEXTS
    return pa.string() if is_text else pa.int64()


@pytest.mark.parametrize("field", GIVEN)
def test_null_stays_null_for_every_rule(field: Field) -> None:
    """A column without a value is NULL at both targets, whatever its type; and so it is in a file."""
    read = pa.table({"c": pa.nulls(2, read_as(field))})
    found, coercions = conversion.to_warehouse("t", read, [field], None)

    assert (found.column(0).null_count, found.column(0).type, coercions) == (2, field.arrow, ())
    parquet_type, _, _ = to_parquet.parquet_type(field.type_postgres)
    assert to_parquet.from_arrow(found.column(0), field.type_postgres, parquet_type).null_count == 2


def test_unknown_types_raise() -> None:
    with pytest.raises(KeyError):
        mysql_types.type_of(column("c", "cursor"))


@pytest.mark.parametrize("name", postgres_types.TYPES)
def test_widening_and_union_types_agree(name: str) -> None:
    """What a column may be altered to and what a view unites columns as do not contradict each other."""
    for wider in postgres_types.TYPES[name].unites_as:
        assert postgres_types.widens(name, wider) or (name, wider) in {("char", "varchar"), ("json", "jsonb")}
