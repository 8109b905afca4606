"""
What was done, written down last, where the people who read the tables look for it.

`etl_copy_status` at the replica and `etl_load_status` at the warehouse hold
one row per table; `etl_run_history` and `etl_table_history` at the warehouse
hold every run. `etl_transform_status` belongs to dbt: it is made, and left
alone. The ledger also holds the lock that keeps a second run out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from arrowetl import drivers, sql
from arrowetl.errors import ArrowetlError, DatabaseTransactionError
from arrowetl.model import Endpoint
from arrowetl.outcome import Coercion, ConnectionCount, Outcome, Status, Summary

_COPY_STATUS = """
CREATE TABLE IF NOT EXISTS {table} (
    id INT AUTO_INCREMENT PRIMARY KEY,
    table_name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    last_copied TIMESTAMP NULL DEFAULT NULL,
    last_primary_value VARCHAR(255) NULL,
    primary_column_name VARCHAR(255) NULL,
    rows_copied BIGINT DEFAULT 0,
    copy_status VARCHAR(50) DEFAULT 'pending',
    _checked_at TIMESTAMP NULL DEFAULT NULL,
    rows_total BIGINT NULL,
    run_id VARCHAR(64) NULL,
    UNIQUE KEY table_name (table_name(190))
) ENGINE=InnoDB"""

_WAREHOUSE_TABLES = (
    """
CREATE TABLE IF NOT EXISTS {namespace}.etl_load_status (
    id serial PRIMARY KEY,
    table_name varchar(255) NOT NULL UNIQUE,
    last_primary_value varchar(255),
    primary_column_name varchar(255),
    rows_loaded bigint DEFAULT 0,
    load_status varchar(50) DEFAULT 'pending',
    _loaded_at timestamp,
    _checked_at timestamp,
    rows_total bigint,
    run_id varchar(64),
    coerced jsonb
)""",
    """
CREATE TABLE IF NOT EXISTS {namespace}.etl_transform_status (
    id serial PRIMARY KEY,
    table_name varchar(255) NOT NULL UNIQUE,
    last_transformed timestamp NOT NULL DEFAULT '1970-01-01 00:00:01',
    last_primary_value varchar(255),
    primary_column_name varchar(255),
    rows_transformed bigint DEFAULT 0,
    transform_status varchar(50) DEFAULT 'pending',
    _transformed_at timestamp
)""",
    """
CREATE TABLE IF NOT EXISTS {namespace}.etl_run_history (
    run_id varchar(64) PRIMARY KEY,
    environment varchar(32) NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    exit_code integer,
    tables integer,
    failed integer,
    rows_extracted bigint,
    bytes_extracted bigint
)""",
    """
CREATE TABLE IF NOT EXISTS {namespace}.etl_table_history (
    run_id varchar(64) NOT NULL,
    table_name varchar(255) NOT NULL,
    mode varchar(32) NOT NULL,
    status varchar(32) NOT NULL,
    started_at timestamptz NOT NULL,
    seconds double precision,
    partitions integer,
    rows_extracted bigint,
    rows_inserted bigint,
    rows_updated bigint,
    rows_deleted bigint,
    bytes_extracted bigint,
    coerced jsonb,
    settled boolean,
    verdict varchar(32),
    error text,
    PRIMARY KEY (run_id, table_name)
)""",
)

# Columns a predecessor's tables may lack: they are adopted, not replaced.
_ADDED_COPY = {
    "_checked_at": "TIMESTAMP NULL DEFAULT NULL",
    "rows_total": "BIGINT NULL",
    "run_id": "VARCHAR(64) NULL",
}
_ADDED_LOAD = {
    "_loaded_at": "timestamp",
    "_checked_at": "timestamp",
    "rows_total": "bigint",
    "run_id": "varchar(64)",
    "coerced": "jsonb",
}

TRACKING = frozenset(
    {"etl_copy_status", "etl_load_status", "etl_transform_status", "etl_run_history", "etl_table_history"}
    # A predecessor's, which may lie beside the tables of a replica.
    | {"etl_copy_status_snapshot", "etl_load_status_snapshot", "etl_pipeline_metrics", "etl_table_metrics"}
)
"""Names that are the ledger's; a source table of such a name is refused."""


class Ledger:
    """
    The tracking tables at both ends, and the lock.

    Args:
        replica: None where a run leaves the replica as it is.
    """

    def __init__(self, replica: Endpoint | None, warehouse: Endpoint) -> None:
        self._replica = drivers.Pool(replica, lambda: drivers.MySQL(replica)) if replica else None
        self._warehouse = drivers.Pool(warehouse, lambda: drivers.Postgres(warehouse))
        self._namespace = sql.postgres_name(warehouse.namespace)

    def connections(self) -> tuple[ConnectionCount, ...]:
        return tuple(pool.count for pool in self._pools())

    def _pools(self) -> tuple[drivers.Pool[Any], ...]:
        return (*([self._replica] if self._replica else []), self._warehouse)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """
        Keep other runs away from the ends this run writes, for as long as the block lasts.

        Raises:
            DatabaseTransactionError: another run is at work.
        """
        with ExitStack() as held:
            warehouse = held.enter_context(self._warehouse.session())
            number = sql.lock_number(f"arrowetl {warehouse.endpoint.database} {warehouse.endpoint.namespace}")
            if not warehouse.rows(f"SELECT pg_try_advisory_lock({number})")[0][0]:
                raise _locked(warehouse.endpoint)
            held.callback(_quietly, warehouse.execute, f"SELECT pg_advisory_unlock({number})")
            if self._replica:
                replica = held.enter_context(self._replica.session())
                name = sql.mysql_literal(f"arrowetl {sql.lock_number(replica.endpoint.database)}")
                if replica.rows(f"SELECT GET_LOCK({name}, 0)")[0][0] != 1:
                    raise _locked(replica.endpoint)
                held.callback(_quietly, replica.rows, f"SELECT RELEASE_LOCK({name})")
            yield

    def open(self) -> None:
        """Make the tracking tables, or bring a predecessor's up to date; their rows stay."""
        with self._warehouse.session() as session:
            for statement in _WAREHOUSE_TABLES:
                session.execute(statement.format(namespace=self._namespace))
            for column, type_ in _ADDED_LOAD.items():
                session.execute(
                    f"ALTER TABLE {self._namespace}.etl_load_status ADD COLUMN IF NOT EXISTS {column} {type_}"
                )
        if self._replica:
            with self._replica.session() as session:
                database = session.endpoint.database
                session.execute(_COPY_STATUS.format(table=sql.mysql_table(database, "etl_copy_status")))
                standing = {row[0] for row in session.rows("SHOW COLUMNS FROM etl_copy_status")}
                for column, type_ in _ADDED_COPY.items():
                    if column not in standing:
                        session.execute(f"ALTER TABLE etl_copy_status ADD COLUMN {column} {type_}")

    def begin(self, run_id: str, environment: str, started_at: datetime) -> None:
        """Write down that a run has begun: one that was killed can be told from one that never was."""
        self._warehouse_execute(
            f"INSERT INTO {self._namespace}.etl_run_history (run_id, environment, started_at) "
            f"VALUES ({_values(run_id, environment, started_at)})"
        )

    def record(self, run_id: str, outcome: Outcome, started_at: datetime) -> None:
        """
        Write down one table's outcome, at both ends. A failure leaves what was recorded before.

        Raises:
            DatabaseError: one end could not be told; the other was.
        """
        succeeded = outcome.status is Status.SUCCEEDED
        try:
            if self._replica:
                with self._replica.session() as replica:
                    replica.execute(_copy_status(run_id, outcome, succeeded))
        finally:
            with self._warehouse.session() as session, session.transaction():
                session.execute(_load_status(self._namespace, run_id, outcome, succeeded))
                session.execute(_table_history(self._namespace, run_id, outcome, started_at))

    def end(self, summary: Summary) -> None:
        totals = summary.totals()
        self._warehouse_execute(
            f"UPDATE {self._namespace}.etl_run_history SET ended_at = {_values(summary.ended_at)}, "
            f"exit_code = {summary.exit_code}, tables = {totals['tables']}, failed = {totals['failed']}, "
            f"rows_extracted = {totals['rows_extracted']}, bytes_extracted = {totals['bytes_extracted']} "
            f"WHERE run_id = {_values(summary.run_id)}"
        )

    def remembered(self) -> dict[str, tuple[Coercion, ...]]:
        """Table → what the last run of it that succeeded had to coerce; nothing of tables that none carried."""
        with self._warehouse.session() as session:
            schema = sql.postgres_literal(session.endpoint.namespace)
            known = session.rows(
                f"SELECT 1 FROM information_schema.columns WHERE table_schema = {schema} "
                "AND table_name = 'etl_load_status' AND column_name = 'coerced'"
            )
            rows = session.rows(
                f"SELECT table_name::text, coerced::text FROM {self._namespace}.etl_load_status "
                "WHERE coerced IS NOT NULL"
            ) if known else []  # fmt: skip
        return {name: tuple(map(Coercion.from_json, json.loads(coerced))) for name, coerced in rows}

    def tables(self) -> list[Mapping[str, Any]]:
        """Each table's last record at the warehouse, joined with its last outcome; empty where nothing was ever run."""
        names = (
            "table",
            "load_status",
            "rows",
            "loaded_at",
            "checked_at",
            "run_id",
            "mode",
            "seconds",
            "error",
        )
        with self._warehouse.session() as session:
            schema = sql.postgres_literal(session.endpoint.namespace)
            standing = session.rows(
                f"SELECT count(*) FROM pg_tables WHERE schemaname = {schema} "
                "AND tablename IN ('etl_load_status', 'etl_table_history')"
            )[0][0]
            if standing < 2:
                return []
            rows = session.rows(
                "SELECT s.table_name::text, s.load_status::text, s.rows_total, s._loaded_at, s._checked_at, "
                "s.run_id::text, h.mode::text, h.seconds, h.error "
                f"FROM {self._namespace}.etl_load_status s LEFT JOIN {self._namespace}.etl_table_history h "
                "ON h.run_id = s.run_id AND h.table_name = s.table_name ORDER BY s.table_name"
            )
        return [dict(zip(names, row, strict=True)) for row in rows]

    def close(self) -> None:
        for pool in self._pools():
            pool.close()

    def _warehouse_execute(self, statement: str) -> None:
        with self._warehouse.session() as session:
            session.execute(statement)


def _quietly(say: Callable[[str], Any], statement: str) -> None:
    # A lock whose session is gone is gone itself; that is no failure of the run.
    with suppress(ArrowetlError):
        say(statement)


def _locked(endpoint: Endpoint) -> DatabaseTransactionError:
    return DatabaseTransactionError(
        f"{endpoint}: another run is at work there",
        "wait for it to end; `arrowetl status` shows what it has done",
    )


def _values(*values: Any) -> str:
    return ", ".join(sql.postgres_literal(v.isoformat() if isinstance(v, datetime) else v) for v in values)


def _copy_status(run_id: str, outcome: Outcome, succeeded: bool) -> str:
    name, run = sql.mysql_literal(outcome.table), sql.mysql_literal(run_id)
    if not succeeded:
        return (
            f"INSERT INTO etl_copy_status (table_name, copy_status, run_id) VALUES ({name}, 'failed', {run}) "
            f"ON DUPLICATE KEY UPDATE copy_status = 'failed', run_id = {run}"
        )
    rows = outcome.rows_replica
    return (
        "INSERT INTO etl_copy_status "
        "(table_name, copy_status, rows_copied, rows_total, last_copied, _checked_at, run_id) "
        f"VALUES ({name}, 'success', {outcome.rows_extracted}, {rows}, UTC_TIMESTAMP(), UTC_TIMESTAMP(), {run}) "
        f"ON DUPLICATE KEY UPDATE copy_status = 'success', rows_copied = {outcome.rows_extracted}, "
        f"rows_total = {rows}, last_copied = UTC_TIMESTAMP(), _checked_at = UTC_TIMESTAMP(), run_id = {run}"
    )


def _load_status(namespace: str, run_id: str, outcome: Outcome, succeeded: bool) -> str:
    target = f"INSERT INTO {namespace}.etl_load_status AS s"
    if not succeeded:
        return (
            f"{target} (table_name, load_status, run_id) VALUES ({_values(outcome.table, 'failed', run_id)}) "
            "ON CONFLICT (table_name) DO UPDATE SET load_status = 'failed', run_id = excluded.run_id"
        )
    written = outcome.changes.inserted + outcome.changes.updated
    # `_loaded_at` moves when data changed, `_checked_at` whenever it was seen to be current.
    moved = bool(written or outcome.changes.deleted)
    loaded = "now() AT TIME ZONE 'UTC'"
    kept = "excluded._loaded_at" if moved else "coalesce(s._loaded_at, excluded._loaded_at)"
    count = "excluded.rows_loaded" if moved else "coalesce(s.rows_loaded, 0)"
    return (
        f"{target} (table_name, load_status, rows_loaded, rows_total, _loaded_at, _checked_at, run_id, coerced) VALUES "
        f"({_values(outcome.table, 'success', written, outcome.rows_warehouse)}, {loaded}, {loaded}, "
        f"{_values(run_id, _coerced(outcome))}) "
        f"ON CONFLICT (table_name) DO UPDATE SET load_status = 'success', rows_loaded = {count}, "
        f"rows_total = excluded.rows_total, _loaded_at = {kept}, _checked_at = excluded._checked_at, "
        "run_id = excluded.run_id, coerced = excluded.coerced"
    )


def _coerced(outcome: Outcome) -> str:
    return json.dumps([coercion.as_json() for coercion in outcome.coercions])


def _table_history(namespace: str, run_id: str, outcome: Outcome, started_at: datetime) -> str:
    failure = outcome.failure
    values = _values(
        run_id, outcome.table, outcome.mode.value, outcome.status.value, started_at.astimezone(UTC),
        f"{outcome.seconds:.6f}", outcome.partitions, outcome.rows_extracted, outcome.changes.inserted,
        outcome.changes.updated, outcome.changes.deleted, outcome.bytes_extracted, _coerced(outcome), outcome.settled,
        outcome.verdict, failure and f"{failure.kind}: {failure.message}",
    )  # fmt: skip
    return f"INSERT INTO {namespace}.etl_table_history VALUES ({values})"
