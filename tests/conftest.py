"""
Servers for the whole run of the tests, and the command as a user runs it.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from arrowetl import drivers
from arrowetl.sandbox import servers
from arrowetl.sql import mysql_name, postgres_name


@pytest.fixture(scope="session")
def sandbox() -> Iterator[servers.Sandbox]:
    """Two MariaDB and one PostgreSQL, for all tests."""
    with servers.sandbox("tests") as started:
        yield started


def _limit_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@dataclass
class Clinic:
    """The sandbox with nothing in it, and `arrowetl` set to it."""

    sandbox: servers.Sandbox
    directory: Path
    environment: dict[str, str] = field(default_factory=dict)

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

    def start(self, *arguments: str, limit_file_bytes: str = "", **more: str) -> subprocess.Popen[str]:
        """Start `arrowetl` as a process of its own, whose files may not grow past a limit if there is one."""
        outside = {
            name: value for name, value in os.environ.items() if not name.startswith(("TEST_", "ETL_", "PYTEST"))
        }
        environment = {**outside, **self.environment, **more}
        environment = {name: value for name, value in environment.items() if value != ""}
        return subprocess.Popen(
            [sys.executable, "-m", "arrowetl", "--config", str(self.tables_file), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.directory,
            preexec_fn=partial(_limit_files, int(limit_file_bytes)) if limit_file_bytes else None,
        )

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

    def published(self) -> dict[str, set[str]]:
        """Names of the tables at both ends, arrowetl's own records left out."""
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
        for name, kind in session.rows("SHOW FULL TABLES"):
            session.execute(f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} {mysql_name(name)}")
        session.close()
    session = drivers.Postgres(sandbox.warehouse)
    session.execute(f"DROP SCHEMA IF EXISTS {postgres_name('raw')} CASCADE")
    session.close()


@pytest.fixture
def clinic(sandbox: servers.Sandbox, tmp_path: Path) -> Iterator[Clinic]:
    """Empty servers, a tables.yml that knows no table, and a spill directory of the test's own."""
    empty(sandbox)
    (tmp_path / "tables.yml").write_text("tables: {}\n")
    spills = tmp_path / "spills"
    spills.mkdir()
    yield Clinic(sandbox, tmp_path, {**sandbox.environment(), "ARROWETL_SPILL_DIR": str(spills)})


@pytest.fixture
def spills(clinic: Clinic) -> Callable[[], list[Path]]:
    """What lies in the spill directory now."""
    return lambda: sorted((clinic.directory / "spills").rglob("*"))
