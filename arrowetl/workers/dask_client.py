"""
A Dask cluster's workers as an `Executor` of `concurrent.futures`.

All that is known of Dask's client is here; what a job does at a worker is in
`dask_worker`. A job whose worker died is done again by Dask itself, a bounded
number of times; one that found a server out of its worker's reach is sent to
another here; when scheduler or workers stay away, its future says so. A job
may therefore be done twice, which its targets count once
(`load_journal_sql`).
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import accumulate
from typing import Any
from uuid import uuid4

from arrowetl import limits
from arrowetl.errors import (
    ArrowetlError,
    ConfigurationError,
    DatabaseConnectionError,
    DatabaseQueryError,
    DataExtractionError,
)
from arrowetl.model.connection import Route
from arrowetl.model.result import PartitionOutcome
from arrowetl.state.receipt_store import versions
from arrowetl.workers import dask_worker
from arrowetl.workers.dask_worker import Terms
from arrowetl.workers.jobs import Job

MISSING = "dask.distributed is not installed", "pip install 'arrowetl[dask]', here and where the workers are"


@dataclass(eq=False)
class _Sent:
    """A job in flight, and the future that gets its result."""

    load: Callable[[Job], PartitionOutcome]
    job: Job
    future: Future[PartitionOutcome] = field(default_factory=Future)
    tries: int = 0
    dask: Any = None
    """The future of Dask's."""
    allowed: frozenset[str] = frozenset()
    """Workers that may have it; any, where none is named."""


class Cluster(Executor):
    """
    The workers of a scheduler, for one run.
    """

    may_be_lost = True

    def __init__(self, address: str, jobs: int, mask_key: bytes = b"") -> None:
        """
        Args:
            address: of the scheduler, like `tcp://host:8786`.
            jobs: at once, at most; 0 for as many as come.

        Raises:
            DatabaseConnectionError: there is no scheduler, or it has no worker.
            ConfigurationError: Dask is not installed, or a worker has other versions than this process.
        """
        self.address, self._jobs, self._mask_key = address, jobs, mask_key
        self._client, self._versions = _connected(address), versions()
        self._sent, self._routes = set[_Sent](), set[Route]()
        self._suspects = dict[str, float]()
        """Worker → when it was found to lack something that others have."""
        self.warnings = dict[str, str]()
        """Worker → what it lacked first."""
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._seen = time.monotonic()
        self._workers = dict[str, int]()
        """Address → threads, by the last that the scheduler said."""
        # Dask has one thread for all callbacks of this process: nothing is waited for there.
        self._threads = ThreadPoolExecutor(2, "cluster")
        try:
            self._refuse_other_versions()
        except BaseException:
            self._client.close(timeout=limits.cluster_seconds)
            raise
        threading.Thread(target=self._look_after, name="cluster", daemon=True).start()

    def submit(self, function: Any, /, *arguments: Any, **_: Any) -> Future[Any]:
        """Send a job to a worker; `function` is what is done with it there, as everywhere."""
        load, job = arguments
        sent = _Sent(load, job)
        with self._lock:
            self._sent.add(sent)
            self._routes.add(job.route)
        sent.future.set_running_or_notify_cancel()
        self._send(sent)
        return sent.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._closed.set()
        for route in {route.without_secrets for route in self._routes}:
            with suppress(Exception):
                left = self._threads.submit(self._client.run, dask_worker.close_sessions, route, on_error="ignore")
                left.result(timeout=limits.cluster_seconds)
        with suppress(Exception):
            self._client.close(timeout=limits.cluster_seconds)
        self._threads.shutdown(wait=False)

    def _send(self, sent: _Sent) -> None:
        sent.tries += 1
        job, there = replace(sent.job, route=sent.job.route.without_secrets), self._workers
        sent.allowed = self._allowed(job.route)
        choice = {"workers": list(sent.allowed), "allow_other_workers": False} if sent.allowed else {}
        try:
            sent.dask = self._client.submit(
                dask_worker.run_job, sent.load, job, self._terms(job.route, there),
                key=f"{job.plan.name}-{uuid4().hex}", pure=False, **choice,
            )  # fmt: skip
            sent.dask.add_done_callback(lambda dask: self._threads.submit(self._done, sent, dask))
        except Exception as error:
            self._end(sent, error=self._lost(sent, error))

    def _trusted(self) -> frozenset[str]:
        """Workers that were not found to lack something in the last while."""
        since = time.monotonic() - limits.cluster_suspect_seconds
        return frozenset(worker for worker in self._workers if self._suspects.get(worker, since - 1) < since)

    def _allowed(self, route: Route) -> frozenset[str]:
        """
        The workers that may have a run's jobs; any, where none is named.

        Not those that lack something: they are idle at once, and take the next job, and the next. And where connections
        allow fewer jobs than there are workers, always the same, which need not wait for each other's.
        """
        there, trusted = self._workers, self._trusted() or frozenset(self._workers)
        if 0 < self._jobs < sum(there[worker] for worker in trusted if worker in there):
            # Other ones for another clinic.
            order = sorted(trusted, key=lambda worker: hashlib.sha256(f"{route.run_id} {worker}".encode()).digest())
            threads = list(accumulate(there.get(worker, 0) for worker in order))
            enough = next((number for number, count in enumerate(threads, 1) if count >= self._jobs), len(order))
            return frozenset(order[:enough])
        return trusted if len(trusted) < len(there) else frozenset()

    def _terms(self, route: Route, there: dict[str, int]) -> Terms:
        contended = 0 < self._jobs < sum(there.values())
        idle = limits.cluster_idle_connection_seconds_wanted if contended else limits.cluster_idle_connection_seconds
        mark = dask_worker.key_mark(route.run_id, self._mask_key)
        return Terms(tuple(self._versions.items()), self._jobs, idle, mark)

    def _done(self, sent: _Sent, dask: Any) -> None:
        """What came of a job."""
        if dask is not sent.dask or sent.future.done():
            return
        try:
            self._end(sent, outcome=dask.result(timeout=limits.cluster_seconds))
        except ArrowetlError as error:
            lacks = isinstance(error, DatabaseConnectionError | ConfigurationError) and error.worker is not None
            if lacks:
                self._suspects[str(error.worker)] = time.monotonic()
                self.warnings.setdefault(str(error.worker), error.message)
            again = bool(self._trusted()) if lacks else isinstance(error, DatabaseQueryError) and error.transient
            if again and sent.tries < limits.cluster_tries:
                self._send(sent)
            else:
                self._end(sent, error=error)
        except BaseException as error:  # what is cancelled is no Exception everywhere
            self._end(sent, error=self._lost(sent, error))

    def _end(self, sent: _Sent, outcome: PartitionOutcome | None = None, error: BaseException | None = None) -> None:
        with self._lock:
            self._sent.discard(sent)
            if sent.future.done():
                return
            if error is None:
                sent.future.set_result(outcome)  # type: ignore[arg-type]
            else:
                sent.future.set_exception(error)
        if error is not None and sent.dask is not None:
            # What was given up is not to be done any more.
            with suppress(Exception):
                sent.dask.cancel()

    def _lost(self, sent: _Sent, error: BaseException) -> ArrowetlError:
        """In words: a job whose workers died one after another, or whose scheduler was lost."""
        name = type(error).__name__
        if name == "KilledWorker":
            words = "was lost with each of the workers that had it"
            remedy = "see the workers' logs: out of memory, most likely; then run again"
        elif "Cancelled" in name or "Closed" in name:
            words = f"was lost with the scheduler at {self.address}"
            remedy = "see that it runs, and has workers; then run again"
        else:
            words, remedy = f"failed at a worker ({name})", "see the worker's log; then run again"
        found = DataExtractionError(f"{_name(sent)}: the job {words}", remedy, transient=True)
        found.__cause__ = error
        return found

    def _look_after(self) -> None:
        """No job waits without end for workers that do not come."""
        while not self._closed.wait(1.0):
            self._look()
            with self._lock:
                waiting = list(self._sent)
            if time.monotonic() - self._seen > limits.cluster_wait_seconds_max:
                for sent in waiting:
                    self._end(
                        sent,
                        error=DataExtractionError(
                            f"{_name(sent)}: no worker at {self.address} for {limits.cluster_wait_seconds_max} seconds",
                            "see that scheduler and workers run; then run again",
                            transient=True,
                        ),
                    )
            elif self._workers:
                for sent in waiting:
                    if sent.allowed and not sent.allowed & self._workers.keys():
                        self._send(sent)

    def _look(self) -> None:
        """Ask the scheduler which workers there are; reconnect to it, where Dask has given that up."""
        there = {}
        with suppress(Exception):
            if self._client.status == "closed":
                self._client = _connected(self.address)
            if self._client.status == "running":
                ask, seconds = self._client.scheduler.identity, limits.cluster_seconds
                said = self._client.sync(ask, n_workers=-1, callback_timeout=seconds)["workers"]
                there = {address: int(one["nthreads"]) for address, one in said.items()}
        self._workers = there
        if there:
            self._seen = time.monotonic()

    def _refuse_other_versions(self) -> None:
        self._look()
        while not self._workers:
            if time.monotonic() - self._seen > limits.cluster_seconds:
                raise DatabaseConnectionError(
                    f"the Dask scheduler at {self.address} has no worker", "start some: dask worker ADDRESS"
                )
            time.sleep(0.1)
            self._look()
        asked = self._threads.submit(self._client.run, versions, on_error="return")
        try:
            found = asked.result(timeout=limits.cluster_seconds)
        except Exception as error:
            raise DatabaseConnectionError(
                f"the Dask scheduler at {self.address}, or a worker, does not answer ({type(error).__name__})",
                "see their logs; start again what does not run",
            ) from error
        wrong = [
            f"worker {address} has {others}" for address, there in sorted(found.items()) if (others := _others(there))
        ]
        if wrong:
            raise ConfigurationError("; ".join(wrong), "install the same there, and start its workers again")


def _name(sent: _Sent) -> str:
    return f"{sent.job.plan.name}[{sent.job.part.index}]"


def _others(there: Any) -> str:
    """How a worker differs from this process; nothing of one that left meanwhile."""
    if isinstance(there, OSError):
        return ""
    if isinstance(there, BaseException):
        return f"no arrowetl that can be used ({type(there).__name__})"
    return dask_worker.differing(versions(), there)


def _connected(address: str) -> Any:
    try:
        distributed = import_module("distributed")
    except ImportError as error:
        raise ConfigurationError(*MISSING) from error
    if address.startswith("tls") and not distributed.Security().tls_ca_file:
        raise ConfigurationError(
            f"{address} speaks TLS, and Dask has no settings of it here",
            "set DASK_DISTRIBUTED__COMM__TLS__CA_FILE and its like, as for scheduler and workers",
        )
    # What it logs of lost connections, with tracebacks, the tables report.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        return distributed.Client(address, timeout=limits.cluster_seconds, set_as_default=False, name="arrowetl")
    except (OSError, ValueError, TimeoutError) as error:
        raise DatabaseConnectionError(
            f"no Dask scheduler at {address} can be connected to within {limits.cluster_seconds} seconds",
            "start it: dask scheduler; or see its address",
        ) from error
