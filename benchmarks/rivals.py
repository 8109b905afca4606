"""
Who else moves a MySQL table, and the command that makes each do it at its best.

A table of rules: one line a rival, with what it needs, where it writes, and its command. `bench` runs them in turn;
`measure` times whatever it is given.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from urllib.parse import quote

from arrowetl.model.connection import Endpoint
from arrowetl.sandbox.servers import Sandbox

NAMESPACE = "rival"
"""Where rivals write in the warehouse."""


@dataclass(frozen=True)
class Job:
    """One table to be moved."""

    sandbox: Sandbox
    table: str
    key: str
    home: Path
    """Where the rival was installed, and may keep its files."""

    @property
    def source(self) -> Endpoint:
        return self.sandbox.source

    @property
    def mysql_url(self) -> str:
        return _url("mysql", self.source)

    @property
    def postgres_url(self) -> str:
        return _url("postgresql", self.sandbox.warehouse)


@dataclass(frozen=True)
class Rival:
    """A tool, and how it is had and used."""

    name: str
    to: str
    """`warehouse` or `replica`."""
    command: Callable[[Job], list[str]]
    packages: tuple[str, ...] = ()
    """From the Python package index, into an environment of its own."""
    program: str = ""
    """Of the system's, by the Debian package of the same name."""
    typed: bool = True
    """Whether it makes a table of the source's types by itself."""
    dependencies: bool = True


def _url(scheme: str, endpoint: Endpoint) -> str:
    password = quote(endpoint.password, safe="")
    return f"{scheme}://{endpoint.user}:{password}@{endpoint.host}:{endpoint.port}/{endpoint.database}"


def client(endpoint: Endpoint, program: str, *options: str) -> str:
    words = [program, f"-h{endpoint.host}", f"-P{endpoint.port}", f"-u{endpoint.user}", f"-p{endpoint.password}"]
    return " ".join(f"'{word}'" for word in [*words, *options, endpoint.database])


def _ingestr(job: Job) -> list[str]:
    return [
        str(job.home / "bin" / "ingestr"), "ingest", "--yes", "--progress", "log", "--schema-naming", "direct",
        "--source-uri", job.mysql_url, "--source-table", f"{job.source.database}.{job.table}",
        "--dest-uri", f"{job.postgres_url}?sslmode=disable", "--dest-table", f"{NAMESPACE}.{job.table}",
        "--primary-key", job.key, "--no-load-timestamp",
    ]  # fmt: skip


def _duckdb(job: Job) -> list[str]:
    mysql, postgres = job.source, job.sandbox.warehouse
    script = dedent(f"""
        import duckdb, importlib, pathlib
        c = duckdb.connect(config={{"allow_unsigned_extensions": "true"}})
        for name in ("mysql_scanner", "postgres_scanner"):
            place = pathlib.Path(importlib.import_module("duckdb_extension_" + name).__file__).parent
            c.execute(f"LOAD '{{next(place.rglob(name + '.duckdb_extension'))}}'")
        c.execute("SET mysql_tinyint1_as_boolean = false")
        c.execute("CREATE SECRET m (TYPE mysql, HOST '{mysql.host}', PORT {mysql.port}, DATABASE '{mysql.database}', "
                  "USER '{mysql.user}', PASSWORD '{mysql.password}')")
        c.execute("CREATE SECRET p (TYPE postgres, HOST '{postgres.host}', PORT {postgres.port}, "
                  "DATABASE '{postgres.database}', USER '{postgres.user}', PASSWORD '{postgres.password}')")
        c.execute("ATTACH '' AS my (TYPE mysql, SECRET m, READ_ONLY)")
        c.execute("ATTACH '' AS pg (TYPE postgres, SECRET p)")
        c.execute("CREATE TABLE pg.{NAMESPACE}.{job.table} AS SELECT * FROM my.{mysql.database}.{job.table}")
        alter = 'ALTER TABLE {NAMESPACE}.{job.table} ADD PRIMARY KEY ("{job.key}")'
        c.execute(f"CALL postgres_execute('pg', '{{alter}}')")
    """)
    return [str(job.home / "bin" / "python"), "-c", script]


def _sling(job: Job) -> list[str]:
    script = dedent(f"""
        import os, stat, subprocess, sling_linux_amd64
        program = sling_linux_amd64.SLING_BIN
        os.chmod(program, os.stat(program).st_mode | stat.S_IXUSR)
        os.environ |= {{"SLING_DISABLE_TELEMETRY": "true", "SLING_HOME_DIR": {str(job.home / "home")!r},
                       "MYS": {job.mysql_url!r}, "PGT": {job.postgres_url + "?sslmode=disable"!r}}}
        raise SystemExit(subprocess.call([program, "run", "--src-conn", "MYS", "--src-stream",
            "{job.source.database}.{job.table}", "--tgt-conn", "PGT", "--tgt-object", "{NAMESPACE}.{job.table}",
            "--mode", "full-refresh"]))
    """)
    return [str(job.home / "bin" / "python"), "-c", script]


def _dlt(job: Job) -> list[str]:
    script = dedent(f"""
        import dlt
        from dlt.sources.sql_database import sql_table
        table = sql_table({job.mysql_url.replace("mysql:", "mysql+pymysql:", 1)!r}, table="{job.table}",
            backend="connectorx", chunk_size=100000,
            backend_kwargs={{"return_type": "arrow_stream", "conn": {job.mysql_url!r}}})
        pipeline = dlt.pipeline("{job.table}", destination=dlt.destinations.postgres({job.postgres_url!r}),
            dataset_name="{NAMESPACE}", pipelines_dir={str(job.home / "pipelines")!r})
        pipeline.run(table, write_disposition="replace", loader_file_format="csv").raise_on_failed_jobs()
    """)
    return [str(job.home / "bin" / "python"), "-c", script]


def _pgloader(job: Job) -> list[str]:
    # Of many tables at its quickest settings its heap overflows; of those that do not, this is the quickest found.
    pace = (
        "concurrency = 2, multiple readers per thread, rows per range = 50000, batch rows = 25000, "
        "prefetch rows = 50000"
        if job.table != "*"
        else "concurrency = 1, batch rows = 1000, batch size = 5MB, prefetch rows = 1000"
    )
    tables = f"INCLUDING ONLY TABLE NAMES MATCHING '{job.table}'" if job.table != "*" else ""
    orders = job.home / "orders.load"
    orders.write_text(
        dedent(f"""
        LOAD DATABASE FROM mysql://bench:bench@{job.source.host}:{job.source.port}/{job.source.database}
        INTO postgresql://bench:bench@{job.source.host}:{job.sandbox.warehouse.port}/{job.sandbox.warehouse.database}
        WITH create tables, create indexes, no foreign keys, reset no sequences, quote identifiers, workers = 4,
          {pace}
        CAST type date to date drop not null drop default using zero-dates-to-null,
          type datetime to timestamp drop not null drop default using zero-dates-to-null,
          type time to interval, type tinyint to smallint drop typemod
        {tables}
        ALTER SCHEMA '{job.source.database}' RENAME TO '{NAMESPACE}';
    """)
    )
    return ["pgloader", "--root-dir", str(job.home), str(orders)]


def _pipe(job: Job) -> list[str]:
    query = f"SELECT * FROM `{job.table}`"
    copy = f"COPY {NAMESPACE}.{job.table} FROM STDIN (FORMAT text, NULL 'NULL')"
    read = client(job.source, "mariadb", "--quick", "--batch", "-N", "-e", query)
    # The one prints NUL as \0 and a carriage return as it is, the other refuses both.
    escaped = "LC_ALL=C sed 's/\\\\0//g; s/\\r/\\\\r/g'"
    return ["bash", "-c", f"set -o pipefail; {read} | {escaped} | psql -q '{job.postgres_url}' -c \"{copy}\""]


def _mysqldump(job: Job) -> list[str]:
    dump = client(job.source, "mysqldump", "--quick", "--no-tablespaces", "--skip-lock-tables")
    load = client(job.sandbox.replica, "mariadb")
    return ["bash", "-c", f"set -o pipefail; {dump} '{job.table}' | {load}"]


def _mydumper(job: Job) -> list[str]:
    place, source, replica = job.home / "dump", job.source, job.sandbox.replica
    shutil.rmtree(place, ignore_errors=True)
    from_, to = (f"-h {end.host} -P {end.port} -u bench -p bench -B {end.database} -t 2" for end in (source, replica))
    dump = f"mydumper {from_} -T {job.table} -o {place} -r 50000"
    return ["bash", "-c", f"{dump} && myloader {to} -d {place} -o -s {source.database}"]


RIVALS = (
    Rival("ingestr 1.1.21", "warehouse", _ingestr, ("ingestr==1.1.21",), dependencies=False),
    Rival("DuckDB 1.5.5", "warehouse", _duckdb,
          ("duckdb-extension-mysql-scanner==1.5.5", "duckdb-extension-postgres-scanner==1.5.5")),
    Rival("pgloader", "warehouse", _pgloader, program="pgloader"),
    Rival("Sling 1.4.11", "warehouse", _sling, ("sling-linux-amd64==1.4.11",), dependencies=False),
    Rival("dlt 1.31, connectorx", "warehouse", _dlt,
          ("dlt[postgres,sql_database]==1.31.0", "pymysql", "sqlalchemy", "pyarrow", "pandas", "connectorx")),
    Rival("mariadb piped into psql", "warehouse", _pipe, program="psql", typed=False),
    Rival("mysqldump piped into mariadb", "replica", _mysqldump, program="mysqldump"),
    Rival("mydumper and myloader", "replica", _mydumper, program="mydumper"),
)  # fmt: skip


def installed(rival: Rival, tools: Path) -> tuple[Path, str | None]:
    """
    Have a rival ready; each in a place of its own, where it is found again the next time.

    Returns:
        Its place, and why it cannot be had.
    """
    home = tools / rival.name.split()[0].lower().strip(",")
    home.mkdir(parents=True, exist_ok=True)
    if rival.program and not shutil.which(rival.program):
        apt = ["apt-get", "install", "-y", "-qq", rival.program]
        if not shutil.which("apt-get") or subprocess.run(apt, capture_output=True, check=False).returncode:
            return home, f"{rival.program} is not there, and could not be installed"
    if rival.packages and not (home / "ready").exists():
        options = [] if rival.dependencies else ["--no-deps"]
        python = str(home / "bin" / "python")
        for command in (
            [sys.executable, "-m", "venv", str(home)],
            [python, "-m", "pip", "install", "-q", *options, *rival.packages],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                return home, f"could not be installed: {(done.stderr.splitlines() or ['?'])[-1]}"
        (home / "ready").touch()
    return home, None
