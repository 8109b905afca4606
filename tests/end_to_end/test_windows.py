"""
A source that says it runs on Windows, where a MyISAM table's UPDATE_TIME does not change while its file is open.

It is a Linux server behind a relay that changes one word, and whose files' times are set back after each change.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.clinic import Clinic, settle
from support.independent import differences
from support.relay import relay

from arrowetl import drivers

TABLES = {"small": 50, "large": 120_000, "updated": 1_000}
"""Name → rows: few are added up, more are compared by ranges, and of those with a timestamp new ones are read."""
SETTINGS = """
tables:
  updated: {extraction_strategy: incremental, primary_incremental_column: Changed}
"""


class Source:
    """The clinic's, of which the time of every table does not change."""

    def __init__(self, clinic: Clinic, system: bytes) -> None:
        self._clinic, self.system = clinic, system
        session = drivers.MySQL(clinic.sandbox.admin("source"))
        ((directory,),) = session.rows("SELECT @@datadir")
        session.close()
        self._files = Path(str(directory)) / clinic.sandbox.source.database
        self._times: dict[Path, int] = {}

    def says(self, data: bytes) -> bytes:
        return data.replace(self.system, b"Win64".ljust(len(self.system)))

    def change(self, statements: str) -> None:
        self._clinic.create(statements + ";\nFLUSH TABLES")
        for path in self._files.glob("*.MYD"):
            before = self._times.setdefault(path, path.stat().st_mtime_ns)
            os.utime(path, ns=(before, before))
        self._clinic.create("FLUSH TABLES")


@pytest.fixture
def windows(clinic: Clinic) -> Iterator[tuple[Clinic, Source]]:
    session = drivers.MySQL(clinic.sandbox.admin("source"))
    ((system,),) = session.rows("SELECT @@version_compile_os")
    session.close()
    source = Source(clinic, str(system).encode())
    source.change(
        ";\n".join(
            f"CREATE TABLE {name} (Id int NOT NULL PRIMARY KEY, V varchar(30), Changed timestamp NOT NULL "
            "DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP) ENGINE=MyISAM;\n"
            f"INSERT INTO {name} (Id, V) SELECT seq, CONCAT('v', seq) FROM seq_1_to_{rows}"
            for name, rows in TABLES.items()
        )
    )
    clinic.tables_file.write_text(SETTINGS)
    settle()
    with relay(clinic.sandbox.source.host, clinic.sandbox.source.port) as way:
        way.says = source.says
        variable = next(name for name in clinic.environment if name.endswith("OPENDENTAL_SOURCE_PORT"))
        clinic.environment = {**clinic.environment, variable: str(way.port)}
        yield clinic, source


def test_no_run_misses_a_change_on_windows(windows: tuple[Clinic, Source]) -> None:
    """Edits that keep the number of rows, which the timestamp would have reported: run after run."""
    clinic, source = windows
    assert {table["status"] for table in clinic.run()["tables"]} == {"succeeded"}
    for day in range(1, 4):
        source.change(";\n".join(f"UPDATE {name} SET V = 'day {day}' WHERE Id = {day}" for name in TABLES))
        run = clinic.run()
        assert run["exit_code"] == 0
        assert [problem for name in TABLES for problem in differences(clinic.sandbox, name)[0]] == []
        assert [table["rows_updated"] for table in run["tables"]] == [1, 1, 1]
        assert {table["settled"] for table in run["tables"]} <= {True, None}
    # Nothing changed: the small one is known by its checksum, and none by its timestamp.
    modes = {table["table"]: table["mode"] for table in clinic.run()["tables"]}
    assert modes == {"small": "skipped", "large": "reconcile", "updated": "skipped"}
    assert "the source runs on Windows" in " ".join(clinic.arrowetl("test-connections").stdout.split())


def test_update_times_are_trusted_elsewhere(windows: tuple[Clinic, Source]) -> None:
    """What the imitation is worth: elsewhere UPDATE_TIME is trusted, and the change is missed."""
    clinic, source = windows
    source.system = b"no such system"
    clinic.run()
    source.change("UPDATE large SET V = 'unseen' WHERE Id = 1")
    modes = {table["table"]: table["mode"] for table in clinic.run()["tables"]}

    assert modes["large"] == "skipped"
    assert differences(clinic.sandbox, "large")[0] != []
