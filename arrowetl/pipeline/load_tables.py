"""
Many tables through `load_table`, several at a time, each tried again where that may help.

One table's failure is its own; the others go on. Which tables there are was
planned before, by `run`, which gathers what came of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import TypeVar

from arrowetl.config.tables_yml import business_hours_now
from arrowetl.errors import (
    ArrowetlError,
    DataError,
    DataExtractionError,
    Interrupted,
    KeyNotHeldError,
    LockLostError,
    ReplicaBehindError,
    UsageError,
    ours,
)
from arrowetl.model.connection import Choices
from arrowetl.model.events import TableEnded, TableRetried, TableStaged
from arrowetl.model.plan import LoadKind, Mode, TablePlan
from arrowetl.model.result import Outcome, Status
from arrowetl.pipeline.load_table import Ready, carry_table
from arrowetl.pipeline.plan_run import Planned, failure_of
from arrowetl.pipeline.retry import Retries
from arrowetl.planning import sync_mode, table_plan
from arrowetl.workers.pool import Shared, Workers

Carried = Outcome | Ready
T = TypeVar("T")


@dataclass(frozen=True)
class Night:
    """What holds for all tables of a run, from the first to the last."""

    shared: Shared
    choices: Choices
    retries: Retries
    planned_again: Callable[[str], Planned]
    """A table's name → its plan, as things are now."""
    carry: Callable[[TablePlan, Shared], Carried] = carry_table
    """What is done to each: all, or all but what its readers see."""


def carry_tables(plans: Iterable[TablePlan], night: Night, max_workers: int) -> list[Carried]:
    """
    Every table through `transfer`, several at a time; Ctrl-C lets those at work end their partitions.

    Returns:
        What came of each: those that were not to be switched yet are ready for it, or failed.
    """
    shared = night.shared
    outcomes: list[Carried] = []
    with _table_threads(max_workers, shared.workers) as threads:
        pending: dict[Future[Carried], TablePlan] = {threads.submit(_one, one, night): one for one in plans}
        ended: SimpleQueue[Future[Carried]] = SimpleQueue()
        for future in pending:
            # `concurrent.futures.wait` would look at each of hundreds for each that ended.
            future.add_done_callback(ended.put)
        try:
            while pending:
                if shared.workers.stopping.is_set():
                    # Somebody stopped all runs of this process.
                    raise KeyboardInterrupt
                # A wait without end would not let a Ctrl-C through everywhere.
                with suppress(Empty):
                    future = ended.get(timeout=0.5)
                    del pending[future]
                    outcomes.append(now := future.result())
                    shared.tell(TableStaged(now.plan.name) if isinstance(now, Ready) else TableEnded(now))
        except KeyboardInterrupt:
            shared.workers.stopping.set()
            with suppress(ArrowetlError):
                shared.servers.source.interrupt()
            begun = {future: one for future, one in pending.items() if not future.cancel()}
            outcomes += [future.result() for future in begun]
            stopped = Interrupted("the run was stopped before it began with this table", "run again")
            outcomes += [failed(one, stopped) for future, one in pending.items() if future not in begun]
    return outcomes


@contextmanager
def _table_threads(max_workers: int, hands: Workers) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers, "table") as threads:
        try:
            yield threads
        except BaseException:
            hands.stopping.set()
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _one(one: TablePlan, night: Night) -> Carried:
    """One table, tried again where that may help; and if it fails, its failure."""
    shared, started_at, clock = night.shared, datetime.now(UTC), time.monotonic()
    attempts = 0

    def attempt(number: int) -> Carried:
        nonlocal attempts
        attempts = number + 1
        return again(one, night) if number else _carried(one, night)

    def wait(error: ArrowetlError, seconds: float) -> bool:
        shared.tell(TableRetried(one.name, attempts, seconds, error.message))
        return not shared.workers.stopping.wait(seconds)

    def told(outcome: Outcome) -> Outcome:
        began, by = outcome.started_at or started_at, _worker() if outcome.worker is None else outcome.worker
        return replace(outcome, attempts=max(attempts, outcome.attempts), started_at=began, worker=by)

    try:
        carried = night.retries.call(attempt, wait)
        if isinstance(carried, Ready):
            return replace(carried, outcome=told(carried.outcome))
        carried = told(carried)
        shared.ledger.history(shared.route.run_id, carried)
        return carried
    except Exception as error:
        outcome = failed(one, ours(one.name, error), time.monotonic() - clock)
    return recorded_failure(told(outcome), shared)


def _worker() -> int | None:
    """Which of the threads that walk tables this is."""
    number = threading.current_thread().name.rpartition("_")[2]
    return int(number) if number.isdigit() else None


def recorded_failure(outcome: Outcome, shared: Shared) -> Outcome:
    """A table's failure, once it was written down where that can be done."""
    # The end that cannot be told of it is most likely the cause of it.
    with suppress(ArrowetlError):
        shared.ledger.failed(shared.route.run_id, outcome)
    return outcome


def _carried(one: TablePlan, night: Night) -> Carried:
    with night.shared.workers.tables:
        # Whoever waited for a turn may have waited for long.
        if night.shared.ledger.locks.lost:
            raise night.shared.ledger.locks.lost
        if night.shared.workers.stopping.is_set():
            raise Interrupted(f"{one.name}: the run was stopped", "run again")
        reads_source = not one.reads_replica and one.mode is not Mode.SKIPPED
        if reads_source and (hours := business_hours_now(night.choices)):
            raise Interrupted(
                f"{one.name}: not begun, these being business hours ({hours})",
                "run again when they have ended; settings.business_hours of tables.yml sets them",
            )
        return where_it_can_be(lambda one: keyless(lambda one: night.carry(one, night.shared), one), one, night)


def where_it_can_be(act: Callable[[TablePlan], Carried], one: TablePlan, night: Night) -> Carried:
    """
    What is done with a table; where one end cannot take it, and trying again is of no use, the other has it all the
    same.

    Raises:
        ArrowetlError: what went wrong; one end may have the table.
    """
    try:
        return act(one)
    except ArrowetlError as error:
        others = [end.name for end in night.shared.servers.ends if end.name != error.end]
        is_of_one_end = (
            error.end and others and not error.transient and not isinstance(error, LockLostError | Interrupted)
        )
        # What is published together is not published by itself.
        may = night.carry is carry_table or others == ["replica"]
        if not is_of_one_end or not may or one.reads_replica or (one.catches_up and others == ["replica"]):
            raise
        # A replica that takes nothing cannot tell what changed, nor have what the warehouse lacks.
        rest = sync_mode.made_anew(one) if others == ["warehouse"] else one
        with suppress(ArrowetlError):
            keyless(lambda one: carry_table(one, night.shared), replace(rest, only=others[0]))
            error.message += f"; the {others[0]} has the table as it is now"
        raise


def keyless(act: Callable[[TablePlan], T], one: TablePlan) -> T:
    """
    What is done with a table; without its key, where the warehouse turns out not to hold that; whole, where the replica
    cannot follow row by row.
    """
    try:
        return act(one)
    except KeyNotHeldError:
        return act(table_plan.without_key(one))
    except ReplicaBehindError:
        return keyless(act, sync_mode.made_anew(one))


def again(one: TablePlan, night: Night) -> Carried:
    """
    A table once more, planned anew: what the attempt before may have brought about is known only now.

    Raises:
        ArrowetlError: what went wrong this time.
    """
    # What stands staged by now may be another run's, if the lock went with a session.
    night.shared.ledger.locks.require_lock()
    for end in night.shared.servers.ends:
        end.look_again()
    try:
        planned = night.planned_again(one.name)
    except UsageError as error:
        raise DataExtractionError(
            f"{one.name}: no more at the source: it was dropped, or renamed, while it was carried",
            "run `arrowetl analyze`, which tells what changed",
        ) from error
    for outcome in planned.failed:
        assert outcome.failure is not None
        raise DataError(outcome.failure.message, outcome.failure.remedy)
    (now,) = planned.plans
    if needs_nothing(now):
        # It had arrived; that was all that could not be said any more.
        return replace(
            skipped(now, planned, datetime.now(UTC)), mode=one.mode, status=Status.SUCCEEDED, verdict="equal"
        )
    standings = {**night.shared.standings, **planned.standings}
    shared = replace(night.shared, standings=standings, compared={})
    return _carried(now, replace(night, shared=shared))


def needs_nothing(plan: TablePlan) -> bool:
    return plan.kind is LoadKind.SKIPPED


def skipped(plan: TablePlan, planned: Planned, started_at: datetime) -> Outcome:
    standing = planned.standings[plan.name]
    return Outcome(
        table=plan.name,
        category=plan.category,
        mode=plan.mode,
        reason=plan.reason,
        status=Status.SKIPPED,
        kind=plan.kind,
        rows_replica=standing.replica.rows,
        rows_warehouse=standing.warehouse.rows,
        notes=plan.notes,
        started_at=started_at,
    )


def failed(one: TablePlan, error: ArrowetlError, seconds: float = 0.0) -> Outcome:
    """The outcome of a table of which something went wrong."""
    return replace(
        failure_of(one.name, one.category, error),
        mode=one.mode,
        reason=one.reason,
        seconds=seconds,
        kind=one.kind,
        expected=one.expected,
    )
