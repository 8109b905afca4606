"""
PostgreSQL's side of the journey: a staging table, COPY into it, cutover.

It receives Arrow in exactly the warehouse's types (`coerce` made them) and
gives back counts. How a staged table becomes the published one was decided
by `plan`; the sentences are in `sql`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

import pyarrow as pa

from arrowetl import coerce, drivers, limits, schema, sql
from arrowetl.errors import DatabaseQueryError, DataLoadingError, KeyNotHeldError
from arrowetl.model import Cutover, Endpoint, Partition, PublishedTable, TablePlan
from arrowetl.outcome import Changes, Coercion


class Warehouse:
    """
    One PostgreSQL database and namespace to load into.
    """

    name = "warehouse"

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.namespace = endpoint.namespace
        self.pool = drivers.Pool(endpoint, lambda: drivers.Postgres(endpoint))

    def open(self) -> None:
        """
        See that the namespace is there, and drop the staging tables of a run that was killed.
        """
        schema = sql.postgres_literal(self.namespace)
        with self.pool.session() as session:
            if not session.rows(f"SELECT 1 FROM pg_namespace WHERE nspname = {schema}"):
                session.execute(f"CREATE SCHEMA IF NOT EXISTS {sql.postgres_name(self.namespace)}")
            for (name,) in session.rows(sql.leftovers_postgres(self.namespace)):
                session.execute(sql.drop_postgres(self.namespace, name))

    def published(self) -> dict[str, PublishedTable]:
        """What stands in the namespace: columns and types, primary keys, the views upon them; in three queries."""
        with self.pool.session() as session:
            answers = {part: session.rows(question) for part, question in sql.published(self.namespace).items()}
        columns: dict[str, list[tuple[str, str]]] = defaultdict(list)
        kinds, not_null = dict[str, str](), defaultdict(list)
        for table, name, type_, kind, forbidden in answers["columns"]:
            columns[table].append((name, type_))
            kinds[table] = kind
            if forbidden:
                not_null[table].append(name)
        keys, dependents = defaultdict(list), defaultdict(list)
        for table, name in answers["keys"]:
            keys[table].append(name)
        for table, view in answers["dependents"]:
            dependents[table].append(view)
        return {
            table: PublishedTable(
                tuple(named),
                tuple(keys[table]),
                tuple(dependents[table]),
                kinds[table],
                tuple(name for name in not_null[table] if name not in keys[table]),
            )
            for table, named in columns.items()
        }

    def prepare(self, plan: TablePlan) -> None:
        """Make the staging table."""
        with self.pool.session() as session:
            session.execute(sql.create_warehouse(self.namespace, plan))

    def take(self, plan: TablePlan, part: Partition, table: pa.Table) -> tuple[Coercion, ...]:
        """
        Ingest one partition: all of it, or none.

        Returns:
            What had to be coerced.

        Raises:
            DataExtractionError: a value fits neither its rule nor a coercion.
            DataLoadingError: the server refused a value.
            KeyNotHeldError: it refused a primary key, or would have.
        """
        if table.num_rows == 0:
            return ()
        converted, coercions = coerce.to_warehouse(plan.name, table, plan.fields, plan.table.integer_key)
        if plan.key_postgres and {c.column for c in coercions if c.became == "NULL"} & set(plan.table.primary_key):
            raise KeyNotHeldError(f"{plan.name}: a primary key becomes NULL")
        reader = converted.to_reader(limits.copy_batch_rows)
        try:
            with self.pool.session() as session, session.transaction():
                session.ingest(self.namespace, sql.staging_name(plan.name_postgres), reader)
        except DatabaseQueryError as error:
            if plan.key_postgres and error.code in _KEY_REFUSED:
                raise KeyNotHeldError(f"{plan.name}: {error.message}") from error
            if refused := _refused(plan, converted, error):
                raise refused from error
            raise
        return coercions

    def count(self, plan: TablePlan) -> int:
        """Rows in staging, as the server counts them."""
        staging = sql.postgres_table(self.namespace, sql.staging_name(plan.name_postgres))
        with self.pool.session() as session:
            return int(session.rows(f"SELECT count(*) FROM {staging}")[0][0])

    def finish(self, plan: TablePlan) -> None:
        """Let the server learn staging's contents before it is joined, or read by others."""
        with self.pool.session() as session:
            session.execute(f"ANALYZE {sql.postgres_table(self.namespace, sql.staging_name(plan.name_postgres))}")

    def cutover(self, plan: TablePlan, rows: int, comments: Mapping[str, str]) -> Changes:
        """
        Make staging's rows the published ones, in one transaction.

        Args:
            comments: column of places → its SRID; empty where it has none, or several.

        Raises:
            DatabaseQueryError: a reader held the table longer than `limits.cutover_lock_seconds`.
        """
        with self.pool.session() as session:
            if plan.cutover is not Cutover.SWAP:
                self._follow(session, plan)
            with session.transaction():
                session.execute(f"SET LOCAL lock_timeout = '{limits.cutover_lock_seconds}s'")
                changes = _CUTOVERS[plan.cutover](session, self.namespace, plan, rows)
                for column, text in comments.items():
                    _comment(session, self.namespace, plan.name_postgres, column, text)
            session.execute(sql.drop_postgres(self.namespace, sql.staging_name(plan.name_postgres)))
        return changes

    def _follow(self, session: drivers.Postgres, plan: TablePlan) -> None:
        """Give the published table what the rows need, before them: a moment's lock, where theirs would last."""
        statements = []
        if plan.added_columns:
            statements.append(sql.add_columns(self.namespace, plan.name_postgres, plan.added_columns))
        if plan.published and plan.published.not_null:
            statements.append(sql.allow_null(self.namespace, plan.name_postgres, plan.published.not_null))
        if statements:
            with session.transaction():
                session.execute(f"SET LOCAL lock_timeout = '{limits.cutover_lock_seconds}s'")
                for statement in statements:
                    session.execute(statement)

    def discard(self, plan: TablePlan) -> None:
        """Drop what a failed journey left."""
        with self.pool.session() as session:
            session.execute(sql.drop_postgres(self.namespace, sql.staging_name(plan.name_postgres)))

    def checksum(self, question: str) -> tuple[int, int]:
        """Answer one of `checksum`'s questions: rows and sum."""
        with self.pool.session() as session:
            rows, total = session.rows(question)[0]
        return int(rows), int(total)

    def close(self) -> None:
        self.pool.close()


# Two keys that became one, a key without a value, a key too long for an index.
_KEY_REFUSED = {"23505", "23502", "54000"}


def _refused(plan: TablePlan, rows: pa.Table, error: DatabaseQueryError) -> DataLoadingError | None:
    """A value that the server refused, told by its column and key; None where it was not one value."""
    row, name = error.refused or (0, None)
    field = next((field for field in plan.fields if field.name_postgres == name), None)
    if field is None:
        return None
    key = plan.table.integer_key
    index = next((i for i, field in enumerate(plan.fields) if field.column.name == key), None)
    at = f" (at {key} {rows.column(index)[row].as_py()})" if index is not None and row < rows.num_rows else ""
    return DataLoadingError(
        f"{plan.name}.{name} ({field.column.column_type}): a value was refused as {field.type_postgres}{at}: "
        f"{error.said}",
        schema.remedy_of(plan.name, field),
    )


def _comment(session: drivers.Postgres, namespace: str, table: str, column: str, text: str) -> None:
    """Say the SRID of a column, or none, in its comment; what somebody else says there stays."""
    said = session.rows(sql.comment_of(namespace, table, column))[0][0] or ""
    others = re.sub(r"^SRID \d+$| \(SRID \d+\)$", "", said)
    wanted = f"{others} ({text})" if others and text else others or text
    if wanted != said:
        session.execute(sql.comment(namespace, table, column, wanted or None))


def _swap(session: drivers.Postgres, namespace: str, plan: TablePlan, rows: int) -> Changes:
    exists = bool(
        session.rows(
            f"SELECT 1 FROM pg_tables WHERE schemaname = {sql.postgres_literal(namespace)} "
            f"AND tablename = {sql.postgres_literal(plan.name_postgres)}"
        )
    )
    for statement in sql.swap_warehouse(namespace, plan.name_postgres, exists):
        session.execute(statement)
    for (key,) in session.rows(sql.key_name(namespace, plan.name_postgres)) if plan.key_postgres else ():
        session.execute(sql.rename_key(namespace, plan.name_postgres, key))
    return Changes(inserted=rows)


def _merge(session: drivers.Postgres, namespace: str, plan: TablePlan, rows: int) -> Changes:
    statements = sql.merge(namespace, plan)
    deleted, _ = session.rows(sql.counting(statements["deleted"]))[0]
    written, inserted = session.rows(sql.counting(statements["written"]))[0]
    return Changes(inserted, written - inserted, deleted)


def _replace(session: drivers.Postgres, namespace: str, plan: TablePlan, rows: int) -> Changes:
    for (key,) in session.rows(sql.key_name(namespace, plan.name_postgres)) if plan.drops_key else ():
        columns = plan.published.primary_key if plan.published else ()
        session.execute(sql.drop_key(namespace, plan.name_postgres, key, columns))
    delete, insert = sql.replace_all(namespace, plan)
    deleted, _ = session.rows(sql.counting(delete))[0]
    session.execute(insert)
    if plan.adds_key:
        session.execute(sql.add_key(namespace, plan))
    return Changes(inserted=rows, deleted=deleted)


_CUTOVERS = {Cutover.SWAP: _swap, Cutover.MERGE: _merge, Cutover.REPLACE: _replace}
