"""
A job at a worker of a cluster: passwords, spills and sessions are the worker's own.

It came without a password, and finds them in the worker's environment, or in
a file there (`env.at_a_worker`). So many jobs of a run are let in at once
as its connections allow, by leases of the cluster's; a run's sessions stay
open for its next job, and are closed when none comes. `dask_client` sends jobs
here.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

from arrowetl import drivers, limits
from arrowetl.config import connections, env
from arrowetl.errors import ArrowetlError, ConfigurationError, DataExtractionError, EnvironmentError, unexpected
from arrowetl.model.connection import MASK_KEY_VARIABLE, Credentials, Endpoint, Route
from arrowetl.model.result import PartitionOutcome
from arrowetl.planning import connection_budget
from arrowetl.replica.spill import run_directory
from arrowetl.state.receipt_store import versions
from arrowetl.workers import jobs, memory
from arrowetl.workers.jobs import Job


@dataclass(frozen=True)
class Terms:
    """On which a run's jobs are done."""

    versions: tuple[tuple[str, str], ...]
    jobs: int
    """At once, by all workers together; 0 for as many as come."""
    idle_seconds: float
    """After which a worker gives back what it keeps for the run's next job."""
    key_mark: str
    """By which the key of masks is known to be the run's; empty where there is none."""


@dataclass(eq=False)
class _OpenRoute:
    """What a worker keeps of a run: the route with what it lacked, a directory, leases."""

    route: Route
    held: ExitStack
    leases: Any
    idle_seconds: float
    free: int = 0
    """Unused leases."""
    at_work: int = 0
    used: float = field(default_factory=time.monotonic)


_OPEN_ROUTES: dict[Route, _OpenRoute] = {}
_LOCK, _OPENING = threading.Lock(), threading.Lock()
_LOOKS = threading.Event()
"""Whether the thread is running."""


def run_job(load: Callable[[Job], PartitionOutcome], job: Job, terms: Terms) -> PartitionOutcome:
    """
    One job, in whatever worker it came to.

    Raises:
        ArrowetlError: what went wrong; of a server that this worker cannot reach, with its name as `worker`.
    """
    failure: ArrowetlError
    try:
        refuse_other_versions(dict(terms.versions))
        with _let_in(job.route, terms) as route:
            part = replace(job.part, execution=uuid4().hex)
            outcome = jobs.run_job(load, replace(job, route=route, part=part))
            return replace(outcome, part=part if part.resume_token else None, process=_address())
    except ArrowetlError as error:
        failure = error
    except Exception as error:
        failure = unexpected(job.plan.name, error)
    # What led to it may hold values of rows, which neither a scheduler nor a log need see.
    failure.worker, failure.__cause__, failure.__context__ = _address(), None, None
    raise failure.with_traceback(None)


def refuse_other_versions(wanted: Mapping[str, str]) -> None:
    """
    Raises:
        ConfigurationError: this worker has another Python, arrowetl or driver than the run.
    """
    others = differing(wanted, versions())
    if others:
        raise ConfigurationError(
            f"worker {_address()} has {others}", "install the same there, and start its workers again"
        )


def differing(wanted: Mapping[str, str], there: Mapping[str, str]) -> str:
    """
    >>> differing({"pyarrow": "23.0", "python": "3.12"}, {"pyarrow": "22.0", "python": "3.12"})
    'pyarrow 22.0 instead of 23.0'
    """
    return ", ".join(
        f"{name} {there.get(name, 'missing')} instead of {version}"
        for name, version in wanted.items()
        if there.get(name) != version
    )


def close_sessions(route: Route) -> None:
    """Close what this worker keeps of a run."""
    # The caller is the worker's event loop, which must not wait: leases are taken and given back through it.
    threading.Thread(target=_left, args=(route,), name="leave").start()


def _left(route: Route) -> None:
    with _LOCK:
        opened = _OPEN_ROUTES.pop(route, None) if route in _OPEN_ROUTES and not _OPEN_ROUTES[route].at_work else None
    if opened:
        _close(opened)


@contextmanager
def _let_in(route: Route, terms: Terms) -> Iterator[Route]:
    """The route with what this worker knows, once there is a lease for the job."""
    opened = _open_route(route, terms)
    try:
        with _LOCK:
            leased, opened.free = opened.free > 0, max(0, opened.free - 1)
        if not leased and opened.leases and not opened.leases.acquire(timeout=limits.lease_seconds):
            raise DataExtractionError(
                f"worker {_address()}: no turn within {limits.lease_seconds:,} seconds: all connections are taken",
                "run again; allow more connections in settings of arrowetl.yml, or fewer workers",
                transient=True,
            )
        try:
            yield opened.route
        finally:
            with _LOCK:
                opened.free += 1
    finally:
        with _LOCK:
            opened.at_work -= 1
            opened.used = time.monotonic()


def _open_route(route: Route, terms: Terms) -> _OpenRoute:
    """What is kept of a run, made for its first job; marked as used, so that it is not closed."""
    # One is opened at a time, which asks servers and the scheduler; jobs of a route that is open do not wait for that.
    with _LOCK:
        opened = _used(route, terms)
    if opened is None:
        with _OPENING:
            with _LOCK:
                opened = _used(route, terms)
            if opened is None:
                opened = _opened(route, terms)
                with _LOCK:
                    _OPEN_ROUTES[route] = opened
                    _used(route, terms)
    with _LOCK:
        if not _LOOKS.is_set():
            _LOOKS.set()
            drivers.mute_panics()
            memory.share()
            threading.Thread(target=_look_after, daemon=True, name="ways").start()
        return opened


def _used(route: Route, terms: Terms) -> _OpenRoute | None:
    """What is kept of a run, with one more active job; None where nothing is."""
    if opened := _OPEN_ROUTES.get(route):
        opened.at_work, opened.idle_seconds = opened.at_work + 1, terms.idle_seconds
    return opened


def _opened(route: Route, terms: Terms) -> _OpenRoute:
    found = route.credentials or Credentials("")
    values = env.at_a_worker(found, os.environ)
    key = values.get(MASK_KEY_VARIABLE, "").encode()
    if terms.key_mark and key_mark(route.run_id, key) != terms.key_mark:
        raise EnvironmentError(
            f"worker {_address()}: {MASK_KEY_VARIABLE} is {'another one than the run has' if key else 'not set'} there",
            "give its workers the key that the run has",
        )
    missing = [
        f"{one.settings}_PASSWORD"
        for one in route.endpoints
        if not one.socket and connections.password_of(one.name, values) is None
    ]
    if missing:
        test = "TEST_" if found.environment == "test" else ""
        names = ", ".join(f"{test}{found.prefix}{name}" for name in missing)
        raise EnvironmentError(
            f"worker {_address()}: not set there, and passwords do not travel: {names}",
            f"set them in the worker's environment, or in {found.file or 'a file'} in {env.SECRETS_VARIABLE} there",
        )
    complete = route.with_endpoints(lambda endpoint: _with_secrets(endpoint, values))
    choices = replace(
        route.choices,
        source_connections=connection_budget.ELSEWHERE,
        replica_connections=connection_budget.ELSEWHERE,
        warehouse_connections=connection_budget.ELSEWHERE,
    )
    with ExitStack() as held:
        spills = None
        if route.spill_directory:
            parent = Path(values.get("ARROWETL_SPILL_DIR") or env.DEFAULT_SPILL_DIRECTORY)
            spills = held.enter_context(run_directory(parent))
        mask_key = route.mask_key if route.mask_key is None else key
        complete = replace(complete, spill_directory=spills, choices=choices, mask_key=mask_key)
        held.callback(jobs.close_sessions, complete)
        leases = _leases(route.run_id, terms.jobs) if terms.jobs else None
        return _OpenRoute(complete, held.pop_all(), leases, terms.idle_seconds)


def _leases(run_id: str, jobs: int) -> Any:
    """Those of a worker that died are given to others after a while, which is Dask's to keep."""
    settings = {"distributed.scheduler.locks.lease-timeout": f"{limits.lease_lost_seconds}s"}
    with import_module("dask").config.set(settings):
        leases = import_module("distributed").Semaphore(max_leases=jobs, name=f"arrowetl {run_id}")
        leases.register()
        return leases


def _with_secrets(endpoint: Endpoint, values: Mapping[str, str]) -> Endpoint:
    found, _ = connections.said_of(endpoint.name, values)
    return replace(
        endpoint,
        password=found.get("PASSWORD"),
        ssl_ca=found.get("SSL_CA") or endpoint.ssl_ca,
        ssl_cert=found.get("SSL_CERT") or endpoint.ssl_cert,
        ssl_key=found.get("SSL_KEY") or endpoint.ssl_key,
    )


@lru_cache
def key_mark(run_id: str, key: bytes) -> str:
    """By which a key can be recognised, and not found; another one in each run."""
    return hashlib.scrypt(key, salt=run_id.encode(), n=2**14, r=8, p=1, dklen=16).hex() if key else ""


def _look_after() -> None:
    """Close what was not used for as long as its run would have it kept."""
    while True:
        time.sleep(limits.cluster_poll_seconds)
        now = time.monotonic()
        with _LOCK:
            idle = [
                route
                for route, opened in _OPEN_ROUTES.items()
                if not opened.at_work and now - opened.used >= opened.idle_seconds
            ]
            closing = [_OPEN_ROUTES.pop(route) for route in idle]
        for opened in closing:
            _close(opened)


def _close(opened: _OpenRoute) -> None:
    with suppress(Exception):
        opened.held.close()
    if opened.leases is None:
        return
    for _ in range(opened.free):
        with suppress(Exception):
            opened.leases.release()
    with suppress(Exception):
        opened.leases.loop.add_callback(opened.leases.refresh_callback.stop)


def _address() -> str:
    with suppress(Exception):
        return str(import_module("distributed").get_worker().address)
    return f"process {os.getpid()}"
