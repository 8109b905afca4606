"""
MySQL column → Arrow field → PostgreSQL column, as one table of rules.

Everybody who needs to know about types asks `RULES`: how a column is
selected, what Arrow type it travels as, how its text stands in an infile,
what the warehouse's column is called, and how both ends write a value down
for a checksum. This module decides; it converts nothing (`coerce` and
`infile` do) and speaks to no server.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from arrowetl import limits
from arrowetl.errors import DataError
from arrowetl.model import Column, Field, Flavour

ArrowOf = Callable[[Column], pa.DataType]


@dataclass(frozen=True, slots=True)
class Rule:
    """
    What becomes of the MySQL types it names.

    `{c}` stands for the quoted column, `{p}` and `{s}` for its precision and
    scale. A rule with `override` is used only where tables.yml asks for it.
    """

    name: str
    """How `arrowetl types` calls it."""
    mysql: tuple[str, ...]
    """Bare data types it fits."""
    postgres: str
    """The warehouse's type."""
    arrow: pa.DataType | ArrowOf
    """The Arrow type that ADBC encodes into exactly that."""
    unsigned: bool | None = None
    """None fits both."""
    select: str = "{c}"
    """How it is read where every value is an ordinary one."""
    safe: str | None = None
    """How it is read again where the native read met a value it cannot hold."""
    converts: str = "cast"
    """Which of `coerce.CONVERSIONS` makes the warehouse's value."""
    prints: str = "plain"
    """Which of `infile.PRINTERS` makes the replica's text."""
    load: str = "{v}"
    """What LOAD DATA does with that text."""
    replica: Mapping[Flavour, str] | None = None
    """The replica's type where its flavour lacks the source's."""
    canonical: tuple[str, str] = ("{c}", "{c}::text")
    """The same text for the same value: in MySQL's SQL, in PostgreSQL's."""
    when: Callable[[Column], bool] = lambda _: True
    override: str | None = None
    note: str = ""


def _integer(column: Column) -> pa.DataType:
    width = {"tinyint": 8, "smallint": 16, "mediumint": 32, "int": 32, "bigint": 64}[column.data_type]
    return getattr(pa, f"{'u' if column.unsigned else ''}int{width}")()


def _decimal(column: Column) -> pa.DataType:
    precision, scale = column.precision or 10, column.scale or 0
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def _decimal_is_native(column: Column) -> bool:
    # connectorx carries every DECIMAL as decimal128(38, 10) through 96 bits: exact only in this window.
    precision, scale = column.precision or 10, column.scale or 0
    return scale <= 10 and precision - scale <= 18


def _fraction(column: Column) -> bool:
    return bool(column.precision)


def _type_is(text: str) -> Callable[[Column], bool]:
    return lambda column: column.column_type == text


# TIME_TO_SEC loses the fraction and the sign on MySQL; this is exact on every server, over the whole range.
_TIME = "TIMESTAMPDIFF(MICROSECOND, '2000-01-01 00:00:00', ADDTIME('2000-01-01 00:00:00', {c}))"
# The eight IEEE bytes: the text of a double differs between MySQL and MariaDB.
_BITS = (
    "HEX(REVERSE(SUBSTR(ST_AsBinary(POINT({c}, 0)), 6, 8)))",
    "upper(encode(float8send({c}::float8), 'hex'))",
)
_TEXT = ("REPLACE(CONVERT({c} USING utf8mb4), CHAR(0), '')", "{c}")
_HEX = ("HEX({c})", "upper(encode({c}, 'hex'))")
_REAL_DATE = "IF(YEAR({c}) = 0 OR MONTH({c}) = 0 OR DAYOFMONTH({c}) = 0, NULL, {c})"
_TRIMMED = "TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {c}))"
_GEOMETRY = (
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring",
    "multipolygon", "geometrycollection", "geomcollection",
)  # fmt: skip
_BINARY = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
_ZERO_DATE = "zero and partial dates become NULL, counted"

RULES: tuple[Rule, ...] = (
    Rule("boolean on request", ("tinyint", "smallint", "int"), "boolean", pa.bool_(), override="boolean",
         converts="boolean", canonical=("{c} + 0", "{c}::integer::text"), note="refused where a value is not 0 or 1"),
    Rule("tinyint, smallint", ("tinyint", "smallint"), "smallint", _integer, unsigned=False),
    Rule("tinyint unsigned", ("tinyint",), "smallint", _integer, unsigned=True),
    Rule("smallint unsigned", ("smallint",), "integer", _integer, unsigned=True),
    Rule("mediumint, int", ("mediumint", "int"), "integer", _integer, unsigned=False),
    Rule("mediumint unsigned", ("mediumint",), "integer", pa.int32(), unsigned=True),
    Rule("int unsigned", ("int",), "bigint", _integer, unsigned=True),
    Rule("bigint", ("bigint",), "bigint", _integer, unsigned=False),
    Rule("bigint unsigned", ("bigint",), "numeric(20,0)", _integer, unsigned=True),
    Rule("year", ("year",), "smallint", pa.int16(), canonical=("{c} + 0", "{c}::text")),
    Rule("float", ("float",), "real", pa.float32(), canonical=_BITS, note="bit for bit"),
    Rule("double", ("double",), "double precision", pa.float64(), canonical=_BITS, note="bit for bit"),
    Rule("decimal", ("decimal",), "numeric({p},{s})", _decimal, prints="decimal",
         when=_decimal_is_native, note="exact"),
    Rule("wide decimal", ("decimal",), "numeric({p},{s})", _decimal, select="CAST({c} AS CHAR)", note="exact"),
    Rule("date", ("date",), "date", pa.date32(), safe="CAST({c} AS CHAR)", converts="date",
         canonical=(_REAL_DATE, "{c}::text"), note=_ZERO_DATE),
    Rule("datetime", ("datetime",), "timestamp", pa.timestamp("us"), safe="CAST({c} AS CHAR)", converts="datetime",
         canonical=(_REAL_DATE, "{c}::text"), when=lambda c: not _fraction(c), note=_ZERO_DATE),
    Rule("datetime(n)", ("datetime",), "timestamp", pa.timestamp("us"), safe="CAST({c} AS CHAR)", converts="datetime",
         canonical=(_TRIMMED.replace("{c}", _REAL_DATE), "{c}::text"), note=_ZERO_DATE),
    Rule("timestamp without zone on request", ("timestamp",), "timestamp", pa.timestamp("us"), override="timestamp",
         safe="CAST({c} AS CHAR)", converts="datetime", canonical=(_REAL_DATE, "{c}::text"),
         when=lambda c: not _fraction(c), note="UTC; " + _ZERO_DATE),
    Rule("timestamp(n) without zone on request", ("timestamp",), "timestamp", pa.timestamp("us"),
         override="timestamp", safe="CAST({c} AS CHAR)", converts="datetime",
         canonical=(_TRIMMED.replace("{c}", _REAL_DATE), "{c}::text"), note="UTC; " + _ZERO_DATE),
    Rule("timestamp", ("timestamp",), "timestamptz", pa.timestamp("us", "UTC"), safe="CAST({c} AS CHAR)",
         converts="datetime", canonical=(_REAL_DATE, "({c} AT TIME ZONE 'UTC')::text"),
         when=lambda c: not _fraction(c), note="read and written in UTC; " + _ZERO_DATE),
    Rule("timestamp(n)", ("timestamp",), "timestamptz", pa.timestamp("us", "UTC"), safe="CAST({c} AS CHAR)",
         converts="datetime", canonical=(_TRIMMED.replace("{c}", _REAL_DATE), "({c} AT TIME ZONE 'UTC')::text"),
         note="read and written in UTC; " + _ZERO_DATE),
    Rule("time", ("time",), "interval", pa.duration("us"), select=_TIME, converts="duration", prints="time",
         canonical=("{c}", "{c}::text"), when=lambda c: not _fraction(c), note="-838:59:59 to 838:59:59, exact"),
    Rule("time(n)", ("time",), "interval", pa.duration("us"), select=_TIME, converts="duration", prints="time",
         canonical=(_TRIMMED, "{c}::text"), note="exact to the microsecond"),
    Rule("char, varchar, text", ("char", "varchar", "tinytext", "text", "mediumtext", "longtext"), "text",
         pa.string(), converts="text", canonical=_TEXT, note="NUL characters removed, counted; '' stays ''"),
    Rule("enum, set", ("enum", "set"), "text", pa.string(), converts="text", canonical=_TEXT),
    Rule("json", ("json",), "jsonb", pa.binary(), select="CAST({c} AS CHAR)", converts="json",
         replica={Flavour.MARIADB: "longtext"}, note="MySQL's; MariaDB's json is longtext"),
    Rule("binary, blob", _BINARY, "bytea", pa.large_binary(), prints="hex", load="UNHEX({v})", canonical=_HEX),
    Rule("bit(1)", ("bit",), "boolean", pa.bool_(), select="CAST({c} AS UNSIGNED)", converts="boolean",
         load="CAST({v} AS UNSIGNED)", canonical=("{c} + 0", "{c}::integer::text"), when=_type_is("bit(1)")),
    Rule("bit(64)", ("bit",), "numeric(20,0)", pa.uint64(), select="CAST({c} AS UNSIGNED)",
         load="CAST({v} AS UNSIGNED)", canonical=("{c} + 0", "{c}::text"), when=_type_is("bit(64)")),
    Rule("bit(n)", ("bit",), "bigint", pa.int64(), select="CAST({c} AS UNSIGNED)", load="CAST({v} AS UNSIGNED)",
         canonical=("{c} + 0", "{c}::text")),
    Rule("geometry and kin", _GEOMETRY, "bytea", pa.large_binary(), select="CAST({c} AS BINARY)", converts="wkb",
         prints="hex", load="UNHEX({v})", canonical=("HEX(SUBSTR(CAST({c} AS BINARY), 5))", _HEX[1]),
         note="WKB, axis order as stored"),
    Rule("vector", ("vector",), "bytea", pa.large_binary(), select="CAST({c} AS BINARY)", prints="hex",
         load="UNHEX({v})", canonical=_HEX, replica={Flavour.MARIADB: "longblob"}),
    Rule("uuid", ("uuid",), "uuid", pa.binary(16), select="CAST({c} AS CHAR)", converts="uuid",
         replica={Flavour.MYSQL: "char(36)"}),
    Rule("inet4, inet6", ("inet4", "inet6"), "inet", pa.binary(), select="CAST({c} AS CHAR)", converts="inet",
         replica={Flavour.MYSQL: "varchar(45)"}, canonical=("{c}", "host({c})")),
)  # fmt: skip

_BY_NAME = {rule.name: rule for rule in RULES}

# PostgreSQL's own columns; a table cannot have another of the name.
_SYSTEM_COLUMNS = {"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"}


def rule_of(field: Field) -> Rule:
    """The rule a field was translated by."""
    return _BY_NAME[field.rule]


def translate(table: str, columns: Iterable[Column], overrides: Mapping[str, str]) -> tuple[Field, ...]:
    """
    Find each column's rule and what it becomes.

    Args:
        overrides: column name → PostgreSQL type asked for in tables.yml.

    Raises:
        DataError: a column has no rule, or none that gives the type asked for.
    """
    taken: set[str] = set()
    fields = []
    for column in columns:
        rule = _rule_for(table, column, overrides.get(column.name))
        name = postgres_name(column.name, taken | _SYSTEM_COLUMNS)
        taken.add(name)
        fields.append(
            Field(
                column=column,
                rule=rule.name,
                name_postgres=name,
                type_postgres=rule.postgres.format(p=column.precision or 10, s=column.scale or 0),
                arrow=rule.arrow(column) if callable(rule.arrow) else rule.arrow,
            )
        )
    return tuple(fields)


def _rule_for(table: str, column: Column, override: str | None) -> Rule:
    for rule in RULES:
        if (
            column.data_type in rule.mysql
            and rule.unsigned in (None, column.unsigned)
            and rule.override in (None, override)
            and (override is None or rule.override == override or rule.postgres == override)
            and rule.when(column)
        ):
            return rule
    if override is not None:
        raise DataError(
            f"{table}.{column.name}: {column.column_type} cannot be carried as {override}",
            f"remove tables.{table}.overrides.columns.{column.name}.type; `arrowetl types` lists what can be asked for",
        )
    raise DataError(
        f"{table}.{column.name}: no rule for the type {column.column_type}",
        f"leave the column out with tables.{table}.overrides.columns.{column.name}: {{exclude: true}}",
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
    return shortened(name, limits.postgres_name_bytes)


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
    instead = rule_of(field).replica
    if source is not replica and instead and replica in instead:
        return instead[replica]
    return field.column.column_type
