"""
How each table is to be treated, and why: a table of what is expected, made by nobody but a person who read the schema.
"""

from __future__ import annotations

import json
import re

import pytest
import yaml
from support.catalog_values import column, table
from support.clinic import Clinic

from arrowetl.analyze import load_strategy
from arrowetl.model.plan import Index, Table
from arrowetl.source.sample_sql import ColumnSample, Sample, probe, probed

TIMESTAMP = column("DateTStamp", "timestamp", extra="on update current_timestamp()")
EDIT = column("SecDateTEdit", "timestamp", extra="DEFAULT_GENERATED on update CURRENT_TIMESTAMP")
APPOINTED = column("AptDateTime", "datetime")
ENTERED = column("SecDateTEntry", "datetime")
KEY = column("Num", "bigint(20)")
BY_EDIT = Index("edited", (("SecDateTEdit", None),), False)


def visits(*columns: object, **more: object) -> Table:
    return table("visit", KEY, *columns, **{"key": ("Num",), "rows": 10, **more})  # type: ignore[arg-type]


NO_TIMESTAMP = "no column shows every change: AptDateTime, SecDateTEntry are not updated by the server"
LOOKED_FOR = "the server updates DateTStamp at every change; it is not indexed, so each run scans the table"


@pytest.mark.parametrize(
    ("of", "category", "strategy", "columns", "reason"),
    [
        (visits(TIMESTAMP), "tiny", "incremental", ("DateTStamp",), LOOKED_FOR),
        (visits(TIMESTAMP), "large", "incremental_chunked", ("DateTStamp",), LOOKED_FOR),
        (visits(TIMESTAMP, EDIT, indexes=(BY_EDIT,)), "medium", "incremental", ("SecDateTEdit", "DateTStamp"),
         "the server updates SecDateTEdit at every change, which is indexed"),
        (visits(APPOINTED, ENTERED), "large", "full_table", (), NO_TIMESTAMP),
        (visits(), "medium", "full_table", (), "no column shows every change: it has none with a time"),
        (visits(TIMESTAMP, key=()), "large", "full_table", ("DateTStamp",),
         "no primary key, by which a changed row would be known"),
        (visits(TIMESTAMP, key=("Num", "DateTStamp")), "small", "full_table", ("DateTStamp",),
         "its primary key is not one integer, by which changed rows are merged"),
        (table("visit", column("Code", "varchar(9)"), TIMESTAMP, key=("Code",)), "small", "full_table", ("DateTStamp",),
         "its primary key is not one integer, by which changed rows are merged"),
    ],
)  # fmt: skip
def test_a_table_is_incremental_only_if_the_server_updates_a_column_at_every_change(
    of: Table, category: str, strategy: str, columns: tuple[str, ...], reason: str
) -> None:
    found = load_strategy.strategy(of, category, load_strategy.candidates(of, frozenset(), None))

    assert (found.name, found.columns, found.reason) == (strategy, columns, reason)


def test_excluded_and_masked_columns_are_not_sampled() -> None:
    of = visits(TIMESTAMP, APPOINTED, column("SSN", "varchar(9)"))
    left_out = frozenset({"AptDateTime", "SSN"})

    asked = probe("clinic", of, left_out)

    assert [one.column for one in load_strategy.candidates(of, left_out, None)] == ["DateTStamp"]
    assert "DateTStamp" in asked
    assert [name for name in left_out if name in asked] == []


@pytest.mark.parametrize(
    ("type_", "row_bytes", "rows"),
    [("varchar(9)", 100, 500), ("text", 100, 100), ("longtext", 100, 10), ("varchar(9)", 1_000_000, 2)],
)
def test_sampling_reads_a_bounded_number_of_rows(type_: str, row_bytes: int, rows: int) -> None:
    """At either end of the key: fewer rows where one of them may be of a megabyte, whatever the average says."""
    asked = probe("clinic", visits(column("Note", type_), row_bytes=row_bytes, rows=10_000))

    assert re.findall(r"LIMIT (\d+)", asked) == [str(rows)] * 2


@pytest.mark.parametrize(
    ("answer", "sample"),
    [
        ("- 4 1 4 90 0 0 0 4 10 10 30 30 30", ColumnSample("AptDateTime", 0.0, 0.0, 0.0, 1.0)),
        ("- 4 1 4 90 1 2 1 1 10 10 30 30 30", ColumnSample("AptDateTime", 0.25, 0.5, 0.25, None)),
        ("- 4 1 4 90 0 0 0 4 10 10 20 30 30", ColumnSample("AptDateTime", 0.0, 0.0, 0.0, -1.0)),
        ("7 0 - - 0 - - - 0 - - - - -", ColumnSample("AptDateTime", 0.0, 0.0, 0.0, None)),
    ],
)
def test_sample_answers_give_shares_and_order(answer: str, sample: ColumnSample) -> None:
    """Shares of the sample; and whether the times follow the key."""
    assert probed(visits(APPOINTED), frozenset(), answer).columns == (sample,)


@pytest.mark.parametrize(
    ("lowest", "highest", "rows", "words"),
    [(1, 10, 10, "dense"), (1, 100, 10, "with gaps: 10% of its span"), (-(2**62), 2**62, 10, "random"),
     (None, None, 10, "not looked at")],
)  # fmt: skip
def test_key_distribution_is_described(lowest: int | None, highest: int | None, rows: int, words: str) -> None:
    assert load_strategy.key_words(visits(rows=rows), Sample(None, 10, lowest, highest, 0, ())) == words


# --- on a real server ---------------------------------------------------------------------------

TABLES = """
CREATE TABLE updated (Num bigint NOT NULL, DateTStamp timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP
  ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (Num), KEY (DateTStamp)) ENGINE=MyISAM;
CREATE TABLE unindexed (Num bigint NOT NULL, DateTStamp timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP
  ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (Num)) ENGINE=MyISAM;
CREATE TABLE unset (Num bigint NOT NULL, DateTStamp timestamp NOT NULL DEFAULT '0000-00-00'
  ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (Num)) ENGINE=MyISAM;
CREATE TABLE randomly (Num bigint NOT NULL, DateTStamp timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP
  ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (Num)) ENGINE=MyISAM;
CREATE TABLE keyless (Num bigint NOT NULL, DateTStamp timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP
  ON UPDATE CURRENT_TIMESTAMP) ENGINE=MyISAM;
CREATE TABLE appointment (Num bigint NOT NULL, AptDateTime datetime, Entered datetime, PRIMARY KEY (Num)) ENGINE=MyISAM;
CREATE TABLE inno (Num bigint NOT NULL, Note longtext, PRIMARY KEY (Num)) ENGINE=InnoDB;
CREATE TABLE untouched (Num bigint NOT NULL, DateTStamp timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP
  ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (Num)) ENGINE=MyISAM;
INSERT INTO updated (Num) VALUES (1), (2), (3);
INSERT INTO unindexed (Num) VALUES (1), (20), (300);
INSERT INTO unset VALUES (1, '0000-00-00'), (2, '2020-01-01');
INSERT INTO randomly (Num) VALUES (-5000000000000000000), (7), (6000000000000000000);
INSERT INTO keyless (Num) VALUES (1), (1);
INSERT INTO appointment VALUES (1, '2020-01-01', '2020-01-01'), (2, '0001-01-01', '2020-01-02'),
  (3, '2099-01-01', '2020-01-03');
INSERT INTO inno VALUES (1, REPEAT('x', 5000)), (2, NULL), (3, '')
"""
BY_TIMESTAMP = "the server updates DateTStamp at every change"
WITHOUT_INDEX = "; it is not indexed, so each run scans the table"
EXPECTED = {
    "updated": ("incremental", f"{BY_TIMESTAMP}, which is indexed", "dense"),
    "unindexed": ("incremental", f"{BY_TIMESTAMP}{WITHOUT_INDEX}", "with gaps: 1% of its span"),
    "unset": ("incremental", f"{BY_TIMESTAMP}{WITHOUT_INDEX}; rows without a value are found by checksums", "dense"),
    "randomly": ("incremental", f"{BY_TIMESTAMP}{WITHOUT_INDEX}", "random"),
    "keyless": ("full_table", "no primary key, by which a changed row would be known", "none"),
    "appointment": (
        "full_table",
        "no column shows every change: AptDateTime, Entered are not updated by the server",
        "dense",
    ),
    "inno": ("full_table", "no column shows every change: it has none with a time", "dense"),
    "untouched": ("incremental", f"{BY_TIMESTAMP}{WITHOUT_INDEX}", "not looked at"),
}


def test_each_kind_of_table_gets_its_strategy_and_reason(clinic: Clinic) -> None:
    """In tables.yml; and next to the changelogs all that was found, column by column."""
    clinic.create(TABLES)

    assert clinic.arrowetl("analyze").returncode == 0

    tables = yaml.safe_load(clinic.tables_file.read_text())["tables"]
    path = clinic.directory / "logs/schema_analysis/reports/schema_analysis.json"
    analysis = json.loads(path.read_text())
    found = {
        name: (entry["extraction_strategy"], entry["strategy_reason"], analysis[name]["keys_lie"])
        for name, entry in tables.items()
    }
    assert found == EXPECTED
    appointed, entered = analysis["appointment"]["candidates"]
    assert (appointed["future"], appointed["unset"]) == (0.333, 0.333)
    assert appointed["verdict"] == "no watermark: it holds times in the future"
    assert (entered["future"], entered["follows_key"]) == (0.0, True)
    assert (analysis["inno"]["rows"], analysis["inno"]["rows_are"]) == (3, "exact")
    assert analysis["inno"]["widest_sampled_bytes"] == 5000
    assert tables["inno"]["estimated_rows"] == 3


def test_unreadable_tables_are_listed_all_the_same(clinic: Clinic) -> None:
    """Its neighbours in the same question are looked at all the same."""
    clinic.create(TABLES)
    (index,) = clinic.sandbox.directory.rglob("unindexed.MYI")
    clinic.create("FLUSH TABLES")
    index.write_bytes(b"no index")

    assert clinic.arrowetl("analyze").returncode == 0

    path = clinic.directory / "logs/schema_analysis/reports/schema_analysis.json"
    analysis = json.loads(path.read_text())
    assert (analysis["updated"]["keys_lie"], analysis["unindexed"]["keys_lie"]) == ("dense", "none")
