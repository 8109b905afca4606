"""
Threads or processes: the same rows; and what happens when a worker, or the run itself, is killed.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import psutil
import pytest
from support.catalog_values import PATIENT, planned
from support.clinic import Clinic
from support.independent import differences
from support.launcher import Started

from arrowetl import limits
from arrowetl.errors import Interrupted
from arrowetl.model.connection import Route
from arrowetl.model.plan import LoadKind, Partition
from arrowetl.model.result import PartitionOutcome
from arrowetl.workers.jobs import Job
from arrowetl.workers.pool import Workers

ROWS = 60_000
SPLIT = "tables: {split: {batch_size: 2000}}\n"


@pytest.fixture
def split(clinic: Clinic) -> Clinic:
    """A table of thirty partitions, with a zero date in one of them; and a small one."""
    clinic.tables_file.write_text(SPLIT)
    clinic.create(
        "CREATE TABLE split (Num bigint NOT NULL, D date NOT NULL, T text, PRIMARY KEY (Num)) ENGINE=MyISAM;\n"
        f"INSERT INTO split SELECT seq, '2024-01-01', REPEAT('x', 300) FROM seq_1_to_{ROWS};\n"
        "UPDATE split SET D = '0000-00-00' WHERE Num = 30000;\n"
        "CREATE TABLE small (Num bigint NOT NULL, PRIMARY KEY (Num)) ENGINE=MyISAM;\n"
        "INSERT INTO small VALUES (1)"
    )
    return clinic


def worker_processes(pid: int) -> list[psutil.Process]:
    """Those that the run with this number has spawned."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def begun_workers(process: Started) -> list[psutil.Process]:
    """Worker processes of a run, once it has some; none where it ends before."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        if found := worker_processes(process.pid):
            return found
        time.sleep(0.02)
    return []


def test_processes_and_threads_load_the_same(split: Clinic) -> None:
    """Every row, the same coercions, connections of all processes counted; no process is left."""
    run = split.run("--all", "--executor", "process", "--max-workers", "2")
    reported = {table["table"]: table for table in run["tables"]}

    assert run["exit_code"] == 0, reported
    assert reported["split"]["partitions"] == 30
    assert differences(split.sandbox, "split") == ([], {"D": 1})
    assert reported["split"]["coercions"][0]["example_keys"] == [30_000]
    assert run["connections"]["source"]["opened"] > 30
    again = split.run("--all", "--force-full", "--executor", "thread", "--max-workers", "2")
    assert (again["totals"]["rows_extracted"], again["tables"][1]["rows_updated"]) == (ROWS + 1, 0)


@pytest.mark.parametrize("retries", ["0", "1"])
def test_a_killed_worker_process_is_replaced(split: Clinic, retries: str) -> None:
    """Its table is loaded again by new workers; tried once only, it fails and says so, and nothing is left."""
    process = split.start(
        "run", "--all", "--json", "--executor", "process", "--max-workers", "2", ARROWETL_RETRIES=retries
    )
    split.wait_for_the_middle(process)
    # What is staged first may be the small table's, before any worker process has begun.
    begun_workers(process)[0].kill()
    stdout, stderr = process.communicate(timeout=120)
    run = {table["table"]: table for table in json.loads(stdout)["tables"]}

    assert split.leftovers() == []
    if retries == "0":
        assert (process.returncode, run["small"]["status"]) == (1, "succeeded"), stderr
        assert "a worker process was killed, or died" in run["split"]["error"]["message"]
        assert split.run("--all")["exit_code"] == 0
    else:
        assert (process.returncode, run["split"]["attempts"]) == (0, 2), stderr
    assert split.published()["warehouse"] == {"split", "small"}


def test_worker_processes_end_with_their_run(split: Clinic) -> None:
    """kill -9 of the run: its worker processes are lost a little later."""
    process = split.start("run", "--all", "--executor", "process", "--max-workers", "2")
    children = begun_workers(process)
    process.kill()
    process.communicate()

    assert children
    _, alive = psutil.wait_procs(children, timeout=10)
    assert [child for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []


JOB = Job(Route("r", None, None, None, None), None, Partition(0, None, None))  # type: ignore[arg-type]
DONE = PartitionOutcome(1, 1, 1, 0, 1, (), 0, ())


class _Plan:
    name, workers, table, kind = "t", None, replace(PATIENT, row_bytes=1), LoadKind.FULL

    def __init__(self, is_partitioned: bool = True, workers: int | None = None) -> None:
        self.is_partitioned, self.workers = is_partitioned, workers


PLAN: Any = _Plan()


def _jobs(count: int) -> list[Job]:
    return [Job(JOB.route, PLAN, Partition(i, None, None)) for i in range(count)]


@pytest.mark.parametrize(
    ("more", "incremental_from", "bytes_"),
    [
        ({}, None, 1000),
        ({"kind": LoadKind.BY_READING}, None, 2000),
        ({"kind": LoadKind.PROOF}, None, 2000),
        ({"kind": LoadKind.BY_CHECKSUMS}, None, 0),
        ({"kind": LoadKind.INCREMENTAL}, "2026-01-01", 1000),
    ],
    ids=["full", "two servers read", "proven", "by checksums", "by a watermark"],
)
def test_the_byte_budget_counts_what_is_held(more: dict[str, Any], incremental_from: str | None, bytes_: int) -> None:
    """Twice where two targets are read and compared; none where checksums are."""
    plan = replace(planned(replace(PATIENT, row_bytes=10)), **more)

    assert Job(JOB.route, plan, Partition(0, None, None, incremental_from=incremental_from, rows=100)).bytes == bytes_


def test_no_partition_begins_after_a_failure() -> None:
    """Those at work end first, so that their staging can be dropped; at most one more was on its way."""
    begun: list[int] = []

    def load(job: Job) -> PartitionOutcome:
        begun.append(job.part.index)
        if job.part.index == 3:
            raise ValueError("three")
        time.sleep(0.02)
        return DONE

    workers = Workers("thread", 2)
    with pytest.raises(ValueError, match="three"):
        list(workers.each(load, PLAN, _jobs(50)))
    seen = list(begun)
    time.sleep(0.1)
    workers.close()

    assert begun == seen
    assert len(begun) <= 7


@pytest.mark.parametrize(("count", "is_partitioned"), [(1, False), (5, True)])
def test_a_stopped_run_begins_nothing(count: int, is_partitioned: bool) -> None:
    """Whether the table has one partition or several."""
    workers = Workers("thread", 2)
    workers.stopping.set()
    with pytest.raises(Interrupted):
        list(workers.each(lambda job: DONE, cast(Any, _Plan(is_partitioned)), _jobs(count)))
    workers.close()


def test_bytes_in_flight_stay_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all tables together, in their order: what is larger than the bound goes alone, and is not passed by."""
    monkeypatch.setattr(limits, "bytes_in_flight_max", 100)
    at_work, seen, order = list[int](), list[int](), list[int]()

    def load(job: Job) -> PartitionOutcome:
        at_work.append(job.bytes)
        seen.append(sum(at_work) if len(at_work) > 1 else 0)
        order.append(job.part.index)
        time.sleep(0.005)
        at_work.remove(job.bytes)
        return DONE

    workers = Workers("thread", 4)
    sizes = [40, 40, 40, 500, 1, 60, 0, 40]
    jobs = [Job(JOB.route, PLAN, Partition(i, None, None, rows=rows)) for i, rows in enumerate(sizes)]
    assert len(list(workers.each(load, PLAN, jobs))) == len(sizes)
    workers.close()

    assert max(seen) <= 100
    assert order.index(3) < order.index(5)


@pytest.mark.parametrize(("plan", "at_once"), [(_Plan(), 3), (_Plan(workers=1), 1)])
def test_partitions_in_flight_stay_within_their_limits(plan: Any, at_once: int) -> None:
    """Never more partitions at work than workers, nor of one table than tables.yml chooses for it."""
    at_work, most = [0], [0]

    def load(job: Job) -> PartitionOutcome:
        at_work[0] += 1
        most[0] = max(most[0], at_work[0])
        time.sleep(0.005)
        at_work[0] -= 1
        return DONE

    workers = Workers("thread", 3)
    assert len(list(workers.each(load, plan, _jobs(40)))) == 40
    workers.close()

    assert most[0] <= at_once
