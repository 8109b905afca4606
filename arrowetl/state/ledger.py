"""
What was done, written down last, where the people who read the tables look for it.

`etl_copy_status` at the replica and `etl_load_status` at the warehouse hold
one row per table; `etl_run_history` and `etl_table_history` at the warehouse
hold every run. `etl_transform_status` belongs to dbt: it is made, and left
alone. The locks of a run are `locks`.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from statistics import median
from typing import Any

from arrowetl import drivers, limits, sql
from arrowetl.errors import ArrowetlError
from arrowetl.model.connection import Endpoint
from arrowetl.model.plan import LoadKind
from arrowetl.model.result import Coercion, ConnectionCount, Outcome, StateStatement, Summary, coercions_from
from arrowetl.model.state import TargetState
from arrowetl.planning.estimate import NO_HISTORY, History, Past, PastRun
from arrowetl.planning.pacing import Pace
from arrowetl.state import ddl, history_sql, locks, state_sql
from arrowetl.state.locks import Locks
from arrowetl.state.state_sql import Entry

OURS = frozenset(ddl.WAREHOUSE_TABLES)
"""The tracking tables at the warehouse."""
_DBTS = "etl_transform_status"
TRACKING = (
    OURS
    | {"etl_copy_status"}
    # A previous pipeline's, which may be among the tables of a replica.
    | {"etl_copy_status_snapshot", "etl_load_status_snapshot", "etl_pipeline_metrics", "etl_table_metrics"}
)
"""Names that are the ledger's; a source table of such a name is refused."""


class Ledger:
    """
    The tracking tables at both targets, and the lock.

    Args:
        replica: None where the run does not use it.
        targets: those that the run writes, and records.
        bounded: whether each target allows only the lock's connection and one more.
    """

    def __init__(
        self,
        replica: Endpoint | None,
        warehouse: Endpoint,
        targets: tuple[str, ...] = ("replica", "warehouse"),
        bounded: bool = False,
    ) -> None:
        most = limits.records_connections if bounded else None
        self._writes_replica = "replica" in targets and replica is not None
        self._writes_warehouse = "warehouse" in targets
        self._replica = drivers.Pool(replica, lambda: drivers.MySQL(replica), most) if replica else None
        self.warehouse = drivers.Pool(warehouse, lambda: drivers.Postgres(warehouse), most)
        self.namespace = warehouse.namespace
        self._quoted = sql.postgres_name(warehouse.namespace)
        self._lock = threading.Lock()
        self._happened: list[Outcome] = []
        self._recorded: set[str] = set()
        """Tables whose history is written."""
        self.locks = Locks(self._replica, self.warehouse, self._writes_replica, self._writes_warehouse)

    def connections(self) -> tuple[ConnectionCount, ...]:
        return tuple(pool.count for pool in self._pools())

    def _pools(self) -> tuple[drivers.Pool[Any], ...]:
        return (*([self._replica] if self._replica else []), self.warehouse)

    def open(self) -> None:
        """Make the tracking tables and their namespace, or upgrade a previous pipeline's; their rows stay."""
        with self.warehouse.session() as session:
            there = _warehouse_columns(session)
            # An account that may not make one can still use the one that exists.
            if not there and not session.rows(
                f"SELECT 1 FROM pg_namespace WHERE nspname = {sql.postgres_literal(self.namespace)}"
            ):
                session.execute(f"CREATE SCHEMA IF NOT EXISTS {self._quoted}")
            for table, create in ddl.WAREHOUSE_TABLES.items():
                if table not in there:
                    session.execute(create.format(namespace=self._quoted))
                elif table != _DBTS and (missing := ddl.missing_columns(create, there[table])):
                    added = ", ".join(f"ADD COLUMN IF NOT EXISTS {name} {type_}" for name, type_ in missing.items())
                    session.execute(f"ALTER TABLE {self._quoted}.{table} {added}")
        if self._replica and self._writes_replica:
            with self._replica.session() as replica:
                _open_replica(replica)

    def begin(self, run_id: str, environment: str, started_at: datetime, tables: int) -> None:
        """Record that a run has begun, with so many tables: a killed run differs from one that never began."""
        self._warehouse_execute(
            f"INSERT INTO {self._quoted}.etl_run_history (run_id, environment, started_at, tables) "
            f"VALUES ({state_sql.postgres_values(run_id, environment, started_at, tables)})"
        )

    def recording(self, end: str, entry: Entry) -> StateStatement:
        """What was changed at a target → the statement that records it there, for the same transaction."""
        if end == "replica":
            return partial(state_sql.recorded_copy, entry)
        return partial(state_sql.recorded_load, self.namespace, entry)

    def failed(self, run_id: str, outcome: Outcome) -> None:
        """
        Record at both targets that a table failed; what was recorded of it before stays.

        Raises:
            DatabaseError: one target could not be written; the other was.
        """
        # A run that lost the lock no longer knows what the table is by now.
        try:
            if self._replica and self._writes_replica and not self.locks.lost:
                with self._replica.session() as replica:
                    replica.execute(state_sql.failed_copy(outcome.table, run_id))
        finally:
            with self.warehouse.session() as session, session.transaction():
                if self._writes_warehouse and not self.locks.lost:
                    session.execute(state_sql.failed_load(self.namespace, outcome.table, run_id))
                session.execute(history_sql.history(self.namespace, run_id, [outcome]))
            self._recorded.add(outcome.table)

    def history(self, run_id: str, outcome: Outcome) -> None:
        """Record what happened to a table whose targets have been recorded; of many tables at once."""
        with self._lock:
            self._happened.append(outcome)
            if len(self._happened) < limits.history_rows:
                return
            happened, self._happened = self._happened, []
        try:
            self._warehouse_execute(history_sql.history(self.namespace, run_id, happened))
            self._recorded.update(one.table for one in happened)
        except ArrowetlError:
            # No failure of the table that is the last of them: at the run's end it is tried once more.
            with self._lock:
                self._happened = happened + self._happened

    def skipped(self, run_id: str, outcomes: Sequence[Outcome], from_source: bool = True) -> None:
        """
        Record at both targets which tables were verified up to date, all at once.

        Args:
            from_source: whether that is by the source, and not by a replica that may lag behind it.
        """
        names = [outcome.table for outcome in outcomes]
        if not names:
            return
        if self._replica and self._writes_replica:
            with self._replica.session() as replica:
                replica.execute(state_sql.checked_copy(names, run_id))
        with self.warehouse.session() as session, session.transaction():
            if self._writes_warehouse:
                session.execute(state_sql.checked_load(self.namespace, names, run_id, from_source))
            session.execute(history_sql.history(self.namespace, run_id, outcomes))
        self._recorded.update(names)

    def finish(self, summary: Summary, pace: Pace | None, route_label: str, makespan: float) -> None:
        """
        Record what a run did, and the pace it found.

        Args:
            makespan: what its tables took by themselves, as its workers shared them.
        """
        # Those too of which nothing could be recorded when they ended, and those that were not begun.
        if left := [outcome for outcome in summary.outcomes if outcome.table not in self._recorded]:
            self._warehouse_execute(history_sql.history(self.namespace, summary.run_id, left))
        learned = json.dumps(asdict(pace)) if pace else None
        planned = {**summary.estimate, "makespan": makespan}
        self._warehouse_execute(history_sql.ended(self.namespace, summary, learned, route_label, planned))
        if any(outcome.flags for outcome in summary.outcomes):
            self._warehouse_execute(history_sql.flagged(self.namespace, summary.run_id, summary.outcomes))

    def has_published(self, run_id: str, token: str) -> bool:
        """Whether a transaction was committed although its answer was lost."""
        # What broke that one may have broken those that wait for their next use.
        self.warehouse.close()
        with self.warehouse.session() as session:
            return session.rows(history_sql.published(self.namespace, run_id)) == [(token,)]

    def replica_version(self, table: str) -> str | None:
        """Which version of a table the replica has recorded."""
        if self._replica is None:
            return None
        self._replica.close()
        with self._replica.session() as replica:
            found = replica.rows(f"SELECT version FROM etl_copy_status WHERE table_name = {sql.mysql_literal(table)}")
        return found[0][0] if found else None

    def past(self, route_label: str) -> History:
        """What tables took in the last runs on a route, and what these took themselves."""
        with self.warehouse.session() as session:
            if not is_there(session, "etl_run_history", "etl_table_history"):
                return NO_HISTORY
            tables: dict[tuple[str, LoadKind], list[Past]] = defaultdict(list)
            for table, kind, seconds, rows in session.rows(history_sql.past_tables(self.namespace, route_label)):
                if kind in _KINDS:
                    tables[table, _KINDS[kind]].append(Past(seconds, rows))
            runs = [PastRun(*row) for row in session.rows(history_sql.past_runs(self.namespace, route_label))]
        return History(tables, runs)

    def records(self) -> tuple[dict[str, TargetState], dict[str, TargetState]]:
        """Table → what is recorded of it: at the replica, and at the warehouse."""
        at_replica = dict[str, TargetState]()
        if self._replica:
            with self._replica.session() as replica:
                there = _replica_columns(replica).get("etl_copy_status", ())
                if not ddl.missing_columns(ddl.REPLICA_TABLES["etl_copy_status"], there):
                    at_replica = _records(replica.rows(f"SELECT {_RECORD}, last_copied FROM etl_copy_status"))
        with self.warehouse.session() as session:
            if not is_there(session, "etl_load_status"):
                return at_replica, {}
            columns = _RECORD.replace("as_of", "as_of::text")
            return at_replica, _records(
                session.rows(f"SELECT {columns}, _loaded_at FROM {self._quoted}.etl_load_status")
            )

    def known_coercions(self) -> dict[str, tuple[Coercion, ...]]:
        """Table → what the last run of it that succeeded had to coerce; nothing of tables that none loaded."""
        with self.warehouse.session() as session:
            if not is_there(session, "etl_load_status"):
                return {}
            rows = session.rows(
                f"SELECT table_name::text, coerced::text FROM {self._quoted}.etl_load_status WHERE coerced IS NOT NULL"
            )
        return {name: coercions_from(coerced) for name, coerced in rows}

    def pace(self, route_label: str) -> Pace | None:
        """What the last run on the same route learned, if it loaded enough to learn something."""
        with self.warehouse.session() as session:
            if not is_there(session, "etl_run_history"):
                return None
            rows = session.rows(
                "SELECT (pace->>'partition_bytes')::bigint, (pace->>'at_a_time')::int "
                f"FROM {self._quoted}.etl_run_history "
                f"WHERE way = {sql.postgres_literal(route_label)} AND pace IS NOT NULL ORDER BY started_at DESC LIMIT 1"
            )
        return Pace(*rows[0]) if rows else None

    def full_load_seconds(self, route_label: str) -> dict[str, float]:
        """Table → the median of what the last runs on a route took to read it in full."""
        took: dict[str, list[float]] = defaultdict(list)
        for (table, kind), past in self.past(route_label).tables.items():
            if kind.is_full_load:
                took[table] += [one.seconds for one in past]
        return {table: median(seconds) for table, seconds in took.items()}

    def tables(self) -> list[dict[str, Any]]:
        """Each table's last record at the warehouse, joined with its last outcome; empty where nothing was ever run."""
        with self.warehouse.session() as session:
            if not is_there(session, "etl_load_status", "etl_table_history", "etl_verified"):
                return []
            rows = session.rows(history_sql.last(self.namespace))
        found = [dict(zip(history_sql.LAST, row, strict=True)) for row in rows]
        return [{**one, "flags": json.loads(one["flags"] or "[]")} for one in found]

    def last_run(self) -> dict[str, Any] | None:
        """The last run that there was; None where there was none."""
        with self.warehouse.session() as session:
            if not is_there(session, "etl_run_history"):
                return None
            rows = session.rows(history_sql.last_run(self.namespace))
        return dict(zip(history_sql.RUN, rows[0], strict=True)) if rows else None

    def is_at_work(self, run_id: str) -> bool:
        """Whether a run that has not ended goes on."""
        with self.warehouse.session() as session:
            return locks.is_at_work(session, run_id)

    def close(self) -> None:
        for pool in self._pools():
            pool.close()

    def _warehouse_execute(self, statement: str) -> None:
        with self.warehouse.session() as session:
            session.execute(statement)


# A later version may know others.
_KINDS = {kind.value: kind for kind in LoadKind}
_RECORD = "table_name, version, rows_total, _checked_at, last_primary_value, primary_column_name, as_of"


def _records(rows: Iterable[tuple[Any, ...]]) -> dict[str, TargetState]:
    return {
        name: TargetState(
            version=state_sql.certain(version),
            rows=rows_total,
            checked_at=checked_at and checked_at.replace(tzinfo=UTC),
            watermark=watermark,
            watermark_column=column,
            as_of=state_sql.as_of_from(as_of),
            changed_at=changed_at and changed_at.replace(tzinfo=UTC),
        )
        for name, version, rows_total, checked_at, watermark, column, as_of, changed_at in rows
    }


def is_there(session: drivers.Postgres, *tables: str) -> bool:
    """Whether tracking tables are, with all their columns: until it is opened, a predecessor's may lack some."""
    there = _warehouse_columns(session)
    return not any(ddl.missing_columns(ddl.WAREHOUSE_TABLES[table], there.get(table, ())) for table in tables)


def _open_replica(replica: drivers.MySQL) -> None:
    there = _replica_columns(replica)
    # What is recorded in the transaction of the rows must come and go with it.
    others = f"SELECT TABLE_NAME FROM information_schema.TABLES WHERE {_of_replica(replica)} AND ENGINE <> 'InnoDB'"
    other_engine = {table for (table,) in replica.rows(others)}
    for table, create in ddl.REPLICA_TABLES.items():
        place = sql.mysql_table(replica.endpoint.database, table)
        if table not in there:
            replica.execute(create.format(table=place))
            continue
        changes = [f"ADD COLUMN {name} {type_}" for name, type_ in ddl.missing_columns(create, there[table]).items()]
        changes += ["ENGINE = InnoDB"] if table in other_engine else []
        if changes:
            replica.execute(f"ALTER TABLE {place} {', '.join(changes)}")


def _replica_columns(replica: drivers.MySQL) -> dict[str, set[str]]:
    """Tracking table at the replica → its columns, for those that are there."""
    question = f"SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS WHERE {_of_replica(replica)}"
    return _by_table(replica.rows(question))


def _of_replica(replica: drivers.MySQL) -> str:
    names = ", ".join(map(sql.mysql_literal, ddl.REPLICA_TABLES))
    return f"TABLE_SCHEMA = {sql.mysql_literal(replica.endpoint.database)} AND TABLE_NAME IN ({names})"


def _warehouse_columns(session: drivers.Postgres) -> dict[str, set[str]]:
    """Tracking table at the warehouse → its columns, for those that are there."""
    names = ", ".join(map(sql.postgres_literal, sorted(TRACKING)))
    question = (
        "SELECT c.relname::text, a.attname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "JOIN pg_attribute a ON a.attrelid = c.oid "
        f"WHERE n.nspname = {sql.postgres_literal(session.endpoint.namespace)} AND c.relkind = 'r' "
        f"AND c.relname IN ({names}) AND a.attnum > 0 AND NOT a.attisdropped"
    )
    return _by_table(session.rows(question))


def _by_table(rows: Iterable[tuple[Any, ...]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for table, column in rows:
        found.setdefault(table, set()).add(column)
    return found
