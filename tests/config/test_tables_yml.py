"""
tables.yml as it may be found: of a predecessor, of an earlier version, broken in any way; and never a traceback.
"""

from __future__ import annotations

import random
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.catalog_values import column, table
from support.clinic import Clinic

from arrowetl.analyze import analyze_tables, tables_yml_entry
from arrowetl.config.keys import COLUMN_OVERRIDES, KEYS, METADATA, MONITORING, OVERRIDES, SETTINGS
from arrowetl.config.tables_yml import read_tables
from arrowetl.errors import ConfigurationError, DataError
from arrowetl.planning import table_plan

# As a predecessor's analyzer wrote it; the values are made up.
PREDECESSORS = """
metadata:
  generated_at: '2025-10-06T21:43:31'
  analyzer_version: '4.0'
  configuration_version: '4.0'
  analysis_timestamp: '20251006_214331'
  environment: production
  source_database: opendental
  schema_hash: d41d8cd98f00b204e9800998ecf8427e
  total_tables: 2
  performance_optimizations_enabled: true
  optimization_features: [adaptive_batch_sizes]
tables:
  visit:
    table_name: visit
    extraction_strategy: incremental
    incremental_columns: [VisitNum, DateTStamp]
    primary_incremental_column: VisitNum
    incremental_strategy: or_logic
    batch_size: 25000
    performance_category: small
    processing_priority: 3
    time_gap_threshold_days: 30
    estimated_rows: 20
    estimated_size_mb: 0.1
    estimated_processing_time_minutes: 0.1
    memory_requirements_mb: 37
    monitoring:
      alert_on_failure: false
      alert_on_slow_extraction: false
      performance_threshold_records_per_second: 1000
      memory_alert_threshold_mb: 74
    schema_hash: -7319288322410337285
    last_analyzed: '2025-10-06T21:43:31'
    primary_key: VisitNum
    is_modeled: true
    dbt_model_types: [staging]
  broken:
    table_name: broken
    error: could not be analyzed
"""

# As the first version of arrowetl wrote it.
FIRST = """
metadata:
  generated_at: '2026-11-01T00:00:00+00:00'
  analyzer_version: 0.1.0
  environment: test
  source_database: opendental
  total_tables: 1
  schema_hash: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
tables:
  visit:
    table_name: visit
    extraction_strategy: full_table
    incremental_columns: []
    primary_incremental_column: null
    batch_size: 1000
    performance_category: tiny
    processing_priority: low
    time_gap_threshold_days: 7
    estimated_rows: 3
    estimated_size_mb: 0.0
    estimated_processing_time_minutes: 0.0
    memory_requirements_mb: 1
    monitoring:
      alert_on_failure: false
      alert_on_slow_extraction: false
      performance_threshold_records_per_second: 500
    primary_key: VisitNum
    overrides:
      exclude: false
"""


def written(directory: Path, text: str) -> Path:
    path = directory / "tables.yml"
    path.write_text(text)
    return path


def test_a_previous_pipelines_file_is_read_and_ignored_keys_are_listed(tmp_path: Path) -> None:
    """Priorities as numbers are words; a key as a watermark is trusted by nobody (`modes`)."""
    found = read_tables(written(tmp_path, PREDECESSORS))

    assert found.of("visit").get("processing_priority") == "high"
    assert "memory_alert_threshold_mb" not in found.of("visit").get("monitoring")
    (note,) = found.notes
    assert all(key in note for key in ("incremental_strategy", "optimization_features", "memory_alert_threshold_mb"))
    assert note.endswith("`arrowetl analyze` rewrites the file")


def test_an_earlier_versions_file_is_read(tmp_path: Path) -> None:
    assert read_tables(written(tmp_path, FIRST)).notes == ()


def test_a_previous_pipelines_file_loads_its_tables(clinic: Clinic) -> None:
    """Edits above its watermark among them, which was the key."""
    clinic.create(
        "CREATE TABLE visit (VisitNum bigint NOT NULL, Note varchar(20), PRIMARY KEY (VisitNum)) ENGINE=MyISAM;\n"
        "INSERT INTO visit VALUES (1, 'a'), (2, 'b')"
    )
    clinic.tables_file.write_text(PREDECESSORS)
    first = clinic.run()
    clinic.create("UPDATE visit SET Note = 'edited' WHERE VisitNum = 1")

    second = clinic.run()
    analyzed = clinic.arrowetl("analyze")

    assert (first["exit_code"], second["exit_code"], analyzed.returncode) == (0, 0, 0)
    assert "from a previous pipeline; ignored" in first["warnings"][0]
    assert clinic.warehouse("SELECT * FROM raw.visit ORDER BY 1") == [(1, "edited"), (2, "b")]
    assert read_tables(clinic.tables_file).notes == ()


LETTERS = "abcdefghi"
BOMB = "a: &a [x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in pairwise(LETTERS))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("tables:\n  a: {}\n  b: {}\n  a: {}\n", "line 4: invalid YAML: 'a' is there twice"),
        ("tables:\n  a:\n    overrides: {exclude: true, exclude: false}\n", "line 3: invalid YAML: 'exclude' is there"),
        ("[" * 5000, "invalid YAML"),
        ("tables: \x00", "invalid YAML"),
        ("tables: !!python/object/apply:os.system ['true']", "invalid YAML"),
        ("tables: {a: {batch_size: 2026-99-99}}", "invalid YAML: month must be in 1..12"),
        ("tables: {a: {batch_size: 2026-09-09}}", "batch_size: must be an integer"),
        ("tables: {a: {estimated_rows: .inf}}", "estimated_rows: must be a number from 0"),
        ("tables: {a: {overrides: {columns: {On: {exclude: true}}}}}", "On: the name must be a text; put it in"),
        ("tables: &a {b: *a}", "its aliases (*name) refer to each other"),
        (BOMB, "or to more than 1,000,000 values"),
        ("tables: !!map [1]", "invalid YAML"),
        ("tables: !!timestamp foo", "invalid YAML"),
        ("tables: !!bool maybe", "invalid YAML"),
        ("tables: !!int ''", "invalid YAML"),
        ("tables: {a: {batch_size: 0x" + "f" * 5000 + "}}", "got a number without end"),
        ("settings: {business_hours: '07:00Z-18:00'}", "hours like 07:00-18:00"),
        ("settings: {new_columns: quarantine}\ntables: {a: {batch_size: x}}", "tables.schema.json next to it"),
        ("settings: {new_columns: quarantine}\ntables: {a: {batch_size: x}}", "batch_size: must be"),
        ("tables: {a: {exclude: true}}", "tables.a.exclude: unknown key: it belongs into arrowetl.yml"),
        ("tables: {a: {overrides: {quarantined_columns: []}}}", "quarantined_columns: unknown key"),
        ("tables: {1: {}}", "tables.1: the name must be a text"),
    ],
)
def test_broken_yaml_is_reported_with_its_place(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_tables(written(tmp_path, text))

    assert str(refused.value).startswith(str(tmp_path / "tables.yml"))
    assert place in refused.value.message


NONSENSE: tuple[Any, ...] = ([], {}, {"a": 1}, [1], True, -1, 1.5, "?", None, "2026-01-01")


def bad(check: tuple[Any, str]) -> Any:
    """Some value that a key may not have."""
    return next(value for value in NONSENSE if not check[0](value))


EVERYWHERE = {
    "metadata": METADATA,
    "settings": SETTINGS,
    "tables.visit": KEYS,
    "tables.visit.overrides": OVERRIDES,
    "tables.visit.monitoring": MONITORING,
    "tables.visit.overrides.columns.Note": COLUMN_OVERRIDES,
    "tables.visit.overrides.monitoring": MONITORING,
}


def test_all_invalid_keys_are_in_one_error(tmp_path: Path) -> None:
    """File, key, what is allowed, what was found: for each key that there is, all in one message."""
    document: dict[str, Any] = {}
    expected = []
    for place, keys in EVERYWHERE.items():
        # A part that is itself what it may not be has no parts.
        inner = {other.removeprefix(f"{place}.").partition(".")[0] for other in EVERYWHERE if other != place}
        at = document
        for name in place.split("."):
            at = at.setdefault(name, {})
        for key, check in keys.items():
            if key not in inner:
                at[key] = bad(check)
                expected.append(f"{place}.{key}: must be {check[1]}, got ")

    with pytest.raises(ConfigurationError) as refused:
        read_tables(written(tmp_path, yaml.safe_dump(document)))

    reported = refused.value.message.splitlines()
    assert reported[0] == f"{tmp_path / 'tables.yml'}: {len(expected)} problems"
    assert all(re.match(r"  line \d+: ", one) for one in reported[1:])
    assert [line for line in expected if not any(f": {line}" in one for one in reported[1:])] == []


def test_every_generated_key_is_explained_in_the_heading() -> None:
    """Once, in its heading; its first line is for editors."""
    heading = tables_yml_entry.heading()

    assert heading.startswith("# yaml-language-server: $schema=schemas/tables.json\n")
    assert [key for key in KEYS if f"#   {key} " not in heading] == []


# --- fuzzing ------------------------------------------------------------------------------------

VISIT = table("visit", column("VisitNum", "bigint(20)", nullable=False), column("Note", "varchar(20)"),
              column("DateTStamp", "timestamp"), key=("VisitNum",), rows=3)  # fmt: skip
NAMES = {*KEYS, *OVERRIDES, *SETTINGS, *COLUMN_OVERRIDES, *MONITORING}
WORDS = sorted({"Note", "VisitNum", "none", "text", "hash", *NAMES})
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.dates(), st.sampled_from(WORDS), st.text())
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | SCALARS, inner, max_size=3),
    max_leaves=8,
)


def rewritten(seen: dict[str, tables_yml_entry.ReplicaFacts], path: Path) -> str:
    """The file as the next analysis would write it."""
    was = analyze_tables.before(path)
    waiting = {name: was.chosen.quarantined(one.table) for name, one in seen.items()}
    return analyze_tables.rewritten(seen, was, "test", "opendental", waiting)[1]


def survives(path: Path) -> None:
    """What reads the file either can or says what is wrong, with its name; and so does what goes by it."""
    path.with_suffix(".schema.json").write_text('{"visit": {"columns": {"VisitNum": []}}}')
    try:
        rewritten({"visit": tables_yml_entry.seen(VISIT, None)}, path)
    except ConfigurationError as error:
        assert str(path) in error.message
    try:
        found = read_tables(path)
    except ConfigurationError as error:
        assert str(path) in error.message
        return
    settings = found.of_table(VISIT)
    try:
        table_plan.table_plan(VISIT, settings, None)
    except DataError as error:
        assert "visit" in error.message


@given(st.lists(st.tuples(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), ANYTHING), min_size=1, max_size=4))
def test_any_value_at_any_place_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[list[str], Any]]
) -> None:
    document = yaml.safe_load(FIRST)
    for names, value in changes:
        at: Any = document["tables"]["visit"]
        for name in names[:-1]:
            at = at.setdefault(name, {}) if isinstance(at, dict) else {}
        if isinstance(at, dict):
            at[names[-1]] = value
    survives(written(tmp_path_factory.mktemp("fuzz"), yaml.safe_dump(document)))


TAGS = ("!!map ", "!!set ", "!!timestamp ", "!!bool ", "!!int ", "!!float ", "!!omap ", "!!binary ", "&a ", "*a ")
QUARANTINED = FIRST.replace("tables:", "settings: {new_columns: quarantine}\ntables:").replace(
    "    overrides:", "    quarantined_columns: [Note]\n    overrides:"
)


SLIPS = st.tuples(st.floats(0, 1), st.integers(0, 3), st.sampled_from([*"{}[]:-#&*!|>'\"%@`\t \n\0é,?", *TAGS]))


@given(st.lists(SLIPS, min_size=1, max_size=8), st.sampled_from([FIRST, PREDECESSORS, QUARANTINED]))
def test_any_typing_error_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, slips: list[tuple[float, int, str]], text: str
) -> None:
    for place, deleted, more in slips:
        at = int(place * len(text))
        text = text[:at] + more + text[at + deleted :]
    survives(written(tmp_path_factory.mktemp("fuzz"), text))


def test_analyze_rewrites_any_readable_file(tmp_path: Path) -> None:
    """A hundred files, each with some line lost or doubled: written again, or refused as invalid YAML."""
    chance = random.Random(7)
    seen = {"visit": tables_yml_entry.seen(VISIT, None)}
    for _ in range(100):
        lines = PREDECESSORS.splitlines(keepends=True)
        for _ in range(3):
            place = chance.randrange(len(lines))
            lines[place : place + 1] = chance.choice([[], [lines[place]] * 2, [" " + lines[place]]])
        path = written(tmp_path, "".join(lines))
        try:
            text = rewritten(seen, path)
        except ConfigurationError as error:
            assert str(path) in error.message
            continue
        path.write_text(text)
        assert yaml.safe_load(path.read_text())["tables"]["visit"]["table_name"] == "visit"


def test_monitoring_overrides_keep_the_other_defaults(tmp_path: Path) -> None:
    text = FIRST.replace("exclude: false", "monitoring: {alert_on_failure: true}")

    assert read_tables(written(tmp_path, text)).of("visit").get("monitoring") == {
        "alert_on_failure": True,
        "alert_on_slow_extraction": False,
        "performance_threshold_records_per_second": 500,
    }


def test_validate_lists_all_problems_at_once(clinic: Clinic) -> None:
    """Of the file, of its choices, of the mask key, of the servers; each with its place; and offline what it can."""
    clinic.create("CREATE TABLE visit (Num bigint NOT NULL, Note varchar(20), Fee double, PRIMARY KEY (Num))")
    clinic.tables_file.write_text(
        "settings: {reconcile_dais: 3}\ntables:\n  visit:\n    batch_size: many\n    overrides:\n"
        "      primary_incremental_column: Absent\n      columns:\n"
        "        note: {exclude: true}\n        Fee: {mask: hash}\n        Num: {mask: nullify}\n"
        "        Note: {type: tsvector, mask: hash}\n"
    )
    clinic.create("SET GLOBAL local_infile = 0", "replica")
    clinic.undo.append(lambda: clinic.create("SET GLOBAL local_infile = 1", "replica"))

    done = clinic.arrowetl("validate", ARROWETL_MASK_KEY="")
    offline = clinic.arrowetl("validate", "--offline", ARROWETL_MASK_KEY="")

    assert (done.returncode, offline.returncode) == (3, 3)
    of_the_file = [
        "settings.reconcile_dais: unknown key (did you mean reconcile_days?)",
        "tables.visit.batch_size: must be an integer from 1 to 10000000, got 'many'",
        "ARROWETL_MASK_KEY is not set",
    ]
    of_the_servers = ["note (did you mean Note?)", "visit.Fee (double): cannot be masked by hash",
                      "visit.Num (bigint(20)): cannot be masked by nullify", "local_infile",
                      "primary_incremental_column that the source has not: Absent"]  # fmt: skip
    assert [line for line in of_the_file if line not in done.stdout or line not in offline.stdout] == []
    assert [line for line in of_the_servers if line not in done.stdout] == []
