"""
`arrowetl bench` on real servers: it shows something of any table, leaves nothing, and touches nothing.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from support.clinic import Clinic, settle

from arrowetl import bench, limits
from arrowetl.bench import Trial, Trials
from arrowetl.planning.pacing import Pace

ROWS = 30_000
TABLES = f"""
CREATE TABLE large (Num bigint NOT NULL, Note varchar(200), K int, PRIMARY KEY (Num), KEY (K)) ENGINE=MyISAM;
INSERT INTO large SELECT seq, REPEAT('x', 150), seq % 7 FROM seq_1_to_{ROWS};
CREATE TABLE small (Num bigint NOT NULL, PRIMARY KEY (Num)) ENGINE=MyISAM;
INSERT INTO small VALUES (1), (2);
CREATE TABLE empty (Num bigint NOT NULL, PRIMARY KEY (Num)) ENGINE=MyISAM;
CREATE TABLE texts (Code varchar(20) NOT NULL, PRIMARY KEY (Code)) ENGINE=MyISAM;
INSERT INTO texts VALUES ('a')
"""


@pytest.fixture
def tables(clinic: Clinic) -> Clinic:
    clinic.create(TABLES)
    return clinic


def benched(clinic: Clinic, table: str, *options: str) -> dict[str, Any]:
    done = clinic.arrowetl("bench", table, "--json", *options)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("default", "other", "recommended"),
    [
        ([100, 100, 100], [104, 104, 104], 104),
        ([100, 100, 100], [102, 102, 102], 100),
        ([100, 50, 110], [90, 53, 115], 100),
        ([100, 100, 60], [90, 104, 100], 100),
    ],
)
def test_recommendations_win_by_pairs_and_medians(
    monkeypatch: pytest.MonkeyPatch, default: list[int], other: list[int], recommended: int
) -> None:
    """By 3% at least in the median of the pairs, and no worse than the default by itself."""
    rates = {Pace(1, 1): iter(default), Pace(2, 1): iter(other)}

    def trial(self: Trials, pace: Pace) -> Trial:
        return Trial(1, pace.partition_bytes, 1, next(rates[pace]), 0, 1.0, {"extract": 1.0})

    monkeypatch.setattr(Trials, "trial", trial)
    at = Trials.__new__(Trials)
    at.deadline = float("inf")

    _, best = at.compared(Pace(1, 1), Pace(2, 1), trial)  # type: ignore[arg-type]

    assert best.rows_per_second == recommended


@pytest.mark.parametrize("to", ["both", "warehouse", "replica"])
def test_a_large_table_tries_sizes_and_workers(tables: Clinic, to: str) -> None:
    """Sizes and workers are tried, each phase is timed, and nothing is left or published."""
    # 6 seconds are enough on a quiet machine; on a busy one the same is tried in 24.
    for seconds in ("6", "24"):
        found = benched(tables, "large", "--seconds", seconds, "--to", to)
        if len({one["workers"] for one in found["trials"]}) > 1:
            break
    phases = {
        "extract",
        *(["spill", "load"] if to != "warehouse" else []),
        *(["coerce", "ingest"] if to != "replica" else []),
    }

    assert len({one["partition_bytes"] for one in found["trials"]}) >= 3
    assert len({one["workers"] for one in found["trials"]}) >= 2
    assert all(set(one["phases"]) == phases and one["rows_per_second"] > 0 for one in found["trials"])
    assert found["recommended"]["rows_per_second"] >= found["default"]["rows_per_second"]
    assert (found["index_seconds"] > 0) == (to != "warehouse")
    assert tables.leftovers() == []
    assert tables.published() == {"replica": set(), "warehouse": set()}


@pytest.mark.parametrize(("table", "reported"), [("small", "one partition holds it all"), ("texts", "no integer")])
def test_a_small_table_has_nothing_to_choose(tables: Clinic, table: str, reported: str) -> None:
    """What people will type first: it is quick, and says why there is nothing to choose."""
    done = tables.arrowetl("bench", table)

    assert done.returncode == 0, done.stderr
    assert reported in done.stdout
    assert "extract" in done.stdout


def test_an_empty_table_is_no_error(tables: Clinic) -> None:
    """There is nothing to be fast with, and that is no error."""
    assert benched(tables, "empty")["rows"] == 0


def test_bench_leaves_published_tables_untouched(tables: Clinic) -> None:
    """With their rows and records, whatever is tried next to them."""
    settle()
    assert tables.run()["exit_code"] == 0
    before = tables.warehouse("SELECT count(*), 'raw.large'::regclass::oid FROM raw.large")
    benched(tables, "large", "--seconds", "2")

    assert tables.warehouse("SELECT count(*), 'raw.large'::regclass::oid FROM raw.large") == before
    assert [table["mode"] for table in tables.run()["tables"]] == ["skipped"] * 4


def test_an_unknown_table_exits_2_with_the_nearest_name(tables: Clinic) -> None:
    """Exit 2, with the nearest name."""
    done = tables.arrowetl("bench", "larg")

    assert done.returncode == 2
    assert "did you mean large?" in done.stderr


def test_save_writes_what_is_better_as_an_override(tables: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--save` writes what differs from the default, and the next plan follows it."""
    import arrowetl

    default, best = (
        Trial(w, size, 9, ROWS, 1, 1.0, {"extract": s}) for w, size, s in ((2, 6, 2.0), (1, 8 * 2**20, 1.0))
    )
    found = bench.Benched("large", "both", ROWS, (default, best), default, best, 0.0, ())
    monkeypatch.setattr("arrowetl.bench.bench", lambda *_: found)
    with arrowetl.open(tables.environment, tables.tables_file) as etl:
        etl.bench("large", save=True)
    kept = yaml.safe_load(tables.tables_file.with_name("arrowetl.yml").read_text())["tables"]["large"]

    assert kept == {"partition_bytes": 8 * 2**20, "workers": 1}
    assert tables.run()["exit_code"] == 0


def test_the_learned_pace_begins_the_next_run(tables: Clinic) -> None:
    """The pace is recorded with the run, for the way it went; a smaller table is then split as the larger one was."""
    tables.tables_file.write_text("tables: {large: {batch_size: 2000}}\n")
    assert tables.run()["exit_code"] == 0
    (way, size, count), *_ = tables.warehouse(
        "SELECT way::text, (pace->>'partition_bytes')::int, (pace->>'at_a_time')::int FROM raw.etl_run_history"
    )

    assert way == "source to both"
    assert limits.partition_bytes_min <= size <= limits.partition_bytes_max
    assert count >= 1
    tables.warehouse_execute(
        "UPDATE raw.etl_run_history SET pace = jsonb_build_object('partition_bytes', 1048576, 'at_a_time', 1)"
    )
    tables.tables_file.write_text("tables: {}\n")
    tables.warehouse_execute("DROP TABLE raw.large")
    tables.create("DROP TABLE large", "replica")
    again = {table["table"]: table for table in tables.run()["tables"]}

    assert again["large"]["partitions"] > 1
