"""
The sandbox's servers with nothing in them, `arrowetl` set to them and run as a user runs it, and what is asked of both.

Fixtures that make one are in conftest.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from arrowetl import drivers, sql
from arrowetl.errors import DatabaseQueryError
from arrowetl.sandbox import servers
from arrowetl.sql import mysql_name, postgres_name
from support import launcher


def chosen(server: str) -> str:
    """Which program the source or the replica of the tests is: `mariadb`, unless the environment says `mysql`."""
    return os.environ.get(f"ARROWETL_TEST_{server.upper()}", "mariadb")


def settle() -> None:
    """Until MyISAM's timestamps, which have no fractions, show what was written from what will be."""
    time.sleep(2.1)


@dataclass
class Clinic:
    """The sandbox with nothing in it, and `arrowetl` set to it."""

    sandbox: servers.Sandbox
    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    started: list[launcher.Started] = field(default_factory=list)
    undo: list[Callable[[], object]] = field(default_factory=list)
    """What is to be set right again when the test has ended."""

    @property
    def tables_file(self) -> Path:
        return self.directory / "tables.yml"

    def create(self, statements: str, server: str = "source") -> None:
        """Run statements, separated by a line with a lone semicolon or by `;` at a line's end, as an administrator."""
        session = drivers.MySQL(self.sandbox.admin(server))
        session.execute("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'")
        for statement in statements.split(";\n"):
            if statement.strip():
                session.execute(statement)
        session.close()

    def warehouse(self, statement: str) -> list[tuple[Any, ...]]:
        session = drivers.Postgres(self.sandbox.warehouse)
        try:
            return session.rows(statement)
        finally:
            session.close()

    def warehouse_execute(self, statement: str) -> None:
        session = drivers.Postgres(self.sandbox.warehouse)
        session.execute(statement)
        session.close()

    def start(self, *arguments: str, limit_file_bytes: str = "", **more: str) -> launcher.Started:
        """Start `arrowetl` as a process of its own, whose files may not grow past a limit if there is one."""
        outside = {
            name: value for name, value in os.environ.items() if not name.startswith(("TEST_", "ETL_", "PYTEST"))
        }
        # Bytecode is kept, as an installed program's is: hundreds of starts need not compile it again, 0.25 s each.
        environment = {
            **outside,
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPATH": str(launcher.WITHOUT_PANDAS),
            **self.environment,
            **more,
        }
        environment = {name: value for name, value in environment.items() if value != ""}
        command = ("--config", str(self.tables_file), *arguments)
        process = launcher.start("arrowetl", command, environment, self.directory, int(limit_file_bytes or 0))
        self.started.append(process)
        return process

    def arrowetl(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run `arrowetl` to its end."""
        process = self.start(*arguments, **more)
        stdout, stderr = process.communicate(timeout=300)
        return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)

    def run(self, *arguments: str, **more: str) -> dict[str, Any]:
        """Run `arrowetl run … --json`; the document."""
        done = self.arrowetl("run", *(arguments or ("--all",)), "--json", **more)
        assert done.stdout, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        assert document["exit_code"] == done.returncode
        return document

    def wait_for_the_middle(self, process: launcher.Started) -> None:
        """Until some staging table has rows at the warehouse."""
        session = drivers.Postgres(self.sandbox.warehouse)
        deadline = time.monotonic() + 60
        try:
            while time.monotonic() < deadline:
                assert process.poll() is None, process.communicate()
                names = session.rows(f"SELECT tablename::text FROM pg_tables WHERE tablename LIKE '{sql.STAGING}%'")
                for (name,) in names:
                    # A small table's staging may be deleted between the two questions.
                    with suppress(DatabaseQueryError):
                        if session.rows(f"SELECT EXISTS (SELECT FROM {sql.postgres_table('raw', name)})")[0][0]:
                            return
                time.sleep(0.02)
            pytest.fail("the run never came to its middle")
        finally:
            session.close()

    def leftovers(self) -> list[str]:
        """Staging tables at either target, and spills."""
        replica = drivers.MySQL(self.sandbox.replica)
        found = [name for (name,) in replica.rows("SHOW TABLES") if name.startswith("arrowetl_")]
        replica.close()
        ours = self.warehouse("SELECT tablename::text FROM pg_tables WHERE tablename LIKE 'arrowetl%'")
        return found + [name for (name,) in ours] + [path.name for path in (self.directory / "spills").iterdir()]

    def published(self) -> dict[str, set[str]]:
        """Names of the tables at both targets, arrowetl's own records left out."""
        replica = drivers.MySQL(self.sandbox.admin("replica"))
        found = {
            "replica": {name for (name,) in replica.rows("SHOW TABLES")},
            "warehouse": {
                n for (n,) in self.warehouse("SELECT tablename::text FROM pg_tables WHERE schemaname = 'raw'")
            },
        }
        replica.close()
        return {end: {name for name in names if not name.startswith("etl_")} for end, names in found.items()}


def empty(sandbox: servers.Sandbox) -> None:
    """Leave nothing in any of the three databases."""
    for server in ("source", "replica"):
        session = drivers.MySQL(sandbox.admin(server))
        session.execute("SET SESSION foreign_key_checks = 0")
        for name, kind in session.rows("SHOW FULL TABLES"):
            session.execute(f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} {mysql_name(name)}")
        session.execute("SET GLOBAL time_zone = 'SYSTEM'")
        session.close()
    session = drivers.Postgres(sandbox.warehouse)
    session.execute(f"DROP SCHEMA IF EXISTS {postgres_name('raw')} CASCADE")
    session.close()


def crash(clinic: Clinic, what: str, seconds: float, *command: str) -> None:
    """A run, and in the middle of it a `kill -9`; what was killed is again afterwards, and nothing was reset."""
    process = clinic.start(*(command or ("run", "--all", "--max-workers", "2")))
    time.sleep(seconds)
    if what == "arrowetl":
        process.kill()
        process.communicate()
        return
    state = json.loads((clinic.sandbox.directory / "sandbox.json").read_text())
    server = psutil.Process(state["processes"][what]["pid"])
    family = [server, *server.children(recursive=True)]
    for one in family:
        if one.is_running():
            one.send_signal(signal.SIGKILL)
    psutil.wait_procs(family, timeout=20)
    servers.start(clinic.sandbox.directory.name)
    process.communicate(timeout=120)


def configure(clinic: Clinic, settings: dict[str, Any] | None = None, **tables: Any) -> None:
    clinic.tables_file.write_text(yaml.safe_dump({"settings": settings or {}, "tables": tables}))


def only(run: dict[str, Any]) -> dict[str, Any]:
    (table,) = run["tables"]
    assert run["exit_code"] == 0, table["error"]
    return table


def moved(table: dict[str, Any]) -> tuple[int, int, int]:
    return table["rows_inserted"], table["rows_updated"], table["rows_deleted"]
