"""
How one table is loaded, in the order of the steps: `load_table` is all of it.

`stage` loads its rows into staging at the targets and compares them: read it first.
`switch` cuts over, at each target in one transaction with its record: nothing a
reader can see changes before, and a run killed at any instant is repaired by
running again. `publish_together` switches many tables at once; `load_tables` walks them
through here, `workers` run the partitions, `find_changes` finds what differs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

from arrowetl import limits
from arrowetl.checksums import groups
from arrowetl.errors import (
    ArrowetlError,
    DatabaseConnectionError,
    DataLoadingError,
    Interrupted,
    OutOfStepError,
    VerificationError,
    at,
)
from arrowetl.model.events import PartitionLoaded, TableStarted
from arrowetl.model.plan import LoadKind, Partition, TablePlan
from arrowetl.model.result import Outcome, PartitionOutcome, StagedCounts
from arrowetl.model.state import RangesToRepair, SourceStats
from arrowetl.pipeline import adjust_plan, replica_state, resume
from arrowetl.pipeline.load_partition import ingest, targets_of
from arrowetl.pipeline.strategies import next_partition_rows, strategy_of
from arrowetl.pipeline.table_record import (
    all_coercions,
    coerced,
    entry_of,
    recorded_entry,
    staged_outcome,
    switched_outcome,
)
from arrowetl.planning import evidence, partitioning, sync_mode
from arrowetl.replica import replica_sql, spill
from arrowetl.source.reader import Source
from arrowetl.state.state_sql import Entry
from arrowetl.workers.jobs import Job, Target, servers_of
from arrowetl.workers.pool import RunContext


@dataclass(frozen=True)
class StagedTable:
    """A table that is staged and compared: no reader sees anything of it yet."""

    plan: TablePlan
    context: RunContext
    staged: StagedCounts
    entry: Entry
    comments: Mapping[str, str]
    targets: tuple[Target, ...]
    """Where it is to be switched."""
    outcome: Outcome
    """Its outcome, once it is switched."""

    @property
    def others(self) -> tuple[Target, ...]:
        """Those of its targets that are not the warehouse."""
        return tuple(target for target in self.targets if target.name != "warehouse")


def load_table(plan: TablePlan, context: RunContext) -> Outcome:
    """
    Load one table: from the source, and where the warehouse lags behind, or turns out to, from the replica.

    A failure before the cutovers leaves both targets as they were. A failure
    between them leaves one target a version ahead of the other; two servers
    share no transaction, so the next run closes the gap.

    Raises:
        ArrowetlError: what went wrong; staging is dropped, the published tables are unchanged.
    """
    ready = stage_for_warehouse(plan, context)
    outcome = switch_or_discard(ready)
    if outcome.rows_warehouse is None and "warehouse" in context.route.targets and not plan.only:
        outcome = switch_or_discard(staged_from_replica(plan, context, ready.entry, outcome))
    return outcome


def stage_for_warehouse(plan: TablePlan, context: RunContext) -> StagedTable:
    """
    All of it but what the warehouse's readers see. May switch the replica: where the warehouse is to be loaded from it.
    """
    if plan.kind in (LoadKind.FROM_REPLICA, LoadKind.CATCHING_UP):
        return staged_from_replica(plan, context, recorded_entry(plan, context))
    ready = stage(plan, context)
    if "warehouse" in context.route.targets and ready.targets == ready.others and not plan.only:
        return staged_from_replica(plan, context, ready.entry, switch_or_discard(ready))
    return ready


def staged_from_replica(
    plan: TablePlan, context: RunContext, entry: Entry, first: Outcome | None = None
) -> StagedTable:
    """
    Everything that the replica has of a table, for the warehouse.

    Args:
        entry: what is recorded of the replica.
        first: what came of the table there.
    """
    route = context.route.from_replica
    later = sync_mode.with_reload_from_replica(plan)
    ready = stage(later, replace(context, route=route, servers=servers_of(route)), entry)
    return replace(ready, outcome=first.followed_by(ready.outcome)) if first else ready


def stage(plan: TablePlan, context: RunContext, known: Entry | None = None) -> StagedTable:
    """
    Load one table into staging at the targets, all of it or what changed, and compare it.

    Args:
        known: what is recorded of the replica, where that is read.

    Raises:
        ArrowetlError: what went wrong; staging is dropped, the published tables are unchanged.
    """
    source, started_at, clock = context.servers.source, datetime.now(UTC), time.monotonic()

    with _staging_discarded_on_failure(plan, context), ExitStack() as asking:
        compared = context.compared.get(plan.name) if plan.kind is LoadKind.PROOF else None
        before = compared.reading if compared else source.reading(plan)
        adjust_plan.refuse_another(plan, before, known)
        max_watermark = asking.enter_context(_max_watermark(plan, source, before, compared))
        plan, results = adjust_plan.adjusted(plan, context, before, max_watermark)
        targets, counts, seconds_finishing = targets_of(plan, context.servers), dict[str, int](), 0.0
        if not results:
            plan, results, counts, seconds_finishing = fill_staging(plan, targets, context, before.rows, compared)
        plan = replace(plan, at_replica=replica_state.shape_at_replica(plan, targets))
        staged = sum_partitions(results, compared.rows_equal if compared else 0)
        settled = compare(plan, staged, counts, before, source.reading(plan))
        coercions, comments = coerced(plan, results, context)
        began = compared.began if compared else started_at
        entry = known or entry_of(plan, staged, context, max_watermark(), before if settled else None, began)
        entry = replace(entry, rows=staged.expected, coerced=all_coercions(plan, coercions, context))

    if not staged and not plan.reload_warehouse_from_replica:
        # They are up to date already, and their records say so from now on.
        targets = tuple(target for target in context.servers.targets if plan.only in ("", target.name))
    outcome = staged_outcome(plan, results, coercions, settled, started_at, time.monotonic() - clock, seconds_finishing)
    return StagedTable(
        plan=plan, context=context, staged=staged, entry=entry, comments=comments, targets=targets, outcome=outcome
    )


@contextmanager
def _max_watermark(
    plan: TablePlan, source: Source, before: SourceStats, compared: RangesToRepair | None
) -> Iterator[Callable[[], str | None]]:
    """
    The watermark that the load reaches: asked of the source now, before a row is read, and answered when it is needed.

    Without an index the source reads every row to answer. A large table is loaded meanwhile: what changes in the
    instant between question and first row is within the overlap.
    """
    if compared:
        # What was read since the comparison began may have timestamps beyond what it found.
        yield lambda: compared.watermark
    elif plan.watermark is None or before.rows < limits.watermark_meanwhile_rows_min:
        known = source.max_watermark(plan, before)
        yield lambda: known
    else:
        with ThreadPoolExecutor(1) as meanwhile:
            yield meanwhile.submit(source.max_watermark, plan, before).result


def fill_staging(
    plan: TablePlan, targets: Sequence[Target], context: RunContext, rows: int, compared: RangesToRepair | None
) -> tuple[TablePlan, list[PartitionOutcome], dict[str, int], float]:
    """
    Read what a stopped run has not staged already, load it into staging at every target, and build the indexes there.

    Args:
        rows: of the table at the source.
        compared: what a comparison has just found: only that is read.

    Returns:
        The plan with the targets' notes; what came of the partitions; the rows that each target counts in a staging
        table that is to have all of them; and the seconds in which staging was completed, added up.
    """
    attempt = uuid4().hex if context.workers.may_be_lost else None
    held = resume.held(plan, targets, context.servers.source, servers_of(context.route.from_replica).source)
    kept = [part for part, _ in held]
    for target in targets:
        with at(target.name):
            plan = replace(plan, notes=(*plan.notes, *target.prepare(plan, kept, attempt)))
    left = [(part.lower, part.upper) for part in compared.differing] if compared else partitioning.gaps(kept)
    partitions = partitions_of(plan, context, left, rows, attempt)
    results = resume.outcomes(held) + load_partitions(plan, partitions, context, attempt)
    if then := strategy_of(plan).then:
        results += load_partitions(plan, then(plan, context), context, attempt)
    close_attempt(plan, targets, results, attempt)
    return plan, *complete_staging(plan, targets, results, context)


def partitions_of(
    plan: TablePlan, context: RunContext, left: Sequence[tuple[int | None, int | None]], rows: int, attempt: str | None
) -> Iterable[Partition]:
    """
    What is to be read of a table of so many rows, between the bounds that are left.

    Args:
        attempt: of this load of the table, where jobs can be lost and go on unnoticed.
    """
    # A table without rows is not read: what came meanwhile is seen by the second look.
    if not rows and not plan.stages_changes_only:
        return ()
    # What may be loaded a second time is deleted by its range, and a slice has none.
    if attempt and not partitioning.can_be_split(plan.table):
        return (Partition(0, None, None, rows=rows),)
    return strategy_of(plan).partitions(plan, context, left)


def load_partitions(
    plan: TablePlan, partitions: Iterable[Partition], context: RunContext, attempt: str | None = None
) -> list[PartitionOutcome]:
    """
    Load every partition of a table, several at a time.

    Args:
        attempt: of this load of the table, where jobs can be lost and go on unnoticed.
    """
    results = []
    if attempt or (plan.is_partitioned and plan.stages_all_rows):
        partitions = (replace(part, resume_token=uuid4().hex, attempt=attempt) for part in partitions)
    may_defer_ingest = can_defer_ingest(plan, context) and not attempt
    jobs = (Job(context.route, plan, replace(part, may_defer_ingest=may_defer_ingest)) for part in partitions)
    context.on_event(TableStarted(plan.name, max(1, -(-plan.table.rows // next_partition_rows(plan, context)))))
    with closing(context.workers.each(strategy_of(plan).load_partition, plan, jobs)) as outcomes:
        for outcome in outcomes:
            context.on_event(PartitionLoaded(plan.name, outcome.rows, outcome.bytes))
            results.append(outcome)
    return results


def can_defer_ingest(plan: TablePlan, context: RunContext) -> bool:
    """Whether the warehouse may be given rows while the replica builds the table's indexes, if disk space allows."""
    builds_indexes = replica_sql.add_indexes("", plan.name, plan) is not None
    both = len(targets_of(plan, context.servers)) > 1
    return plan.stages_all_rows and plan.is_partitioned and builds_indexes and both


def close_attempt(
    plan: TablePlan, targets: Sequence[Target], results: Sequence[PartitionOutcome], attempt: str | None
) -> None:
    """
    Where jobs can be lost: let none of them load anything any more, and check that only known jobs loaded what is
    there.

    Raises:
        DataLoadingError: other jobs loaded some.
    """
    loaded = {part.resume_token: part.execution for one in results if (part := one.part)}
    for target in targets if attempt else ():
        there = target.close_attempt(plan, attempt or "")
        if others := sum(there.get(resume_token or "") != execution for resume_token, execution in loaded.items()):
            raise DataLoadingError(
                f"{plan.name}: a job that had been given up loaded {others} partitions at the {target.name}; "
                "nothing was cut over",
                "run again",
                transient=True,
            )


def complete_staging(
    plan: TablePlan, targets: Sequence[Target], results: Sequence[PartitionOutcome], context: RunContext
) -> tuple[list[PartitionOutcome], dict[str, int], float]:
    """
    What is done once all rows are staged, at all targets at once; the last one is first given the deferred rows.

    Returns:
        What was loaded; the rows that each target counts in a staging table that is to have all of them; and the
        seconds in which staging was completed, added up.
    """
    waited = [part.deferred for part in results if part.deferred]
    jobs = [Job(context.route, one.plan, one.part, one.path) for one in waited]
    # The indexes are what takes longest: where there are two cores, they are to have one for themselves.
    most = max(1, (os.cpu_count() or 1) - 1)
    while_indexing = replace(plan, workers=min(plan.workers or most, most))
    *others, last = targets
    with ThreadPoolExecutor(1) as background:
        finishing = [background.submit(complete_target, plan, target) for target in others]
        ingested = list(context.workers.each(ingest, while_indexing, jobs))
        done = [complete_target(plan, last), *(one.result() for one in finishing)]
    counts = {target: rows for counted, _ in done for target, rows in counted.items()}
    return [*(replace(part, deferred=None) for part in results), *ingested], counts, sum(seconds for _, seconds in done)


def complete_target(plan: TablePlan, target: Target) -> tuple[dict[str, int], float]:
    """One target's part of it, and how long it took."""
    began = time.monotonic()
    with at(target.name):
        target.build_indexes(plan)
    return {} if plan.stages_changes_only else {target.name: target.count(plan)}, time.monotonic() - began


def sum_partitions(results: Sequence[PartitionOutcome], equal: int) -> StagedCounts:
    """
    What all partitions staged, and how many rows the published tables are to have.

    Args:
        equal: rows in no partition, since they were found equal before.
    """
    return StagedCounts(
        sum(one.staged for one in results),
        sum(one.rows_deleted for one in results),
        sum(one.rows_in_source for one in results) + equal,
    )


def compare(
    plan: TablePlan, staged: StagedCounts, counts: Mapping[str, int], before: SourceStats, after: SourceStats
) -> bool | None:
    """
    The rows read against the rows staged, as the targets count them, and the rows the source has.

    Returns:
        Whether the source did not change meanwhile: True, False, or None where that cannot be known.

    Raises:
        VerificationError: rows are missing or too many.
    """
    if wrong := groups.miscounted(staged.rows, counts):
        raise VerificationError(f"{plan.name}: {wrong}; nothing was cut over", "run again")
    if not evidence.is_unchanged(before, after):
        if plan.reads_replica:
            raise VerificationError(
                f"{plan.name}: somebody changed the replica's table while it was read; nothing was cut over",
                "run again",
            )
        return False
    if staged.expected != before.rows:
        if evidence.may_have_changed_unnoticed(before, after, staged.expected):
            return False
        raise VerificationError(
            f"{plan.name}: the source counts {before.rows:,} rows, {staged.expected:,} were found; "
            "nothing was cut over",
            "run again; if it stays, check the table at the source (CHECK TABLE)",
        )
    return evidence.settled(before, after)


def switch(ready: StagedTable, targets: Sequence[Target] | None = None) -> Outcome:
    """
    Cut over, recorded in the same transaction.

    Args:
        targets: by default all that it is to be switched at.

    Returns:
        What came of it; without the warehouse's rows, where that has to be reloaded from the replica.

    Raises:
        ArrowetlError: some target refused; what is staged is still there.
    """
    plan, began = ready.plan, time.monotonic()
    changes = {}
    # The warehouse first: it is the one where others have a say, and may refuse.
    for target in reversed(ready.targets if targets is None else targets):
        recorded = ready.context.ledger.recording(target.name, ready.entry)
        ready.context.ledger.locks.require_lock(limits.lock_trusted_seconds)
        try:
            with at(target.name):
                changes[target.name] = target.cutover(plan, ready.staged, ready.comments, recorded)
        except OutOfStepError:
            if not plan.stages_changes_only:
                raise
            # Not in `changes`: it is loaded from the replica, then.
            target.discard(plan)
    return switched_outcome(ready.outcome, plan, ready.staged, changes, time.monotonic() - began)


def switch_or_discard(ready: StagedTable) -> Outcome:
    """The same; of a table that failed nothing is left staged."""
    with _staging_discarded_on_failure(ready.plan, ready.context):
        return switch(ready)


@contextmanager
def _staging_discarded_on_failure(plan: TablePlan, context: RunContext) -> Iterator[None]:
    """Nothing staged is left of a table that failed, but for what the next run can go on with."""
    try:
        yield
    except BaseException as error:
        discard(plan, context, keeps=isinstance(error, Interrupted | DatabaseConnectionError | KeyboardInterrupt))
        if isinstance(error, ArrowetlError) and not isinstance(error, Interrupted | DatabaseConnectionError):
            # Another run, which found the lock free, sweeps up what is staged: that is what went wrong, then.
            context.ledger.locks.require_lock()
        raise


def discard(plan: TablePlan, context: RunContext, keeps: bool) -> None:
    """
    Leave nothing staged of a table.

    Args:
        keeps: except what the next run will resume: this one was stopped, or a server was lost.
    """
    if not (keeps and plan.stages_all_rows and plan.is_partitioned):
        for target in context.servers.targets:
            # The first error is the one to report; what cannot be dropped now, the next run drops.
            with suppress(ArrowetlError):
                target.discard(plan)
    if context.route.spill_directory:
        spill.drop(context.route.spill_directory, plan.name)
