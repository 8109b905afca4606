"""
The way of one partition, in whatever thread or process it is carried.

Each function here is given a job, a plain value, finds the servers by its route, and gives
back what came of it. Which of them a kind of load goes by is in `strategies`; what becomes of a table's partitions
together, in `load_table`; who carries them, in `workers`.
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
from arrowetl.model.result import PartitionOutcome, Waiting
from arrowetl.pipeline import find_changes
from arrowetl.replica import spill
from arrowetl.workers.jobs import End, Job, Servers, connections_of, servers_of


@dataclass(frozen=True)
class Read:
    """What was read of a partition, for the targets."""

    plan: TablePlan
    """By which it was read."""
    pieces: tuple[tuple[TablePlan, pa.Table], ...]
    gone: pa.Table | None
    rows: int
    bytes: int
    standing: int
    """Rows of it that the source has; of those beneath a watermark nothing is known."""
    step: str
    """The leg that it is: `extract`, or `compare`."""


def load_rows(job: Job) -> PartitionOutcome:
    """Read a partition, and give its rows to every end."""
    return _load(job, _rows)


def load_changes(job: Job) -> PartitionOutcome:
    """Find what differs between a partition at the source and at the replica, and give that to every end."""
    return _load(job, _changes)


def load_stamped_or_changed(job: Job) -> PartitionOutcome:
    """Of an incremental table: rows past its watermark, or of a range what they left out."""
    return load_changes(job) if job.part.since is None else load_rows(job)


def _rows(job: Job, servers: Servers) -> Read:
    plan, table = servers.source.extract(job.plan, job.part)
    standing = 0 if job.part.since else table.num_rows
    return Read(
        plan=plan,
        pieces=((plan, table),),
        gone=None,
        rows=table.num_rows,
        bytes=table.nbytes,
        standing=standing,
        step="extract",
    )


def _changes(job: Job, servers: Servers) -> Read:
    replica = servers_of(job.route.from_replica).source
    found = find_changes.difference(servers.source, replica, job.plan, job.part)
    return Read(
        plan=found.read,
        pieces=found.pieces,
        gone=found.gone,
        rows=found.rows_read,
        bytes=found.bytes_read,
        standing=found.standing,
        step="compare",
    )


def _load(job: Job, read_by: Callable[[Job, Servers], Read]) -> PartitionOutcome:
    servers, part, began = servers_of(job.route), job.part, time.monotonic()
    ends = ends_of(job.plan, servers)
    read = read_by(job, servers)
    seconds = Counter({read.step: time.monotonic() - began})
    waiting, spills = None, job.route.spill_directory
    if part.waits and spills and spill.has_room(spills, read.bytes):
        ends = ends[:1]
        waiting = Waiting(read.plan, part, spill.keep(spills, job.plan.name, read.pieces[0][1]))
    taken = []
    for end in ends:
        with at(end.name):
            taken.append(end.take(read.plan, part, read.pieces, read.gone))
    for one in taken:
        seconds.update(one.seconds)
    return PartitionOutcome(
        rows=read.rows,
        bytes=read.bytes,
        staged=sum(table.num_rows for _, table in read.pieces),
        gone=read.gone.num_rows if read.gone else 0,
        standing=read.standing,
        coercions=tuple(coercion for one in taken for coercion in one.coercions),
        process=os.getpid(),
        connections=connections_of(job.route),
        waiting=waiting,
        seconds=seconds,
    )


def prove(job: Job) -> PartitionOutcome:
    """Read one partition of all three ends, and give each of the two what it lacks."""
    servers, part, began = servers_of(job.route), job.part, time.monotonic()
    lacks = find_changes.differences(servers.source, servers_of(job.route.from_replica).source, servers.warehouse, job)
    seconds = Counter({"compare": time.monotonic() - began})
    for end in ends_of(job.plan, servers):
        with at(end.name):
            seconds.update(end.take(job.plan, part, lacks[end.name].pieces, lacks[end.name].gone).seconds)
    staged, gone = (max(getattr(one, what) for one in lacks.values()) for what in ("changed_rows", "gone_rows"))
    found = lacks["replica"]
    return PartitionOutcome(
        rows=found.rows_read,
        bytes=found.bytes_read,
        staged=staged,
        gone=gone,
        standing=found.standing,
        coercions=lacks["warehouse"].coercions,
        process=os.getpid(),
        connections=connections_of(job.route),
        seconds=seconds,
    )


def compare_whole(job: Job) -> PartitionOutcome:
    """Source and replica, read whole: nothing is staged or gone where they are equal."""
    source, replica, began = servers_of(job.route).source, servers_of(job.route.from_replica).source, time.monotonic()
    equal, rows, bytes_ = find_changes.whole(source, replica, job.plan, job.part)
    staged, gone = (0, 0) if equal else (rows, 1)
    return PartitionOutcome(
        rows=rows,
        bytes=bytes_,
        staged=staged,
        gone=gone,
        standing=rows,
        coercions=(),
        process=os.getpid(),
        connections=connections_of(job.route),
        seconds={"compare": time.monotonic() - began},
    )


def ingest(job: Job) -> PartitionOutcome:
    """Give rows that waited to the warehouse."""
    assert job.rows is not None
    with spill.taken(job.rows) as table, at("warehouse"):
        taken = servers_of(job.route).warehouse.take(job.plan, job.part, ((job.plan, table),))
    return PartitionOutcome(
        rows=0,
        bytes=0,
        staged=0,
        gone=0,
        standing=0,
        coercions=taken.coercions,
        process=os.getpid(),
        connections=connections_of(job.route),
        completes=True,
        seconds=taken.seconds,
    )


def ends_of(plan: TablePlan, servers: Servers) -> tuple[End, ...]:
    """Where rows are staged: not at a warehouse for which it does not suffice what changed."""
    suffices = not plan.catches_up and (not plan.is_delta or plan.cutover is Cutover.MERGE)
    there = (end for end in servers.ends if suffices or end.name != "warehouse")
    return tuple(end for end in there if plan.only in ("", end.name))
