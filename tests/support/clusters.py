"""
A Dask cluster of real processes: `dask scheduler`, and `dask worker` as whoever looks after a machine keeps it running.

Workers end when they lose their scheduler; like a service they are started again, each under its number.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from arrowetl.sandbox import servers

DASK = str(Path(sys.executable).parent / "dask")


@dataclass
class Cluster:
    """A scheduler and its workers; whatever they write lies in a directory."""

    port: int
    directory: Path
    outside: Mapping[str, str]
    environment: Mapping[str, str]
    """Of workers."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    of: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """Worker → what is otherwise in its environment."""
    protocol: str = "tcp"
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def address(self) -> str:
        return f"{self.protocol}://127.0.0.1:{self.port}"

    @property
    def executor(self) -> str:
        return f"dask:{self.address}"

    def start_scheduler(self) -> None:
        self._start(
            "scheduler", ["scheduler", "--host", f"{self.protocol}://127.0.0.1", "--port", str(self.port)], self.outside
        )

    def kill(self, name: str) -> None:
        """`kill -9`, with whatever it started."""
        # Whoever keeps the workers running may put another one in its place meanwhile.
        killed = self.processes[name]
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(killed.pid)
            family = [process, *process.children(recursive=True)]
            for one in family:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            psutil.wait_procs(family, timeout=10)
        killed.wait()

    def keep_workers(self) -> None:
        """Start those that do not run."""
        while not self.ended.wait(0.2):
            for name in self.of:
                running = self.processes.get(name)
                if running is None or running.poll() is not None:
                    self._start_worker(name)

    def _start_worker(self, name: str) -> None:
        arguments = ["worker", self.address, "--nthreads", "1", "--name", name, "--no-nanny", "--no-dashboard"]
        environment = {**self.outside, **self.environment, **self.of[name]}
        self._start(name, [*arguments, "--death-timeout", "60"], environment)

    def _start(self, name: str, arguments: list[str], environment: Mapping[str, str]) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [DASK, *arguments], env=environment, stdout=log, stderr=log, cwd=self.directory
            )


def _wait_for(there: Cluster, workers: int) -> None:
    """Until so many are there; asked in a process of its own, which has the cluster's settings."""
    code = (
        f"from distributed import Client\nClient({there.address!r}, timeout=30).wait_for_workers({workers}, timeout=60)"
    )
    subprocess.run([sys.executable, "-c", code], env=dict(there.outside), check=True, capture_output=True)


@contextmanager
def cluster(
    environment: Mapping[str, str],
    workers: int = 2,
    others: Callable[[int], Mapping[str, str]] = lambda number: {},
    tls: Mapping[str, str] | None = None,
) -> Iterator[Cluster]:
    """
    A cluster for the length of a block.

    Args:
        environment: of its workers: the passwords are in it.
        others: number of a worker → what is otherwise in its environment.
        tls: Dask's settings, where it is to speak TLS.
    """
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("TEST_", "ETL_", "PYTEST"))}
    directory = Path(tempfile.mkdtemp(prefix="arrowetl-cluster-"))
    there = Cluster(servers.free_port(), directory, {**outside, **(tls or {})}, environment)
    there.protocol = "tls" if tls else "tcp"
    keeper = threading.Thread(target=there.keep_workers)
    try:
        there.start_scheduler()
        there.of = {f"worker{number}": others(number) for number in range(workers)}
        keeper.start()
        _wait_for(there, workers)
        yield there
    finally:
        there.ended.set()
        if keeper.is_alive():
            keeper.join()
        for name in list(there.processes):
            there.kill(name)
        shutil.rmtree(directory, ignore_errors=True)
