"""
Twenty-six ways in which such a pipeline has failed before, each with the tests that it does not here.

What is not tested elsewhere is tested below.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from support.clinic import Clinic, configure, moved, only, settle
from support.independent import differences
from support.patients import INCREMENTAL, PATIENT

from arrowetl import drivers

TESTS = Path(__file__).parent.parent
# What happened, and the tests: module and function, each without its `test_`, or a folder of cases.
FAILURES = {
    1: ("180 rows a second, hours for one table", ["here::loading_is_faster_than_a_thousand_rows_a_second"]),
    2: ("583,000 rows in five minutes", ["here::loading_is_faster_than_a_thousand_rows_a_second"]),
    3: ("the warehouse a hundred times slower than the source", [
        "here::loading_is_faster_than_a_thousand_rows_a_second"]),
    4: ("an integer key compared with a timestamp: every row matched", [
        "sync_mode::the_watermark_is_read_less_its_overlap"]),
    5: ("minutes for every table, changed or not", ["run::unchanged_myisam_tables_are_skipped"]),
    6: ("queries for every row, pages by OFFSET, a table streamed three times", [
        "here::every_row_is_read_once", "exactness::ordinary_tables_are_read_once"]),
    7: ("one failure late in a long read, and all again", ["resume::complete_partitions_are_not_read_again"]),
    8: ("time-outs that were dropped: a dead server is waited for", [
        "refusals::an_unreachable_server_exits_4_within_5_seconds",
        "interruption::a_lost_source_fails_its_tables_and_the_next_run_completes"]),
    9: ("connections that grow with the tables", ["run::source_connections_are_bounded"]),
    10: ("batches by rows, of rows of megabytes", ["partitioning::partitions_stay_within_bytes_and_rows"]),
    11: ("settings that a read-only account may not make", ["opendental::the_source_is_only_read"]),
    12: ("success, with 484,831 rows missing", [
        "load_table::missing_rows_block_the_cutover", "run::an_edited_warehouse_is_reloaded_from_the_replica",
        "run::a_rebuilt_warehouse_is_loaded_from_the_replica"]),
    13: ("the key as watermark: edits are never seen", [
        "sync_mode::each_state_gets_its_mode_and_reason", "run::an_incremental_run_loads_edits_inserts_and_deletes"]),
    14: ("deletes that never arrive", [
        "run::an_incremental_run_loads_edits_inserts_and_deletes", "run::both_comparison_methods_find_the_same",
        "run::an_emptied_table_is_emptied_and_a_dropped_one_kept", "nights::simulated_days_end_equal"]),
    15: ("a full load that loses the watermark, or one of another column", [
        "here::a_full_load_records_the_watermark", "run::a_failed_run_keeps_the_watermark"]),
    16: ("equal rows rewritten by every run", ["run::equal_rows_are_not_rewritten"]),
    17: ("rows of the watermark's own second lost", ["run::rows_at_the_watermarks_second_are_read_again"]),
    18: ("the loader's clock against the clinic's", ["here::watermarks_use_the_sources_clock"]),
    19: ("reference tables copied in full, and their edits never loaded", [
        "run::both_comparison_methods_find_the_same"]),
    20: ("a table dropped first, and then half loaded", [
        "interruption::a_killed_run_leaves_nothing_visible_and_the_next_completes",
        "load_table::failure_at_any_step_leaves_published_tables_untouched"]),
    21: ("full copies that nobody expected", ["sync_mode::each_state_gets_its_mode_and_reason"]),
    22: ("a new column, and the table is dead", ["schema_changes::schema_changes_are_followed_at_both_targets"]),
    23: ("booleans guessed from the data", ["here::tinyint_stays_a_number"]),
    24: ("a boolean that every reader's '1' misses", ["here::tinyint_stays_a_number"]),
    25: ("negative times and times of more than a day", ["cases::time-over-a-day-and-negative"]),
    26: ("names that are words of SQL, the wrong server in a test, words taken for errors", [
        "cases::reserved-and-odd-names", "refusals::production_variables_are_ignored_in_test",
        "refusals::a_replica_that_is_the_source_is_refused_before_any_write"]),
}  # fmt: skip


@pytest.mark.parametrize("number", FAILURES)
def test_every_documented_failure_has_a_test(number: int) -> None:
    """By name."""
    for test in FAILURES[number][1]:
        module, _, name = test.partition("::")
        path = Path(__file__) if module == "here" else next(TESTS.glob(f"*/test_{module}.py"))
        functions = {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}
        assert f"test_{name}" in functions or (TESTS / "cases" / name / "create.sql").exists(), test


@pytest.fixture
def patients(clinic: Clinic) -> Clinic:
    configure(clinic, patient=INCREMENTAL)
    clinic.create(PATIENT)
    settle()
    return clinic


def test_loading_is_faster_than_a_thousand_rows_a_second(clinic: Clinic) -> None:
    """At the least, at both targets together, of a table of ordinary width; it was 180."""
    clinic.create(PATIENT + ";\nINSERT INTO patient (LName) SELECT REPEAT('x', 80) FROM seq_1_to_20000")

    assert only(clinic.run())["rows_per_second"] > 5000


def test_every_row_is_read_once(clinic: Clinic) -> None:
    """By one statement a partition; ranges are walked along the key, and a table has a dozen statements in all."""
    configure(clinic, patient={"overrides": {"batch_size": 1000}})
    clinic.create(PATIENT)
    admin = drivers.MySQL(clinic.sandbox.admin("source"))
    for statement in ("SET GLOBAL log_output = 'TABLE'", "TRUNCATE mysql.general_log", "SET GLOBAL general_log = 1"):
        admin.execute(statement)
    clinic.undo.append(lambda: clinic.create("SET GLOBAL general_log = 0;\nSET GLOBAL log_output = 'FILE'"))
    assert only(clinic.run())["partitions"] == 3
    said = [
        str(text) for (text,) in admin.rows("SELECT argument FROM mysql.general_log WHERE command_type = 'Execute'")
    ]
    everything = admin.rows("SELECT COUNT(*) FROM mysql.general_log WHERE argument LIKE '%patient%'")[0][0]
    admin.close()

    assert len([text for text in said if "FROM `test_opendental`.`patient`" in text]) == 3
    assert [text for text in said if "OFFSET" in text] == []
    assert everything < 20


def test_a_full_load_records_the_watermark(patients: Clinic) -> None:
    """And the next run goes on from it."""
    patients.run()
    patients.run("--all", "--force-full")
    recorded = patients.warehouse("SELECT primary_column_name, last_primary_value FROM raw.etl_load_status")
    patients.create("UPDATE patient SET LName = 'edited' WHERE PatNum = 5")
    table = only(patients.run())

    # The highest timestamp there is, and not the time it was: a later row may come with an older timestamp than now.
    assert recorded == [("DateTStamp", "2020-01-01T00:00:00")]
    assert (table["mode"], moved(table)) == ("incremental", (0, 1, 0))


@pytest.mark.parametrize("zone", ["+13:00", "-11:00"])
@pytest.mark.parametrize("type_", ["timestamp", "datetime"])
def test_watermarks_use_the_sources_clock(clinic: Clinic, zone: str, type_: str) -> None:
    """Its own clock says from where on is read: what is edited a time after a run is found by the next."""
    configure(clinic, patient=INCREMENTAL)
    clinic.create(f"SET GLOBAL time_zone = '{zone}'")
    clinic.create(f"SET time_zone = '{zone}';\n" + PATIENT.replace("DateTStamp timestamp", f"DateTStamp {type_}"))
    for name in ("first", "second"):
        clinic.create(f"SET time_zone = '{zone}';\nUPDATE patient SET LName = '{name}' WHERE PatNum = 7")
        table = only(clinic.run())
        assert differences(clinic.sandbox, "patient") == ([], {})
    assert (table["mode"], moved(table)) == ("incremental", (0, 1, 0))


def test_tinyint_stays_a_number(clinic: Clinic) -> None:
    """Zeros and ones today, two tomorrow: a smallint all along, which readers compare with '1' as ever."""
    clinic.create(
        "CREATE TABLE flags (N int NOT NULL, IsHidden tinyint(1) NOT NULL, PRIMARY KEY (N)) ENGINE=MyISAM;\n"
        "INSERT INTO flags VALUES (1, 0), (2, 1)"
    )
    clinic.run()
    clinic.create("UPDATE flags SET IsHidden = 2 WHERE N = 1")

    assert moved(only(clinic.run())) == (0, 1, 0)
    assert clinic.warehouse('SELECT "N" FROM raw.flags WHERE "IsHidden"::text = \'1\'') == [(2,)]
    assert differences(clinic.sandbox, "flags") == ([], {})
