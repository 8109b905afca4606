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
    compare_keyless,
    load_changes,
    load_rows,
    load_updated_or_changed,
    prove,
)
from arrowetl.planning import partitioning
from arrowetl.workers.jobs import Job
from arrowetl.workers.pool import RunContext

Bounds = Sequence[tuple[int | None, int | None]]
"""Ranges of the key, half-open; None is open."""


@dataclass(frozen=True)
class Strategy:
    load_partition: Callable[[Job], PartitionOutcome]
    next_rows: Callable[[TablePlan, RunContext], int]
    """How many rows the next partition is to have."""
    partitions: Callable[[TablePlan, RunContext, Bounds], Iterable[Partition]]
    """What is to be read between the bounds that are left."""
    then: Callable[[TablePlan, RunContext], Iterable[Partition]] | None = None
    """A second pass, begun when the first has ended."""


def strategy_of(plan: TablePlan) -> Strategy:
    return STRATEGIES[plan.kind]


def next_partition_rows(plan: TablePlan, context: RunContext) -> int:
    return strategy_of(plan).next_rows(plan, context)


def _rows_at_the_runs_pace(plan: TablePlan, context: RunContext) -> int:
    """As tables.yml chooses, or as the run has learned."""
    if plan.partition_bytes or plan.full_scan_per_partition:
        return plan.rows_per_partition
    return partitioning.rows_per_partition(plan.table, plan.batch_size, context.workers.pace.partition_bytes)


def _rows_that_are_held_twice(plan: TablePlan, context: RunContext) -> int:
    rows = _rows_at_the_runs_pace(plan, context)
    # The rows of two servers are held at once: 3.1 s and 350 MB for a million of securitylog, not 3.7 s and 480 MB.
    return -(-rows // 2) if plan.full_scan_per_partition else rows


def _rows_that_are_added_up(plan: TablePlan, context: RunContext) -> int:
    bytes_ = plan.partition_bytes or limits.compared_bytes
    return partitioning.rows_per_partition(plan.table, plan.batch_size, bytes_)


def _partitions(plan: TablePlan, context: RunContext, left: Bounds) -> Iterator[Partition]:
    return context.servers.source.partitions(plan, left, partial(next_partition_rows, plan, context))


def _slices(plan: TablePlan, context: RunContext, left: Bounds) -> Iterator[Partition]:
    """However such a table is loaded, it is compared in slices, and not in the ranges that are left."""
    return context.servers.source.slices(plan)


def _ranges(plan: TablePlan, context: RunContext) -> Iterator[Partition]:
    return context.servers.source.ranges(plan, partial(next_partition_rows, plan, context))


_ALL_ROWS = Strategy(load_rows, _rows_at_the_runs_pace, _partitions)

STRATEGIES: Mapping[LoadKind, Strategy] = {
    LoadKind.FIRST_LOAD: _ALL_ROWS,
    LoadKind.FULL: _ALL_ROWS,
    LoadKind.FROM_REPLICA: _ALL_ROWS,
    LoadKind.PROOF: Strategy(prove, _rows_that_are_held_twice, _partitions),
    LoadKind.BY_READING: Strategy(load_changes, _rows_that_are_held_twice, _partitions),
    LoadKind.BY_CHECKSUMS: Strategy(load_changes, _rows_that_are_added_up, _partitions),
    LoadKind.INCREMENTAL: Strategy(load_updated_or_changed, _rows_that_are_added_up, _partitions, _ranges),
    LoadKind.COMPARE_THEN_FULL: Strategy(compare_keyless, _rows_that_are_held_twice, _slices),
}
"""Of the kinds that read something."""
