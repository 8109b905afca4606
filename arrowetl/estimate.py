"""
What runs took before → how long each table will take, and the run, and how sure that is.

Pure. `ledger` remembers what tables took and `planning` asks; `report` shows
the plan with it, and afterwards what it became.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from arrowetl import limits
from arrowetl.model import Comparison, Expected, Journey, Mode, TablePlan


@dataclass(frozen=True, slots=True)
class Past:
    """What one table took in a run that succeeded."""

    seconds: float
    rows: int
    """That were read of the source."""


@dataclass(frozen=True, slots=True)
class PastRun:
    """What a whole run took."""

    seconds: float
    makespan: float
    """Of its tables by themselves, as its workers shared them."""


@dataclass(frozen=True, slots=True)
class History:
    """What is remembered, the latest first."""

    tables: Mapping[tuple[str, Journey], Sequence[Past]]
    runs: Sequence[PastRun] = ()
    """Those that went the same way."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a run will take."""

    seconds: float
    low: float
    high: float
    basis: str
    """By what it was estimated, in words."""
    critical: tuple[str, ...]
    """The tables of the worker that will end last, in their order."""
    makespan: float

    def as_json(self) -> dict[str, Any]:
        return {
            "seconds": round(self.seconds, 3), "low": round(self.low, 3), "high": round(self.high, 3),
            "basis": self.basis, "critical_path": list(self.critical),
        }  # fmt: skip


NO_HISTORY = History({})


def usual(plan: TablePlan) -> Expected:
    """Rows that will be read of the source, and seconds, by what servers usually do."""
    rows = plan.table.rows
    if plan.mode is Mode.SKIPPED:
        return Expected(0, rows / limits.rows_per_second_expected if plan.catches_up else 0.0)
    if plan.mode is Mode.FULL:
        return Expected(rows, limits.table_seconds_expected + rows / limits.rows_per_second_expected)
    if plan.comparison is Comparison.READING:
        return Expected(rows, limits.table_seconds_expected + rows / limits.reading_rows_per_second)
    return Expected(0, limits.table_seconds_expected + rows / limits.checksum_rows_per_second)


def of_tables(plans: Iterable[TablePlan], history: History) -> list[Expected]:
    """
    What each table will take: the median of what it took on the same journey, by rows where all are read; of those
    that are not remembered what servers usually do, times what these did of that.
    """
    plans = list(plans)
    guesses = [usual(plan) for plan in plans]
    known = [_known(plan, guess, history) for plan, guess in zip(plans, guesses, strict=True)]
    usually = sum(guess.seconds for guess, one in zip(guesses, known, strict=True) if one)
    factor = sum(one.seconds for one in known if one) / usually if usually else 1.0
    return [one or Expected(guess.rows, guess.seconds * factor) for one, guess in zip(known, guesses, strict=True)]


def _known(plan: TablePlan, guess: Expected, history: History) -> Expected | None:
    if plan.journey is Journey.SKIPPED:
        return guess
    past = history.tables.get((plan.name, plan.journey))
    if not past:
        return None
    scales = plan.journey.reads_all and plan.table.rows >= limits.estimate_rows_min
    took = sorted(one.seconds * (plan.table.rows / one.rows if scales and one.rows else 1.0) for one in past)
    return Expected(guess.rows, median(took), (took[-1] - took[0]) / 2, len(past))


def of_run(plans: Sequence[TablePlan], workers: int, history: History) -> Estimate:
    """
    What a run will take: its tables, shared among the workers in their order, and what runs took beside that.
    """
    seconds = [plan.expected.seconds for plan in plans]
    busy, chain = shared(seconds, workers)
    beside = median(run.seconds - run.makespan for run in history.runs) if history.runs else limits.run_seconds_expected
    total = busy + max(beside, 0.0)
    remembered = [plan.expected for plan in plans if plan.expected.runs]
    share = sum(one.seconds for one in remembered) / sum(seconds) if sum(seconds) else float(bool(history.runs))
    spread = sum(one.spread for one in remembered) / max(sum(one.seconds for one in remembered), 1e-9)
    runs = min((one.runs for one in remembered), default=len(history.runs))
    critical = tuple(plans[number].name for number in chain)
    if share < limits.estimate_share_min:
        why = "nothing like it is remembered" if not share else f"{share:.0%} of it is remembered"
        return Estimate(
            total, total / limits.guess_factor, total * limits.guess_factor,
            f"a guess: {why}", critical, busy,
        )  # fmt: skip
    width = limits.estimate_width_max
    if runs >= limits.estimate_runs_sure:
        width = max(limits.estimate_width_min, min(width, 2 * spread))
    # What is over in no time varies by what is not its own.
    low = max(0.0, total * (1 - width))
    return Estimate(total, low, total * (1 + width), f"by {runs} run{'s' * (runs != 1)} like it", critical, busy)


def shared(seconds: Sequence[float], workers: int) -> tuple[float, list[int]]:
    """
    How long workers take that each take the next one when they are free; and those of the one that ends last.

    >>> shared([5.0, 4.0, 3.0, 1.0], 2)
    (7.0, [1, 2])
    """
    free: list[tuple[float, int]] = [(0.0, worker) for worker in range(max(1, workers))]
    taken: dict[int, list[int]] = {worker: [] for _, worker in free}
    for number, one in enumerate(seconds):
        if one:
            moment, worker = heapq.heappop(free)
            heapq.heappush(free, (moment + one, worker))
            taken[worker].append(number)
    last, worker = max(free)
    return last, taken[worker]
