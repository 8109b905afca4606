"""
How each kind of load is executed: what is read of a table, in which passes, in how large partitions, and by what.

One row a kind. Which kind a table gets is decided by `sync_mode`; `load_table` walks any of them through the same
steps, and `load_partition` has the functions that workers call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from arrowetl import limits
from arrowetl.model.plan import LoadKind, Partition, TablePlan
from arrowetl.model.result import PartitionOutcome
from arrowetl.pipeline.load_partition import (
    compare_whole,
    load_changes,
    load_rows,
    load_stamped_or_changed,
    prove,
)
from arrowetl.planning import partitioning
from arrowetl.workers.jobs import Job
from arrowetl.workers.pool import Shared

Bounds = Sequence[tuple[int | None, int | None]]
"""Ranges of the key, half-open; None is open."""


@dataclass(frozen=True)
class Strategy:
    load_partition: Callable[[Job], PartitionOutcome]
    next_rows: Callable[[TablePlan, Shared], int]
    """How many rows the next partition is to have."""
    partitions: Callable[[TablePlan, Shared, Bounds], Iterable[Partition]]
    """What is to be read between the bounds that are left."""
    then: Callable[[TablePlan, Shared], Iterable[Partition]] | None = None
    """A second pass, begun when the first has ended."""


def strategy_of(plan: TablePlan) -> Strategy:
    return STRATEGIES[plan.kind]


def rows_of_the_next(plan: TablePlan, shared: Shared) -> int:
    return strategy_of(plan).next_rows(plan, shared)


def _rows_at_the_runs_pace(plan: TablePlan, shared: Shared) -> int:
    """As tables.yml chooses, or as the run has learned."""
    if plan.partition_bytes or plan.scans:
        return plan.rows_per_partition
    return partitioning.rows_per_partition(plan.table, plan.batch_size, shared.workers.pace.partition_bytes)


def _rows_that_are_held_twice(plan: TablePlan, shared: Shared) -> int:
    rows = _rows_at_the_runs_pace(plan, shared)
    # The rows of two ends are held at once: 3.1 s and 350 MB for a million of securitylog, not 3.7 s and 480 MB.
    return -(-rows // 2) if plan.scans else rows


def _rows_that_are_added_up(plan: TablePlan, shared: Shared) -> int:
    bytes_ = plan.partition_bytes or limits.compared_bytes
    return partitioning.rows_per_partition(plan.table, plan.batch_size, bytes_)


def _partitions(plan: TablePlan, shared: Shared, left: Bounds) -> Iterator[Partition]:
    return shared.servers.source.partitions(plan, left, partial(rows_of_the_next, plan, shared))


def _pieces(plan: TablePlan, shared: Shared, left: Bounds) -> Iterator[Partition]:
    """By whatever a table is loaded, it is compared in pieces that differ in nothing, or not at all."""
    return shared.servers.source.pieces(plan)


def _ranges(plan: TablePlan, shared: Shared) -> Iterator[Partition]:
    return shared.servers.source.ranges(plan, partial(rows_of_the_next, plan, shared))


_ALL_ROWS = Strategy(load_rows, _rows_at_the_runs_pace, _partitions)

STRATEGIES: Mapping[LoadKind, Strategy] = {
    LoadKind.FIRST_LOAD: _ALL_ROWS,
    LoadKind.FULL: _ALL_ROWS,
    LoadKind.FROM_REPLICA: _ALL_ROWS,
    LoadKind.PROOF: Strategy(prove, _rows_that_are_held_twice, _partitions),
    LoadKind.BY_READING: Strategy(load_changes, _rows_that_are_held_twice, _partitions),
    LoadKind.BY_CHECKSUMS: Strategy(load_changes, _rows_that_are_added_up, _partitions),
    LoadKind.INCREMENTAL: Strategy(load_stamped_or_changed, _rows_that_are_added_up, _partitions, _ranges),
    LoadKind.COMPARE_THEN_FULL: Strategy(compare_whole, _rows_that_are_held_twice, _pieces),
}
"""Of the kinds that read something."""
