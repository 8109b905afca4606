"""
What each server says of a table's contents, and what to conclude from it.

A checksum is the number of rows and an order-free sum of 60 bits of each
row's SHA-256, here over its stored images (`checksum_text`), by which source
and replica are compared, group by group. The servers compute it; this module
phrases a run's questions and compares the answers. What `verify` asks is in
`row_checksums`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from arrowetl.checksums.row_checksums import row_checksum
from arrowetl.model.plan import Field, Partition
from arrowetl.sql import mysql_name, mysql_table, within


def table_checksums(database: str, tables: Sequence[tuple[str, Sequence[Field]]]) -> str:
    """
    Of each table its number among them, the sum of its rows' checksums, and rows that could not be said.

    CHECKSUM TABLE, which is quicker, does not see where one text ends and the next begins: ('ab', 'c') is ('a', 'bc').
    """
    questions = [
        f"SELECT {number}, CAST(COALESCE(SUM({row_checksum(fields)}), 0) AS CHAR), "
        f"COALESCE(SUM({row_checksum(fields)} IS NULL), 0) FROM {mysql_table(database, name)} t"
        for number, (name, fields) in enumerate(tables)
    ]
    return " UNION ALL ".join(questions)


@dataclass(frozen=True, slots=True)
class Grouped:
    """A range of a table whose rows are grouped by their key's remainder: so many groups, each with a checksum."""

    key: str
    fields: tuple[Field, ...]
    """What is added up of each row; the key alone shows only which rows there are."""
    part: Partition
    groups: int

    def question(self, database: str, table: str, staged: str | None = None) -> str:
        """
        Group, rows, sum, and rows that could not be said.

        Args:
            staged: a table of rows that are to replace those of the same key, which are left out.
        """
        group, row = self._group(), row_checksum(self.fields)
        return (
            f"SELECT {group}, COUNT(*), CAST(COALESCE(SUM({row}), 0) AS CHAR), SUM({row} IS NULL) "
            f"FROM {mysql_table(database, table)} t{self._where(database, staged)} GROUP BY 1"
        )

    def rows_question(self, database: str, table: str, among: Iterable[int] | None, staged: str | None = None) -> str:
        """Key and checksum of each row in the groups named, or in all."""
        chosen = [f"{self._group()} IN ({', '.join(map(str, among))})"] if among is not None else []
        return (
            f"SELECT t.{mysql_name(self.key)}, {row_checksum(self.fields)} "
            f"FROM {mysql_table(database, table)} t{self._where(database, staged, *chosen)}"
        )

    def _group(self) -> str:
        return f"t.{mysql_name(self.key)} MOD {self.groups}"

    def _where(self, database: str, staged: str | None, *more: str) -> str:
        conditions = [*within(f"t.{mysql_name(self.key)}", self.part), *more]
        if staged:
            key = mysql_name(self.key)
            conditions.append(f"NOT EXISTS (SELECT 1 FROM {mysql_table(database, staged)} s WHERE s.{key} = t.{key})")
        return f" WHERE {' AND '.join(conditions)}" if conditions else ""


Groups = Mapping[int, tuple[int, int]]
"""Group → rows and sum."""


def together(*answers: Groups) -> dict[int, tuple[int, int]]:
    """
    The groups of several tables that have no key in common, as if they were one.

    >>> together({1: (2, 30)}, {1: (1, 5), 2: (1, 9)})
    {1: (3, 35), 2: (1, 9)}
    """
    sums: dict[int, tuple[int, int]] = {}
    for answer in answers:
        for group, (rows, total) in answer.items():
            before = sums.get(group, (0, 0))
            sums[group] = (before[0] + rows, before[1] + total)
    return sums


def groups_differing(left: Groups, right: Groups) -> tuple[int, ...]:
    """
    >>> groups_differing({1: (2, 30), 2: (1, 9)}, {1: (2, 30), 3: (1, 1)})
    (2, 3)
    """
    return tuple(sorted(group for group in left.keys() | right.keys() if left.get(group) != right.get(group)))


def keys_differing(source: Mapping[int, int], replica: Mapping[int, int]) -> tuple[list[int], list[int]]:
    """
    Keys whose row is new or changed at the source, and keys that were deleted there.

    >>> keys_differing({1: 10, 2: 20, 3: 30}, {2: 21, 3: 30, 4: 40})
    ([1, 2], [4])
    """
    changed = sorted(key for key, checksum in source.items() if replica.get(key) != checksum)
    return changed, sorted(replica.keys() - source.keys())


def miscounted(rows_extracted: int, counts: Mapping[str, int]) -> str | None:
    """
    The staged rows against the rows read: None, or what is wrong in words.
    """
    wrong = {target: rows for target, rows in counts.items() if rows != rows_extracted}
    if not wrong:
        return None
    found = ", ".join(f"{target} {rows:,}" for target, rows in wrong.items())
    return f"{rows_extracted:,} rows were read, staged were: {found}"
