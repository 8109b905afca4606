"""
`--force-full` where both targets have the table: all three are read, and each target is given what it lacks.
"""

from __future__ import annotations

from typing import Any

import pytest
from support.clinic import Clinic, settle
from support.independent import differences

from arrowetl import drivers

ROWS = 3_000
TABLE = f"""
CREATE TABLE visit (Num bigint NOT NULL, D date NOT NULL, T time(3), Fee decimal(12,2), Note varchar(200), B blob,
  U bigint unsigned, F float, PRIMARY KEY (Num), KEY (D), KEY (Note(10), Num)) ENGINE=MyISAM DEFAULT CHARSET=utf8;
INSERT INTO visit SELECT seq, IF(seq % 100, '2024-02-29', '0000-00-00'), '-12:30:00.125', seq / 3,
  IF(seq % 7, CONCAT('note ', seq), NULL), CHAR(seq % 256), 18446744073709551615, seq / 7 FROM seq_1_to_{ROWS}
"""
SPLIT = "tables: {visit: {batch_size: 500}}\n"


@pytest.fixture
def visits(clinic: Clinic) -> Clinic:
    """Six partitions of them, at all three servers."""
    clinic.tables_file.write_text(SPLIT)
    clinic.create(TABLE)
    assert clinic.run()["exit_code"] == 0
    return clinic


def again(clinic: Clinic, *options: str) -> dict[str, Any]:
    run = clinic.run("--all", "--force-full", *options)
    (table,) = run["tables"]
    assert run["exit_code"] == 0, table["error"]
    assert differences(clinic.sandbox, "visit") == ([], {"D": ROWS // 100})
    assert clinic.leftovers() == []
    return dict(table)


def made(clinic: Clinic) -> tuple[Any, Any]:
    """What would change where a table were put in the place of another, or a row of it were written."""
    session = drivers.MySQL(clinic.sandbox.admin("replica"))
    try:
        database = clinic.sandbox.replica.database
        replica = session.rows(
            f"SELECT SPACE FROM information_schema.INNODB_SYS_TABLES WHERE NAME = '{database}/visit'"
        )
    finally:
        session.close()
    return replica, clinic.warehouse("SELECT 'raw.visit'::regclass::oid, max(xmin::text::bigint) FROM raw.visit")


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_force_full_reads_equal_targets_and_writes_nothing(visits: Clinic, executor: str) -> None:
    """Every row is read, every coercion counted, and nothing else done."""
    settle()
    before = made(visits)
    table = again(visits, "--executor", executor)

    assert (table["mode"], table["rows_extracted"], table["partitions"]) == ("full", ROWS, 6)
    assert table["reason"] == "--force-full: every row of source, replica and warehouse is read and compared"
    assert (table["rows_inserted"], table["rows_updated"], table["rows_deleted"]) == (0, 0, 0)
    assert (table["rows_replica"], table["rows_warehouse"], table["coerced"]) == (ROWS, ROWS, {"D": ROWS // 100})
    assert (table["verdict"], table["settled"]) == ("equal", True)
    assert made(visits) == before


def test_force_full_repairs_what_others_wrote(visits: Clinic) -> None:
    """At either target other values than the source's, rows that went and rows that came: each target its own."""
    settle()
    visits.warehouse_execute("""UPDATE raw.visit SET "Fee" = 1 WHERE "Num" IN (7, 2900)""")
    visits.warehouse_execute("""DELETE FROM raw.visit WHERE "Num" BETWEEN 100 AND 102""")
    visits.warehouse_execute("""INSERT INTO raw.visit ("Num") VALUES (-5), (99999)""")
    visits.create(
        "UPDATE visit SET Note = 'NOTE 8' WHERE Num = 8;\nDELETE FROM visit WHERE Num = 1500;\n"
        "INSERT INTO visit (Num, D) VALUES (77777, '2024-01-01')",
        "replica",
    )
    table = again(visits)

    assert (table["rows_inserted"], table["rows_updated"], table["rows_deleted"]) == (3, 2, 2)
    assert visits.run()["tables"][0]["mode"] == "skipped"


def test_the_next_run_repairs_what_verify_found(visits: Clinic) -> None:
    """Nobody need ask for it: until then the run, `status` and the verification say the same."""
    settle()
    visits.run("--all", "--force-full")
    visits.warehouse_execute("""UPDATE raw.visit SET "Fee" = 1 WHERE "Num" = 7""")
    assert visits.run()["tables"][0]["mode"] == "skipped"
    assert visits.arrowetl("verify", "--all").returncode == 5
    assert visits.arrowetl("status", "--check").returncode == 1
    (table,) = visits.run()["tables"]

    assert table["reason"].startswith("a verification found that it differs: every row")
    assert (table["rows_updated"], table["verdict"]) == (1, "equal")
    assert visits.arrowetl("status", "--check").returncode == 0
    assert visits.run()["tables"][0]["mode"] == "skipped"
    assert differences(visits.sandbox, "visit") == ([], {"D": ROWS // 100})


def test_differences_repaired_by_others_are_forgotten(visits: Clinic) -> None:
    """There is nothing to write, and what was found is forgotten all the same."""
    visits.warehouse_execute("""UPDATE raw.visit SET "Note" = 'x' WHERE "Num" = 8""")
    assert visits.arrowetl("verify", "--all").returncode == 5
    visits.warehouse_execute("""UPDATE raw.visit SET "Note" = 'note 8' WHERE "Num" = 8""")
    (table,) = visits.run()["tables"]

    assert (table["mode"], table["rows_updated"], table["status"]) == ("full", 0, "succeeded")
    assert visits.arrowetl("status", "--check").returncode == 0


def test_force_full_loads_changes_into_both_targets(visits: Clinic) -> None:
    """Edits, a new row and a row that no longer exists."""
    visits.create(
        "UPDATE visit SET F = F + 1 WHERE Num = 44;\nDELETE FROM visit WHERE Num = 45;\n"
        "INSERT INTO visit (Num, D) VALUES (5000, '2024-01-01')"
    )
    run = visits.run("--all", "--force-full")
    (table,) = run["tables"]

    assert (table["rows_inserted"], table["rows_updated"], table["rows_deleted"]) == (1, 1, 1)
    assert differences(visits.sandbox, "visit")[0] == []


@pytest.mark.parametrize(
    "change",
    ["ALTER TABLE visit DROP INDEX D", "ALTER TABLE visit MODIFY Note varchar(150)", "ALTER TABLE visit ADD X int"],
)
def test_a_table_altered_at_the_replica_is_recreated(visits: Clinic, change: str) -> None:
    """It is not what the source's would become: all of it is staged, and put in its place."""
    visits.create(change, "replica")
    table = again(visits)

    assert table["reason"] == "--force-full"
    session = drivers.MySQL(visits.sandbox.replica)
    indexes = {row[2] for row in session.rows("SHOW INDEX FROM visit")}
    session.close()
    assert indexes == {"PRIMARY", "D", "Note"}
