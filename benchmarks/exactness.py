"""
What exactness costs: the synthetic procedurelog read as arrowetl reads it, and read plainly.

    nox -s benchmark -- exactness [--factor 0.6] [--pairs 7]

Both reads are of the same rows, in turn, so that what else the machine does befalls both; the median of the pairs'
ratios is reported. The table has no odd values; dates, times and all are read as the rules say. Ends with 1 below 0.9.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arrowetl import drivers
from arrowetl.model.connection import TableSettings
from arrowetl.model.plan import Partition, TablePlan
from arrowetl.planning import table_plan
from arrowetl.sandbox import opendental, seed, servers
from arrowetl.source.reader import Source
from arrowetl.types import conversion

TABLE = "procedurelog"
FLOOR = 0.9


def filled(admin: Any, factor: float, name: str = TABLE) -> int:
    """Make a table of the clinic and fill it; return its rows."""
    table = opendental.tables(factor)[name]
    with tempfile.TemporaryDirectory() as directory:
        session = drivers.MySQL(admin, infile_directory=Path(directory))
        seed.fill(session, table, factor, opendental.SEED, Path(directory))
        session.close()
    return table.rows


def seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compared(name: str, plain: Callable[[], Any], exact: Callable[[], Any], pairs: int, rows: int) -> float:
    """Both in turn, as often as was asked; the median ratio of their throughputs."""
    plain(), exact()
    times = [(seconds(plain), seconds(exact)) for _ in range(pairs)]
    ratios = [a / b for a, b in times]
    rate = [rows / statistics.median(column) for column in zip(*times, strict=True)]
    print(
        f"{name}: {statistics.median(ratios):.2f} of the plain read (pairs {min(ratios):.2f} to {max(ratios):.2f}); "
        f"{rate[1]:,.0f} rows/s, plain {rate[0]:,.0f}"
    )
    return statistics.median(ratios)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factor", type=float, default=0.6, help="of a clinic's 820,000 rows")
    parser.add_argument("--pairs", type=int, default=7)
    chosen = parser.parse_args()
    print_ = drivers.mute_panics()
    with servers.sandbox("benchmark") as sandbox:
        rows = filled(sandbox.admin("source"), chosen.factor)
        source = Source(sandbox.source)
        planned = table_plan.table_plan(source.catalog()[TABLE], TableSettings(), None)
        print(f"{TABLE}: {rows:,} rows of {len(planned.fields)} columns, MyISAM, one connection, {chosen.pairs} pairs")
        whole = Partition(0, None, None)
        names = ", ".join(f"`{field.column.name}`" for field in planned.fields)

        def plain() -> Any:
            return drivers.read_arrow(sandbox.source, f"SELECT {names} FROM {TABLE}", tls=False)

        ratio = compared("exact", plain, lambda: source.extract(planned, whole), chosen.pairs, rows)
        _conversions(planned, source.extract(planned, whole)[1], rows)
        source.close()
    print_.flush()
    return int(ratio < FLOOR)


def _conversions(planned: TablePlan, table: Any, rows: int) -> None:
    """What it costs, after the read, to make the warehouse's values and the replica's text of it."""
    _, coercions = conversion.to_warehouse(TABLE, table, planned.fields, None)
    assert coercions == (), "the table was to have no odd value"
    for name, work in {
        "values for the warehouse": lambda: conversion.to_warehouse(TABLE, table, planned.fields, None),
        "text for the replica": lambda: conversion.write_infile(table, planned.fields, io.BytesIO()),
    }.items():
        took = statistics.median(seconds(work) for _ in range(5))
        print(f"{name}: {took / rows * 1e6:.2f} s per million rows")


if __name__ == "__main__":
    sys.exit(main())
