"""
arrowetl next to its rivals: the same tables, the same servers, in turn, contents compared afterwards.

    nox -s bench [-- --rounds 3 --scenarios wide,narrow,many --tools DIR]

Each round runs every contender once, into empty ends, but none again that took twice the time of the best of its kind;
medians are reported, with processor seconds and peak memory, and which values came out wrong. Writes
benchmarks/results.json, from which results.md, results.svg and the README's part are made (`results`). `floor` is what
the servers themselves need for the same rows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import contents
import exactness
import floor
import measure
import results
import rivals
from measure import Measured
from rivals import NAMESPACE, RIVALS, Job

import arrowetl
from arrowetl import drivers
from arrowetl.sandbox import opendental, seed, servers
from arrowetl.sandbox.servers import Sandbox

HERE = Path(__file__).parent
_SLOW = 2
CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class Scenario:
    """Tables to be moved."""

    name: str
    table: str
    """`*` is all of them."""
    key: str
    rows: int
    title: str


SCENARIOS = {
    one.name: one
    for one in (
        Scenario(
            "wide", "procedurelog", "ProcNum", 1_000_000, "procedurelog, 1 million rows of 67 columns, 21 indexes"
        ),
        Scenario("narrow", "securitylog", "SecurityLogNum", 1_000_000, "securitylog, 1 million rows of 12 columns"),
        Scenario("many", "*", "", 0, "379 tables, nearly all small"),
        Scenario("wider", "procedurelog", "ProcNum", 4_000_000, "procedurelog, 4 million rows"),
    )
}


def fill(sandbox: Sandbox, scenario: Scenario, share: float) -> int:
    """The scenario's tables, and no others, with a share of its rows; return how many those are."""
    admin = sandbox.admin("source")
    with mysql(admin) as session:
        session.execute(f"DROP DATABASE IF EXISTS {admin.database}")
        session.execute(f"CREATE DATABASE {admin.database}")
    if scenario.table == "*":
        return seed.seed(admin, "tiny")
    clinic = opendental.tables(1.0)[scenario.table]
    return exactness.filled(admin, scenario.rows * share / clinic.rows, scenario.table)


@contextmanager
def mysql(endpoint: Any) -> Iterator[drivers.MySQL]:
    session = drivers.MySQL(endpoint)
    try:
        yield session
    finally:
        session.close()


def accounts(sandbox: Sandbox) -> None:
    """An account at each server whose name needs no quoting, for tools that know no other."""
    for name in ("source", "replica"):
        with mysql(sandbox.admin(name)) as session:
            session.execute("CREATE USER IF NOT EXISTS bench@'127.0.0.1' IDENTIFIED BY 'bench'")
            session.execute("GRANT ALL ON *.* TO bench@'127.0.0.1'")
    contents.execute(sandbox, "CREATE ROLE bench LOGIN SUPERUSER PASSWORD 'bench'")


def empty_targets(sandbox: Sandbox) -> None:
    """Nothing at the targets, and nothing left to be written by the servers of what was."""
    replica = sandbox.admin("replica")
    with mysql(replica) as session:
        session.execute(f"DROP DATABASE IF EXISTS {replica.database}")
        session.execute(f"CREATE DATABASE {replica.database}")
    for name in ("raw", NAMESPACE, f"{NAMESPACE}_staging"):
        contents.execute(sandbox, f"DROP SCHEMA IF EXISTS {name} CASCADE")
    contents.execute(sandbox, f"CREATE SCHEMA {NAMESPACE} AUTHORIZATION {sandbox.warehouse.user}")
    contents.execute(sandbox, "CHECKPOINT")


class Contest:
    """One scenario: the contenders, and what each round made of them."""

    def __init__(self, sandbox: Sandbox, scenario: Scenario, tools: Path, directory: Path) -> None:
        self.sandbox, self.scenario, self.tools = sandbox, scenario, tools
        self.config = directory / f"{scenario.name}.yml"
        self.measured: dict[str, list[Measured]] = {}
        self.wrong: dict[str, Any] = {}
        self.missing: dict[str, str] = {}
        with arrowetl.open(sandbox.environment(), self.config) as etl:
            etl.analyze()

    def arrowetl(self, *options: str) -> list[str]:
        chosen = ["--all"] if self.scenario.table == "*" else ["--table", self.scenario.table]
        return [sys.executable, "-m", "arrowetl", "--config", str(self.config), "run", *chosen, "--json", *options]

    def round(self, report: Callable[[str], None]) -> None:
        """Every contender once; ours first, since the contents of others are compared with its."""
        empty_targets(self.sandbox)
        self._one("arrowetl, both targets", self.arrowetl(), report)
        self._one("arrowetl, both targets again, all read", self.arrowetl("--force-full"), report)
        self._one("arrowetl, both targets again, nothing changed", self.arrowetl(), report)
        if "arrowetl, both targets" not in self.wrong:
            self.wrong["arrowetl, both targets"] = contents.proven(self.sandbox, self.config, self.scenario.table)
        empty_targets(self.sandbox)
        self._one("arrowetl, warehouse alone", self.arrowetl("--to", "warehouse"), report)
        for rival in RIVALS:
            if self.scenario.table == "*" and rival.name != "pgloader":
                continue
            home, why_not = rivals.installed(rival, self.tools)
            if why_not:
                self.missing[rival.name] = why_not
                continue
            if self._is_out_of_it(rival):
                continue
            self._clear(rival)
            self._one(
                rival.name, rival.command(Job(self.sandbox, self.scenario.table, self.scenario.key, home)), report
            )
            if rival.name not in self.wrong and self.scenario.table != "*":
                compare = contents.at_warehouse if rival.to == "warehouse" else contents.at_replica
                self.wrong[rival.name] = compare(self.sandbox, self.scenario.table, self.scenario.key)

    def _is_out_of_it(self, rival: rivals.Rival) -> bool:
        """Whether it took more than twice what another one of its kind did: it is not run again."""
        seconds = {one.name: found[0].seconds for one in RIVALS if one.to == rival.to and one.typed == rival.typed
                   and (found := self.measured.get(one.name)) and not found[0].exit_code}  # fmt: skip
        own = self.measured.get(rival.name)
        return bool(own and seconds) and own[0].seconds > _SLOW * min(seconds.values())

    def _clear(self, rival: rivals.Rival) -> None:
        table = self.scenario.table
        if rival.to == "replica":
            with mysql(self.sandbox.admin("replica")) as session:
                session.execute(f"DROP TABLE IF EXISTS {table}")
            return
        contents.execute(self.sandbox, f"DROP SCHEMA IF EXISTS {NAMESPACE} CASCADE")
        contents.execute(self.sandbox, f"CREATE SCHEMA {NAMESPACE} AUTHORIZATION {self.sandbox.warehouse.user}")
        if not rival.typed:
            contents.execute(self.sandbox, contents.untyped(self.sandbox, table))
            contents.execute(self.sandbox, f"ALTER TABLE {NAMESPACE}.{table} OWNER TO {self.sandbox.warehouse.user}")
        contents.execute(self.sandbox, "CHECKPOINT")

    def _one(self, name: str, command: list[str], report: Callable[[str], None]) -> None:
        found = measure.run(command, self.sandbox, self.sandbox.environment())
        self.measured.setdefault(name, []).append(found)
        report(f"{name}: {found.seconds:.1f} s" + (f", failed: {found.said}" if found.exit_code else ""))

    def document(self, rows: int, floors: dict[str, Any]) -> dict[str, Any]:
        """What is kept of it."""
        return {
            "title": self.scenario.title,
            "table": self.scenario.table,
            "rows": rows,
            "floor": floors,
            "missing": self.missing,
            "kinds": {rival.name: rival.to if rival.typed else "reference" for rival in RIVALS},
            "contenders": {name: _summed(found, rows, self.wrong.get(name)) for name, found in self.measured.items()},
        }


def _summed(found: list[Measured], rows: int, wrong: Any) -> dict[str, Any]:
    seconds = statistics.median(one.seconds for one in found)
    return {
        "seconds": round(seconds, 2),
        "all_seconds": [round(one.seconds, 2) for one in found],
        "rows_per_second": round(rows / seconds),
        "cpu_client": round(statistics.median(one.cpu_client for one in found), 2),
        "cpu_servers": {
            name: round(statistics.median(one.cpu_servers[name] for one in found), 2) for name in found[0].cpu_servers
        },
        "memory_mb": round(max(one.memory_mb for one in found)),
        "failed": next((one.said or f"exit code {one.exit_code}" for one in found if one.exit_code), None),
        "contents": wrong,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scenarios", default="wide,narrow,many")
    parser.add_argument("--share", type=float, default=1.0, help="of the rows of the large tables, for a quick look")
    parser.add_argument("--tools", type=Path, default=Path(tempfile.gettempdir()) / "arrowetl-rivals")
    parser.add_argument("--output", type=Path, default=HERE / "results.json")
    chosen = parser.parse_args()
    began = time.monotonic()
    # Scenarios that are not run now stay as they were.
    before = json.loads(chosen.output.read_text()) if chosen.output.exists() else {"scenarios": {}}
    document: dict[str, Any] = before | {
        "arrowetl": arrowetl.__version__,
        "cores": CORES,
        "python": platform.python_version(),
    }
    with servers.sandbox("bench") as sandbox, tempfile.TemporaryDirectory() as directory:
        accounts(sandbox)
        for name in chosen.scenarios.split(","):
            scenario = SCENARIOS[name]
            rows = fill(sandbox, scenario, chosen.share)
            print(f"{scenario.title}: {rows:,} rows", flush=True)
            contest = Contest(sandbox, scenario, chosen.tools, Path(directory))
            for _ in range(chosen.rounds):
                contest.round(lambda line: print(f"  {line}", flush=True))
            floors = floor.floor(sandbox, scenario.table, CORES) if scenario.table != "*" else {}
            document["scenarios"][name] = contest.document(rows, floors) | {"rounds": chosen.rounds}
    print(f"{(time.monotonic() - began) / 60:.1f} minutes")
    chosen.output.write_text(json.dumps(document, indent=1) + "\n")
    results.write(document, chosen.output)
    print(results.markdown(document))
    return 0


if __name__ == "__main__":
    if not shutil.which("mariadb"):
        sys.exit("the program mariadb is needed: it is in the system's package mariadb-client")
    sys.exit(main())
