"""
What tables cost by their number alone: a first load and a run of nothing of 500, 1,000 and 2,000 tables of ten rows.

    nox -s benchmark -- tables [--tables 500,1000,2000] [--runs 3]

Prints for each number the seconds of the first load and the median of the runs, and both per hundred tables: what
grows faster than the number of tables shows there. Ends with 1 where a hundred of the most cost half again what a
hundred of the fewest do.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import arrowetl
from arrowetl import drivers
from arrowetl.sandbox import servers

ROWS = 10


def make(session: drivers.MySQL, first: int, last: int) -> None:
    """Tables of a key, a text and a time, each with ten rows."""
    for number in range(first, last):
        name = f"table_{number:05d}"
        session.execute(
            f"CREATE TABLE {name} (Id bigint NOT NULL PRIMARY KEY, Name varchar(50), At datetime, INDEX (At)) "
            "ENGINE=MyISAM CHARSET=utf8mb4"
        )
        session.execute(f"INSERT INTO {name} SELECT seq, MD5(seq), '2026-01-02 03:04:05' FROM seq_1_to_{ROWS}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", default="500,1000,2000", help="how many, ascending")
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    per_hundred = []
    with servers.sandbox("tables") as sandbox, tempfile.TemporaryDirectory() as directory:
        session, made = drivers.MySQL(sandbox.admin("source")), 0
        for number in map(int, asked.tables.split(",")):
            make(session, made, number)
            added, made = number - made, number
            # A table that was written just now is not trusted to not change.
            time.sleep(2.5)
            with arrowetl.open(sandbox.environment(), Path(directory) / "tables.yml") as etl:
                etl.analyze()
                first = etl.run(all=True).seconds
                seconds = [etl.run(all=True).seconds for _ in range(asked.runs)]
            day = statistics.median(seconds)
            per_hundred.append(day / number)
            loaded = f"{added:,} loaded for the first time: {first:.1f} s, {first / added * 100:.2f} s a hundred"
            print(f"{number:,} tables: {loaded}; nothing changed: {day:.2f} s, {day / number * 100:.3f} s a hundred")
    return int(per_hundred[-1] > 1.5 * per_hundred[0])


if __name__ == "__main__":
    sys.exit(main())
