"""
Private servers: MariaDB for the source, MariaDB for the replica, PostgreSQL
for the warehouse.

Each sandbox is a directory with the data of its three servers and a file that
says which processes are its own. It never touches a server it did not start.
`programs` knows where the servers' programs are; `seed` fills the source.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from arrowetl.errors import ConfigurationError, DatabaseConnectionError
from arrowetl.model import Endpoint
from arrowetl.sandbox import programs

# Unusual, so that they collide with nobody's server, and below the range that systems hand out to clients;
# conf/.env_test names the same.
PORTS = {"source": 23306, "replica": 23307, "warehouse": 25432}
DATABASES = {
    "source": "test_opendental",
    "replica": "test_opendental_replication",
    "warehouse": "test_opendental_analytics",
}
USERS = {"source": "clinic_reader", "replica": "arrowetl", "warehouse": "arrowetl"}
# Every character that a URL, a shell or a conninfo string would trip over; the sandbox is on loopback only.
PASSWORD = "p@ss:w/rd#1?&%"  # noqa: S105
ADMIN = "sandbox_admin"

_START_SECONDS = 60
_STOP_SECONDS = 30
_STATE = "sandbox.json"
# Nobody's account, where PostgreSQL refuses to run as root.
_NOBODY = 65534


# Those that this process started: it must take note of their ends, or they stay as zombies.
_CHILDREN: list[subprocess.Popen[bytes]] = []


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
            name,
            endpoint.host,
            endpoint.port,
            endpoint.database,
            ADMIN,
            PASSWORD,
            endpoint.namespace,
            "disabled",
        )

    def environment(self) -> dict[str, str]:
        """The settings that lead arrowetl here (DESIGN: `TEST_` names, so that production is never meant)."""
        names = {
            "source": "OPENDENTAL_SOURCE",
            "replica": "MYSQL_REPLICATION",
            "warehouse": "POSTGRES_ANALYTICS",
        }
        variables = {"ETL_ENVIRONMENT": "test"}
        for name, prefix in names.items():
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
    place = Path(chosen) if chosen else Path(tempfile.gettempdir()) / f"arrowetl-sandbox-{user}"
    place.mkdir(parents=True, exist_ok=True)
    if hasattr(os, "getuid") and place.stat().st_uid != os.getuid():
        raise ConfigurationError(f"sandbox: {place} belongs to somebody else", "choose a place in ARROWETL_SANDBOX_DIR")
    # Others may pass through (PostgreSQL may run as another user) but not look around.
    place.chmod(0o711)
    return place


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
        owned: the servers are stopped, and their data removed, once this process is gone.
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
            "ports": dict(ports or {server: _free_port() for server in PORTS}),
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
        launch = _launch_postgres if server == "warehouse" else _launch_mariadb
        options = (postgres,) if server == "warehouse" else mariadb_options
        process = launch(directory / server, getattr(sandbox, server), *options)
        state["processes"][server] = _process_mark(process.pid)
        _write_state(directory, state)
    for server in missing:
        _wait_until_up(getattr(sandbox, server), directory / server, state["processes"][server])
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
            # Data that nobody will read again need not be flushed. PostgreSQL: an orderly stop now is SIGINT.
            if delete:
                process.kill()
            elif server == "warehouse" and hasattr(os, "getuid"):
                process.send_signal(2)
            else:
                process.terminate()
    for mark in running.values():
        with suppress(psutil.NoSuchProcess):
            psutil.Process(mark["pid"]).wait(_STOP_SECONDS)
    _CHILDREN[:] = [child for child in _CHILDREN if child.poll() is None]
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


# --- the servers --------------------------------------------------------------------------------


def _endpoint(server: str, port: int) -> Endpoint:
    namespace = "raw" if server == "warehouse" else ""
    return Endpoint(server, "127.0.0.1", port, DATABASES[server], USERS[server], PASSWORD, namespace, "disabled")


def _launch_mariadb(home: Path, endpoint: Endpoint, *options: str) -> subprocess.Popen[bytes]:
    server, install = programs.mariadb()
    data = home / "data"
    if not data.exists():
        home.mkdir(mode=0o700, exist_ok=True)
        unfinished = home / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        arguments = ["--no-defaults", f"--datadir={unfinished}", "--skip-test-db", *_mariadb_user()]
        _run([str(install), "--auth-root-authentication-method=normal", *arguments], home)
        unfinished.rename(data)
    accounts = home / "accounts.sql"
    accounts.write_text("\n".join(_mariadb_accounts(endpoint)) + "\n")
    accounts.chmod(0o600)
    return _spawn(
        [
            str(server),
            "--no-defaults",
            f"--datadir={data}",
            f"--init-file={accounts}",
            f"--port={endpoint.port}",
            "--bind-address=127.0.0.1",
            f"--socket={_socket_path(home)}",
            f"--pid-file={home / 'pid'}",
            f"--log-error={home / 'log'}",
            "--skip-name-resolve",
            "--local-infile=1",
            "--max-allowed-packet=64M",
            "--innodb-buffer-pool-size=256M",
            # A killed server loses nothing at this setting; a killed machine may, and a sandbox may too.
            "--innodb-flush-log-at-trx-commit=2",
            # A clinic's server is old: utf8 of three bytes, and no strict mode.
            *(
                ["--character-set-server=utf8mb3", "--collation-server=utf8mb3_general_ci", "--sql-mode="]
                if endpoint.name == "source"
                else ["--character-set-server=utf8mb4"]
            ),
            *_mariadb_user(),
            *options,
        ],
        home,
    )


def _mariadb_user() -> list[str]:
    return ["--user=root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []


def _mariadb_accounts(endpoint: Endpoint) -> list[str]:
    password = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
    grants = "SELECT" if endpoint.name == "source" else "ALL PRIVILEGES"
    return [
        f"CREATE DATABASE IF NOT EXISTS `{endpoint.database}`;",
        f"CREATE USER IF NOT EXISTS '{ADMIN}'@'127.0.0.1' IDENTIFIED BY '{password}';",
        f"GRANT ALL PRIVILEGES ON *.* TO '{ADMIN}'@'127.0.0.1' WITH GRANT OPTION;",
        f"CREATE USER IF NOT EXISTS '{endpoint.user}'@'127.0.0.1' IDENTIFIED BY '{password}';",
        f"GRANT {grants} ON `{endpoint.database}`.* TO '{endpoint.user}'@'127.0.0.1';",
        f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{password}';",
    ]


def _launch_postgres(home: Path, endpoint: Endpoint, chosen: Path | None = None) -> subprocess.Popen[bytes]:
    binaries = programs.postgres(chosen)
    account: dict[str, Any] = {}
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        account = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        binaries = programs.reachable_by_others(binaries, root())
    data = home / "data"
    if not data.exists():
        home.mkdir(mode=0o700, exist_ok=True)
        if account:
            os.chown(home, _NOBODY, _NOBODY)
        unfinished = home / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        password = home / "password"
        password.write_text(PASSWORD)
        arguments = [
            "-U",
            ADMIN,
            f"--pwfile={password}",
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]
        _run([str(binaries / "initdb"), "-D", str(unfinished), *arguments], home, **account)
        unfinished.rename(data)
    settings = {
        "port": endpoint.port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "shared_buffers": "256MB",
        "max_wal_size": "2GB",
        # As above: a killed server loses nothing without it.
        "fsync": "off",
    }
    flags = [flag for key, value in settings.items() for flag in ("-c", f"{key}={value}")]
    return _spawn([str(binaries / "postgres"), "-D", str(data), *flags], home, **account)


def _socket_path(home: Path) -> Path:
    # A socket's path holds some hundred bytes, a directory's more: then the socket lives with the temporary files.
    path = home / "socket"
    if len(str(path)) < 100:
        return path
    return Path(tempfile.gettempdir()) / f"arrowetl-{abs(hash(home)) % 10**8}.sock"


def _run(command: list[str], home: Path, **account: Any) -> None:
    done = subprocess.run(
        command, cwd=home, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **account
    )
    if done.returncode:
        raise ConfigurationError(f"sandbox: {Path(command[0]).name} failed: {_last_words(done.stdout + done.stderr)}")


def _spawn(command: list[str], home: Path, **account: Any) -> subprocess.Popen[bytes]:
    with (home / "log").open("ab") as log:
        # Its own session: a Ctrl-C in the terminal is for arrowetl, not for its servers.
        child = subprocess.Popen(
            command, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **account
        )
    _CHILDREN.append(child)
    return child


def _wait_until_up(endpoint: Endpoint, home: Path, mark: dict[str, Any]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    prepare = _prepare_postgres if endpoint.name == "warehouse" else _greet_mariadb
    while not prepare(endpoint):
        if not _alive(mark) or time.monotonic() > deadline:
            words = _last_words((home / "log").read_text(errors="replace"))
            raise DatabaseConnectionError(f"sandbox: the {endpoint.name}'s server did not start: {words}")
        time.sleep(0.05)


def _greet_mariadb(endpoint: Endpoint) -> bool:
    from arrowetl import drivers

    return _answers(lambda: drivers.MySQL(endpoint).close())


def _prepare_postgres(endpoint: Endpoint) -> bool:
    from arrowetl import drivers

    admin = Endpoint("warehouse", endpoint.host, endpoint.port, "postgres", ADMIN, PASSWORD, "", "disabled")

    def prepare() -> None:
        server = drivers.Postgres(admin)
        try:
            literal = "'" + PASSWORD.replace("'", "''") + "'"
            if not server.rows(f"SELECT 1 FROM pg_roles WHERE rolname = '{endpoint.user}'"):
                server.execute(f'CREATE ROLE "{endpoint.user}" LOGIN PASSWORD {literal}')
            if not server.rows(f"SELECT 1 FROM pg_database WHERE datname = '{endpoint.database}'"):
                server.execute(f'CREATE DATABASE "{endpoint.database}" OWNER "{endpoint.user}"')
        finally:
            server.close()

    return _answers(prepare)


def _answers(ask: Callable[[], None]) -> bool:
    try:
        ask()
    except DatabaseConnectionError:
        return False
    return True


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-3:])[-600:] or "it said nothing"


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
    # A process number is used again; together with the moment of its start it is not.
    return {"pid": pid, "created": psutil.Process(pid).create_time()}


def _alive(mark: dict[str, Any] | None) -> bool:
    if mark is None:
        return False
    try:
        process = psutil.Process(mark["pid"])
        return abs(process.create_time() - mark["created"]) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _free_port() -> int:
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
