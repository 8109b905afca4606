"""
Private servers: MariaDB for the source, MariaDB for the replica, PostgreSQL
for the warehouse.

Each sandbox is a directory with the data of its three servers and a file that
says which processes are its own. It never touches a server it did not start.
How a server is started is in `launch`; `seed` fills the source.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from arrowetl.errors import ConfigurationError
from arrowetl.model.connection import VARIABLES, Endpoint
from arrowetl.sandbox import launch
from arrowetl.sandbox.launch import ADMIN, PASSWORD
from arrowetl.sandbox.once import can_be_passed

# Unusual, so that they collide with no other server, and below the range that systems hand out to clients;
# conf/.env_test names the same.
PORTS = {"source": 23306, "replica": 23307, "warehouse": 25432}
DATABASES = {
    "source": "test_opendental",
    "replica": "test_opendental_replication",
    "warehouse": "test_opendental_analytics",
}
USERS = {"source": "clinic_reader", "replica": "arrowetl", "warehouse": "arrowetl"}
_STOP_SECONDS = 30
_STATE = "sandbox.json"


@dataclass(frozen=True)
class Sandbox:
    """Three running servers."""

    directory: Path
    source: Endpoint
    replica: Endpoint
    warehouse: Endpoint

    def admin(self, name: str) -> Endpoint:
        """An endpoint with every privilege on one of the three servers, for seeding and for tests."""
        endpoint: Endpoint = getattr(self, name)
        return Endpoint(
            name=name,
            host=endpoint.host,
            port=endpoint.port,
            database=endpoint.database,
            user=ADMIN,
            password=PASSWORD,
            namespace=endpoint.namespace,
            ssl_mode="disabled",
        )

    def environment(self) -> dict[str, str]:
        """The settings that lead arrowetl here (DESIGN: `TEST_` names, so that production is never meant)."""
        variables = {"ETL_ENVIRONMENT": "test"}
        for name, prefix in VARIABLES.items():
            endpoint: Endpoint = getattr(self, name)
            variables |= {
                f"TEST_{prefix}_HOST": endpoint.host,
                f"TEST_{prefix}_PORT": str(endpoint.port),
                f"TEST_{prefix}_DB": endpoint.database,
                f"TEST_{prefix}_USER": endpoint.user,
                f"TEST_{prefix}_PASSWORD": endpoint.password,
            }
        variables["TEST_POSTGRES_ANALYTICS_SCHEMA"] = self.warehouse.namespace
        return variables


def root() -> Path:
    """Where this user's sandboxes live; ARROWETL_SANDBOX_DIR chooses another place."""
    chosen = os.environ.get("ARROWETL_SANDBOX_DIR")
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    place = Path(chosen) if chosen else _temporary() / f"arrowetl-sandbox-{user}"
    place.mkdir(parents=True, exist_ok=True)
    if hasattr(os, "getuid") and place.stat().st_uid != os.getuid():
        remedy = "choose a place in ARROWETL_SANDBOX_DIR"
        raise ConfigurationError(f"sandbox: {place} belongs to another account", remedy)
    # Others may pass through (PostgreSQL may run as another user) but not look around.
    place.chmod(0o711)
    if _as_another_user() and not can_be_passed(place):
        raise ConfigurationError(
            f"sandbox: {place} lies in a directory that others may not enter, and PostgreSQL, which refuses to run as "
            "root, runs as another user",
            "choose a place in ARROWETL_SANDBOX_DIR that others may pass through, such as /var/tmp/arrowetl",
        )
    return place


def _temporary() -> Path:
    """Where temporary files go; not in a private home, where another user is to find them."""
    usual = Path(tempfile.gettempdir())
    others = (Path("/tmp"), Path("/var/tmp")) if _as_another_user() else ()  # noqa: S108
    return next((place for place in (usual, *others) if place.is_dir() and can_be_passed(place)), usual)


def _as_another_user() -> bool:
    """Whether PostgreSQL runs as another user than this program."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def start(
    name: str,
    ports: Mapping[str, int] | None = None,
    owned: bool = True,
    postgres: Path | None = None,
    mariadb_options: tuple[str, ...] = (),
) -> Sandbox:
    """
    Start the servers of a sandbox, or those of them that do not run.

    Args:
        ports: server name → port; default free ones.
        owned: the servers are stopped, and their data removed, once this process ends.
        postgres: the directory of PostgreSQL's programs; default the wheel's.

    Raises:
        ConfigurationError: a program is missing, or a port is taken.
        DatabaseConnectionError: a server did not start; its own last words are in the message.
    """
    sweep()
    directory = root() / name
    state = _read_state(directory)
    if state is None:
        state = {
            "owner": _process_mark(os.getpid()) if owned else None,
            "ports": dict(ports or {server: free_port() for server in PORTS}),
            "processes": {},
        }
    elif ports and dict(ports) != state["ports"]:
        raise ConfigurationError(
            f"sandbox: it already exists, on the ports {state['ports']}",
            "arrowetl sandbox down --delete, then up",
        )
    directory.mkdir(mode=0o711, exist_ok=True)
    _write_state(directory, state)
    sandbox = Sandbox(directory, **{server: _endpoint(server, state["ports"][server]) for server in PORTS})
    missing = [server for server in PORTS if not _alive(state["processes"].get(server))]
    for server in missing:
        _refuse_taken_port(server, state["ports"][server])
    for server in missing:
        home, endpoint = directory / server, getattr(sandbox, server)
        if server == "warehouse":
            process = launch.postgres(home, endpoint, postgres)
        else:
            process = launch.mariadb(home, endpoint, *mariadb_options)
        state["processes"][server] = _process_mark(process.pid)
        _write_state(directory, state)
    for server in missing:
        alive = partial(_alive, state["processes"][server])
        launch.wait_until_up(getattr(sandbox, server), directory / server, alive)
    return sandbox


def stop(name: str, delete: bool) -> list[str]:
    """
    Stop a sandbox's servers; return the names of those that ran.
    """
    directory = root() / name
    state = _read_state(directory)
    if state is None:
        return []
    running = {server: mark for server, mark in state["processes"].items() if _alive(mark)}
    for server, mark in running.items():
        process = psutil.Process(mark["pid"])
        with suppress(psutil.NoSuchProcess):
            # Data that is never read again need not be flushed. PostgreSQL: an orderly stop now is SIGINT.
            if delete:
                process.kill()
            elif server == "warehouse" and hasattr(os, "getuid"):
                process.send_signal(2)
            else:
                process.terminate()
    for mark in running.values():
        with suppress(psutil.NoSuchProcess):
            psutil.Process(mark["pid"]).wait(_STOP_SECONDS)
    launch.CHILDREN[:] = [child for child in launch.CHILDREN if child.poll() is None]
    if delete:
        shutil.rmtree(directory, ignore_errors=True)
    return list(running)


def status(name: str) -> dict[str, str]:
    """Server name → where it listens, or that it does not."""
    state = _read_state(root() / name)
    if state is None:
        return {}
    return {
        server: f"127.0.0.1:{state['ports'][server]}" + ("" if _alive(state["processes"].get(server)) else ", stopped")
        for server in PORTS
    }


@contextmanager
def sandbox(name: str, **options: Any) -> Iterator[Sandbox]:
    """A sandbox for the length of a block; its data goes with it."""
    unique = f"{name}-{os.getpid()}"
    try:
        yield start(unique, **options)
    finally:
        stop(unique, delete=True)


def sweep() -> None:
    """Stop and remove the sandboxes whose owner was killed before it could do so."""
    for directory in root().iterdir():
        state = _read_state(directory)
        if state and state["owner"] and not _alive(state["owner"]):
            stop(directory.name, delete=True)


def _endpoint(server: str, port: int) -> Endpoint:
    namespace = "raw" if server == "warehouse" else ""
    return Endpoint(
        name=server,
        host="127.0.0.1",
        port=port,
        database=DATABASES[server],
        user=USERS[server],
        password=PASSWORD,
        namespace=namespace,
        ssl_mode="disabled",
    )


# --- what is written down about them ------------------------------------------------------------


def _read_state(directory: Path) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = json.loads((directory / _STATE).read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return state


def _write_state(directory: Path, state: dict[str, Any]) -> None:
    unfinished = directory / f"{_STATE}.unfinished"
    unfinished.write_text(json.dumps(state, indent=2))
    unfinished.replace(directory / _STATE)


def _process_mark(pid: int) -> dict[str, Any]:
    # A process number is used again; together with the time of its start it is not.
    return {"pid": pid, "created": psutil.Process(pid).create_time()}


def _alive(mark: dict[str, Any] | None) -> bool:
    if mark is None:
        return False
    try:
        process = psutil.Process(mark["pid"])
        return abs(process.create_time() - mark["created"]) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def free_port() -> int:
    """A port of loopback that had no listener just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _refuse_taken_port(server: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigurationError(
                f"sandbox: port {port}, meant for the {server}, is taken",
                "choose others: arrowetl sandbox up --ports SOURCE,REPLICA,WAREHOUSE",
            ) from error
