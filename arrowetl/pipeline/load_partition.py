"""
The way of one partition, in whatever thread or process it is carried.

It is given a job, a plain value, finds the servers by its route, and gives
back what came of it. What becomes of a table's partitions together is in
`load_table`; who carries them, in `workers`.
"""

from __future__ import annotations

import os
import time
from collections import Counter

from arrowetl.errors import at
from arrowetl.model.plan import Cutover, TablePlan
from arrowetl.model.result import PartitionOutcome, Waiting
from arrowetl.pipeline import find_changes
from arrowetl.replica import spill
from arrowetl.workers.jobs import End, Job, Servers, connections_of, servers_of


def carry(job: Job) -> PartitionOutcome:
    """Read one partition once, or what differs in it, and give it to every end; in whatever thread or process."""
    if job.plan.proves:
        return prove(job)
    servers, plan, part, began = servers_of(job.route), job.plan, job.part, time.monotonic()
    ends = ends_of(plan, servers)
    if plan.is_delta and part.since is None:
        found = find_changes.difference(servers.source, servers_of(job.route.from_replica).source, plan, part)
        pieces, gone, plan, standing = found.pieces, found.gone, found.read, found.standing
        rows, bytes_ = found.rows_read, found.bytes_read
    else:
        plan, table = servers.source.extract(plan, part)
        pieces, gone, rows, bytes_ = ((plan, table),), None, table.num_rows, table.nbytes
        # Of an incremental read nothing is known about the rows beneath the watermark.
        standing = 0 if part.since else rows
    waiting, read_in = None, time.monotonic() - began
    spills = job.route.spill_directory
    if part.waits and spills and spill.has_room(spills, bytes_):
        ends = ends[:1]
        waiting = Waiting(plan, part, spill.keep(spills, plan.name, pieces[0][1]))
    taken = []
    for end in ends:
        with at(end.name):
            taken.append(end.take(plan, part, pieces, gone))
    staged = sum(table.num_rows for _, table in pieces)
    seconds = Counter({"compare" if plan.is_delta and part.since is None else "extract": read_in})
    for one in taken:
        seconds.update(one.seconds)
    return PartitionOutcome(
        rows, bytes_, staged, gone.num_rows if gone else 0, standing,
        tuple(coercion for one in taken for coercion in one.coercions), os.getpid(), connections_of(job.route), waiting,
        seconds=seconds,
    )  # fmt: skip


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
        found.rows_read, found.bytes_read, staged, gone, found.standing, lacks["warehouse"].coercions, os.getpid(),
        connections_of(job.route), seconds=seconds,
    )  # fmt: skip


def compare_whole(job: Job) -> PartitionOutcome:
    """Source and replica, read whole: nothing is staged or gone where they are equal."""
    source, replica, began = servers_of(job.route).source, servers_of(job.route.from_replica).source, time.monotonic()
    equal, rows, bytes_ = find_changes.whole(source, replica, job.plan, job.part)
    staged, gone = (0, 0) if equal else (rows, 1)
    return PartitionOutcome(
        rows, bytes_, staged, gone, rows, (), os.getpid(), connections_of(job.route),
        seconds={"compare": time.monotonic() - began},
    )  # fmt: skip


def ingest(job: Job) -> PartitionOutcome:
    """Give rows that waited to the warehouse."""
    assert job.rows is not None
    with spill.taken(job.rows) as table, at("warehouse"):
        taken = servers_of(job.route).warehouse.take(job.plan, job.part, ((job.plan, table),))
    return PartitionOutcome(
        0, 0, 0, 0, 0, taken.coercions, os.getpid(), connections_of(job.route), completes=True, seconds=taken.seconds
    )


def ends_of(plan: TablePlan, servers: Servers) -> tuple[End, ...]:
    """Where rows are staged: not at a warehouse for which it does not suffice what changed."""
    suffices = not plan.catches_up and (not plan.is_delta or plan.cutover is Cutover.MERGE)
    there = (end for end in servers.ends if suffices or end.name != "warehouse")
    return tuple(end for end in there if plan.only in ("", end.name))
