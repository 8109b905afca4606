"""
`verify` finds every differing value, by row and column, and nothing where all is equal.

A thousand values are planted, one by one in rows of every type, at either target; each is found and repaired.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.clinic import Clinic, chosen, settle
from support.independent import differences

import arrowetl
from arrowetl import drivers
from arrowetl.model.connection import SERVERS
from arrowetl.model.verdict import Verdict
from arrowetl.state.receipt import digest as receipt_digest

ROWS = 120

# Column, MySQL type, a value of row `seq`; what a neighbour of a value is in MySQL's words, and in PostgreSQL's.
SMALL = ("IF({c} % 2, {c} - 1, {c} + 1)", '"{c}" # 1')
LETTER = ("CONCAT({c}, 'x')", """"{c}" || 'x'""")
SPACE = ("CONCAT({c}, ' ')", """"{c}" || ' '""")
CASE = ("UPPER({c})", 'upper("{c}")')
DAY = ("{c} + INTERVAL 1 DAY", """"{c}" + interval '1 day'""")
MICROSECOND = ("{c} + INTERVAL 1 MICROSECOND", """"{c}" + interval '1 microsecond'""")
SMALLEST = "0.{zeros}1"
BYTE = ("CONCAT({c}, X'00')", """"{c}" || '\\x00'::bytea""")
EVERY: tuple[tuple[str, str, str, tuple[str, str]], ...] = (
    ("ti", "tinyint(1)", "seq % 2", SMALL),
    ("tu", "tinyint unsigned", "seq + 100", SMALL),
    ("si", "smallint", "-seq", SMALL),
    ("mi", "mediumint", "seq - 8388608", SMALL),
    ("iu", "int unsigned", "4294967295 - seq", SMALL),
    ("bi", "bigint", "-9223372036854775807 + seq", SMALL),
    ("bu", "bigint unsigned", "18446744073709551615 - seq", (SMALL[0], '"{c}" - 1')),
    ("f", "float", "seq / 7", ("{c} * 1.0000002", '"{c}" * 1.0000002::real')),
    ("zero", "double", "0", ("5e-324", '-"{c}"')),
    ("d", "double", "seq / 7", ("{c} * 1.0000000000000003e0", '"{c}" * 1.0000000000000003::float8')),
    ("d12", "decimal(12,2)", "seq / 4", ("{c} + 0.01", '"{c}" + 0.01')),
    ("d65", "decimal(65,30)", "-seq", (f"{{c}} + 0.{'0' * 29}1", f'"{{c}}" + 0.{"0" * 29}1')),
    ("day", "date", "'2024-02-28'", DAY),
    ("dt", "datetime", "'2024-02-28 23:59:59'", ("{c} + INTERVAL 1 SECOND", """"{c}" + interval '1 second'""")),
    ("dt6", "datetime(6)", "'9999-12-31 00:00:00.999998'", MICROSECOND),
    ("ts6", "timestamp(6) NULL", "'2001-02-03 04:05:06.000007'", MICROSECOND),
    ("t6", "time(6)", "'-838:59:58.999998'", ("ADDTIME({c}, '00:00:00.000001')", MICROSECOND[1])),
    ("tm", "time", "'09:37:00'", ("ADDTIME({c}, '00:00:01')", """"{c}" + interval '1 second'""")),
    ("y", "year", "1999", ("{c} + 1", '"{c}" + 1')),
    ("ch", "char(9)", "CONCAT('c', seq)", LETTER),
    ("v", "varchar(40)", "CONCAT('v', seq)", SPACE),
    ("low", "varchar(40)", "'straße'", CASE),
    ("mark", "varchar(40)", "'a#b'", ("'a##b'", "'a##b'")),
    ("lat", "varchar(40) CHARACTER SET latin1", "CONCAT('Zürich ', seq)", CASE),
    ("cyr", "varchar(40) CHARACTER SET cp1251", "'Привет'", LETTER),
    ("tt", "tinytext", "'tiny'", SPACE),
    ("tx", "text", "REPEAT('long ', seq)", LETTER),
    ("mt", "mediumtext", "REPEAT('😀', 900)", SPACE),
    ("lt", "longtext", "''", LETTER),
    ("en", "enum('yes','no','No#')", "1 + seq % 2", ("3", "'No#'")),
    ("st", "set('a','b','c')", "seq % 4", ("{c} + 4", """"{c}" || ',c'""")),
    ("bin", "binary(4)", "'ab'", ("X'61620001'", """'\\x61620001'::bytea""")),
    ("vb", "varbinary(40)", "X'00ff'", BYTE),
    ("bl", "blob", "REPEAT('b', seq)", BYTE),
    ("lb", "longblob", "X''", BYTE),
    ("b1", "bit(1)", "seq % 2", ("1 - {c}", 'NOT "{c}"')),
    ("b9", "bit(9)", "seq", SMALL),
    ("b64", "bit(64)", "18446744073709551615 - seq", (SMALL[0], '"{c}" - 1')),
    ("empty", "varchar(40)", "''", ("NULL", "NULL")),
    ("none", "varchar(40)", "NULL", ("''", "''")),
    ("nought", "int", "NULL", ("0", "0")),
)
if chosen("source") == "mariadb":
    EVERY += (
        ("uu", "uuid", "'11111111-2222-3333-4444-555555555555'", ("'11111111-2222-3333-4444-555555555556'",) * 2),
        ("i4", "inet4", "'10.0.0.1'", ("'10.0.0.2'",) * 2),
        ("i6", "inet6", "'::1'", ("'::2'",) * 2),
    )
# What the replica holds and the warehouse cannot: only there can it be another one.
AT_REPLICA = (
    ("nul", "varchar(40)", "CONCAT('n', CHAR(0), 'l')", "'nl'"),
    ("zd", "date", "'0000-00-00'", "NULL"),
    ("pd", "date", "'2024-02-00'", "'2024-00-02'"),
)


def every_type() -> str:
    columns = [(name, type_, value) for name, type_, value, *_ in (*EVERY, *AT_REPLICA)]
    listed = ", ".join(f"`{name}` {type_}" for name, type_, _ in columns)
    values = ", ".join(value for _, _, value in columns)
    return (
        f"CREATE TABLE every (Num int NOT NULL, {listed}, PRIMARY KEY (Num)) ENGINE=MyISAM DEFAULT CHARSET=utf8mb4;\n"
        f"INSERT INTO every SELECT seq - 3, {values} FROM (SELECT CAST(seq AS SIGNED) AS seq FROM seq_1_to_{ROWS}) s"
    )


def planted(clinic: Clinic, at: dict[int, tuple[str, str]]) -> None:
    """Change one value of each row: row → end and column."""
    changes = {name: change for name, _, _, change in EVERY} | {name: (c, c) for name, _, _, c in AT_REPLICA}
    replica, warehouse = drivers.MySQL(clinic.sandbox.admin("replica")), drivers.Postgres(clinic.sandbox.warehouse)
    for row, (target, column) in at.items():
        by_mysql, by_postgres = changes[column]
        if target == "replica":
            assert replica.execute(f"UPDATE every SET `{column}` = {by_mysql.format(c=column)} WHERE Num = {row}") == 1
        else:
            warehouse.execute(f'UPDATE raw.every SET "{column}" = {by_postgres.format(c=column)} WHERE "Num" = {row}')
    replica.close()
    warehouse.close()


def reported(verdict: Verdict) -> set[tuple[str, str, Any, tuple[str, ...]]]:
    return {(one.target, one.kind, one.key["Num"], one.columns) for one in verdict.differing}


@pytest.fixture
def every(clinic: Clinic) -> Clinic:
    """One table with a column of each type, at all three servers."""
    clinic.tables_file.write_text("tables: {every: {batch_size: 50}}\n")
    clinic.create(every_type())
    run = clinic.run()
    assert run["exit_code"] == 0, run["tables"][0]["error"]
    return clinic


def test_a_thousand_planted_differences_are_found_and_repaired(every: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by its end, row and column, whatever the type; repaired, none is left, and none was reported but these."""
    monkeypatch.setattr("arrowetl.limits.verified_rows", 37)
    monkeypatch.setattr("arrowetl.limits.verified_group_rows", 4)
    monkeypatch.setattr("arrowetl.limits.differences_shown", 1_000)
    places = [("replica", name) for name, *_ in (*EVERY, *AT_REPLICA)] + [("warehouse", name) for name, *_ in EVERY]
    number = 0
    with arrowetl.open(every.environment, every.tables_file) as etl:
        for turn in range(9):
            at = {row - 3: places[(row + turn * ROWS) % len(places)] for row in range(1, ROWS + 1)}
            planted(every, at)
            methods = {"deep": bool(turn % 3 == 2)}
            (verdict,) = etl.verify(["every"], **methods).tables
            assert verdict.differences == ROWS
            assert reported(verdict) == {(target, "changed", row, (column,)) for row, (target, column) in at.items()}
            number += verdict.differences
            (repaired,) = etl.verify(["every"], repairs=True, **methods).tables
            assert (repaired.verdict, repaired.repaired) == ("equal", ROWS)
    assert number >= 1_000
    assert differences(every.sandbox, "every")[0] == []


@pytest.mark.parametrize("method", [[], ["--deep"]])
def test_repair_reads_only_differing_ranges(every: Clinic, monkeypatch: pytest.MonkeyPatch, method: list[str]) -> None:
    """Of 120 rows in ranges of 40, one differs: 40 are read to repair it."""
    monkeypatch.setattr("arrowetl.limits.verified_rows", 40)
    planted(every, {50: ("warehouse", "d12")})
    with arrowetl.open(every.environment, every.tables_file) as etl:
        etl.verify(["every"], deep=bool(method), repairs=True)
    (read,) = every.warehouse(
        "SELECT rows_extracted, rows_updated FROM raw.etl_table_history ORDER BY started_at DESC LIMIT 1"
    )

    assert read == (40, 1)


KEYS = {
    "an integer": "Num int NOT NULL, v varchar(20), PRIMARY KEY (Num)",
    "two columns": "Num int NOT NULL, v varchar(20) NOT NULL, PRIMARY KEY (v, Num)",
    "a text": "Num int NOT NULL, v varchar(20) NOT NULL, PRIMARY KEY (v)",
    "none": "Num int NOT NULL, v varchar(20)",
}


@pytest.mark.parametrize("method", [[], ["--deep"]], ids=["by checksums", "deep"])
@pytest.mark.parametrize("key", KEYS)
def test_missing_and_extra_rows_are_found(clinic: Clinic, key: str, method: list[str]) -> None:
    """Are reported by their key, where there is one; of a table without, each copy counts."""
    clinic.create(f"CREATE TABLE t ({KEYS[key]});\nINSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')")
    assert clinic.run()["exit_code"] == 0
    clinic.create("DELETE FROM t WHERE Num = 2", "replica")
    clinic.warehouse_execute("""INSERT INTO raw.t ("Num", v) VALUES (4, 'four')""")
    if key == "none":
        clinic.warehouse_execute("""INSERT INTO raw.t ("Num", v) VALUES (1, 'one')""")
    found = clinic.arrowetl("verify", "--all", "--json", *method)
    (table,) = json.loads(found.stdout)["tables"]

    assert found.returncode == 5
    assert (table["rows_source"], table["rows_replica"], table["rows_warehouse"]) == (3, 2, 5 if key == "none" else 4)
    kinds = {"replica": ["missing"], "warehouse": ["extra", "extra"] if key == "none" else ["extra"]}
    assert {target: [d["kind"] for d in table["differing"] if d["end"] == target] for target in kinds} == kinds
    assert {tuple(d["key"]) for d in table["differing"]} == {
        {"an integer": ("Num",), "two columns": ("v", "Num"), "a text": ("v",), "none": ()}[key]
    }
    assert "four" not in found.stdout, "a text is shown as its digest"
    repaired = clinic.arrowetl("verify", "--all", "--repair", "--json")
    (mended,) = json.loads(repaired.stdout)["tables"]
    assert (repaired.returncode, mended["repaired"]) == (0, table["differences"])
    assert [row["kind"] for row in mended["repaired_rows"]] == [row["kind"] for row in table["differing"]]
    assert differences(clinic.sandbox, "t")[0] == []


def test_values_are_shown_only_on_request(clinic: Clinic) -> None:
    """Else their digests, which are others each time: a name cannot be looked up in a list of names."""
    clinic.create("CREATE TABLE p (Num int PRIMARY KEY, LName varchar(20));\nINSERT INTO p VALUES (1, 'Verne')")
    clinic.run()
    clinic.warehouse_execute("UPDATE raw.p SET \"LName\" = 'Poe'")
    silent, again = (clinic.arrowetl("verify", "--all", "--json").stdout for _ in range(2))
    shown = clinic.arrowetl("verify", "--all", "--show-values").stdout

    digests = [json.loads(said)["tables"][0]["differing"][0]["digests"]["LName"] for said in (silent, again)]
    assert len({digest for pair in digests for digest in pair.values()}) == 4
    assert "Verne" not in silent and "Poe" not in silent
    assert "Verne" in shown and "Poe" in shown


@pytest.mark.parametrize(
    ("change", "server", "words"),
    [
        ("ALTER TABLE t ADD w int", "source", "the replica lacks w; the warehouse lacks w"),
        ("DROP TABLE t", "replica", "missing at the replica"),
    ],
)
def test_altered_and_missing_tables_are_reported(clinic: Clinic, change: str, server: str, words: str) -> None:
    """Altered at the source since, or deleted from a target: that is reported, and what to do; --repair does it."""
    clinic.create("CREATE TABLE t (Num int PRIMARY KEY);\nINSERT INTO t VALUES (1), (2)")
    clinic.run()
    clinic.create(change, server)
    found = clinic.arrowetl("verify", "--all")
    repaired = clinic.arrowetl("verify", "--all", "--repair")

    assert found.returncode == 5
    assert f"t: {words} (arrowetl run --table t)" in found.stdout
    assert (repaired.returncode, differences(clinic.sandbox, "t")[0]) == (0, [])


def test_json_is_compared_by_meaning(clinic: Clinic) -> None:
    """Of other spelling they are equal; of other content not: no checksum shows that, so they are read."""
    clinic.tables_file.write_text("tables: {j: {overrides: {columns: {Doc: {type: jsonb}}}}}\n")
    clinic.create(
        "CREATE TABLE j (Num int PRIMARY KEY, Doc longtext);\n"
        """INSERT INTO j VALUES (1, '{"b": 1.10, "a": [1e2, null]}'), (2, '"x"'), (3, '1')"""
    )
    assert clinic.run()["exit_code"] == 0
    equal = clinic.arrowetl("verify", "--all")
    clinic.warehouse_execute("""UPDATE raw.j SET "Doc" = '"1"' WHERE "Num" = 3""")
    found = json.loads(clinic.arrowetl("verify", "--all", "--json").stdout)["tables"][0]

    assert equal.returncode == 0
    assert [(d["end"], d["key"], d["columns"]) for d in found["differing"]] == [("warehouse", {"Num": 3}, ["Doc"])]


UPDATED = (
    "CREATE TABLE s (Num int NOT NULL AUTO_INCREMENT, v varchar(20), DateTStamp timestamp NOT NULL "
    "DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (Num), KEY (DateTStamp)) ENGINE=MyISAM;\n"
    "INSERT INTO s SELECT seq, CONCAT('v', seq), NOW() - INTERVAL 2 DAY - INTERVAL 1000 - seq HOUR FROM "
    "seq_1_to_1000"
)
INCREMENTAL = """
tables:
  s: {extraction_strategy: incremental, primary_incremental_column: DateTStamp}
"""


def test_changed_reads_only_changed_ranges(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for `--changed`: nothing of an unchanged table, the range of an edit, and that of a deleted row."""
    monkeypatch.setattr("arrowetl.limits.verified_rows", 100)
    clinic.tables_file.write_text(INCREMENTAL)
    clinic.create(UPDATED)
    clinic.create("CREATE TABLE still (Num int PRIMARY KEY) ENGINE=MyISAM;\nINSERT INTO still VALUES (1), (2)")
    settle()

    def day(*changes: str) -> dict[str, Verdict]:
        for change in changes:
            clinic.create(change)
        with arrowetl.open(clinic.environment, clinic.tables_file) as etl:
            assert etl.run(all=True).exit_code == 0
            return {verdict.table: verdict for verdict in etl.verify(changed=True).tables}

    first, quiet = day(), day()
    edited = day("UPDATE s SET v = 'new' WHERE Num = 250")
    deleted = day("DELETE FROM s WHERE Num = 555")

    assert {one.verdict for found in (first, quiet, edited, deleted) for one in found.values()} == {"equal"}
    # The last range has the highest timestamps of the run before, and those of two hours less.
    assert [found["s"].rows_read for found in (first, quiet, edited)] == [3_000, 0, 300 + 300]
    # The edit of the run before lies within what is looked at twice.
    assert deleted["s"].rows_read == 300 + 297
    assert [found["still"].rows_read for found in (first, quiet, edited)] == [6, 0, 0]
    assert [found["s"].rows for found in (edited, deleted)] == [
        dict.fromkeys(SERVERS, 1_000),
        dict.fromkeys(SERVERS, 999),
    ]
    with arrowetl.open(clinic.environment, clinic.tables_file) as etl:
        (whole,) = etl.verify(["s"]).tables
    assert whole.sums == deleted["s"].sums, "what is remembered adds up to what is there"


def test_runs_and_verifications_keep_chained_receipts(clinic: Clinic) -> None:
    """Each receipt has a digest of itself and of the one before; what was verified is signed for until it changes."""
    clinic.create("CREATE TABLE t (Num int PRIMARY KEY, D date);\nINSERT INTO t VALUES (1, '0000-00-00'), (2, NULL)")
    clinic.run()
    clinic.arrowetl("verify", "--all")
    clinic.run()
    kept = clinic.warehouse("SELECT receipt::text, digest FROM raw.etl_receipts ORDER BY written_at")
    receipts = [json.loads(text) for text, _ in kept]

    assert [said["kind"] for said in receipts] == ["run", "verification", "run"]
    assert [receipt_digest(said) for said in receipts] == [digest for _, digest in kept]
    assert [said["previous"] for said in receipts] == [None, *(digest for _, digest in kept[:-1])]
    assert all(said["signed_off"] for said in receipts)
    first, verified, second = (said["tables"][0] for said in receipts)
    assert (first["rows"], first["checksums"]) == (dict.fromkeys(SERVERS, 2), None)
    assert [(one["column"], one["count"]) for one in first["coercions"]] == [("D", 1)]
    assert verified["checksums"]["source"]["stored"] == verified["checksums"]["replica"]["stored"] is not None
    assert verified["checksums"]["replica"]["canonical"] == verified["checksums"]["warehouse"]["canonical"] is not None
    assert (second["status"], second["checksums"]) == ("skipped", verified["checksums"])
    assert receipts[0]["versions"].keys() >= {"arrowetl", "python", "source", "replica", "warehouse"}


def test_differing_tables_lose_their_trust(clinic: Clinic) -> None:
    """`--changed` trusts nothing of a table that the last verification found to differ, or that lost rows since."""
    clinic.create(
        "CREATE TABLE t (Num int PRIMARY KEY, v varchar(9)) ENGINE=MyISAM;\nINSERT INTO t VALUES (1, 'a'), (2, 'b')"
    )
    settle()
    clinic.run()

    def verified(*options: str) -> int:
        return clinic.arrowetl("verify", "--all", *options).returncode

    assert (verified(), verified("--changed")) == (0, 0)
    clinic.warehouse_execute("UPDATE raw.t SET v = 'x' WHERE \"Num\" = 1")
    assert (verified("--changed"), verified(), verified("--changed")) == (0, 5, 5)
    assert verified("--repair") == 0
    clinic.warehouse_execute("TRUNCATE raw.t")
    assert verified("--changed") == 5


def test_trusted_results_keep_their_age(clinic: Clinic) -> None:
    """However often it is trusted: its age is that of the reading."""
    clinic.create("CREATE TABLE t (Num int PRIMARY KEY) ENGINE=MyISAM;\nINSERT INTO t VALUES (1)")
    settle()
    clinic.run()
    clinic.arrowetl("verify", "--all")
    (first,) = clinic.warehouse("SELECT verified_at FROM raw.etl_verified")
    clinic.arrowetl("verify", "--all", "--changed")

    assert clinic.warehouse("SELECT verified_at FROM raw.etl_verified") == [first]


def test_a_table_never_loaded_differs(clinic: Clinic) -> None:
    """Differs, and does not keep the others from being compared."""
    clinic.create("CREATE TABLE t (Num int PRIMARY KEY);\nINSERT INTO t VALUES (1)")
    clinic.run()
    clinic.create("CREATE TABLE u (Num int PRIMARY KEY);\nINSERT INTO u VALUES (1)")
    found = json.loads(clinic.arrowetl("verify", "--all", "--json").stdout)

    assert {table["table"]: table["verdict"] for table in found["tables"]} == {"t": "equal", "u": "differs"}
    assert found["receipt"]


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ("[12345678901234567890123456789012]", "[12345678901234567890123456789099]", "differs"),
        ("[1e2, -0.0]", "[100, 0]", "equal"),
        ('["1"]', "[1]", "differs"),
    ],
)
def test_json_numbers_are_compared_exactly(clinic: Clinic, ours: str, theirs: str, verdict: str) -> None:
    clinic.tables_file.write_text("tables: {j: {overrides: {columns: {Doc: {type: jsonb}}}}}\n")
    clinic.create(f"CREATE TABLE j (Num int PRIMARY KEY, Doc longtext);\nINSERT INTO j VALUES (1, '{ours}')")
    assert clinic.run()["exit_code"] == 0
    clinic.warehouse_execute(f"UPDATE raw.j SET \"Doc\" = '{theirs}'")

    assert json.loads(clinic.arrowetl("verify", "--all", "--json").stdout)["tables"][0]["verdict"] == verdict


def test_altered_and_missing_receipts_are_found(clinic: Clinic) -> None:
    """The next verification shows which."""
    clinic.create("CREATE TABLE t (Num int PRIMARY KEY);\nINSERT INTO t VALUES (1)")
    runs = [clinic.run()["run_id"] for _ in range(3)]
    sound = json.loads(clinic.arrowetl("verify", "--all", "--json").stdout)
    clinic.warehouse_execute(f"DELETE FROM raw.etl_receipts WHERE run_id = '{runs[1]}'")
    deleted = json.loads(clinic.arrowetl("verify", "--all", "--json").stdout)
    clinic.warehouse_execute(
        "UPDATE raw.etl_receipts SET receipt = jsonb_set(receipt, '{signed_off}', 'false') "
        f"WHERE run_id = '{runs[0]}'"
    )
    altered = json.loads(clinic.arrowetl("verify", "--all", "--json").stdout)

    assert sound["warnings"] == []
    assert [f"receipt {runs[2]} was altered since it was written, or the one before it is missing"] == deleted[
        "warnings"
    ]
    assert [f"receipt {runs[0]} was altered since it was written, or the one before it is missing"] == altered[
        "warnings"
    ]
