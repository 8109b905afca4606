"""
What the servers themselves need for a table's rows, each by its own fastest path, from files that are ready.

SELECT to nowhere, LOAD DATA into a table with its primary key, the other indexes afterwards, COPY BINARY from a file
of the warehouse's own. Their processor seconds, over the cores, are what no pipeline through these servers can beat.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import measure
from rivals import client

from arrowetl import drivers
from arrowetl.model.connection import TableSettings
from arrowetl.model.plan import Partition
from arrowetl.planning import table_plan
from arrowetl.replica import replica_sql
from arrowetl.sandbox.servers import Sandbox
from arrowetl.source.reader import Source
from arrowetl.types import conversion

_ENDED_SECONDS = 0.5


def floor(sandbox: Sandbox, table: str, cores: int) -> dict[str, Any]:
    """Step → seconds of a core, and their sum over the cores; both targets, and the warehouse alone."""
    steps: dict[str, float] = {}
    # A process that ends while it is looked at would be counted nowhere.
    time.sleep(_ENDED_SECONDS)

    @contextmanager
    def step(name: str) -> Iterator[None]:
        before = measure.servers_cpu(sandbox)
        yield
        time.sleep(_ENDED_SECONDS)
        after = measure.servers_cpu(sandbox)
        steps[name] = round(sum(after.values()) - sum(before.values()), 2)

    with step("select"):
        query = client(sandbox.source, "mariadb", "--quick", "--batch", "-N", "-e", f"SELECT * FROM `{table}`")
        subprocess.run(["bash", "-c", f"{query} > /dev/null"], check=True)
    source = Source(sandbox.source)
    planned = table_plan.table_plan(source.catalog()[table], TableSettings(), None)
    with tempfile.TemporaryDirectory() as directory:
        _load(sandbox, source, planned, Path(directory), step)
    source.close()
    _copy(sandbox, table, step)
    both = sum(steps.values())
    alone = steps["select"] + steps["copy"]
    return {"steps": steps, "both": round(both / cores, 2), "warehouse": round(alone / cores, 2)}


def _load(sandbox: Sandbox, source: Source, planned: Any, directory: Path, step: Any) -> None:
    replica = sandbox.admin("replica")
    session = drivers.MySQL(replica, infile_directory=directory)
    flavour = session.flavour
    collations = dict(session.rows("SELECT COLLATION_NAME, CHARACTER_SET_NAME FROM information_schema.COLLATIONS"))
    session.execute(f"DROP TABLE IF EXISTS {replica.database}.floor")
    session.execute(replica_sql.create_replica(replica.database, "floor", planned, flavour, collations))
    paths = []
    for part in source.partitions(planned):
        read, rows = source.extract(planned, Partition(part.index, part.lower, part.upper))
        paths.append(directory / f"{part.index}.tsv")
        with paths[-1].open("wb") as file:
            conversion.write_infile(rows, read.fields, file)
    with step("load"):
        for path in paths:
            session.load(replica_sql.load_data(replica.database, "floor", planned.fields, path.as_posix(), flavour))
    with step("indexes"):
        session.execute(replica_sql.add_indexes(replica.database, "floor", planned) or "DO 0")
    session.execute(f"DROP TABLE {replica.database}.floor")
    session.close()


def _copy(sandbox: Sandbox, table: str, step: Any) -> None:
    session = drivers.Postgres(sandbox.admin("warehouse"))
    path = session.rows("SHOW data_directory")[0][0] + "/floor.copy"
    session.execute(f"COPY raw.{table} TO '{path}' (FORMAT binary)")
    session.execute("DROP TABLE IF EXISTS raw.floor")
    session.execute(f"CREATE TABLE raw.floor (LIKE raw.{table} INCLUDING ALL)")
    with step("copy"):
        session.execute(f"COPY raw.floor FROM '{path}' (FORMAT binary)")
        session.close()
    session = drivers.Postgres(sandbox.admin("warehouse"))
    session.execute("DROP TABLE raw.floor")
    session.close()
