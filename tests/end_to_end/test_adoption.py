"""
A warehouse and a replica that another pipeline filled: taken over as they are, views and all, or refused by name.
"""

from __future__ import annotations

import pytest
import yaml
from support.clinic import Clinic
from support.independent import differences

from arrowetl import drivers

SOURCE = """
CREATE TABLE visit (VisitNum bigint NOT NULL AUTO_INCREMENT, IsHidden tinyint NOT NULL, Status tinyint NOT NULL, Op smallint, Age tinyint unsigned, Units int unsigned, Note varchar(255) NOT NULL, Code char(5) NOT NULL, Fee double NOT NULL, Price decimal(10,2), VisitDate date NOT NULL, At datetime NOT NULL, Start time NOT NULL, Took time NOT NULL, Born year, SecDateTEdit timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, Kind enum('a','b') NOT NULL, Scan mediumblob, Body mediumtext, PRIMARY KEY (VisitNum)) ENGINE=MyISAM DEFAULT CHARSET=utf8;
INSERT INTO visit VALUES (1, 1, 2, 7, 200, 4000000000, 'first', 'D0120', 0.1, 99.50, '2024-02-29', '2024-02-29 08:30:00', '08:30:00', '00:45:00', 2024, '2024-10-27 00:30:00', 'a', 'x', 'body');
INSERT INTO visit VALUES (2, 0, 0, NULL, 0, 0, '', '', 0, NULL, '0001-01-01', '0001-01-01 00:00:00', '00:00:00', '23:59:59', NULL, '2024-01-01 00:00:00', 'b', NULL, NULL);
CREATE TABLE pair (a bigint NOT NULL, b bigint NOT NULL, v tinyint NOT NULL, PRIMARY KEY (a, b)) ENGINE=MyISAM;
INSERT INTO pair VALUES (1, 1, 1), (1, 2, 0);
"""  # noqa: E501

PREDECESSOR = """
CREATE SCHEMA raw;
CREATE TABLE raw.visit ("VisitNum" bigint PRIMARY KEY, "IsHidden" boolean, "Status" smallint, "Op" smallint, "Age" smallint, "Units" bigint, "Note" character varying(255), "Code" character(5), "Fee" double precision, "Price" numeric(10,2), "VisitDate" date, "At" timestamp, "Start" time, "Took" time, "Born" integer, "SecDateTEdit" timestamp, "Kind" text, "Scan" bytea, "Body" text);
INSERT INTO raw.visit ("VisitNum", "IsHidden", "Note") VALUES (1, true, 'edited since'), (99, false, 'deleted since');
CREATE TABLE raw.pair (a bigint, b bigint, v boolean);
INSERT INTO raw.pair VALUES (1, 1, true), (8, 8, true);
CREATE TABLE raw.etl_load_status (id serial PRIMARY KEY, table_name varchar(255) NOT NULL UNIQUE, last_primary_value varchar(255), primary_column_name varchar(255), rows_loaded integer DEFAULT 0, load_status varchar(50) DEFAULT 'pending', _loaded_at timestamp, last_loaded timestamp NOT NULL DEFAULT '1970-01-01 00:00:01');
INSERT INTO raw.etl_load_status (table_name, last_primary_value, primary_column_name, rows_loaded, load_status) VALUES ('visit', '2024-01-01T00:00:00+00:00|17', 'hybrid', 17, 'success');
CREATE TABLE raw.etl_transform_status (id serial PRIMARY KEY, table_name varchar(255) NOT NULL UNIQUE, last_transformed timestamp NOT NULL DEFAULT '1970-01-01 00:00:01', last_primary_value varchar(255), primary_column_name varchar(255), rows_transformed integer DEFAULT 0, transform_status varchar(50) DEFAULT 'pending', _transformed_at timestamp);
INSERT INTO raw.etl_transform_status (table_name, rows_transformed) VALUES ('stg_visit', 5);
CREATE SCHEMA IF NOT EXISTS dbt;
CREATE OR REPLACE VIEW dbt.stg_visit AS SELECT "VisitNum", "IsHidden", "Note", "At", "Start" FROM raw.visit;
CREATE OR REPLACE VIEW dbt.stg_pair AS SELECT a, b, v FROM raw.pair;
COMMENT ON COLUMN raw.visit."Note" IS 'said by the patient'
"""  # noqa: E501

REPLICA = """
CREATE TABLE etl_copy_status (id INT AUTO_INCREMENT PRIMARY KEY, table_name VARCHAR(255) NOT NULL UNIQUE, last_copied TIMESTAMP NOT NULL DEFAULT '1970-01-01 00:00:01', last_primary_value VARCHAR(255) NULL, primary_column_name VARCHAR(255) NULL, rows_copied INT DEFAULT 0, copy_status VARCHAR(50) DEFAULT 'pending', _created_at TIMESTAMP NULL DEFAULT NULL, _updated_at TIMESTAMP NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP, INDEX idx_table_name (table_name)) ENGINE=InnoDB DEFAULT CHARSET=latin1;
INSERT INTO etl_copy_status (table_name, last_primary_value, primary_column_name, rows_copied, copy_status) VALUES ('visit', '17', 'VisitNum', 17, 'success');
CREATE TABLE visit (VisitNum bigint NOT NULL AUTO_INCREMENT, Note text, PRIMARY KEY (VisitNum)) ENGINE=InnoDB
"""  # noqa: E501

ASKED = {"IsHidden": "boolean", "Note": "varchar(255)", "Code": "char(5)", "Start": "time", "Took": "time",
         "Born": "integer", "SecDateTEdit": "timestamp"}  # fmt: skip
TYPES = """
SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = 'raw.visit'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
TABLES = """\
# the clinic's own notes
tables:
  visit:  # the one that matters
    overrides:
      processing_priority: high
"""


@pytest.fixture
def taken_over(clinic: Clinic) -> Clinic:
    """Both targets as a previous pipeline left them, and a tables.yml with a person's comments."""
    clinic.create(SOURCE)
    clinic.create(REPLICA, "replica")
    session = drivers.Postgres(clinic.sandbox.warehouse)
    for statement in PREDECESSOR.split(";\n"):
        session.execute(statement)
    clinic.undo.append(lambda: clinic.warehouse_execute("DROP SCHEMA dbt CASCADE"))
    session.close()
    clinic.tables_file.write_text(TABLES)
    return clinic


def test_validate_lists_what_adoption_keeps(taken_over: Clinic) -> None:
    """`validate` lists what would be kept, and writes nothing."""
    done = taken_over.arrowetl("validate")

    kept = ", ".join(f"{name} as {type_}" for name, type_ in ASKED.items())
    assert done.returncode == 0, done.stdout
    assert f"note: visit: kept as they are at the warehouse: {kept}" in done.stdout.splitlines()
    assert "note: pair: kept as they are at the warehouse: v as boolean" in done.stdout.splitlines()
    assert taken_over.tables_file.read_text() == TABLES


def test_adoption_keeps_types_views_and_comments(taken_over: Clinic) -> None:
    """Types, views and comments stay; rows are the source's; what was kept is recorded; so again the next run."""
    before = taken_over.warehouse(TYPES)
    for _ in range(2):
        run = taken_over.run()
        assert run["exit_code"] == 0, run
        assert taken_over.warehouse(TYPES) == before
        assert differences(taken_over.sandbox, "visit", asked=ASKED) == ([], {})
        assert differences(taken_over.sandbox, "pair", asked={"v": "boolean"}) == ([], {})
    assert taken_over.arrowetl("verify", "--all").returncode == 0

    assert taken_over.warehouse('SELECT "VisitNum", "Note" FROM dbt.stg_visit ORDER BY 1') == [(1, "first"), (2, "")]
    assert taken_over.warehouse("SELECT count(*) FROM dbt.stg_pair") == [(2,)]
    assert taken_over.warehouse("SELECT col_description('raw.visit'::regclass, 7)") == [("said by the patient",)]
    keys = "SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'p' AND conrelid::regclass::text IN "
    assert sorted(taken_over.warehouse(keys + "('raw.visit', 'raw.pair')")) == [("raw.pair",), ("raw.visit",)]
    assert yaml.safe_load(taken_over.tables_file.with_name("arrowetl.yml").read_text())["tables"] == {
        "visit": {"columns": {name: {"type": type_} for name, type_ in ASKED.items()}},
        "pair": {"columns": {"v": {"type": "boolean"}}},
    }
    assert taken_over.tables_file.read_text() == TABLES


def test_adoption_upgrades_tracking_tables(taken_over: Clinic) -> None:
    """Its tracking tables get what they lack, keep their rows, and are written on; dbt's own is left alone."""
    taken_over.run()
    loaded = "SELECT load_status::text, rows_total, last_primary_value::text FROM raw.etl_load_status "
    replica = drivers.MySQL(taken_over.sandbox.replica)
    copied = replica.rows("SELECT copy_status, rows_total FROM etl_copy_status WHERE table_name = 'visit'")
    replica.close()

    assert taken_over.warehouse(loaded + "WHERE table_name = 'visit'") == [
        ("success", 2, "2024-01-01T00:00:00+00:00|17")
    ]
    assert copied == [("success", 2)]
    assert taken_over.warehouse("SELECT table_name::text, rows_transformed FROM raw.etl_transform_status") == [
        ("stg_visit", 5)
    ]


def test_adoption_leaves_keys_and_dbts_table_as_they_are(taken_over: Clinic) -> None:
    """Tracking tables that have another key keep it; dbt's lacks what it lacked, and belongs to whoever made it."""
    taken_over.warehouse_execute("ALTER TABLE raw.etl_load_status DROP COLUMN id, ADD PRIMARY KEY (table_name)")
    taken_over.warehouse_execute("ALTER TABLE raw.etl_transform_status DROP COLUMN _transformed_at")
    replica = drivers.MySQL(taken_over.sandbox.replica)
    replica.execute("ALTER TABLE etl_copy_status DROP COLUMN id, ADD PRIMARY KEY (table_name)")
    replica.close()

    assert taken_over.run()["exit_code"] == 0
    assert [table["rows_inserted"] for table in taken_over.run()["tables"]] == [0, 0]
    columns = (
        "SELECT attname::text FROM pg_attribute WHERE attrelid = 'raw.{}'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    assert ("_transformed_at",) not in taken_over.warehouse(columns.format("etl_transform_status"))
    assert ("id",) not in taken_over.warehouse(columns.format("etl_load_status"))
    assert taken_over.arrowetl("report", "--output", "-").returncode == 0


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        ("UPDATE visit SET IsHidden = 2", "IsHidden becomes smallint instead of boolean, which cannot hold 2 values"),
        (
            "UPDATE visit SET Start = '24:00:00' WHERE VisitNum = 1",
            "Start becomes interval instead of time, which cannot hold 1 value",
        ),
    ],
)
def test_adoption_refuses_types_that_cannot_hold_the_source(taken_over: Clinic, change: str, reported: str) -> None:
    """By `validate` and by a run, before anything moves, with the views named; the other table goes on."""
    taken_over.create(change)
    before = taken_over.warehouse(TYPES), taken_over.warehouse('SELECT * FROM dbt.stg_visit ORDER BY "VisitNum"')
    validated = taken_over.arrowetl("validate")
    run = taken_over.run()
    pair, visit = run["tables"]

    assert (validated.returncode, run["exit_code"]) == (3, 1)
    for text in (validated.stdout, visit["error"]["message"]):
        assert reported in text
        assert "dbt.stg_visit" in text
    assert (visit["status"], pair["status"]) == ("failed", "succeeded")
    assert before == (
        taken_over.warehouse(TYPES),
        taken_over.warehouse('SELECT * FROM dbt.stg_visit ORDER BY "VisitNum"'),
    )


def test_adoption_changes_types_that_no_view_uses(taken_over: Clinic) -> None:
    """Nobody depends on the type there."""
    taken_over.create("UPDATE visit SET IsHidden = 2")
    taken_over.warehouse_execute("DROP VIEW dbt.stg_visit")
    run = taken_over.run()

    assert run["exit_code"] == 0
    assert ("IsHidden", "smallint") in taken_over.warehouse(TYPES)
    assert differences(taken_over.sandbox, "visit", asked={**ASKED, "IsHidden": ""}) == ([], {})


def test_adoption_needs_a_writable_arrowetl_yml(taken_over: Clinic) -> None:
    """Nothing is done, and what was to be recorded is reported."""
    taken_over.tables_file.with_name("arrowetl.yml.unfinished").mkdir()
    done = taken_over.arrowetl("run", "--all")

    assert done.returncode == 3
    assert "cannot be rewritten" in done.stderr
    assert "'IsHidden': 'boolean'" in done.stderr
    assert taken_over.warehouse("SELECT count(*) FROM dbt.stg_visit") == [(2,)]
