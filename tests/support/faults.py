"""
Servers that may be killed, ways to them that may be cut, and a run that is met by a fault at a step of its load kind.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from arrowetl import drivers, sql
from arrowetl.errors import ArrowetlError
from arrowetl.model.connection import VARIABLES
from arrowetl.sandbox import servers
from arrowetl.sandbox.launch import PASSWORD
from arrowetl.sql import mysql_name
from support import launcher
from support.clinic import Clinic
from support.launcher import Started
from support.relay import Relay, relay

SERVERS = ("source", "replica", "warehouse")
INJECTED = Path(__file__).parent / "injected.py"


@dataclass
class Ground:
    """A clinic whose servers are behind relays, and may be killed."""

    clinic: Clinic
    relays: dict[str, Relay]
    killed: set[str] = field(default_factory=set)

    def start(self, *arguments: str, at: str = "", directory: Path | None = None, **more: str) -> Started:
        """`arrowetl` through the relays; impatient, and stopping at a step if one is named."""
        outside = {n: v for n, v in os.environ.items() if not n.startswith(("TEST_", "ETL_", "PYTEST", "ARROWETL_F"))}
        ports = {f"TEST_{VARIABLES[name]}_PORT": str(way.port) for name, way in self.relays.items()}
        chosen = {
            "ARROWETL_RETRIES": "1",
            "ARROWETL_RETRY_SECONDS": "0.1",
            "ARROWETL_SILENCE_SECONDS": "2",
            "ARROWETL_CONNECT_SECONDS": "1",
        }
        fault = {"ARROWETL_FAULT_AT": at, "ARROWETL_FAULT_DIR": str(directory)} if at else {}
        environment = {**outside, **self.clinic.environment, **chosen, **ports, **fault, **more}
        command = ("--config", str(self.clinic.tables_file), *arguments)
        process = launcher.start(str(INJECTED), command, environment, self.clinic.directory)
        self.clinic.started.append(process)
        return process

    def kill(self, server: str) -> None:
        """`kill -9`, the server and its children."""
        self.killed.add(server)
        process = self.process(server)
        # One that is begun between the look and the blow would live on.
        process.suspend()
        family = [process, *process.children(recursive=True)]
        for one in family:
            with suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
        psutil.wait_procs(family, timeout=20)

    def process(self, server: str) -> psutil.Process:
        state = json.loads((self.clinic.sandbox.directory / "sandbox.json").read_text())
        return psutil.Process(state["processes"][server]["pid"])

    def mend(self) -> None:
        """All servers run, all ways are open."""
        for way in self.relays.values():
            way.mend()
        servers.start(self.clinic.sandbox.directory.name)
        if "source" in self.killed:
            # MyISAM's tables that were open then: whoever looks after the server has them repaired.
            session = drivers.MySQL(self.clinic.sandbox.admin("source"))
            for (name,) in session.rows("SHOW TABLES"):
                session.rows(f"REPAIR TABLE {mysql_name(name)}")
            session.close()
        self.killed.clear()


@contextmanager
def ground(clinic: Clinic) -> Iterator[Ground]:
    """The clinic behind relays, for the length of a block."""
    with ExitStack() as held:
        ways = {}
        for name in SERVERS:
            endpoint = getattr(clinic.sandbox, name)
            ways[name] = held.enter_context(relay(endpoint.host, endpoint.port))
        there = Ground(clinic, ways)
        yield there
        there.mend()


def wait_for(path: Path, process: Started, seconds: float = 60) -> bool:
    """Until a file is there; whether it came to be before the process ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if path.exists() and path.read_text():
            return True
        if process.poll() is not None:
            return path.exists()
        time.sleep(0.01)
    raise AssertionError(f"{path.name} never came to be")


# --- the faults ---------------------------------------------------------------------------------

Act = Callable[[Ground, Started, int], None]
"""What is done to a run that has stopped at a step: the ground, its process, and the number of the one that stopped."""


def _kill_arrowetl(there: Ground, process: Started, pid: int) -> None:
    process.kill()


def _kill_worker(there: Ground, process: Started, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _kill(server: str) -> Act:
    return lambda there, process, pid: there.kill(server)


def _restart(server: str) -> Act:
    def act(there: Ground, process: Started, pid: int) -> None:
        there.kill(server)
        there.mend()

    return act


def _way(server: str, what: str) -> Act:
    return lambda there, process, pid: getattr(there.relays[server], what)()


FAULTS: dict[str, Act] = {
    "kill -9 arrowetl": _kill_arrowetl,
    "kill -9 a worker": _kill_worker,
    **{f"kill -9 the {server}": _kill(server) for server in SERVERS},
    **{f"the {server} restarts": _restart(server) for server in SERVERS},
    **{f"connection to the {server} cut": _way(server, "cut") for server in SERVERS},
    **{f"connection to the {server} stalled": _way(server, "stall") for server in SERVERS},
    **{f"connection to the {server} reset": _way(server, "reset") for server in SERVERS},
}
IN_WORKERS = ("extract", "load", "ingest")
"""The steps that a worker process is at."""


def met(
    there: Ground, fault: str, step: str, directory: Path, *arguments: str, act: Act | None = None
) -> tuple[int, str, str] | None:
    """
    A run that is met by a fault at a step: its exit code, stdout and stderr; None where it never came there.

    Raises:
        subprocess.TimeoutExpired: it hung.
    """
    directory.mkdir()
    process = there.start("run", "--all", "--json", "--max-workers", "2", *arguments, at=step, directory=directory)
    reached = wait_for(directory / "reached", process)
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    if reached:
        (act or FAULTS[fault])(there, process, int((directory / "reached").read_text()))
    (directory / "go").touch()
    # Where a way is stalled, each attempt waits for seconds at each statement, and connectorx half a minute.
    stdout, stderr = process.communicate(timeout=180)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == [], "processes of it are left"
    assert PASSWORD not in stdout + stderr
    return (process.returncode, stdout, stderr) if reached else None


def rob(clinic: Clinic, what: str) -> None:
    """End the sessions that hold the run's locks, or all that it has."""
    chosen = "application_name LIKE 'arrowetl run %'" if what == "its locks" else "application_name LIKE 'arrowetl%'"
    admin = drivers.Postgres(clinic.sandbox.admin("warehouse"))
    admin.rows(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{clinic.sandbox.warehouse.user}' "
        f"AND {chosen}"
    )
    admin.close()
    server = drivers.MySQL(clinic.sandbox.admin("replica"))
    user = clinic.sandbox.replica.user
    there = server.rows(f"SELECT ID FROM information_schema.PROCESSLIST WHERE USER = '{user}'")
    if what == "its locks":
        name = sql.mysql_literal(f"arrowetl {sql.lock_number(clinic.sandbox.replica.database)}")
        there = server.rows(f"SELECT IS_USED_LOCK({name})")
    for (one,) in there:
        # It may have ended by itself.
        with suppress(ArrowetlError):
            server.execute(f"KILL {one}")
    server.close()
