"""
The journey of one table.

Everything arrowetl does to a table is in `transfer`, in the order it is done.
Nothing a reader can see changes before the first `cutover`, and the ledger is
written last, so that a run killed at any instant is repaired by running
again. `run` walks many tables through here; `workers` lends it hands.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from arrowetl import checksum, coerce, limits, schema
from arrowetl.errors import ArrowetlError, VerificationError
from arrowetl.ledger import Ledger
from arrowetl.model import Partition, Reading, Route, TablePlan
from arrowetl.outcome import (
    Changes,
    Coercion,
    Event,
    Outcome,
    PartitionCarried,
    PartitionOutcome,
    Status,
    TableStarted,
)
from arrowetl.workers import End, Job, Servers, Workers, servers_of


@dataclass(frozen=True)
class Shared:
    """What a run's tables share."""

    route: Route
    servers: Servers
    ledger: Ledger
    remembered: Mapping[str, tuple[Coercion, ...]]
    """Table → what the last run of it that succeeded had to coerce."""
    workers: Workers
    tell: Callable[[Event], None]


def transfer(plan: TablePlan, shared: Shared) -> Outcome:
    """
    Carry one table from the source to both ends.

    A failure before the cutovers leaves both ends as they were. A failure
    between them leaves one end a run ahead of the other; two servers share no
    transaction, so the next run closes the gap.

    Raises:
        ArrowetlError: what went wrong; staging is gone, the published tables stand.
    """
    source, ends = shared.servers.source, shared.servers.ends
    started_at, clock = datetime.now(UTC), time.monotonic()

    with _staging_discarded_on_failure(plan, ends):
        before = source.reading(plan)
        partitions = source.partitions(plan)
        shared.tell(TableStarted(plan.name, len(partitions)))

        for end in ends:
            end.prepare(plan)
        carried = carry_all(plan, partitions, shared)
        for end in ends:
            end.finish(plan)

        counts = {end.name: end.count(plan) for end in ends}
        coercions, comments = coerced(plan, carried, shared)
        settled = compare(plan, carried, counts, before, source.reading(plan))

        # The warehouse first: it is the one where others have a say, and may refuse.
        changes = {end.name: end.cutover(plan, counts[end.name], comments) for end in reversed(ends)}

    outcome = carried_outcome(plan, carried, counts, changes, coercions, settled, time.monotonic() - clock)
    shared.ledger.record(shared.route.run_id, outcome, started_at)
    return outcome


def carry_all(plan: TablePlan, partitions: Sequence[Partition], shared: Shared) -> list[PartitionOutcome]:
    """Every partition of a table, several at a time."""
    carried = []
    jobs = [Job(shared.route, plan, part) for part in partitions]
    with closing(shared.workers.each(carry, jobs)) as outcomes:
        for outcome in outcomes:
            shared.tell(PartitionCarried(plan.name, outcome.rows, outcome.bytes))
            carried.append(outcome)
    return carried


def carry(job: Job) -> PartitionOutcome:
    """Read one partition once, and give it to every end; in whatever thread or process."""
    servers = servers_of(job.route)
    plan, table = servers.source.extract(job.plan, job.part)
    coercions = [coercion for end in servers.ends for coercion in end.take(plan, job.part, table)]
    return PartitionOutcome(table.num_rows, table.nbytes, tuple(coercions), os.getpid(), servers.connections())


def compare(
    plan: TablePlan, carried: Sequence[PartitionOutcome], counts: Mapping[str, int], before: Reading, after: Reading
) -> bool | None:
    """
    The rows read against the rows staged and the rows the source has.

    Returns:
        Whether the source stood still meanwhile: True, False, or None where it cannot tell.

    Raises:
        VerificationError: rows are missing or too many.
    """
    rows = sum(part.rows for part in carried)
    if wrong := checksum.miscounted(rows, counts):
        raise VerificationError(f"{plan.name}: {wrong}; nothing was cut over", "run again")
    moved = before.rows != after.rows or before.update_time != after.update_time
    if not moved and rows != before.rows:
        raise VerificationError(
            f"{plan.name}: the source counts {before.rows:,} rows, {rows:,} were read; nothing was cut over",
            "run again; if it stays, check the table at the source (CHECK TABLE)",
        )
    if moved:
        return False
    grain = timedelta(seconds=limits.update_time_grain_seconds)
    return True if before.update_time is not None and before.now - before.update_time > grain else None


def coerced(
    plan: TablePlan, carried: Sequence[PartitionOutcome], shared: Shared
) -> tuple[tuple[Coercion, ...], dict[str, str]]:
    """What had to be coerced in all partitions together, and the SRID that each column of places is to tell."""
    found = coerce.merged(
        (coercion for part in carried for coercion in part.coercions), shared.remembered.get(plan.name)
    )
    srids, coercions = coerce.srids(found)
    places = [field for field in plan.fields if schema.is_a_place(field)]
    return coercions, {field.name_postgres: srids.get(field.column.name, "") for field in places}


def carried_outcome(
    plan: TablePlan,
    carried: Sequence[PartitionOutcome],
    counts: Mapping[str, int],
    changes: Mapping[str, Changes],
    coercions: tuple[Coercion, ...],
    settled: bool | None,
    seconds: float,
) -> Outcome:
    """What is to be recorded of a table that arrived."""
    rows = sum(part.rows for part in carried)
    return Outcome(
        table=plan.name,
        category=plan.category,
        mode=plan.mode,
        reason=plan.reason,
        status=Status.SUCCEEDED,
        partitions=len(carried),
        rows_extracted=rows,
        # Where the replica was read rather than written, its rows are those that were read.
        rows_replica=counts.get("replica", rows),
        rows_warehouse=counts.get("warehouse"),
        changes=changes["warehouse"],
        bytes_extracted=sum(part.bytes for part in carried),
        seconds=seconds,
        coercions=coercions,
        settled=settled,
        verdict="equal",
        notes=plan.notes,
    )


@contextmanager
def _staging_discarded_on_failure(plan: TablePlan, ends: tuple[End, ...]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for end in ends:
            # The first error is the one to tell; what cannot be dropped now, the next run drops.
            with suppress(ArrowetlError):
                end.discard(plan)
        raise
