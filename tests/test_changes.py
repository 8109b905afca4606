"""
What changed at the source since the last analysis: each upgrade with its severity, and what it means.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Clinic
from nouns import column, table

from arrowetl import changes
from arrowetl.model import Table

PATIENT = table(
    "patient", column("PatNum", "bigint(20)"), column("ChartNumber", "varchar(20)"), column("HasIns", "tinyint(3)"),
    key=("PatNum",),
)  # fmt: skip
LOG = table("securitylog", column("Num", "bigint(20)"), column("PermType", "tinyint(3) unsigned"), key=("Num",))


def patient(*columns: tuple[str, str], **more: Any) -> Table:
    return table("patient", *(column(*one) for one in columns), **{"key": ("PatNum",), **more})


KEY, CHART, INS = ("PatNum", "bigint(20)"), ("ChartNumber", "varchar(20)"), ("HasIns", "tinyint(3)")

UPGRADES: dict[str, tuple[Table, list[tuple[str, str, str]]]] = {
    "nothing": (patient(KEY, CHART, INS), []),
    "a column more": (patient(KEY, CHART, INS, ("ShowTrans", "tinyint(4)")),
                      [("column_added", "info", "patient.ShowTrans")]),
    "a column wider": (patient(KEY, ("ChartNumber", "varchar(100)"), INS),
                       [("column_retyped", "info", "patient.ChartNumber")]),
    "tinyint to smallint": (patient(KEY, CHART, ("HasIns", "smallint(6)")),
                            [("column_retyped", "info", "patient.HasIns")]),
    "tinyint to int": (patient(KEY, CHART, ("HasIns", "int(11)")), [("column_retyped", "warning", "patient.HasIns")]),
    "a text that was a number": (patient(KEY, CHART, ("HasIns", "varchar(10)")),
                                 [("column_retyped", "breaking", "patient.HasIns")]),
    "a number that was wider": (patient(("PatNum", "int(11)"), CHART, INS),
                                [("column_retyped", "breaking", "patient.PatNum")]),
    "a column less": (patient(KEY, CHART), [("column_removed", "breaking", "patient.HasIns")]),
    "a column of another name": (patient(KEY, CHART, ("HasInsurance", "tinyint(3)")),
                                 [("column_removed", "breaking", "patient.HasIns"),
                                  ("column_added", "info", "patient.HasInsurance")]),
    "another key": (patient(KEY, CHART, INS, key=("PatNum", "HasIns")), [("key_changed", "breaking", "patient")]),
    "a type without a rule": (patient(KEY, CHART, ("HasIns", "mystery")),
                              [("column_retyped", "breaking", "patient.HasIns")]),
}  # fmt: skip


def facts(*tables: Table, **strategies: str) -> changes.Facts:
    # As it is read again from its file.
    return dict(json.loads(json.dumps(changes.facts(tables, strategies))))


@pytest.mark.parametrize("upgrade", UPGRADES, ids=str)
def test_an_upgrade_has_its_entry_and_its_severity(upgrade: str) -> None:
    after, expected = UPGRADES[upgrade]

    found = changes.found(facts(PATIENT, LOG), facts(after, LOG))

    assert [(change.kind, change.severity, change.place) for change in found] == expected
    assert all(change.next_run and change.readers for change in found)


def test_tables_come_go_and_are_renamed() -> None:
    """The same columns under another name are the same table."""
    new = table("newtable", column("Num", "bigint(20)"), key=("Num",))
    renamed = table("auditlog", *LOG.columns, key=("Num",))

    assert [c.words for c in changes.found(facts(PATIENT), facts(PATIENT, new))] == ["newtable: table added"]
    assert [c.words for c in changes.found(facts(PATIENT, LOG), facts(LOG))] == ["patient: table removed"]
    assert [c.words for c in changes.found(facts(LOG), facts(renamed))] == [
        "auditlog: table renamed: securitylog → auditlog"
    ]


def test_another_strategy_is_told() -> None:
    found = changes.found(facts(PATIENT, patient="full_table"), facts(PATIENT, patient="incremental"))

    assert [(c.kind, c.before, c.after) for c in found] == [("strategy_changed", "full_table", "incremental")]


# --- on a real server ---------------------------------------------------------------------------

VISITS = """
CREATE TABLE visit (Num bigint NOT NULL, Note varchar(20), Kind tinyint, PRIMARY KEY (Num)) ENGINE=MyISAM;
CREATE TABLE calm (Num bigint NOT NULL, PRIMARY KEY (Num)) ENGINE=MyISAM
"""


def reports(clinic: Clinic) -> list[str]:
    return sorted(
        path.suffix for path in (clinic.directory / "logs/schema_analysis/reports").glob("schema_changelog_*")
    )


def test_analyze_says_what_changed_since_the_last_time(clinic: Clinic) -> None:
    """An unchanged source gives the same file but for its time, and no changelog."""
    clinic.create(VISITS)
    first = clinic.arrowetl("analyze")
    before = clinic.tables_file.read_text()
    again = clinic.arrowetl("analyze", "--fail-on", "breaking")
    same = clinic.tables_file.read_text()
    nothing = reports(clinic)
    clinic.create("ALTER TABLE visit MODIFY Note varchar(100), DROP Kind, ADD Seen date")
    changed = clinic.arrowetl("analyze", "--fail-on", "breaking")
    lenient = clinic.arrowetl("analyze")

    def lines(text: str) -> list[str]:
        return [line for line in text.splitlines() if "generated_at" not in line]

    assert (first.returncode, again.returncode, changed.returncode, lenient.returncode) == (0, 0, 1, 0)
    assert lines(before) == lines(same)
    assert nothing == []
    assert reports(clinic) == [".json", ".md"]
    told = changed.stdout.splitlines()
    assert "breaking: visit.Kind: column removed" in told
    assert "info: visit.Note: column retyped: varchar(20) → varchar(100)" in told
    (document,) = (clinic.directory / "logs/schema_analysis/reports").glob("schema_changelog_*.json")
    changelog = json.loads(document.read_text())
    assert changelog["has_breaking_changes"] is True
    assert {(change["kind"], change["column"]) for change in changelog["changes"]} == {
        ("column_removed", "Kind"), ("column_retyped", "Note"), ("column_added", "Seen"),
    }  # fmt: skip


def test_the_file_that_was_there_is_kept(clinic: Clinic) -> None:
    clinic.create(VISITS)
    clinic.arrowetl("analyze")
    before = clinic.tables_file.read_text()
    clinic.create("CREATE TABLE another (Num bigint NOT NULL, PRIMARY KEY (Num)) ENGINE=MyISAM")

    clinic.arrowetl("analyze")

    kept = sorted((clinic.directory / "logs/schema_analysis/reports").glob("tables_*.yml"))
    assert before in [path.read_text() for path in kept]


def test_the_next_run_does_what_the_changelog_says(clinic: Clinic) -> None:
    """A column less: refused while a view names it, dropped when none does."""
    clinic.create(VISITS)
    clinic.create("INSERT INTO visit VALUES (1, 'x', 2)")
    clinic.arrowetl("analyze")
    clinic.run()
    clinic.warehouse_execute('CREATE VIEW kinds AS SELECT "Kind" FROM raw.visit')
    clinic.create("ALTER TABLE visit DROP Kind")
    clinic.arrowetl("analyze")

    refused = clinic.run()
    clinic.warehouse_execute("DROP VIEW kinds")
    followed = clinic.run()

    assert [t["table"] for t in refused["tables"] if t["error"]] == ["visit"]
    assert followed["exit_code"] == 0
    assert clinic.warehouse("SELECT * FROM raw.visit") == [(1, "x")]
