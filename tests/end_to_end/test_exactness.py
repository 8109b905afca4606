"""
What no scenario can say alone: what is learned, reported, refused and kept from leaking, with real servers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from support.catalog_values import PATIENT, planned
from support.clinic import Clinic
from support.independent import differences

from arrowetl import drivers
from arrowetl.errors import DatabaseQueryError, DataLoadingError
from arrowetl.model.plan import Partition
from arrowetl.replica.loader import Replica
from arrowetl.replica.spill import spilled
from arrowetl.sql import mysql_name

ODD = """
CREATE TABLE odd (Num int NOT NULL, u varchar(20), v varchar(20), PRIMARY KEY (Num)) ENGINE=MyISAM DEFAULT CHARSET=utf8;
INSERT INTO odd VALUES (1, 'Krankheit', 'plain'), (2, UNHEX('47656865696DEDA080'), 'plain');
"""
SECRET = "Geheim"


def statements(clinic: Clinic) -> list[str]:
    """What the source was asked for of a table's rows, since its log was emptied; the log is emptied."""
    session = drivers.MySQL(clinic.sandbox.admin("source"))
    try:
        rows = session.rows("SELECT argument FROM mysql.general_log WHERE argument LIKE '%AS `u`%' ORDER BY event_time")
        session.execute("TRUNCATE mysql.general_log")
        prepared = [str(argument) for (argument,) in rows if not str(argument).startswith(("SELECT argument",))]
        return list(dict.fromkeys(prepared))
    finally:
        session.close()


@pytest.fixture
def logged(clinic: Clinic) -> Clinic:
    """The clinic with its source's general log in a table."""
    session = drivers.MySQL(clinic.sandbox.admin("source"))
    session.execute("SET GLOBAL log_output = 'TABLE'")
    session.execute("TRUNCATE mysql.general_log")
    session.execute("SET GLOBAL general_log = 1")
    clinic.undo.append(lambda: clinic.create("SET GLOBAL general_log = 0;\nSET GLOBAL log_output = 'FILE'"))
    session.close()
    return clinic


def test_columns_that_need_hex_are_remembered(logged: Clinic) -> None:
    """The first run reads twice, by bytes the column that needs it; the next one knows, and asks once, and only so."""
    logged.create(ODD)
    statements(logged)

    assert logged.run()["tables"][0]["coerced"] == {"u": 1}
    first = statements(logged)
    assert logged.run("--all", "--force-full")["tables"][0]["coerced"] == {"u": 1}
    second = statements(logged)

    assert [("HEX" in said.partition(" AS `u`")[0], "HEX" in said.partition(" AS `u`")[2]) for said in first] == [
        (False, False),
        (True, False),
    ]
    assert [("HEX" in said.partition(" AS `u`")[0], "HEX" in said.partition(" AS `u`")[2]) for said in second] == [
        (True, False)
    ]


def test_ordinary_tables_are_read_once(logged: Clinic) -> None:
    """Natively, zero dates and all."""
    logged.create(
        "CREATE TABLE fine (Num int NOT NULL, u varchar(20), d date, PRIMARY KEY (Num)) ENGINE=MyISAM;\n"
        "INSERT INTO fine VALUES (1, 'a', '0000-00-00'), (2, 'b', '2024-00-15')"
    )
    statements(logged)
    logged.run()

    assert len(statements(logged)) == 1


def test_new_coercions_are_reported_once(clinic: Clinic) -> None:
    """In the JSON, in the summary and in the record; once."""
    clinic.create(
        "CREATE TABLE visit (Num int NOT NULL, d date, t text, PRIMARY KEY (Num)) ENGINE=MyISAM;\n"
        "INSERT INTO visit VALUES (1, '0000-00-00', 'a')"
    )
    clinic.run()
    clinic.create("INSERT INTO visit VALUES (2, '0000-00-00', UNHEX('6100'))")
    shown = clinic.arrowetl("run", "--all").stdout
    recorded = clinic.warehouse("SELECT coerced::text FROM raw.etl_table_history ORDER BY started_at DESC LIMIT 1")
    again = clinic.run("--all", "--force-full")

    assert [line.split()[-1] for line in shown.splitlines() if line.startswith("visit.")] == ["new", "2"]
    assert {c["column"]: c["is_new"] for c in json.loads(recorded[0][0])} == {"d": False, "t": True}
    assert {c["column"]: (c["count"], c["example_keys"], c["is_new"]) for c in again["tables"][0]["coercions"]} == {
        "d": (2, [1, 2], False),
        "t": (1, [2], False),
    }


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_driver_panic_prints_no_value(clinic: Clinic, executor: str) -> None:
    """Neither the program nor its worker processes let the driver print the cell it stumbled over."""
    clinic.create(ODD)
    clinic.tables_file.write_text("tables: {odd: {overrides: {batch_size: 1}}}")
    done = clinic.arrowetl("-v", "run", "--all", "--executor", executor)

    assert done.returncode == 0
    for leak in (SECRET, "panicked", "Couldn't convert", "Traceback"):
        assert leak not in done.stdout + done.stderr


def test_a_driver_panic_is_prevented_in_foreign_processes(clinic: Clinic) -> None:
    """In somebody else's process stderr is not ours to close: there is no panic."""
    clinic.create(ODD)
    program = "import arrowetl\nwith arrowetl.open() as etl: print(etl.run(all=True).exit_code)"
    outside = {n: v for n, v in os.environ.items() if not n.startswith(("TEST_", "ETL_"))}
    (clinic.directory / "conf").mkdir()
    (clinic.directory / "conf/tables.yml").write_text("tables: {}")
    done = subprocess.run(
        [sys.executable, "-c", program], env={**outside, **clinic.environment}, cwd=clinic.directory,
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.stdout, done.stderr) == ("0\n", "")
    assert differences(clinic.sandbox, "odd") == ([], {"u": 1})


REFUSED = """
CREATE TABLE wrong (Num int NOT NULL, c {type}, PRIMARY KEY (Num)) ENGINE=MyISAM DEFAULT CHARSET=utf8;
INSERT INTO wrong VALUES (1, {good}), (7, {bad});
CREATE TABLE right_ (Num int NOT NULL, PRIMARY KEY (Num)) ENGINE=MyISAM;
"""


@pytest.mark.parametrize(
    ("type_", "asked", "good", "bad", "reported", "remedy"),
    [
        ("tinyint(1)", "boolean", "1", "5", "1 value other than 0 and 1, which boolean cannot hold (for example at Num",
         "let it be smallint"),
        ("int(11)", "smallint", "1", "40000", "1 value outside of 16 bits, which smallint cannot", "let it be integer"),
        ("varchar(50)", "varchar(3)", "'abc'", "'Geheim'", "1 value longer than 3 characters", "let it be text"),
        ("time", "time", "'01:00:00'", "'-01:00:00'", "1 value of another day, which time", "let it be interval"),
        ("text", "jsonb", "'{}'", "'Geheim'", "a value was refused as jsonb (at Num 7): invalid input syntax for type",
         "let it be text"),
        ("text", "jsonb", "'{}'", "UNHEX('47656865696DEDA080')",
         "holds bytes that are no character, which jsonb cannot", "let it be text"),
        ("text", "jsonb", "'{}'", "'{\"a\": 1, \"a\\\\u0000\": 2}'", "1 value with equal keys but for",
         "let it be text"),
        ("varchar(50)", "boolean", "'a'", "'b'", "cannot be loaded as boolean", "can be: text, varchar, bytea"),
    ],
)  # fmt: skip
def test_an_override_that_cannot_hold_the_data_names_the_remedy(
    clinic: Clinic, type_: str, asked: str, good: str, bad: str, reported: str, remedy: str
) -> None:
    """The error names table, column, what was found and what would load it, and no value; the other table goes on."""
    clinic.create(REFUSED.format(type=type_, good=good, bad=bad))
    clinic.tables_file.write_text(f"tables: {{wrong: {{overrides: {{columns: {{c: {{type: {asked}}}}}}}}}}}")
    run = clinic.run()
    failed, right = sorted(run["tables"], key=lambda table: table["status"])

    assert (run["exit_code"], right["table"], right["status"]) == (1, "right_", "succeeded")
    assert failed["error"]["message"].startswith("wrong.c")
    assert reported in failed["error"]["message"]
    assert remedy in failed["error"]["remedy"]
    assert "tables.wrong.columns.c" in failed["error"]["remedy"]
    assert SECRET not in json.dumps(run)
    assert clinic.leftovers() == []


def test_a_value_beyond_max_allowed_packet_fails_the_table(clinic: Clinic) -> None:
    """A server makes NULL of what grows past its max_allowed_packet, and whispers a warning: not past us."""
    clinic.create(
        "CREATE TABLE big (Num int NOT NULL, c mediumtext CHARACTER SET cp1251, PRIMARY KEY (Num)) ENGINE=MyISAM;\n"
        "INSERT INTO big VALUES (1, 'small'), (7, REPEAT('x', 700000))"
    )
    clinic.create("SET GLOBAL max_allowed_packet = 1048576")
    clinic.undo.append(lambda: clinic.create("SET GLOBAL max_allowed_packet = 67108864"))
    (failed,) = clinic.run()["tables"]

    assert failed["error"]["message"] == (
        "big.c (mediumtext): 1 value too large for the source to say (for example at Num 7)"
    )
    assert failed["error"]["remedy"] == "raise max_allowed_packet at the source"


def test_a_latin1_replica_database_gets_utf8_values(clinic: Clinic) -> None:
    """LOAD DATA would take the database's character set for the file's, were it not reported."""
    replica = mysql_name(clinic.sandbox.replica.database)
    clinic.create(f"ALTER DATABASE {replica} CHARACTER SET latin1", "replica")
    clinic.undo.append(lambda: clinic.create(f"ALTER DATABASE {replica} CHARACTER SET utf8mb4", "replica"))
    clinic.create(
        "CREATE TABLE sms (Num int NOT NULL, t text CHARACTER SET utf8mb4, PRIMARY KEY (Num)) ENGINE=MyISAM;\n"
        "INSERT INTO sms VALUES (1, '😀 Zähne ☺')"
    )
    assert clinic.run()["exit_code"] == 0
    assert differences(clinic.sandbox, "sms") == ([], {})


def test_a_partition_loaded_twice_is_refused(clinic: Clinic) -> None:
    """A row whose key is there already is reported, without the key; the first load is."""
    spills = clinic.directory / "spills"
    # There is nothing to load, which is reported; the records are made.
    assert clinic.run()["exit_code"] == 1
    replica = Replica(clinic.sandbox.replica, spills, partial(spilled, spills))
    replica.open()
    plan, part = planned(PATIENT), Partition(0, None, None)
    rows = pa.table({"PatNum": [1, 2], "LName": ["a", "b"]})
    replica.prepare(plan)
    replica.load(plan, part, [(plan, rows)])
    reported = r"3 rows were sent to the replica, it counts 1 and warns: Duplicate entry '…' for key 'PRIMARY' \(1062\)"
    with pytest.raises(DataLoadingError, match=reported):
        replica.load(plan, part, [(plan, pa.table({"PatNum": [1, 2, 3], "LName": ["a", "changed", "c"]}))])

    assert replica.count(plan) == 2
    replica.discard(plan)
    replica.close()


def test_trigger_messages_are_not_repeated(clinic: Clinic) -> None:
    """A value may be among them."""
    clinic.create(
        "CREATE TABLE seen (Num int NOT NULL, t text, PRIMARY KEY (Num)) ENGINE=MyISAM;\n"
        "INSERT INTO seen VALUES (1, 'Geheim')"
    )
    clinic.run()
    clinic.warehouse_execute(
        "CREATE FUNCTION raw.refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'not %', NEW.t; END $$"
    )
    clinic.warehouse_execute("CREATE TRIGGER no BEFORE UPDATE ON raw.seen FOR EACH ROW EXECUTE FUNCTION raw.refuse()")
    clinic.create("UPDATE seen SET t = 'Geheimnis'")
    (failed,) = clinic.run()["tables"]

    assert "refused: by a trigger or a rule (P0001)" in failed["error"]["message"]
    assert SECRET not in json.dumps(failed) + clinic.arrowetl("status").stdout


def test_nul_in_json_is_removed_and_counted(clinic: Clinic) -> None:
    """Removed and counted, as from any text."""
    clinic.create(
        "CREATE TABLE doc (Num int NOT NULL, j longtext, PRIMARY KEY (Num)) ENGINE=MyISAM CHARSET=utf8;\n"
        "INSERT INTO doc VALUES (1, CONCAT('{\"a\": \"x', CHAR(0), '\"}'))"
    )
    clinic.tables_file.write_text("tables: {doc: {overrides: {columns: {j: {type: jsonb}}}}}")

    assert clinic.run()["tables"][0]["coerced"] == {"j": 1}
    assert clinic.warehouse("SELECT j->>'a' FROM raw.doc") == [("x",)]


def test_overrides_of_a_missing_table_are_kept(clinic: Clinic) -> None:
    """A column that was to stay at home stays there when the table comes back."""
    create = "CREATE TABLE visitor (Num int NOT NULL, SSN text, PRIMARY KEY (Num)) ENGINE=MyISAM"
    clinic.create(create)
    clinic.tables_file.write_text("tables: {visitor: {overrides: {columns: {SSN: {exclude: true}}}}}")
    clinic.create("DROP TABLE visitor")
    assert clinic.arrowetl("analyze").returncode == 0
    clinic.create(create)
    assert clinic.arrowetl("analyze").returncode == 0
    clinic.run()

    columns = "SELECT attname::text FROM pg_attribute WHERE attrelid = 'raw.visitor'::regclass AND attnum > 0"
    assert clinic.warehouse(columns) == [("Num",)]


def test_enum_labels_that_are_no_text_fail_their_table_alone(clinic: Clinic) -> None:
    """Their table is refused, by name and alone; the catalog of all the others is read."""
    label = "SET NAMES binary;\nCREATE TABLE {} (Num int NOT NULL, e enum(X'{}','b') CHARACTER SET {}) ENGINE=MyISAM"
    session = drivers.MySQL(clinic.sandbox.admin("source"))
    for name, bytes_, charset in (("torn", "EDA080", "utf8"), ("gap", "98", "cp1251")):
        for statement in label.format(name, bytes_, charset).split(";\n"):
            session.execute(statement)
        session.execute(f"INSERT INTO {name} SELECT 1, 1")
    session.execute("CREATE TABLE fine (Num int NOT NULL) ENGINE=MyISAM")
    session.close()
    run = {table["table"]: table for table in clinic.run()["tables"]}

    assert run["fine"]["status"] == "succeeded"
    assert run["torn"]["error"]["message"] == "torn.e: a label of it is no text"
    assert "1 value whose label is no text in cp1251" in run["gap"]["error"]["message"]
    assert all("exclude: true" in run[name]["error"]["remedy"] for name in ("torn", "gap"))


def test_a_short_text_beyond_the_packet_limit_fails_the_table(clinic: Clinic) -> None:
    """Nor past us where the limit is a strange one."""
    clinic.create(
        "CREATE TABLE wide (Num int NOT NULL, t text, PRIMARY KEY (Num)) ENGINE=MyISAM CHARSET=utf8mb4;\n"
        "INSERT INTO wide VALUES (7, REPEAT('é', 12000))"
    )
    clinic.create("SET GLOBAL max_allowed_packet = 16384")
    clinic.undo.append(lambda: clinic.create("SET GLOBAL max_allowed_packet = 67108864"))
    (failed,) = clinic.run()["tables"]

    assert "max_allowed_packet" in failed["error"]["message"] + failed["error"]["remedy"]


def test_foreign_not_null_gives_way_and_unique_refuses(clinic: Clinic) -> None:
    """NOT NULL gives way; a UNIQUE of somebody's own refuses, and the other target gets the table."""
    clinic.create(
        "CREATE TABLE theirs (Num int NOT NULL, d date, t text, PRIMARY KEY (Num)) ENGINE=MyISAM;\n"
        "INSERT INTO theirs VALUES (1, '0000-00-00', 'a'), (2, NULL, 'a')"
    )
    clinic.warehouse_execute("CREATE SCHEMA raw")
    clinic.warehouse_execute('CREATE TABLE raw.theirs ("Num" integer PRIMARY KEY, d date NOT NULL, t text UNIQUE)')
    (failed,) = clinic.run()["tables"]
    assert "a constraint at the warehouse forbids" in failed["error"]["remedy"]
    assert clinic.published()["replica"] == {"theirs"}
    assert clinic.warehouse("SELECT count(*) FROM raw.theirs") == [(0,)]

    clinic.warehouse_execute("ALTER TABLE raw.theirs DROP CONSTRAINT theirs_t_key")
    assert clinic.run()["exit_code"] == 0
    assert differences(clinic.sandbox, "theirs") == ([], {"d": 1})


def test_a_key_with_zero_dates_is_dropped_and_views_stay(clinic: Clinic) -> None:
    """A zero date in it: the table goes on without, and the view on it, and its comment, stay."""
    clinic.create(
        "CREATE TABLE plan_ (d date NOT NULL, n int NOT NULL, PRIMARY KEY (d, n)) ENGINE=MyISAM;\n"
        "INSERT INTO plan_ VALUES ('2024-01-01', 1)"
    )
    clinic.run()
    clinic.warehouse_execute("CREATE SCHEMA IF NOT EXISTS dbt")
    clinic.undo.append(lambda: clinic.warehouse_execute("DROP SCHEMA dbt CASCADE"))
    clinic.warehouse_execute("CREATE VIEW dbt.v AS SELECT n FROM raw.plan_")
    clinic.warehouse_execute("COMMENT ON TABLE raw.plan_ IS 'kept'")
    clinic.create("INSERT INTO plan_ VALUES ('0000-00-00', 2)")
    for asked in ((), ("--all", "--force-full")):
        (table,) = clinic.run(*asked)["tables"]
        assert (table["status"], table["coerced"]) == ("succeeded", {"d": 1}), table["error"]
        assert any("without its primary key" in note for note in table["notes"])

    assert clinic.warehouse("SELECT n FROM dbt.v ORDER BY n") == [(1,), (2,)]
    assert clinic.warehouse("SELECT obj_description('raw.plan_'::regclass)") == [("kept",)]
    assert differences(clinic.sandbox, "plan_") == ([], {"d": 1})


def test_the_srid_is_recorded_in_the_column_comment(clinic: Clinic) -> None:
    """Where all values have the same one, and for as long; what somebody else says of the column stays."""
    clinic.create(
        "CREATE TABLE site (Num int NOT NULL, p point, PRIMARY KEY (Num)) ENGINE=MyISAM;\n"
        "INSERT INTO site VALUES (1, ST_GeomFromText('POINT(1 2)', 4326)), (2, NULL)"
    )
    question = "SELECT col_description('raw.site'::regclass, 2)"
    said = []
    for change, statement in [
        ("", ""),
        ("COMMENT ON COLUMN raw.site.p IS 'SRID of the old map'", ""),
        ("", "UPDATE site SET p = ST_GeomFromText('POINT(1 2)', 25832) WHERE Num = 1"),
        ("", "UPDATE site SET p = ST_GeomFromText('POINT(1 2)', 4326) WHERE Num = 2"),
        ("", "UPDATE site SET p = ST_GeomFromText('POINT(1 2)')"),
        ("COMMENT ON COLUMN raw.site.p IS NULL", ""),
    ]:
        if change:
            clinic.warehouse_execute(change)
        if statement:
            clinic.create(statement)
        clinic.run("--all", "--force-full")  # nothing is skipped, however slow the machine
        said += [text for (text,) in clinic.warehouse(question)]

    alone = "SRID of the old map"
    assert said == ["SRID 4326", f"{alone} (SRID 4326)", f"{alone} (SRID 25832)", alone, alone, None]


def test_a_bad_row_fails_the_load_and_leaves_nothing(clinic: Clinic, tmp_path: Path) -> None:
    """With REPLACE by the server itself; without it, the warning is noticed, counted and reported."""
    session = drivers.MySQL(clinic.sandbox.replica, infile_directory=tmp_path)
    path = tmp_path / "rows"
    path.write_text("1\n300\n")
    session.execute("CREATE TABLE strict (t tinyint) ENGINE=InnoDB")
    load = f"LOAD DATA LOCAL INFILE '{path}' {{}}INTO TABLE strict"
    with pytest.raises(DatabaseQueryError, match="Out of range value for column"):
        session.load(load.format("REPLACE "))
    assert session.rows("SELECT COUNT(*) FROM strict") == [(0,)]

    said = ["Out of range value for column 't' at row 2 (1264)"]
    assert session.load(load.format("IGNORE ")) == (2, 1, said)
    session.close()


def test_a_key_conflict_found_at_the_end_reloads_without_the_key(clinic: Clinic) -> None:
    """Of a table in several partitions, which gets its key last: it is loaded once more, and published without."""
    clinic.create(
        "CREATE TABLE visit (Num int NOT NULL, Code varchar(9) NOT NULL, PRIMARY KEY (Num, Code)) "
        "ENGINE=MyISAM CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;\n"
        "INSERT INTO visit VALUES (1, 'a'), (2, 'a'), (2, CONCAT('a', CHAR(0))), (3, 'a')"
    )
    clinic.tables_file.write_text("tables: {visit: {batch_size: 1}}\n")

    run = clinic.run()

    assert run["exit_code"] == 0
    assert any("without its primary key" in note for note in run["tables"][0]["notes"])
    assert clinic.warehouse("SELECT * FROM raw.visit ORDER BY 1") == [(1, "a"), (2, "a"), (2, "a"), (3, "a")]
    assert clinic.leftovers() == []
