"""
How many clinics a run holds: what one takes is measured, what many take is computed.

    nox -s benchmark -- scale [--measure]

`--measure` loads the synthetic OpenDental at two sizes over a link of 20 Mbit/s and 40 ms, by one worker: a first
load, and a run in which 0.5% of the rows changed; seconds, seconds of cores and bytes, into benchmarks/scale.json.
What a clinic takes is a part that goes with its number of tables and one that goes with its size, from the two sizes.
Without it, docs/explanation/scale.md is written again from that file.
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
import measure
import nights

import arrowetl
from arrowetl import drivers
from arrowetl.sandbox import opendental, seed, servers

HERE = Path(__file__).parent
FIGURES, PAGE = HERE / "scale.json", HERE.parent / "docs" / "explanation" / "scale.md"
SCALES = ("0.003", "0.03")
RATE, LATENCY = 20e6 / 8, 0.020
CLINIC_MIB = 2_851
"""Of a real clinic, as Arrow: 20 million rows (benchmarks/results.json)."""
WINDOW = 6 * 3600
CLINICS = (1, 10, 100, 500)
CAPACITY = {"the run": 1, "a replica's server": 8, "a warehouse's server": 8}
"""Cores that each can use: a run is one Python process, a server is taken to have eight."""
COLUMNS = ("seconds", "client", "source", "replica", "warehouse", "wire_mib")


def measured(scale: str) -> dict[str, Any]:
    """One clinic's first load and run over the link, by one worker."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    from links import links

    with servers.sandbox("scale") as sandbox, tempfile.TemporaryDirectory() as directory:
        rows = seed.seed(sandbox.admin("source"), scale)
        source, tables = sandbox.source, list(opendental.tables(opendental.factor_of(scale)).values())
        session = drivers.MySQL(sandbox.admin("source"))
        time.sleep(2.5)
        config = Path(directory) / "tables.yml"
        with arrowetl.open(sandbox.environment(), config) as etl:
            etl.analyze()
        link = {"host": source.host, "port": source.port, "bytes_per_second": RATE, "latency_seconds": LATENCY}
        found: dict[str, Any] = {"rows": rows, "tables": len(tables)}
        with links([link]) as (port,):
            bench.empty_targets(sandbox)
            environment = {**sandbox.environment(), "TEST_OPENDENTAL_SOURCE_PORT": str(port)}
            for what in ("first", "run"):
                if what == "run":
                    found["rows_changed"] = nights.change(session, tables, 1)
                    time.sleep(2.5)
                found[what] = _run(sandbox, session, config, environment)
                print(f"{scale}, {what}: {found[what]}", flush=True)
        session.close()
        return found


def _run(sandbox: servers.Sandbox, session: drivers.MySQL, config: Path, environment: dict[str, str]) -> dict[str, Any]:
    def sent() -> int:
        return int(session.rows("SHOW GLOBAL STATUS LIKE 'Bytes_sent'")[0][1])

    before = sent()
    command = [
        sys.executable,
        "-m",
        "arrowetl",
        "--config",
        str(config),
        "run",
        "--all",
        "--json",
        "--max-workers",
        "1",
    ]
    one = measure.run(command, sandbox, environment, 1800)
    if one.exit_code:
        sys.exit(one.said)
    extracted = json.loads(one.output)["totals"]["bytes_extracted"]
    return {
        "seconds": round(one.seconds, 2),
        "client": round(one.cpu_client, 2),
        **{name: round(seconds, 2) for name, seconds in one.cpu_servers.items()},
        "wire_mib": round((sent() - before) / 2**20, 2),
        "arrow_mib": round(extracted / 2**20, 2),
    }


# --- what is computed ---------------------------------------------------------------------------


def clinic(figures: list[dict[str, Any]], what: str) -> dict[str, tuple[float, float]]:
    """Column → the part of one clinic that goes with its tables, and the part that goes with a MiB of it."""
    small, large = figures
    mib = [one["first"]["arrow_mib"] for one in (small, large)]
    found = {}
    for column in COLUMNS:
        low, high = small[what][column], large[what][column]
        slope = max(0.0, (high - low) / (mib[1] - mib[0]))
        found[column] = (max(0.0, low - slope * mib[0]), slope)
    return found


def of_clinics(number: int, one: dict[str, tuple[float, float]]) -> dict[str, float]:
    """What so many of a real clinic's size take together."""
    return {column: number * (fixed + slope * CLINIC_MIB) for column, (fixed, slope) in one.items()}


def breaks_first(number: int, day: dict[str, tuple[float, float]]) -> tuple[str, float]:
    """What is busiest in a run of so many clinics, and how many cores of it that takes all the time."""
    together = of_clinics(number, day)
    # On a cluster, what goes with the tables stays with the run; what goes with rows is the workers'.
    needs = {
        "the run": number * day["client"][0] / WINDOW,
        "a replica's server": together["replica"] / WINDOW,
        "a warehouse's server": together["warehouse"] / WINDOW,
    }
    worst = max(needs, key=lambda name: needs[name] / CAPACITY[name])
    return worst, needs[worst]


def page_part(figures: list[dict[str, Any]]) -> str:
    """The part of docs/explanation/scale.md that is computed."""
    first, day = clinic(figures, "first"), clinic(figures, "run")
    lines = ["| of a first load, as Arrow | |", "|---|---|"]
    for column, words in (
        ("client", "a worker moves, in a second of a core"),
        ("replica", "a replica takes, in a second of a core"),
        ("warehouse", "a warehouse takes, in a second of a core"),
        ("seconds", "a link transfers, in a second"),
    ):
        lines.append(f"| {words} | {1 / first[column][1]:,.1f} MiB |")
    lines += [
        "",
        "| one clinic | for its tables | for each GiB of it | a real one, 2.8 GiB |",
        "|---|---|---|---|",
    ]
    for what, parts in (("first load", first), ("run", day)):
        for column, name in _NAMES.items():
            fixed, slope = parts[column]
            unit = "MiB" if column == "wire_mib" else "s"
            lines.append(
                f"| {what}: {name} | {fixed:,.1f} {unit} | {slope * 1024:,.1f} {unit} | "
                f"{fixed + slope * CLINIC_MIB:,.0f} {unit} |"
            )
    lines += ["", "| clinics, each run | 1 | 10 | 100 | 500 |", "|---|---|---|---|---|"]
    totals = [of_clinics(number, day) for number in CLINICS]
    rows = {
        "hours by one worker": [f"{one['seconds'] / 3600:,.1f}" for one in totals],
        "workers for a window of six hours": [f"{max(1, -(-one['seconds'] // WINDOW)):,.0f}" for one in totals],
        "cores of the workers' machines": [f"{one['client'] / WINDOW:,.1f}" for one in totals],
        "cores of the replicas' servers": [f"{one['replica'] / WINDOW:,.1f}" for one in totals],
        "cores of the warehouse's server": [f"{one['warehouse'] / WINDOW:,.1f}" for one in totals],
        "cores of the process that runs": [f"{number * day['client'][0] / WINDOW:,.2f}" for number in CLINICS],
        "connections at the warehouse": [f"{6 * max(1, -(-one['seconds'] // WINDOW)):,.0f}" for one in totals],
        "busiest": [breaks_first(number, day)[0] for number in CLINICS],
        "first loads, hours by as many workers": [
            f"{of_clinics(number, first)['seconds'] / max(1, -(-one['seconds'] // WINDOW)) / 3600:,.1f}"
            for number, one in zip(CLINICS, totals, strict=True)
        ],
    }
    lines += [f"| {name} | {' | '.join(values)} |" for name, values in rows.items()]
    return "\n".join(lines)


_NAMES = {
    "seconds": "by one worker over the link",
    "wire_mib": "over the link",
    "client": "arrowetl, cores",
    "source": "its source, cores",
    "replica": "the replica, cores",
    "warehouse": "the warehouse, cores",
}

BEGIN, END = "<!-- scale -->\n", "\n<!-- /scale -->"


def with_part(page: str, figures: list[dict[str, Any]]) -> str:
    """The page with its computed part again."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + page_part(figures) + END + after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="some five minutes")
    if parser.parse_args().measure:
        FIGURES.write_text(json.dumps([measured(scale) for scale in SCALES], indent=2) + "\n")
    figures = json.loads(FIGURES.read_text())
    PAGE.write_text(with_part(PAGE.read_text(), figures))
    print(page_part(figures))


if __name__ == "__main__":
    main()
