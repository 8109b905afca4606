"""
MySQL's types: facts about a value as it is stored, whatever it becomes.

One row a type; what one becomes at the targets is a rule's business (`rules`). Pure; used wherever a table is
examined before it is read: `ranges`, `partitioning`, `masking`, the SQL of checksums.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from arrowetl.model.dialect import GEOMETRIES, INTEGERS
from arrowetl.model.plan import Column

# The eight IEEE bytes: a float's text has too few digits, and a double's is another on MySQL and MariaDB.
BITS = "HEX(REVERSE(SUBSTR(ST_AsBinary(POINT({c}, 0)), 6, 8)))"
_AS_IT_IS, _NUMBER, _BYTES = "{c}", "CAST({c} AS UNSIGNED)", "CAST({c} AS BINARY)"
_DIGEST_OF_TEXT, _DIGEST_OF_BYTES = "SHA2(CAST({c} AS CHAR), 256)", "SHA2(CAST({c} AS BINARY), 256)"
# A CAST of what is larger than max_allowed_packet is NULL, and every other value with it.
_DIGEST = "SHA2({c}, 256)"


@dataclass(frozen=True, slots=True)
class MySQLType:
    checksum_text: str
    """The stored value as a text of bytes (`{c}` is its quoted name): equal at two servers exactly where it is."""
    is_sized: bool = False
    """Whether its values vary in length: the length precedes a text that may contain anything."""
    bytes_max: int = 0
    """Of a value that is stored outside its row; 0 of others."""
    masked_as: str = ""
    """`text`, `number` or `date`: what a mask can make of it; of others it makes NULL alone."""


BYTES_OF_TEXT = 2**16 - 1
_BYTES_MAX = {"tiny": 2**8 - 1, "": BYTES_OF_TEXT, "medium": 2**24 - 1, "long": 2**32 - 1}

TYPES: dict[str, MySQLType] = {
    **dict.fromkeys(INTEGERS, MySQLType(_AS_IT_IS)),
    "bigint": MySQLType(_AS_IT_IS, masked_as="number"),
    "decimal": MySQLType(_AS_IT_IS),
    "time": MySQLType(_AS_IT_IS),
    **dict.fromkeys(("date", "datetime", "timestamp"), MySQLType(_AS_IT_IS, masked_as="date")),
    **dict.fromkeys(("float", "double"), MySQLType(BITS)),
    **dict.fromkeys(("year", "bit", "enum", "set"), MySQLType(_NUMBER)),
    **dict.fromkeys(("char", "varchar"), MySQLType(_BYTES, is_sized=True, masked_as="text")),
    **dict.fromkeys(("binary", "varbinary"), MySQLType(_BYTES, is_sized=True)),
    **{f"{size}text": MySQLType(_DIGEST, bytes_max=most, masked_as="text") for size, most in _BYTES_MAX.items()},
    **{f"{size}blob": MySQLType(_DIGEST, bytes_max=most) for size, most in _BYTES_MAX.items()},
    "json": MySQLType(_DIGEST_OF_TEXT, bytes_max=_BYTES_MAX["long"]),
    **dict.fromkeys(("uuid", "inet4", "inet6"), MySQLType(_DIGEST_OF_TEXT)),
    "vector": MySQLType(_DIGEST_OF_BYTES, bytes_max=BYTES_OF_TEXT),
    **dict.fromkeys(GEOMETRIES, MySQLType(_DIGEST_OF_BYTES, bytes_max=_BYTES_MAX["long"])),
}

# The replica has the label as a text.
_LABEL_AS_TEXT = MySQLType(_BYTES, is_sized=True)

_UNKNOWN = MySQLType(_DIGEST_OF_BYTES, bytes_max=_BYTES_MAX["long"])


def type_of(column: Column) -> MySQLType:
    """
    Raises:
        KeyError: the type is unknown; it has no rule either, and cannot be loaded.
    """
    return _LABEL_AS_TEXT if column.labels_lost else TYPES[column.data_type]


def bytes_max(column: Column) -> int:
    """Of a value that is stored outside its row; 0 of others. Of an unknown type, there may be that many."""
    return TYPES.get(column.data_type, _UNKNOWN).bytes_max


def varies_in_length(column: Column) -> bool:
    """Whether its values may be of any length up to what it declares."""
    return TYPES.get(column.data_type, _UNKNOWN).is_sized or bytes_max(column) > 0


def may_be_large(column: Column) -> bool:
    """Whether its values may be much larger than the rest of their row; compressed ones, than they seem."""
    return bytes_max(column) > 0 or is_compressed(column)


def is_compressed(column: Column) -> bool:
    return "compressed" in column.column_type.lower()


def characters(column: Column) -> int | None:
    """How long a char or varchar may be; None of other types."""
    declared = re.fullmatch(r"(?:var)?char\((\d+)\)", column.column_type)
    return int(declared[1]) if declared else None


SHORT_MAX = 255


def is_long(column: Column) -> bool:
    """Whether its values may be longer than what is compared unchanged."""
    declared = characters(column)
    return bytes_max(column) > SHORT_MAX or (declared is not None and declared > SHORT_MAX)
