"""
What the world does: one folder a scenario, loaded by the real command, both targets read again independently.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import parquet_files
from support.clinic import Clinic, chosen
from support.independent import differences

import arrowetl
from arrowetl import drivers
from arrowetl.types import mapping

CASES = sorted(path.parent for path in (Path(__file__).parent.parent / "cases").glob("*/create.sql"))
# Some scenarios are reported in words that only MariaDB understands, or have values that only it can hold.
CASES = [
    case
    for case in CASES
    if (chosen("source") == "mariadb" or not case.name.startswith("mariadb-"))
    and ("mysql" not in (chosen("source"), chosen("replica")) or not case.name.startswith("mariadb-both-"))
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case_arrives_exactly_or_is_counted(clinic: Clinic, case: Path) -> None:
    """Both targets hold the source's values; what the warehouse cannot hold is counted; the next runs write nothing."""
    clinic.create((case / "create.sql").read_text())
    if (case / "rows.sql").exists():
        clinic.create((case / "rows.sql").read_text())
    if (case / "tables.yml").exists():
        clinic.tables_file.write_text((case / "tables.yml").read_text())
    wanted = json.loads((case / "coerced.json").read_text()) if (case / "coerced.json").exists() else {}

    for attempt, *asked in (("first load",), ("another run",), ("everything again", "--force-full")):
        if attempt == "another run":
            # In this very process: the command itself has been seen to start.
            with arrowetl.open(clinic.environment, clinic.tables_file) as etl:
                run = etl.run(all=True).as_json()
        else:
            run = clinic.run("--all", *asked)
        assert run["exit_code"] == 0, [table["error"] for table in run["tables"] if table["error"]]
        compared = {t["table"]: compare(clinic, t) for t in run["tables"]}
        assert [problem for problems, _ in compared.values() for problem in problems] == [], attempt
        coerced = {name: counts for name, (_, counts) in compared.items() if counts}
        assert coerced == wanted
        if attempt != "another run":
            assert {table["table"]: table["coerced"] for table in run["tables"] if table["coerced"]} == wanted
        if attempt != "first load":
            assert [t for t in run["tables"] if t["rows_inserted"] or t["rows_updated"] or t["rows_deleted"]] == []
        assert [c for table in run["tables"] for c in table["coercions"] if c["is_new"]] == []
        assert compared.keys() == _tables(clinic)
    assert clinic.arrowetl("verify", "--all").returncode == 0
    with arrowetl.open(clinic.environment, clinic.tables_file) as etl:
        assert [found for found in etl.verify(deep=True).tables if found.verdict != "equal"] == []
        for target in ("source", "replica", "warehouse"):
            there = {name: mapping.postgres_name(name) if target == "warehouse" else name for name in _tables(clinic)}
            etl.snapshot(list(there.values()), clinic.directory / target, read_from=target)
            assert [problem for name, place in there.items() for problem in copied(clinic, name, target, place)] == []


def compare(clinic: Clinic, table: Mapping[str, Any]) -> tuple[list[str], dict[str, int]]:
    """A table of a run against both targets: what differs, and what was coerced."""
    there, renamed = table["table"], {}
    for note in table["notes"]:
        what, _, other = note.removesuffix(" at the warehouse").rpartition("is ")
        if note.startswith("is "):
            there = other
        elif note.startswith("column "):
            renamed[what.removeprefix("column ").removesuffix(" ")] = other
    return differences(clinic.sandbox, table["table"], there, renamed, _asked(clinic, table["table"]))


def copied(clinic: Clinic, table: str, target: str, place: str) -> list[str]:
    """In what a table's Parquet files are not what the source has; and whether some reader cannot open them."""
    asked = _asked(clinic, table)
    found = parquet_files.differences(clinic, table, clinic.directory / target / place, asked, target == "warehouse")
    return found + (
        [] if parquet_files.opens_everywhere(clinic.directory / target / place) else [f"{table}: not opened"]
    )


def _asked(clinic: Clinic, table: str) -> dict[str, str]:
    settings = yaml.safe_load(clinic.tables_file.read_text())["tables"].get(table) or {}
    columns = (settings.get("overrides") or {}).get("columns") or {}
    return {name: entry["type"] for name, entry in columns.items() if "type" in entry}


def _tables(clinic: Clinic) -> set[str]:
    session = drivers.MySQL(clinic.sandbox.admin("source"))
    try:
        return {name for (name,) in session.rows("SHOW TABLES")}
    finally:
        session.close()
