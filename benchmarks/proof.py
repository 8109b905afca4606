"""
What proof costs: a table of a million rows copied to both targets, verified by checksums, and value by value.

    nox -s benchmark -- proof [--rows 1000000] [--rounds 3]

Each round copies the table into empty ends and verifies it in both ways, on the same servers, in this process; the
figures are medians, and the median of the rounds' own ratios.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import arrowetl
from arrowetl import drivers
from arrowetl.sandbox import opendental, seed, servers
from arrowetl.sql import mysql_name

TABLES = ("procedurelog", "securitylog")


def took(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def empty(sandbox: servers.Sandbox, table: str) -> None:
    """The targets without the table, and without a memory of it."""
    replica = drivers.MySQL(sandbox.admin("replica"))
    for name in (table, "etl_copy_status"):
        replica.execute(f"DROP TABLE IF EXISTS {mysql_name(name)}")
    replica.close()
    warehouse = drivers.Postgres(sandbox.warehouse)
    warehouse.execute("DROP SCHEMA IF EXISTS raw CASCADE")
    warehouse.close()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    with servers.sandbox("proof") as sandbox, tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        (directory / "tables.yml").write_text("tables: {}\n")
        environment = {**sandbox.environment(), "ARROWETL_SPILL_DIR": place}
        session = drivers.MySQL(sandbox.admin("source"), infile_directory=directory)
        for name in TABLES:
            factor = chosen.rows / opendental.tables(1.0)[name].rows
            seed.fill(session, opendental.tables(factor)[name], factor, opendental.SEED, directory)
        session.close()
        print("table           copied   verified   --deep   verified/copied   --deep/copied")
        with arrowetl.open(environment, directory / "tables.yml") as etl:
            for name in TABLES:
                rounds = []
                for _ in range(chosen.rounds):
                    empty(sandbox, name)
                    copied = took(lambda name=name: etl.run(tables=[name]))
                    rounds.append(
                        (copied, *(took(lambda name=name, d=d: etl.verify([name], deep=d)) for d in (False, True)))
                    )
                copied, verified, deep = (median(one) for one in zip(*rounds, strict=True))
                ratios = [median(one[n] / one[0] for one in rounds) for n in (1, 2)]
                seconds = f"{copied:>7.1f} s {verified:>8.1f} s {deep:>6.1f} s"
                print(f"{name:<14}{seconds} {ratios[0]:>17.2f} {ratios[1]:>15.2f}")


if __name__ == "__main__":
    main()
