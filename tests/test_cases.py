"""
What the world does: one folder a scenario, carried by the real command, both ends read again independently.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Clinic
from independent import differences

from arrowetl import drivers

CASES = sorted(path.parent for path in (Path(__file__).parent / "cases").glob("*/create.sql"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(clinic: Clinic, case: Path) -> None:
    """Both ends hold the source's values; what the warehouse cannot hold is counted; a second run writes nothing."""
    clinic.create((case / "create.sql").read_text())
    if (case / "tables.yml").exists():
        clinic.tables_file.write_text((case / "tables.yml").read_text())
    wanted = json.loads((case / "coerced.json").read_text()) if (case / "coerced.json").exists() else {}

    for attempt in ("first load", "over equal tables"):
        run = clinic.run()
        assert run["exit_code"] == 0, [table["error"] for table in run["tables"] if table["error"]]
        renamed = {t["table"]: _name_at_warehouse(t) for t in run["tables"]}
        compared = {name: differences(clinic.sandbox, name, renamed[name]) for name in _tables(clinic)}
        assert [problem for problems, _ in compared.values() for problem in problems] == [], attempt
        coerced = {name: counts for name, (_, counts) in compared.items() if counts}
        assert coerced == wanted
        assert {table["table"]: table["coerced"] for table in run["tables"] if table["coerced"]} == wanted
        assert {table["table"] for table in run["tables"]} == set(compared)
    assert clinic.arrowetl("verify", "--all").returncode == 0
    with_key = [table for table in run["tables"] if table["table"] not in ("bak_20200424",)]
    assert all(t["rows_inserted"] == t["rows_updated"] == t["rows_deleted"] == 0 for t in with_key)


def _name_at_warehouse(table: dict[str, Any]) -> str:
    told = [note for note in table["notes"] if note.startswith("is ")]
    return told[0].removeprefix("is ").removesuffix(" at the warehouse") if told else table["table"]


def _tables(clinic: Clinic) -> list[str]:
    session = drivers.MySQL(clinic.sandbox.admin("source"))
    try:
        return [name for (name,) in session.rows("SHOW TABLES")]
    finally:
        session.close()
