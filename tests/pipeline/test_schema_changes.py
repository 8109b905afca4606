"""
The source's tables change: both targets follow, and what is there on the warehouse's tables stays; or it is refused.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import yaml
from support.clinic import Clinic
from support.independent import differences, many_tables

from arrowetl import drivers

TABLES = 20
VISIT = """
CREATE TABLE {t} (VisitNum int NOT NULL, Note varchar(20) NOT NULL, Units int NOT NULL, Fee double NOT NULL,
  Seen tinyint NOT NULL, At date NOT NULL, PRIMARY KEY (VisitNum)) ENGINE=MyISAM DEFAULT CHARSET=utf8;
INSERT INTO {t} SELECT seq, CONCAT('note ', seq), seq, seq / 3, seq % 2, '2024-02-29' FROM seq_1_to_500
"""
ON = """
CREATE VIEW dbt.stg_{t} AS SELECT "VisitNum" AS visit_id, "Note", "Units" FROM raw.{t};
CREATE VIEW dbt.int_{t} AS SELECT visit_id, "Units" * 2 AS units FROM dbt.stg_{t};
CREATE MATERIALIZED VIEW dbt.mart_{t} AS SELECT count(*) AS n, sum(units) AS units FROM dbt.int_{t};
CREATE UNIQUE INDEX mart_{t}_n ON dbt.mart_{t} (n);
COMMENT ON TABLE raw.{t} IS 'visits as they are';
COMMENT ON COLUMN raw.{t}."Units" IS 'billed';
COMMENT ON VIEW dbt.stg_{t} IS 'staged';
COMMENT ON COLUMN dbt.stg_{t}.visit_id IS 'its number';
GRANT SELECT ON raw.{t} TO analyst;
GRANT SELECT ("Note") ON raw.{t} TO analyst;
GRANT SELECT ON dbt.stg_{t} TO analyst WITH GRANT OPTION;
GRANT SELECT (units) ON dbt.int_{t} TO analyst;
CREATE INDEX {t}_units ON raw.{t} ("Units");
ALTER VIEW dbt.int_{t} OWNER TO modeller
"""
EXISTS = """
SELECT c.relname::text, c.relkind::text,
  (SELECT string_agg(x::text, ',' ORDER BY x::text) FROM unnest(coalesce(c.relacl, acldefault('r', c.relowner))) x),
  obj_description(c.oid, 'pg_class'),
  pg_get_userbyid(c.relowner)::text,
  CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
  (SELECT string_agg(a.attname || coalesce(a.attacl::text, '') || coalesce(col_description(c.oid, a.attnum), ''), ','
   ORDER BY a.attname) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
   AND a.attname NOT LIKE 'Added%' AND a.attname <> 'At'),
  (SELECT string_agg(pg_get_indexdef(i.indexrelid), ',' ORDER BY pg_get_indexdef(i.indexrelid))
   FROM pg_index i WHERE i.indrelid = c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'v', 'm') AND (n.nspname = 'dbt' OR n.nspname = 'raw' AND c.relname LIKE 'visit%')
ORDER BY 1
"""


def statements(clinic: Clinic, text: str, admin: bool = False) -> None:
    session = drivers.Postgres(clinic.sandbox.admin("warehouse") if admin else clinic.sandbox.warehouse)
    for statement in text.split(";\n"):
        if statement.strip():
            session.execute(statement)
    session.close()


@pytest.fixture
def watched(clinic: Clinic) -> Clinic:
    """Twenty tables with views, views on views, materialized views, grants, comments and an index on them."""
    for number in range(TABLES):
        clinic.create(VISIT.replace("{t}", f"visit{number}"))
    assert clinic.run()["exit_code"] == 0
    user = clinic.sandbox.warehouse.user
    statements(clinic, f"CREATE ROLE analyst;\nCREATE ROLE modeller;\nGRANT modeller TO {user}", admin=True)
    clinic.undo.append(
        lambda: statements(
            clinic,
            "DROP SCHEMA dbt CASCADE;\nDROP OWNED BY analyst, modeller CASCADE;\nDROP ROLE analyst, modeller",
            admin=True,
        )
    )
    statements(
        clinic,
        "CREATE SCHEMA dbt;\nGRANT ALL ON SCHEMA dbt TO modeller;\nGRANT USAGE ON SCHEMA raw TO modeller;\n"
        "GRANT SELECT ON ALL TABLES IN SCHEMA raw TO modeller",
    )
    for number in range(TABLES):
        statements(clinic, ON.replace("{t}", f"visit{number}"))
    statements(clinic, "GRANT SELECT ON ALL TABLES IN SCHEMA dbt TO modeller")
    return clinic


class Poll:
    """A reader that will wait a second at most, and counts what it sees."""

    def __init__(self, clinic: Clinic) -> None:
        self._session = drivers.Postgres(clinic.sandbox.warehouse)
        self._session.execute("SET lock_timeout = '1s'")
        self._stop = threading.Event()
        self.counts: list[int] = []
        self.errors: list[str] = []
        self._thread = threading.Thread(target=self._poll)

    def _poll(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            name = f"visit{number % TABLES}"
            try:
                direct = self._session.rows(f"SELECT count(*) FROM raw.{name}")[0][0]
                through = self._session.rows(f"SELECT count(*) FROM dbt.int_{name}")[0][0]
            except Exception as error:
                self.errors.append(str(error))
                return
            self.counts += [direct, through]

    def __enter__(self) -> Poll:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._session.close()


def test_views_grants_comments_and_indexes_survive_every_change(watched: Clinic) -> None:
    """Views, grants, comments, indexes, owners; and a reader with a second's patience never errs, nor sees a part."""
    days: list[tuple[str, tuple[str, ...]]] = [
        ("UPDATE {t} SET Note = 'edited' WHERE VisitNum % 9 = 0", ("--all",)),
        ("UPDATE {t} SET Note = CONCAT(Note, '.'), Fee = Fee + 1", ("--all", "--force-full")),
        ("ALTER TABLE {t} ADD COLUMN Added1 varchar(20) NOT NULL DEFAULT 'x' AFTER VisitNum", ("--all",)),
        ("ALTER TABLE {t} MODIFY Units bigint NOT NULL, MODIFY Note varchar(200) NOT NULL", ("--all",)),
        ("ALTER TABLE {t} MODIFY Units bigint unsigned NOT NULL", ("--all",)),
        ("ALTER TABLE {t} DROP COLUMN Seen", ("--all",)),
        ("ALTER TABLE {t} MODIFY At datetime NOT NULL", ("--all",)),
        ("ALTER TABLE {t} CHANGE At VisitedAt varchar(30) NOT NULL", ("--all",)),
        ("ALTER TABLE {t} ENGINE=InnoDB", ("--all",)),
        ("ALTER TABLE {t} CONVERT TO CHARACTER SET utf8mb4", ("--all",)),
        ("UPDATE {t} SET Fee = 0", ("--all", "--from", "replica", "--force-full")),
        ("SELECT 1", ("--all",)),
    ]
    before = watched.warehouse(EXISTS)
    identity = "SELECT oid::bigint FROM pg_class WHERE relname LIKE 'visit%' AND relkind = 'r' ORDER BY relname"
    oids = watched.warehouse(identity)
    modes = set()
    with Poll(watched) as poll:
        for change, asked in days:
            for number in range(TABLES if change != "SELECT 1" else 0):
                watched.create(change.replace("{t}", f"visit{number}"))
            run = watched.run(*asked)
            assert [table["error"] for table in run["tables"] if table["error"]] == [], change
            modes |= {table["mode"] for table in run["tables"]}
            if "replica" not in asked:
                with many_tables():
                    found = [one for n in range(0, TABLES, 7) for one in differences(watched.sandbox, f"visit{n}")[0]]
                assert [p for p in found if "replica's columns" not in p] == [], change
        deadline = time.monotonic() + 60
        while len(poll.counts) <= 1000 and not poll.errors and time.monotonic() < deadline:
            time.sleep(0.1)

    after = watched.warehouse(EXISTS)
    assert watched.warehouse(identity) == oids
    assert [row[:5] for row in after] == [row[:5] for row in before]
    assert [row[6:] for row in after if row[1] != "r"] == [row[6:] for row in before if row[1] != "r"]
    assert [row[7] for row in after] == [row[7] for row in before]
    assert modes >= {"full", "reconcile"}
    assert poll.errors == []
    assert len(poll.counts) > 1000
    assert set(poll.counts) == {500}


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        ("ALTER TABLE visit0 DROP COLUMN Units", "Units is in the warehouse's table and not in the source's"),
        ("ALTER TABLE visit0 CHANGE Note Remark varchar(20) NOT NULL", "Note is in the warehouse's table and not"),
        ("ALTER TABLE visit0 MODIFY Units date NULL", "Units becomes date instead of integer"),
        ("ALTER TABLE visit0 MODIFY Units smallint NOT NULL", "Units becomes smallint instead of integer"),
        ("ALTER TABLE visit0 CHANGE Note note varchar(20) NOT NULL", "which the source spells note"),
    ],
)
def test_columns_used_by_views_are_not_dropped(watched: Clinic, change: str, reported: str) -> None:
    """Refused before any row moves, at either target, with the views named; everything is."""
    before = watched.warehouse(EXISTS)
    watched.create("SET SESSION sql_mode = '';\n" + change)
    failed = next(table for table in watched.run()["tables"] if table["table"] == "visit0")

    assert reported in failed["error"]["message"]
    assert "dbt.stg_visit0" in failed["error"]["message"]
    assert ("views: rebuild" in failed["error"]["remedy"]) == ("becomes" in reported)
    assert watched.warehouse(EXISTS) == before
    replica = drivers.MySQL(watched.sandbox.replica)
    assert [row[0] for row in replica.rows("SHOW COLUMNS FROM visit0")][1:3] == ["Note", "Units"]
    replica.close()


def test_views_rebuild_recreates_views(watched: Clinic) -> None:
    """A retyped column under views: with `views: rebuild` they are as they were, privileges and comments too."""
    watched.tables_file.write_text(yaml.safe_dump({"tables": {"visit0": {"overrides": {"views": "rebuild"}}}}))
    # What the schema gives to whatever is made there was taken from this one.
    statements(
        watched,
        "ALTER DEFAULT PRIVILEGES IN SCHEMA dbt GRANT SELECT ON TABLES TO analyst, modeller;\n"
        "REVOKE ALL ON dbt.stg_visit0 FROM analyst",
    )
    before = watched.warehouse(EXISTS)
    watched.create("ALTER TABLE visit0 MODIFY Units smallint NOT NULL")
    run = watched.run()
    table = next(table for table in run["tables"] if table["table"] == "visit0")

    assert (run["exit_code"], table["error"]) == (0, None)
    assert any(note.startswith("views are recreated: dbt.stg_visit0") for note in table["notes"])
    assert watched.warehouse(EXISTS) == before
    assert watched.warehouse("SELECT n, units::bigint FROM dbt.mart_visit0") == [(500, 250_500)]
    assert differences(watched.sandbox, "visit0") == ([], {})


ONCE_FULL = (
    "DO $$ BEGIN FOR number IN 1..1590 LOOP "
    "EXECUTE format('ALTER TABLE raw.visit0 ADD COLUMN was%1$s int', number); "
    "EXECUTE format('ALTER TABLE raw.visit0 DROP COLUMN was%1$s', number); END LOOP; END $$"
)


def test_a_table_at_the_column_limit_is_recreated(watched: Clinic) -> None:
    """
    Columns that were dropped count at PostgreSQL: the table is recreated, and it and what is there on it are as they
    were.
    """
    statements(watched, ONCE_FULL)
    before = watched.warehouse(EXISTS)
    watched.create("ALTER TABLE visit0 " + ", ".join(f"ADD COLUMN Added{n} int" for n in range(20)))
    run = watched.run()
    table = next(table for table in run["tables"] if table["table"] == "visit0")

    assert (run["exit_code"], table["error"]) == (0, None)
    assert any("recreated at the warehouse" in note for note in table["notes"])
    assert watched.warehouse(EXISTS) == before
    assert differences(watched.sandbox, "visit0") == ([], {})
    assert watched.warehouse("SELECT relnatts::int FROM pg_class WHERE oid = 'raw.visit0'::regclass") == [(26,)]


def test_a_table_with_triggers_at_the_column_limit_fails(watched: Clinic) -> None:
    """A trigger of somebody's own: the table stays as it is, and its failure says what to do."""
    statements(watched, ONCE_FULL)
    statements(
        watched,
        "CREATE FUNCTION raw.look() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';\n"
        "CREATE TRIGGER look AFTER UPDATE ON raw.visit0 FOR EACH ROW EXECUTE FUNCTION raw.look()",
    )
    before = watched.warehouse(EXISTS)
    watched.create("ALTER TABLE visit0 " + ", ".join(f"ADD COLUMN Added{n} int" for n in range(20)))
    run = watched.run()
    (failed,) = (table["error"] for table in run["tables"] if table["error"])

    assert "54011" in failed["message"]
    assert "drop the table" in failed["remedy"]
    assert watched.warehouse(EXISTS) == before


def columns(clinic: Clinic, table: str = "visit") -> list[tuple[Any, ...]]:
    return clinic.warehouse(
        "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute "
        f"WHERE attrelid = 'raw.{table}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    )


KEYED = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'p' AND conrelid = 'raw.visit'::regclass"
FOLLOWED = {
    "widened": ("MODIFY VisitNum bigint NOT NULL, MODIFY Fee decimal(20,6) NOT NULL", [("VisitNum", "bigint")]),
    "narrowed": ("MODIFY Units tinyint unsigned NOT NULL", [("Units", "smallint")]),
    "retyped": ("MODIFY At varchar(10) NOT NULL, MODIFY Note text", [("At", "text"), ("Note", "text")]),
    "renamed": ("CHANGE Note Remark varchar(20) NOT NULL", [("Remark", "text")]),
    "another case": ("CHANGE Note note varchar(20) NOT NULL", [("note", "text")]),
    "another order": ("MODIFY Fee double NOT NULL FIRST", [("Fee", "double precision")]),
    "dropped": ("DROP COLUMN Note, DROP COLUMN Fee", []),
    "added": ("ADD COLUMN Added1 bit(1) NOT NULL FIRST, ADD COLUMN Added2 time NULL", [("Added1", "boolean")]),
    "another key": ("DROP PRIMARY KEY, ADD PRIMARY KEY (Units)", []),
    "a longer key": ("DROP PRIMARY KEY, ADD PRIMARY KEY (Note, VisitNum)", []),
    "no key": ("DROP PRIMARY KEY", []),
    "another type of key": ("MODIFY VisitNum varchar(12) NOT NULL", [("VisitNum", "text")]),
    "engine": ("ENGINE=InnoDB", []),
    "charset": ("CONVERT TO CHARACTER SET latin1", []),
    "an index": ("ADD INDEX (Units)", []),
}


@pytest.mark.parametrize("kind", FOLLOWED)
def test_schema_changes_are_followed_at_both_targets(clinic: Clinic, kind: str) -> None:
    """At both targets, the warehouse's table staying the one it is; the next run finds nothing to do."""
    change, wanted = FOLLOWED[kind]
    clinic.create(VISIT.replace("{t}", "visit"))
    assert clinic.run()["exit_code"] == 0
    oid = clinic.warehouse("SELECT 'raw.visit'::regclass::oid::bigint")
    clinic.create(
        f"UPDATE visit SET Units = VisitNum % 200;\nALTER TABLE visit {change}"
        if kind == "narrowed"
        else f"ALTER TABLE visit {change}"
    )
    run = clinic.run()

    assert [table["error"] for table in run["tables"] if table["error"]] == []
    found = differences(clinic.sandbox, "visit")
    assert found == ([], {})
    assert set(wanted) <= set(columns(clinic))
    assert clinic.warehouse("SELECT 'raw.visit'::regclass::oid::bigint") == oid
    keys = {"another key": '"Units"', "a longer key": '"Note", "VisitNum"', "no key": None}.get(kind, '"VisitNum"')
    assert clinic.warehouse(KEYED) == ([(f"PRIMARY KEY ({keys})",)] if keys else [])
    assert [(t["rows_inserted"], t["rows_updated"], t["rows_deleted"]) for t in clinic.run()["tables"]] == [(0, 0, 0)]
    assert clinic.arrowetl("verify", "--all").returncode == 0


def test_added_and_renamed_tables_are_loaded_in_full(clinic: Clinic) -> None:
    """The new name is loaded in full; the old one stays at the targets, and is reported."""
    clinic.create(VISIT.replace("{t}", "visit"))
    clinic.run()
    clinic.create("RENAME TABLE visit TO visits;\nCREATE TABLE added (n int NOT NULL, PRIMARY KEY (n)) ENGINE=MyISAM")
    run = clinic.run()

    assert {table["table"]: table["reason"] for table in run["tables"]} == {
        "visits": "first load",
        "added": "first load",
    }
    assert any("missing at the source: visit;" in warning for warning in run["warnings"])
    assert clinic.published()["warehouse"] == {"visit", "visits", "added"}


def test_adding_a_column_yields_to_long_queries(watched: Clinic) -> None:
    """What waits for that query does not keep others waiting behind it: it gives way, and tries again."""
    watched.create("ALTER TABLE visit0 ADD COLUMN Added1 int NULL")
    long = drivers.Postgres(watched.sandbox.warehouse)
    with Poll(watched) as poll, long.transaction():
        long.rows("SELECT count(*) FROM raw.visit0")
        process = watched.start("run", "--table", "visit0", "--json")
        time.sleep(4)
        assert process.poll() is None
    _, stderr = process.communicate(timeout=60)
    long.close()

    assert process.returncode == 0, stderr
    assert poll.errors == []
    assert ("Added1", "integer") in columns(watched, "visit0")


def test_a_run_killed_between_columns_and_rows_is_repaired(clinic: Clinic) -> None:
    """A column that somebody dropped comes back, and its values with it, however often the way is cut."""
    clinic.create(VISIT.replace("{t}", "visit"))
    clinic.run()
    clinic.warehouse_execute('ALTER TABLE raw.visit DROP COLUMN "Note"')
    clinic.warehouse_execute(
        "CREATE FUNCTION raw.no() RETURNS trigger AS 'BEGIN RAISE EXCEPTION ''no''; END' LANGUAGE plpgsql"
    )
    clinic.warehouse_execute(
        "CREATE TRIGGER no BEFORE INSERT OR UPDATE OR DELETE ON raw.visit FOR EACH ROW EXECUTE FUNCTION raw.no()"
    )
    failed = clinic.run()
    clinic.warehouse_execute("DROP TRIGGER no ON raw.visit")

    assert failed["exit_code"] == 1
    assert clinic.run()["exit_code"] == 0
    assert differences(clinic.sandbox, "visit") == ([], {})
