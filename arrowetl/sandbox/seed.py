"""
Fill a sandbox's source with the synthetic OpenDental.

It loads by LOAD DATA with a dialect of its own, so that what the tests compare
with was not written by the code they test.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl

from arrowetl import drivers
from arrowetl.model.connection import Endpoint
from arrowetl.sandbox import opendental
from arrowetl.sandbox.opendental import SyntheticTable
from arrowetl.sql import mysql_name, mysql_table

_WORKERS = 3


def seed(
    admin: Endpoint,
    scale: str,
    seed: int = opendental.SEED,
    on_table: Callable[[str, int], None] = lambda table, rows: None,
) -> int:
    """
    Recreate every table and fill it.

    Args:
        admin: an account of the source that may create tables.
        scale: tiny, small, clinic, or a factor.

    Returns:
        The number of rows.
    """
    factor = opendental.factor_of(scale)
    tables = opendental.tables(factor)
    with tempfile.TemporaryDirectory(prefix="arrowetl-seed-") as directory:
        pool = drivers.Pool(admin, lambda: drivers.MySQL(admin, infile_directory=Path(directory)))

        def fill_one(table: SyntheticTable) -> int:
            with pool.session() as session:
                fill(session, table, factor, seed, Path(directory))
            on_table(table.name, table.rows)
            return table.rows

        largest_first = sorted(tables.values(), key=lambda table: -table.rows * max(table.row_bytes, 1))
        with ThreadPoolExecutor(_WORKERS) as workers:
            rows = sum(workers.map(fill_one, largest_first))
        pool.close()
    return rows


def fill(session: drivers.MySQL, table: SyntheticTable, factor: float, seed: int, directory: Path) -> None:
    """Recreate one table and fill it, through files in a directory that the session may load from."""
    database = session.endpoint.database
    session.execute(f"DROP TABLE IF EXISTS {mysql_table(database, table.name)}")
    session.execute(create(database, table))
    for number, frame in enumerate(opendental.chunks(table, factor, seed)):
        _load(session, table, frame, directory / f"{table.name}-{number}.tsv")


def create(database: str, table: SyntheticTable) -> str:
    """The table as the clinic has it: MyISAM, with all of its indexes."""
    lines = []
    for column in table.columns:
        parts = [mysql_name(column.name), column.type]
        if column.charset:
            parts.append(f"CHARACTER SET {column.charset} COLLATE {column.collation}")
        parts.append("NULL" if column.nullable else "NOT NULL")
        if column.default:
            parts.append(f"DEFAULT {column.default}")
        lines.append(" ".join([*parts, column.extra]))
    for name, columns, unique in table.indexes:
        names = ", ".join(mysql_name(c) + (f"({prefix})" if prefix else "") for c, prefix in columns)
        word = "PRIMARY KEY" if name == "PRIMARY" else f"{'UNIQUE ' if unique else ''}KEY {mysql_name(name)}"
        lines.append(f"{word} ({names})")
    charset = next((column.charset for column in table.columns if column.charset), "utf8mb3")
    return (
        f"CREATE TABLE {mysql_table(database, table.name)} ({', '.join(lines)}) ENGINE=MyISAM DEFAULT CHARSET={charset}"
    )


def _load(session: drivers.MySQL, table: SyntheticTable, frame: pl.DataFrame, path: Path) -> None:
    escaped = [
        pl.col(name)
        .str.replace_all("\\", "\\\\", literal=True)
        .str.replace_all("\t", "\\\t", literal=True)
        .str.replace_all("\n", "\\\n", literal=True)
        for name, type_ in frame.schema.items()
        if type_ == pl.String
    ]
    binary = [name for name, type_ in frame.schema.items() if type_ == pl.Binary]
    hexed = [pl.col(name).bin.encode("hex") for name in binary]
    frame.with_columns(*escaped, *hexed).write_csv(
        path, include_header=False, separator="\t", quote_style="never", null_value="\\N"
    )
    columns = ", ".join(f"@{name}" if name in binary else mysql_name(name) for name in frame.columns)
    assignments = ", ".join(f"{mysql_name(name)} = UNHEX(@{name})" for name in binary)
    setting = f" SET {assignments}" if binary else ""
    changed, warnings, codes = session.load(
        f"LOAD DATA LOCAL INFILE '{path.as_posix()}' REPLACE INTO TABLE {mysql_name(table.name)} "
        f"CHARACTER SET utf8mb4 ({columns}){setting}"
    )
    path.unlink()
    if warnings or changed != frame.height:
        raise RuntimeError(
            f"{table.name}: {frame.height} rows were sent, {changed} arrived, {warnings} warnings: {codes}"
        )
