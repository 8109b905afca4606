"""
`new_columns: quarantine`: what appears after the policy was written is left out until a person has chosen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.catalog_values import column, table
from support.clinic import Clinic

from arrowetl.config.tables_yml import TablesFile
from arrowetl.model.connection import TableSettings

VISIT = table("visit", column("Num", "bigint(20)"), column("Note", "varchar(20)"), key=("Num",))
KNOWN = {"visit": {"columns": {"Num": []}}}
ALL_KNOWN = {"visit": {"columns": {"Num": [], "Note": []}}}


@pytest.mark.parametrize(
    ("known", "entry", "waiting"),
    [
        (None, {}, ()),
        (KNOWN, {}, ("Note",)),
        (ALL_KNOWN, {}, ()),
        (ALL_KNOWN, {"quarantined_columns": ["Note", "Dropped"]}, ("Note",)),
        (KNOWN, {"columns": {"Note": {"exclude": False}}}, ()),
        (KNOWN, {"columns": {"Note": {"mask": "hash"}}}, ()),
        ({}, {}, ("Num", "Note")),
    ],
)
def test_new_columns_are_quarantined(
    known: dict[str, Any] | None, entry: dict[str, Any], waiting: tuple[str, ...]
) -> None:
    """What the last analysis did not know, or listed, and nobody has chosen of."""
    file = TablesFile({}, {"visit": TableSettings(entry)}, known=known)

    assert file.quarantined(VISIT) == waiting


@pytest.mark.parametrize(("known", "excluded", "left_out"), [(KNOWN, False, {"Note"}), ({}, True, set())])
def test_quarantined_columns_are_left_out(known: dict[str, Any], excluded: bool, left_out: set[str]) -> None:
    """A table of which nothing is known as a whole."""
    settings = TablesFile({}, {}, known=known).of_table(VISIT)

    assert (settings.excluded, settings.excluded_columns()) == (excluded, left_out)


# --- on real servers ----------------------------------------------------------------------------

SECRET = "nobody chose this"


@pytest.fixture
def careful(clinic: Clinic) -> Iterator[Clinic]:
    """A clinic with a policy, one run after which a column and a table appeared."""
    clinic.create(
        "CREATE TABLE visit (Num bigint NOT NULL, Note varchar(20), PRIMARY KEY (Num)) ENGINE=MyISAM;\n"
        "INSERT INTO visit VALUES (1, 'a')"
    )
    clinic.tables_file.write_text("settings: {new_columns: quarantine}\ntables: {}\n")
    assert clinic.arrowetl("analyze").returncode == 0
    assert clinic.run()["exit_code"] == 0
    clinic.create(
        f"ALTER TABLE visit ADD Scan varchar(40) DEFAULT '{SECRET}' AFTER Num;\n"
        "CREATE TABLE news (Num bigint NOT NULL, Text varchar(40), PRIMARY KEY (Num)) ENGINE=MyISAM;\n"
        f"INSERT INTO news VALUES (1, '{SECRET}');\nINSERT INTO visit (Num, Note) VALUES (2, 'b')"
    )
    yield clinic


def columns(clinic: Clinic, name: str) -> list[str]:
    found = clinic.warehouse(f"SELECT column_name::text FROM information_schema.columns WHERE table_name = '{name}'")
    return sorted(one for (one,) in found)


def test_new_columns_stay_at_the_source_and_are_reported(careful: Clinic) -> None:
    """Before the next analysis, and after it, and the one after that; the rows of what is known are loaded."""
    reported = []
    for _ in range(3):
        run = careful.run()
        reported.append((run["exit_code"], [table["table"] for table in run["tables"]], run["warnings"]))
        assert careful.arrowetl("analyze").returncode == 0

    for code, names, (warning,) in reported:
        assert (code, names) == (0, ["visit"])
        assert warning.startswith("in quarantine, and left out: news, visit.Scan; choose of each")
    assert careful.warehouse("SELECT * FROM raw.visit ORDER BY 1") == [(1, "a"), (2, "b")]
    assert columns(careful, "news") == []
    written = yaml.safe_load(careful.tables_file.read_text())["tables"]
    assert written["visit"]["quarantined_columns"] == ["Scan"]
    assert written["news"]["quarantined_columns"] == ["Num", "Text"]
    assert careful.arrowetl("verify", "--all").returncode == 0
    places = [careful.directory, *(careful.sandbox.directory / target for target in ("replica", "warehouse"))]
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    assert len(files) > 100
    assert [str(path) for path in files if SECRET.encode() in contents(path)] == []


def contents(path: Path) -> bytes:
    """Of a file; a server that is at work may have taken it away since it was listed."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def test_the_changelog_marks_quarantined_columns(careful: Clinic) -> None:
    """Neither at the targets nor for readers."""
    careful.arrowetl("analyze")

    (document,) = (careful.directory / "logs/schema_analysis/reports").glob("schema_changelog_*.json")
    reported = {
        (one["table"], one["column"]): (one["next_run"], one["readers"])
        for one in json.loads(document.read_text())["changes"]
    }

    nothing = ("left out until you choose of it (`new_columns: quarantine`)", "nothing: they have it not")
    assert reported == {("visit", "Scan"): nothing, ("news", None): nothing}


@pytest.mark.parametrize("typed", ["quarantined_columns:\n", "quarantined_columns: Scan\n", "exclude: true\n"])
def test_a_broken_quarantine_list_lets_nothing_through(careful: Clinic, typed: str) -> None:
    """`analyze` refuses to write over what may have been meant otherwise."""
    careful.arrowetl("analyze")
    text = careful.tables_file.read_text()
    careful.tables_file.write_text(text.replace("quarantined_columns:\n    - Scan\n", typed))

    refused = careful.arrowetl("analyze")

    assert refused.returncode == 3
    assert f"tables.visit.{typed.partition(':')[0]}" in refused.stderr


def test_removing_a_column_from_quarantine_loads_it(careful: Clinic) -> None:
    """And who chooses under overrides has what they chose."""
    careful.arrowetl("analyze")
    document = yaml.safe_load(careful.tables_file.read_text())
    del document["tables"]["news"]["quarantined_columns"]
    document["tables"]["visit"]["overrides"] = {"columns": {"Scan": {"exclude": False}}}
    careful.tables_file.write_text(yaml.safe_dump(document))

    run = careful.run()
    careful.arrowetl("analyze")
    again = yaml.safe_load(careful.tables_file.read_text())["tables"]

    assert (run["exit_code"], run["warnings"]) == (0, [])
    assert careful.warehouse('SELECT "Scan" FROM raw.visit ORDER BY "Num"') == [(SECRET,), (SECRET,)]
    assert careful.warehouse("SELECT * FROM raw.news") == [(1, SECRET)]
    assert [name for name in again if "quarantined_columns" in again[name]] == []


def test_a_missing_schema_file_refuses_the_run(careful: Clinic) -> None:
    """Nobody could show what is new: refused before anything moves, with what to do."""
    careful.tables_file.with_suffix(".schema.json").write_text("{")

    before = careful.tables_file.read_text()
    refused = careful.arrowetl("run", "--all", "--json")
    validated = careful.arrowetl("validate")
    analyzed = careful.arrowetl("analyze")

    assert (refused.returncode, validated.returncode, analyzed.returncode) == (3, 3, 3)
    assert "restore it (from git, or a backup)" in analyzed.stderr
    assert careful.tables_file.read_text() == before
    assert "tables.schema.json next to it" in json.loads(refused.stdout)["error"]["message"]
    assert "tables.schema.json" in validated.stdout
