"""
All tables of a run switched together: at the warehouse in one transaction, then at the replica one by one.

Until then everything is staged and compared (`load_table.stage_for_warehouse`), and no
reader of the warehouse sees any of it; dbt finds the state of the last run, or of this
one. How tables are switched in one transaction is `merge`'s business.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from arrowetl.errors import (
    ArrowetlError,
    DatabaseConnectionError,
    Interrupted,
    LockLostError,
    OutOfStepError,
    StagingLostError,
    WithheldError,
    as_arrowetl_error,
)
from arrowetl.model.events import TableEnded, TableRetried
from arrowetl.model.humanize import listed
from arrowetl.model.result import Outcome, Published, Status
from arrowetl.pipeline.load_table import StagedTable, discard, staged_from_replica, switch, switch_or_discard
from arrowetl.pipeline.load_tables import (
    TableResult,
    TableRunner,
    failed,
    recorded_failure,
    replan_and_retry,
    with_keyless_fallback,
)
from arrowetl.pipeline.retry import Retries
from arrowetl.pipeline.table_record import switched_outcome
from arrowetl.warehouse.merge import JointCutover, TableCutover
from arrowetl.workers.pool import RunContext


def publish(
    results: Sequence[TableResult], runner: TableRunner, max_workers: int, strict: bool, unplanned: Iterable[str] = ()
) -> tuple[list[Outcome], Published | None]:
    """
    Switch the tables that are ready.

    Args:
        runner: which staged them, and may do so again.
        strict: whether nothing is published where a table failed.
        unplanned: tables that failed before anything was done with them.

    Returns:
        What came of all tables, none of which raises; and what was published, None where nothing was.
    """
    ended = [one for one in results if isinstance(one, Outcome)]
    waiting = {one.plan.name: one for one in results if isinstance(one, StagedTable)}
    wrong = [*unplanned, *(one.table for one in ended if one.status is Status.FAILED)]
    if runner.context.workers.stopping.is_set():
        return [*ended, *(_failed(one, _STOPPED, keeps=True) for one in waiting.values())], None
    if not waiting or (strict and wrong):
        return [*ended, *_withheld(waiting, wrong)], None
    joint = _Joint(waiting, runner, strict)
    given_up = joint.publish()
    found, wrong = joint.found, [*wrong, *joint.failed]
    ended += [*joint.ended, *(_failed(one, error) for one, error in joint.failed.values())]
    if given_up:
        # A server that is down is not waited for again for each of hundreds of tables; the next run cleans up.
        away = isinstance(given_up, DatabaseConnectionError)
        return [*ended, *(_failed(one, given_up, keeps=True, unreachable=away) for one in waiting.values())], None
    if not found.published:
        return [*ended, *_withheld(waiting, wrong)], None
    done = [_published(one, found) for one in waiting.values()]
    alone = [one for one in done if not one.others]
    for one in alone:
        runner.context.ledger.history(runner.context.route.run_id, one.outcome)
        runner.context.on_event(TableEnded(one.outcome))
    rest = _at_the_replica([one for one in done if one.others], runner, max_workers)
    return [*ended, *(one.outcome for one in alone), *rest], Published(len(done), found.seconds) if done else None


class _Joint:
    """
    One transaction at the warehouse, tried again where that may help.

    A table that turns out to lag behind, or whose staging was lost, is staged
    again before; those that fail are taken out of `waiting`.
    """

    def __init__(self, waiting: dict[str, StagedTable], runner: TableRunner, strict: bool) -> None:
        self.waiting, self.found = waiting, JointCutover(runner.context.route.run_id)
        self.ended: list[Outcome] = []
        """Tables that had arrived by another method."""
        self.failed: dict[str, tuple[StagedTable, ArrowetlError]] = {}
        self._runner, self._strict = runner, strict
        self._warehouse, self._followed = runner.context.servers.warehouse, set[str]()
        self._unstaged = set[str]()
        """Tables whose staging was given up, and is to be made again before they are switched."""
        # What staging has given up may have come back.
        self._retries = Retries(runner.retries.most, runner.retries.seconds)

    def publish(self) -> ArrowetlError | None:
        """
        Returns:
            Why it was given up, where nothing is known to be published; else None: `found` has what came of it.
        """
        try:
            self._retries.call(self._attempt, self._wait)
            error: ArrowetlError | None = None
        except KeyboardInterrupt:
            self._runner.context.workers.stopping.set()
            error = _STOPPED
        except ArrowetlError as lost:
            error = lost
        if error:
            # Where no server can be asked, the next run finds out.
            with suppress(ArrowetlError):
                self._ask()
            if not self.found.published:
                return error
        for name, wrong in self.found.errors.items():
            self._fail(name, wrong)
        return None

    def _attempt(self, number: int) -> None:
        if number:
            self._ask()
        if self.found.published:
            return
        is_last = number == self._retries.most

        def accepts(errors: Mapping[str, ArrowetlError]) -> bool:
            may_help = self._to_restage(errors) or (not is_last and any(e.transient for e in errors.values()))
            return not (self._strict or may_help)

        while self.waiting:
            for name in self._unstaged.intersection(self.waiting):
                self._restage(name, None, is_last)
            self._follow(is_last)
            self.found = JointCutover(self.found.run_id)
            if not self.waiting or (self._strict and self.failed):
                return
            self._runner.context.ledger.locks.require_lock()
            switches = [_switch_of(one, self._runner.context) for one in self.waiting.values()]
            self._warehouse.cutover_together(switches, self.found, accepts)
            lost = self._to_restage(self.found.errors)
            if self.found.published or not lost:
                break
            for name in lost:
                self._restage(name, self.found.errors[name], is_last)
        transient = next((error for error in self.found.errors.values() if error.transient), None)
        if transient and not self.found.published and not is_last:
            raise transient

    def _follow(self, is_last: bool) -> None:
        """Columns and types before the rows; once for each table, as it is committed by itself."""
        for name in [name for name in self.waiting if name not in self._followed]:
            ready = self.waiting[name]
            try:
                self.waiting[name] = replace(ready, plan=self._warehouse.follow(ready.plan))
            except Exception as error:
                wrong = as_arrowetl_error(name, error)
                if isinstance(wrong, DatabaseConnectionError | LockLostError) or (wrong.transient and not is_last):
                    raise
                self._fail(name, wrong)
            self._followed.add(name)

    def _to_restage(self, errors: Mapping[str, ArrowetlError]) -> list[str]:
        return [
            name
            for name, error in errors.items()
            if isinstance(error, StagingLostError)
            or (isinstance(error, OutOfStepError) and self.waiting[name].plan.stages_changes_only)
        ]

    def _restage(self, name: str, error: ArrowetlError | None, is_last: bool) -> None:
        """
        From a new plan; or, where it does not suffice what changed, all that the replica has of the table.

        Args:
            error: why; None where that was begun before, and has not come to its end.
        """
        ready = self.waiting[name]
        self._followed.discard(name)
        self._unstaged.add(name)
        try:
            if isinstance(error, OutOfStepError):
                now: TableResult = _from_the_replica(ready)
            else:
                discard(ready.plan, ready.context, keeps=False)
                now = replan_and_retry(ready.plan, self._runner)
        except Exception as failure:
            wrong = as_arrowetl_error(name, failure)
            if wrong.transient and not is_last:
                raise
            self._fail(name, wrong)
            return
        self._unstaged.discard(name)
        if isinstance(now, StagedTable):
            self.waiting[name] = replace(now, outcome=_as_begun(now.outcome, ready.outcome))
        else:
            del self.waiting[name]
            self.ended.append(now)

    def _fail(self, name: str, error: ArrowetlError) -> None:
        self.failed[name] = (self.waiting.pop(name), error)

    def _ask(self) -> None:
        """
        Whether the last transaction was committed, whose answer may have been lost.

        Raises:
            DatabaseError: the warehouse cannot be asked, and so nothing more be tried.
        """
        if not self.found.published and self.found.changes:
            self.found.published = self._runner.context.ledger.has_published(self.found.run_id, self.found.token)

    def _wait(self, error: ArrowetlError, seconds: float) -> bool:
        context = self._runner.context
        if isinstance(error, DatabaseConnectionError):
            # What broke this one may have broken those that wait for their next use.
            for pool in context.servers.pools():
                pool.close()
        # One report for all.
        if name := next(iter(self.found.errors or self.waiting), ""):
            context.on_event(TableRetried(name, 1, seconds, error.message))
        return not context.workers.stopping.wait(seconds)


_STOPPED = Interrupted("the run was stopped before anything was published", "run again")


def _switch_of(ready: StagedTable, context: RunContext) -> TableCutover:
    recorded = context.ledger.recording("warehouse", ready.entry)
    return TableCutover(ready.plan, ready.staged, ready.comments, recorded)


def _from_the_replica(ready: StagedTable) -> StagedTable:
    """All of a table, from a replica that was switched before."""
    ready.context.servers.warehouse.discard(ready.plan)
    first = switch_or_discard(replace(ready, targets=ready.others))
    return with_keyless_fallback(lambda plan: staged_from_replica(plan, ready.context, ready.entry, first), ready.plan)


def _as_begun(now: Outcome, before: Outcome) -> Outcome:
    return replace(now, attempts=before.attempts + 1, started_at=before.started_at, worker=before.worker)


def _published(ready: StagedTable, found: JointCutover) -> StagedTable:
    changes = {"warehouse": found.changes[ready.plan.name]}
    return replace(ready, outcome=switched_outcome(ready.outcome, ready.plan, ready.staged, changes, 0.0))


def _at_the_replica(published: Sequence[StagedTable], runner: TableRunner, max_workers: int) -> list[Outcome]:
    """Switch at the other target too, even if the run is asked to stop: it takes seconds, and completes the run."""
    outcomes = []
    with ThreadPoolExecutor(max_workers, "replica") as threads:
        for future in [threads.submit(_other_target, one, runner) for one in published]:
            while True:
                try:
                    outcomes.append(future.result())
                    break
                except KeyboardInterrupt:
                    runner.context.workers.stopping.set()
    return outcomes


def _other_target(ready: StagedTable, runner: TableRunner) -> Outcome:
    """A table's replica, with what is staged; what may pass by itself is tried again."""
    context, attempts = runner.context, 0

    def attempt(number: int) -> Outcome:
        nonlocal attempts
        attempts = number
        if number and ready.staged and context.ledger.replica_version(ready.plan.name) == ready.entry.version:
            # It had arrived; that was all that could not be said any more.
            return replace(ready.outcome, rows_replica=ready.staged.expected)
        return switch(ready, ready.others)

    def wait(error: ArrowetlError, seconds: float) -> bool:
        context.on_event(TableRetried(ready.plan.name, attempts + 1, seconds, error.message))
        time.sleep(seconds)
        return True

    try:
        outcome = Retries(runner.retries.most, runner.retries.seconds).call(attempt, wait)
    except Exception as error:
        return _failed(ready, as_arrowetl_error(ready.plan.name, error), published=True)
    outcome = replace(outcome, attempts=outcome.attempts + attempts)
    context.ledger.history(context.route.run_id, outcome)
    context.on_event(TableEnded(outcome))
    return outcome


def _withheld(waiting: Mapping[str, StagedTable], wrong: Sequence[str]) -> list[Outcome]:
    error = WithheldError(
        f"staged and compared, and withheld: --strict publishes nothing where a table failed ({listed(wrong, _NAMED)})",
        "mend what failed, or leave out --strict, and run again",
    )
    return [_failed(one, error, keeps=True) for one in waiting.values()]


_NAMED = 3
"""Tables that are named for others; each is reported by itself."""


def _failed(
    ready: StagedTable, error: ArrowetlError, keeps: bool = False, unreachable: bool = False, published: bool = False
) -> Outcome:
    """
    A table that stays as it was; or at the replica alone, where it is published.

    Args:
        keeps: what the next run can go on with.
        unreachable: whether the targets can be neither cleaned nor written.
    """
    before = ready.outcome
    outcome = replace(
        failed(ready.plan, error, before.seconds),
        attempts=before.attempts,
        started_at=before.started_at,
        worker=before.worker,
        phases=before.phases,
    )
    if published:
        note = "published at the warehouse; the replica has what it had"
        outcome = replace(outcome, rows_warehouse=before.rows_warehouse, changes=before.changes, notes=(note,))
    if not unreachable:
        discard(ready.plan, ready.context, keeps)
        recorded_failure(outcome, ready.context)
    ready.context.on_event(TableEnded(outcome))
    return outcome
