"""
Servers for the whole run of the tests, and the command as a user runs it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import mysql56
from support.clinic import Clinic, chosen, empty

from arrowetl.sandbox import servers

with suppress(ImportError):  # dbt's and Airflow's sessions do without
    import hypothesis

    # An example has no deadline: on a machine that others share, some take long.
    hypothesis.settings.register_profile("usual", deadline=None)
    hypothesis.settings.load_profile("usual")
    # For tests of tests, which are run thousands of times.
    hypothesis.settings.register_profile("few", max_examples=15, deadline=None)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[servers.Sandbox]:
    """Two MariaDB and one PostgreSQL, for all tests; MySQL 5.6 where it was chosen."""
    with servers.sandbox("tests") as started, ExitStack() as held:
        for server in ("source", "replica"):
            if chosen(server) == "mysql":
                endpoint = replace(getattr(started, server), port=servers.free_port())
                held.enter_context(mysql56.running(started.directory / f"mysql-{server}", endpoint))
                started = replace(started, **{server: endpoint})
        yield started


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    `-m "not server"` chooses what is quick and needs no servers. What one process must do alone comes first, so that
    the others do not wait for it in the end.
    """
    for item in items:
        if "sandbox" in getattr(item, "fixturenames", ()):
            item.add_marker("server")
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What became of each fault at each step, where all of them were tried: as the README has it."""
    faults = sys.modules.get("test_faults")
    if faults and faults.PAIRS is faults.ALL and faults.OUTCOMES:
        terminalreporter.write_line("\n" + faults.table(faults.OUTCOMES))


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine's clock is of another zone."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def clinic(sandbox: servers.Sandbox, tmp_path: Path) -> Iterator[Clinic]:
    """Empty servers, a tables.yml that knows no table, and a spill directory of the test's own."""
    empty(sandbox)
    (tmp_path / "tables.yml").write_text("tables: {}\n")
    spills = tmp_path / "spills"
    spills.mkdir()
    clinic = Clinic(
        sandbox,
        tmp_path,
        {**sandbox.environment(), "ARROWETL_SPILL_DIR": str(spills), "ARROWETL_RETRY_SECONDS": "0.02"},
    )
    yield clinic
    for undo in clinic.undo:
        undo()
    for process in clinic.started:
        # A test that failed may have left one at work.
        process.kill()
        with process:
            pass


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Clinic]:
    """A clinic with servers of its own, which may be killed."""
    with servers.sandbox("days") as sandbox:
        spills = tmp_path / "spills"
        spills.mkdir()
        clinic = Clinic(sandbox, tmp_path, {**sandbox.environment(), "ARROWETL_SPILL_DIR": str(spills)})
        yield clinic
        for process in clinic.started:
            process.kill()
            with process:
                pass


@pytest.fixture
def spills(clinic: Clinic) -> Callable[[], list[Path]]:
    """What lies in the spill directory now."""
    return lambda: sorted((clinic.directory / "spills").rglob("*"))
