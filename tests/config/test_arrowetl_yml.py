"""
arrowetl.yml: what a person chooses holds; what cannot be meant is refused, with its line and the nearest name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from arrowetl.config import arrowetl_yml, keys, schemas
from arrowetl.config.tables_yml import TablesFile, examined_tables, explained, read_tables
from arrowetl.errors import ConfigurationError

ANALYZED = """
metadata: {source_database: opendental}
tables:
  patient: {table_name: patient, batch_size: 1000, monitoring: {alert_on_failure: true}}
  claim: {table_name: claim, batch_size: 1000}
  claimproc: {table_name: claimproc, batch_size: 1000, overrides: {workers: 2}}
"""


def written(directory: Path, chosen: str, analyzed: str = ANALYZED) -> Path:
    path = directory / "tables.yml"
    path.write_text(analyzed)
    (directory / "arrowetl.yml").write_text(chosen)
    return path


def read(directory: Path, chosen: str) -> TablesFile:
    return read_tables(written(directory, chosen))


@pytest.mark.parametrize(
    ("chosen", "left_out"),
    [
        ("exclude: claim*", {"claim", "claimproc"}),
        ("include: [patient, claimproc]", {"claim", "new"}),
        ("include: ['claim*']\nexclude: [claimproc]", {"patient", "claimproc", "new"}),
        ("exclude: '*'\ntables: {patient: {exclude: false}}", {"claim", "claimproc", "new"}),
        ("defaults: {exclude: true}\ntables: {claim: {exclude: false}}", {"patient", "claimproc", "new"}),
        ("tables: {new: {exclude: true}}", {"new"}),
        ("", set()),
    ],
)
def test_globs_choose_tables(chosen: str, left_out: set[str], tmp_path: Path) -> None:
    """Of tables that no analysis has seen as well; what is said of one table holds over globs."""
    found = read(tmp_path, chosen)

    assert {name for name in ("patient", "claim", "claimproc", "new") if found.of(name).excluded} == left_out


def test_a_table_has_what_is_nearest_to_it(tmp_path: Path) -> None:
    """What analyze found, defaults, `overrides:` of an earlier form, the table's own, the fleet's: the last holds."""
    path = written(
        tmp_path,
        "defaults: {batch_size: 5, workers: 1, monitoring: {alert_on_slow_extraction: true}}\n"
        "tables: {patient: {workers: 4, columns: {HasIns: boolean, SSN: {exclude: true}}}}",
    )
    found = read_tables(path, {"tables": {"claim": {"workers": 8}}})

    assert {name: found.of(name).get("workers") for name in ("patient", "claim", "claimproc", "new")} == {
        "patient": 4, "claim": 8, "claimproc": 2, "new": 1,
    }  # fmt: skip
    assert found.of("patient").get("batch_size") == 5
    assert found.of("patient").get("monitoring") == {"alert_on_failure": True, "alert_on_slow_extraction": True}
    assert found.of("patient").column_types() == {"HasIns": "boolean"}
    assert found.of("patient").excluded_columns() == {"SSN"}
    assert explained(path, "claimproc")["workers"] == (2, "tables.yml: overrides")
    assert explained(path, "patient")["batch_size"] == (5, "arrowetl.yml: defaults")
    assert explained(path, "patient")["table_name"] == ("patient", "tables.yml")


def test_settings_hold_over_those_of_tables_yml(tmp_path: Path) -> None:
    path = written(
        tmp_path, "settings: {reconcile_days: 2}", ANALYZED + "settings: {reconcile_days: 9, executor: process}\n"
    )
    choices = read_tables(path).choices

    assert (choices.reconcile_days, choices.executor) == (2, "process")
    assert read_tables(path, {"settings": {"reconcile_days": 1}}).choices.reconcile_days == 1


WRONG = """\
connection: {source: x}
connections:
  sorce: mysql://h/d
  replica: 7
include: {a: b}
exclude: [1]
defaults:
  bach_size: 5
  batch_size: 0
  columns: {}
  monitoring: {alert_on_failur: true, alert_on_failure: yes please}
settings:
  reconcile_dais: 3
  reconcile_days: -1
  reconcile_by: guessing
  statement_seconds: soon
  source_connections: 0
  replica_connections: 1
  warehouse_connections: many
  pause_milliseconds: 1.5
  executor: ray
  new_columns: maybe
  time_zone: Mars/Olympus
  business_hours: 25:00-26:00
  buisness_hours: 07:00-18:00
tables:
  patient:
    exclud: true
    exclude: 1
    workers: 0
    partition_bytes: 10
    views: drop
    batch_size: ten
    extraction_strategy: sometimes
    performance_category: huge
    processing_priority: 1
    time_gap_threshold_days: -3
    estimated_rows: -1
    estimated_size_mb: big
    memory_requirements_mb: []
    estimated_processing_time_minutes: .inf
    incremental_columns: DateTStamp
    primary_incremental_column: 5
    primary_key: 7
    table_name: []
    strategy_reason: mine
    quarantined_columns: []
    overrides: {workers: 1}
    monitoring: []
    columns:
      SSN: {mask: hush}
      LName: {masked: hash}
      FName: {exclude: 5}
      HasIns: {type: 3}
      Birth: 5
      On: {exclude: true}
      12: text
  claim: []
  payment: 5
  yes: {exclude: true}
  2026-01-02: {}
versions: 1
includes: patient
default: {}
setings: {}
"""
NEAREST = {
    1: "connections", 3: "source", 8: "batch_size", 11: "alert_on_failure", 13: "reconcile_days", 25: "business_hours",
    28: "exclude", 52: "mask",
}  # fmt: skip


def test_everything_that_is_wrong_is_refused_at_once_with_its_line(tmp_path: Path) -> None:
    """Each of sixty mistakes: the file, the line, what is allowed, what was found, and the nearest name."""
    path = written(tmp_path, WRONG)
    _, problem = examined_tables(path)
    assert problem is not None
    head, *reported = problem.message.splitlines()
    lines = {int(one.strip().split(":")[0].removeprefix("line ")) for one in reported}
    # Where something wrong begins: but for what has only wrong things below it.
    mistaken = {
        number
        for number, line in enumerate(WRONG.splitlines(), 1)
        if line.strip() not in ("connections:", "defaults:", "settings:", "tables:", "patient:", "columns:")
    }

    assert head.startswith(f"{tmp_path / 'arrowetl.yml'}: ")
    assert len(reported) >= 60
    assert mistaken - lines == set()
    for number, name in NEAREST.items():
        assert any(one.startswith(f"  line {number}: ") and f"did you mean {name}?" in one for one in reported), number


ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.text(max_size=5) | st.integers() | st.sampled_from([*keys.ARROWETL_YML, *keys.OVERRIDES, "source"]),
        inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([*keys.ARROWETL_YML]), ANY, max_size=5) | ANY)
def test_any_yaml_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, document: Any) -> None:
    """Never a traceback; what is refused says where."""
    path = written(tmp_path_factory.mktemp("yaml"), yaml.safe_dump(document))
    try:
        found = read_tables(path)
    except ConfigurationError as error:
        assert "arrowetl.yml" in error.message
        return

    assert isinstance(found.of("patient").excluded, bool)


SLIPS = st.tuples(st.floats(0, 1), st.integers(0, 3), st.sampled_from([*"{}[]:-#&*!|>'\"%@`\t \n\0é,?"]))


@given(st.lists(SLIPS, min_size=1, max_size=8))
def test_any_typing_error_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, slips: list[tuple[float, int, str]]
) -> None:
    text = (
        "include: ['claim*']\nsettings:\n  reconcile_days: 3\ntables:\n  patient:\n    columns: {SSN: {mask: hash}}\n"
    )
    for place, deleted, more in slips:
        at = int(place * len(text))
        text = text[:at] + more + text[at + deleted :]
    path = tmp_path_factory.mktemp("yaml") / "tables.yml"
    path.write_text(ANALYZED)
    (path.parent / "arrowetl.yml").write_bytes(text.encode())
    try:
        read_tables(path)
    except ConfigurationError as error:
        assert "arrowetl.yml" in error.message


def accepts(name: str, document: Any) -> bool:
    return not list(jsonschema.Draft202012Validator(schemas.schema(name)).iter_errors(document))


@given(st.dictionaries(st.sampled_from([*keys.ARROWETL_YML]), ANY, max_size=4))
def test_the_schema_refuses_nothing_that_may_be(document: dict[str, Any]) -> None:
    """An editor marks no line of a file that arrowetl reads; it may know less than arrowetl does."""
    if not keys.sound_choices(document)[1]:
        assert accepts("arrowetl", json.loads(json.dumps(document)))


def test_the_schemas_know_every_key_and_refuse_every_unknown_one(tmp_path: Path) -> None:
    for name in schemas.FILES:
        jsonschema.Draft202012Validator.check_schema(schemas.schema(name))
    wrong = yaml.safe_load(
        WRONG.replace("  yes: {exclude: true}\n  2026-01-02: {}\n", "").replace("      12: text\n", "")
    )
    found = {
        ".".join(map(str, one.absolute_path))
        for one in jsonschema.Draft202012Validator(schemas.schema("arrowetl")).iter_errors(wrong)
    }

    assert {
        "settings.reconcile_days",
        "settings",
        "tables.patient.workers",
        "tables.patient",
        "",
        "connections",
    } <= found
    assert accepts("fleet", {"settings": {"max_workers": 8}, "clinics": {"north": {"prefix": "NORTH_"}}})
    assert not accepts("fleet", {"clinics": {"north": {"prefx": "NORTH_"}}})
    assert accepts("tables", yaml.safe_load(ANALYZED))
    schemas.write_next_to(tmp_path / "tables.yml")
    assert sorted(path.name for path in (tmp_path / "schemas").iterdir()) == [
        "arrowetl.json",
        "fleet.json",
        "tables.json",
    ]


def test_a_url_of_a_server_is_known_with_its_place(tmp_path: Path) -> None:
    path = written(tmp_path, "connections: {source: 'mysql://reader@h/d'}")

    assert arrowetl_yml.urls(path)["source"] == (
        "mysql://reader@h/d",
        f"{tmp_path / 'arrowetl.yml'}: connections.source",
    )
