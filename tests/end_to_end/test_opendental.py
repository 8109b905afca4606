"""
The main job on the whole synthetic OpenDental, compared value by value.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
import yaml
from support.clinic import Clinic, empty
from support.independent import differences, many_tables
from support.parquet_files import differences as snapshot_differences

import arrowetl
from arrowetl import drivers
from arrowetl.sandbox import opendental, seed, servers

SCALE = "0.004"


# What all of them are on is made once.
pytestmark = pytest.mark.xdist_group("opendental")


@pytest.fixture(scope="module")
def loaded(sandbox: servers.Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Clinic, dict]]:
    """The demo's database, analyzed and loaded by the commands a user types."""
    empty(sandbox)
    directory = tmp_path_factory.mktemp("opendental")
    seed.seed(sandbox.admin("source"), SCALE)
    clinic = Clinic(sandbox, directory, sandbox.environment())
    assert clinic.arrowetl("analyze").returncode == 0
    yield clinic, clinic.run("--all", "--max-workers", "4")


def test_every_value_of_every_row_is_equal_at_both_targets(loaded: tuple[Clinic, dict]) -> None:
    """Read by mysql-connector and COPY, rows are what they are at the source; coercions are counted exactly."""
    clinic, run = loaded
    tables = opendental.tables(opendental.factor_of(SCALE))
    reported = {table["table"]: table for table in run["tables"]}

    found = []
    with many_tables():
        for name in tables:
            differing, coerced = differences(clinic.sandbox, name)
            found += differing
            if reported[name]["coerced"] != coerced:
                found.append(f"{name}: coerced {coerced}, reported {reported[name]['coerced']}")

    assert found == []
    assert reported.keys() == tables.keys()


def test_coercions_are_exactly_those_generated(loaded: tuple[Clinic, dict]) -> None:
    """Its zero dates and its NULs, by column and count, and nothing else."""
    _, run = loaded
    factor = opendental.factor_of(SCALE)
    wanted: dict[tuple[str, str, str], int] = {}
    for name, table in opendental.tables(factor).items():
        for rows in opendental.chunks(table, factor):
            for column in rows.select(pl.selectors.string()):
                is_date = next(c for c in table.columns if c.name == column.name).bare in (
                    "date",
                    "datetime",
                    "timestamp",
                )
                for kind, odd in (
                    ("zero date", is_date & column.str.starts_with("0000-00-00")),
                    ("NUL character", column.str.contains("\0", literal=True)),
                ):
                    if count := odd.sum():
                        key = (name, column.name, kind)
                        wanted[key] = wanted.get(key, 0) + count

    reported = {(t["table"], c["column"], c["from"]): c["count"] for t in run["tables"] for c in t["coercions"]}
    assert reported == wanted
    assert {kind for _, _, kind in wanted} == {"zero date", "NUL character"}


def test_the_summary_matches_the_tables(loaded: tuple[Clinic, dict]) -> None:
    """Totals are the sum of the tables, which are all there, and all settled or beyond showing."""
    _, run = loaded
    tables = opendental.tables(opendental.factor_of(SCALE))

    assert run["exit_code"] == 0
    assert run["totals"]["tables"] == run["totals"]["succeeded"] == len(tables) == 381
    assert run["totals"]["rows_extracted"] == sum(table.rows for table in tables.values())
    assert {t["verdict"] for t in run["tables"]} == {"equal"}
    assert all(t["rows_replica"] == t["rows_warehouse"] == t["rows_extracted"] for t in run["tables"])
    assert not any(t["settled"] is False for t in run["tables"])


def test_verify_finds_one_changed_value(loaded: tuple[Clinic, dict]) -> None:
    """`verify` says 0 over equal ends, and 5, with the table and the end, over one changed value."""
    clinic, _ = loaded
    equal = clinic.arrowetl("verify", "--all", "--json")
    clinic.warehouse("SELECT count(*) FROM raw.patient")
    session = drivers.Postgres(clinic.sandbox.warehouse)
    session.execute(
        """UPDATE raw.patient SET "LName" = "LName" || ' ' WHERE "PatNum" = (SELECT min("PatNum") FROM raw.patient)"""
    )
    differs = clinic.arrowetl("verify", "--table", "patient,appointment", "--json")
    repaired = clinic.run("--table", "patient", "--force-full")
    session.close()

    assert equal.returncode == 0, equal.stdout[-2000:]
    assert len(json.loads(equal.stdout)["tables"]) == 381
    assert differs.returncode == 5
    verdicts = {table["table"]: table for table in json.loads(differs.stdout)["tables"]}
    assert verdicts["appointment"]["verdict"] == "equal"
    assert [d["end"] for d in verdicts["patient"]["differing"]] == ["warehouse"]
    assert (repaired["tables"][0]["rows_updated"], repaired["tables"][0]["rows_inserted"]) == (1, 0)


def test_snapshots_of_every_table_equal_the_source(loaded: tuple[Clinic, dict]) -> None:
    """Value by value; a third of the tables from each target."""
    clinic, run = loaded
    names = [table["table"] for table in run["tables"]]
    found = []
    with arrowetl.open(clinic.environment, clinic.tables_file) as etl, many_tables():
        for number, target in enumerate(("source", "replica", "warehouse")):
            some = names[number::3]
            etl.snapshot(some, clinic.directory / target, read_from=target)
            for name in some:
                found += snapshot_differences(clinic, name, clinic.directory / target / name, {}, False)

    assert found == []


def test_analyze_describes_every_table_correctly(loaded: tuple[Clinic, dict]) -> None:
    """tables.yml has every table, its key and its size; a second moves what a person chose; a third writes nothing."""
    clinic, _ = loaded
    document = yaml.safe_load(clinic.tables_file.read_text())
    tables = opendental.tables(opendental.factor_of(SCALE))

    assert document["metadata"]["total_tables"] == len(document["tables"]) == 381
    for name, table in tables.items():
        entry = document["tables"][name]
        assert (entry["primary_key"], entry["estimated_rows"]) == (table.key, table.rows)
    assert document["tables"]["procedurelog"]["primary_incremental_column"] == "DateTStamp"
    assert document["tables"]["sheetfield"]["extraction_strategy"] == "full_table"

    chosen = {"columns": {"SSN": {"exclude": True}}}
    of_earlier = {**document, "tables": {**document["tables"]}}
    of_earlier["tables"]["patient"] = {**document["tables"]["patient"], "overrides": chosen}
    clinic.tables_file.write_text(yaml.safe_dump(of_earlier))
    moved = clinic.arrowetl("analyze")
    again = yaml.safe_load(clinic.tables_file.read_text())
    arrowetl_yml = clinic.tables_file.with_name("arrowetl.yml")

    assert (moved.returncode, "was moved to" in moved.stdout) == (0, True)
    assert yaml.safe_load(arrowetl_yml.read_text()) == {"tables": {"patient": chosen}}
    assert again["tables"] == document["tables"]
    assert again["metadata"]["schema_hash"] == document["metadata"]["schema_hash"]

    before = {path: path.read_bytes() for path in clinic.directory.rglob("*.*ml") if "logs" not in path.parts}
    unchanged = clinic.arrowetl("analyze")
    assert "nothing but the time has changed" in unchanged.stdout
    assert {path: path.read_bytes() for path in before} == before
    arrowetl_yml.unlink()


# Table → the column in which the server timestamps every change; every other table of OpenDental is read in full.
UPDATED = {
    "DateTStamp": """allergy allergydef appointment commlog deletedobject disease diseasedef document erxlog
        histappointment hl7msg icd9 inseditlog inseditpatlog labcase labpanel labresult medication medicationpat
        operatory patient pharmacy procedurecode procedurelog provider recall refattach referral rxpat schedule
        statement""",
    "SecDateTEdit": """adjustment benefit carrier claim claimpayment claimproc emailmessage emailsecure
        emailsecureattach fee feesched insplan inssub insverify insverifyhist journalentry orthocase orthoschedule
        patfield patientnote patplan payment payplancharge paysplit periomeasure procmultivisit proctp smsfrommobile
        smstomobile task taskhist toothinitial transaction treatplan""",
    "DateTimeEntry": "claimtracking",
}
KEYLESS = {"tempprocedurecode_bak_20240617", "tempscheduleop_bak_20200424"}
# Names that look like timestamps, and that a predecessor went by: times of visits, of entry, of the log itself.
NO_WATERMARKS = {("appointment", "AptDateTime"), ("appointment", "DateTimeArrived"), ("securitylog", "LogDateTime"),
                 ("commlog", "CommDateTime"), ("sheet", "DateTimeSheet")}  # fmt: skip


def test_each_table_has_the_correct_strategy(loaded: tuple[Clinic, dict]) -> None:
    """And says why: incremental by a timestamp of the server's own, whole where there is none, or no key."""
    clinic, _ = loaded
    expected = {name: ("incremental", [column]) for column, names in UPDATED.items() for name in names.split()}

    tables = yaml.safe_load(clinic.tables_file.read_text())["tables"]

    found = {name: (entry["extraction_strategy"], entry["incremental_columns"]) for name, entry in tables.items()}
    assert {name: one for name, one in found.items() if one != ("full_table", [])} == expected
    reasons = {name: entry["strategy_reason"] for name, entry in tables.items()}
    assert {name for name, reason in reasons.items() if reason.startswith("no primary key")} == KEYLESS
    assert [name for name in expected if not re.match(r"the server updates \w+ at every change", reasons[name])] == []
    whole = tables.keys() - expected.keys() - KEYLESS
    assert [name for name in whole if not reasons[name].startswith("no column shows every change: ")] == []
    analysis = json.loads((clinic.directory / "logs/schema_analysis/reports/schema_analysis.json").read_text())
    refused = {(name, one["column"]) for name, table in analysis.items() for one in table["candidates"]
               if not one["stamped_by_server"]}  # fmt: skip
    assert refused >= NO_WATERMARKS


def test_an_analysis_sends_few_statements(loaded: tuple[Clinic, dict], tmp_path: Path) -> None:
    """A statement for each table that has rows, some ten for all; none but SELECT and SHOW; less than ten seconds."""
    clinic, _ = loaded
    began = time.monotonic()
    with general_log(clinic, tmp_path) as statements:
        assert clinic.arrowetl("analyze").returncode == 0
    seconds = time.monotonic() - began

    asked = [one for one in statements() if not one.startswith("SET ")]
    filled = sum(table.rows > 0 for table in opendental.tables(opendental.factor_of(SCALE)).values())
    assert len(asked) <= filled + 15
    assert [one for one in asked if not one.startswith(("SELECT", "(SELECT", "SHOW"))] == []
    assert seconds < 10


@contextmanager
def general_log(clinic: Clinic, directory: Path) -> Iterator[Callable[[], list[str]]]:
    """What the source was reported meanwhile."""
    log = directory / "general.log"
    admin = drivers.MySQL(clinic.sandbox.admin("source"))
    admin.execute(f"SET GLOBAL general_log_file = '{log}'")
    admin.execute("SET GLOBAL general_log = 1")
    try:
        yield lambda: [
            line.split("\t")[-1].strip().upper()
            for line in log.read_text(errors="replace").splitlines()
            if "\tQuery\t" in line.replace(" Query\t", "\tQuery\t") or " Execute\t" in line
        ]
    finally:
        admin.execute("SET GLOBAL general_log = 0")
        admin.close()


def test_the_same_seed_gives_the_same_data() -> None:
    """Two makings of a table are equal; another seed's is not."""
    table = opendental.tables(0.001)["patient"]
    first, again, other = (next(opendental.chunks(table, 0.001, seed)) for seed in (1, 1, 2))

    assert first.equals(again)
    assert not first.equals(other)


def test_synthetic_foreign_keys_refer_to_existing_rows() -> None:
    """Every PatNum of a procedure is a patient's, or 0, which is OpenDental's "none"."""
    tables = opendental.tables(0.01)
    patients = set(opendental.keys("patient", 0.01, opendental.SEED).tolist()) | {0}
    procedures = next(opendental.chunks(tables["procedurelog"], 0.01))["PatNum"]

    assert set(procedures.to_list()) <= patients


def test_the_source_is_only_read(loaded: tuple[Clinic, dict], tmp_path: Path) -> None:
    """The source's general log of a whole run holds nothing but reads and session settings."""
    clinic, _ = loaded
    with general_log(clinic, tmp_path) as statements:
        run = clinic.run("--all", "--force-full")

    assert run["totals"]["failed"] == 0
    reported = statements()
    assert len(reported) > 1000
    reads = ("SELECT", "SHOW", "SET SESSION", "SET NAMES", "SET @@SESSION", "SET CHARACTER", "SET GLOBAL GENERAL_LOG")
    assert [one for one in reported if not one.startswith(reads)] == []
