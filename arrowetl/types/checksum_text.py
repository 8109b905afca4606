"""
A field's value as a text that servers can compare, in their SQL: `{c}` is its quoted name.

`stored_text` is what MySQL and MariaDB agree on, bit for bit; `canonical_text` what the warehouse can say as well.
Which values have which is in the tables (`mysql_types`, `rules`); `row_checksums` puts them together.
"""

from __future__ import annotations

import pyarrow as pa

from arrowetl.model.plan import Field
from arrowetl.types import mysql_types
from arrowetl.types.mapping import rule_of
from arrowetl.types.mysql_types import type_of


def stored_text(field: Field) -> str:
    """
    The stored value as a text of bytes, in MySQL's SQL: the same at source and replica exactly where the value is.

    Values that may be long go by their SHA-256, so that no row outgrows a server's max_allowed_packet.
    """
    return type_of(field.column).checksum_text


def needs_its_length(field: Field) -> bool:
    """Whether its stored text could be mistaken for two values, or part of one, without its length."""
    return type_of(field.column).is_sized


def canonical_text(field: Field) -> tuple[str, str] | None:
    """
    Its canonical text in MySQL's SQL and in PostgreSQL's; of long texts and of bytes their SHA-256. None of masked
    columns, and of JSON, of which PostgreSQL keeps the meaning alone.
    """
    if field.mask:
        return None
    of_rule = rule_of(field).texts
    texts = of_rule.canonical
    if texts and "zerofill" in field.column.column_type and texts == ("{c}", "{c}::text"):
        # As a number it has no zeros before it.
        return "({c} + 0)", texts[1]
    if texts and is_long(field) and (of_rule.may_hold_anything or field.column.data_type == "json"):
        return f"SHA2({texts[0]}, 256)", f"encode(sha256(convert_to({texts[1]}, 'UTF8')), 'hex')"
    if texts is None or not (field.column.precision and field.column.data_type in ("datetime", "timestamp", "time")):
        return texts
    if field.arrow == pa.string():
        return texts
    # MySQL writes all digits of a fraction, PostgreSQL those that are not zero.
    return f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {texts[0]}))", texts[1]


def is_long(field: Field) -> bool:
    """Whether its values may be longer than what is compared unchanged."""
    return mysql_types.is_long(field.column)


def may_hold_a_mark(field: Field) -> bool:
    """Whether its canonical text may hold whatever separates texts from each other."""
    return rule_of(field).texts.may_hold_anything and not is_long(field)


def shown_text(field: Field) -> tuple[str, str]:
    """Its value for a person's eyes, in MySQL's SQL and in PostgreSQL's; of long ones the beginning."""
    return rule_of(field).texts.shown
