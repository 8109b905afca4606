"""
MySQL 5.6, the oldest server there is to be had, in the place of one of the sandbox's.

`nox -s compatibility` fetches its programs, and says where they are in ARROWETL_TEST_MYSQL_PROGRAMS.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from arrowetl import drivers
from arrowetl.errors import DatabaseConnectionError
from arrowetl.model import Endpoint
from arrowetl.sandbox.launch import ADMIN, PASSWORD

PROGRAMS = "ARROWETL_TEST_MYSQL_PROGRAMS"
_START_SECONDS = 60


def _accounts(endpoint: Endpoint) -> list[str]:
    # An old server's init file has one statement a line.
    password = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
    grants = "SELECT" if endpoint.name == "source" else "ALL PRIVILEGES"
    return [
        f"CREATE DATABASE `{endpoint.database}`;",
        f"GRANT ALL PRIVILEGES ON *.* TO '{ADMIN}'@'127.0.0.1' IDENTIFIED BY '{password}' WITH GRANT OPTION;",
        f"GRANT {grants} ON `{endpoint.database}`.* TO '{endpoint.user}'@'127.0.0.1' IDENTIFIED BY '{password}';",
    ]


@contextmanager
def running(home: Path, endpoint: Endpoint) -> Iterator[Endpoint]:
    """A server with the endpoint's database and accounts, on the endpoint's port, for the length of a block."""
    programs = Path(os.environ[PROGRAMS])
    home.mkdir()
    (home / "tmp").mkdir()
    # The package's own data directory, made by its makers.
    shutil.copytree(programs / "data" / "mysql", home / "data")
    (home / "accounts.sql").write_text("\n".join(_accounts(endpoint)) + "\n")
    (programs / "mysqld").chmod(0o755)
    settings = {
        "basedir": programs, "lc-messages-dir": programs / "share", "datadir": home / "data", "tmpdir": home / "tmp",
        "socket": home / "s", "pid-file": home / "pid", "init-file": home / "accounts.sql", "log-error": home / "log",
        "port": endpoint.port, "bind-address": "127.0.0.1", "innodb-use-native-aio": 0, "performance-schema": 0,
        "sql-mode": "", "character-set-server": "utf8", "max-allowed-packet": "64M", "innodb-buffer-pool-size": "128M",
        "local-infile": 1, **({"user": "root"} if os.geteuid() == 0 else {}),
    }  # fmt: skip
    process = subprocess.Popen(
        [str(programs / "mysqld"), "--no-defaults", "--skip-name-resolve",
         *(f"--{name}={value}" for name, value in settings.items())],
        env={**os.environ, "LD_LIBRARY_PATH": str(programs)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(endpoint):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"MySQL 5.6 did not start: {(home / 'log').read_text()[-600:]}")
            time.sleep(0.1)
        yield endpoint
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(home, ignore_errors=True)


def _answers(endpoint: Endpoint) -> bool:
    try:
        drivers.MySQL(endpoint).close()
    except DatabaseConnectionError:
        return False
    return True
