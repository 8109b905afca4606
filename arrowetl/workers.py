"""
Who carries partitions: threads of this process, or processes of their own.

A job is a plain value that can be sent anywhere; whoever receives it finds
the servers by its route and keeps the sessions for the next one. How a
partition is carried is `carry`'s story; here is only who does it, how many
at a time, and what happens to them in the end.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
    wait,
)
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection
from pathlib import Path
from typing import Any, Protocol

import psutil
import pyarrow as pa

from arrowetl import drivers, limits, memory
from arrowetl.errors import DatabaseQueryError, DataExtractionError, Interrupted
from arrowetl.model import Comparison, Partition, TablePlan
from arrowetl.outcome import Changes, Coercion, ConnectionCount, PartitionOutcome, Recorded, Staged, Taken
from arrowetl.pace import Pace, Pacer
from arrowetl.replica import Replica
from arrowetl.route import Route
from arrowetl.source import Source
from arrowetl.spill import spilled
from arrowetl.warehouse import Warehouse

EXECUTORS = ("thread", "process")


class End(Protocol):
    """A place that rows go to: the replica, the warehouse."""

    name: str

    @property
    def pool(self) -> drivers.Pool[Any]: ...
    @property
    def version(self) -> str: ...
    def open(self, kept: Collection[str] = ()) -> None: ...
    def look_again(self) -> None: ...
    def done(self, plan: TablePlan) -> dict[str, tuple[Partition, tuple[Coercion, ...]]]: ...
    def prepare(self, plan: TablePlan, keep: Sequence[Partition] = ()) -> None: ...
    def take(self, plan: TablePlan, part: Partition, table: pa.Table) -> Taken: ...
    def forget(self, plan: TablePlan, part: Partition, keys: pa.Table) -> None: ...
    def finish(self, plan: TablePlan) -> None: ...
    def count(self, plan: TablePlan) -> int: ...
    def cutover(self, plan: TablePlan, staged: Staged, comments: Mapping[str, str], recorded: Recorded) -> Changes: ...
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
    def ends(self) -> tuple[End, ...]:
        there: tuple[End, ...] = (self.replica, self.warehouse) if self.replica else (self.warehouse,)
        return tuple(end for end in there if end.name in self.names)

    def connections(self) -> tuple[ConnectionCount, ...]:
        """Those of this process."""
        return tuple(pool.count for pool in self._pools())

    def close(self) -> None:
        for pool in self._pools():
            pool.close()

    def _pools(self) -> list[drivers.Pool[Any]]:
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
                replica = Replica(route.replica, spills, partial(spilled, spills))
            source = Source(route.source, route.choices, route.run_id, route.mask_key)
            _SERVERS[route] = Servers(source, replica, Warehouse(route.warehouse), route.ends)
        return _SERVERS[route]


def leave(route: Route) -> None:
    """Close this process's sessions on a route's servers, and on the way from its replica."""
    with _LOCK:
        left = [_SERVERS.pop(way, None) for way in {route, route.from_replica}]
    for servers in left:
        if servers:
            servers.close()


def connections_of(route: Route) -> tuple[ConnectionCount, ...]:
    """Those of this process on a route's servers, on the way from its replica as well."""
    with _LOCK:
        ways = [servers for way in {route, route.from_replica} if (servers := _SERVERS.get(way))]
    return tuple(count for servers in ways for count in servers.connections())


@dataclass(frozen=True, slots=True)
class Job:
    """One partition to be carried."""

    route: Route
    plan: TablePlan
    part: Partition
    rows: Path | None = None
    """Where its rows wait, when they have been read."""

    @property
    def bytes(self) -> int:
        """
        About how many its rows have, as the source stores them: twice where two ends are read and compared, none where
        checksums are.
        """
        plan = self.plan
        by_checksum = plan.is_delta and not plan.proves and plan.comparison is Comparison.CHECKSUM
        # By a watermark it may be all of them, where a statement touched every row.
        copies = 1 if self.part.since is not None else 0 if by_checksum else 2 if plan.is_delta else 1
        return copies * self.part.rows * plan.table.row_bytes


class Workers:
    """
    So many partitions at a time, of all tables of a run together, and so many bytes.

    A table of one partition is carried by the thread that walks the table;
    the others by the executor, as many at a time as the run's pace has it. A
    worker process that was killed fails the tables whose partitions it had;
    the next one gets new processes.
    """

    def __init__(self, executor: str, count: int, pace: Pace | None = None, learns: bool = True) -> None:
        """
        Args:
            executor: one of `EXECUTORS`.
            pace: to begin with; by default as many partitions at a time as there are cores.
            learns: whether the pace follows what is measured.
        """
        cores = os.cpu_count() or 1
        begin = pace or Pace(limits.partition_bytes, max(limits.partitions_at_a_time_min, cores))
        self._kind, self._count = executor, count
        self._lock = threading.Lock()
        self._executor = _executor(executor, count)
        self._slots = threading.Semaphore(count)
        self._pacer, self._learns = Pacer(begin, cores, count), learns
        self._turns, self._room = _Turns(self.pace.at_a_time), _Room(limits.bytes_in_flight_max)
        self._idle, self._looked = 0.0, time.monotonic()
        psutil.cpu_percent()  # the first answer is about no time at all
        self.stopping = threading.Event()
        self.connections: dict[int, tuple[ConnectionCount, ...]] = {}
        """Process → its connections, for processes other than this one."""

    @property
    def pace(self) -> Pace:
        """As it is at this moment."""
        return self._pacer.pace

    @property
    def learned(self) -> Pace | None:
        """The pace, where enough was carried to tell."""
        return self.pace if self._pacer.partitions >= limits.pace_partitions else None

    def each(
        self, carry: Callable[[Job], PartitionOutcome], plan: TablePlan, jobs: Iterable[Job]
    ) -> Generator[PartitionOutcome, None, None]:
        """
        Carry a table's partitions, each of which is asked for when it is its turn; their outcomes as they come.

        After a failure no other partition is begun, and those that were have
        ended when it is raised: their staging can be dropped.
        """
        if not plan.is_split:
            for job in jobs:
                yield self._here(carry, job)
            return
        pending: set[Future[PartitionOutcome]] = set()
        try:
            for job in jobs:
                if plan.workers and len(pending) >= plan.workers:
                    wait(pending, return_when=FIRST_COMPLETED)
                done = {future for future in pending if future.done()}
                pending -= done
                yield from (self._result(plan, future) for future in done)
                pending.add(self._submit(carry, job))
            yield from (self._result(plan, future) for future in as_completed(pending))
        except BrokenExecutor as error:
            raise DataExtractionError(
                f"{plan.name}: a worker process was killed, or died",
                "run again; if it stays, lower --max-workers",
                transient=True,
            ) from error
        finally:
            wait(pending)

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _here(self, carry: Callable[[Job], PartitionOutcome], job: Job) -> PartitionOutcome:
        self._enter(job)
        try:
            with self._told_if_stopped():
                return _carried(carry, job)
        finally:
            self._leave(job)

    def _submit(self, carry: Callable[[Job], PartitionOutcome], job: Job) -> Future[PartitionOutcome]:
        self._enter(job, self._turns)
        try:
            with self._lock:
                try:
                    future = self._executor.submit(_carried, carry, job)
                except BrokenExecutor:
                    self._executor = _executor(self._kind, self._count)
                    future = self._executor.submit(_carried, carry, job)
        except BaseException:
            self._leave(job, self._turns)
            raise
        future.add_done_callback(lambda _: self._leave(job, self._turns))
        return future

    def _enter(self, job: Job, *turns: _Turns) -> None:
        """Room for its bytes, its turn, and one of the workers; whoever has the one waits for those who have all."""
        self._room.take(job.bytes)
        for turn in turns:
            turn.acquire()
        self._slots.acquire()
        if self.stopping.is_set():
            self._leave(job, *turns)
            raise Interrupted(f"{job.plan.name}: the run was stopped", "run again")

    def _leave(self, job: Job, *turns: _Turns) -> None:
        self._slots.release()
        for turn in turns:
            turn.release()
        self._room.leave(job.bytes)

    @contextmanager
    def _told_if_stopped(self) -> Iterator[None]:
        """A read that was ended because the run is to stop is no failure of the source."""
        try:
            yield
        except (DataExtractionError, DatabaseQueryError) as error:
            if self.stopping.is_set():
                raise Interrupted("the run was stopped", "run again") from error
            raise

    def _result(self, plan: TablePlan, future: Future[PartitionOutcome]) -> PartitionOutcome:
        with self._told_if_stopped():
            outcome = future.result()
        if outcome.process != os.getpid():
            self.connections[outcome.process] = outcome.connections
        # Of what was compared first, little may have been carried: that tells nothing of the legs.
        if self._learns and outcome.rows and outcome.rows == outcome.staged:
            self._learn(plan, outcome)
        return outcome

    def _learn(self, plan: TablePlan, outcome: PartitionOutcome) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._looked >= limits.pace_look_seconds:
                self._idle, self._looked = 1 - psutil.cpu_percent() / 100, now
            # By what partitions are cut: bytes as the source stores them.
            stored = outcome.rows * plan.table.row_bytes
            pace = self._pacer.carried(stored, outcome.seconds, now, self._idle)
        self._turns.allow(pace.at_a_time)


class _Turns:
    """So many at a time, of which the number may change meanwhile."""

    def __init__(self, count: int) -> None:
        self._count, self._taken, self._changed = count, 0, threading.Condition()

    def acquire(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._taken < self._count)
            self._taken += 1

    def release(self) -> None:
        with self._changed:
            self._taken -= 1
            self._changed.notify()

    def allow(self, count: int) -> None:
        with self._changed:
            self._count = count
            self._changed.notify_all()


class _Room:
    """So many bytes at a time, in the order in which they came; more than that go alone."""

    def __init__(self, most: int) -> None:
        self._most, self._taken, self._changed = most, 0, threading.Condition()
        self._came = self._admitted = 0

    def take(self, bytes_: int) -> None:
        with self._changed:
            number, self._came = self._came, self._came + 1
            # Else small tables would pass by a large partition for as long as there are some.
            self._changed.wait_for(lambda: self._admitted == number and self._fits(bytes_))
            self._admitted += 1
            self._taken += bytes_
            self._changed.notify_all()

    def leave(self, bytes_: int) -> None:
        with self._changed:
            self._taken -= bytes_
            self._changed.notify_all()

    def _fits(self, bytes_: int) -> bool:
        return not self._taken or self._taken + bytes_ <= self._most


def _carried(carry: Callable[[Job], PartitionOutcome], job: Job) -> PartitionOutcome:
    """One job, after which its memory is the system's again, in whatever process it was."""
    try:
        return carry(job)
    finally:
        memory.give_back()


def _executor(kind: str, count: int) -> Executor:
    if kind == "process":
        # Forked, a process would hang in connectorx's pool of threads, which a fork does not copy.
        return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_begin)
    return ThreadPoolExecutor(count, "partition")


def _begin() -> None:
    """A worker process before its first job: it ends when its parent does, not when a terminal's Ctrl-C says so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    drivers.mute_panics()
    memory.share()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
