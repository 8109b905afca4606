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
    1: ("180 rows a second, hours for one table", ["here::a_thousand_rows_a_second"]),
    2: ("583,000 rows in five minutes", ["here::a_thousand_rows_a_second"]),
    3: ("the warehouse a hundred times slower than the source", ["here::a_thousand_rows_a_second"]),
    4: ("an integer key compared with a moment: every row matched", ["sync_mode::what_a_recorded_watermark_means"]),
    5: ("minutes for every table, changed or not", ["run::what_did_not_change_is_not_read"]),
    6: ("queries for every row, pages by OFFSET, a table streamed three times", [
        "here::a_row_is_read_once", "exactness::a_table_of_ordinary_values_is_read_once"]),
    7: ("one failure late in a long read, and all again", ["resume::what_is_whole_is_not_read_again"]),
    8: ("time-outs that were dropped: a dead server is waited for", [
        "refusals::a_server_that_cannot_be_had", "interruption::the_source_is_lost_in_the_middle"]),
    9: ("connections that grow with the tables", ["run::connections_to_the_source_are_bounded"]),
    10: ("batches by rows, of rows of megabytes", ["partitioning::a_partition_holds_no_more_than_its_bytes_and_rows"]),
    11: ("settings that a read-only account may not make", ["opendental::the_source_is_only_read"]),
    12: ("success, with 484,831 rows missing", [
        "load_table::rows_that_are_missing", "run::a_warehouse_in_which_somebody_wrote",
        "run::a_warehouse_that_was_rebuilt_takes_all_from_the_replica"]),
    13: ("the key as watermark: edits are never seen", [
        "sync_mode::a_mode_and_its_reason", "run::an_incremental_night"]),
    14: ("deletes that never arrive", [
        "run::an_incremental_night", "run::both_ways_to_compare_find_the_same",
        "run::a_table_that_is_emptied_and_one_that_is_dropped", "nights::nights"]),
    15: ("a full load that loses the watermark, or one of another column", [
        "here::a_full_load_keeps_the_watermark", "run::a_failure_erases_no_watermark"]),
    16: ("equal rows rewritten every night", ["run::equal_rows_are_not_rewritten"]),
    17: ("rows of the watermark's own second lost", ["run::a_stamp_that_ties_with_the_watermark"]),
    18: ("the loader's clock against the clinic's", ["here::a_source_in_another_time_zone"]),
    19: ("reference tables copied whole, and their edits never loaded", [
        "run::both_ways_to_compare_find_the_same"]),
    20: ("a table dropped first, and then half loaded", ["interruption::kill_9", "load_table::a_step_that_fails"]),
    21: ("full copies that nobody expected", ["sync_mode::a_mode_and_its_reason"]),
    22: ("a new column, and the table is dead", ["schema_changes::a_change_is_followed"]),
    23: ("booleans guessed from the data", ["here::a_number_is_never_taken_for_a_truth"]),
    24: ("a boolean that every reader's '1' misses", ["here::a_number_is_never_taken_for_a_truth"]),
    25: ("negative times and times of more than a day", ["cases::time-over-a-day-and-negative"]),
    26: ("names that are words of SQL, the wrong server in a test, words taken for errors", [
        "cases::names-nobody-would-choose", "refusals::a_variable_of_production_is_not_taken_in_test",
        "refusals::a_replica_that_is_the_source_itself"]),
}  # fmt: skip


@pytest.mark.parametrize("number", FAILURES)
def test_each_has_its_tests(number: int) -> None:
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


def test_a_thousand_rows_a_second(clinic: Clinic) -> None:
    """At the least, at both ends together, of a table of ordinary width; it was 180."""
    clinic.create(PATIENT + ";\nINSERT INTO patient (LName) SELECT REPEAT('x', 80) FROM seq_1_to_20000")

    assert only(clinic.run())["rows_per_second"] > 5000


def test_a_row_is_read_once(clinic: Clinic) -> None:
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


def test_a_full_load_keeps_the_watermark(patients: Clinic) -> None:
    """And the next night goes on from it."""
    patients.run()
    patients.run("--all", "--force-full")
    recorded = patients.warehouse("SELECT primary_column_name, last_primary_value FROM raw.etl_load_status")
    patients.create("UPDATE patient SET LName = 'edited' WHERE PatNum = 5")
    table = only(patients.run())

    # The highest stamp there is, and not the time it was: a later row may come with an older stamp than now.
    assert recorded == [("DateTStamp", "2020-01-01T00:00:00")]
    assert (table["mode"], moved(table)) == ("incremental", (0, 1, 0))


@pytest.mark.parametrize("zone", ["+13:00", "-11:00"])
@pytest.mark.parametrize("type_", ["timestamp", "datetime"])
def test_a_source_in_another_time_zone(clinic: Clinic, zone: str, type_: str) -> None:
    """Its own clock says from where on is read: what is edited a moment after a run is found by the next."""
    configure(clinic, patient=INCREMENTAL)
    clinic.create(f"SET GLOBAL time_zone = '{zone}'")
    clinic.create(f"SET time_zone = '{zone}';\n" + PATIENT.replace("DateTStamp timestamp", f"DateTStamp {type_}"))
    for name in ("first", "second"):
        clinic.create(f"SET time_zone = '{zone}';\nUPDATE patient SET LName = '{name}' WHERE PatNum = 7")
        table = only(clinic.run())
        assert differences(clinic.sandbox, "patient") == ([], {})
    assert (table["mode"], moved(table)) == ("incremental", (0, 1, 0))


def test_a_number_is_never_taken_for_a_truth(clinic: Clinic) -> None:
    """Zeros and ones today, two tomorrow: a smallint all along, which readers compare with '1' as ever."""
    clinic.create("CREATE TABLE flags (N int NOT NULL, IsHidden tinyint(1) NOT NULL, PRIMARY KEY (N)) ENGINE=MyISAM;\n"
                  "INSERT INTO flags VALUES (1, 0), (2, 1)")  # fmt: skip
    clinic.run()
    clinic.create("UPDATE flags SET IsHidden = 2 WHERE N = 1")

    assert moved(only(clinic.run())) == (0, 1, 0)
    assert clinic.warehouse('SELECT "N" FROM raw.flags WHERE "IsHidden"::text = \'1\'') == [(2,)]
    assert differences(clinic.sandbox, "flags") == ([], {})
