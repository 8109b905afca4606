"""
The table of type rules: MySQL column → how it is read → Arrow → what the replica's LOAD DATA reads → PostgreSQL column.

One row a pair of types. Facts about MySQL's type alone are in `mysql_types`, about PostgreSQL's in
`postgres_types`; questions about a column go to `mapping`, which finds its rule here. The SQL in the rules
is proven by the tests' cases. Nothing here acts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pyarrow as pa

from arrowetl import limits
from arrowetl.model.dialect import GEOMETRIES, INTEGERS, Flavour
from arrowetl.model.plan import Column
from arrowetl.types import mysql_types
from arrowetl.types import to_infile as infile
from arrowetl.types import to_postgres as pg
from arrowetl.types.mysql_types import characters
from arrowetl.types.postgres_types import Digits

ArrowOf = Callable[[Column], pa.DataType]


@dataclass(frozen=True, slots=True)
class Texts:
    """A value as text, in MySQL's SQL and in PostgreSQL's."""

    canonical: tuple[str, str] | None
    """The same text for the same value; None where there is none."""
    shown: tuple[str, str] = ("CAST({c} AS CHAR)", "{c}::text")
    """For a person's eyes; of long ones the beginning."""
    may_hold_anything: bool = False
    """Whether it is a text that somebody wrote: it may be long, and contain any separator."""


@dataclass(frozen=True, slots=True)
class Rule:
    """
    What becomes of the MySQL types it names.

    In its SQL `{c}` stands for the quoted column and `{charset}` for the
    column's character set; in `postgres`, `{p}` and `{s}` for its precision
    and scale. A rule with `only_on_request` is used only where tables.yml, or a
    warehouse that is adopted, asks for that type.
    """

    name: str
    """How `arrowetl types` calls it."""
    mysql: tuple[str, ...]
    """Bare data types it fits."""
    postgres: str
    """The warehouse's type; of a request, without its digits."""
    arrow: pa.DataType | ArrowOf
    """The Arrow type that is encoded into exactly that."""
    unsigned: bool | None = None
    """None fits both."""
    select: str | Callable[[Column], str] = "{c}"
    """How it is read: in a form in which no value makes the driver panic."""
    fallback: str | None = None
    """The rule by which it is read again where it was no text."""
    to_postgres: pg.Conversion = pg.cast
    """Makes the warehouse's value of what was read, and says what had to change."""
    to_infile: infile.Printer = infile.as_it_is
    """Makes the text that the replica reads."""
    load: str = "{v}"
    """What LOAD DATA does with that text."""
    texts: Texts = Texts(("{c}", "{c}::text"))
    when: Callable[[Column], bool] = lambda _: True
    only_on_request: bool = False
    refuses: Callable[[Column, Digits], str | None] = lambda *_: None
    """Of a request: the SQL that is true of values it cannot hold; None where it holds all."""
    can_adopt: bool = True
    """Of a request: whether a column that has that type at the warehouse may be kept."""
    empty_means_truncated: bool = False
    """What is read is empty only where the value was too large for the source to send."""
    note: str = ""


_BITS_OF = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_BITS_OF_POSTGRES = {"smallint": 16, "integer": 32, "bigint": 64}
_UTF8 = ("utf8", "utf8mb3", "utf8mb4")


def _integer(column: Column) -> pa.DataType:
    bits = _BITS_OF[column.data_type]
    return getattr(pa, f"{'u' if column.unsigned else ''}int{32 if bits == 24 else bits}")()


def _decimal(column: Column) -> pa.DataType:
    precision, scale = column.precision or 10, column.scale or 0
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def _decimal_is_native(column: Column) -> bool:
    # connectorx reads every DECIMAL as decimal128(38, 10) through 96 bits: exact only in this window.
    precision, scale = column.precision or 10, column.scale or 0
    return scale <= 10 and precision - scale <= 18


def _is_unicode(column: Column) -> bool:
    # In other character sets some bytes are no character, and a server that is asked for text says `?`.
    return column.charset in (*_UTF8, "latin1", None)


def _has_ascii(column: Column) -> bool:
    # Digits and letters are the same bytes in it.
    return column.charset not in ("ucs2", "utf16", "utf16le", "utf32")


def _as_text(column: Column) -> str:
    """
    A text as UTF-8: its bytes, which are first decoded here, as fast as the text itself.

    MySQL's utf8 lets halves of surrogate pairs in, over which the driver panics. In latin1 there is nothing to fear.
    """
    if column.charset not in _UTF8:
        return "{c}"
    declared = characters(column)
    # No server's max_allowed_packet is below 1024 bytes.
    is_short = column.data_type == "tinytext" or (declared is not None and declared <= 255)
    return "CAST({c} AS BINARY)" if is_short else _LONG_BYTES


def _type_is(text: str) -> Callable[[Column], bool]:
    return lambda column: column.column_type == text


def _beyond(type_: str) -> Callable[[Column, Digits], str | None]:
    """Integers that a narrower type cannot hold."""

    def refuses(column: Column, asked: Digits) -> str | None:
        bits = _BITS_OF.get(column.data_type, 16) + (column.unsigned and column.data_type in _BITS_OF)
        if bits <= _BITS_OF_POSTGRES[type_]:
            return None
        largest = 2 ** (_BITS_OF_POSTGRES[type_] - 1) - 1
        lowest = "" if column.unsigned else f"{{c}} < {-largest - 1} OR "
        return f"{lowest}{{c}} > {largest}"

    return refuses


def _longer(column: Column, asked: Digits) -> str | None:
    declared = characters(column)
    if not asked or (declared is not None and declared <= asked[0]):
        return None
    return f"CHAR_LENGTH({{c}}) > {asked[0]}"


# TIME_TO_SEC loses the fraction and the sign on MySQL; this is exact on every server, over the full range.
_TIME = "TIMESTAMPDIFF(MICROSECOND, '2000-01-01 00:00:00', ADDTIME('2000-01-01 00:00:00', {c}))"
# Through UTF-16, halves of surrogate pairs (which MySQL's utf8 lets in) become `?`, as the coercion makes them.
_VALID = "CONVERT(CONVERT({c} USING utf16) USING utf8mb4)"
# Both cost a third of a checksum's time: only where one of the bytes is there of which they could be.
# What no CAST can hold, beyond max_allowed_packet, may have them.
_SUSPECT = "IFNULL(LOCATE(X'ED', CAST({c} AS BINARY)) + LOCATE(X'00', CAST({c} AS BINARY)), 1)"
_MOST = limits.shown_characters


def _text(mysql: str) -> Texts:
    return Texts(
        (mysql, "{c}::text"), (f"LEFT({mysql}, {_MOST})", f"left({{c}}::text, {_MOST})"), may_hold_anything=True
    )


_TEXT = _text(f"IF({_SUSPECT}, REPLACE({_VALID}, CHAR(0), ''), CONVERT({{c}} USING utf8mb4))")
# In other character sets, halves of pairs are other bytes.
_HEX_TEXT = _text(f"REPLACE({_VALID}, CHAR(0), '')")
_NO_TEXT = Texts(None)
# A server makes NULL of what grows past its max_allowed_packet. None of these is ever empty: then it was that.
_NEVER_NULL = "COALESCE({x}, IF({c} IS NULL, NULL, ''))"
# The column's own bytes, whether the text holds all of them, and the text.
_HEX = _NEVER_NULL.replace(
    "{x}",
    "CONCAT(HEX(CAST({c} AS BINARY)), "
    f"IF(CAST(CONVERT({_VALID} USING {{charset}}) AS BINARY) = CAST({{c}} AS BINARY), '=', '!'), {_VALID})",
)
_WRITTEN = _NEVER_NULL.replace("{x}", "CAST({c} AS CHAR)")
_STORED = _NEVER_NULL.replace("{x}", "CAST({c} AS BINARY)")
# A byte that is in no text.
_LONG_BYTES = _STORED.replace("''", "X'FF'")
READ_AS_HEX = "text read as hex"
# Of bytes their digest is text enough: no server's max_allowed_packet is outgrown.
_BYTES = Texts(
    ("SHA2({c}, 256)", "encode(sha256({c}), 'hex')"),
    (f"HEX(LEFT(CAST({{c}} AS BINARY), {_MOST}))", f"upper(encode(substr({{c}}, 1, {_MOST}), 'hex'))"),
)
_GEOMETRY = Texts(("SHA2(SUBSTR(CAST({c} AS BINARY), 5), 256)", "encode(sha256({c}), 'hex')"), _BYTES.shown)
_BIT = Texts(("{c} + 0", "{c}::text"), ("{c} + 0", "{c}::text"))
_BOOLEAN = Texts(("{c} + 0", "{c}::integer::text"))
_INTEGER = Texts(("{c} + 0", "{c}::text"))
# The eight IEEE bytes: the text of a double differs between MySQL and MariaDB.
_FLOAT = Texts((mysql_types.BITS, "upper(encode(float8send({c}::float8), 'hex'))"), _BIT.shown)
_ADDRESS = Texts(("{c}", "host({c})"))
# As somebody wrote them: in capitals, shortened or not.
_WRITTEN_UUID = Texts(("LOWER(REPLACE({c}, '-', ''))", "replace({c}::text, '-', '')"))
_WRITTEN_ADDRESS = Texts(("HEX(INET6_ATON({c}))", "upper(encode(substr(inet_send({c}), 5), 'hex'))"))
# FROM_DAYS knows no zero, partial or impossible date.
_REAL_DATE = "IF(FROM_DAYS(TO_DAYS({c})) = DATE({c}) AND YEAR({c}) > 0, {c}, NULL)"
_DATE = Texts((_REAL_DATE, "{c}::text"))
_IN_UTC = Texts((_REAL_DATE, "({c} AT TIME ZONE 'UTC')::text"))
_BINARY = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
LETTERS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext")
"""MySQL's types of texts that may be any."""
_HAS_TEXT = (*INTEGERS, "year", "decimal", "date", "datetime", "timestamp", "time", "json", "uuid", "inet4", "inet6")
_ZERO_DATE = "zero, partial and impossible dates become NULL, counted"
_NUL = "NUL characters removed, counted"
_SIZED = (("varchar", LETTERS, _NUL), ("char", ("char",), "padded by PostgreSQL"))

# What a type becomes at a replica whose flavour lacks it.
REPLICA_TYPES: dict[str, dict[Flavour, str]] = {
    "json": {Flavour.MARIADB: "longtext CHARACTER SET utf8mb4"},
    "vector": {Flavour.MARIADB: "longblob"},
    "geomcollection": {Flavour.MARIADB: "geometrycollection"},
    "uuid": {Flavour.MYSQL: "char(36) CHARACTER SET ascii"},
    "inet4": {Flavour.MYSQL: "varchar(15) CHARACTER SET ascii"},
    "inet6": {Flavour.MYSQL: "varchar(45) CHARACTER SET ascii"},
}

_RULES_BY_DEFAULT = (
    Rule("tinyint, smallint", ("tinyint", "smallint"), "smallint", _integer, unsigned=False),
    Rule("tinyint unsigned", ("tinyint",), "smallint", _integer, unsigned=True),
    Rule("smallint unsigned", ("smallint",), "integer", _integer, unsigned=True),
    Rule("mediumint, int", ("mediumint", "int"), "integer", _integer, unsigned=False),
    Rule("mediumint unsigned", ("mediumint",), "integer", pa.int32(), unsigned=True),
    Rule("int unsigned", ("int",), "bigint", _integer, unsigned=True),
    Rule("bigint", ("bigint",), "bigint", _integer, unsigned=False),
    Rule("bigint unsigned", ("bigint",), "numeric(20,0)", _integer, unsigned=True),
    Rule("year", ("year",), "smallint", pa.int16(), to_infile=infile.integer, texts=_INTEGER),
    Rule("float", ("float",), "real", pa.float32(), to_infile=infile.floating, texts=_FLOAT, note="bit for bit"),
    Rule("double", ("double",), "double precision", pa.float64(), texts=_FLOAT, note="bit for bit"),
    Rule("decimal", ("decimal",), "numeric({p},{s})", _decimal, to_infile=infile.decimal, when=_decimal_is_native,
         note="exact"),
    Rule("wide decimal", ("decimal",), "numeric({p},{s})", _decimal, select="CAST({c} AS CHAR)", note="exact"),
    Rule("date", ("date",), "date", pa.date32(), select="{c} + 0", to_postgres=pg.date, to_infile=infile.timestamp,
         texts=_DATE, note=_ZERO_DATE),
    Rule("datetime", ("datetime",), "timestamp", pa.timestamp("us"), select="{c} + 0", to_postgres=pg.date_and_time,
         to_infile=infile.timestamp, texts=_DATE, note=_ZERO_DATE),
    Rule("timestamp", ("timestamp",), "timestamptz", pa.timestamp("us", "UTC"), select="{c} + 0",
         to_postgres=pg.date_and_time, to_infile=infile.timestamp, texts=_IN_UTC,
         note="read and written in UTC; " + _ZERO_DATE),
    Rule("time", ("time",), "interval", pa.duration("us"), select=_TIME, to_infile=infile.time_of_day,
         note="-838:59:59.999999 to 838:59:59.999999, exact"),
    Rule("char, varchar, text", LETTERS, "text", pa.string(), select=_as_text, fallback=READ_AS_HEX,
         to_postgres=pg.text, texts=_TEXT, when=_is_unicode, note=f"{_NUL}; '' stays ''"),
    Rule(READ_AS_HEX, LETTERS, "text", pa.string(), select=_HEX, empty_means_truncated=True,
         to_postgres=pg.text_from_hex, to_infile=infile.from_hex, load="UNHEX({v})", texts=_HEX_TEXT,
         note=f"of other character sets than utf8 and latin1; what is no character becomes ?, counted; {_NUL}"),
    Rule("enum, set", ("enum", "set"), "text", pa.string(), to_postgres=pg.text, texts=_TEXT, when=_is_unicode),
    Rule("enum, set of other character sets", ("enum", "set"), "text", pa.string(), select=_HEX,
         empty_means_truncated=True, to_postgres=pg.label, to_infile=infile.label, texts=_HEX_TEXT,
         note="a label that is no text is refused"),
    Rule("json", ("json",), "jsonb", pa.binary(), select=_WRITTEN, empty_means_truncated=True, to_postgres=pg.jsonb,
         texts=_NO_TEXT, note="MySQL's, MariaDB's is longtext; \\u0000 removed, counted"),
    Rule("binary, blob", _BINARY, "bytea", pa.large_binary(), to_infile=infile.in_hex, load="UNHEX({v})",
         texts=_BYTES),
    Rule("bit(1)", ("bit",), "boolean", pa.bool_(), select="CAST({c} AS UNSIGNED)", to_postgres=pg.boolean,
         load="CAST({v} AS UNSIGNED)", texts=replace(_BIT, canonical=_BOOLEAN.canonical), when=_type_is("bit(1)")),
    Rule("bit(64)", ("bit",), "numeric(20,0)", pa.uint64(), select="CAST({c} AS UNSIGNED)",
         load="CAST({v} AS UNSIGNED)", texts=_BIT, when=_type_is("bit(64)")),
    Rule("bit(n)", ("bit",), "bigint", pa.int64(), select="CAST({c} AS UNSIGNED)", load="CAST({v} AS UNSIGNED)",
         texts=_BIT),
    Rule("geometry and kin", GEOMETRIES, "bytea", pa.large_binary(), select=_STORED, empty_means_truncated=True,
         to_postgres=pg.wkb, to_infile=infile.in_hex, load="UNHEX({v})", texts=_GEOMETRY,
         note="WKB, axis order as stored; an SRID goes into the column's comment, several are counted"),
    Rule("vector", ("vector",), "bytea", pa.large_binary(), select="CAST({c} AS BINARY)", to_infile=infile.in_hex,
         load="UNHEX({v})", texts=_BYTES),
    Rule("uuid", ("uuid",), "uuid", pa.binary(16), select="CAST({c} AS CHAR)", to_postgres=pg.uuid),
    Rule("inet4, inet6", ("inet4", "inet6"), "inet", pa.binary(), select="CAST({c} AS CHAR)", to_postgres=pg.inet,
         texts=_ADDRESS),
)  # fmt: skip

_TEXTS_AT_REPLICAS = {
    name for name, others in REPLICA_TYPES.items() if any("char" in one or "text" in one for one in others.values())
}
LOST_AT_REPLICAS = frozenset(rule.postgres for rule in _RULES_BY_DEFAULT if _TEXTS_AT_REPLICAS.intersection(rule.mysql))
"""
Types at the warehouse of what a replica of another flavour has as texts: each can be asked for, or a load from such a
replica would make a text of it.
"""

# What can be asked for. A value that does not fit fails the table, with a message; none is changed.
_RULES_ON_REQUEST = (
    Rule("optional boolean", INTEGERS, "boolean", pa.bool_(), to_postgres=pg.boolean, texts=_BOOLEAN,
         refuses=lambda *_: "{c} NOT IN (0, 1)", note="of 0 and 1"),
    *(Rule(f"optional {type_}", (*INTEGERS, "year"), type_, getattr(pa, f"int{bits}")(), to_infile=infile.integer,
           texts=_INTEGER, refuses=_beyond(type_)) for type_, bits in _BITS_OF_POSTGRES.items()),
    Rule("optional double precision", ("float",), "double precision", pa.float64(), to_infile=infile.floating,
         texts=_FLOAT),
    Rule("optional timestamp", ("timestamp",), "timestamp", pa.timestamp("us"), select="{c} + 0",
         to_postgres=pg.date_and_time, to_infile=infile.timestamp, texts=_DATE, note="UTC; " + _ZERO_DATE),
    Rule("optional time", ("time",), "time", pa.time64("us"), select=_TIME, to_infile=infile.time_of_day,
         to_postgres=pg.time_of_day, refuses=lambda *_: "{c} < '00:00:00' OR {c} >= '24:00:00'", note="of one day"),
    *(Rule(f"optional {type_}(n)", mysql, type_, pa.string(), select=_as_text, fallback=READ_AS_HEX,
           to_postgres=pg.text, texts=_TEXT, when=_is_unicode, refuses=_longer, note=note)
      for type_, mysql, note in _SIZED),
    *(Rule(f"optional {type_}(n), read as hex", mysql, type_, pa.string(), select=_HEX,
           empty_means_truncated=True, to_postgres=pg.text_from_hex, to_infile=infile.from_hex, load="UNHEX({v})",
           texts=_HEX_TEXT, refuses=_longer, note=note) for type_, mysql, note in _SIZED),
    Rule("optional enum as varchar(n)", ("enum", "set"), "varchar", pa.string(), to_postgres=pg.text, texts=_TEXT,
         when=_is_unicode, refuses=_longer),
    Rule("optional text", _HAS_TEXT, "text", pa.string(), select=_WRITTEN, empty_means_truncated=True,
         texts=Texts(("CAST({c} AS CHAR)", "{c}")), note="as MySQL writes it: zero dates and all"),
    Rule("optional bytea", LETTERS, "bytea", pa.large_binary(), select=_HEX, empty_means_truncated=True,
         to_postgres=pg.from_hex, to_infile=infile.from_hex, load="UNHEX({v})", texts=_BYTES,
         note="in the column's own character set: NUL and all"),
    *(Rule(f"optional {type_}", LETTERS, type_, pa.binary(), can_adopt=False, select=_as_text, to_postgres=convert,
           texts=_NO_TEXT, when=_is_unicode, note=note)
      for type_, convert, note in (
          ("jsonb", pg.jsonb, "as PostgreSQL spells it: of equal keys the last; what is none is refused"),
          ("json", pg.json_text, "what is none is refused"))),
    Rule("optional uuid", LETTERS, "uuid", pa.binary(16), can_adopt=False, select="CAST({c} AS CHAR)",
         to_postgres=pg.uuid, texts=_WRITTEN_UUID, when=_has_ascii, note="what is none is refused"),
    Rule("optional inet", LETTERS, "inet", pa.binary(), can_adopt=False, select="CAST({c} AS CHAR)",
         to_postgres=pg.inet, texts=_WRITTEN_ADDRESS, when=_has_ascii, note="what is none is refused"),
)  # fmt: skip

RULES = (*_RULES_BY_DEFAULT, *(replace(rule, only_on_request=True) for rule in _RULES_ON_REQUEST))
"""The first that fits is a column's."""

# What `masking` makes of columns that tables.yml wants masked; only these have it.
UNSAID = b"\xff"
"""Replaces a text that was too large for the server to send; a byte that is in none."""
MASKED_TEXT = Rule(
    "masked text", (), "text", pa.string(), to_postgres=pg.text,
    select="COALESCE(CAST(CONVERT({c} USING utf8mb4) AS BINARY), IF({c} IS NULL, NULL, X'FF'))",
)  # fmt: skip
NULLIFIED = Rule("nullified", (), "", pa.null(), select="CAST(NULL AS CHAR)", to_postgres=pg.null)
MASKED = (MASKED_TEXT, NULLIFIED)
