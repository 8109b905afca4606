"""
Two checkouts of arrowetl, on the same servers and the same tables: whether they write the same, and how long they take.

    python benchmarks/checkouts.py OTHER [--contents] [--speed wide,many --rounds 5]

`--contents` loads each scenario of tests/cases, and the synthetic OpenDental, by both, and compares digests of all that
is at both targets: tables as they were made, and their rows. `--speed` loads scenarios of `bench` by one and the other
in turn, and runs once more with nothing changed; the ratios of this one to the other are of medians.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import bench
import measure

import arrowetl
from arrowetl import drivers
from arrowetl.sandbox import seed, servers
from arrowetl.sandbox.servers import Sandbox
from arrowetl.sql import mysql_name, postgres_literal, postgres_table

HERE = Path(__file__).resolve().parent.parent
SECONDS_MAX = 1200
UNITS = {
    "seconds": lambda one: one.seconds,
    "seconds of a core, its own": lambda one: one.cpu_client,
    "seconds of a core, the servers'": lambda one: sum(one.cpu_servers.values()),
}

_COLUMNS = (
    "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull, col_description(a.attrelid, a.attnum) "
    "FROM pg_attribute a WHERE a.attrelid = {table}::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
)
_ROWS = (
    "SELECT count(*), md5(string_agg(line, '' ORDER BY line)) FROM (SELECT md5(t::text) AS line FROM {table} t) all_"
)


def digest(*what: object) -> str:
    return hashlib.sha256(repr(what).encode()).hexdigest()[:16]


def written(sandbox: Sandbox) -> dict[str, str]:
    """Target and table → a digest of its form and its rows; arrowetl's own tables left out."""
    found = {}
    replica = drivers.MySQL(sandbox.admin("replica"))
    for name in sorted(name for (name,) in replica.rows("SHOW TABLES") if not name.startswith("etl_")):
        made = re.sub(r" AUTO_INCREMENT=\d+", "", replica.rows(f"SHOW CREATE TABLE {mysql_name(name)}")[0][1])
        found[f"replica: {name}"] = digest(made, replica.rows(f"CHECKSUM TABLE {mysql_name(name)}")[0][1])
    replica.close()
    warehouse = drivers.Postgres(sandbox.warehouse)
    tables = warehouse.rows("SELECT tablename::text FROM pg_tables WHERE schemaname = 'raw' AND tablename !~ '^etl_'")
    for (name,) in tables:
        place = postgres_table("raw", name)
        made = warehouse.rows(_COLUMNS.format(table=postgres_literal(place)))
        found[f"warehouse: {name}"] = digest(made, warehouse.rows(_ROWS.format(table=place)))
    warehouse.close()
    return found


def measured(sandbox: Sandbox, checkout: Path, config: Path) -> measure.Measured:
    """`arrowetl run --all` of a checkout."""
    command = [sys.executable, "-P", "-m", "arrowetl", "--config", str(config), "run", "--all", "--json"]
    # Each runs its own modules, and the packages that are installed here.
    environment = {**sandbox.environment(), "PYTHONPATH": str(checkout)}
    done = measure.run(command, sandbox, environment, SECONDS_MAX)
    if done.exit_code:
        raise SystemExit(f"{checkout}: exit {done.exit_code}: {done.said}")
    return done


def scenarios(sandbox: Sandbox) -> Iterator[tuple[str, str]]:
    """Each scenario, loaded into the source, and its tables.yml."""
    admin = sandbox.admin("source")
    for case in sorted(path.parent for path in (HERE / "tests" / "cases").glob("*/create.sql")):
        with bench.mysql(admin) as session:
            session.execute(f"DROP DATABASE {admin.database}")
            session.execute(f"CREATE DATABASE {admin.database}")
            session.execute(f"USE {admin.database}")
            session.execute("SET GLOBAL time_zone = 'SYSTEM'")
            session.execute("SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'")
            for file in ("create.sql", "rows.sql"):
                text = (case / file).read_text() if (case / file).exists() else ""
                for statement in filter(str.strip, text.split(";\n")):
                    session.execute(statement)
        yield case.name, (case / "tables.yml").read_text() if (case / "tables.yml").exists() else ""
    bench.fill(sandbox, bench.SCENARIOS["many"], 1.0)
    yield "the synthetic OpenDental", ""


def contents(sandbox: Sandbox, other: Path, directory: Path) -> int:
    """How many tables the checkouts wrote differently."""
    differing = tables = 0
    for name, chosen in scenarios(sandbox):
        config, found = directory / "tables.yml", []
        config.write_text(chosen or "tables: {}\n")
        for checkout in (HERE, other):
            bench.empty_targets(sandbox)
            measured(sandbox, checkout, config)
            found.append(written(sandbox))
        unequal = sorted(what for what in found[0].keys() | found[1].keys() if found[0].get(what) != found[1].get(what))
        differing, tables = differing + len(unequal), tables + len(found[0])
        print(f"{name}: {len(found[0])} tables at the targets, {'; '.join(unequal) or 'the same'}", flush=True)
    print(f"{tables:,} tables at the targets, of {differing} the digests differ")
    return differing


def speed(sandbox: Sandbox, other: Path, directory: Path, name: str, rounds: int) -> None:
    bench.fill(sandbox, bench.SCENARIOS[name], 1.0)
    config = directory / f"{name}.yml"
    with arrowetl.open(sandbox.environment(), config) as etl:
        etl.analyze()
    took: dict[tuple[str, Path], list[measure.Measured]] = {}
    for number in range(rounds):
        for checkout in (HERE, other) if number % 2 else (other, HERE):
            bench.empty_targets(sandbox)
            for what in ("first load", "nothing changed"):
                took.setdefault((what, checkout), []).append(measured(sandbox, checkout, config))
    for what in ("first load", "nothing changed"):
        for unit, of in UNITS.items():
            ours, theirs = ([of(one) for one in took[what, checkout]] for checkout in (HERE, other))
            ratio = statistics.median(ours) / statistics.median(theirs)
            spread = ", ".join(f"{a:.2f}/{b:.2f}" for a, b in zip(ours, theirs, strict=True))
            print(f"{name}, {what}, {unit}: {ratio:.3f} of the other's ({spread})", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("--contents", action="store_true")
    parser.add_argument("--speed", default="", help="scenarios of `bench`, separated by commas")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with servers.sandbox("checkouts") as sandbox, tempfile.TemporaryDirectory() as directory:
        seed.seed(sandbox.admin("source"), "tiny")
        for name in filter(None, asked.speed.split(",")):
            speed(sandbox, asked.other.resolve(), Path(directory), name, asked.rounds)
        return contents(sandbox, asked.other.resolve(), Path(directory)) if asked.contents else 0


if __name__ == "__main__":
    sys.exit(main())
