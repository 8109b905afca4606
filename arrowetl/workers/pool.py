"""
Partitions through an executor: so many at a time, and their results.

`load_partition` loads a partition; who runs it was chosen by name
(`executors`).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, as_completed, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import psutil

from arrowetl import limits
from arrowetl.errors import DatabaseQueryError, DataExtractionError, Interrupted
from arrowetl.model.connection import Route
from arrowetl.model.events import Event
from arrowetl.model.plan import TablePlan
from arrowetl.model.result import Coercion, ConnectionCount, PartitionOutcome
from arrowetl.model.state import RangesToRepair, TableState
from arrowetl.planning.pacing import Pace, Pacer
from arrowetl.state.ledger import Ledger
from arrowetl.workers import executors
from arrowetl.workers.jobs import Job, Servers, run_job


class Workers:
    """
    So many partitions at a time, of all tables of a run together, and so many bytes.

    A table of one partition is loaded by the thread that walks the table,
    where the executor is of this machine; the others by the executor, as many
    at a time as the run's pace has it. A worker process that was killed fails
    the tables whose partitions it had; the next one gets new processes.
    """

    def __init__(
        self,
        executor: str,
        count: int,
        pace: Pace | None = None,
        learns: bool = True,
        jobs: int = 0,
        mask_key: bytes = b"",
        share: WorkerShare | None = None,
    ) -> None:
        """
        Args:
            executor: one of `route.EXECUTORS`.
            jobs, mask_key: of a cluster, as `executors.executor` has them.
            share: where the workers are those of other runs as well.
            pace: to begin with; by default as many partitions at a time as there are cores.
            learns: whether the pace follows what is measured.
        """
        cores = os.cpu_count() or 1
        begin = pace or Pace(limits.partition_bytes, max(limits.partitions_at_a_time_min, cores))
        self._executor = executors.executor(executor, count, jobs, mask_key)
        self._new_executor = partial(executors.executor, executor, count, jobs, mask_key)
        self._lock = threading.Lock()
        self.may_be_lost = getattr(self._executor, "may_be_lost", False)
        """Whether a job can be given up that goes on unseen, and is done once more elsewhere."""
        budget = share.budget if share else ByteBudget(limits.bytes_in_flight_max)
        if self.may_be_lost:
            # How busy other machines are is not seen from here.
            begin, learns, budget = (
                Pace(begin.partition_bytes, count),
                False,
                ByteBudget(limits.cluster_bytes_in_flight_max),
            )
            # Who waits for a lease has a worker to itself.
            count = min(count, jobs or count)
        # Nor can the speed of this run be measured apart from that of others in this process.
        learns = learns and share is None
        self._slots = share.partitions if share else ResizableSemaphore(count)
        self.tables = share.tables if share else ResizableSemaphore(count)
        """One for each table that is walked."""
        self._pacer, self._learns = Pacer(begin, cores, count), learns
        self._turns, self._budget = ResizableSemaphore(self.pace.at_a_time), budget
        self._idle, self._looked = 0.0, time.monotonic()
        psutil.cpu_percent()  # the first answer is meaningless
        self.stopping = share.stopping if share else threading.Event()
        self.connections: dict[int | str, tuple[ConnectionCount, ...]] = {}
        """Process → its connections, for processes other than this one."""

    @classmethod
    def of(cls, route: Route, count: int, pace: Pace | None, share: WorkerShare | None) -> Workers:
        """Those of a run, as tables.yml or a person chose them."""
        return cls(route.choices.executor, count, pace, True, route.jobs_elsewhere, route.mask_key or b"", share)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know of the workers."""
        return tuple(getattr(self._executor, "warnings", {}).values())

    @property
    def pace(self) -> Pace:
        """The current pace."""
        return self._pacer.pace

    @property
    def learned(self) -> Pace | None:
        """The pace, where enough was loaded to know."""
        return self.pace if self._pacer.partitions >= limits.pace_partitions else None

    def each(
        self, load: Callable[[Job], PartitionOutcome], plan: TablePlan, jobs: Iterable[Job]
    ) -> Generator[PartitionOutcome, None, None]:
        """
        Load a table's partitions, each of which is made when it is its turn; their outcomes as they come.

        After a failure no other partition is begun, and those that were have
        ended when it is raised: their staging can be dropped.
        """
        if not plan.is_partitioned and not self.may_be_lost:
            for job in jobs:
                yield self._here(load, job)
            return
        pending: set[Future[PartitionOutcome]] = set()
        try:
            for job in jobs:
                if plan.workers and len(pending) >= plan.workers:
                    wait(pending, return_when=FIRST_COMPLETED)
                done = {future for future in pending if future.done()}
                pending -= done
                yield from (self._result(plan, future) for future in done)
                pending.add(self._submit(load, job))
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

    def _here(self, load: Callable[[Job], PartitionOutcome], job: Job) -> PartitionOutcome:
        self._enter(job)
        try:
            with self._interrupted_if_stopping():
                return run_job(load, job)
        finally:
            self._leave(job)

    def _submit(self, load: Callable[[Job], PartitionOutcome], job: Job) -> Future[PartitionOutcome]:
        self._enter(job, self._turns)
        try:
            with self._lock:
                try:
                    future = self._executor.submit(run_job, load, job)
                except BrokenExecutor:
                    self._executor = self._new_executor()
                    future = self._executor.submit(run_job, load, job)
        except BaseException:
            self._leave(job, self._turns)
            raise
        future.add_done_callback(lambda _: self._leave(job, self._turns))
        return future

    def _enter(self, job: Job, *turns: ResizableSemaphore) -> None:
        """Acquire its bytes, its turn, and one of the workers; in this order, so that no two wait for each other."""
        self._budget.acquire(job.bytes)
        for turn in turns:
            turn.acquire()
        self._slots.acquire()
        if self.stopping.is_set():
            self._leave(job, *turns)
            raise Interrupted(f"{job.plan.name}: the run was stopped", "run again")

    def _leave(self, job: Job, *turns: ResizableSemaphore) -> None:
        self._slots.release()
        for turn in turns:
            turn.release()
        self._budget.release(job.bytes)

    @contextmanager
    def _interrupted_if_stopping(self) -> Iterator[None]:
        """A read that was ended because the run is to stop is no failure of the source."""
        try:
            yield
        except (DataExtractionError, DatabaseQueryError) as error:
            if self.stopping.is_set():
                raise Interrupted("the run was stopped", "run again") from error
            raise

    def _result(self, plan: TablePlan, future: Future[PartitionOutcome]) -> PartitionOutcome:
        with self._interrupted_if_stopping():
            outcome = future.result()
        if outcome.process != os.getpid():
            self.connections[outcome.process] = outcome.connections
        # After a comparison little may have been loaded: that says nothing about the phases.
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
            pace = self._pacer.loaded(stored, outcome.seconds, now, self._idle)
        self._turns.allow(pace.at_a_time)


class WorkerShare:
    """Of the workers of many runs at once, those of one: so many tables walked at a time, and partitions loaded."""

    def __init__(self, count: int, budget: ByteBudget) -> None:
        """
        Args:
            budget: for the bytes of all of them.
        """
        self.tables, self.partitions, self.budget = ResizableSemaphore(count), ResizableSemaphore(count), budget
        self.stopping = threading.Event()

    def allow(self, count: int) -> None:
        for turns in (self.tables, self.partitions):
            turns.allow(count)


class ResizableSemaphore:
    """A semaphore whose number may change meanwhile."""

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

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def allow(self, count: int) -> None:
        with self._changed:
            self._count = count
            self._changed.notify_all()


class ByteBudget:
    """So many bytes at a time, first come, first served; a request for more than that waits until it is alone."""

    def __init__(self, most: int) -> None:
        self._most, self._taken, self._changed = most, 0, threading.Condition()
        self._came = self._admitted = 0

    def acquire(self, bytes_: int) -> None:
        with self._changed:
            number, self._came = self._came, self._came + 1
            # Else small tables would pass by a large partition for as long as there are some.
            self._changed.wait_for(lambda: self._admitted == number and self._fits(bytes_))
            self._admitted += 1
            self._taken += bytes_
            self._changed.notify_all()

    def release(self, bytes_: int) -> None:
        with self._changed:
            self._taken -= bytes_
            self._changed.notify_all()

    def _fits(self, bytes_: int) -> bool:
        return not self._taken or self._taken + bytes_ <= self._most


@dataclass(frozen=True)
class RunContext:
    """What a run's tables share."""

    route: Route
    servers: Servers
    ledger: Ledger
    states: Mapping[str, TableState]
    known_coercions: Mapping[str, tuple[Coercion, ...]]
    """Table → what the last run of it that succeeded had to coerce."""
    workers: Workers
    on_event: Callable[[Event], None]
    compared: Mapping[str, RangesToRepair] = field(default_factory=dict)
    """Table → what a comparison found of it just now."""
