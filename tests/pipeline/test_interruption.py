"""
Ctrl-C, SIGTERM and kill -9 in the middle of a run: readers see the old tables, whole; the next run finishes.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from support.clinic import Clinic
from support.independent import differences

from arrowetl import drivers

TABLES = ("procedurelog", "securitylog")
# So many partitions that a run takes seconds, and can be hit in the middle.
ROWS = 30_000
PARTITIONS = "tables: {procedurelog: {batch_size: 750}, securitylog: {batch_size: 750}}\n"


@pytest.fixture
def loaded(clinic: Clinic) -> Clinic:
    """Both targets hold an old state; the source has moved on to one twice the size."""
    clinic.tables_file.write_text(PARTITIONS)
    for table in TABLES:
        clinic.create(
            f"CREATE TABLE {table} "
            "(Num bigint NOT NULL, D date NOT NULL, Note varchar(200), PRIMARY KEY (Num), KEY (D)) "
            "ENGINE=MyISAM DEFAULT CHARSET=utf8;\n"
            f"INSERT INTO {table} SELECT seq, '2020-01-01', 'old' FROM seq_1_to_1000"
        )
    assert clinic.run()["exit_code"] == 0
    for table in TABLES:
        clinic.create(
            f"DELETE FROM {table};\n"
            f"INSERT INTO {table} SELECT seq, '2024-01-01', REPEAT('new ', 40) FROM seq_1_to_{ROWS}"
        )
    return clinic


def seen(clinic: Clinic) -> dict[str, str]:
    """What a reader finds, by end and table: the old state, the new one, or something that never was."""
    whole = {(1_000, 1_000): "old", (ROWS, 0): "new"}
    replica = drivers.MySQL(clinic.sandbox.replica)
    found = {}
    for table in TABLES:
        ((rows, notes),) = replica.rows(f"SELECT COUNT(*), SUM(Note = 'old') FROM {table}")
        found[f"replica {table}"] = whole.get((int(rows), int(notes)), "neither")
        ((rows, notes),) = clinic.warehouse(
            f"SELECT count(*), count(*) FILTER (WHERE \"Note\" = 'old') FROM raw.{table}"
        )
        found[f"warehouse {table}"] = whole.get((rows, notes), "neither")
    replica.close()
    return found


@pytest.mark.parametrize("delay_seconds", [0.0, 1.5])
def test_a_killed_run_leaves_nothing_visible_and_the_next_completes(loaded: Clinic, delay_seconds: float) -> None:
    """Nothing of it can be seen; no process stays; the next run finishes, and sweeps up."""
    process = loaded.start("run", "--all", "--max-workers", "1")
    loaded.wait_for_the_middle(process)
    time.sleep(delay_seconds)
    children = psutil.Process(process.pid).children(recursive=True)
    at_work = loaded.arrowetl("status", "--check")
    process.kill()
    process.communicate()
    killed = loaded.arrowetl("status", "--check")

    assert (at_work.returncode, "has not ended, and is at work" in at_work.stdout) == (0, True)
    assert (killed.returncode, "has not ended, and was killed" in killed.stdout) == (1, True)
    assert set(seen(loaded).values()) <= ({"old"} if delay_seconds == 0 else {"old", "new"})
    assert [child for child in children if child.is_running()] == []

    finished = loaded.run("--all")
    assert finished["exit_code"] == 0
    assert loaded.leftovers() == []
    assert [differences(loaded.sandbox, table)[0] for table in TABLES] == [[], []]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_exits_130_and_leaves_nothing(loaded: Clinic, number: signal.Signals) -> None:
    """Exit 130 within seconds, reported as interrupted; nothing is left, and nothing of it can be seen."""
    process = loaded.start("run", "--all", "--max-workers", "1")
    loaded.wait_for_the_middle(process)
    clock = time.monotonic()
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    seconds = time.monotonic() - clock

    assert process.returncode == 130, stderr
    assert seconds < 10
    assert "interrupted: 0 of 2 tables" in stdout
    assert set(seen(loaded).values()) == {"old"}
    assert loaded.leftovers() == []
    assert loaded.run("--all")["exit_code"] == 0
    assert [differences(loaded.sandbox, table)[0] for table in TABLES] == [[], []]


def test_a_long_reader_delays_the_cutover_and_fails_only_its_table(loaded: Clinic) -> None:
    """A lock held at the warehouse past our patience: that table fails with its remedy, unharmed; the other goes on."""
    reader = drivers.Postgres(loaded.sandbox.warehouse)
    with reader.transaction():
        reader.execute("LOCK TABLE raw.procedurelog IN SHARE MODE")
        run = loaded.run("--all", ARROWETL_RETRIES="0")
    reader.close()
    reported = {table["table"]: table["status"] for table in run["tables"]}

    assert reported == {"procedurelog": "failed", "securitylog": "succeeded"}
    assert loaded.leftovers() == []
    assert seen(loaded)["warehouse procedurelog"] == "old"
    assert loaded.run("--all")["exit_code"] == 0


def test_a_lost_source_fails_its_tables_and_the_next_run_completes(
    loaded: Clinic, spills: Callable[[], list[Path]]
) -> None:
    """The source's connections are cut: its tables fail, nothing of them can be seen, and the next run catches up."""
    process = loaded.start("run", "--all", "--json", "--max-workers", "1")
    loaded.wait_for_the_middle(process)
    admin = drivers.MySQL(loaded.sandbox.admin("source"))
    user = loaded.sandbox.source.user
    admin.execute(f"ALTER USER '{user}'@'127.0.0.1' ACCOUNT LOCK")
    try:
        admin.execute(f"KILL CONNECTION USER '{user}'@'127.0.0.1'")
        stdout, stderr = process.communicate(timeout=120)
    finally:
        admin.execute(f"ALTER USER '{user}'@'127.0.0.1' ACCOUNT UNLOCK")
        admin.close()

    assert process.returncode == 1, stderr
    assert '"failed": 2' in stdout
    assert set(seen(loaded).values()) == {"old"}
    assert loaded.leftovers() == []
    assert spills() == []
    assert loaded.run("--all")["exit_code"] == 0
