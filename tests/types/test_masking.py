"""
Personal values: what is there for them at both targets, and that they are nowhere but at the source.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from support.catalog_values import column, fields
from support.clinic import Clinic

from arrowetl import drivers
from arrowetl.errors import DataExtractionError
from arrowetl.model.connection import MASKS
from arrowetl.sandbox import opendental
from arrowetl.types import masking, phi

KEY = b"a key of sixteen characters and more"


@pytest.mark.parametrize(
    ("column_type", "chosen", "why"),
    [
        ("varchar(255)", "hash", None),
        ("varchar(16)", "hash", None),
        ("varchar(15)", "hash", "a hash has 16 characters at least, and 15 fit"),
        ("text", "hash", None),
        ("bigint(20)", "hash", None),
        ("int(11)", "hash", "only texts and bigint can be hashed"),
        ("date", "hash", "only texts and bigint can be hashed"),
        ("varchar(4)", "partial", None),
        ("varchar(3)", "partial", "3 characters are too few to show one of them"),
        ("date", "partial", None),
        ("datetime", "partial", None),
        ("timestamp", "partial", None),
        ("bigint(20)", "partial", "only texts and dates can be masked in part"),
        ("double", "nullify", None),
        ("enum('a','b')", "nullify", None),
    ],
)
def test_masks_fit_their_column_types(column_type: str, chosen: str, why: str | None) -> None:
    assert masking.refused(column("c", column_type), chosen, key=()) == why


@pytest.mark.parametrize("chosen", MASKS)
def test_primary_keys_cannot_be_masked(chosen: str) -> None:
    assert masking.refused(column("PatNum", "bigint(20)"), chosen, ("PatNum",)) is not None


def masked(column_type: str, chosen: str, values: list[Any], type_: pa.DataType, key: bytes | None = KEY) -> list[Any]:
    (field,) = fields(column("c", column_type))
    # Several chunks, as connectorx gives them.
    table = pa.table({"c": pa.chunked_array([values[:1], values[1:]], type_)})
    became = masking.applied(table, [masking.masked(field, chosen)], key)
    return list(became.column("c").to_pylist())


def test_hashes_are_equal_for_equal_texts_only() -> None:
    smith, again, jones, nothing, empty = masked(
        "varchar(50)", "hash", [b"Smith", b"Smith", b"Jones", None, b""], pa.large_binary()
    )

    assert smith == again != jones
    assert len(smith) == len(jones) == 32
    assert (nothing, empty) == (None, "")


def test_hashes_depend_on_the_key() -> None:
    one, other = (masked("text", "hash", [b"Smith"], pa.large_binary(), key) for key in (KEY, KEY + b"!"))

    assert one != other


def test_hashes_fit_their_columns() -> None:
    assert [len(text) for text in masked("varchar(20)", "hash", [b"Smith", b"J"], pa.large_binary())] == [20, 20]


def test_numbers_are_hashed_and_zero_stays() -> None:
    four, again, zero, nothing = masked("bigint(20)", "hash", [4, 4, 0, None], pa.int64())

    assert four == again
    assert four > 2**40
    assert (zero, nothing) == (0, None)


def test_partial_texts_keep_their_first_letter() -> None:
    values = [b"Smith", "Öz Ko".encode(), b"Amy", b"", None, b"\xff\xfe\xfd\xfc\xfb"]

    assert masked("varchar(50)", "partial", values, pa.large_binary()) == ["S***", "Ö***", "***", "", None, "\ufffd***"]


def test_partial_dates_keep_their_year() -> None:
    assert masked("date", "partial", [19670412, 0, 10101, None], pa.int64()) == [19670101, 0, 10101, None]
    assert masked("datetime", "partial", [19670412103000, 0], pa.int64()) == [19670101000000, 0]


def test_partial_timestamps_have_no_fraction() -> None:
    values = [Decimal("19670412103000.250000"), None]

    assert masked("datetime(6)", "partial", values, pa.decimal128(38, 10)) == [Decimal(19670101000000), None]


def test_replica_rows_are_not_masked_twice() -> None:
    assert masked("varchar(50)", "hash", [b"0af3", None], pa.large_binary(), key=None) == ["0af3", None]
    assert masked("bigint(20)", "hash", [4], pa.int64(), key=None) == [4]


def test_hashing_needs_a_key() -> None:
    with pytest.raises(masking.EnvironmentError, match="ARROWETL_MASK_KEY is not set"):
        masked("varchar(50)", "hash", [b"Smith"], pa.large_binary(), key=b"")


# --- on real servers ----------------------------------------------------------------------------

PEOPLE = """
CREATE TABLE person (PatNum bigint NOT NULL, LName varchar(100) NOT NULL, FName varchar(100) NOT NULL,
  SSN varchar(20) NOT NULL, Birthdate date NOT NULL, Note text, Fee double NOT NULL, Photo longblob,
  Edited timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (PatNum), KEY name (LName), UNIQUE KEY ssn (SSN)) ENGINE=MyISAM DEFAULT CHARSET=utf8;
INSERT INTO person VALUES
  (1, 'Plantedlast', 'Plantedfirst', 'planted-1', '1967-04-12', 'Plantednote', 12.5, 'Plantedphoto', '2020-01-01'),
  (2, 'Plantedlast', 'Ann', 'planted-2', '1990-12-31', NULL, 1.25, NULL, '2020-01-01');
CREATE TABLE visit (VisitNum bigint NOT NULL, LName text CHARACTER SET latin1, Referred bigint NOT NULL,
  PRIMARY KEY (VisitNum)) ENGINE=InnoDB DEFAULT CHARSET=utf8;
INSERT INTO visit VALUES (1, 'Plantedlast', 777000777), (2, 'Other', 0);
CREATE TABLE referral (ReferralNum bigint NOT NULL, Referred bigint, PRIMARY KEY (ReferralNum)) ENGINE=MyISAM;
INSERT INTO referral VALUES (1, 777000777);
"""
POLICY = """
tables:
  person:
    extraction_strategy: incremental
    incremental_columns: [Edited]
    primary_incremental_column: Edited
    overrides:
      columns:
        LName: {mask: hash}
        FName: {mask: partial}
        SSN: {exclude: true}
        Birthdate: {mask: partial}
        Note: {mask: nullify}
        Fee: {mask: nullify}
        Photo: {mask: nullify}
  visit:
    overrides:
      columns: {LName: {mask: hash}, Referred: {mask: hash}}
  referral:
    overrides:
      columns: {Referred: {mask: hash}}
"""
# Of one test alone: what others loaded as it is may still be in the servers' files.
PLANTED = (b"Hiddenlast", b"Hiddenfirst", b"hidden-1", b"Hiddennote", b"Hiddenphoto", b"888000888")


@pytest.fixture
def people(clinic: Clinic) -> Clinic:
    clinic.environment["ARROWETL_MASK_KEY"] = KEY.decode()
    clinic.create(PEOPLE)
    clinic.tables_file.write_text(POLICY)
    return clinic


def at_both_targets(clinic: Clinic, mysql: str, postgres: str) -> list[tuple[Any, ...]]:
    """The answer that both give."""
    replica = drivers.MySQL(clinic.sandbox.replica)
    found, there = replica.rows(mysql), clinic.warehouse(postgres)
    replica.close()
    assert found == there
    return list(there)


def names(clinic: Clinic) -> list[tuple[Any, ...]]:
    return at_both_targets(
        clinic,
        "SELECT LName, FName, CAST(Birthdate AS CHAR), Note, Fee, Photo FROM person ORDER BY PatNum",
        'SELECT "LName", "FName", "Birthdate"::text, "Note", "Fee", "Photo" FROM raw.person ORDER BY "PatNum"',
    )


def planted(root: Path) -> dict[str, list[bytes]]:
    """File → what of the source's values is in it."""
    found = {}
    for path in root.rglob("*"):
        held = path.read_bytes() if path.is_file() else b""
        if there := [value for value in PLANTED if value in held]:
            found[str(path)] = there
    return found


def test_masked_values_exist_only_at_the_source(people: Clinic) -> None:
    """Three runs, with an edit of a masked column alone: neither data, logs of the servers, spills nor words."""
    people.create("DROP TABLE person, visit, referral")
    people.create(PEOPLE.replace("Planted", "Hidden").replace("planted", "hidden").replace("777000777", "888000888"))
    said = []
    for change in ("", "UPDATE person SET LName = 'Hiddenfirst', Edited = Edited WHERE PatNum = 2", ""):
        if change:
            people.create(change)
        done = people.arrowetl("run", "--all", "-v", "--json", *(() if change or not said else ("--force-full",)))
        assert done.returncode == 0, done.stderr
        said.append(done.stdout + done.stderr)
    verified = people.arrowetl("verify", "--all", "--json")

    first, second = names(people)
    assert (first[1], first[2:]) == ("H***", ("1967-01-01", None, None, None))
    assert (second[1], second[2]) == ("***", "1990-01-01")
    assert first[0] != second[0]
    assert verified.returncode == 0
    left_out = {one["table"]: one["columns_left_out"] for one in json.loads(verified.stdout)["tables"]}
    assert set(left_out["person"]) == {"LName", "FName", "SSN", "Birthdate", "Note", "Fee", "Photo"}
    assert planted(people.sandbox.directory / "replica") == {}
    assert planted(people.sandbox.directory / "warehouse") == {}
    assert planted(people.directory) == {}
    assert [value for value in PLANTED if value.decode() in "".join([*said, verified.stdout, verified.stderr])] == []


def test_hashed_columns_can_be_joined(people: Clinic) -> None:
    """A name in utf8 and in latin1, a number in two tables, on both targets."""
    people.run()

    joined = at_both_targets(
        people,
        "SELECT v.VisitNum, COUNT(*) FROM visit v JOIN person p ON p.LName = v.LName GROUP BY 1",
        'SELECT v."VisitNum", count(*) FROM raw.visit v JOIN raw.person p ON p."LName" = v."LName" GROUP BY 1',
    )
    referred = people.warehouse('SELECT count(*) FROM raw.visit JOIN raw.referral USING ("Referred")')
    assert joined == [(1, 2)]
    assert referred == [(1,)]


def test_unchanged_masked_tables_write_nothing(people: Clinic) -> None:
    people.run()

    again, everything = people.run(), people.run("--all", "--force-full")

    for day in (again, everything):
        assert [t for t in day["tables"] if t["rows_inserted"] or t["rows_updated"] or t["rows_deleted"]] == []


def test_a_changed_key_or_mask_reloads_the_table(people: Clinic) -> None:
    """Else what was not changed at the source would stay as it was masked before, or was not."""
    people.run()
    before = names(people)

    people.run(ARROWETL_MASK_KEY="another key of sixteen characters")
    with_another_key = names(people)
    people.tables_file.write_text(POLICY.replace("LName: {mask: hash}\n", "LName: {mask: nullify}\n"))
    people.run(ARROWETL_MASK_KEY="another key of sixteen characters")

    assert [row[0] for row in with_another_key] != [row[0] for row in before]
    assert [row[0] for row in names(people)] == [None, None]


def test_from_replica_needs_no_mask_key(people: Clinic) -> None:
    """`--from replica` needs no key, and masks nothing twice."""
    people.run()
    before = names(people)
    people.warehouse_execute("DROP TABLE raw.person, raw.visit, raw.referral")

    filled = people.run("--all", "--from", "replica", ARROWETL_MASK_KEY="")

    assert filled["exit_code"] == 0
    assert names(people) == before


@pytest.mark.parametrize(
    "options", [("--executor", "process", "--max-workers", "2"), ("--to", "warehouse")], ids=["processes", "no replica"]
)
def test_every_executor_and_destination_masks(people: Clinic, options: tuple[str, ...]) -> None:
    """Worker processes, which get partitions of a row each; and the warehouse alone."""
    people.tables_file.write_text(POLICY.replace("  person:\n", "  person:\n    batch_size: 1\n"))

    assert people.run("--all", *options)["exit_code"] == 0

    rows = people.warehouse('SELECT "LName", "FName", "Note" FROM raw.person ORDER BY "PatNum"')
    assert [len(name) for name, *_ in rows] == [32, 32]
    assert [rest for _, *rest in rows] == [["P***", None], ["***", None]]


def test_a_missing_mask_key_refuses_the_run(people: Clinic) -> None:
    done = people.arrowetl("run", "--all", ARROWETL_MASK_KEY="")
    offline = people.arrowetl("validate", "--offline", ARROWETL_MASK_KEY="")

    assert done.returncode == 3
    assert "ARROWETL_MASK_KEY is not set, and columns are to be hashed: person.LName" in done.stderr
    assert people.published() == {"replica": set(), "warehouse": set()}
    assert "ARROWETL_MASK_KEY is not set" in offline.stdout


def test_the_mask_key_is_in_no_output(people: Clinic) -> None:
    validated = people.arrowetl("validate", "-v")
    short = people.arrowetl("run", "--all", ARROWETL_MASK_KEY="short-key")

    assert "ARROWETL_MASK_KEY = set" in validated.stdout
    assert KEY.decode() not in validated.stdout + validated.stderr
    assert short.returncode == 3
    assert "must be 16 characters or more, got 9" in short.stderr
    assert "short-key" not in short.stderr


def test_an_impossible_mask_fails_its_table_alone(people: Clinic) -> None:
    people.tables_file.write_text("tables: {person: {overrides: {columns: {Fee: {mask: hash}}}}}\n")

    run = people.run()

    failed = {table["table"]: table["error"]["message"] for table in run["tables"] if table["error"]}
    assert failed == {"person": "person.Fee (double): cannot be masked by hash: only texts and bigint can be hashed"}
    assert "person" not in people.published()["replica"]


def failures(run: dict[str, Any]) -> dict[str, str]:
    return {table["table"]: table["error"]["message"] for table in run["tables"] if table["error"]}


def test_from_replica_refuses_rows_older_than_the_mask(people: Clinic) -> None:
    """A policy that is younger than the replica's rows."""
    people.tables_file.write_text("tables: {}\n")
    people.run()
    people.warehouse_execute("DROP TABLE raw.person, raw.visit, raw.referral")
    people.tables_file.write_text(POLICY)

    refused = people.run("--all", "--from", "replica")

    assert set(failures(refused)) == {"person", "visit", "referral"}
    assert "not known to be masked as arrowetl.yml has it" in failures(refused)["person"]
    assert people.published()["warehouse"] == set()


@pytest.mark.parametrize("chosen", ["exclude: true", "columns: {LName: {mask: hash}}"])
def test_a_misspelt_masked_table_is_not_loaded_unmasked(people: Clinic, chosen: str) -> None:
    people.tables_file.write_text(f"tables: {{Person: {{overrides: {{{chosen}}}}}}}\n")

    run = people.run()

    assert failures(run) == {
        "person": "person: arrowetl.yml leaves out or masks columns of Person, which the source spells person"
    }


@pytest.mark.parametrize("choice", ["{type: text, mask: partial}", "{type: text, mask: hash}"])
def test_masks_and_requested_types_must_fit(people: Clinic, choice: str) -> None:
    column = "Birthdate" if "partial" in choice else "PatNumber"
    people.create("ALTER TABLE person ADD PatNumber bigint")
    people.tables_file.write_text(f"tables: {{person: {{overrides: {{columns: {{{column}: {choice}}}}}}}}}\n")

    run = people.run("--table", "person")

    assert "not as text; leave out its type, or nullify it" in failures(run)["person"]


def test_masked_watermarks_are_forgotten(people: Clinic) -> None:
    people.tables_file.write_text(POLICY)
    people.run()
    known = "SELECT last_primary_value, primary_column_name FROM {}etl_{}_status WHERE table_name = 'person'"
    before = people.warehouse(known.format("raw.", "load"))
    people.tables_file.write_text(
        POLICY.replace("LName: {mask: hash}\n", "LName: {mask: hash}\n        Edited: {mask: nullify}\n", 1)
    )
    people.run()
    replica = drivers.MySQL(people.sandbox.replica)
    after = [people.warehouse(known.format("raw.", "load")), replica.rows(known.format("", "copy"))]
    replica.close()

    assert before[0][1] == "Edited"
    assert after == [[(None, None)], [(None, None)]]


def test_partial_timestamps_of_1970_begin_a_second_late() -> None:
    assert masked("timestamp", "partial", [19700501120000, 19710501120000], pa.int64()) == [
        19700101000001,
        19710101000000,
    ]


def test_values_that_cannot_be_masked_are_not_shown() -> None:
    with pytest.raises(DataExtractionError) as raised:
        masked("date", "partial", ["1980-05-12"], pa.string())

    assert "1980" not in str(raised.value)
    assert raised.value.__cause__ is None


# --- what is known of OpenDental ----------------------------------------------------------------


def test_suggested_masks_fit_opendental() -> None:
    """Every column named is OpenDental's; keys are left, and what does not fit is left out."""
    tables = {name: one for name, one in opendental.tables(0.001).items() if name in phi.PERSONAL}
    known = {name: {column.name for column in one.columns} for name, one in tables.items()}
    named = {name: {n for names in wanted.values() for n in names} for name, wanted in phi.PERSONAL.items()}

    assert {name: there for name, columns in named.items() if (there := columns - known.get(name, set()))} == {}


def test_suggestions_leave_decided_columns(people: Clinic) -> None:
    """It can be put into arrowetl.yml as it is, and works."""
    people.create(
        "CREATE TABLE patient (PatNum bigint NOT NULL, LName varchar(100), FName varchar(10), "
        "SSN varchar(9), Birthdate date, Zip varchar(3), PRIMARY KEY (PatNum)) ENGINE=MyISAM;\n"
        "INSERT INTO patient VALUES (1, 'Plantedlast', 'Amy', 'planted-1', '1967-04-12', '123')"
    )
    people.tables_file.write_text("tables: {patient: {overrides: {columns: {SSN: {mask: nullify}}}}}\n")

    suggested = people.arrowetl("analyze", "--suggest-phi")
    people.tables_file.with_name("arrowetl.yml").write_text(suggested.stdout)
    run = people.run("--table", "patient")

    columns = yaml.safe_load(suggested.stdout)["tables"]["patient"]["columns"]
    assert columns == {
        "LName": {"mask": "hash"},
        "FName": {"exclude": True},
        "Birthdate": {"mask": "partial"},
        "Zip": {"exclude": True},
    }
    assert run["exit_code"] == 0
