"""
The synthetic OpenDental through a Dask cluster of real processes: it arrives, whatever is lost on the way.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.clinic import Clinic, empty
from support.clusters import Cluster, cluster
from support.independent import differences, many_tables
from support.relay import relay

from arrowetl import drivers
from arrowetl.model.connection import VARIABLES
from arrowetl.sandbox import launch, seed, servers
from arrowetl.sandbox import opendental as synthetic

SCALE = 0.003
# A run over these takes long enough to lose something in it.
MOST = 50
SPLIT = ("securitylog", "securityloghash", "procedurelog", "sheetfield", "paysplit")
TABLES = "tables:\n" + "".join(f"  {name}: {{batch_size: 1000}}\n" for name in SPLIT)


# What all of them are on is made once.
pytestmark = pytest.mark.xdist_group("cluster_losses")


@pytest.fixture(scope="module")
def opendental(sandbox: servers.Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Sandbox]:
    empty(sandbox)
    largest = sorted(synthetic.tables(SCALE).values(), key=lambda table: -table.rows)[:MOST]
    directory = tmp_path_factory.mktemp("seed")
    session = drivers.MySQL(sandbox.admin("source"), infile_directory=directory)
    session.execute("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'")
    for table in largest:
        seed.fill(session, table, SCALE, synthetic.SEED, directory)
    session.close()
    yield sandbox
    empty(sandbox)


@pytest.fixture
def practice(opendental: servers.Sandbox, tmp_path: Path) -> Iterator[Clinic]:
    """The synthetic OpenDental, and ends that have nothing of it."""
    empty(replace(opendental, source=replace(opendental.replica, name="source")))
    (tmp_path / "tables.yml").write_text(TABLES)
    (tmp_path / "spills").mkdir()
    environment = {**opendental.environment(), "ARROWETL_SPILL_DIR": str(tmp_path / "spills")}
    clinic = Clinic(opendental, tmp_path, environment)
    yield clinic
    for process in clinic.started:
        process.kill()
        process.wait()


def run_job(clinic: Clinic, there: Cluster, meanwhile: Callable[[], None], seconds: float = 2.0) -> dict[str, Any]:
    """A run on a cluster, to which something happens every so often, from its middle on."""
    process = clinic.start("run", "--all", "--json", "--executor", there.executor, "--max-workers", "4")
    ended = threading.Event()
    clinic.wait_for_the_middle(process)

    def disturb() -> None:
        while not ended.wait(seconds):
            meanwhile()

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    try:
        stdout, stderr = process.communicate(timeout=300)
    finally:
        ended.set()
        disturbing.join()
    assert stdout, stderr
    document: dict[str, Any] = json.loads(stdout)
    return document


def all_is_there(clinic: Clinic) -> list[str]:
    """What is not equal, by our own checksums of everything and by somebody else's values of some."""
    verified = json.loads(clinic.arrowetl("verify", "--all", "--json").stdout)
    assert len(verified["tables"]) == MOST
    wrong = [table["table"] for table in verified["tables"] if table["verdict"] != "equal"]
    with many_tables():
        return wrong + [word for name in (*SPLIT, "patient") for word in differences(clinic.sandbox, name)[0]]


def test_a_cluster_run_uses_every_worker(practice: Clinic) -> None:
    """Four workers, each with sessions and spills of its own; all tables, and every worker had some."""
    with cluster(practice.environment, 4) as there:
        run = run_job(practice, there, lambda: None)
        deadline = time.monotonic() + 10
        while (spills := list((practice.directory / "spills").iterdir())) and time.monotonic() < deadline:
            time.sleep(0.1)

    assert (run["exit_code"], run["totals"]["succeeded"]) == (0, MOST), [
        t["error"] for t in run["tables"] if t["error"]
    ]
    assert all_is_there(practice) == []
    assert practice.leftovers() == []
    assert run["connections"]["source"]["opened"] >= 4
    assert spills == []


def test_killed_workers_lose_no_rows(practice: Clinic) -> None:
    """Each of four, one after the other; who has lost a job more than three times is right to give it up."""
    with cluster(practice.environment, 4) as there:
        left = [f"worker{number}" for number in range(4)]
        run = run_job(practice, there, lambda: there.kill(left.pop()) if left else None, 0.8)
    again = practice.run("--all") if run["exit_code"] else run

    assert len(left) <= 1, "it was over before"
    assert again["exit_code"] == 0, [t["error"] for t in again["tables"] if t["error"]]
    assert run["exit_code"] == 0, [t["error"] for t in run["tables"] if t["error"]]
    assert all_is_there(practice) == []


def test_a_restarted_scheduler_is_rejoined(practice: Clinic) -> None:
    with cluster(practice.environment, 4) as there:
        times = iter(range(1_000))

        def restart() -> None:
            if next(times) == 0:
                there.kill("scheduler")
                there.start_scheduler()

        run = run_job(practice, there, restart, 0.5)

    assert next(times) > 1, "it was over before"
    assert run["exit_code"] == 0, [t["error"] for t in run["tables"] if t["error"]]
    assert all_is_there(practice) == []


def test_an_isolated_workers_jobs_move_elsewhere(practice: Clinic) -> None:
    """Its jobs are done by the others."""
    warehouse, port_variable = practice.sandbox.warehouse, f"TEST_{VARIABLES['warehouse']}_PORT"
    with relay(warehouse.host, warehouse.port) as way, cluster(practice.environment, 4) as there:
        practice.environment[port_variable] = str(way.port)
        refused = []

        def of_the_first(port: int) -> bool:
            pid = there.processes["worker0"].pid
            with suppress(psutil.Error):
                mine = psutil.Process(pid).net_connections("tcp")
                if any(one.laddr.port == port for one in mine):
                    refused.append(port)
                    return True
            return False

        way.refuses = of_the_first
        run = run_job(practice, there, lambda: None)
    practice.environment[port_variable] = str(warehouse.port)

    assert refused, "it never tried"
    assert run["exit_code"] == 0, [t["error"] for t in run["tables"] if t["error"]]
    assert all_is_there(practice) == []


def test_cluster_connections_stay_within_the_limit(practice: Clinic) -> None:
    """At any server, by this machine and all workers together, sampled throughout."""
    most = {"source": 5, "replica": 12, "warehouse": 11}
    chosen = {"source_connections": 5, "replica_connections": 12, "warehouse_connections": 11}
    practice.tables_file.write_text(f"settings: {json.dumps(chosen)}\n{TABLES}")
    seen = {name: [0] for name in most}
    with ExitStack() as held:
        there = held.enter_context(cluster(practice.environment, 4))
        for name in ("source", "replica"):
            session = drivers.MySQL(practice.sandbox.admin(name))
            held.callback(session.close)
            user = getattr(practice.sandbox, name).user
            question = f"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = '{user}'"
            held.callback(_sampled(lambda s=session, q=question: s.rows(q)[0][0], seen[name]))
        admin = drivers.Postgres(replace(practice.sandbox.warehouse, user=launch.ADMIN))
        held.callback(admin.close)
        question = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{practice.sandbox.warehouse.user}'"
        held.callback(_sampled(lambda: admin.rows(question)[0][0], seen["warehouse"]))
        run = run_job(practice, there, lambda: None)

    assert run["exit_code"] == 0, [t["error"] for t in run["tables"] if t["error"]]
    # One that was closed is on its way out for a time.
    assert {name: max(seen[name]) <= most[name] + 1 for name in most} == dict.fromkeys(most, True), seen
    assert all(len(counts) > 50 and max(counts) >= 2 for counts in seen.values())


def _sampled(ask: Callable[[], int], counts: list[int]) -> Callable[[], None]:
    """Ask again and again, until what is returned is called."""
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(0.02):
            counts.append(int(ask()))

    sampling = threading.Thread(target=sample)
    sampling.start()

    def end() -> None:
        ended.set()
        sampling.join()

    return end
