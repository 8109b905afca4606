"""
What a cluster costs on one machine: a synthetic OpenDental loaded by two worker processes of a pool, and of Dask.

    nox -s benchmark -- cluster [--scale 0.05] [--rounds 3]

Each round loads it into empty ends by either, in turn, on the same servers; the figures are medians, and the median
of the rounds' own ratios. The cluster is up before the clock starts, as a cluster is.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from distributed import Client

import arrowetl
from arrowetl import drivers
from arrowetl.sandbox import seed, servers
from arrowetl.sql import mysql_name

WORKERS = 2
DASK = str(Path(sys.executable).parent / "dask")


def empty(sandbox: servers.Sandbox) -> None:
    """The targets without a table, and without a memory of one."""
    replica = drivers.MySQL(sandbox.admin("replica"))
    for (name,) in replica.rows("SHOW TABLES"):
        replica.execute(f"DROP TABLE {mysql_name(name)}")
    replica.close()
    warehouse = drivers.Postgres(sandbox.warehouse)
    warehouse.execute("DROP SCHEMA IF EXISTS raw CASCADE")
    warehouse.close()


@contextmanager
def cluster(environment: dict[str, str]) -> Iterator[str]:
    """The address of a scheduler with two workers."""
    address = f"tcp://127.0.0.1:{servers.free_port()}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    port = address.rpartition(":")[2]
    started = [subprocess.Popen([DASK, "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"], **quiet)]
    for _ in range(WORKERS):
        command = [DASK, "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        started.append(subprocess.Popen(command, env={**os.environ, **environment}, **quiet))
    try:
        with Client(address, timeout=30, set_as_default=False) as client:
            client.wait_for_workers(WORKERS, timeout=60)
        yield address
    finally:
        for process in started:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", default="0.05")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with servers.sandbox("cluster") as sandbox, tempfile.TemporaryDirectory() as directory:
        rows = seed.seed(sandbox.admin("source"), options.scale)
        environment = sandbox.environment()
        took: dict[str, list[float]] = {"process": [], "dask": []}
        with (
            cluster(environment) as address,
            arrowetl.open(environment, Path(directory) / "tables.yml") as etl,
        ):
            etl.analyze()
            for _ in range(options.rounds):
                for kind in took:
                    empty(sandbox)
                    began = time.perf_counter()
                    executor = f"dask:{address}" if kind == "dask" else kind
                    summary = etl.run(all=True, executor=executor, max_workers=WORKERS)
                    took[kind].append(time.perf_counter() - began)
                    assert summary.exit_code == 0
            verified = etl.verify()
    ratios = [dask / process for process, dask in zip(took["process"], took["dask"], strict=True)]
    print(f"{rows:,} rows of 381 tables, {WORKERS} workers, {options.rounds} rounds")
    print(f"process pool {median(took['process']):.1f} s, dask {median(took['dask']):.1f} s, {median(ratios):.2f}")
    print("rounds: " + ", ".join(f"{ratio:.2f}" for ratio in ratios))
    print(f"verified: exit code {verified.exit_code}")


if __name__ == "__main__":
    main()
