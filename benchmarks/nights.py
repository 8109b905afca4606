"""
What a run costs at the synthetic clinic: one in which nothing changed, and one in which 0.5% of all rows did.

    nox -s benchmark -- nights [--scale small] [--runs 5] [--seconds 1.0] [--share 0.05]

Prints the seconds from the first connection to the last commit, what the source's general log says was read of its
tables, and the bytes of a run against those of the first load. The changed rows are spread over all tables that have
200 rows or more, at random, with their timestamps and without. Ends with 1 where a bound is not kept.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

import arrowetl
from arrowetl import drivers
from arrowetl.model.result import Summary
from arrowetl.sandbox import opendental, seed, servers
from arrowetl.sql import mysql_name


def logged(session: drivers.MySQL, begin: bool) -> list[str]:
    """Turn the source's general log on, or off and return what it has."""
    if begin:
        session.execute("SET GLOBAL log_output = 'TABLE'")
        session.execute("TRUNCATE mysql.general_log")
        session.execute("SET GLOBAL general_log = 1")
        return []
    session.execute("SET GLOBAL general_log = 0")
    return [
        str(text) for (text,) in session.rows("SELECT argument FROM mysql.general_log WHERE command_type = 'Query'")
    ]


def of_tables(statements: list[str], names: set[str]) -> list[str]:
    """Those that read a table of the clinic, or ask for its checksum."""
    return [s for s in statements if re.search(r"\bFROM `|CHECKSUM TABLE", s) and any(f"`{n}`" in s for n in names)]


def change(session: drivers.MySQL, tables: list[opendental.SyntheticTable], day: int) -> int:
    """Edit one row in two hundred of every table that has so many; return the number of rows."""
    changed = 0
    for table in tables:
        if table.rows < 200 or not table.key:
            continue
        column = next(c for c in table.columns if c.name != table.key and "on update" not in c.extra.lower())
        name, key = mysql_name(column.name), mysql_name(table.key)
        value = f"CONCAT(LEFT({name}, 3), '{day}')" if column.charset else f"{name} + 1"
        changed += session.execute(
            f"UPDATE IGNORE {mysql_name(table.name)} SET {name} = {value} "
            f"WHERE CRC32(CONCAT({key}, '-', {day})) % 200 = 0"
        )
    return changed


def reported(what: str, summary: Summary) -> None:
    modes: dict[str, int] = {}
    for outcome in summary.outcomes:
        modes[outcome.mode.value] = modes.get(outcome.mode.value, 0) + 1
    totals = summary.totals()
    words = ", ".join(f"{number} {mode}" for mode, number in sorted(modes.items()))
    print(
        f"{what}: {summary.seconds:.2f} s, {totals['rows_extracted']:,} rows, {totals['bytes_extracted']:,} bytes "
        f"({words})"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="small", help="tiny, small, clinic, or a factor of the clinic")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="bound of a run in which nothing changed")
    parser.add_argument("--share", type=float, default=0.05, help="bound of a changed run's bytes, of a first load's")
    asked = parser.parse_args()
    with servers.sandbox("runs") as sandbox, tempfile.TemporaryDirectory() as directory:
        seed.seed(sandbox.admin("source"), asked.scale)
        tables = list(opendental.tables(opendental.factor_of(asked.scale)).values())
        names = {table.name for table in tables}
        session = drivers.MySQL(sandbox.admin("source"))
        for table in names:
            # A backup of another table has a row less than it: seeded within one second, they could have changed names.
            if "_bak_" in table:
                session.execute(f"DELETE FROM {mysql_name(table)} LIMIT 1")
        time.sleep(2.5)
        with arrowetl.open(sandbox.environment(), Path(directory) / "tables.yml") as etl:
            etl.analyze()
            first = etl.run(all=True)
            reported("first load", first)
            quiet, read = [], []
            for _ in range(asked.runs):
                logged(session, begin=True)
                day = etl.run(all=True)
                statements = logged(session, begin=False)
                quiet.append(day.seconds)
                read += of_tables(statements, names)
                reported(f"nothing changed, {len(statements)} statements at the source", day)
            changed_bytes = []
            for number in range(asked.runs):
                rows = change(session, tables, number)
                time.sleep(2.5)
                day = etl.run(all=True)
                reported(f"{rows:,} rows changed", day)
                changed_bytes.append(day.totals()["bytes_extracted"] / first.totals()["bytes_extracted"])
                assert all(verdict.verdict == "equal" for verdict in etl.verify().tables), "the targets are not equal"
    seconds, share = statistics.median(quiet), statistics.median(changed_bytes)
    print(f"nothing changed: median {seconds:.2f} s of {asked.runs}; statements that read a table: {len(read)}")
    print(f"0.5% changed: median {share:.1%} of the first load's bytes")
    return int(seconds > asked.seconds or bool(read) or share > asked.share)


if __name__ == "__main__":
    sys.exit(main())
