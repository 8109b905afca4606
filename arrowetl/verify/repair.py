"""
What `verify` found to differ is reloaded: of a table with an integer key, only the ranges that differ.

It is a run like any other, with its lock, its comparison and its records, and
is verified once more. What differs is found by `verify_tables`, and written by `run`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from arrowetl.config.env import Settings
from arrowetl.model.events import Event
from arrowetl.model.result import Failure
from arrowetl.model.run_options import RunOptions, VerifyOptions
from arrowetl.model.state import RangesToRepair
from arrowetl.model.verdict import Verdict, VerifyResult
from arrowetl.pipeline import run as running
from arrowetl.verify import verify_tables


def repair(
    settings: Settings, options: VerifyOptions, found: VerifyResult, on_event: Callable[[Event], None]
) -> VerifyResult:
    """
    Reload what differs, and compare it again.

    Args:
        options: how it was found.

    Returns:
        What is found then; of tables that needed no repair, what was found before.

    Raises:
        ConfigurationError, DatabaseError: nothing was repaired.
    """
    before = {verdict.table: verdict for verdict in found.tables if verdict.verdict == "differs"}
    if not before:
        return found
    compared = {name: known for name, verdict in before.items() if (known := _compared(verdict))}
    run_options = RunOptions(
        tables=tuple(before),
        to=settings.targets,
        force_full=True,
        max_workers=options.max_workers,
        compared=compared,
    )
    summary = running.run(settings, run_options, on_event)
    failures = {outcome.table: outcome.failure for outcome in summary.outcomes if outcome.failure}
    again_options = replace(options, tables=tuple(before), exclude=())
    after = verify_tables.verify(settings, again_options, on_event)
    again = {verdict.table: _judged(before[verdict.table], verdict, failures) for verdict in after.tables}
    return replace(after, tables=tuple(again.get(verdict.table, verdict) for verdict in found.tables))


def _compared(verdict: Verdict) -> RangesToRepair | None:
    """What need not be read again; None where all of the table must be."""
    if verdict.reading is None or verdict.began is None or not verdict.ranges_differing:
        return None
    differing = set(verdict.ranges_differing)
    equal = sum(ranged.sums["source"].rows for ranged in verdict.ranges if ranged.part not in differing)
    return RangesToRepair(
        differing=verdict.ranges_differing,
        rows_equal=equal,
        reading=verdict.reading,
        began=verdict.began,
        watermark=verdict.watermark,
    )


def _judged(before: Verdict, after: Verdict, failures: Mapping[str, Failure]) -> Verdict:
    if failure := failures.get(after.table):
        return replace(after, note=f"could not be repaired: {failure.message}")
    if after.verdict != "equal":
        return after
    return replace(after, repaired=before.differences, repaired_rows=before.differing)
