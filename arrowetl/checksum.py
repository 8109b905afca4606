"""
What each end says of a table's contents, and what to conclude from it.

A checksum is the number of rows and an order-free sum of 60 bits of each
row's SHA-256, over the canonical text of its values that the type rules
give (`schema`). The servers compute it; this module phrases the question in
both languages and compares the answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from arrowetl.model import Field
from arrowetl.schema import canonical
from arrowetl.sql import mysql_name, mysql_table, postgres_name, postgres_table


@dataclass(frozen=True, slots=True)
class Checksum:
    rows: int
    sum: int


def comparable(fields: Sequence[Field]) -> tuple[Field, ...]:
    """The fields whose canonical text is the same on every server."""
    return tuple(field for field in fields if canonical(field) is not None)


def mysql_checksum(database: str, table: str, fields: Sequence[Field]) -> str:
    """The question for the source and the replica."""
    texts = [c[0].replace("{c}", mysql_name(f.column.name)) for f in fields if (c := canonical(f))]
    if not texts:
        return f"SELECT COUNT(*), 0 FROM {mysql_table(database, table)}"
    # CONCAT_WS leaves NULLs out: which they were is said behind.
    nulls = ", ".join(f"ISNULL({text})" for text in texts)
    row = f"CONCAT_WS('#', {', '.join(texts)}, CONCAT({nulls}))"
    return (
        f"SELECT COUNT(*), COALESCE(SUM(CAST(CONV(LEFT(SHA2({row}, 256), 15), 16, 10) AS UNSIGNED)), 0) "
        f"FROM {mysql_table(database, table)}"
    )


def postgres_checksum(namespace: str, table: str, fields: Sequence[Field]) -> str:
    """The same question for the warehouse."""
    texts = [c[1].replace("{c}", postgres_name(f.name_postgres)) for f in fields if (c := canonical(f))]
    if not texts:
        return f"SELECT count(*), 0 FROM {postgres_table(namespace, table)}"
    nulls = ", ".join(f"({text} IS NULL)::int" for text in texts)
    row = f"concat_ws('#', {', '.join(texts)}, concat({nulls}))"
    bits = f"('x' || left(encode(sha256(convert_to({row}, 'UTF8')), 'hex'), 15))::bit(60)::bigint"
    return f"SELECT count(*), coalesce(sum({bits}), 0)::text FROM {postgres_table(namespace, table)}"


def differing(checksums: Mapping[str, Checksum], of: str) -> tuple[str, ...]:
    """The ends whose checksum is not that of the end named."""
    return tuple(end for end, checksum in checksums.items() if checksum != checksums[of])


def miscounted(rows_extracted: int, counts: Mapping[str, int]) -> str | None:
    """
    The staged rows against the rows read: None, or what is wrong in words.
    """
    wrong = {end: rows for end, rows in counts.items() if rows != rows_extracted}
    if not wrong:
        return None
    found = ", ".join(f"{end} {rows:,}" for end, rows in wrong.items())
    return f"{rows_extracted:,} rows were read, staged were: {found}"
