"""
What is asked of the type rules: a column's rule, its names and types at both ends, its SQL.

The table itself is in `rules`. This module decides; it converts nothing
(`to_postgres` and `to_infile` do) and speaks to no server.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import pyarrow as pa

from arrowetl import limits
from arrowetl.errors import DataError, DataExtractionError, together
from arrowetl.model.dialect import INTEGERS, Flavour
from arrowetl.model.plan import Column, Field
from arrowetl.types.rules import BITS, MASKED, REPLICA_TYPES, RULES, TEXTS, Asked, Rule, characters

_BY_NAME = {rule.name: rule for rule in (*RULES, *MASKED)}
# The eight IEEE bytes: a float's text has too few digits, and a double's is another on MySQL and MariaDB.
_IMAGE_OF_BITS = BITS[0]

# PostgreSQL's own columns; a table cannot have another of the name.
_SYSTEM_COLUMNS = {"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"}

# Other spellings of PostgreSQL's types, its own among them.
_SPELLINGS = {
    "bool": "boolean", "int2": "smallint", "int": "integer", "int4": "integer", "int8": "bigint",
    "float4": "real", "float8": "double precision", "decimal": "numeric", "character varying": "varchar",
    "character": "char", "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz", "time without time zone": "time",
}  # fmt: skip


def rule_of(field: Field) -> Rule:
    """The rule a field was translated by."""
    return _BY_NAME[field.rule]


def spelled(type_: str) -> str:
    """
    A PostgreSQL type in the one spelling used here.

    >>> spelled("character varying(100)"), spelled("numeric(10, 2)"), spelled("timestamp(3) without time zone")
    ('varchar(100)', 'numeric(10,2)', 'timestamp(3)')
    """
    digits = re.search(r"\(([\d\s,]+)\)", type_)
    words = " ".join(re.sub(r"\([\d\s,]+\)", " ", type_.lower()).split())
    name = _SPELLINGS.get(words, words)
    if digits:
        return name + "(" + re.sub(r"\s", "", digits[1]) + ")"
    return "char(1)" if name == "char" else name


# Type → what holds every value of it as well, and keeps it when a column is altered to be that.
_WIDER = {
    "smallint": ("integer", "bigint", "numeric", "double precision", "real"),
    "integer": ("bigint", "numeric", "double precision"),
    "bigint": ("numeric",),
    "real": ("double precision",),
    "varchar": ("text", "varchar"),
    "char": ("text",),
    "date": ("timestamp",),
}


_DIGITS = {"smallint": 5, "integer": 10, "bigint": 19}


def widens(standing: str, wanted: str) -> bool:
    """
    Whether a column can become another type, each value kept.

    >>> widens("integer", "bigint"), widens("varchar(20)", "varchar(100)"), widens("numeric(10,2)", "numeric(12,1)")
    (True, True, False)
    """
    (before, old), (after, new) = ((type_.partition("(")[0], digits_of(type_)) for type_ in (standing, wanted))
    if before == after == "numeric" and len(old) == len(new) == 2:
        return new[1] >= old[1] and new[0] - new[1] >= old[0] - old[1]
    if after == "numeric" and new:
        return before in _DIGITS and new[0] - new[1] >= _DIGITS[before]
    if before == after == "varchar":
        return not new or (bool(old) and new[0] >= old[0])
    return after in _WIDER.get(before, ())


def image(field: Field) -> str:
    """
    The stored value as a text of bytes, in MySQL's SQL: the same at source and replica exactly where the value is.

    Values that may be long go by their SHA-256, so that no row outgrows a server's max_allowed_packet.
    """
    kind = field.column.data_type
    if kind in ("float", "double"):
        return _IMAGE_OF_BITS
    if field.column.labels_lost:
        # The replica has the label as a text.
        return "CAST({c} AS BINARY)"
    if kind in ("enum", "set", "year", "bit"):
        return "CAST({c} AS UNSIGNED)"
    if is_of_letters(field):
        return "CAST({c} AS BINARY)"
    if kind in ("uuid", "inet4", "inet6", "json"):
        return "SHA2(CAST({c} AS CHAR), 256)"
    numbers = (*INTEGERS, "decimal", "date", "datetime", "timestamp", "time")
    if kind.endswith(("text", "blob")):
        # A CAST of what is larger than max_allowed_packet is NULL, and every other value with it.
        return "SHA2({c}, 256)"
    return "{c}" if kind in numbers else "SHA2(CAST({c} AS BINARY), 256)"


def is_of_letters(field: Field) -> bool:
    """Whether its image could be mistaken for two values, or part of one, were its length not told."""
    return field.column.data_type in ("char", "varchar", "binary", "varbinary") or field.column.labels_lost


def expression(field: Field) -> str:
    """How a field is selected; `{c}` is its quoted name."""
    select = rule_of(field).select
    text = select(field.column) if callable(select) else select
    return text.replace("{charset}", field.column.charset or "binary")


def canonical(field: Field) -> tuple[str, str] | None:
    """
    Its canonical text in MySQL's SQL and in PostgreSQL's, `{c}` being its quoted name; of long texts and of bytes their
    SHA-256. None of what is masked, and of documents, of which PostgreSQL keeps the meaning alone.
    """
    if field.mask:
        return None
    texts = rule_of(field).canonical
    if texts and "zerofill" in field.column.column_type and texts == ("{c}", "{c}::text"):
        # As a number it has no zeros before it.
        return "({c} + 0)", texts[1]
    if texts and is_long(field) and (texts in TEXTS or field.column.data_type == "json"):
        return f"SHA2({texts[0]}, 256)", f"encode(sha256(convert_to({texts[1]}, 'UTF8')), 'hex')"
    if texts is None or not (field.column.precision and field.column.data_type in ("datetime", "timestamp", "time")):
        return texts
    if field.arrow == pa.string():
        return texts
    # MySQL writes all digits of a fraction, PostgreSQL those that are not zero.
    return f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {texts[0]}))", texts[1]


_LONG = ("text", "mediumtext", "longtext", "json", "blob", "mediumblob", "longblob", "vector")


def is_long(field: Field) -> bool:
    """Whether its values may be longer than what is compared as it stands."""
    longest = characters(field.column)
    return field.column.data_type in _LONG or is_a_place(field) or (longest is not None and longest > _SHORT_MAX)


_SHORT_MAX = 255


def may_hold_a_mark(field: Field) -> bool:
    """Whether its canonical text may hold whatever separates texts from each other."""
    return rule_of(field).canonical in TEXTS and not is_long(field)


def shown(field: Field) -> tuple[str, str]:
    """Its value for a person's eyes, in MySQL's SQL and in PostgreSQL's; of long ones the beginning."""
    kind, most = field.column.data_type, limits.shown_characters
    if field.arrow == pa.large_binary():
        return f"HEX(LEFT(CAST({{c}} AS BINARY), {most}))", f"upper(encode(substr({{c}}, 1, {most}), 'hex'))"
    if (texts := rule_of(field).canonical) in TEXTS:
        return f"LEFT({texts[0]}, {most})", f"left({texts[1]}, {most})"
    return "{c} + 0" if kind in ("bit", "float", "double") else "CAST({c} AS CHAR)", "{c}::text"


# PostgreSQL type → how it is selected to be compared, and as what it then comes. Not those that the warehouse spells
# its own way.
_READ_BACK: dict[str, tuple[str, pa.DataType]] = {
    "smallint": ("{c}", pa.int16()),
    "integer": ("{c}", pa.int32()),
    "bigint": ("{c}", pa.int64()),
    "real": ("{c}", pa.float32()),
    "double precision": ("{c}", pa.float64()),
    "boolean": ("{c}", pa.bool_()),
    "numeric": ("{c}::text", pa.string()),
    "text": ("{c}", pa.string()),
    "varchar": ("{c}", pa.string()),
    "char": ("{c}::text", pa.string()),
    "json": ("{c}::text", pa.string()),
    "jsonb": ("{c}::text", pa.string()),
    "bytea": ("{c}", pa.binary()),
    "date": ("{c}", pa.date32()),
    "time": ("{c}", pa.time64("us")),
    "timestamp": ("{c}", pa.timestamp("us")),
    "timestamptz": ("{c}", pa.timestamp("us", "UTC")),
    "interval": ("(extract(epoch FROM {c}) * 1000000)::bigint", pa.int64()),
    "uuid": ("uuid_send({c})", pa.binary()),
    "inet": ("inet_send({c})", pa.binary()),
}


def read_back(field: Field) -> tuple[str, pa.DataType]:
    """How a field is read from the warehouse to be compared (`{c}` is its quoted name), and the Arrow type of it."""
    if pa.types.is_decimal(field.arrow):
        # All of its digits as one number: Arrow would write some as 1E-7.
        return f"trunc({{c}} * 1{'0' * field.arrow.scale})::text", pa.string()
    return _READ_BACK[field.type_postgres.partition("(")[0]]


def is_a_document(field: Field) -> bool:
    """Whether the warehouse keeps what its values mean, and not as they are written."""
    return field.type_postgres in ("json", "jsonb")


def is_read_as_text(field: Field) -> bool:
    """Whether what is read of it is a text, which may come as its bytes."""
    return callable(rule_of(field).select)


def is_a_date(field: Field) -> bool:
    """Whether its values may become NULL for want of a day in the calendar."""
    return rule_of(field).converts in ("date", "datetime")


def goes_by_bytes(field: Field) -> bool:
    """Whether the replica gets its text as the bytes that it is in its character set."""
    return rule_of(field).prints == "told"


def is_a_place(field: Field) -> bool:
    """Whether its values have a spatial reference system, of which the warehouse's bytes tell nothing."""
    return rule_of(field).converts == "wkb"


def told_by_bytes(table: str, fields: Iterable[Field], columns: Collection[str]) -> tuple[Field, ...]:
    """
    The fields, of which those of some columns are by their rules' fallbacks.

    Raises:
        DataExtractionError: the type asked for has none.
    """
    told = []
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
        told.append(field)
    return tuple(told)


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
                type_postgres=spelled(asked) if asked and rule.request else _type_postgres(rule, column),
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
        if not fits or (rule.request and wanted is None):
            continue
        if wanted is None or wanted == _type_postgres(rule, column) or (rule.request and _is_of(wanted, rule)):
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


def digits_of(type_: str) -> Asked:
    """
    >>> digits_of("numeric(10,2)")
    (10, 2)
    """
    return tuple(int(digits) for digits in re.findall(r"\d+", type_.partition("(")[2]))


def remedy_of(table: str, field: Field) -> str:
    """The override that would carry whatever the column holds, in words."""
    place, column = f"tables.{table}.overrides.columns.{field.column.name}", field.column
    default = rule_for(column)
    if default and _type_postgres(default, column) != field.type_postgres:
        return f"let it be {_type_postgres(default, column)}: remove the type from {place}, or name that one"
    carrier = next((type_ for type_ in ("text", "bytea") if (rule := rule_for(column, type_)) and rule.request), None)
    if carrier:
        return f"carry it as it stands with {place}: {{type: {carrier}}}"
    return f"leave the column out with {place}: {{exclude: true}}"


def _no_rule(table: str, column: Column, asked: str | None) -> DataError:
    place = f"tables.{table}.overrides.columns.{column.name}"
    if asked is None:
        return DataError(
            f"{table}.{column.name}: no rule for the type {column.column_type}",
            f"leave the column out with {place}: {{exclude: true}}",
        )
    able = [rule.postgres for rule in RULES if rule.request and column.data_type in rule.mysql and rule.when(column)]
    default = rule_for(column)
    choices = dict.fromkeys([*([_type_postgres(default, column)] if default else []), *able])
    return DataError(
        f"{table}.{column.name}: {column.column_type} cannot be carried as {asked}",
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
    """A name cut to so many bytes, told apart from others by eight hexadecimal digits of itself."""
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
