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

from arrowetl.config.tables_yml import refuse_business_hours
from arrowetl.errors import (
    ArrowetlError,
    DataError,
    DataExtractionError,
    Interrupted,
    KeyNotHeldError,
    LockLostError,
    ReplicaBehindError,
    UsageError,
    as_arrowetl_error,
)
from arrowetl.model.connection import RunSettings
from arrowetl.model.events import TableEnded, TableRetried, TableStaged
from arrowetl.model.plan import LoadKind, Mode, TablePlan
from arrowetl.model.result import Outcome, Status
from arrowetl.pipeline.load_table import StagedTable, load_table
from arrowetl.pipeline.plan_run import Planned, failure_of
from arrowetl.pipeline.retry import Retries
from arrowetl.planning import sync_mode, table_plan
from arrowetl.workers.pool import RunContext, Workers

TableResult = Outcome | StagedTable
T = TypeVar("T")


@dataclass(frozen=True)
class TableRunner:
    """What holds for all tables of a run, from the first to the last."""

    context: RunContext
    choices: RunSettings
    retries: Retries
    planned_again: Callable[[str], Planned]
    """A table's name → its plan, as things are now."""
    load: Callable[[TablePlan, RunContext], TableResult] = load_table
    """What is done to each: all, or all but what its readers see."""


def load_tables(plans: Iterable[TablePlan], runner: TableRunner, max_workers: int) -> list[TableResult]:
    """
    Every table through `load_table`, several at a time; Ctrl-C lets those at work end their partitions.

    Returns:
        What came of each: those that were not to be switched yet are ready for it, or failed.
    """
    context = runner.context
    outcomes: list[TableResult] = []
    with _table_threads(max_workers, context.workers) as threads:
        pending: dict[Future[TableResult], TablePlan] = {threads.submit(_one, one, runner): one for one in plans}
        ended: SimpleQueue[Future[TableResult]] = SimpleQueue()
        for future in pending:
            # `concurrent.futures.wait` would look at each of hundreds for each that ended.
            future.add_done_callback(ended.put)
        try:
            while pending:
                if context.workers.stopping.is_set():
                    # All runs of this process were stopped.
                    raise KeyboardInterrupt
                # A wait without end would not let a Ctrl-C through everywhere.
                with suppress(Empty):
                    future = ended.get(timeout=0.5)
                    del pending[future]
                    outcomes.append(now := future.result())
                    context.on_event(TableStaged(now.plan.name) if isinstance(now, StagedTable) else TableEnded(now))
        except KeyboardInterrupt:
            context.workers.stopping.set()
            with suppress(ArrowetlError):
                context.servers.source.interrupt()
            begun = {future: one for future, one in pending.items() if not future.cancel()}
            outcomes += [future.result() for future in begun]
            stopped = Interrupted("the run was stopped before it began with this table", "run again")
            outcomes += [failed(one, stopped) for future, one in pending.items() if future not in begun]
    return outcomes


@contextmanager
def _table_threads(max_workers: int, workers: Workers) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers, "table") as threads:
        try:
            yield threads
        except BaseException:
            workers.stopping.set()
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _one(one: TablePlan, runner: TableRunner) -> TableResult:
    """One table, tried again where that may help; and if it fails, its failure."""
    context, started_at, clock = runner.context, datetime.now(UTC), time.monotonic()
    attempts = 0

    def attempt(number: int) -> TableResult:
        nonlocal attempts
        attempts = number + 1
        return replan_and_retry(one, runner) if number else _load(one, runner)

    def wait(error: ArrowetlError, seconds: float) -> bool:
        context.on_event(TableRetried(one.name, attempts, seconds, error.message))
        return not context.workers.stopping.wait(seconds)

    def with_attempts(outcome: Outcome) -> Outcome:
        began, by = outcome.started_at or started_at, _worker() if outcome.worker is None else outcome.worker
        return replace(outcome, attempts=max(attempts, outcome.attempts), started_at=began, worker=by)

    try:
        result = runner.retries.call(attempt, wait)
        if isinstance(result, StagedTable):
            return replace(result, outcome=with_attempts(result.outcome))
        result = with_attempts(result)
        context.ledger.history(context.route.run_id, result)
        return result
    except Exception as error:
        outcome = failed(one, as_arrowetl_error(one.name, error), time.monotonic() - clock)
    return recorded_failure(with_attempts(outcome), context)


def _worker() -> int | None:
    """Which of the threads that walk tables this is."""
    number = threading.current_thread().name.rpartition("_")[2]
    return int(number) if number.isdigit() else None


def recorded_failure(outcome: Outcome, context: RunContext) -> Outcome:
    """A table's failure, once it was recorded where that can be done."""
    # The target that cannot be written is most likely its cause.
    with suppress(ArrowetlError):
        context.ledger.failed(context.route.run_id, outcome)
    return outcome


def _load(one: TablePlan, runner: TableRunner) -> TableResult:
    with runner.context.workers.tables:
        # The wait for a turn may have been long.
        if runner.context.ledger.locks.lost:
            raise runner.context.ledger.locks.lost
        if runner.context.workers.stopping.is_set():
            raise Interrupted(f"{one.name}: the run was stopped", "run again")
        if not one.reads_replica and one.mode is not Mode.SKIPPED:
            refuse_business_hours(runner.choices, one.name)
        return where_it_can_be(
            lambda one: with_keyless_fallback(lambda one: runner.load(one, runner.context), one), one, runner
        )


def where_it_can_be(act: Callable[[TablePlan], TableResult], one: TablePlan, runner: TableRunner) -> TableResult:
    """
    Load a table; where one target cannot take it, and trying again is of no use, the other is loaded
    alone.

    Raises:
        ArrowetlError: what went wrong; one target may have the table.
    """
    try:
        return act(one)
    except ArrowetlError as error:
        others = [target.name for target in runner.context.servers.targets if target.name != error.target]
        fails_at_one_target = (
            error.target and others and not error.transient and not isinstance(error, LockLostError | Interrupted)
        )
        # What is published together is not published by itself.
        may = runner.load is load_table or others == ["replica"]
        if (
            not fails_at_one_target
            or not may
            or one.reads_replica
            or (one.reload_warehouse_from_replica and others == ["replica"])
        ):
            raise
        # A replica that takes nothing cannot show what changed, nor have what the warehouse is missing.
        rest = sync_mode.with_recreated_replica(one) if others == ["warehouse"] else one
        with suppress(ArrowetlError):
            with_keyless_fallback(lambda one: load_table(one, runner.context), replace(rest, only=others[0]))
            error.message += f"; the {others[0]} has the table as it is now"
        raise


def with_keyless_fallback(act: Callable[[TablePlan], T], one: TablePlan) -> T:
    """
    Load a table; without its key, where the warehouse turns out not to hold that; in full, where the replica
    cannot follow row by row.
    """
    try:
        return act(one)
    except KeyNotHeldError:
        return act(table_plan.warehouse_key_dropped(one))
    except ReplicaBehindError:
        return with_keyless_fallback(act, sync_mode.with_recreated_replica(one))


def replan_and_retry(one: TablePlan, runner: TableRunner) -> TableResult:
    """
    Plan and load a table again: what the attempt before may have done is known only now.

    Raises:
        ArrowetlError: what went wrong this time.
    """
    # The staging by now may be another run's, if the lock was lost with a session.
    runner.context.ledger.locks.require_lock()
    for target in runner.context.servers.targets:
        target.refresh()
    try:
        planned = runner.planned_again(one.name)
    except UsageError as error:
        raise DataExtractionError(
            f"{one.name}: dropped or renamed at the source during the load",
            "run `arrowetl analyze`, which reports what changed",
        ) from error
    for outcome in planned.failed:
        assert outcome.failure is not None
        raise DataError(outcome.failure.message, outcome.failure.remedy)
    (now,) = planned.plans
    if is_up_to_date(now):
        # It had arrived; that was all that could not be said any more.
        return replace(
            skipped(now, planned, datetime.now(UTC)), mode=one.mode, status=Status.SUCCEEDED, verdict="equal"
        )
    states = {**runner.context.states, **planned.states}
    context = replace(runner.context, states=states, compared={})
    return _load(now, replace(runner, context=context))


def is_up_to_date(plan: TablePlan) -> bool:
    return plan.kind is LoadKind.SKIPPED


def skipped(plan: TablePlan, planned: Planned, started_at: datetime) -> Outcome:
    state = planned.states[plan.name]
    return Outcome(
        table=plan.name,
        category=plan.category,
        mode=plan.mode,
        reason=plan.reason,
        reason_code=plan.reason_code,
        status=Status.SKIPPED,
        kind=plan.kind,
        rows_replica=state.replica.rows,
        rows_warehouse=state.warehouse.rows,
        notes=plan.notes,
        started_at=started_at,
    )


def failed(one: TablePlan, error: ArrowetlError, seconds: float = 0.0) -> Outcome:
    """The outcome of a table that failed."""
    return replace(
        failure_of(one.name, one.category, error),
        mode=one.mode,
        reason=one.reason,
        reason_code=one.reason_code,
        seconds=seconds,
        kind=one.kind,
        expected=one.expected,
    )
