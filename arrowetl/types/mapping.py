"""
A column's rule, and what it becomes by it: its names and types at both targets, and how it is selected.

The table itself is in `rules`. This module decides; it converts nothing (`conversion` does) and speaks to no server.
What of a value is compared is in `checksum_text`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import pyarrow as pa

from arrowetl import limits
from arrowetl.errors import DataError, DataExtractionError, together
from arrowetl.model.dialect import Flavour
from arrowetl.model.plan import Column, Field
from arrowetl.types import to_infile, to_postgres
from arrowetl.types.postgres_types import digits_of, spelled
from arrowetl.types.rules import MASKED, REPLICA_TYPES, RULES, Rule

_BY_NAME = {rule.name: rule for rule in (*RULES, *MASKED)}
# PostgreSQL's own columns; a table cannot have another of the name.
_SYSTEM_COLUMNS = {"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"}


def rule_of(field: Field) -> Rule:
    """The rule a field was translated by."""
    return _BY_NAME[field.rule]


def expression(field: Field) -> str:
    """How a field is selected; `{c}` is its quoted name."""
    select = rule_of(field).select
    text = select(field.column) if callable(select) else select
    return text.replace("{charset}", field.column.charset or "binary")


def is_json(field: Field) -> bool:
    """Whether the warehouse keeps what its values mean, and not as they are written."""
    return field.type_postgres in ("json", "jsonb")


def is_read_as_text(field: Field) -> bool:
    """Whether what is read of it is a text, which may come as its bytes."""
    return callable(rule_of(field).select)


def is_a_date(field: Field) -> bool:
    """Whether its values may become NULL for want of a day in the calendar."""
    return rule_of(field).to_postgres in (to_postgres.date, to_postgres.date_and_time)


def goes_by_bytes(field: Field) -> bool:
    """Whether the replica gets its text as the bytes that it is in its character set."""
    return rule_of(field).to_infile is to_infile.from_hex


def is_geometry(field: Field) -> bool:
    """Whether its values have a spatial reference system, which the warehouse's bytes do not hold."""
    return rule_of(field).to_postgres is to_postgres.wkb


def fields_read_as_hex(table: str, fields: Iterable[Field], columns: Collection[str]) -> tuple[Field, ...]:
    """
    The fields, of which those of some columns use their rules' fallbacks.

    Raises:
        DataExtractionError: the type asked for has none.
    """
    found = []
    for field in fields:
        if field.column.name in columns and is_read_as_text(field):
            fallback = rule_of(field).fallback
            if fallback is None:
                raise DataExtractionError(
                    f"{table}.{field.column.name} ({field.column.column_type}): holds bytes that are no character, "
                    f"which {field.type_postgres} cannot",
                    remedy_of(table, field),
                )
            field = replace(field, rule=fallback)
        found.append(field)
    return tuple(found)


def translate(table: str, columns: Iterable[Column], overrides: Mapping[str, str]) -> tuple[Field, ...]:
    """
    Find each column's rule and what it becomes.

    Args:
        overrides: column name → PostgreSQL type asked for.

    Raises:
        DataError: a column has no rule, or none that gives the type asked for.
    """
    taken: set[str] = set()
    fields, problems = [], []
    for column in columns:
        asked = overrides.get(column.name)
        rule = rule_for(column, asked)
        if rule is None:
            problems.append(_no_rule(table, column, asked))
            continue
        name = postgres_name(column.name, taken | _SYSTEM_COLUMNS)
        taken.add(name)
        fields.append(
            Field(
                column=column,
                rule=rule.name,
                name_postgres=name,
                type_postgres=spelled(asked) if asked and rule.only_on_request else _type_postgres(rule, column),
                arrow=rule.arrow(column) if callable(rule.arrow) else rule.arrow,
            )
        )
    if problems:
        raise together(problems)
    return tuple(fields)


def rule_for(column: Column, asked: str | None = None) -> Rule | None:
    """The rule of a column, or the one that makes it the PostgreSQL type asked for; None where there is none."""
    wanted = spelled(asked) if asked else None
    for rule in RULES:
        fits = column.data_type in rule.mysql and rule.unsigned in (None, column.unsigned) and rule.when(column)
        if not fits or (rule.only_on_request and wanted is None):
            continue
        if wanted is None or wanted == _type_postgres(rule, column) or (rule.only_on_request and _is_of(wanted, rule)):
            return rule
    return None


def _is_of(wanted: str, rule: Rule) -> bool:
    """Whether a type with digits, like varchar(100), is what a request gives."""
    digits = digits_of(wanted)
    possible = len(digits) == 1 and 1 <= digits[0] <= limits.postgres_characters_max
    return rule.postgres in ("varchar", "char") and wanted.startswith(f"{rule.postgres}(") and possible


def _type_postgres(rule: Rule, column: Column) -> str:
    return rule.postgres.format(p=column.precision or 10, s=column.scale or 0)


def refused_values(column: Column, asked: str) -> str | None:
    """SQL that is true of the column's values which the type asked for cannot hold; None where it holds all."""
    rule = rule_for(column, asked)
    # Asked of types that have one.
    assert rule is not None
    return rule.refuses(column, digits_of(spelled(asked)))


def remedy_of(table: str, field: Field) -> str:
    """The override that would load whatever the column holds, in words."""
    place, column = f"tables.{table}.columns.{field.column.name}", field.column
    default = rule_for(column)
    if default and _type_postgres(default, column) != field.type_postgres:
        return f"let it be {_type_postgres(default, column)}: remove the type from {place}, or name that one"
    carrier = next(
        (type_ for type_ in ("text", "bytea") if (rule := rule_for(column, type_)) and rule.only_on_request), None
    )
    if carrier:
        return f"load it unchanged with {place}: {{type: {carrier}}}"
    return f"leave the column out with {place}: {{exclude: true}}"


def _no_rule(table: str, column: Column, asked: str | None) -> DataError:
    place = f"tables.{table}.columns.{column.name}"
    if asked is None:
        return DataError(
            f"{table}.{column.name}: no rule for the type {column.column_type}",
            f"leave the column out with {place}: {{exclude: true}}",
        )
    able = [
        rule.postgres for rule in RULES if rule.only_on_request and column.data_type in rule.mysql and rule.when(column)
    ]
    default = rule_for(column)
    choices = dict.fromkeys([*([_type_postgres(default, column)] if default else []), *able])
    return DataError(
        f"{table}.{column.name}: {column.column_type} cannot be loaded as {asked}",
        f"correct {place}.type; {column.column_type} can be: {', '.join(choices)}",
    )


def postgres_name(name: str, taken: Iterable[str] = ()) -> str:
    """
    The name PostgreSQL can hold: the same one, or else one deterministic other.

    >>> postgres_name("PatNum")
    'PatNum'
    >>> postgres_name("xmin", {"xmin"})
    'xmin_eafb2f50'
    """
    if len(name.encode()) <= limits.postgres_name_bytes and name not in taken:
        return name
    while (other := shortened(name, limits.postgres_name_bytes)) in taken:
        name += "_"
    return other


def shortened(name: str, length_bytes: int) -> str:
    """A name cut to so many bytes, made distinct by eight hexadecimal digits of its hash."""
    digits = hashlib.sha256(name.encode()).hexdigest()[:8]
    return name.encode()[: length_bytes - 9].decode(errors="ignore") + "_" + digits


def to_arrow(fields: Iterable[Field]) -> pa.Schema:
    """The Arrow schema the warehouse receives, each field with its MySQL origin in its metadata."""
    return pa.schema([_arrow_field(field) for field in fields])


def _arrow_field(field: Field) -> pa.Field:
    origin = {"name": field.column.name, "type": field.column.column_type, "rule": field.rule}
    return pa.field(field.name_postgres, field.arrow, metadata={"mysql": json.dumps(origin)})


def replica_type(field: Field, source: Flavour, replica: Flavour) -> str:
    """
    The column's type as the replica's server spells it.
    """
    if field.column.labels_lost:
        return "varchar(255)" if field.column.data_type == "enum" else "text"
    instead = REPLICA_TYPES.get(field.column.data_type, {}) if source is not replica else {}
    return instead.get(replica, field.column.column_type)
