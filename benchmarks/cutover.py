"""
What it costs that equal rows are not rewritten: a table merged by difference, written all again, and swapped.

    nox -s benchmark -- cutover [--factor 0.3]

The synthetic procedurelog is staged and cut over with a share of its rows changed; seconds are of staging and of the
cutover, bytes are those of the write-ahead log. `swap` drops the table and renames staging, and takes views, grants and
comments along; `merge` and `all again` keep them. Which of the two a table gets is the cutover's choice.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from arrowetl import drivers
from arrowetl.model.connection import TableSettings
from arrowetl.model.plan import Cutover, Partition, TablePlan
from arrowetl.model.result import StagedCounts
from arrowetl.planning import table_plan
from arrowetl.sandbox import opendental, seed, servers
from arrowetl.source.reader import Source
from arrowetl.warehouse import warehouse_sql
from arrowetl.warehouse.loader import Warehouse

TABLE = "procedurelog"
SHARES = (0.0, 0.005, 0.2, 0.5, 1.0)


def changed(rows: pa.Table, share: float) -> pa.Table:
    """The rows, of which so many have another note."""
    index = rows.column_names.index("BillingNote")
    among = round(1 / share) if share else 0
    if not among:
        return rows
    chosen = pc.equal(
        pc.subtract(rows.column("ProcNum"), pc.multiply(pc.divide(rows.column("ProcNum"), among), among)), 0
    )
    old = rows.column(index)
    note = pc.if_else(chosen, pa.scalar(b"another" if pa.types.is_large_binary(old.type) else "another", old.type), old)
    return rows.set_column(index, "BillingNote", note)


def measured(
    warehouse: Warehouse, session: drivers.Postgres, one: TablePlan, rows: pa.Table
) -> tuple[float, float, int, str]:
    """Seconds of staging and of the cutover, bytes of WAL, and how it was done."""
    before = session.rows("SELECT pg_current_wal_lsn()::text")[0][0]
    began = time.perf_counter()
    warehouse.prepare(one)
    for start in range(0, rows.num_rows, 100_000):
        warehouse.take(one, Partition(0, None, None), rows.slice(start, 100_000))
    warehouse.finish(one)
    staged = time.perf_counter()
    if one.cutover is Cutover.SWAP:
        with session.transaction():
            session.execute(warehouse_sql.drop_postgres("raw", one.name_postgres))
            session.execute(warehouse_sql.swap_warehouse("raw", one.name_postgres))
        how = "swap"
    else:
        changes = warehouse.cutover(one, StagedCounts(rows.num_rows, 0, rows.num_rows), {}, lambda changes: "SELECT 1")
        how = "all again" if changes.how else "merge"
    ended = time.perf_counter()
    bytes_ = session.rows(f"SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '{before}')::bigint")[0][0]
    return staged - began, ended - staged, bytes_, how


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factor", type=float, default=0.3, help="of a clinic's 820,000 rows")
    factor = parser.parse_args().factor
    with servers.sandbox("cutover") as sandbox, tempfile.TemporaryDirectory() as directory:
        admin = drivers.MySQL(sandbox.admin("source"), infile_directory=Path(directory))
        seed.fill(admin, opendental.tables(factor)[TABLE], factor, opendental.SEED, Path(directory))
        source, warehouse = Source(sandbox.source), Warehouse(sandbox.warehouse)
        session = drivers.Postgres(sandbox.warehouse)
        first = table_plan.table_plan(source.catalog()[TABLE], TableSettings(), None)
        first, rows = source.extract(first, Partition(0, None, None))
        warehouse.open()
        session.execute("CREATE TABLE raw.etl_partition_status (table_name text, token text)")
        measured(warehouse, session, first, rows)
        print(f"{rows.num_rows:,} rows of {rows.num_columns} columns")
        for share in SHARES:
            there = table_plan.table_plan(first.table, TableSettings(), warehouse.published()[TABLE], remembered=())
            for one in (replace(there, fields=first.fields), first):
                staging, switch, bytes_, how = measured(warehouse, session, one, changed(rows, share))
                print(
                    f"{share:6.1%} changed, {how:8}: staging {staging:5.2f} s, cutover {switch:5.2f} s, "
                    f"{bytes_ / 2**20:6.1f} MiB of WAL"
                )
                # Back to what it was.
                measured(warehouse, session, first, rows)
        for end in (source, warehouse, session, admin):
            end.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
