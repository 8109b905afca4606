"""
What `verify` asks one server about a table: sums of its rows' checksums, and the rows behind them.

Pure, in both languages. A row's checksum is 60 bits of SHA-256: over its
stored images, which MySQL and MariaDB have in common, or over the canonical
texts of its values, which the warehouse has as well. `drilldown` compares the
answers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from arrowetl.model.plan import Field, Partition
from arrowetl.sql import mysql_name, mysql_table, postgres_name, postgres_table, within
from arrowetl.types.checksum_text import (
    canonical_text,
    is_long,
    may_hold_a_mark,
    needs_its_length,
    shown_text,
    stored_text,
)
from arrowetl.types.mapping import is_a_date

IMAGES, TEXTS = "images", "texts"
"""The two methods of comparing a row: as MySQL and MariaDB store it, and as text that every server can produce."""


@dataclass(frozen=True, slots=True)
class Side:
    """A table at one server, as its server is asked about it."""

    table: str
    """Quoted."""
    key: str | None
    """The quoted integer column by which it is cut into ranges."""
    named: tuple[str, ...]
    """The texts of the columns that identify its rows."""
    bits: dict[str, str]
    """`IMAGES` or `TEXTS` → a row's checksum."""
    may_be_unsaid: bool
    """Whether the server may be unable to produce a row's text."""
    modulo: str = "MOD"

    def sums(self, part: Partition, methods: Sequence[str], unsaid: int) -> str:
        """
        Rows, and for each method the sum of their checksums.

        Args:
            unsaid: what an unreadable row counts; another value each time, so that no such sum equals another.
        """
        bits = (
            f"COALESCE({self.bits[method]}, {unsaid})" if self.may_be_unsaid else self.bits[method]
            for method in methods
        )
        return f"SELECT COUNT(*){''.join(f', {self._sum(one)}' for one in bits)} FROM {self.table} t{self._where(part)}"

    def groups(self, part: Partition, method: str, count: int) -> str:
        """Group, rows, sum: the rows grouped by their checksum's remainder; unreadable ones are one group."""
        return (
            f"SELECT {self._text(f'b {self.modulo} {count}')}, COUNT(*), {self._sum('b')} "
            f"FROM {self._rows(part, method)} GROUP BY 1"
        )

    def rows(self, part: Partition, method: str, count: int, groups: Collection[int] | None) -> str:
        """Checksum and key of each row in the groups named, or in all."""
        where = "" if groups is None else f" WHERE b {self.modulo} {count} IN ({', '.join(map(str, groups))})"
        return f"SELECT {self._text('b')}{self._names()} FROM {self._rows(part, method)}{where}"

    def values(self, part: Partition, method: str, checksums: Iterable[int], columns: Sequence[str]) -> str:
        """Checksum, key and some columns of the rows of these checksums."""
        named = "".join(f", {text} AS v{number}" for number, text in enumerate(columns))
        wanted = "".join(f", v{number}" for number in range(len(columns)))
        return (
            f"SELECT {self._text('b')}{self._names()}{wanted} FROM {self._rows(part, method, named)} "
            f"WHERE b IN ({', '.join(map(str, checksums))})"
        )

    def _rows(self, part: Partition, method: str, more: str = "") -> str:
        names = "".join(f", {text} AS k{number}" for number, text in enumerate(self.named))
        return f"(SELECT {self.bits[method]} AS b{names}{more} FROM {self.table} t{self._where(part)}) r"

    def _names(self) -> str:
        return "".join(f", k{number}" for number in range(len(self.named)))

    def _sum(self, bits: str) -> str:
        return self._text(f"COALESCE(SUM({bits}), 0)")

    def _text(self, number: str) -> str:
        return f"({number})::text" if self.modulo == "%" else f"CAST({number} AS CHAR)"

    def _where(self, part: Partition) -> str:
        conditions = within(self.key, part) if self.key else []
        return f" WHERE {' AND '.join(conditions)}" if conditions else ""


_BITS = {
    "MOD": "CAST(CONV(LEFT(SHA2({row}, 256), 15), 16, 10) AS UNSIGNED)",
    "%": "('x' || left(encode(sha256(convert_to({row}, 'UTF8')), 'hex'), 15))::bit(60)::bigint",
}


def row_checksum(fields: Sequence[Field], alias: str = "t") -> str:
    """60 bits of a row's images, in MySQL's SQL; NULL where the server cannot produce them."""
    columns = [f"{alias}.{mysql_name(field.column.name)}" for field in fields]
    if not columns:
        return _BITS["MOD"].format(row="''")
    images = [stored_text(field).replace("{c}", column) for field, column in zip(fields, columns, strict=True)]
    # CONCAT_WS leaves NULLs out, and its separator may be in a text: which are NULL, and how long texts are, is
    # said behind.
    behind = [f"LENGTH({column})" for field, column in zip(fields, columns, strict=True) if needs_its_length(field)]
    nulls = [f"ISNULL({col})" for field, col in zip(fields, columns, strict=True) if field.column.nullable]
    behind += [f"CONCAT({', '.join(nulls)})"] if nulls else []
    return _BITS["MOD"].format(row=f"CONCAT_WS('#', {', '.join([*images, *behind])})")


def mysql_side(database: str, table: str, fields: Sequence[Field], key: str | None, named: Sequence[Field]) -> Side:
    """
    A table at the source or the replica.

    Args:
        fields: those that are compared.
        key: the integer column by which ranges go.
        named: those that identify rows.
    """
    compared = [field for field in fields if canonical_text(field)]
    texts = [_mysql_text(field) for field in compared]
    # CONCAT_WS leaves NULLs out: which they were follows; and how long a text is, where the separator is in it.
    # A date may become one.
    nulls = [f"ISNULL({_mysql(field)})" for field in compared if field.column.nullable and not is_a_date(field)]
    texts = [f"COALESCE({text}, '')" if is_a_date(f) else text for f, text in zip(compared, texts, strict=True)]
    lengths = [
        f"IF(LOCATE('#', {_mysql(field)}), CHAR_LENGTH({text}), '')"
        for field, text in zip(compared, texts, strict=True)
        if may_hold_a_mark(field)
    ]
    row = _row("CONCAT_WS", [*texts, *lengths], "CONCAT", nulls)
    return Side(
        table=mysql_table(database, table),
        key=key and f"t.{mysql_name(key)}",
        named=tuple(f"CAST({_mysql_text(field)} AS CHAR)" for field in named),
        bits={IMAGES: row_checksum(fields), TEXTS: _BITS["MOD"].format(row=row)},
        may_be_unsaid=any(map(is_long, fields)),
    )


def postgres_side(namespace: str, table: str, fields: Sequence[Field], key: str | None, named: Sequence[Field]) -> Side:
    """The same table at the warehouse; its columns have their names there."""
    compared = [field for field in fields if canonical_text(field)]
    texts = [_postgres_text(field) for field in compared]
    nulls = [
        f"({_postgres(field)} IS NULL)::int" for field in compared if field.column.nullable and not is_a_date(field)
    ]
    texts = [f"coalesce({text}, '')" if is_a_date(f) else text for f, text in zip(compared, texts, strict=True)]
    lengths = [
        f"CASE WHEN position('#' in {_postgres(field)}) > 0 THEN char_length({_postgres(field)})::text ELSE '' END"
        for field in compared
        if may_hold_a_mark(field)
    ]
    row = _row("concat_ws", [*texts, *lengths], "concat", nulls)
    return Side(
        # Rows of a table that inherits from it belong to another table.
        table=f"ONLY {postgres_table(namespace, table)}",
        key=key and f"t.{postgres_name(key)}",
        named=tuple(_postgres_text(field) for field in named),
        bits={TEXTS: _BITS["%"].format(row=row)},
        may_be_unsaid=False,
        modulo="%",
    )


# PostgreSQL passes no more than 100 arguments to a function.
_ARGUMENTS_MAX = 90


def _row(separated: str, texts: Sequence[str], joined: str, nulls: Sequence[str]) -> str:
    """All texts of a row as one, built alike in both languages."""
    parts = [f"{separated}('#', {', '.join(some)})" for some in _chunks(texts)]
    parts += [f"{joined}({', '.join(some)})" for some in _chunks(nulls)]
    return f"{separated}('#', {', '.join(parts or [repr('')])})"


def _chunks(parts: Sequence[str]) -> list[Sequence[str]]:
    return [parts[start : start + _ARGUMENTS_MAX] for start in range(0, len(parts), _ARGUMENTS_MAX)]


def columns_of(fields: Sequence[Field], method: str, at_warehouse: bool, shows: bool) -> list[str]:
    """
    The text by which each field of a row is compared, to find which of them differ.

    Args:
        shows: whether a person reads the values, too.
    """
    if at_warehouse:
        texts = [_postgres_text(field) for field in fields]
    else:
        # As text: the driver would convert spans and days, and print them in its own format.
        compared = [_mysql_text(f) if method == TEXTS else stored_text(f).replace("{c}", _mysql(f)) for f in fields]
        texts = [f"CAST({text} AS CHAR)" for text in compared]
    if not shows:
        return texts
    place = _postgres if at_warehouse else _mysql
    return [*texts, *(shown_text(field)[at_warehouse].replace("{c}", place(field)) for field in fields)]


def _mysql(field: Field) -> str:
    return f"t.{mysql_name(field.column.name)}"


def _postgres(field: Field) -> str:
    return f"t.{postgres_name(field.name_postgres)}"


def _mysql_text(field: Field) -> str:
    texts = canonical_text(field)
    assert texts is not None, "the caller sees to that"
    return texts[0].replace("{c}", _mysql(field))


def _postgres_text(field: Field) -> str:
    texts = canonical_text(field)
    assert texts is not None, "the caller sees to that"
    return texts[1].replace("{c}", _postgres(field))
