"""
One server of a sandbox: its data made, its process started, its accounts created.

Called by `servers`, which knows its owner and when it stops; where the
programs are is `programs`' business.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arrowetl import drivers
from arrowetl.errors import ConfigurationError, DatabaseConnectionError
from arrowetl.model.connection import Endpoint
from arrowetl.sandbox import programs
from arrowetl.sandbox.once import made_once
from arrowetl.sql import mysql_literal

# Every character that a URL, a shell or a conninfo string would trip over; the sandbox is on loopback only.
PASSWORD = "p@ss:w/rd#1?&%"  # noqa: S105
ADMIN = "sandbox_admin"

_START_SECONDS = 60
# The account of no login, where PostgreSQL refuses to run as root.
_NOBODY = 65534

# Those that this process started: it must wait for them, or they stay as zombies.
CHILDREN: list[subprocess.Popen[bytes]] = []


def mariadb(home: Path, endpoint: Endpoint, *options: str) -> subprocess.Popen[bytes]:
    server, install = programs.mariadb()
    data = home / "data"
    # Two servers that share a place for temporary files have been seen to stumble over each other's.
    temporary = home / "temporary"
    home.mkdir(mode=0o700, exist_ok=True)
    temporary.mkdir(exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(temporary)}

    def made(place: Path) -> None:
        arguments = ["--no-defaults", f"--datadir={place}", "--skip-test-db", *_mariadb_user()]
        _run([str(install), "--auth-root-authentication-method=normal", *arguments], home, env=environment)

    made_once(data, made)
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
            # From 11.4 on it would make certificates of its own.
            "--skip-ssl",
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
        env=environment,
    )


def _mariadb_user() -> list[str]:
    return ["--user=root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []


def granted(endpoint: Endpoint) -> str:
    """What arrowetl's own account may do at a server."""
    return "SELECT" if endpoint.name == "source" else "ALL PRIVILEGES"


def _mariadb_accounts(endpoint: Endpoint) -> list[str]:
    password, grants = mysql_literal(PASSWORD), granted(endpoint)
    return [
        f"CREATE DATABASE IF NOT EXISTS `{endpoint.database}`;",
        f"CREATE USER IF NOT EXISTS '{ADMIN}'@'127.0.0.1' IDENTIFIED BY {password};",
        f"GRANT ALL PRIVILEGES ON *.* TO '{ADMIN}'@'127.0.0.1' WITH GRANT OPTION;",
        f"CREATE USER IF NOT EXISTS '{endpoint.user}'@'127.0.0.1' IDENTIFIED BY {password};",
        f"GRANT {grants} ON `{endpoint.database}`.* TO '{endpoint.user}'@'127.0.0.1';",
        f"ALTER USER 'root'@'localhost' IDENTIFIED BY {password};",
    ]


def postgres(home: Path, endpoint: Endpoint, chosen: Path | None = None) -> subprocess.Popen[bytes]:
    binaries = programs.postgres(chosen)
    account: dict[str, Any] = {}
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        account = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        binaries = programs.reachable_by_others(binaries, home.parent.parent)
    data = home / "data"
    if not data.exists():
        home.mkdir(mode=0o700, exist_ok=True)
        if account and sys.platform != "win32":
            os.chown(home, _NOBODY, _NOBODY)
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
        made_once(data, lambda place: _run([str(binaries / "initdb"), "-D", str(place), *arguments], home, **account))
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


def _run(command: list[str], home: Path, **more: Any) -> None:
    done = subprocess.run(
        command, cwd=home, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **more
    )
    if done.returncode:
        raise ConfigurationError(f"sandbox: {Path(command[0]).name} failed: {_last_words(done.stdout + done.stderr)}")


def _spawn(command: list[str], home: Path, **more: Any) -> subprocess.Popen[bytes]:
    with (home / "log").open("ab") as log:
        # Its own session: a Ctrl-C in the terminal is for arrowetl, not for its servers.
        child = subprocess.Popen(
            command, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **more
        )
    CHILDREN.append(child)
    return child


def wait_until_up(endpoint: Endpoint, home: Path, alive: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    prepare = _prepare_postgres if endpoint.name == "warehouse" else _greet_mariadb
    while not prepare(endpoint):
        if not alive() or time.monotonic() > deadline:
            words = _last_words((home / "log").read_text(errors="replace"))
            raise DatabaseConnectionError(f"sandbox: the {endpoint.name}'s server did not start: {words}")
        time.sleep(0.05)


def _greet_mariadb(endpoint: Endpoint) -> bool:
    return _answers(lambda: drivers.MySQL(endpoint).close())


def _prepare_postgres(endpoint: Endpoint) -> bool:
    admin = Endpoint(
        name="warehouse",
        host=endpoint.host,
        port=endpoint.port,
        database="postgres",
        user=ADMIN,
        password=PASSWORD,
        namespace="",
        ssl_mode="disabled",
    )

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
    """The end of a server's log: the lines that say why, where there are any."""
    lines = [line.strip() for line in text.splitlines() if line.strip()][-30:]
    why = [line for line in lines if re.search(r"FATAL|PANIC|ERROR|terminated by|exited with", line)]
    return " | ".join((why or lines)[-3:])[-600:] or "it said nothing"
