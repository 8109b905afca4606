"""
Every other run: what changed moves, and only that; and what is there in the way of it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support import slow_link
from support.clinic import Clinic, configure, moved, only, settle
from support.independent import differences
from support.patients import FULL, INCREMENTAL, PATIENT

import arrowetl
from arrowetl import drivers, limits
from arrowetl.errors import DatabaseQueryError
from arrowetl.model.connection import RunSettings
from arrowetl.source.reader import Source
from arrowetl.state import state_sql
from arrowetl.state.ledger import Ledger


@pytest.fixture
def patients(clinic: Clinic) -> Clinic:
    """3,000 patients at all three servers, and the first run over."""
    configure(clinic, patient=INCREMENTAL)
    clinic.create(PATIENT)
    settle()
    assert only(clinic.run())["reason"] == "first load"
    return clinic


def history(clinic: Clinic, what: str) -> list[Any]:
    rows = clinic.warehouse(f"SELECT {what} FROM raw.etl_table_history ORDER BY started_at")
    return [row if len(row) > 1 else row[0] for row in rows]


# --- modes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changed", "mode"), [(10, "incremental"), (1500, "reconcile")])
def test_mostly_changed_tables_are_compared_in_full(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, changed: int, mode: str
) -> None:
    """Of a large table of which a third and more was updated: all is compared, which takes a tenth of the time."""
    monkeypatch.setattr(limits, "full_row_checksum_rows_max", 1000)
    configure(clinic, patient=INCREMENTAL)
    clinic.create(PATIENT.replace("KEY (LName)", "KEY (DateTStamp)"))
    clinic.create("UPDATE patient SET LName = 'the last before' WHERE PatNum = 2998")
    with arrowetl.open(clinic.environment, clinic.tables_file) as etl:
        etl.run(all=True)
        settle()
        clinic.create(
            f"UPDATE patient SET LName = 'other' WHERE PatNum <= {changed};\nDELETE FROM patient WHERE PatNum = 2999"
        )
        (outcome,) = etl.run(all=True).outcomes

    assert (outcome.mode, outcome.changes.updated, outcome.changes.deleted) == (mode, changed, 1)
    assert ("a third of its rows or more changed since" in outcome.reason) == (mode == "reconcile")
    assert differences(clinic.sandbox, "patient") == ([], {})


def test_unchanged_myisam_tables_are_skipped(patients: Clinic) -> None:
    """Reported by MyISAM's own timestamp; checked, recorded, and counted as it is."""
    before = patients.warehouse("SELECT _loaded_at, _checked_at FROM raw.etl_load_status")[0]
    table = only(patients.run())
    after = patients.warehouse("SELECT _loaded_at, _checked_at FROM raw.etl_load_status")[0]

    assert (table["mode"], table["status"], table["rows_extracted"]) == ("skipped", "skipped", 0)
    assert (table["rows_replica"], table["rows_warehouse"]) == (3000, 3000)
    assert table["reason"].startswith("unchanged since ")
    assert after[0] == before[0]
    assert after[1] > before[1]
    assert history(patients, "mode") == ["full", "skipped"]


def test_a_table_written_within_the_last_second_is_compared(clinic: Clinic) -> None:
    """Within one second of the read, a change would not move the timestamp: then the table is looked at again."""
    configure(clinic, patient=FULL)
    # In this process, which need not start first: a second is soon over.
    with arrowetl.open(clinic.environment, clinic.tables_file) as etl:
        clinic.create(PATIENT)
        (first,), (second,) = etl.run(all=True).outcomes, etl.run(all=True).outcomes

    assert first.settled is not True
    assert second.mode == "reconcile"


def test_small_innodb_tables_are_skipped_by_checksum(clinic: Clinic) -> None:
    """Its timestamp is lost with a restart: small tables are skipped by CHECKSUM TABLE, and only by that."""
    configure(clinic, patient=FULL)
    clinic.create(PATIENT.replace("MyISAM", "InnoDB"))
    clinic.run()
    table = only(clinic.run())
    clinic.create("UPDATE patient SET LName = 'Name 5' WHERE PatNum = 5")
    changed = only(clinic.run())

    assert (table["mode"], table["reason"]) == ("skipped", "its checksum is what it was")
    assert (changed["mode"], moved(changed)) == ("reconcile", (0, 1, 0))
    assert differences(clinic.sandbox, "patient") == ([], {})


def test_a_value_moving_between_columns_is_noticed(clinic: Clinic) -> None:
    """CHECKSUM TABLE does not see it."""
    clinic.create(
        "CREATE TABLE name (N int NOT NULL, A varchar(9), B varchar(9), PRIMARY KEY (N)) ENGINE=InnoDB;\n"
        "INSERT INTO name VALUES (1, 'ab', 'c'), (2, NULL, 'x')"
    )
    clinic.run()
    clinic.create("UPDATE name SET A = 'a', B = 'bc' WHERE N = 1")
    first = moved(only(clinic.run()))
    clinic.create("UPDATE name SET A = 'x', B = NULL WHERE N = 2")

    assert (first, moved(only(clinic.run()))) == ((0, 1, 0), (0, 1, 0))
    assert differences(clinic.sandbox, "name") == ([], {})


def test_an_incremental_run_loads_edits_inserts_and_deletes(patients: Clinic) -> None:
    """Edits and inserts by their timestamp; deletes, and edits without one, by checksums in the same run."""
    patients.create(
        "UPDATE patient SET LName = 'edited' WHERE PatNum IN (5, 77);\n"
        "UPDATE patient SET LName = 'unstamped', DateTStamp = DateTStamp WHERE PatNum = 9;\n"
        "DELETE FROM patient WHERE PatNum IN (10, 3000);\n"
        "INSERT INTO patient (PatNum, LName) VALUES (-4, 'below'), (5000, 'above');\n"
        "INSERT INTO patient (PatNum, LName, DateTStamp) VALUES (10, 'came back', '2019-01-01')"
    )
    table = only(patients.run())

    assert (table["mode"], moved(table)) == ("incremental", (2, 4, 1))
    assert table["rows_extracted"] < 20
    assert (table["rows_replica"], table["rows_warehouse"]) == (3001, 3001)
    assert differences(patients.sandbox, "patient") == ([], {})
    assert patients.arrowetl("verify", "--all").returncode == 0


def test_rows_at_the_watermarks_second_are_read_again(patients: Clinic) -> None:
    """Rows of the very second of the last read, and older ones that came late, are read again."""
    ((watermark, column),) = patients.warehouse(
        "SELECT last_primary_value, primary_column_name FROM raw.etl_load_status"
    )
    patients.create(
        f"UPDATE patient SET LName = 'tie', DateTStamp = '{watermark.replace('T', ' ')}' WHERE PatNum = 1;\n"
        f"UPDATE patient SET LName = 'late', DateTStamp = '{watermark.replace('T', ' ')}' - INTERVAL 90 MINUTE "
        "WHERE PatNum = 2"
    )
    table = only(patients.run())

    assert column == "DateTStamp"
    assert (table["mode"], moved(table)) == ("incremental", (0, 2, 0))
    assert differences(patients.sandbox, "patient") == ([], {})


def test_equal_rows_are_not_rewritten(patients: Clinic) -> None:
    """In no mode, with a key and without one: PostgreSQL's own counters say so."""
    patients.create(
        "CREATE TABLE bak LIKE patient;\nALTER TABLE bak MODIFY PatNum bigint NOT NULL, DROP PRIMARY KEY;\n"
        "INSERT INTO bak SELECT * FROM patient;\nINSERT INTO bak SELECT * FROM patient LIMIT 10"
    )
    patients.run()
    counters = (
        "SELECT relname::text, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables "
        "WHERE relname IN ('patient', 'bak') AND schemaname = 'raw' ORDER BY 1"
    )
    modes, counted = [], []
    for touch, *asked in (("patient", "--all"), ("bak", "--all"), ("patient", "--all", "--force-full"),
                          ("patient", "--all", "--from", "replica", "--force-full")):  # fmt: skip
        # Touched, and the same rows.
        patients.create(
            f"UPDATE {touch} SET LName = CONCAT(LName, '!');\n"
            f"UPDATE {touch} SET LName = LEFT(LName, CHAR_LENGTH(LName) - 1), DateTStamp = '2020-01-01'"
        )
        run = patients.run(*asked)
        assert run["exit_code"] == 0
        assert [moved(table) for table in run["tables"]] == [(0, 0, 0)] * 2
        modes.append({table["table"]: table["mode"] for table in run["tables"]}[touch])
        session = drivers.Postgres(patients.sandbox.warehouse)
        session.rows("SELECT pg_stat_force_next_flush()")
        counted.append(session.rows(counters))
        session.close()

    assert modes == ["incremental", "reconcile", "full", "full"]
    assert counted == [counted[0]] * 4
    assert differences(patients.sandbox, "bak") == ([], {})


def test_keyless_tables_keep_the_number_of_duplicates(clinic: Clinic) -> None:
    """Equal rows of a table without a key: as many as the source has, the others left alone."""
    clinic.create(
        "CREATE TABLE bak (a int, b varchar(9)) ENGINE=MyISAM;\n"
        "INSERT INTO bak VALUES (1, 'x'), (1, 'x'), (1, 'x'), (2, NULL), (2, NULL), (3, '')"
    )
    clinic.run()
    clinic.create("DELETE FROM bak WHERE a = 1 LIMIT 1;\nINSERT INTO bak VALUES (2, NULL), (4, 'new')")
    table = only(clinic.run())

    assert (table["mode"], moved(table)) == ("full", (2, 0, 1))
    assert "no primary key" in table["reason"]
    assert differences(clinic.sandbox, "bak") == ([], {})


@pytest.mark.parametrize("by", ["reading", "checksum", "auto"])
def test_both_comparison_methods_find_the_same(clinic: Clinic, by: str) -> None:
    """What is reported, and what moves; with checksums, only rows that differ are read."""
    configure(clinic, {"reconcile_by": by}, patient=FULL)
    clinic.create(PATIENT)
    clinic.run()
    clinic.create(
        "UPDATE patient SET LName = UPPER(LName) WHERE PatNum % 600 = 0;\nDELETE FROM patient WHERE PatNum = 2;\n"
        "UPDATE patient SET Balance = -0e0 WHERE PatNum = 3;\nUPDATE patient SET Balance = 0e0 WHERE PatNum = 4"
    )
    table = only(clinic.run())

    assert (table["mode"], moved(table)) == ("reconcile", (0, 7, 1))
    assert ("checksum" if by == "auto" else by) in table["reason"]
    assert table["rows_extracted"] == (2999 if by == "reading" else 7)
    assert differences(clinic.sandbox, "patient") == ([], {})


KEYS = {
    "composite": ("a int NOT NULL, b varchar(20) NOT NULL", "a, b", "seq % 40, CONCAT('k', seq)"),
    "string": ("a varchar(40) CHARACTER SET utf8 COLLATE utf8_general_ci NOT NULL", "a", "CONCAT('Key', seq)"),
    "exact-string": (
        "a varchar(40) CHARACTER SET utf8 COLLATE utf8_bin NOT NULL",
        "a",
        "IF(seq % 2, CONCAT('k', seq), CONCAT('K', seq - 1))",
    ),
    "binary": ("a varbinary(16) NOT NULL", "a", "UNHEX(MD5(seq))"),
    "unsigned": ("a bigint unsigned NOT NULL", "a", "18446744073709551615 - seq"),
    "negative": ("a int NOT NULL", "a", "CAST(seq AS SIGNED) - 500"),
    "random": ("a bigint NOT NULL", "a", "CAST(CONV(LEFT(SHA1(seq), 15), 16, 10) AS SIGNED)"),
    "date": ("a date NOT NULL", "a", "'2000-01-01' + INTERVAL seq DAY"),
    "decimal": ("a decimal(12,2) NOT NULL", "a", "seq / 4"),
}


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_any_type_are_compared(clinic: Clinic, kind: str) -> None:
    """In small partitions: rows go, come, and change, and a key may change in nothing but its case."""
    columns, key, values = KEYS[kind]
    names = [column.split()[0] for column in columns.split(", ")]
    configure(clinic, {"reconcile_by": "checksum"}, t={"overrides": {"batch_size": 130}})
    clinic.create(
        f"CREATE TABLE t ({columns}, v varchar(30), PRIMARY KEY ({key})) ENGINE=MyISAM DEFAULT CHARSET=utf8;\n"
        f"INSERT INTO t ({', '.join(names)}, v) SELECT {values}, seq FROM seq_1_to_1000"
    )
    assert clinic.run()["exit_code"] == 0
    change = "UPDATE t SET a = UPPER(a) WHERE v IN (7, 8);\n" if kind == "string" else ""
    clinic.create(
        f"{change}DELETE FROM t WHERE v IN (1, 500, 1000);\nUPDATE t SET v = 'edited' WHERE v IN (2, 501, 999);\n"
        f"INSERT INTO t ({', '.join(names)}, v) SELECT {values}, 'new' FROM seq_1001_to_1010"
    )
    table = only(clinic.run())

    assert table["mode"] == "reconcile"
    assert table["rows_inserted"] >= 10
    assert differences(clinic.sandbox, "t") == ([], {})
    assert clinic.arrowetl("verify", "--all").returncode == 0


def test_a_key_with_an_unprintable_name_identifies_rows(clinic: Clinic) -> None:
    """The server answers with another name; rows are reported apart by it all the same."""
    configure(clinic, odd=FULL)
    clinic.create(
        "CREATE TABLE odd (Num int NOT NULL, `\x1b_0` year NOT NULL, PRIMARY KEY (Num, `\x1b_0`)) ENGINE=MyISAM;\n"
        "INSERT INTO odd VALUES (0, 1901), (1, 1902)"
    )
    settle()
    only(clinic.run())
    clinic.create("DELETE FROM odd WHERE Num = 1;\nINSERT INTO odd VALUES (2, 1903)")
    settle()

    assert moved(only(clinic.run())) == (1, 0, 1)
    assert differences(clinic.sandbox, "odd") == ([], {})


def test_an_emptied_table_is_emptied_and_a_dropped_one_kept(clinic: Clinic) -> None:
    """The one is emptied at both targets; the other stays there as it was, and is reported."""
    clinic.create(PATIENT + ";\nCREATE TABLE other LIKE patient;\nINSERT INTO other SELECT * FROM patient LIMIT 5")
    clinic.run()
    clinic.create("TRUNCATE patient;\nDROP TABLE other")
    run = clinic.run()

    (table,) = run["tables"]
    assert (table["table"], table["error"], moved(table)) == ("patient", None, (0, 0, 3000))
    assert (run["exit_code"], run["missing"]) == (1, ["other"])
    assert differences(clinic.sandbox, "patient") == ([], {})
    assert clinic.warehouse("SELECT count(*) FROM raw.other") == [(5,)]
    assert any("missing at the source: other" in warning for warning in run["warnings"])


# --- the warehouse behind, and the replica ------------------------------------------------------


def test_a_rebuilt_warehouse_is_loaded_from_the_replica(patients: Clinic) -> None:
    """The source is not read, and need not be."""
    patients.warehouse_execute("DROP SCHEMA raw CASCADE")
    table = only(patients.run())

    assert "is loaded from the replica" in table["reason"]
    assert table["reason"].startswith("unchanged since")
    assert moved(table) == (3000, 0, 0)
    assert differences(patients.sandbox, "patient") == ([], {})
    assert only(patients.run())["mode"] == "skipped"


def test_a_lagging_warehouse_is_reloaded_after_the_replica(patients: Clinic) -> None:
    """What changed goes to the replica, and all of that to the warehouse: the source is read no more than otherwise."""
    patients.warehouse_execute("UPDATE raw.etl_load_status SET version = 'an older one'")
    patients.warehouse_execute('DELETE FROM raw.patient WHERE "PatNum" < 100')
    patients.create("UPDATE patient SET LName = 'edited' WHERE PatNum = 5")
    table = only(patients.run())

    assert (table["mode"], table["rows_extracted"]) == ("incremental", 1)
    assert moved(table) == (99, 0, 0)
    assert differences(patients.sandbox, "patient") == ([], {})


def test_an_edited_warehouse_is_reloaded_from_the_replica(patients: Clinic) -> None:
    """Rows that are missing there are found when the next ones come, and all is taken from the replica."""
    patients.warehouse_execute('DELETE FROM raw.patient WHERE "PatNum" = 10')
    patients.create("UPDATE patient SET LName = 'edited' WHERE PatNum = 5")
    table = only(patients.run())

    assert (table["rows_warehouse"], moved(table)) == (3000, (1, 1, 0))
    assert differences(patients.sandbox, "patient") == ([], {})


def test_an_emptied_warehouse_is_reloaded_from_the_replica(patients: Clinic) -> None:
    """Though nothing changed at the source: it is loaded from the replica."""
    patients.warehouse_execute("TRUNCATE raw.patient")

    assert moved(only(patients.run())) == (3000, 0, 0)
    assert differences(patients.sandbox, "patient") == ([], {})


def test_tracking_tables_of_earlier_versions_are_upgraded(patients: Clinic) -> None:
    """What they lack is made."""
    patients.warehouse_execute("DROP TABLE raw.etl_partition_status")
    patients.create("DROP TABLE etl_partition_status", "replica")
    patients.create("UPDATE patient SET LName = 'edited' WHERE PatNum = 5")

    assert moved(only(patients.run())) == (0, 1, 0)


def test_from_replica_does_not_miss_excluded_columns(clinic: Clinic) -> None:
    """The replica has none of it; nor is it missed."""
    configure(clinic, patient={"overrides": {"columns": {"Balance": {"exclude": True}}}})
    clinic.create(PATIENT)
    clinic.run()
    table = only(clinic.run("--all", "--from", "replica", "--force-full"))

    assert (table["mode"], moved(table)) == ("full", (0, 0, 0))


def test_a_warehouse_loaded_from_the_replica_gets_the_next_change(patients: Clinic) -> None:
    """What `--from replica` puts there is recorded as the replica's: the source's change is still to come."""
    patients.create("UPDATE patient SET LName = 'edited' WHERE PatNum = 5")
    settle()
    only(patients.run("--all", "--to", "warehouse"))
    only(patients.run("--all", "--from", "replica"))
    table = only(patients.run("--all", "--to", "warehouse"))

    assert (table["mode"], moved(table)) == ("full", (0, 1, 0))


def test_a_lost_replica_table_is_loaded_in_full_again(patients: Clinic) -> None:
    """A table that no longer exists there is read in full again; the warehouse's stays the one it is."""
    before = patients.warehouse("SELECT 'raw.patient'::regclass::oid::bigint")
    patients.create("DROP TABLE patient", "replica")
    table = only(patients.run())

    assert (table["mode"], table["reason"]) == ("full", "the replica has no such table")
    assert moved(table) == (0, 0, 0)
    assert patients.warehouse("SELECT 'raw.patient'::regclass::oid::bigint") == before


def test_from_replica_loads_only_what_differs(patients: Clinic) -> None:
    """Nothing where both targets hold the same; everything where they do not; the source is not asked."""
    skipped = only(patients.run("--all", "--from", "replica"))
    patients.warehouse_execute("DROP TABLE raw.patient")
    whole = only(patients.run("--all", "--from", "replica", TEST_OPENDENTAL_SOURCE_PORT="1"))

    assert skipped["reason"] == "the warehouse has what the replica has"
    assert (whole["mode"], moved(whole)) == ("full", (3000, 0, 0))
    assert only(patients.run())["mode"] == "skipped"


def test_types_missing_at_the_replica_become_texts_and_keep_their_values(clinic: Clinic) -> None:
    """A replica of MySQL has MariaDB's uuid and inet as texts: the warehouse's types stay what the source's became."""
    clinic.create(
        "CREATE TABLE visitor (Id bigint NOT NULL PRIMARY KEY, Token uuid, Host inet6, Old inet4) ENGINE=InnoDB;\n"
        "INSERT INTO visitor VALUES (1, '123e4567-e89b-12d3-a456-426655440000', '2001:db8::ff00:42:8329', '10.0.0.1'), "
        "(2, NULL, NULL, NULL)"
    )
    types = (
        "SELECT string_agg(format_type(atttypid, atttypmod), ' ' ORDER BY attnum) FROM pg_attribute "
        "WHERE attrelid = 'raw.visitor'::regclass AND attnum > 0"
    )
    rows = 'SELECT "Token"::text, "Host"::text, "Old"::text FROM raw.visitor ORDER BY "Id"'
    clinic.run()
    before = clinic.warehouse(types), clinic.warehouse(rows)
    clinic.create(
        "ALTER TABLE visitor MODIFY Token char(36) CHARACTER SET ascii, MODIFY Host varchar(45) CHARACTER SET ascii, "
        "MODIFY Old varchar(15) CHARACTER SET ascii;\n"
        # As a replica of MySQL it would have been made so, and nobody had altered it.
        "DELETE FROM etl_copy_status",
        "replica",
    )
    from_replica = only(clinic.run("--all", "--from", "replica", "--force-full"))
    after = clinic.warehouse(types), clinic.warehouse(rows)
    only(clinic.run())

    assert before[0] == [("bigint uuid inet inet",)]
    assert before[1] == [
        ("123e4567-e89b-12d3-a456-426655440000", "2001:db8::ff00:42:8329/128", "10.0.0.1/32"),
        (None, None, None),
    ]
    assert after == before
    assert moved(from_replica) == (0, 0, 0)
    assert (clinic.warehouse(types), clinic.warehouse(rows)) == before


def test_to_warehouse_needs_no_replica(patients: Clinic) -> None:
    """No replica is needed: a table is skipped or read in full, and deletes arrive; the replica follows later."""
    for name in [name for name in patients.environment if "REPLICATION" in name]:
        del patients.environment[name]
    first = patients.run("--all", "--to", "warehouse", "--force-full")["tables"][0]
    still = patients.run("--all", "--to", "warehouse")["tables"][0]
    patients.create("DELETE FROM patient WHERE PatNum = 3; UPDATE patient SET LName = 'Other' WHERE PatNum = 4")
    later = patients.run("--all", "--to", "warehouse")["tables"][0]

    assert (first["mode"], still["mode"], later["mode"]) == ("full", "skipped", "full")
    assert (first["rows_replica"], later["rows_replica"]) == (None, None)
    assert (later["rows_updated"], later["rows_deleted"]) == (1, 1)
    rows = patients.warehouse('SELECT count(*), max("LName") FROM raw.patient WHERE "PatNum" IN (3, 4)')
    assert rows == [(1, "Other")]

    patients.environment |= patients.sandbox.environment()
    both = patients.run()["tables"][0]
    assert both["rows_replica"] == later["rows_warehouse"]
    assert differences(patients.sandbox, "patient") == ([], {})


def test_a_first_run_to_the_replica_records_its_history(clinic: Clinic) -> None:
    """The warehouse has not even the namespace yet; it is where the run's history is."""
    clinic.create("CREATE TABLE t (Num int NOT NULL, PRIMARY KEY (Num)) ENGINE=MyISAM;\nINSERT INTO t VALUES (1), (2)")
    run = clinic.run("--all", "--to", "replica")

    assert (run["exit_code"], run["tables"][0]["rows_replica"], run["tables"][0]["rows_warehouse"]) == (0, 2, None)
    assert clinic.published() == {"replica": {"t"}, "warehouse": set()}


def test_to_replica_leaves_the_warehouse_for_the_next_run(patients: Clinic) -> None:
    """The warehouse stays as it is, and catches up in the next run to both."""
    patients.run()
    patients.create("DELETE FROM patient WHERE PatNum = 3")
    before = patients.warehouse("SELECT count(*) FROM raw.patient")
    alone = patients.run("--all", "--to", "replica")["tables"][0]

    assert (alone["rows_deleted"], alone["rows_warehouse"]) == (0, None)
    assert patients.warehouse("SELECT count(*) FROM raw.patient") == before
    patients.run()
    assert differences(patients.sandbox, "patient") == ([], {})


def test_a_failed_run_keeps_the_watermark(patients: Clinic) -> None:
    """The run after it goes on from where the last success was."""
    before = patients.warehouse("SELECT last_primary_value, version FROM raw.etl_load_status")
    patients.create("UPDATE patient SET LName = 'edited' WHERE PatNum = 5")
    reader = drivers.Postgres(patients.sandbox.warehouse)
    with reader.transaction():
        reader.execute("LOCK TABLE raw.patient IN SHARE MODE")
        failed = patients.run(ARROWETL_RETRIES="0")["tables"][0]
    reader.close()
    after = patients.warehouse("SELECT last_primary_value, version, load_status FROM raw.etl_load_status")
    table = only(patients.run())

    assert failed["status"] == "failed"
    assert (after[0][:2], after[0][2]) == (before[0], "failed")
    assert (table["mode"], moved(table)) == ("incremental", (0, 1, 0))
    assert differences(patients.sandbox, "patient") == ([], {})


def test_a_long_gap_causes_a_full_comparison(patients: Clinic) -> None:
    """A table that was last current too long ago is compared in full, and says so."""
    for table, server in (("etl_copy_status", "replica"),):
        patients.create(f"UPDATE {table} SET _checked_at = UTC_TIMESTAMP() - INTERVAL 40 DAY", server)
    table = only(patients.run())

    assert (table["mode"], moved(table)) == ("reconcile", (0, 0, 0))
    assert table["reason"].startswith("its last success is 40 days old, more than 30")
    assert only(patients.run())["mode"] == "skipped"


def test_a_success_in_the_future_is_not_trusted(patients: Clinic) -> None:
    """A success in the future proves nothing."""
    patients.create("UPDATE etl_copy_status SET _checked_at = UTC_TIMESTAMP() + INTERVAL 2 DAY", "replica")

    assert only(patients.run())["reason"].startswith("by the clock, its last success is yet to come")


def test_incremental_tables_are_compared_in_full_on_schedule(patients: Clinic) -> None:
    """Every so many days, as `settings` chooses."""
    configure(patients, {"reconcile_days": 0}, patient=INCREMENTAL)
    patients.create("UPDATE patient SET LName = 'edited' WHERE PatNum = 5")

    assert only(patients.run())["reason"].startswith("full comparison every 0 days")


# --- gentle to the source -----------------------------------------------------------------------


def test_a_second_run_names_the_lock_holder(patients: Clinic) -> None:
    """The second says who holds the lock, and exits."""
    ledger = Ledger(patients.sandbox.replica, patients.sandbox.warehouse)
    with ledger.locks.lock("20260102T030405-abcdef"):
        done = patients.arrowetl("run", "--all")
    ledger.close()

    assert done.returncode == 6
    assert "another run is at work there: arrowetl run 20260102T030405-abcdef on " in done.stderr
    assert "since 20" in done.stderr


@pytest.mark.parametrize(("most", "executor", "workers"), [(1, "thread", 8), (2, "thread", 8), (3, "process", 2)])
def test_source_connections_are_bounded(clinic: Clinic, most: int, executor: str, workers: int) -> None:
    """However many workers there are; and counted."""
    configure(clinic, patient={"overrides": {"batch_size": 500}})
    clinic.create(PATIENT + "".join(f";\nCREATE TABLE p{n} AS SELECT * FROM patient" for n in range(6)))
    bounds = ("--max-workers", str(workers), "--executor", executor, "--max-source-connections", str(most))
    run = clinic.run("--all", *bounds)

    assert run["exit_code"] == 0
    assert 1 <= run["connections"]["source"]["peak"] <= most


def test_too_few_connections_for_processes_are_refused(clinic: Clinic) -> None:
    """Each needs one: refused, with what would do."""
    clinic.create(PATIENT)
    done = clinic.arrowetl(
        "run", "--all", "--executor", "process", "--max-workers", "4", "--max-source-connections", "3"
    )

    assert done.returncode == 2
    assert "needs 5 connections to the source, 3 are allowed" in done.stderr


def test_statements_beyond_the_limit_are_ended(clinic: Clinic) -> None:
    """The server ends it."""
    configure(clinic, {"statement_seconds": 1}, patient=FULL)
    clinic.create(PATIENT)
    source = Source(clinic.sandbox.source, RunSettings(statement_seconds=1))
    try:
        with pytest.raises(DatabaseQueryError, match=r"\((1969|3024)\)"), source.pool.session() as session:
            session.rows("SELECT SUM(a.PatNum * b.PatNum * c.PatNum) FROM patient a, patient b, patient c")
    finally:
        source.close()
    assert clinic.run()["exit_code"] == 0


@pytest.fixture
def far(clinic: Clinic) -> Iterator[slow_link.Link]:
    """The source at the end of a link of 1 MB a second; a table of 8 MB, and the first run over."""
    configure(clinic, notes={"overrides": {"batch_size": 5000}})
    clinic.create(
        "CREATE TABLE notes (Num bigint NOT NULL, T varchar(500), PRIMARY KEY (Num)) ENGINE=MyISAM CHARSET=latin1;\n"
        "INSERT INTO notes SELECT seq, REPEAT(CHAR(65 + seq % 26), 400) FROM seq_1_to_20000"
    )
    source = clinic.sandbox.source
    with slow_link.link(source.host, source.port, 1_000_000, 0.005) as shaped:
        clinic.environment["TEST_OPENDENTAL_SOURCE_HOST"] = "127.0.0.1"
        assert clinic.run()["exit_code"] == 0
        clinic.environment["TEST_OPENDENTAL_SOURCE_PORT"] = str(shaped.port)
        yield shaped


def test_checksums_are_chosen_over_a_slow_link(clinic: Clinic, far: slow_link.Link) -> None:
    """What the way loads of a run, and how long that takes: a tenth of reading, at most."""
    loaded = {}
    for by in ("reading", "auto"):
        configure(clinic, {"reconcile_by": by}, notes={"overrides": {"batch_size": 5000}})
        # The way to the source has another name now, on which nothing is known; once that is reported, only of edits.
        clinic.create(
            f"UPDATE etl_copy_status SET as_of = REPLACE(as_of, ':{clinic.sandbox.source.port}/', ':{far.port}/')",
            "replica",
        )
        clinic.create(f"UPDATE notes SET T = '{by}' WHERE Num % 2000 = 0")
        before, clock = far.bytes, time.monotonic()
        table = only(clinic.run())
        loaded[by] = (far.bytes - before, time.monotonic() - clock)
        assert (table["mode"], moved(table)) == ("reconcile", (0, 10, 0))
    assert "compared by checksums" in table["reason"]
    assert loaded["auto"][0] < loaded["reading"][0] / 10
    assert loaded["auto"][1] < loaded["reading"][1] / 2
    assert differences(clinic.sandbox, "notes") == ([], {})


def test_an_interrupt_ends_running_reads(clinic: Clinic, far: slow_link.Link) -> None:
    """
    Within seconds, though the partition under way would take 40; nothing of it can be seen. What is on its way already,
    up to 4 MB of it in the server's own socket, still comes.
    """
    configure(clinic, notes={"overrides": {"partition_bytes": 100_000_000}})
    clinic.create("INSERT INTO notes SELECT seq, REPEAT('x', 400) FROM seq_20001_to_100000")
    process = clinic.start("run", "--all", "--force-full")
    before = far.bytes
    while far.bytes < before + 500_000:
        time.sleep(0.05)
    clock = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)

    assert process.returncode == 130
    assert time.monotonic() - clock < 12
    assert clinic.leftovers() == []


def test_no_table_is_begun_in_business_hours(clinic: Clinic) -> None:
    """No table of the source is begun in them; a run from the replica is."""
    configure(clinic, {"business_hours": "00:00-23:59:59.999999"}, patient=FULL)
    clinic.create(PATIENT)
    run = clinic.run()

    assert run["exit_code"] == 1
    assert "these being business hours" in run["tables"][0]["error"]["message"]
    assert clinic.published()["replica"] == set()


def test_a_dry_run_shows_mode_and_reason(patients: Clinic) -> None:
    """Rows and time expected, and touches nothing."""
    patients.create("UPDATE patient SET LName = 'edited' WHERE PatNum = 5")
    before = patients.warehouse("SELECT * FROM raw.etl_load_status")
    shown = patients.arrowetl("run", "--all", "--dry-run")

    assert shown.returncode == 0
    assert "incremental" in shown.stdout
    assert "DateTStamp from " in shown.stdout
    assert patients.warehouse("SELECT * FROM raw.etl_load_status") == before
    assert history(patients, "mode") == ["full"]


def test_a_dropped_unique_key_does_not_block_the_replica(clinic: Clinic) -> None:
    """The replica's table has it until it is next read in full; rows that swapped its values arrive all the same."""
    clinic.create(
        "CREATE TABLE seat (Num bigint NOT NULL, Chair varchar(9), PRIMARY KEY (Num), UNIQUE KEY (Chair)) "
        "ENGINE=MyISAM;\nINSERT INTO seat VALUES (1, 'a'), (2, 'b'), (3, 'c')"
    )
    clinic.run()
    clinic.create(
        "ALTER TABLE seat DROP INDEX Chair;\n"
        "UPDATE seat SET Chair = CASE Num WHEN 1 THEN 'b' WHEN 2 THEN 'a' ELSE 'd' END"
    )

    (table,) = clinic.run()["tables"]

    assert (table["error"], table["rows_updated"]) == (None, 3)
    assert differences(clinic.sandbox, "seat") == ([], {})


def test_a_key_loaded_as_text_is_found_again(clinic: Clinic) -> None:
    """Rows that are named by their numbers come with texts for keys."""
    clinic.create(
        "CREATE TABLE seat (Num tinyint NOT NULL, Chair varchar(9), PRIMARY KEY (Num)) ENGINE=MyISAM;\n"
        "INSERT INTO seat VALUES (-128, 'a'), (7, 'b')"
    )
    clinic.tables_file.write_text(
        "settings: {reconcile_by: checksum}\ntables: {seat: {overrides: {columns: {Num: {type: text}}}}}\n"
    )
    clinic.run()
    clinic.create("UPDATE seat SET Chair = 'c' WHERE Num = -128;\nINSERT INTO seat VALUES (8, 'd')")

    (table,) = clinic.run()["tables"]

    assert (table["error"], table["rows_inserted"], table["rows_updated"]) == (None, 1, 1)
    assert differences(clinic.sandbox, "seat", asked={"Num": "text"}) == ([], {})


def test_a_doubt_mark_is_added_once(patients: Clinic) -> None:
    """However often a target is in doubt: the column has a target. When it is none, the version is the one it was."""
    patients.run()
    session = drivers.MySQL(patients.sandbox.replica)
    asked = "SELECT version FROM etl_copy_status WHERE table_name = 'patient'"
    before = session.rows(asked)
    for _ in range(8):
        session.execute(state_sql.in_doubt("patient"))
    doubted = session.rows(asked)
    session.execute(state_sql.no_doubt("patient"))
    after = session.rows(asked)
    session.close()

    assert doubted == [(f"in doubt: {before[0][0]}",)]
    assert after == before


def test_a_load_from_the_replica_is_as_old_as_the_replica(clinic: Clinic) -> None:
    """The source was not asked: as of when the rows are its own, nobody knows better than before."""
    clinic.create(
        "CREATE TABLE desk (Num int PRIMARY KEY, V varchar(9)) ENGINE=InnoDB;\nINSERT INTO desk VALUES (1, 'a')"
    )
    assert clinic.run()["exit_code"] == 0
    checked = "SELECT _checked_at FROM raw.etl_load_status WHERE table_name = 'desk'"
    replica = drivers.MySQL(clinic.sandbox.replica)
    # The replica was switched after the warehouse.
    before = replica.rows("SELECT _checked_at FROM etl_copy_status WHERE table_name = 'desk'")
    replica.close()
    settle()
    clinic.create("UPDATE desk SET V = 'b'")
    clinic.warehouse_execute("DELETE FROM raw.desk")
    for options in (("--from", "replica"), ("--from", "replica", "--force-full")):
        assert clinic.run("--all", *options, TEST_OPENDENTAL_SOURCE_PORT="1")["exit_code"] == 0

    assert clinic.warehouse(checked) == before
    assert clinic.warehouse('SELECT "V" FROM raw.desk') == [("a",)]


def test_a_locked_table_fails_alone(clinic: Clinic) -> None:
    """It fails alone, and the others are loaded."""
    names = {"a_one": "InnoDB", "b_two": "InnoDB", "c_three": "MyISAM"}
    clinic.tables_file.write_text("settings: {statement_seconds: 4}\ntables: {}\n")
    for name, engine in names.items():
        clinic.create(
            f"CREATE TABLE {name} (Num int PRIMARY KEY, V int) ENGINE={engine};\nINSERT INTO {name} VALUES (1, 1)"
        )
    assert clinic.run()["exit_code"] == 0
    for name in names:
        clinic.create(f"UPDATE {name} SET V = 2")
    settle()
    holder = drivers.MySQL(clinic.sandbox.admin("source"))
    holder.execute("LOCK TABLES a_one WRITE")
    try:
        run = clinic.run("--all", ARROWETL_RETRIES="0")
    finally:
        holder.execute("UNLOCK TABLES")
        holder.close()
    found = {table["table"]: table for table in run["tables"]}

    assert {name: table["status"] for name, table in found.items()} == {
        "a_one": "failed",
        "b_two": "succeeded",
        "c_three": "succeeded",
    }
    assert found["a_one"]["error"]["remedy"]
    assert clinic.run()["exit_code"] == 0
    assert [differences(clinic.sandbox, name)[0] for name in names] == [[], [], []]
