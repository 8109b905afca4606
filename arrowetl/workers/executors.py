"""
Who loads partitions: threads of this process, processes of their own, or a cluster's workers; by name.

Each is an `Executor` of `concurrent.futures`. What it is given, and how much
of it at a time, is `pool`'s business.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import connection

from arrowetl import drivers
from arrowetl.workers import memory


def executor(name: str, count: int, jobs: int = 0, mask_key: bytes = b"") -> Executor:
    """
    So many workers of a kind.

    Args:
        jobs: at a cluster, at once; 0 for as many as come.
        mask_key: whose workers are to have the same.

    Raises:
        ConfigurationError, DatabaseConnectionError: there is no such cluster, or it is none to work with.
    """
    kind, _, address = name.partition(":")
    if kind == "dask":
        # It takes half a second to import, and only a cluster needs it.
        from arrowetl.workers.dask_client import Cluster

        return Cluster(address, jobs, mask_key)
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
