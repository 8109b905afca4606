"""
A job: a partition as a plain value; and this process's sessions on the servers of its route.

A job can be sent anywhere; its receiver finds the servers by its
route, and keeps the sessions for the next one. `load_partition` loads a partition;
`pool` decides who does it, and how many at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from arrowetl import drivers, limits
from arrowetl.model.connection import Route
from arrowetl.model.plan import Partition, TablePlan
from arrowetl.model.result import (
    Coercion,
    ConnectionCount,
    LoadResult,
    PartitionOutcome,
    RowCounts,
    StagedCounts,
    StateStatement,
)
from arrowetl.replica.loader import Replica
from arrowetl.replica.spill import spilled
from arrowetl.source.reader import Source
from arrowetl.warehouse.loader import Warehouse
from arrowetl.workers import memory

RowBatches = Sequence[tuple[TablePlan, pa.Table]]
"""Rows of a partition, each lot with the plan by which it was read."""


class Target(Protocol):
    """A place that rows go to: the replica, the warehouse."""

    name: str

    @property
    def pool(self) -> drivers.Pool[Any]: ...
    @property
    def version(self) -> str: ...
    def open(self, kept: Collection[str] = ()) -> None: ...
    def refresh(self) -> None: ...
    def resumable_partitions(self, plan: TablePlan) -> dict[str, tuple[Partition, tuple[Coercion, ...]]]: ...
    def prepare(
        self, plan: TablePlan, keep: Sequence[Partition] = (), attempt: str | None = None
    ) -> tuple[str, ...]: ...
    def load(
        self, plan: TablePlan, part: Partition, row_batches: RowBatches, deleted_keys: pa.Table | None = None
    ) -> LoadResult: ...
    def close_attempt(self, plan: TablePlan, attempt: str) -> dict[str, str | None]: ...
    def build_indexes(self, plan: TablePlan) -> None: ...
    def count(self, plan: TablePlan) -> int: ...
    def cutover(
        self, plan: TablePlan, staged: StagedCounts, comments: Mapping[str, str], recorded: StateStatement
    ) -> RowCounts: ...
    def discard(self, plan: TablePlan) -> None: ...


@dataclass(frozen=True)
class Servers:
    """Where a run reads and writes, as one process sees them."""

    source: Source
    replica: Replica | None
    warehouse: Warehouse
    names: tuple[str, ...] = ("replica", "warehouse")
    """Of the servers that are written."""

    @property
    def targets(self) -> tuple[Target, ...]:
        there: tuple[Target, ...] = (self.replica, self.warehouse) if self.replica else (self.warehouse,)
        return tuple(target for target in there if target.name in self.names)

    def close(self) -> None:
        for pool in self.pools():
            pool.close()

    def pools(self) -> list[drivers.Pool[Any]]:
        return [
            self.source.pool,
            *([self.replica.pool] if self.replica else []),
            self.warehouse.pool,
            self.warehouse.arrow,
        ]


_SERVERS: dict[Route, Servers] = {}
_LOCK = threading.Lock()


def servers_of(route: Route) -> Servers:
    """This process's sessions on a route's servers: made for the first who asks, kept for the others."""
    with _LOCK:
        if route not in _SERVERS:
            replica, spills = None, route.spill_directory
            if route.replica and spills:
                replica = Replica(route.replica, spills, partial(spilled, spills), route.choices.replica_connections)
            source = Source(route.source, route.choices, route.run_id, route.mask_key)
            # The route from the replica has the same warehouse.
            found = (servers for other, servers in _SERVERS.items() if other.from_replica == route)
            there = next(found, None)
            warehouse = there.warehouse if there else Warehouse(route.warehouse, route.choices.warehouse_connections)
            _SERVERS[route] = Servers(source, replica, warehouse, route.targets)
        return _SERVERS[route]


def close_sessions(route: Route) -> None:
    """Close this process's sessions on a route's servers, and on the route from its replica."""
    with _LOCK:
        left = [_SERVERS.pop(one, None) for one in (route.from_replica, route)]
    for servers in left:
        if servers:
            servers.close()


def connections_of(route: Route) -> tuple[ConnectionCount, ...]:
    """Those of this process on a route's servers, on the route from its replica as well."""
    with _LOCK:
        found = [servers for one in (route, route.from_replica) if (servers := _SERVERS.get(one))]
    pools = dict.fromkeys(pool for servers in found for pool in servers.pools())
    return tuple(pool.count for pool in pools)


@dataclass(frozen=True, slots=True)
class Job:
    """One partition to be loaded."""

    route: Route
    plan: TablePlan
    part: Partition
    rows: Path | None = None
    """Where its rows wait, when they have been read."""

    @property
    def bytes(self) -> int:
        """
        About how many its rows have, as the source stores them: twice where two servers are read and compared, none
        where checksums are.
        """
        # By a watermark it may be all of them, where a statement touched every row.
        copies = 1 if self.part.incremental_from is not None else self.plan.kind.copies
        return copies * max(self.part.rows * self.plan.table.row_bytes, limits.long_copies * self.part.bytes)


def run_job(load: Callable[[Job], PartitionOutcome], job: Job) -> PartitionOutcome:
    """One job, after which its memory is the system's again, in whatever process it was."""
    try:
        return load(job)
    finally:
        memory.give_back()
