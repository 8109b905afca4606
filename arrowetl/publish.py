"""
All tables of a night switched together: at the warehouse in one transaction, then at the replica one by one.

Until then everything is staged and compared (`transfer.stage_table`), and no
reader of the warehouse sees any of it; dbt finds the night before, or this
one. How tables are switched in one transaction is `cutover`'s business.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from arrowetl.account import switched_outcome
from arrowetl.cutover import Switch, Together
from arrowetl.errors import ArrowetlError, DataLoadingError, Interrupted, OutOfStepError
from arrowetl.events import TableEnded
from arrowetl.model import TablePlan
from arrowetl.night import Carried, Night, carry_tables, failed, recorded_failure
from arrowetl.outcome import Changes, Outcome, Published, Status
from arrowetl.transfer import Ready, carry_table, discard, staged_from_replica, switch
from arrowetl.workers import Shared


def publish(
    carried: Sequence[Carried], night: Night, max_workers: int, strict: bool, unplanned: Iterable[str] = ()
) -> tuple[list[Outcome], Published | None]:
    """
    Switch the tables that are ready.

    Args:
        strict: whether nothing is published where a table failed.
        unplanned: tables that failed before anything was done with them.

    Returns:
        What came of all tables; and what was published, None where nothing was.
    """
    ended = [one for one in carried if isinstance(one, Outcome)]
    waiting = {one.plan.name: one for one in carried if isinstance(one, Ready)}
    wrong = [*unplanned, *(one.table for one in ended if one.status is Status.FAILED)]
    stopping, began = night.shared.workers.stopping, time.monotonic()
    if stopping.is_set():
        return [*ended, *_stopped(waiting)], None
    if strict and wrong:
        return [*ended, *_withheld(waiting, wrong)], None
    try:
        found = _at_the_warehouse(waiting, night, strict)
    except KeyboardInterrupt:
        stopping.set()
        if not _arrived(waiting, night):
            return [*ended, *_stopped(waiting)], None
        found = _all_of(waiting)
    except ArrowetlError as error:
        return [*ended, *(_failed(one, error, keeps=True) for one in waiting.values())], None
    ended += [_failed(waiting.pop(name), error) for name, error in found.errors.items()]
    if not found.published:
        return [*ended, *_withheld(waiting, [*wrong, *found.errors])], None
    published = Published(len(waiting), time.monotonic() - began)
    return [*ended, *_at_the_replica(waiting, found.changes, night, max_workers)], published


def _at_the_warehouse(waiting: dict[str, Ready], night: Night, strict: bool) -> Together:
    """One transaction, tried again where that may help; a table that turns out to be behind is staged anew before."""
    warehouse, lost = night.shared.servers.warehouse, dict[str, ArrowetlError]()

    def attempt(number: int) -> Together:
        if number and _arrived(waiting, night):
            return _all_of(waiting)
        is_last = number == night.retries.most

        def behind(errors: Mapping[str, ArrowetlError]) -> list[str]:
            return [n for n, error in errors.items() if isinstance(error, OutOfStepError) and waiting[n].plan.is_delta]

        def accepts(errors: Mapping[str, ArrowetlError]) -> bool:
            may_help = bool(behind(errors)) or (not is_last and any(error.transient for error in errors.values()))
            return not (strict or may_help)

        while True:
            switches = [_switch_of(one, night.shared) for name, one in waiting.items() if name not in lost]
            found = warehouse.cutover_together(switches, accepts)
            if found.published or not behind(found.errors):
                break
            for name in behind(found.errors):
                try:
                    waiting[name] = _from_the_replica(waiting[name])
                except ArrowetlError as error:
                    lost[name] = error
            if strict and lost:
                return Together({}, lost, False)
        transient = next((error for error in found.errors.values() if error.transient), None)
        if transient and not found.published and not is_last:
            raise transient
        return replace(found, errors={**found.errors, **lost})

    def wait(error: ArrowetlError, seconds: float) -> bool:
        return not night.shared.workers.stopping.wait(seconds)

    return night.retries.call(attempt, wait)


def _switch_of(ready: Ready, shared: Shared) -> Switch:
    return Switch(ready.plan, ready.staged, ready.comments, shared.ledger.recording("warehouse", ready.entry))


def _from_the_replica(ready: Ready) -> Ready:
    """A table for which it does not suffice what changed: all of it, from a replica that was switched before."""
    ready.shared.servers.warehouse.discard(ready.plan)
    return staged_from_replica(ready.plan, ready.shared, ready.entry, switch(ready, ready.others))


def _arrived(waiting: Mapping[str, Ready], night: Night) -> bool:
    """Whether the transaction was committed of which nobody heard; by what the warehouse has recorded."""
    _, records = night.shared.ledger.records()
    moved = [one for one in waiting.values() if one.staged]
    return bool(moved) and all(
        (record := records.get(one.plan.name)) is not None and record.version == one.entry.version for one in moved
    )


def _all_of(waiting: Mapping[str, Ready]) -> Together:
    """They had arrived; that is all that can be said any more."""
    return Together({name: Changes() for name in waiting}, {}, True)


def _at_the_replica(
    waiting: Mapping[str, Ready], changes: Mapping[str, Changes], night: Night, max_workers: int
) -> list[Outcome]:
    """The other end of all that was published; a table that fails there is carried once more, as by itself."""
    left = {
        name: replace(
            one, outcome=switched_outcome(one.outcome, one.plan, one.staged, {"warehouse": changes[name]}, 0.0)
        )
        for name, one in waiting.items()
    }
    plans = [one.plan for one in waiting.values()]

    def carry(plan: TablePlan, shared: Shared) -> Outcome:
        ready = left.pop(plan.name, None)
        return switch(ready, ready.others) if ready else carry_table(plan, shared)

    # What has been read is switched at any hour.
    choices = replace(night.choices, business_hours=None)
    carried = carry_tables(plans, replace(night, carry=carry, choices=choices), max_workers)
    return [one for one in carried if isinstance(one, Outcome)]


def _stopped(waiting: Mapping[str, Ready]) -> list[Outcome]:
    error = Interrupted("the run was stopped before anything was published", "run again")
    return [_failed(one, error, keeps=True) for one in waiting.values()]


def _withheld(waiting: Mapping[str, Ready], wrong: Sequence[str]) -> list[Outcome]:
    error = DataLoadingError(
        f"staged and compared, and not published: --strict publishes nothing where a table failed ({', '.join(wrong)})",
        "mend what failed, or leave out --strict, and run again",
    )
    return [_failed(one, error, keeps=True) for one in waiting.values()]


def _failed(ready: Ready, error: ArrowetlError, keeps: bool = False) -> Outcome:
    """A table that stays as it was."""
    discard(ready.plan, ready.shared, keeps)
    before = ready.outcome
    outcome = replace(
        failed(ready.plan, error, before.seconds),
        attempts=before.attempts, started_at=before.started_at, worker=before.worker, legs=before.legs,
    )  # fmt: skip
    recorded_failure(outcome, ready.shared)
    ready.shared.tell(TableEnded(outcome))
    return outcome
