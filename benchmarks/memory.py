"""
The most memory that a process of a run takes, by the table it loads: keys, widths and statistics of every kind.

    nox -s benchmark -- memory [--megabytes 2000] [--table wide --table …]

Each table is loaded for the first time, and then compared once more after a tenth of its rows changed, by a process of
its own; seconds, and the largest resident set that was seen, are printed of both. 400 MB are promised. What the servers
take is theirs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import measure

from arrowetl import drivers
from arrowetl.sandbox import servers

PROMISED_MB = 400
# Name → columns and engine, the row of number `seq`, and about how many bytes it has.
TABLES: dict[str, tuple[str, str, int]] = {
    "narrow": ("Id int PRIMARY KEY, A int, B decimal(10,2)) ENGINE=MyISAM", "seq, seq * 7, seq / 3", 14),
    "wide": ("Id int PRIMARY KEY, T longtext) ENGINE=MyISAM", "seq, REPEAT(MD5(seq), 320)", 10_240),
    # One row in a hundred has a megabyte: the average says little of a range.
    "uneven": (
        "Id int PRIMARY KEY, T longtext) ENGINE=MyISAM",
        "seq, REPEAT(MD5(seq), IF(seq % 100 = 0, 32768, 1))", 10_500,
    ),
    # All that is large is together, behind what is small.
    "late": (
        "Id int PRIMARY KEY, T longtext) ENGINE=InnoDB STATS_PERSISTENT=0",
        "seq, REPEAT(MD5(seq), IF(seq * 2 > {rows}, 640, 1))", 10_250,
    ),
    "uuids": ("Id char(36) PRIMARY KEY, T text) ENGINE=InnoDB", "UUID(), REPEAT(MD5(seq), 32)", 1_060),
    "pairs": ("K varchar(20), N int, T text, PRIMARY KEY (K, N)) ENGINE=InnoDB",
              "CONCAT('k', seq % 50), seq, REPEAT(MD5(seq), 32)", 1_040),
    "keyless": ("A int, T text) ENGINE=MyISAM", "seq, REPEAT(MD5(seq), 32)", 1_032),
    "keyless_wide": ("A int, T longtext) ENGINE=InnoDB", "seq, REPEAT(MD5(seq), 3200)", 102_404),
}  # fmt: skip


def make(source: drivers.MySQL, name: str, megabytes: int) -> int:
    """The table with about so many bytes; how many rows it has."""
    columns, row, width = TABLES[name]
    rows = max(1, megabytes * 2**20 // width)
    source.execute(f"CREATE TABLE {name} ({columns} CHARSET=utf8mb4")
    source.execute(f"INSERT INTO {name} SELECT {row.format(rows=rows)} FROM seq_1_to_{rows}")
    return rows


def _forget(sandbox: servers.Sandbox, source: drivers.MySQL, name: str) -> None:
    """Neither the table nor any record of it: it would be missed."""
    source.execute(f"DROP TABLE {name}")
    replica, warehouse = drivers.MySQL(sandbox.admin("replica")), drivers.Postgres(sandbox.admin("warehouse"))
    for (one,) in replica.rows("SHOW TABLES"):
        replica.execute(f"DROP TABLE {one}")
    warehouse.execute("DROP SCHEMA raw CASCADE")
    replica.close()
    warehouse.close()


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--megabytes", type=int, default=2_000)
    options.add_argument("--table", action="append", choices=list(TABLES))
    chosen = options.parse_args()
    worst = 0.0
    with servers.sandbox("memory") as sandbox, tempfile.TemporaryDirectory() as place:
        source = drivers.MySQL(sandbox.admin("source"))
        source.execute("SET SESSION tmp_disk_table_size = DEFAULT, max_statement_time = 0")
        settings = Path(place) / "tables.yml"
        settings.write_text("tables: {}\n")
        command = [sys.executable, "-m", "arrowetl", "--config", str(settings), "run", "--json", "--table"]
        print(f"{'table':14}{'rows':>12}{'first load':>22}{'a tenth changed':>24}")
        for name in chosen.table or TABLES:
            rows = make(source, name, chosen.megabytes)
            reported = f"{name:14}{rows:12,}"
            for change in ("", f"UPDATE {name} SET T = CONCAT(T, 'x') WHERE LEFT(T, 1) IN ('0', '1')"):
                if change and "T " in TABLES[name][0]:
                    source.execute(change)
                found = measure.run([*command, name], sandbox, sandbox.environment(), 3_600)
                if found.exit_code:
                    print(f"{reported}  failed: {found.said}")
                    return 1
                worst = max(worst, found.memory_mb)
                reported += f"{found.seconds:10.0f} s {found.memory_mb:7.0f} MB"
            print(reported, flush=True)
            _forget(sandbox, source, name)
        source.close()
    print(f"at most {worst:.0f} MB of {PROMISED_MB}")
    return int(worst > PROMISED_MB)


if __name__ == "__main__":
    sys.exit(main())
