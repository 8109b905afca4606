"""
What runs took before → how long each table will take, and the run, and how sure that is.

Pure. `ledger` remembers what tables took and `plan_run` asks; `render_run` shows
the plan with it, and afterwards what it became.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from arrowetl import limits
from arrowetl.model.plan import LoadKind, Mode, Table, TableEstimate, TablePlan


@dataclass(frozen=True, slots=True)
class Past:
    """What one table took in a run that succeeded."""

    seconds: float
    rows: int
    """That were to be read of the source, as the catalog had them then."""


@dataclass(frozen=True, slots=True)
class PastRun:
    """How long a complete run took."""

    seconds: float
    makespan: float
    """Of its tables by themselves, as its workers shared them."""


@dataclass(frozen=True, slots=True)
class History:
    """What is remembered, the latest first."""

    tables: Mapping[tuple[str, LoadKind], Sequence[Past]]
    runs: Sequence[PastRun] = ()
    """Those on the same route."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a run will take."""

    seconds: float
    low: float
    high: float
    basis: str
    """By what it was estimated, in words."""
    critical: tuple[str, ...]
    """The longest tables of the worker that will end last, in their order."""
    makespan: float

    def as_json(self) -> dict[str, Any]:
        return {
            "seconds": round(self.seconds, 3),
            "low": round(self.low, 3),
            "high": round(self.high, 3),
            "basis": self.basis,
            "critical_path": list(self.critical),
        }


NO_HISTORY = History({})


def full_load_seconds(table: Table) -> float:
    """The usual seconds of loading a table into both targets."""
    return max(table.rows / limits.rows_per_second_expected, table.data_bytes / limits.bytes_per_second_expected)


def usual(plan: TablePlan) -> TableEstimate:
    """Rows that will be read of the source, and seconds, by what servers usually do."""
    table, rows = plan.table, plan.table.rows
    if plan.mode is Mode.SKIPPED:
        return TableEstimate(0, full_load_seconds(table) if plan.reload_warehouse_from_replica else 0.0)
    if plan.mode is Mode.FULL:
        return TableEstimate(rows, limits.table_seconds_expected + full_load_seconds(table))
    if not plan.kind.goes_by_checksums:
        reading = max(rows / limits.reading_rows_per_second, table.data_bytes / limits.reading_bytes_per_second)
        return TableEstimate(rows, limits.table_seconds_expected + reading)
    return TableEstimate(0, limits.table_seconds_expected + rows / limits.checksum_rows_per_second)


def of_tables(plans: Iterable[TablePlan], history: History) -> list[TableEstimate]:
    """
    What each table will take: the median of what the same kind of load took, by rows where all are read; of those
    that are not remembered what servers usually do, times what these did of that to tables of their kind, small ones
    or large ones.
    """
    plans = list(plans)
    guesses = [usual(plan) for plan in plans]
    known = [_known(plan, guess, history) for plan, guess in zip(plans, guesses, strict=True)]
    factor = dict[bool, float]()
    for large in (False, True):
        pairs = [
            (one.seconds, guess.seconds)
            for plan, guess, one in zip(plans, guesses, known, strict=True)
            if one and _is_large(plan) is large
        ]
        took, usually = (sum(seconds) for seconds in zip(*pairs, strict=True)) if pairs else (0.0, 0.0)
        factor[large] = took / usually if usually else 1.0
    return [
        one or TableEstimate(guess.rows, guess.seconds * factor[_is_large(plan)])
        for plan, guess, one in zip(plans, guesses, known, strict=True)
    ]


def _is_large(plan: TablePlan) -> bool:
    return plan.table.rows >= limits.estimate_rows_min


def _known(plan: TablePlan, guess: TableEstimate, history: History) -> TableEstimate | None:
    if plan.kind is LoadKind.SKIPPED:
        return guess
    past = history.tables.get((plan.name, plan.kind))
    if not past:
        return None
    scales = plan.kind.reads_all and _is_large(plan)
    took = sorted(one.seconds * (guess.rows / one.rows if scales and one.rows else 1.0) for one in past)
    return TableEstimate(guess.rows, median(took), (took[-1] - took[0]) / 2, len(past))


def of_run(plans: Sequence[TablePlan], workers: int, history: History) -> Estimate:
    """
    How long a run will take: its tables, shared among the workers in their order, and what runs took besides.
    """
    seconds = [plan.expected.seconds for plan in plans]
    busy, chain = schedule(seconds, workers)
    overhead = (
        median(run.seconds - run.makespan for run in history.runs) if history.runs else limits.run_seconds_expected
    )
    total = busy + max(overhead, 0.0)
    remembered = [plan.expected for plan in plans if plan.expected.runs]
    surely = sum(one.seconds for one in remembered)
    share = surely / sum(seconds) if sum(seconds) else float(bool(history.runs))
    runs = min((one.runs for one in remembered), default=len(history.runs))
    width = limits.estimate_width_max
    if runs >= limits.estimate_runs_sure:
        width = max(
            limits.estimate_width_min, min(width, 2 * sum(one.spread for one in remembered) / max(surely, 1e-9))
        )
    known, guessed = total * share, total * (1 - share)
    low = known * (1 - width) + guessed / limits.guess_factor
    high = known * (1 + width) + guessed * limits.guess_factor
    longest = tuple(plans[number].name for number in chain if seconds[number] >= limits.critical_share_min * busy)
    return Estimate(seconds=total, low=low, high=high, basis=_basis(share, runs), critical=longest, makespan=busy)


def _basis(share: float, runs: int) -> str:
    if share < limits.estimate_share_min:
        return "a guess: " + (f"{share:.0%} of it is remembered" if share else "nothing like it is remembered")
    like = f"by {runs} run{'s' * (runs != 1)} like it"
    return like if share > limits.estimate_share_full else f"{like}, {1 - share:.0%} of it guessed"


def schedule(seconds: Sequence[float], workers: int) -> tuple[float, list[int]]:
    """
    How long workers take, each taking the next item when it is free; and the items of the one that ends last.

    >>> schedule([5.0, 4.0, 3.0, 1.0], 2)
    (7.0, [1, 2])
    """
    free: list[tuple[float, int]] = [(0.0, worker) for worker in range(max(1, workers))]
    taken: dict[int, list[int]] = {worker: [] for _, worker in free}
    for number, one in enumerate(seconds):
        if one:
            free_at, worker = heapq.heappop(free)
            heapq.heappush(free, (free_at + one, worker))
            taken[worker].append(number)
    last, worker = max(free)
    return last, taken[worker]
