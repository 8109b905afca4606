"""
Where a table's ranges begin and end, as the server says by its primary key's index: none has too many rows or bytes.

How many are too many is `partitioning`'s business; what a range holds is read by `reader`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from arrowetl import limits
from arrowetl.model.plan import Partition, Table, TablePlan
from arrowetl.planning import partitioning
from arrowetl.source import source_sql

Ask = Callable[[str], list[tuple[Any, ...]]]
"""A question to the server → its rows."""


def slices(ask: Ask, database: str, plan: TablePlan) -> Iterator[Partition]:
    """
    A table that cannot be cut into ranges, in slices of which none is too large: one, where the table is not.
    """
    table, bytes_ = plan.table, plan.table.data_bytes
    if partitioning.varies(table) or (table.rows and not table.row_bytes):
        bytes_ = max(bytes_, int(ask(source_sql.bytes_of(database, table, None, Partition(0, None, None)))[0][0]))
    count = partitioning.slices(bytes_)
    hashed_fields = plan.key_fields or tuple(field for field in plan.fields if field.is_compared)
    for number in range(count):
        condition = source_sql.slice_condition(hashed_fields, number, count) if count > 1 else ""
        share = -(-table.rows // count)
        yield Partition(number, None, None, condition=condition, rows=share, bytes=-(-bytes_ // count))


@dataclass(frozen=True, slots=True)
class Walk:
    """A table's primary key, walked by its first column."""

    ask: Ask
    database: str
    table: Table

    def ranges(self, rows: Callable[[], int], lower: int | None, upper: int | None) -> Iterator[Partition]:
        """
        The ranges between two bounds; each is made when it is asked for.

        Args:
            rows: how many the next one is to have.
        """
        varies = partitioning.varies(self.table)
        if not partitioning.can_be_split(self.table) or (self.table.rows <= rows() and not varies):
            return iter([Partition(0, lower, upper, rows=self.table.rows)])
        found = partitioning.walked(lambda key: self._edge_after(key, rows()), lower, upper)
        if not varies:
            return found
        narrowed = chain.from_iterable(self._narrowed(part) for part in found)
        return (replace(part, index=index) for index, part in enumerate(narrowed))

    def _narrowed(self, part: Partition) -> Iterator[Partition]:
        """A range; or several in its place, where it has too many bytes of what may be long."""
        key = self.table.primary_key[0]
        bytes_ = int(self.ask(source_sql.bytes_of(self.database, self.table, key, part))[0][0])
        if bytes_ > limits.range_bytes_max and part.rows > 1:
            rows = partitioning.fewer(part.rows, bytes_)
            inner = list(partitioning.walked(lambda edge: self._edge_of(edge, rows), part.lower, part.upper))
            # Rows that share the key's first column cannot be parted.
            if len(inner) > 1:
                return chain.from_iterable(self._narrowed(one) for one in inner)
        return iter([replace(part, bytes=bytes_)])

    def _edge_after(self, lower: int | None, rows: int) -> tuple[int | None, int]:
        """The end of the range that begins at a key, and its number of rows, if its end is not the table's."""
        table, key = self.table, self.table.primary_key[0]
        if table.row_bytes > limits.wide_row_bytes:
            # Many rows may be short: twice as many as would fit on average.
            widths = self.ask(source_sql.widths_after(self.database, table, key, lower, 2 * rows + 2))
            known = [(int(value), int(width)) for value, width in widths]
            edge = partitioning.widths_edge(known, rows * table.row_bytes)
            if edge is not None:
                return edge, sum(value < edge for value, _ in known)
            rows = max(rows, len(known))
        return self._edge_of(lower, rows)

    def _edge_of(self, lower: int | None, rows: int) -> tuple[int | None, int]:
        """The same by the number of rows alone."""
        while True:
            found = self.ask(
                source_sql.key_after(self.database, self.table.name, self.table.primary_key[0], lower, rows)
            )
            if not found:
                return None, min(rows, self.table.rows)
            if found[0][0] != lower:
                return int(found[0][0]), rows
            # More rows share the key's first column than a partition holds.
            rows *= 2
