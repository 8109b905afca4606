"""
The journey of one table, in the order it is made: `carry_table` is the whole of it.

`stage` brings its rows to staging at the ends and compares them: read it first.
`switch` cuts over, at each end in one transaction with its record: nothing a
reader can see changes before, and a run killed at any instant is repaired by
running again. `publish_together` switches many tables at once; `load_tables` walks them
through here, `workers` lends hands, `find_changes` finds what differs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
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
from arrowetl.model.events import PartitionCarried, TableStarted
from arrowetl.model.plan import LoadKind, Partition, TablePlan
from arrowetl.model.result import Outcome, PartitionOutcome, Staged
from arrowetl.model.state import Reading
from arrowetl.pipeline import adjust_plan, replica_state, resume
from arrowetl.pipeline.load_partition import ends_of, ingest
from arrowetl.pipeline.strategies import rows_of_the_next, strategy_of
from arrowetl.pipeline.table_record import (
    coerced,
    entry_of,
    recorded_entry,
    remembered_with,
    staged_outcome,
    switched_outcome,
)
from arrowetl.planning import evidence, partitioning, sync_mode
from arrowetl.replica import replica_sql, spill
from arrowetl.state.state_sql import Entry
from arrowetl.workers.jobs import End, Job, servers_of
from arrowetl.workers.pool import Shared


@dataclass(frozen=True)
class Ready:
    """A table that is staged and compared: no reader sees anything of it yet."""

    plan: TablePlan
    shared: Shared
    staged: Staged
    entry: Entry
    comments: Mapping[str, str]
    ends: tuple[End, ...]
    """Where it is to be switched."""
    outcome: Outcome
    """What is to be told of it then."""

    @property
    def others(self) -> tuple[End, ...]:
        """Those of its ends that are not the warehouse."""
        return tuple(end for end in self.ends if end.name != "warehouse")


def carry_table(plan: TablePlan, shared: Shared) -> Outcome:
    """
    One table's whole night: from the source, and where the warehouse was behind, or turns out to be, from the replica.

    A failure before the cutovers leaves both ends as they were. A failure
    between them leaves one end a version ahead of the other; two servers
    share no transaction, so the next run closes the gap.

    Raises:
        ArrowetlError: what went wrong; staging is gone, the published tables stand.
    """
    ready = stage_table(plan, shared)
    outcome = switch_or_discard(ready)
    if outcome.rows_warehouse is None and "warehouse" in shared.route.ends and not plan.only:
        outcome = switch_or_discard(staged_from_replica(plan, shared, ready.entry, outcome))
    return outcome


def stage_table(plan: TablePlan, shared: Shared) -> Ready:
    """
    All of it but the moment that the warehouse's readers see: a replica that the warehouse is to catch up with is
    switched before.
    """
    if plan.kind in (LoadKind.FROM_REPLICA, LoadKind.CATCHING_UP):
        return staged_from_replica(plan, shared, recorded_entry(plan, shared))
    ready = stage(plan, shared)
    if "warehouse" in shared.route.ends and ready.ends == ready.others and not plan.only:
        return staged_from_replica(plan, shared, ready.entry, switch_or_discard(ready))
    return ready


def staged_from_replica(plan: TablePlan, shared: Shared, entry: Entry, first: Outcome | None = None) -> Ready:
    """
    Everything that the replica has of a table, for the warehouse.

    Args:
        entry: what is recorded of the replica.
        first: what came of the table there.
    """
    route = shared.route.from_replica
    later = sync_mode.all_from_the_replica(plan)
    ready = stage(later, replace(shared, route=route, servers=servers_of(route)), entry)
    return replace(ready, outcome=first.followed_by(ready.outcome)) if first else ready


def stage(plan: TablePlan, shared: Shared, known: Entry | None = None) -> Ready:
    """
    Bring one table to staging at the ends, all of it or what changed, and compare it.

    Args:
        known: what is recorded of the replica, where that is read.

    Raises:
        ArrowetlError: what went wrong; staging is gone, the published tables stand.
    """
    source, started_at, clock = shared.servers.source, datetime.now(UTC), time.monotonic()

    with _staging_discarded_on_failure(plan, shared):
        compared = shared.compared.get(plan.name) if plan.kind is LoadKind.PROOF else None
        before = compared.reading if compared else source.reading(plan)
        adjust_plan.refuse_another(plan, before, known)
        # What was read since the comparison began may have stamps that lie beyond what it found.
        high = compared.watermark if compared else source.high(plan, before)
        plan, carried = adjust_plan.adjusted(plan, shared, before, high)
        ends, counts, finishing = ends_of(plan, shared.servers), dict[str, int](), 0.0
        attempt = uuid4().hex if shared.workers.may_be_lost else None

        if not carried:
            held = resume.held(plan, ends, source, servers_of(shared.route.from_replica).source)
            kept = [part for part, _ in held]
            for end in ends:
                with at(end.name):
                    plan = replace(plan, notes=(*plan.notes, *end.prepare(plan, kept, attempt)))
            left = [(part.lower, part.upper) for part in compared.differing] if compared else partitioning.gaps(kept)
            partitions = partitions_of(plan, shared, left, before.rows, attempt)
            carried = resume.outcomes(held) + carry_all(plan, partitions, shared, attempt)
            if then := strategy_of(plan).then:
                carried += carry_all(plan, then(plan, shared), shared, attempt)
            seal(plan, ends, carried, attempt)
            carried, counts, finishing = finish(plan, ends, carried, shared)

        plan = replace(plan, at_replica=replica_state.shape_at_replica(plan, ends))
        staged = together(carried, compared.rows_equal if compared else 0)
        settled = compare(plan, staged, counts, before, source.reading(plan))
        coercions, comments = coerced(plan, carried, shared)
        began = compared.began if compared else started_at
        entry = known or entry_of(plan, staged, shared, high, before if settled else None, began)
        entry = replace(entry, rows=staged.expected, coerced=remembered_with(plan, coercions, shared))

    if not staged and not plan.catches_up:
        # They have what they are to have, and are told so.
        ends = tuple(end for end in shared.servers.ends if plan.only in ("", end.name))
    outcome = staged_outcome(plan, carried, coercions, settled, started_at, time.monotonic() - clock, finishing)
    return Ready(plan=plan, shared=shared, staged=staged, entry=entry, comments=comments, ends=ends, outcome=outcome)


def partitions_of(
    plan: TablePlan, shared: Shared, left: Sequence[tuple[int | None, int | None]], rows: int, attempt: str | None
) -> Iterable[Partition]:
    """
    What is to be read of a table of so many rows, between the bounds that are left.

    Args:
        attempt: of the table's being carried, where jobs can be lost and go on unseen.
    """
    # Nothing is asked of a table without rows: what came meanwhile is seen by the second reading.
    if not rows and not plan.is_delta:
        return ()
    # What may be brought a second time is taken out by its range, and a piece has none.
    if attempt and not partitioning.can_be_split(plan.table):
        return (Partition(0, None, None, rows=rows),)
    return strategy_of(plan).partitions(plan, shared, left)


def carry_all(
    plan: TablePlan, partitions: Iterable[Partition], shared: Shared, attempt: str | None = None
) -> list[PartitionOutcome]:
    """
    Every partition of a table, several at a time.

    Args:
        attempt: of the table's being carried, where jobs can be lost and go on unseen.
    """
    carried = []
    if attempt or (plan.is_split and plan.is_whole):
        partitions = (replace(part, token=uuid4().hex, attempt=attempt) for part in partitions)
    waits = may_wait(plan, shared) and not attempt
    jobs = (Job(shared.route, plan, replace(part, waits=waits)) for part in partitions)
    shared.tell(TableStarted(plan.name, max(1, -(-plan.table.rows // rows_of_the_next(plan, shared)))))
    with closing(shared.workers.each(strategy_of(plan).load_partition, plan, jobs)) as outcomes:
        for outcome in outcomes:
            shared.tell(PartitionCarried(plan.name, outcome.rows, outcome.bytes))
            carried.append(outcome)
    return carried


def may_wait(plan: TablePlan, shared: Shared) -> bool:
    """Whether the warehouse may be given rows while the replica builds the table's indexes, where there is room."""
    builds_indexes = replica_sql.add_indexes("", plan.name, plan) is not None
    both = len(ends_of(plan, shared.servers)) > 1
    return plan.is_whole and plan.is_split and builds_indexes and both


def seal(plan: TablePlan, ends: Sequence[End], carried: Sequence[PartitionOutcome], attempt: str | None) -> None:
    """
    Where jobs can be lost: let none of them bring anything any more, and see that what is there was brought by those
    that are known of.

    Raises:
        DataLoadingError: some was brought by others.
    """
    brought = {part.token: part.execution for one in carried if (part := one.part)}
    for end in ends if attempt else ():
        there = end.seal(plan, attempt or "")
        if others := sum(there.get(token or "") != execution for token, execution in brought.items()):
            raise DataLoadingError(
                f"{plan.name}: {others} partitions were brought to the {end.name} by a job that had been given up; "
                "nothing was cut over",
                "run again",
                transient=True,
            )


def finish(
    plan: TablePlan, ends: Sequence[End], carried: Sequence[PartitionOutcome], shared: Shared
) -> tuple[list[PartitionOutcome], dict[str, int], float]:
    """
    What is done once all rows are staged, at all ends at once; the last one is first given those that waited for it.

    Returns:
        What was carried; the rows that each end counts in a staging table that is to have all of them; and the seconds
        in which the ends were finished, added up.
    """
    waited = [part.waiting for part in carried if part.waiting]
    jobs = [Job(shared.route, one.plan, one.part, one.path) for one in waited]
    # The indexes are what takes longest: where there are two cores, they are to have one for themselves.
    most = max(1, (os.cpu_count() or 1) - 1)
    beside_indexes = replace(plan, workers=min(plan.workers or most, most))
    *others, last = ends
    with ThreadPoolExecutor(1) as beside:
        finishing = [beside.submit(finished, plan, end) for end in others]
        ingested = list(shared.workers.each(ingest, beside_indexes, jobs))
        done = [finished(plan, last), *(one.result() for one in finishing)]
    counts = {end: rows for counted, _ in done for end, rows in counted.items()}
    return [*(replace(part, waiting=None) for part in carried), *ingested], counts, sum(seconds for _, seconds in done)


def finished(plan: TablePlan, end: End) -> tuple[dict[str, int], float]:
    """One end's part of it, and how long it took."""
    began = time.monotonic()
    with at(end.name):
        end.finish(plan)
    return {} if plan.is_delta else {end.name: end.count(plan)}, time.monotonic() - began


def together(carried: Sequence[PartitionOutcome], equal: int) -> Staged:
    """
    What all partitions staged, and how many rows the published tables are to have.

    Args:
        equal: rows that stand in no partition, since they were found equal before.
    """
    rows, gone, standing = (sum(getattr(part, what) for part in carried) for what in ("staged", "gone", "standing"))
    return Staged(rows, gone, standing + equal)


def compare(plan: TablePlan, staged: Staged, counts: Mapping[str, int], before: Reading, after: Reading) -> bool | None:
    """
    The rows read against the rows staged, as the ends count them, and the rows the source has.

    Returns:
        Whether the source stood still meanwhile: True, False, or None where it cannot tell.

    Raises:
        VerificationError: rows are missing or too many.
    """
    if wrong := groups.miscounted(staged.rows, counts):
        raise VerificationError(f"{plan.name}: {wrong}; nothing was cut over", "run again")
    if not evidence.stood_still(before, after):
        if plan.reads_replica:
            raise VerificationError(
                f"{plan.name}: somebody changed the replica's table while it was read; nothing was cut over",
                "run again",
            )
        return False
    if staged.expected != before.rows:
        if evidence.moved_unseen(before, after, staged.expected):
            return False
        raise VerificationError(
            f"{plan.name}: the source counts {before.rows:,} rows, {staged.expected:,} were found; "
            "nothing was cut over",
            "run again; if it stays, check the table at the source (CHECK TABLE)",
        )
    return evidence.settled(before, after)


def switch(ready: Ready, ends: Sequence[End] | None = None) -> Outcome:
    """
    Cut over, recorded in the same transaction.

    Args:
        ends: by default all that it is to be switched at.

    Returns:
        What came of it; without the warehouse's rows, where that has to take everything from the replica.

    Raises:
        ArrowetlError: some end refused; what is staged is still there.
    """
    plan, began = ready.plan, time.monotonic()
    changes = {}
    # The warehouse first: it is the one where others have a say, and may refuse.
    for end in reversed(ready.ends if ends is None else ends):
        recorded = ready.shared.ledger.recording(end.name, ready.entry)
        ready.shared.ledger.locks.require_lock(limits.lock_believed_seconds)
        try:
            with at(end.name):
                changes[end.name] = end.cutover(plan, ready.staged, ready.comments, recorded)
        except OutOfStepError:
            if not plan.is_delta:
                raise
            end.discard(plan)
    return switched_outcome(ready.outcome, plan, ready.staged, changes, time.monotonic() - began)


def switch_or_discard(ready: Ready) -> Outcome:
    """The same; of a table that failed nothing is left staged."""
    with _staging_discarded_on_failure(ready.plan, ready.shared):
        return switch(ready)


@contextmanager
def _staging_discarded_on_failure(plan: TablePlan, shared: Shared) -> Iterator[None]:
    """Nothing staged is left of a table that failed, but for what the next run can go on with."""
    try:
        yield
    except BaseException as error:
        discard(plan, shared, keeps=isinstance(error, Interrupted | DatabaseConnectionError | KeyboardInterrupt))
        if isinstance(error, ArrowetlError) and not isinstance(error, Interrupted | DatabaseConnectionError):
            # Another run, which found the lock free, sweeps up what is staged: that is what went wrong, then.
            shared.ledger.locks.require_lock()
        raise


def discard(plan: TablePlan, shared: Shared, keeps: bool) -> None:
    """
    Leave nothing staged of a table.

    Args:
        keeps: but what the next run will find and go on with: somebody stopped this one, or a server was lost.
    """
    if not (keeps and plan.is_whole and plan.is_split):
        for end in shared.servers.ends:
            # The first error is the one to tell; what cannot be dropped now, the next run drops.
            with suppress(ArrowetlError):
                end.discard(plan)
    if shared.route.spill_directory:
        spill.drop(shared.route.spill_directory, plan.name)
