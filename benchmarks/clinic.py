"""
The whole clinic to both targets, by arrowetl alone: a first load, the runs after it, and how it grows.

    nox -s benchmark -- clinic [--scale clinic] [--workers 8] [--millions 8]

All tables in one run, next to its large ones in a run of their own, by bytes per second; everything read and proven
again; a run in which nothing changed, and one in which 0.5% did; then one table of a million rows, and of several.
Written into benchmarks/results.json, from which the README's part is made (`results`). The whole clinic has 20 million
rows, which take some minutes to be made.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import bench
import contents
import measure
import nights
import results

import arrowetl
from arrowetl import drivers
from arrowetl.sandbox import opendental, seed, servers
from arrowetl.sandbox.servers import Sandbox

GROWS, KEY = "securitylog", "SecurityLogNum"
SECONDS_MAX = 3600
LARGE = 5


class Clinic:
    """A sandbox with a source that is filled, and what was measured of it."""

    def __init__(self, sandbox: Sandbox, config: Path, workers: int) -> None:
        self.sandbox, self.config, self.workers = sandbox, config, workers

    def analyze(self) -> None:
        with arrowetl.open(self.sandbox.environment(), self.config) as etl:
            etl.analyze()

    def run(self, what: str, *options: str, empty: bool = False) -> dict[str, Any]:
        """One run, as it is reported in the results."""
        if empty:
            bench.empty_targets(self.sandbox)
        command = [sys.executable, "-m", "arrowetl", "--config", str(self.config), "run", "--json",
                   "--max-workers", str(self.workers), *options]  # fmt: skip
        found = measure.run(command, self.sandbox, self.sandbox.environment(), SECONDS_MAX)
        if found.exit_code:
            sys.exit(f"{what}: {found.said}")
        totals = json.loads(found.output)["totals"]
        print(
            f"{what}: {found.seconds:.1f} s, {totals['bytes_extracted'] / 2**20:,.0f} MiB, {found.memory_mb:.0f} MB",
            flush=True,
        )
        return {
            "what": what, "seconds": round(found.seconds, 2), "rows": totals["rows_extracted"],
            "bytes": totals["bytes_extracted"], "memory_mb": round(found.memory_mb),
            "cpu_client": round(found.cpu_client, 1), "cpu_servers": round(sum(found.cpu_servers.values()), 1),
        }  # fmt: skip


def whole(clinic: Clinic, scale: str) -> tuple[list[dict[str, Any]], int]:
    """Every run of the whole clinic, and how many rows it has."""
    admin = clinic.sandbox.admin("source")
    rows = seed.seed(admin, scale)
    clinic.analyze()
    # A table is skipped where its timestamp was older than a second when it was read.
    time.sleep(2)
    tables = list(opendental.tables(opendental.factor_of(scale)).values())
    largest = sorted(tables, key=lambda table: -table.rows * max(table.row_bytes, 1))[:LARGE]
    names = ",".join(table.name for table in largest)
    runs = [
        clinic.run(f"its {LARGE} largest tables alone", "--table", names, empty=True),
        clinic.run("all tables, first load", "--all", empty=True),
        clinic.run("all tables, nothing changed", "--all"),
    ]
    session = drivers.MySQL(admin)
    nights.change(session, tables, 1)
    session.close()
    time.sleep(2)
    runs.append(clinic.run("all tables, 0.5% of the rows changed", "--all"))
    runs.append(clinic.run("all tables, all read and proven again", "--all", "--force-full"))
    if not contents.proven(clinic.sandbox, clinic.config, "*")["equal"]:
        sys.exit("the three servers are not equal")
    return runs, rows


def growing(clinic: Clinic, millions: int) -> list[dict[str, Any]]:
    """One table of a million rows to both targets, and of several, which are the first ones again with other keys."""
    scenario = bench.SCENARIOS["narrow"]
    rows, runs = bench.fill(clinic.sandbox, scenario, 1.0), []
    for number in (1, millions):
        if number > 1:
            with bench.mysql(clinic.sandbox.admin("source")) as session:
                columns = [name for (name,) in session.rows(
                    f"SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_NAME = '{GROWS}' "
                    "AND TABLE_SCHEMA = DATABASE() ORDER BY ORDINAL_POSITION")]  # fmt: skip
                highest = int(session.rows(f"SELECT MAX({KEY}) FROM {GROWS}")[0][0])
                for turn in range(1, number):
                    chosen = ", ".join(f"{KEY} + {turn * highest}" if name == KEY else f"`{name}`" for name in columns)
                    session.execute(f"INSERT INTO {GROWS} SELECT {chosen} FROM {GROWS} WHERE {KEY} <= {highest}")
        clinic.analyze()
        one = clinic.run(f"{GROWS}, {number * rows:,} rows", "--table", GROWS, empty=True)
        runs.append(one | {"seconds_per_million": round(one["seconds"] / (one["rows"] / 1e6), 2)})
    return runs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="clinic", help="of the clinic: a factor, or one of the names seed knows")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--millions", type=int, default=8)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results.json")
    asked = parser.parse_args()
    with servers.sandbox("clinic") as sandbox, tempfile.TemporaryDirectory() as directory:
        clinic = Clinic(sandbox, Path(directory) / "tables.yml", asked.workers)
        runs, rows = whole(clinic, asked.scale)
        grown = growing(clinic, asked.millions)
    document = json.loads(asked.output.read_text())
    document["clinic"] = {
        "scale": opendental.factor_of(asked.scale),
        "rows": rows,
        "workers": asked.workers,
        "runs": runs,
        "growing": grown,
    }
    asked.output.write_text(json.dumps(document, indent=1) + "\n")
    results.write(document, asked.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
