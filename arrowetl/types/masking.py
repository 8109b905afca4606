"""
Personal values → what replaces them at both targets.

A masked column is read as usual and changed here, before its first byte is
written anywhere: pure, arrays in and arrays out. Which column is masked, and
how, a person says in tables.yml; `table_plan` refuses what cannot be, and the key
comes from the environment and goes nowhere.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from arrowetl import lazy
from arrowetl.errors import DataExtractionError, EnvironmentError
from arrowetl.model.connection import MASK_KEY_VARIABLE
from arrowetl.model.plan import Column, Field
from arrowetl.types import to_postgres
from arrowetl.types.mapping import rule_of
from arrowetl.types.mysql_types import TYPES, characters
from arrowetl.types.rules import MASKED_TEXT, NULLIFIED, UNSAID

if TYPE_CHECKING:
    import pyarrow.compute as pc
else:
    pc = lazy.module("pyarrow.compute")

# 128 bits in hexadecimal where they fit, and no fewer than 64.
_HASH_CHARACTERS, _HASH_CHARACTERS_MIN = 32, 16
_STARS = "***"


def refused(column: Column, mask: str, key: Sequence[str]) -> str | None:
    """
    Why a column cannot be masked so, in words; None where it can.

    Args:
        key: the columns of the primary key.

    >>> refused(Column("SSN", "varchar", "varchar(9)"), "hash", ())
    'a hash has 16 characters at least, and 9 fit'
    """
    if column.name in key:
        return "it is part of the primary key, which identifies rows"
    kind, length_max = _masked_as(column), characters(column)
    if mask == "hash":
        if kind == "number":
            return None
        if kind != "text":
            return "only texts and bigint can be hashed"
        if length_max is not None and length_max < _HASH_CHARACTERS_MIN:
            return f"a hash has {_HASH_CHARACTERS_MIN} characters at least, and {length_max} fit"
    if mask == "partial":
        if kind == "date":
            return None
        if kind != "text":
            return "only texts and dates can be masked in part"
        if length_max is not None and length_max <= len(_STARS):
            return f"{length_max} characters are too few to show one of them"
    return None


def _masked_as(column: Column) -> str:
    known = TYPES.get(column.data_type)
    return known.masked_as if known else ""


def refused_type(field: Field, mask: str) -> str | None:
    """Why a column that is loaded as a type somebody asked for cannot be masked so; None where it can."""
    rule, kind = rule_of(field), field.type_postgres.partition("(")[0]
    stays_text = _masked_as(field.column) == "text" and kind in ("text", "varchar", "char")
    if mask == "nullify" or not rule.only_on_request or stays_text or rule.to_postgres is to_postgres.date_and_time:
        return None
    return f"not as {field.type_postgres}; leave out its type, or nullify it"


def masked(field: Field, mask: str) -> Field:
    """The field as both targets get it; its SQL and type at the warehouse stay, where the mask is of the same kind."""
    if mask == "nullify":
        # The replica's column has to take a NULL.
        return replace(field, column=replace(field.column, nullable=True, extra=""), rule=NULLIFIED.name, mask=mask)
    rule = MASKED_TEXT.name if _masked_as(field.column) == "text" else field.rule
    return replace(field, rule=rule, mask=mask)


def applied(table: pa.Table, fields: Sequence[Field], key: bytes | None) -> pa.Table:
    """
    The rows with their masks on.

    Args:
        table: the columns of `fields`, in order, as the select gave them.
        key: of the hashes; None where the rows come from the replica, which has them masked.

    Raises:
        EnvironmentError: something is to be hashed, and there is no key.
    """
    for index, field in enumerate(fields):
        if field.mask in ("hash", "partial"):
            try:
                column = _as_loaded(table.column(index), field, key)
            except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, ValueError, TypeError):
                # Their words hold the value.
                raise DataExtractionError(
                    f"{field.column.name}: a value cannot be masked by {field.mask}",
                    "exclude the column, or nullify it",
                ) from None
            table = table.set_column(index, table.schema.field(index).name, column)
    return table


def _as_loaded(column: pa.ChunkedArray, field: Field, key: bytes | None) -> pa.ChunkedArray:
    if field.rule == MASKED_TEXT.name and pc.any(pc.equal(column, pa.scalar(UNSAID, column.type))).as_py():
        raise DataExtractionError(
            f"{field.column.name}: a text too large for the source to say", "raise max_allowed_packet there"
        )
    if key is not None:
        column = _masked(column, field, key)
    return column.cast(pa.string()) if field.rule == MASKED_TEXT.name else column


def mark(key: bytes) -> str:
    """A mark by which another key is noticed, and which reveals nothing of it."""
    return hmac.digest(key, b"arrowetl", "sha256").hex()[:16] if key else ""


def _masked(column: pa.ChunkedArray, field: Field, key: bytes) -> pa.ChunkedArray:
    if field.mask == "partial":
        return _year(column, field) if _masked_as(field.column) == "date" else _each(column, _first_letter)
    if not key:
        raise EnvironmentError(f"{field.column.name} is to be hashed, and {MASK_KEY_VARIABLE} is not set", "set it")
    if field.rule != MASKED_TEXT.name:
        return _each(column, lambda number: _number(number, key))
    length_max = characters(field.column) or _HASH_CHARACTERS
    return _each(
        column, lambda text: _digest(text, key).hex()[: min(length_max, _HASH_CHARACTERS)].encode() if text else text
    )


def _each(column: pa.ChunkedArray, function: Callable[[Any], Any]) -> pa.ChunkedArray:
    """Each different value once: names and numbers of patients come again and again."""
    encoded = pc.dictionary_encode(column).unify_dictionaries()
    values = encoded.chunk(0).dictionary if encoded.num_chunks else pa.array([], column.type)
    became = pa.array([function(value.as_py()) for value in values], values.type)
    return pa.chunked_array([became.take(chunk.indices) for chunk in encoded.chunks], column.type)


def _digest(value: bytes, key: bytes) -> bytes:
    return hmac.digest(key, value, "sha256")


def _number(number: int, key: bytes) -> int:
    """63 bits; 0 stays 0, which refers to nothing."""
    return (int.from_bytes(_digest(str(number).encode(), key)[:8], "big") >> 1) or 1 if number else 0


def _first_letter(text: bytes) -> bytes:
    """The first letter of what is longer than the stars; '' stays ''."""
    said = text.decode("utf-8", "replace")
    return ((said[0] if len(said) > len(_STARS) else "") + _STARS).encode() if said else b""


def _year(column: pa.ChunkedArray, field: Field) -> pa.ChunkedArray:
    """yyyymmdd[hhmmss] → the first of January; a zero date stays one."""
    below, january = (10_000, 101) if field.column.data_type == "date" else (10_000_000_000, 101_000_000)
    year = pc.divide(column.cast(pa.int64(), safe=False), below)
    first = pc.add(pc.multiply(year, below), january)
    if field.column.data_type == "timestamp":
        # Which begins a second after its year.
        first = pc.if_else(pc.equal(year, 1970), pc.add(first, 1), first)
    return pc.if_else(pc.greater(year, 0), first, pa.scalar(0, pa.int64())).cast(column.type)
