"""
MySQL 5.6, the oldest server there is to be had, in the place of one of the sandbox's.

`nox -s compatibility` fetches its programs, and says where they are in ARROWETL_TEST_MYSQL_PROGRAMS.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arrowetl.model.connection import Endpoint
from arrowetl.sandbox import launch
from arrowetl.sandbox.launch import ADMIN, PASSWORD
from arrowetl.sql import mysql_literal

PROGRAMS = "ARROWETL_TEST_MYSQL_PROGRAMS"


def _accounts(endpoint: Endpoint) -> list[str]:
    # An old server's init file has one statement a line.
    password, grants = mysql_literal(PASSWORD), launch.granted(endpoint)
    return [
        f"CREATE DATABASE `{endpoint.database}`;",
        f"GRANT ALL PRIVILEGES ON *.* TO '{ADMIN}'@'127.0.0.1' IDENTIFIED BY {password} WITH GRANT OPTION;",
        f"GRANT {grants} ON `{endpoint.database}`.* TO '{endpoint.user}'@'127.0.0.1' IDENTIFIED BY {password};",
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
        launch.wait_until_up(endpoint, home, lambda: process.poll() is None)
        yield endpoint
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(home, ignore_errors=True)
