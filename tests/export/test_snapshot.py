"""
Parquet files for analysts: every value as the source has it, whatever opens them; and nothing half written.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.clinic import Clinic
from support.parquet_files import rows_of

import arrowetl
from arrowetl.types import mapping

SERVERS = ("source", "replica", "warehouse")


PATIENTS = """
CREATE TABLE patient (PatNum bigint NOT NULL, LName varchar(100), SSN varchar(20), Birthdate date, Fee decimal(9,2),
  DateTStamp timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (PatNum))
  ENGINE=MyISAM;
INSERT INTO patient SELECT seq, CONCAT('Name ', seq % 10), CONCAT('SSN-', seq), '1970-01-01', seq / 4,
  '2024-01-01 00:00:00' + INTERVAL seq HOUR FROM seq_1_to_1000
"""
MASKED = """
tables:
  patient:
    extraction_strategy: incremental
    primary_incremental_column: DateTStamp
    overrides: {columns: {SSN: {exclude: true}, LName: {mask: hash}}}
"""


@pytest.fixture
def patients(clinic: Clinic) -> Clinic:
    clinic.environment["ARROWETL_MASK_KEY"] = "sixteen characters or more"
    clinic.tables_file.write_text(MASKED)
    clinic.create(PATIENTS)
    assert clinic.run()["exit_code"] == 0
    return clinic


def taken(clinic: Clinic, *arguments: str) -> dict[str, Any]:
    done = clinic.arrowetl("snapshot", "patient", "--to", str(clinic.directory / "out"), "--json", *arguments)
    document: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 0, document
    return dict(document["tables"]["patient"])


@pytest.mark.parametrize("target", SERVERS)
def test_snapshots_follow_exclusions_and_masks(patients: Clinic, target: str) -> None:
    """What is excluded is in no file, what is masked is masked in the same way at every target."""
    taken(patients, "--from", target)
    rows = rows_of(patients.directory / "out" / "patient")
    (masked,) = patients.warehouse('SELECT "LName" FROM raw.patient WHERE "PatNum" = 7')

    assert "SSN" not in rows[0]
    assert next(row for row in rows if row["PatNum"] == 7)["LName"] == masked[0]
    everything = b"".join(path.read_bytes() for path in (patients.directory / "out").rglob("*") if path.is_file())
    assert b"Name 7" not in everything and b"SSN-7" not in everything


@pytest.mark.parametrize("target", SERVERS)
def test_a_snapshot_of_all_has_what_is_not_left_out(patients: Clinic, target: str) -> None:
    """Neither tables that are excluded nor arrowetl's own; by its name an excluded one is refused."""
    patients.create("CREATE TABLE visit (Num int PRIMARY KEY) ENGINE=MyISAM")
    assert patients.run()["exit_code"] == 0
    (patients.directory / "arrowetl.yml").write_text("exclude: [visit]\n")
    out = ["--to", str(patients.directory / "all"), "--from", target, "--json"]
    for chosen in (["--all"], ["*"]):
        done = patients.arrowetl("snapshot", *chosen, *out)
        assert done.returncode == 0, done.stdout
        assert [*json.loads(done.stdout)["tables"]] == ["patient"]
    refused = patients.arrowetl("snapshot", "visit", *out)

    assert refused.returncode == 2
    assert "visit: excluded in arrowetl.yml" in refused.stdout


@pytest.mark.parametrize("target", SERVERS)
def test_columns_conditions_and_since_limit_a_snapshot(patients: Clinic, target: str) -> None:
    """Columns, a condition, and what is updated later; the manifest says so, and how each file can be checked."""
    entry = taken(
        patients, "--from", target, "--columns", "PatNum,Fee", "--where", "PatNum BETWEEN 5 and 20 AND NOT Fee = 2.5",
        "--since", "2024-01-01T10:00:00+00:00",
    )  # fmt: skip
    manifest = json.loads((patients.directory / "out" / "manifest.json").read_text())["tables"]["patient"]
    (file,) = entry["files"]
    rows = rows_of(patients.directory / "out" / "patient")

    assert manifest == entry
    assert sorted(row["PatNum"] for row in rows) == list(range(11, 21))
    assert [column["name"] for column in entry["columns"]] == ["PatNum", "Fee"]
    assert (entry["rows"], file["rows"], rows[0].keys()) == (10, 10, {"PatNum", "Fee"})
    assert rows[0]["Fee"] == Decimal(rows[0]["PatNum"]) / 4


def test_the_manifests_until_is_the_next_since(patients: Clinic) -> None:
    """`until` of the one is `--since` of the other; a row that comes ten minutes late is in it, too."""
    until = taken(patients, "--from", "source")["until"]
    patients.create(
        "UPDATE patient SET Fee = 0 WHERE PatNum IN (3, 4);\n"
        "SET timestamp = UNIX_TIMESTAMP((SELECT MAX(DateTStamp) FROM patient WHERE Fee > 0)) - 600;\n"
        "UPDATE patient SET Fee = -1 WHERE PatNum = 9"
    )
    since, place = ("patient", "--from", "source", "--since", until), patients.directory
    refused = patients.arrowetl("snapshot", *since, "--to", str(place / "out"))
    done = patients.arrowetl("snapshot", *since, "--to", str(place / "increment"))

    assert (refused.returncode, done.returncode) == (2, 0)
    assert len(rows_of(place / "out" / "patient")) == 1_000
    # What was updated in the two hours before is in both.
    assert sorted(row["PatNum"] for row in rows_of(place / "increment" / "patient")) == [3, 4, 9, 998, 999, 1000]


def test_columns_named_like_excluded_ones_stay_out_of_snapshots(patients: Clinic) -> None:
    """Of another schema too, columns that are called like those that are excluded or masked stay where they are."""
    patients.undo.append(lambda: patients.warehouse_execute("DROP SCHEMA marts CASCADE"))
    patients.warehouse_execute("CREATE SCHEMA marts")
    patients.warehouse_execute(
        "CREATE TABLE marts.dim AS SELECT 7 AS \"PatNum\", 'SSN-7' AS \"SSN\", 'Name 7' AS lname"
    )
    done = patients.arrowetl("snapshot", "dim", "--namespace", "marts", "--to", str(patients.directory / "out"))
    everything = b"".join(path.read_bytes() for path in (patients.directory / "out").rglob("*") if path.is_file())

    assert done.returncode == 0, done.stderr
    assert rows_of(patients.directory / "out" / "dim") == [{"PatNum": 7}]
    assert b"SSN-7" not in everything and b"Name 7" not in everything
    assert "SSN" in done.stdout + done.stderr + (patients.directory / "out" / "manifest.json").read_text()


REFUSED = {
    "1; DROP TABLE patient": "more than a condition",
    "PatNum IN (SELECT 1)": "cannot be asked",
    "SLEEP(5)": "cannot be asked",
    "PatNum = 1 UNION SELECT 1": "more than a condition",
    "PatNum = (": "no condition",
    "PatNum = 1 ORDER BY 1": "more than a condition",
    "PatNum = 1 INTO OUTFILE '/tmp/x'": "no condition",
    "PatNumm = 1": "did you mean PatNum",
    "LName = 'Name 7'": "no column LName that may be asked about",
    "mysql.user.PatNum = 1": "cannot be asked",
}


@pytest.mark.parametrize("where", REFUSED)
def test_conditions_are_comparisons_only(patients: Clinic, where: str) -> None:
    """Comparisons of columns with values, and nothing else; what is masked may not be asked about."""
    done = patients.arrowetl(
        "snapshot", "patient", "--to", str(patients.directory / "out"), "--from", "source", "--where", where
    )

    assert done.returncode == 2, done.stderr
    assert REFUSED[where] in done.stderr


def test_names_and_values_are_quoted(clinic: Clinic) -> None:
    """Whatever characters they have: in the condition, in the files' columns, in the server's words."""
    clinic.create("""CREATE TABLE odd (`x"; DROP TABLE odd` int PRIMARY KEY, v varchar(50));
INSERT INTO odd VALUES (1, 'it''s \\\\ "quoted"'), (2, 'no')""")
    clinic.run()
    for target in SERVERS:
        done = clinic.arrowetl("snapshot", "odd", "--to", str(clinic.directory / target), "--from", target,
                               "--where", """v = 'it''s \\\\ "quoted"' AND `x"; DROP TABLE odd` < 9""")  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert [row['x"; DROP TABLE odd'] for row in rows_of(clinic.directory / target / "odd")] == [1]


def test_a_failed_snapshot_keeps_the_previous_one(patients: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of about the size that was chosen; where the second snapshot fails, the first one is."""
    monkeypatch.setattr("arrowetl.limits.snapshot_file_bytes", 20_000)
    monkeypatch.setattr("arrowetl.limits.partition_rows_max", 100)
    place = patients.directory / "out"
    with arrowetl.open(patients.environment, patients.tables_file) as etl:
        first = etl.snapshot(["patient"], place, read_from="source")["tables"]["patient"]
        before = {path.name: path.read_bytes() for path in (place / "patient").iterdir()}
        monkeypatch.setattr("pyarrow.parquet.read_metadata", lambda path: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(arrowetl.errors.DataError, match="nothing was replaced"):
            etl.snapshot(["patient"], place, read_from="replica")

    assert (len(first["files"]) > 1, first["rows"]) == (True, 1_000)
    assert {path.name: path.read_bytes() for path in (place / "patient").iterdir()} == before
    assert sorted(path.name for path in place.iterdir()) == ["manifest.json", "patient"]


def test_other_schemas_of_the_warehouse_can_be_exported(clinic: Clinic) -> None:
    """A view of dbt's, with whatever types PostgreSQL has."""
    clinic.create("CREATE TABLE t (Num int PRIMARY KEY);\nINSERT INTO t VALUES (1)")
    clinic.run()
    clinic.warehouse_execute("CREATE SCHEMA IF NOT EXISTS marts")
    clinic.undo.append(lambda: clinic.warehouse_execute("DROP SCHEMA marts CASCADE"))
    clinic.warehouse_execute(
        """CREATE VIEW marts.m AS SELECT "Num", 1.5::numeric(5,2) d, ARRAY[1,2] a, now()::timestamptz t FROM raw.t"""
    )
    done = clinic.arrowetl("snapshot", "m", "--to", str(clinic.directory / "m"), "--namespace", "marts")

    assert done.returncode == 0, done.stderr
    (row,) = rows_of(clinic.directory / "m" / "m")
    assert (row["Num"], row["d"], row["a"]) == (1, Decimal("1.50"), "{1,2}")
    schema = pq.read_schema(next((clinic.directory / "m" / "m").glob("*.parquet")))
    assert (schema.field("t").type, schema.field("d").type) == (pa.timestamp("us", "UTC"), pa.decimal128(5, 2))


@pytest.mark.parametrize("target", ["replica", "warehouse"])
@pytest.mark.parametrize(
    ("choice", "reported"),
    [
        ("{mask: nullify}", "not known to be masked"),
        ("{mask: partial}", "not known to be masked"),
        ("{exclude: true}", ""),
    ],
)
def test_a_policy_newer_than_the_load_is_enforced(clinic: Clinic, target: str, choice: str, reported: str) -> None:
    """What a target holds in clear is left out where it is excluded, and refused where it is to be masked."""
    clinic.create("CREATE TABLE t (Num int PRIMARY KEY, SSN varchar(20));\nINSERT INTO t VALUES (1, 'ssn-in-clear')")
    clinic.run()
    clinic.tables_file.write_text(f"tables: {{t: {{overrides: {{columns: {{SSN: {choice}}}}}}}}}\n")
    done = clinic.arrowetl("snapshot", "t", "--to", str(clinic.directory / "s"), "--from", target)
    asked = clinic.arrowetl(
        "snapshot", "t", "--to", str(clinic.directory / "s"), "--from", target, "--where", "SSN = 'a'"
    )

    assert (done.returncode, reported in done.stderr) == (1 if reported else 0, True)
    assert asked.returncode in (1, 2)
    written = b"".join(path.read_bytes() for path in (clinic.directory / "s").rglob("*") if path.is_file())
    assert b"ssn-in-clear" not in written


def test_a_table_excluded_under_its_long_name_stays_out(clinic: Clinic) -> None:
    """PostgreSQL holds no name so long: it is known all the same."""
    name = "a_table_with_a_name_of_more_than_sixty_three_characters_a_bit_mo"
    clinic.create(f"CREATE TABLE {name} (Num int PRIMARY KEY)")
    clinic.run()
    clinic.tables_file.write_text(f"tables: {{{name}: {{overrides: {{exclude: true}}}}}}\n")
    there = mapping.postgres_name(name)

    assert there != name
    assert clinic.arrowetl("snapshot", there, "--to", str(clinic.directory / "s")).returncode == 2


def test_foreign_files_in_a_table_directory_are_refused(patients: Clinic) -> None:
    """A directory of a table's name with somebody's files: refused before anything is moved."""
    place = patients.directory / "out"
    (place / "patient").mkdir(parents=True)
    (place / "patient" / "mine.parquet").write_text("mine")
    done = patients.arrowetl("snapshot", "patient", "--to", str(place))

    assert (done.returncode, (place / "patient" / "mine.parquet").read_text()) == (3, "mine")
    assert sorted(path.name for path in place.iterdir()) == ["patient"]


def test_table_names_cannot_leave_the_directory(clinic: Clinic) -> None:
    """Are no way out of the directory."""
    for name in ("../up", "/tmp/elsewhere", ".hidden", "manifest.json"):
        clinic.warehouse_execute(f'CREATE SCHEMA IF NOT EXISTS raw; CREATE TABLE raw."{name}" (a int)')
        done = clinic.arrowetl("snapshot", name, "--to", str(clinic.directory / "s"))
        assert done.returncode == 0, done.stderr
    there = sorted(path.name for path in (clinic.directory / "s").iterdir())
    assert there == ["%2E.%2Fup", "%2Ehidden", "%2Ftmp%2Felsewhere", "%6Danifest.json", "manifest.json"]


def test_values_without_a_parquet_form_are_null_and_counted(clinic: Clinic) -> None:
    """NaN and infinity are NULL, and counted: no row and no other value is lost for them."""
    clinic.warehouse_execute(
        "CREATE SCHEMA IF NOT EXISTS raw; CREATE TABLE raw.odd (n numeric(10,2), d date, t timestamptz); "
        "INSERT INTO raw.odd VALUES ('NaN', 'infinity', '-infinity'), (1.5, '2024-02-29', '2024-01-01'), "
        "(NULL, '0044-03-15 BC', NULL)"
    )
    done = clinic.arrowetl("snapshot", "odd", "--to", str(clinic.directory / "s"), "--json")
    entry = json.loads(done.stdout)["tables"]["odd"]

    assert {one["column"]: one["count"] for one in entry["coercions"]} == {"n": 1, "d": 2, "t": 1}
    assert [row["n"] for row in rows_of(clinic.directory / "s" / "odd")] == [None, Decimal("1.50"), None]
