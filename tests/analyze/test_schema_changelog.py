"""
What changed at the source since the last analysis: each upgrade with its severity, and what it means.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.catalog_values import column, table
from support.clinic import Clinic, settle

from arrowetl.analyze import schema_changelog
from arrowetl.model.plan import Table

PATIENT = table(
    "patient",
    column("PatNum", "bigint(20)"),
    column("ChartNumber", "varchar(20)"),
    column("HasIns", "tinyint(3)"),
    key=("PatNum",),
)
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


def facts(*tables: Table, **strategies: str) -> schema_changelog.Facts:
    # As it is read again from its file.
    return dict(json.loads(json.dumps(schema_changelog.facts(tables, strategies))))


@pytest.mark.parametrize("upgrade", UPGRADES, ids=str)
def test_each_schema_change_has_its_entry_and_severity(upgrade: str) -> None:
    after, expected = UPGRADES[upgrade]

    found = schema_changelog.found(facts(PATIENT, LOG), facts(after, LOG))

    assert [(change.kind, change.severity, change.place) for change in found] == expected
    assert all(change.next_run and change.readers for change in found)


def test_added_removed_and_renamed_tables_are_listed() -> None:
    """The same columns under another name are the same table."""
    new = table("newtable", column("Num", "bigint(20)"), key=("Num",))
    renamed = table("auditlog", *LOG.columns, key=("Num",))

    assert [c.words for c in schema_changelog.found(facts(PATIENT), facts(PATIENT, new))] == ["newtable: table added"]
    assert [c.words for c in schema_changelog.found(facts(PATIENT, LOG), facts(LOG))] == ["patient: table removed"]
    assert [c.words for c in schema_changelog.found(facts(LOG), facts(renamed))] == [
        "auditlog: table renamed: securitylog → auditlog"
    ]


def test_a_changed_strategy_is_listed() -> None:
    found = schema_changelog.found(facts(PATIENT, patient="full_table"), facts(PATIENT, patient="incremental"))

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


def test_analyze_lists_changes_since_the_last_analysis(clinic: Clinic) -> None:
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
    assert reports(clinic) == [".html", ".json", ".md"]
    reported = changed.stdout.splitlines()
    assert "breaking: visit.Kind: column removed" in reported
    assert "info: visit.Note: column retyped: varchar(20) → varchar(100)" in reported
    (document,) = (clinic.directory / "logs/schema_analysis/reports").glob("schema_changelog_*.json")
    changelog = json.loads(document.read_text())
    assert changelog["has_breaking_changes"] is True
    assert {(change["kind"], change["column"]) for change in changelog["changes"]} == {
        ("column_removed", "Kind"),
        ("column_retyped", "Note"),
        ("column_added", "Seen"),
    }


def test_the_previous_tables_yml_is_kept(clinic: Clinic) -> None:
    clinic.create(VISITS)
    clinic.arrowetl("analyze")
    before = clinic.tables_file.read_text()
    clinic.create("CREATE TABLE another (Num bigint NOT NULL, PRIMARY KEY (Num)) ENGINE=MyISAM")

    clinic.arrowetl("analyze")

    kept = sorted((clinic.directory / "logs/schema_analysis/reports").glob("tables_*.yml"))
    assert before in [path.read_text() for path in kept]


def test_the_next_run_does_what_the_changelog_predicts(clinic: Clinic) -> None:
    """A column less: refused while a view names it, dropped when none does."""
    clinic.create(VISITS)
    clinic.create("INSERT INTO visit VALUES (1, 'x', 2)")
    clinic.arrowetl("analyze")
    clinic.run()
    clinic.warehouse_execute('CREATE VIEW public.kinds AS SELECT "Kind" FROM raw.visit')
    clinic.create("ALTER TABLE visit DROP Kind")
    clinic.arrowetl("analyze")

    refused = clinic.run()
    clinic.warehouse_execute("DROP VIEW public.kinds")
    followed = clinic.run()

    assert [t["table"] for t in refused["tables"] if t["error"]] == ["visit"]
    assert followed["exit_code"] == 0
    assert clinic.warehouse("SELECT * FROM raw.visit") == [(1, "x")]


# What an upgrade of OpenDental may do to a table, the entry of the changelog, and what the next run plans.
CHANGED = "its columns or its key changed"
NEXT: dict[str, tuple[str, tuple[str, str], tuple[str, str]]] = {
    "a column more": ("ADD IsMirrored tinyint NOT NULL DEFAULT 0", ("column_added", "info"),
                      ("full", "added IsMirrored")),
    "a column wider": ("MODIFY Note varchar(100)", ("column_retyped", "info"), ("full", CHANGED)),
    "tinyint to smallint": ("MODIFY Kind smallint", ("column_retyped", "info"), ("full", CHANGED)),
    "smallint unsigned to int": ("MODIFY Room int", ("column_retyped", "info"), ("full", CHANGED)),
    "int to bigint": ("MODIFY Number bigint", ("column_retyped", "warning"), ("full", "retyped Number")),
    "a text instead of a number": ("MODIFY Number varchar(20)", ("column_retyped", "breaking"),
                                   ("full", "retyped Number")),
    "a column less": ("DROP Kind", ("column_removed", "breaking"), ("full", "dropped Kind")),
    "auto-updated": ("MODIFY Changed timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP",
                                ("strategy_changed", "info"), ("skipped", "unchanged since")),
    "another engine": ("ENGINE = InnoDB", ("engine_changed", "warning"), ("reconcile", "")),
    "another key": ("DROP PRIMARY KEY, ADD PRIMARY KEY (Num, Number)", ("key_changed", "breaking"),
                    ("full", "another primary key")),
    "another character set": ("CONVERT TO CHARACTER SET utf8mb4", ("", ""), ("full", CHANGED)),
    "an index": ("ADD INDEX (Note)", ("", ""), ("reconcile", "")),
}  # fmt: skip


def test_every_schema_change_has_its_entry_severity_and_plan(clinic: Clinic) -> None:
    """And the run that was planned succeeds, over both targets."""
    for number in range(len(NEXT)):
        clinic.create(
            f"CREATE TABLE visit{number} (Num bigint NOT NULL, Note varchar(20), Kind tinyint, Room smallint unsigned, "
            "Number int NOT NULL, Changed timestamp NOT NULL DEFAULT '2020-01-01', PRIMARY KEY (Num)) "
            "ENGINE=MyISAM CHARACTER SET latin1;\n"
            # Each has a number of rows of its own: else they could have changed names within this second.
            f"INSERT INTO visit{number} SELECT seq, 'x', 2, 3, 4, '2020-01-01' FROM seq_1_to_{number + 1}"
        )
    clinic.create("CREATE TABLE dropped (Num bigint NOT NULL, PRIMARY KEY (Num)) ENGINE=MyISAM")
    clinic.arrowetl("analyze")
    settle()
    assert clinic.run()["exit_code"] == 0
    for number, (alter, _, _) in enumerate(NEXT.values()):
        clinic.create(f"ALTER TABLE visit{number} {alter}")
    clinic.create(
        "DROP TABLE dropped;\nCREATE TABLE news (Num bigint NOT NULL, Text text, PRIMARY KEY (Num)) ENGINE=MyISAM"
    )

    assert clinic.arrowetl("analyze").returncode == 0
    plan = json.loads(clinic.arrowetl("run", "--all", "--dry-run", "--json").stdout)["tables"]
    run = clinic.run()

    (document,) = (clinic.directory / "logs/schema_analysis/reports").glob("schema_changelog_*.json")
    reported = {(one["table"], one["kind"], one["severity"]) for one in json.loads(document.read_text())["changes"]}
    planned = {one["table"]: (one["mode"], one["reason"]) for one in plan}
    expected = {("dropped", "table_removed", "breaking"), ("news", "table_added", "info")}
    for number, (_, (kind, severity), (mode, reason)) in enumerate(NEXT.values()):
        name = f"visit{number}"
        expected |= {(name, kind, severity)} if kind else set()
        assert planned[name][0] == mode, (name, planned[name])
        assert reason in planned[name][1]
    assert reported == expected
    assert planned["news"] == ("full", "first load")
    assert [table["table"] for table in run["tables"] if table["error"]] == []
    assert (
        clinic.arrowetl("verify", "--table", "news," + ",".join(f"visit{n}" for n in range(len(NEXT)))).returncode == 0
    )


def test_a_name_is_no_more_than_a_name_in_markdown() -> None:
    """Neither markup, nor another cell, nor another line."""
    name = "a|b\n<script>x</script>\x1b[2J"
    changes = [schema_changelog.Change("table_added", "info", name, before="enum('|')", after="<b>&amp;")]
    lines = schema_changelog.as_markdown(changes, None, "today").splitlines()

    assert lines[-1] == (r"| a\|b\n&lt;script>x&lt;/script>\x1b[2J: table added | enum('\|') | &lt;b>&amp;amp; |  |  |")
    assert lines[-2] == "|---|---|---|---|---|"
