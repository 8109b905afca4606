"""
How one partition is extracted and loaded, in whatever thread or process.

Each function here gets a job, a plain value, finds the servers by its route, and returns a
`PartitionOutcome`. `strategies` says which function a kind of load uses; `load_table` adds up
the outcomes of a table; `workers` run the functions.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from arrowetl.errors import at
from arrowetl.model.plan import Cutover, TablePlan
from arrowetl.model.result import DeferredIngest, PartitionOutcome
from arrowetl.pipeline import find_changes
from arrowetl.replica import spill
from arrowetl.workers.jobs import Job, Servers, Target, connections_of, servers_of


@dataclass(frozen=True)
class Read:
    """What was read of a partition, for the targets."""

    plan: TablePlan
    """By which it was read."""
    row_batches: tuple[tuple[TablePlan, pa.Table], ...]
    deleted_keys: pa.Table | None
    rows: int
    bytes: int
    rows_in_source: int
    """Rows of it that the source has; of those beneath a watermark nothing is known."""
    step: str
    """The phase that it is: `extract`, or `compare`."""


def load_rows(job: Job) -> PartitionOutcome:
    """Read a partition, and load its rows into every target."""
    return _load(job, _rows)


def load_changes(job: Job) -> PartitionOutcome:
    """Find what differs between a partition at the source and at the replica, and load that into every target."""
    return _load(job, _changes)


def load_updated_or_changed(job: Job) -> PartitionOutcome:
    """Of an incremental table: rows past its watermark, or of a range what they left out."""
    return load_changes(job) if job.part.incremental_from is None else load_rows(job)


def _rows(job: Job, servers: Servers) -> Read:
    plan, table = servers.source.extract(job.plan, job.part)
    rows_in_source = 0 if job.part.incremental_from else table.num_rows
    return Read(
        plan=plan,
        row_batches=((plan, table),),
        deleted_keys=None,
        rows=table.num_rows,
        bytes=table.nbytes,
        rows_in_source=rows_in_source,
        step="extract",
    )


def _changes(job: Job, servers: Servers) -> Read:
    replica = servers_of(job.route.from_replica).source
    found = find_changes.changes_for_replica(servers.source, replica, job.plan, job.part)
    return Read(
        plan=found.read,
        row_batches=found.changed_rows,
        deleted_keys=found.deleted_keys,
        rows=found.rows_read,
        bytes=found.bytes_read,
        rows_in_source=found.rows_in_source,
        step="compare",
    )


def _load(job: Job, read_by: Callable[[Job, Servers], Read]) -> PartitionOutcome:
    servers, part, began = servers_of(job.route), job.part, time.monotonic()
    targets = targets_of(job.plan, servers)
    read = read_by(job, servers)
    seconds = Counter({read.step: time.monotonic() - began})
    deferred, spills = None, job.route.spill_directory
    if part.may_defer_ingest and spills and spill.has_disk_space(spills, read.bytes):
        targets = targets[:1]
        deferred = DeferredIngest(read.plan, part, spill.keep(spills, job.plan.name, read.row_batches[0][1]))
    taken = []
    for target in targets:
        with at(target.name):
            taken.append(target.load(read.plan, part, read.row_batches, read.deleted_keys))
    for one in taken:
        seconds.update(one.seconds)
    return PartitionOutcome(
        rows=read.rows,
        bytes=read.bytes,
        staged=sum(table.num_rows for _, table in read.row_batches),
        rows_deleted=read.deleted_keys.num_rows if read.deleted_keys else 0,
        rows_in_source=read.rows_in_source,
        coercions=tuple(coercion for one in taken for coercion in one.coercions),
        process=os.getpid(),
        connections=connections_of(job.route),
        deferred=deferred,
        seconds=seconds,
    )


def prove(job: Job) -> PartitionOutcome:
    """Read one partition of all three servers, and load into each target only the rows it is missing."""
    servers, part, began = servers_of(job.route), job.part, time.monotonic()
    lacks = find_changes.changes_for_both(
        servers.source, servers_of(job.route.from_replica).source, servers.warehouse, job
    )
    seconds = Counter({"compare": time.monotonic() - began})
    for target in targets_of(job.plan, servers):
        with at(target.name):
            seconds.update(
                target.load(job.plan, part, lacks[target.name].changed_rows, lacks[target.name].deleted_keys).seconds
            )
    staged, deleted = (max(getattr(one, what) for one in lacks.values()) for what in ("rows_changed", "rows_deleted"))
    found = lacks["replica"]
    return PartitionOutcome(
        rows=found.rows_read,
        bytes=found.bytes_read,
        staged=staged,
        rows_deleted=deleted,
        rows_in_source=found.rows_in_source,
        coercions=lacks["warehouse"].coercions,
        process=os.getpid(),
        connections=connections_of(job.route),
        seconds=seconds,
    )


def compare_keyless(job: Job) -> PartitionOutcome:
    """Source and replica, read in full: nothing is staged or deleted where they are equal."""
    source, replica, began = servers_of(job.route).source, servers_of(job.route.from_replica).source, time.monotonic()
    equal, rows, bytes_ = find_changes.same_without_key(source, replica, job.plan, job.part)
    staged, deleted = (0, 0) if equal else (rows, 1)
    return PartitionOutcome(
        rows=rows,
        bytes=bytes_,
        staged=staged,
        rows_deleted=deleted,
        rows_in_source=rows,
        coercions=(),
        process=os.getpid(),
        connections=connections_of(job.route),
        seconds={"compare": time.monotonic() - began},
    )


def ingest(job: Job) -> PartitionOutcome:
    """Give rows that waited to the warehouse."""
    assert job.rows is not None
    with spill.taken(job.rows) as table, at("warehouse"):
        taken = servers_of(job.route).warehouse.load(job.plan, job.part, ((job.plan, table),))
    return PartitionOutcome(
        rows=0,
        bytes=0,
        staged=0,
        rows_deleted=0,
        rows_in_source=0,
        coercions=taken.coercions,
        process=os.getpid(),
        connections=connections_of(job.route),
        completes=True,
        seconds=taken.seconds,
    )


def targets_of(plan: TablePlan, servers: Servers) -> tuple[Target, ...]:
    """Where rows are staged: not at a warehouse for which it does not suffice what changed."""
    suffices = not plan.reload_warehouse_from_replica and (
        not plan.stages_changes_only or plan.cutover is Cutover.MERGE
    )
    there = (target for target in servers.targets if suffices or target.name != "warehouse")
    return tuple(target for target in there if plan.only in ("", target.name))
