"""
What is known of a table's columns → whether one of them shows every change, the strategy, and why.

Pure. `analyze_tables` writes it down; whether a run reads by a watermark is decided
by `sync_mode`, which trusts only columns that the server updates itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from arrowetl.model.humanize import listed
from arrowetl.model.plan import Table
from arrowetl.planning import evidence
from arrowetl.source.sample_sql import ColumnSample, Sample, times

_NAMES_SHOWN = 3
# Of a sample: beyond it a column follows the key.
_FOLLOWS_KEY = 0.9
# Keys so far apart were not given one after another.
_RANDOM_GAP = 1_000_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A column that holds times, and what speaks for or against it as a watermark."""

    column: str
    type: str
    auto_updated: bool
    """Whether the server updates it at every change."""
    indexed: bool
    sample: ColumnSample | None
    """None where the table was not looked at."""

    @property
    def verdict(self) -> str:
        """In words."""
        if self.auto_updated:
            ahead = ", by a clock that was ahead" if self.sample and self.sample.future else ""
            return f"the server updates it at every change{ahead}"
        if self.sample and self.sample.future:
            return "no watermark: it holds times in the future"
        return "no watermark: clients write it, or nothing does when the row changes"

    def as_json(self) -> dict[str, Any]:
        found = self.sample
        return {
            "column": self.column, "type": self.type, "stamped_by_server": self.auto_updated, "indexed": self.indexed,
            "missing": found and round(found.missing, 3), "unset": found and round(found.unset, 3),
            "future": found and round(found.future, 3),
            "follows_key": found and found.correlation is not None and found.correlation >= _FOLLOWS_KEY,
            "verdict": self.verdict,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Strategy:
    """How a table is to be extracted, by which column, and why."""

    name: str
    """One of `model.STRATEGIES`."""
    columns: tuple[str, ...]
    """Those that show every change, the best first."""
    reason: str


def candidates(table: Table, left_out: frozenset[str], found: Sample | None) -> list[Candidate]:
    """
    Every column that holds timestamps, but for those that are not looked at; those first that show every change, of
    them those first that an index finds.
    """
    columns = times(table, left_out)
    leading = {index.columns[0][0] for index in table.indexes if index.columns}
    sample = {one.column: one for one in found.columns} if found else {}
    all_ = [
        Candidate(
            column=c.name,
            type=c.column_type,
            auto_updated=evidence.is_auto_updated(c),
            indexed=c.name in leading,
            sample=sample.get(c.name),
        )
        for c in columns
    ]
    return sorted(all_, key=lambda one: (not one.auto_updated, not one.indexed))


def strategy(table: Table, category: str, those: Sequence[Candidate]) -> Strategy:
    """
    Incremental only where the server itself updates a column at every change, and one integer identifies rows.
    """
    auto_updated = tuple(one.column for one in those if one.auto_updated)
    if not table.primary_key:
        return Strategy("full_table", auto_updated, "no primary key, by which a changed row would be known")
    if table.integer_key is None:
        return Strategy(
            "full_table", auto_updated, "its primary key is not one integer, by which changed rows are merged"
        )
    if not auto_updated:
        return Strategy("full_table", (), f"no column shows every change{_others(those)}")
    if why := evidence.unstamped_changes(table):
        return Strategy("full_table", (), why)
    best = those[0]
    words = f"the server updates {best.column} at every change"
    words += ", which is indexed" if best.indexed else "; it is not indexed, so each run scans the table"
    if best.sample and best.sample.unset + best.sample.missing:
        words += "; rows without a value are found by checksums"
    if best.sample and best.sample.future:
        words += "; some are set by a clock ahead of the server's, and read by every run"
    return Strategy("incremental_chunked" if category == "large" else "incremental", auto_updated, words)


def _others(those: Sequence[Candidate]) -> str:
    if not those:
        return ": it has none with a time"
    verb = "is" if len(those) == 1 else "are"
    return f": {listed([one.column for one in those], _NAMES_SHOWN)} {verb} not updated by the server"


def key_words(table: Table, found: Sample | None) -> str:
    """
    How the keys of a table are distributed, in words.
    """
    if not table.primary_key:
        return "none"
    if table.integer_key is None:
        return "not one integer"
    if found is None or found.lowest is None or found.highest is None:
        return "not looked at"
    rows = max(found.rows if found.rows is not None else table.rows, 1)
    span = found.highest - found.lowest + 1
    if span / rows > _RANDOM_GAP:
        return "random"
    return "dense" if rows >= 0.9 * span else f"with gaps: {rows / span:.0%} of its span"
