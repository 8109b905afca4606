"""
Rows that wait on disk for the warehouse while the replica builds a table's indexes: all arrive, and none stay there.
"""

from __future__ import annotations

import signal
from contextlib import closing
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from support.clinic import Clinic
from support.independent import differences

from arrowetl import drivers, limits, sql
from arrowetl.model.connection import TableSettings
from arrowetl.planning.table_plan import table_plan as plan_of
from arrowetl.replica import spill
from arrowetl.replica.loader import Replica
from arrowetl.replica.spill import spilled as spilled_to
from arrowetl.source.reader import Source
from arrowetl.state.ledger import Ledger

ROWS = 20_000


@pytest.fixture
def indexed(clinic: Clinic) -> Clinic:
    """A table of ten partitions and two indexes, with a zero date, a NUL and a NULL among its values."""
    clinic.tables_file.write_text("tables: {indexed: {overrides: {batch_size: 2000}}}")
    clinic.create(
        "CREATE TABLE indexed (Num bigint NOT NULL, D date NULL, T text, N int, PRIMARY KEY (Num), KEY (D), KEY (N)) "
        "ENGINE=MyISAM;\n"
        f"INSERT INTO indexed SELECT seq * 3, '2024-01-01', CONCAT('x', seq), seq FROM seq_1_to_{ROWS};\n"
        "UPDATE indexed SET D = '0000-00-00', T = 'a\0b' WHERE Num = 3;\n"
        "UPDATE indexed SET D = NULL, T = 'tab\there', N = NULL WHERE Num = 6"
    )
    return clinic


def spilled(clinic: Clinic) -> list[Path]:
    return [path for path in Path(clinic.environment["ARROWETL_SPILL_DIR"]).rglob("*") if path.is_file()]


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_deferred_rows_all_arrive(indexed: Clinic, executor: str) -> None:
    """With what was coerced counted once, and partitions too; an index at the replica, nothing on disk."""
    table = indexed.run("--all", "--executor", executor)["tables"][0]

    assert (table["status"], table["partitions"]) == ("succeeded", 10)
    assert (table["rows_extracted"], table["rows_replica"], table["rows_warehouse"]) == (ROWS, ROWS, ROWS)
    assert table["coerced"] == {"D": 1, "T": 1}
    assert differences(indexed.sandbox, "indexed") == ([], {"D": 1, "T": 1})
    assert (spilled(indexed), indexed.leftovers()) == ([], [])


def test_a_deferred_value_that_cannot_be_stored_publishes_nothing(indexed: Clinic) -> None:
    """Found only when the replica has all rows: nothing is published, nothing stays on disk."""
    indexed.tables_file.write_text(
        "tables: {indexed: {overrides: {batch_size: 2000, columns: {T: {type: varchar(3)}}}}}"
    )
    run = indexed.run("--all")

    assert run["exit_code"] == 1
    assert "indexed.T" in run["tables"][0]["error"]["message"]
    assert (spilled(indexed), indexed.leftovers()) == ([], [])


def test_a_killed_run_with_deferred_rows_is_repeated_completely(indexed: Clinic) -> None:
    """The next run finds what was left, sweeps it up, and loads all."""
    process = indexed.start("run", "--all", "--max-workers", "1")
    while process.poll() is None and not [path for path in spilled(indexed) if path.suffix == ".arrow"]:
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    table = indexed.run("--all")["tables"][0]

    assert table["status"] == "succeeded"
    assert differences(indexed.sandbox, "indexed") == ([], {"D": 1, "T": 1})
    assert (spilled(indexed), indexed.leftovers()) == ([], [])


def test_indexes_built_by_a_stopped_run_are_kept(indexed: Clinic) -> None:
    """Those that are missing are added, whichever they are; the same ALTER again would fail the table."""
    source = Source(indexed.sandbox.source)
    plan = plan_of(source.catalog()["indexed"], TableSettings({"batch_size": 2000}), None)
    replica = Replica(indexed.sandbox.replica, indexed.directory, partial(spilled_to, indexed.directory))
    with closing(Ledger(indexed.sandbox.replica, indexed.sandbox.warehouse)) as ledger:
        ledger.open()
    replica.open()
    replica.prepare(plan)
    session = drivers.MySQL(indexed.sandbox.replica)
    staging = sql.staging_name("indexed", plan.run)
    session.execute(f"ALTER TABLE {staging} ADD INDEX D (D)")
    replica.build_indexes(plan)
    replica.build_indexes(plan)
    found = {row[2] for row in session.rows(f"SHOW INDEX FROM {staging}")}
    session.close()
    replica.close()
    source.close()

    assert found == {"PRIMARY", "D", "N"}


def test_deferred_rows_stay_within_their_disk_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all tables of a run together, by the bytes that lie there."""
    monkeypatch.setattr(limits, "deferred_bytes_max", 10_000)
    rows = pa.table({"a": pa.array(range(1000), pa.int64())})

    assert spill.has_disk_space(tmp_path, rows.nbytes)
    spill.keep(tmp_path, "one", rows)
    assert not spill.has_disk_space(tmp_path, rows.nbytes)
    spill.drop(tmp_path, "one")
    assert spill.has_disk_space(tmp_path, rows.nbytes)
