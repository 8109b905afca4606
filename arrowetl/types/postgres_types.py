"""
PostgreSQL's types: how each is spelled, read back and written to a file, and what holds its values as well.

One row for each type that a rule gives. Another view may have any other: that is a text in a file.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from arrowetl import lazy

if TYPE_CHECKING:
    import pyarrow.compute as pc
else:
    pc = lazy.module("pyarrow.compute")

_TEXT = "{c}::text"
# What no other program's days go back to, or on to, is NULL, and counted; so are numbers that are none.
_IN_THE_CALENDAR = "isfinite({c}) AND {c} >= '0001-01-01'"
_FINITE, _NOT_FINITE = f"CASE WHEN {_IN_THE_CALENDAR} THEN {{c}} END", f"NOT ({_IN_THE_CALENDAR})"
A_NUMBER = "{c}::text ~ '^-?[0-9.]+$'"
_MICROSECONDS = "(extract(epoch FROM {c}) * 1000000)::bigint"


@dataclass(frozen=True, slots=True)
class PostgresType:
    arrow: pa.DataType
    """As what it comes when it is read back to be compared."""
    back: str = "{c}"
    """How it is selected then (`{c}` is its quoted name)."""
    file: pa.DataType | None = None
    """Its type in a Parquet file; None is the same."""
    file_select: str = ""
    """How it is selected for one; empty is as it is read back."""
    from_copy: Callable[[pa.ChunkedArray], pa.ChunkedArray] | None = None
    """Makes the file's value of what COPY is given; None where Arrow casts it."""
    file_lacks: str = ""
    """SQL that is true of values that no file has."""
    unit: str = ""
    """Of that type."""
    digits: int = 0
    """Of the largest integer."""
    widens_to: tuple[str, ...] = ()
    """Types that hold each of its values, and keep it where a column is altered to be that."""
    unites_as: tuple[str, ...] = ()
    """Types that hold each of its values, where a view unites columns of both; the narrowest first."""


def _document(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # Its wire form begins with a byte of its version.
    return pc.binary_replace_slice(column, 0, 1, b"").cast(pa.string())


def _uuid(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return in_words(column, lambda value: str(uuid.UUID(bytes=value)))


def _address(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # Its wire form begins with the family, the length of the mask, a flag and the address's length.
    return in_words(column, lambda value: _written_address(ip_address(value[4:])))


def _written_address(address: IPv4Address | IPv6Address) -> str:
    """As PostgreSQL writes it."""
    mapped = getattr(address, "ipv4_mapped", None)
    return f"::ffff:{mapped}" if mapped else str(address)


def in_words(column: pa.ChunkedArray, said: Callable[[Any], str]) -> pa.ChunkedArray:
    """Each value as text; NULL stays NULL."""
    return pa.chunked_array([pa.array([None if v is None else said(v) for v in column.to_pylist()], pa.string())])


TYPES: dict[str, PostgresType] = {
    "smallint": PostgresType(pa.int16(), digits=5, unites_as=("integer", "bigint", "numeric"),
                             widens_to=("integer", "bigint", "numeric", "double precision", "real")),
    "integer": PostgresType(pa.int32(), digits=10, unites_as=("bigint", "numeric"),
                            widens_to=("bigint", "numeric", "double precision")),
    "bigint": PostgresType(pa.int64(), digits=19, unites_as=("numeric",), widens_to=("numeric",)),
    "numeric": PostgresType(pa.string(), _TEXT, file=pa.string(), unit="a decimal number"),
    "real": PostgresType(pa.float32(), unites_as=("double precision",), widens_to=("double precision",)),
    "double precision": PostgresType(pa.float64()),
    "boolean": PostgresType(pa.bool_()),
    "char": PostgresType(pa.string(), _TEXT, unites_as=("varchar", "text"), widens_to=("text",)),
    "varchar": PostgresType(pa.string(), file_select=_TEXT, unites_as=("text",), widens_to=("text", "varchar")),
    "text": PostgresType(pa.string(), file_select=_TEXT),
    "json": PostgresType(pa.string(), _TEXT, unites_as=("jsonb",)),
    "jsonb": PostgresType(pa.string(), _TEXT, from_copy=_document),
    "bytea": PostgresType(pa.binary()),
    "date": PostgresType(pa.date32(), file_select=_FINITE, file_lacks=_NOT_FINITE, unites_as=("timestamp",),
                         widens_to=("timestamp",)),
    "timestamp": PostgresType(pa.timestamp("us"), file_select=_FINITE, file_lacks=_NOT_FINITE),
    "timestamptz": PostgresType(pa.timestamp("us", "UTC"), file_select=_FINITE, file_lacks=_NOT_FINITE),
    "time": PostgresType(pa.time64("us")),
    "interval": PostgresType(pa.int64(), _MICROSECONDS, unit="microseconds"),
    "uuid": PostgresType(pa.binary(), "uuid_send({c})", file=pa.string(), file_select=_TEXT, from_copy=_uuid),
    "inet": PostgresType(pa.binary(), "inet_send({c})", file=pa.string(), file_select="host({c})", from_copy=_address),
}  # fmt: skip

# Other spellings of them, PostgreSQL's own among these.
_SPELLINGS = {
    "bool": "boolean", "int2": "smallint", "int": "integer", "int4": "integer", "int8": "bigint",
    "float4": "real", "float8": "double precision", "decimal": "numeric", "character varying": "varchar",
    "character": "char", "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz", "time without time zone": "time",
}  # fmt: skip

Digits = tuple[int, ...]
"""Of a type: `varchar(100)` → (100,)."""


def bare(type_: str) -> str:
    """
    >>> bare("numeric(10,2)")
    'numeric'
    """
    return type_.partition("(")[0]


def digits_of(type_: str) -> Digits:
    """
    >>> digits_of("numeric(10,2)")
    (10, 2)
    """
    return tuple(int(digits) for digits in re.findall(r"\d+", type_.partition("(")[2]))


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


def widens(existing: str, wanted: str) -> bool:
    """
    Whether a column can become another type, each value kept.

    >>> widens("integer", "bigint"), widens("varchar(20)", "varchar(100)"), widens("numeric(10,2)", "numeric(12,1)")
    (True, True, False)
    """
    (before, old), (after, new) = ((bare(type_), digits_of(type_)) for type_ in (existing, wanted))
    known = TYPES.get(before)
    if before == after == "numeric" and len(old) == len(new) == 2:
        return new[1] >= old[1] and new[0] - new[1] >= old[0] - old[1]
    if after == "numeric" and new:
        return known is not None and known.digits > 0 and new[0] - new[1] >= known.digits
    if before == after == "varchar":
        return not new or (bool(old) and new[0] >= old[0])
    return known is not None and after in known.widens_to


def common_type(types: Iterable[str]) -> str:
    """
    The type that holds every value of some, as one of them spells it; `text` where none does.

    >>> common_type(["integer", "bigint", "integer"]), common_type(["numeric(5,2)", "integer"])
    ('bigint', 'numeric')
    >>> common_type(["date", "integer"]), common_type(["character varying(5)", "character varying(9)"])
    ('text', 'character varying')
    """
    there = list(dict.fromkeys(types))
    if len(there) == 1:
        return there[0]
    names = {bare(spelled(one)): bare(one) for one in there}
    for name, said in names.items():
        if all(other == name or (other in TYPES and name in TYPES[other].unites_as) for other in names):
            return said
    return "text"
