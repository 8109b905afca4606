"""
A run that is stopped in the middle of a large table: what is whole in staging is not read again, if it still holds.
"""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
from support.clinic import Clinic
from support.independent import differences

from arrowetl import drivers

ROWS, PARTITIONS = 60_000, 30


@pytest.fixture
def large(clinic: Clinic) -> Clinic:
    """A table of thirty partitions, with a zero date in the first of them."""
    clinic.tables_file.write_text("tables: {large: {overrides: {batch_size: 2000}}}")
    clinic.create(
        "CREATE TABLE large (Num bigint NOT NULL, D date NOT NULL, T text, PRIMARY KEY (Num)) ENGINE=MyISAM;\n"
        f"INSERT INTO large SELECT seq * 3, '2024-01-01', REPEAT('x', 300) FROM seq_1_to_{ROWS};\n"
        "UPDATE large SET D = '0000-00-00' WHERE Num = 3"
    )
    return clinic


def stopped_in_the_middle(clinic: Clinic, how: signal.Signals) -> list[tuple[Any, ...]]:
    """A run that has some partitions at both targets when it is stopped; lower keys of those."""
    process = clinic.start("run", "--all", "--max-workers", "1")
    there = "SELECT lower_key FROM raw.etl_partition_status ORDER BY lower_key::bigint NULLS FIRST"
    deadline = time.monotonic() + 60
    done: list[tuple[Any, ...]] = []
    while len(done) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
        if clinic.warehouse("SELECT to_regclass('raw.etl_partition_status')::text")[0][0]:
            done = clinic.warehouse(there)
    process.send_signal(how)
    process.communicate(timeout=60)
    return clinic.warehouse(there)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_complete_partitions_are_not_read_again(large: Clinic, how: signal.Signals) -> None:
    """Killed or asked to stop: the next run reads the rest, counts what was coerced, and leaves nothing behind."""
    done = stopped_in_the_middle(large, how)
    assert 4 <= len(done) < PARTITIONS
    run = large.run()
    table = run["tables"][0]

    assert run["exit_code"] == 0, table["error"]
    assert table["rows_extracted"] <= ROWS - 2000 * (len(done) - 1)
    assert (table["rows_replica"], table["rows_warehouse"]) == (ROWS, ROWS)
    assert table["coerced"] == {"D": 1}
    assert differences(large.sandbox, "large") == ([], {"D": 1})
    assert large.leftovers() == []
    assert large.warehouse("SELECT count(*) FROM raw.etl_partition_status") == [(0,)]


def test_changed_partitions_are_read_again(large: Clinic) -> None:
    """An edit, a delete and a new row among the partitions that are whole; and one beyond them."""
    done = stopped_in_the_middle(large, signal.SIGKILL)
    large.create(
        "UPDATE large SET T = 'edited' WHERE Num = 6;\nDELETE FROM large WHERE Num = 7002;\n"
        "INSERT INTO large VALUES (13001, '2024-01-01', 'new'), (999999, '2024-01-01', 'above')"
    )
    run = large.run()
    table = run["tables"][0]

    assert run["exit_code"] == 0, table["error"]
    assert ROWS - 2000 * len(done) < table["rows_extracted"] < ROWS
    assert differences(large.sandbox, "large") == ([], {"D": 1})


def test_partitions_lost_at_one_target_are_loaded_again(large: Clinic) -> None:
    """The warehouse's staging was dropped, and some of the replica's rows were deleted: nothing of it is trusted."""
    stopped_in_the_middle(large, signal.SIGKILL)
    replica = drivers.MySQL(large.sandbox.replica)
    ((staging,),) = replica.rows("SHOW TABLES LIKE 'arrowetl_staging_%'")
    replica.execute(f"DELETE FROM {staging} WHERE Num = 3")
    replica.close()
    large.warehouse_execute(f'DELETE FROM raw.{staging} WHERE "Num" BETWEEN 6004 AND 7000')
    run = large.run()

    assert run["exit_code"] == 0, run["tables"][0]["error"]
    assert differences(large.sandbox, "large") == ([], {"D": 1})


def test_a_changed_plan_discards_old_staging(large: Clinic) -> None:
    """A column that came in between: staging is of another form, and is dropped."""
    stopped_in_the_middle(large, signal.SIGKILL)
    large.create("ALTER TABLE large ADD COLUMN Added int NOT NULL DEFAULT 5")
    run = large.run()

    assert (run["exit_code"], run["tables"][0]["rows_extracted"]) == (0, ROWS)
    assert differences(large.sandbox, "large") == ([], {"D": 1})
