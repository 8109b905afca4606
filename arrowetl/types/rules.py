"""
The table of type rules: MySQL column → how it is read → Arrow → what the replica's LOAD DATA reads → PostgreSQL column.

Whoever needs to know about types asks `mapping`, which finds a column's rule
here. The SQL in the rules is proven by the tests' cases; the names in
`converts` and `prints` are those of `to_postgres` and `to_infile`. Nothing here
does anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from arrowetl.model.dialect import GEOMETRIES, INTEGERS, Flavour
from arrowetl.model.plan import Column

ArrowOf = Callable[[Column], pa.DataType]
Asked = tuple[int, ...]
"""The digits of a type that was asked for: `varchar(100)` → (100,)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """
    What becomes of the MySQL types it names.

    In its SQL `{c}` stands for the quoted column and `{charset}` for the
    column's character set; in `postgres`, `{p}` and `{s}` for its precision
    and scale. A rule with `request` is used only where tables.yml, or a
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
    converts: str = "cast"
    """Which of `coerce.CONVERSIONS` makes the warehouse's value."""
    prints: str = "plain"
    """Which of `infile.PRINTERS` makes the replica's text."""
    load: str = "{v}"
    """What LOAD DATA does with that text."""
    canonical: tuple[str, str] | None = ("{c}", "{c}::text")
    """The same text for the same value, in MySQL's SQL and in PostgreSQL's; None where there is none."""
    when: Callable[[Column], bool] = lambda _: True
    request: bool = False
    refuses: Callable[[Column, Asked], str | None] = lambda *_: None
    """Of a request: the SQL that is true of values it cannot hold; None where it holds all."""
    adoptable: bool = True
    """Of a request: whether a column that stands at the warehouse as that type may be kept."""
    never_empty: bool = False
    """What is read is empty only where the source had no room to say the value."""
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
    # connectorx carries every DECIMAL as decimal128(38, 10) through 96 bits: exact only in this window.
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
    A text as UTF-8: its bytes, which nobody looks at before we do, as fast as the text itself.

    MySQL's utf8 lets halves of surrogate pairs in, over which the driver panics. In latin1 there is nothing to fear.
    """
    if column.charset not in _UTF8:
        return "{c}"
    declared = characters(column)
    # No server's max_allowed_packet is below 1024 bytes.
    is_short = column.data_type == "tinytext" or (declared is not None and declared <= 255)
    return "CAST({c} AS BINARY)" if is_short else _LONG_BYTES


def characters(column: Column) -> int | None:
    """How long a char or varchar may be; None of other types."""
    declared = re.fullmatch(r"(?:var)?char\((\d+)\)", column.column_type)
    return int(declared[1]) if declared else None


def _type_is(text: str) -> Callable[[Column], bool]:
    return lambda column: column.column_type == text


def _beyond(type_: str) -> Callable[[Column, Asked], str | None]:
    """Integers that a narrower type cannot hold."""

    def refuses(column: Column, asked: Asked) -> str | None:
        bits = _BITS_OF.get(column.data_type, 16) + (column.unsigned and column.data_type in _BITS_OF)
        if bits <= _BITS_OF_POSTGRES[type_]:
            return None
        largest = 2 ** (_BITS_OF_POSTGRES[type_] - 1) - 1
        lowest = "" if column.unsigned else f"{{c}} < {-largest - 1} OR "
        return f"{lowest}{{c}} > {largest}"

    return refuses


def _longer(column: Column, asked: Asked) -> str | None:
    declared = characters(column)
    if not asked or (declared is not None and declared <= asked[0]):
        return None
    return f"CHAR_LENGTH({{c}}) > {asked[0]}"


# TIME_TO_SEC loses the fraction and the sign on MySQL; this is exact on every server, over the whole range.
_TIME = "TIMESTAMPDIFF(MICROSECOND, '2000-01-01 00:00:00', ADDTIME('2000-01-01 00:00:00', {c}))"
# The eight IEEE bytes: the text of a double differs between MySQL and MariaDB.
BITS = (
    "HEX(REVERSE(SUBSTR(ST_AsBinary(POINT({c}, 0)), 6, 8)))",
    "upper(encode(float8send({c}::float8), 'hex'))",
)
# By way of UTF-16, halves of surrogate pairs (which MySQL's utf8 lets in) become `?`, as the coercion makes them.
_VALID = "CONVERT(CONVERT({c} USING utf16) USING utf8mb4)"
# Both cost a third of a checksum's time: only where one of the bytes is there of which they could be.
# What no CAST has room for, beyond max_allowed_packet, may have them.
_SUSPECT = "IFNULL(LOCATE(X'ED', CAST({c} AS BINARY)) + LOCATE(X'00', CAST({c} AS BINARY)), 1)"
TEXT = (f"IF({_SUSPECT}, REPLACE({_VALID}, CHAR(0), ''), CONVERT({{c}} USING utf8mb4))", "{c}::text")
# In other character sets, halves of pairs are other bytes.
TOLD_TEXT = (f"REPLACE({_VALID}, CHAR(0), '')", TEXT[1])
TEXTS = (TEXT, TOLD_TEXT)
# A server makes NULL of what grows past its max_allowed_packet. None of these is ever empty: then it was that.
_WHOLE = "COALESCE({x}, IF({c} IS NULL, NULL, ''))"
# The column's own bytes, whether the text tells all of them, and the text.
_TOLD = _WHOLE.replace(
    "{x}",
    "CONCAT(HEX(CAST({c} AS BINARY)), "
    f"IF(CAST(CONVERT({_VALID} USING {{charset}}) AS BINARY) = CAST({{c}} AS BINARY), '=', '!'), {_VALID})",
)
_WRITTEN = _WHOLE.replace("{x}", "CAST({c} AS CHAR)")
_STORED = _WHOLE.replace("{x}", "CAST({c} AS BINARY)")
# A byte that is in no text.
_LONG_BYTES = _STORED.replace("''", "X'FF'")
TOLD_BY_BYTES = "text told by its bytes"
TOLD = r"(?s)^([0-9A-F]*)([=!])(.*)$"
"""What that gives: the bytes in hexadecimal, `=` or `!`, the text."""
# Of bytes their digest is text enough: no server's max_allowed_packet is outgrown.
_BYTES = ("SHA2({c}, 256)", "encode(sha256({c}), 'hex')")
# FROM_DAYS knows no zero, partial or impossible date.
_REAL_DATE = "IF(FROM_DAYS(TO_DAYS({c})) = DATE({c}) AND YEAR({c}) > 0, {c}, NULL)"
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

RULES: tuple[Rule, ...] = (
    Rule("tinyint, smallint", ("tinyint", "smallint"), "smallint", _integer, unsigned=False),
    Rule("tinyint unsigned", ("tinyint",), "smallint", _integer, unsigned=True),
    Rule("smallint unsigned", ("smallint",), "integer", _integer, unsigned=True),
    Rule("mediumint, int", ("mediumint", "int"), "integer", _integer, unsigned=False),
    Rule("mediumint unsigned", ("mediumint",), "integer", pa.int32(), unsigned=True),
    Rule("int unsigned", ("int",), "bigint", _integer, unsigned=True),
    Rule("bigint", ("bigint",), "bigint", _integer, unsigned=False),
    Rule("bigint unsigned", ("bigint",), "numeric(20,0)", _integer, unsigned=True),
    Rule("year", ("year",), "smallint", pa.int16(), prints="whole", canonical=("{c} + 0", "{c}::text")),
    Rule("float", ("float",), "real", pa.float32(), prints="float", canonical=BITS, note="bit for bit"),
    Rule("double", ("double",), "double precision", pa.float64(), canonical=BITS, note="bit for bit"),
    Rule("decimal", ("decimal",), "numeric({p},{s})", _decimal, prints="decimal",
         when=_decimal_is_native, note="exact"),
    Rule("wide decimal", ("decimal",), "numeric({p},{s})", _decimal, select="CAST({c} AS CHAR)", note="exact"),
    Rule("date", ("date",), "date", pa.date32(), select="{c} + 0", converts="date", prints="stamp",
         canonical=(_REAL_DATE, "{c}::text"), note=_ZERO_DATE),
    Rule("datetime", ("datetime",), "timestamp", pa.timestamp("us"), select="{c} + 0", converts="datetime",
         prints="stamp", canonical=(_REAL_DATE, "{c}::text"), note=_ZERO_DATE),
    Rule("timestamp", ("timestamp",), "timestamptz", pa.timestamp("us", "UTC"), select="{c} + 0", converts="datetime",
         prints="stamp", canonical=(_REAL_DATE, "({c} AT TIME ZONE 'UTC')::text"),
         note="read and written in UTC; " + _ZERO_DATE),
    Rule("time", ("time",), "interval", pa.duration("us"), select=_TIME, prints="time",
         note="-838:59:59.999999 to 838:59:59.999999, exact"),
    Rule("char, varchar, text", LETTERS, "text", pa.string(), select=_as_text, fallback=TOLD_BY_BYTES, converts="text",
         canonical=TEXT, when=_is_unicode, note=f"{_NUL}; '' stays ''"),
    Rule(TOLD_BY_BYTES, LETTERS, "text", pa.string(), select=_TOLD, never_empty=True, converts="told", prints="told",
         load="UNHEX({v})", canonical=TOLD_TEXT,
         note=f"of other character sets than utf8 and latin1; what is no character becomes ?, counted; {_NUL}"),
    Rule("enum, set", ("enum", "set"), "text", pa.string(), converts="text", canonical=TEXT, when=_is_unicode),
    Rule("enum, set of other character sets", ("enum", "set"), "text", pa.string(), select=_TOLD, never_empty=True,
         converts="label", prints="label", canonical=TOLD_TEXT, note="a label that is no text is refused"),
    Rule("json", ("json",), "jsonb", pa.binary(), select=_WRITTEN, never_empty=True, converts="jsonb",
         canonical=None,
         note="MySQL's, MariaDB's is longtext; \\u0000 removed, counted"),
    Rule("binary, blob", _BINARY, "bytea", pa.large_binary(), prints="hex", load="UNHEX({v})", canonical=_BYTES),
    Rule("bit(1)", ("bit",), "boolean", pa.bool_(), select="CAST({c} AS UNSIGNED)", converts="boolean",
         load="CAST({v} AS UNSIGNED)", canonical=("{c} + 0", "{c}::integer::text"), when=_type_is("bit(1)")),
    Rule("bit(64)", ("bit",), "numeric(20,0)", pa.uint64(), select="CAST({c} AS UNSIGNED)",
         load="CAST({v} AS UNSIGNED)", canonical=("{c} + 0", "{c}::text"), when=_type_is("bit(64)")),
    Rule("bit(n)", ("bit",), "bigint", pa.int64(), select="CAST({c} AS UNSIGNED)", load="CAST({v} AS UNSIGNED)",
         canonical=("{c} + 0", "{c}::text")),
    Rule("geometry and kin", GEOMETRIES, "bytea", pa.large_binary(), select=_STORED, never_empty=True, converts="wkb",
         prints="hex", load="UNHEX({v})", canonical=("SHA2(SUBSTR(CAST({c} AS BINARY), 5), 256)", _BYTES[1]),
         note="WKB, axis order as stored; an SRID goes into the column's comment, several are counted"),
    Rule("vector", ("vector",), "bytea", pa.large_binary(), select="CAST({c} AS BINARY)", prints="hex",
         load="UNHEX({v})", canonical=_BYTES),
    Rule("uuid", ("uuid",), "uuid", pa.binary(16), select="CAST({c} AS CHAR)", converts="uuid"),
    Rule("inet4, inet6", ("inet4", "inet6"), "inet", pa.binary(), select="CAST({c} AS CHAR)", converts="inet",
         canonical=("{c}", "host({c})")),
    # What can be asked for. A value that does not fit fails the table, and is told; none is bent.
    Rule("boolean on request", INTEGERS, "boolean", pa.bool_(), request=True, converts="boolean",
         canonical=("{c} + 0", "{c}::integer::text"), refuses=lambda *_: "{c} NOT IN (0, 1)", note="of 0 and 1"),
    *(Rule(f"{type_} on request", (*INTEGERS, "year"), type_, getattr(pa, f"int{bits}")(), request=True,
           prints="whole", canonical=("{c} + 0", "{c}::text"), refuses=_beyond(type_))
      for type_, bits in _BITS_OF_POSTGRES.items()),
    Rule("double precision on request", ("float",), "double precision", pa.float64(), request=True, prints="float",
         canonical=BITS),
    Rule("timestamp on request", ("timestamp",), "timestamp", pa.timestamp("us"), request=True, select="{c} + 0",
         converts="datetime", prints="stamp", canonical=(_REAL_DATE, "{c}::text"), note="UTC; " + _ZERO_DATE),
    Rule("time on request", ("time",), "time", pa.time64("us"), request=True, select=_TIME, prints="time",
         converts="time", refuses=lambda *_: "{c} < '00:00:00' OR {c} >= '24:00:00'", note="of one day"),
    *(Rule(f"{type_}(n) on request", mysql, type_, pa.string(), request=True, select=_as_text, fallback=TOLD_BY_BYTES,
           converts="text", canonical=TEXT, when=_is_unicode, refuses=_longer, note=note)
      for type_, mysql, note in _SIZED),
    *(Rule(f"{type_}(n) on request, told by its bytes", mysql, type_, pa.string(), request=True, select=_TOLD,
           never_empty=True, converts="told", prints="told", load="UNHEX({v})", canonical=TOLD_TEXT, refuses=_longer,
           note=note) for type_, mysql, note in _SIZED),
    Rule("enum as varchar(n) on request", ("enum", "set"), "varchar", pa.string(), request=True, converts="text",
         canonical=TEXT, when=_is_unicode, refuses=_longer),
    Rule("text on request", _HAS_TEXT, "text", pa.string(), request=True, select=_WRITTEN, never_empty=True,
         canonical=("CAST({c} AS CHAR)", "{c}"), note="as MySQL writes it: zero dates and all"),
    Rule("bytea on request", LETTERS, "bytea", pa.large_binary(), request=True, select=_TOLD, never_empty=True,
         converts="bytes", prints="told", load="UNHEX({v})", canonical=_BYTES,
         note="in the column's own character set: NUL and all"),
    *(Rule(f"{type_} on request", LETTERS, type_, pa.binary(), request=True, adoptable=False, select=_as_text,
           converts=type_, canonical=None, when=_is_unicode, note=note)
      for type_, note in (("jsonb", "as PostgreSQL spells it: of equal keys the last; what is none is refused"),
                          ("json", "what is none is refused"))),
    Rule("uuid on request", LETTERS, "uuid", pa.binary(16), request=True, adoptable=False, select="CAST({c} AS CHAR)",
         converts="uuid", canonical=("{c}", "{c}::text"), when=_has_ascii, note="what is none is refused"),
    Rule("inet on request", LETTERS, "inet", pa.binary(), request=True, adoptable=False, select="CAST({c} AS CHAR)",
         converts="inet", canonical=("{c}", "host({c})"), when=_has_ascii, note="what is none is refused"),
)  # fmt: skip

# What `mask` makes of columns that tables.yml wants masked; no column has these otherwise.
UNSAID = b"\xff"
"""What stands for a text that the server had no room to say; a byte that is in none."""
MASKED_TEXT = Rule(
    "masked text", (), "text", pa.string(), converts="text",
    select="COALESCE(CAST(CONVERT({c} USING utf8mb4) AS BINARY), IF({c} IS NULL, NULL, X'FF'))",
)  # fmt: skip
NULLIFIED = Rule("nullified", (), "", pa.null(), select="CAST(NULL AS CHAR)", converts="nothing")
MASKED = (MASKED_TEXT, NULLIFIED)
