"""
The journey of one table.

Everything arrowetl does to a table is in `transfer`, in the order it is done.
Nothing a reader can see changes before the first `cutover`, and the ledger is
written last, so that a run killed at any instant is repaired by running
again. `run` walks many tables through here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pyarrow as pa

from arrowetl import checksum, coerce, limits
from arrowetl.errors import ArrowetlError, Interrupted, VerificationError
from arrowetl.ledger import Ledger
from arrowetl.model import (
    Changes,
    Coercion,
    Event,
    Outcome,
    Partition,
    PartitionCarried,
    PartitionOutcome,
    Reading,
    Status,
    TablePlan,
    TableStarted,
)
from arrowetl.source import Source


class End(Protocol):
    """A place that rows go to: the replica, the warehouse."""

    name: str

    def prepare(self, plan: TablePlan) -> None: ...
    def take(self, plan: TablePlan, part: Partition, table: pa.Table) -> tuple[Coercion, ...]: ...
    def finish(self, plan: TablePlan) -> None: ...
    def count(self, plan: TablePlan) -> int: ...
    def cutover(self, plan: TablePlan, rows: int) -> Changes: ...
    def discard(self, plan: TablePlan) -> None: ...


@dataclass(frozen=True)
class Servers:
    """Where a run reads, where it writes, and what it shares among its tables."""

    run_id: str
    source: Source
    ends: tuple[End, ...]
    ledger: Ledger
    workers: Executor
    """Carries partitions; the same number of them as of tables at work."""
    slots: threading.Semaphore
    """One for each worker: a table of one partition carries it itself, and takes a slot for it."""
    stopping: threading.Event
    tell: Callable[[Event], None]


def transfer(plan: TablePlan, servers: Servers) -> Outcome:
    """
    Carry one table from the source to both ends.

    A failure before the cutovers leaves both ends as they were. A failure
    between them leaves one end a run ahead of the other; two servers share no
    transaction, so the next run closes the gap.

    Raises:
        ArrowetlError: what went wrong; staging is gone, the published tables stand.
    """
    started_at, clock = datetime.now(UTC), time.monotonic()
    source, ends = servers.source, servers.ends
    with _staging_discarded_on_failure(plan, ends):
        before = source.reading(plan)
        partitions = source.partitions(plan)
        servers.tell(TableStarted(plan.name, len(partitions)))

        for end in ends:
            end.prepare(plan)
        carried = carry_all(plan, partitions, servers)
        for end in ends:
            end.finish(plan)

        after = source.reading(plan)
        rows = sum(part.rows for part in carried)
        counts = {end.name: end.count(plan) for end in ends}
        settled = compare(plan, rows, counts, before, after)

        changes = {end.name: end.cutover(plan, rows) for end in ends}

    outcome = Outcome(
        table=plan.name,
        category=plan.category,
        mode=plan.mode,
        reason=plan.reason,
        status=Status.SUCCEEDED,
        partitions=len(partitions),
        rows_extracted=rows,
        # Where the replica was read rather than written, its rows are those that were read.
        rows_replica=counts.get("replica", rows),
        rows_warehouse=counts.get("warehouse"),
        changes=changes["warehouse"],
        bytes_extracted=sum(part.bytes for part in carried),
        seconds=time.monotonic() - clock,
        coercions=coerce.merged(coercion for part in carried for coercion in part.coercions),
        settled=settled,
        verdict="equal",
        notes=plan.notes,
    )
    servers.ledger.record(servers.run_id, outcome, started_at)
    return outcome


def carry_all(plan: TablePlan, partitions: Sequence[Partition], servers: Servers) -> list[PartitionOutcome]:
    """Every partition of a table: one at once and here, several among the workers."""
    if len(partitions) == 1:
        return [carry(plan, partitions[0], servers)]
    jobs = [servers.workers.submit(carry, plan, part, servers) for part in partitions]
    try:
        return [job.result() for job in as_completed(jobs)]
    finally:
        # After a failure: what has not begun need not; what has must end before its staging is dropped.
        for job in jobs:
            job.cancel()
        for job in jobs:
            with suppress(BaseException):
                job.result()


def carry(plan: TablePlan, part: Partition, servers: Servers) -> PartitionOutcome:
    """Read one partition once, and give it to every end."""
    with servers.slots:
        if servers.stopping.is_set():
            raise Interrupted(f"{plan.name}: the run was stopped")
        table = servers.source.extract(plan, part)
        coercions = [coercion for end in servers.ends for coercion in end.take(plan, part, table)]
    servers.tell(PartitionCarried(plan.name, table.num_rows, table.nbytes))
    return PartitionOutcome(table.num_rows, table.nbytes, tuple(coercions))


def compare(plan: TablePlan, rows: int, counts: dict[str, int], before: Reading, after: Reading) -> bool | None:
    """
    The rows read against the rows staged and the rows the source has.

    Returns:
        Whether the source stood still meanwhile: True, False, or None where it cannot tell.

    Raises:
        VerificationError: rows are missing or too many.
    """
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
