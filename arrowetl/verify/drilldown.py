"""
From a range whose checksums differ to the rows that do, and the columns of these.

Two servers are asked the same questions: groups of rows by their checksum's
remainder, then the rows of the groups that differ, then the columns of the
first of those rows. Nothing is written, and no more leaves a server than what
differs. `verify_table` decides which ranges; `row_checksums` has the questions.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from arrowetl import limits
from arrowetl.checksums import row_checksums
from arrowetl.model.dialect import INTEGERS
from arrowetl.model.plan import Field, Partition
from arrowetl.model.verdict import RowDifference
from arrowetl.types.checksum_text import canonical_text

Row = tuple[int, tuple[str | None, ...]]
"""A row's checksum, and the texts of its key."""


class Answering(Protocol):
    """A server that can be asked."""

    def answers(self, question: str) -> list[tuple[Any, ...]]: ...


@dataclass(frozen=True)
class TableSide:
    """A table at one server."""

    name: str
    target: Answering
    side: row_checksums.Side

    @property
    def at_warehouse(self) -> bool:
        return self.name == "warehouse"


@dataclass(frozen=True)
class DifferenceFormat:
    """How differing rows are shown."""

    fields: Sequence[Field]
    key: Sequence[Field]
    """Those that identify rows."""
    shows: bool
    """Whether values may be shown."""
    salt: bytes

    @classmethod
    def of(cls, fields: Sequence[Field], key: Sequence[Field], shows: bool) -> DifferenceFormat:
        """With digests that mean nothing outside of this verification: names could be guessed from a list otherwise."""
        return cls(fields, key, shows, secrets.token_bytes(16))

    def fields_by(self, method: str) -> list[Field]:
        """The fields that can be compared by a method."""
        return [field for field in self.fields if method == row_checksums.IMAGES or canonical_text(field)]

    def named(self, texts: Sequence[str | None]) -> dict[str, Any]:
        return {f.column.name: self._value(f, text) for f, text in zip(self.key, texts, strict=True)}

    def digest(self, value: Any) -> str:
        """
        Of a value as text; NULL is shown as such.
        """
        if value is None:
            return "NULL"
        return hashlib.blake2b(str(value).encode(), digest_size=6, key=self.salt).hexdigest()

    def _value(self, field: Field, text: str | None) -> Any:
        if text is not None and field.column.data_type in INTEGERS:
            return int(text)
        return text if self.shows or text is None else f"#{self.digest(text)}"


class UnsaidError(Exception):
    """A server could not produce some row's text: no checksum describes the range."""


def differing_rows(
    left: TableSide, right: TableSide, method: str, part: Partition, rows: int
) -> tuple[list[Row], list[Row]]:
    """
    The rows of a range that exist only at the one, and only at the other server.

    Args:
        rows: about how many the range has.

    Raises:
        UnsaidError: some row has no checksum.
    """
    count, among = max(1, rows // limits.verified_group_rows), None
    if count > 1:
        here, there = (_groups(one, method, part, count) for one in (left, right))
        differing = [group for group in here.keys() | there.keys() if here.get(group) != there.get(group)]
        # Where nearly all do, naming them says nothing.
        among = sorted(differing) if len(differing) <= count / 2 else None
    ours, theirs = (_rows(one, method, part, count, among) for one in (left, right))
    return list((ours - theirs).elements()), list((theirs - ours).elements())


def _groups(one: TableSide, method: str, part: Partition, count: int) -> dict[int, tuple[int, int]]:
    answers = one.target.answers(one.side.groups(part, method, count))
    if any(group is None for group, *_ in answers):
        raise UnsaidError
    return {int(group): (int(rows), int(total)) for group, rows, total in answers}


def _rows(one: TableSide, method: str, part: Partition, count: int, among: Sequence[int] | None) -> Counter[Row]:
    if among == []:
        return Counter()
    answers = one.target.answers(one.side.rows(part, method, count, among))
    if any(bits is None for bits, *_ in answers):
        raise UnsaidError
    return Counter((int(bits), tuple(map(_text, key))) for bits, *key in answers)


def _text(value: Any) -> str | None:
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "backslashreplace")
    return None if value is None else str(value)


def row_differences(
    left: TableSide, right: TableSide, method: str, part: Partition, only: tuple[Sequence[Row], Sequence[Row]],
    style: DifferenceFormat, limit: int,
) -> tuple[int, list[RowDifference]]:  # fmt: skip
    """
    How many rows differ, and the first of them with the columns in which they do.

    Args:
        only: what `differing_rows` found.
        limit: how many are to be shown.
    """
    pairs = paired(*only, keyed=bool(style.key))
    first = pairs[:limit]
    changed = [(ours, theirs) for ours, theirs in first if ours and theirs]
    values = [
        _values(one, method, part, [pair[side][0] for pair in changed], style) if changed else {}
        for side, one in enumerate((left, right))
    ]
    names, found = [field.column.name for field in style.fields_by(method)], []
    for ours, theirs in first:
        kind = "changed" if ours and theirs else "missing" if ours else "extra"
        key = style.named((ours or theirs or (0, ()))[1])
        columns = _columns(names, values[0].get(ours), values[1].get(theirs)) if ours and theirs else {}
        found.append(
            RowDifference(
                target=right.name,
                kind=kind,
                key=key,
                columns=tuple(columns),
                digests={name: (style.digest(a), style.digest(b)) for name, (a, b, _, _) in columns.items()},
                values={name: (shown, other) for name, (_, _, shown, other) in columns.items()}
                if style.shows
                else None,
            )
        )
    return len(pairs), found


def paired(ours: Sequence[Row], theirs: Sequence[Row], keyed: bool) -> list[tuple[Row | None, Row | None]]:
    """
    The rows that belong together by their key; without one, each is by itself.

    >>> paired([(7, ("1",)), (8, ("2",))], [(9, ("2",)), (5, ("3",))], keyed=True)
    [((7, ('1',)), None), ((8, ('2',)), (9, ('2',))), (None, (5, ('3',)))]
    """
    if not keyed:
        return [*((row, None) for row in ours), *((None, row) for row in theirs)]
    by_key = {row[1]: row for row in theirs}
    pairs: list[tuple[Row | None, Row | None]] = [(row, by_key.pop(row[1], None)) for row in ours]
    pairs += [(None, row) for row in by_key.values()]
    return sorted(pairs, key=lambda pair: _in_order((pair[0] or pair[1] or (0, ()))[1]))


def _in_order(key: Sequence[str | None]) -> list[tuple[int, str]]:
    """Numbers by their size, as far as texts show it."""
    return [(len(text or ""), text or "") for text in key]


def _values(
    one: TableSide, method: str, part: Partition, bits: Sequence[int], style: DifferenceFormat
) -> Mapping[Row, tuple[Any, ...]]:
    columns = row_checksums.columns_of(style.fields_by(method), method, one.at_warehouse, style.shows)
    answers = one.target.answers(one.side.values(part, method, bits, columns))
    width = 1 + len(one.side.named)
    return {(int(row[0]), tuple(map(_text, row[1:width]))): tuple(map(_text, row[width:])) for row in answers}


def _columns(
    names: Sequence[str], ours: tuple[Any, ...] | None, theirs: tuple[Any, ...] | None
) -> dict[str, tuple[Any, Any, Any, Any]]:
    """Column → both texts, and both as they are shown, where they differ; nothing of rows that went meanwhile."""
    if ours is None or theirs is None:
        return {}
    shown = [(None, None)] * len(names)
    if len(ours) > len(names):
        shown = list(zip(ours[len(names) :], theirs[len(names) :], strict=True))
    return {name: (ours[n], theirs[n], *shown[n]) for n, name in enumerate(names) if ours[n] != theirs[n]}
