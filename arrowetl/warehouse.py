"""
PostgreSQL's side of the journey: a staging table, COPY into it, cutover.

It receives Arrow in exactly the warehouse's types (`coerce` made them) and
gives back counts. How staged rows become published ones was decided by
`plan` and is done by `cutover`; the sentences are in `sql`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from arrowetl import coerce, cutover, drivers, limits, readback, schema, sql
from arrowetl.errors import DatabaseQueryError, DataLoadingError, KeyNotHeldError
from arrowetl.model import Cutover, Mode, Partition, PublishedTable, TablePlan
from arrowetl.outcome import Changes, Coercion, Recorded, Staged, Taken
from arrowetl.route import Endpoint
from arrowetl.sql import tracking


class Warehouse:
    """
    One PostgreSQL database and namespace to load into.
    """

    name = "warehouse"

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.namespace = endpoint.namespace
        self.pool = drivers.Pool(endpoint, lambda: drivers.Postgres(endpoint))
        self._learns = False
        """Whether the server analyzes tables by itself."""
        self._left = set[str]()
        """Staging tables that an earlier run left."""
        self.arrow = drivers.Pool(endpoint, lambda: drivers.PostgresArrow(endpoint))

    def open(self, kept: Collection[str] = ()) -> None:
        """
        Learn what is there, and drop the staging tables of a run that was killed.

        Args:
            kept: tables that are to be staged whole again: some of it may be there already.
        """
        staged = {sql.staging_name(schema.postgres_name(name)) for name in kept}
        with self.pool.session() as session:
            learns = "SELECT current_setting('autovacuum') = 'on' AND current_setting('track_counts') = 'on'"
            self._learns = session.rows(learns)[0][0]
            self._left = self._leftovers(session)
            for name in self._left:
                if name not in staged:
                    session.execute(sql.drop_postgres(self.namespace, name))

    def _leftovers(self, session: drivers.Postgres) -> set[str]:
        return {name for (name,) in session.rows(sql.leftovers_postgres(self.namespace))}

    def look_again(self) -> None:
        """Learn what stands there by now: an attempt that failed may have left some of it."""
        with self.pool.session() as session:
            self._left = self._leftovers(session)

    def published(self) -> dict[str, PublishedTable]:
        """What stands in the namespace: columns and types, primary keys, the views upon them; in three queries."""
        with self.pool.session() as session:
            answers = {part: session.rows(question) for part, question in sql.published(self.namespace).items()}
        columns: dict[str, list[tuple[str, str]]] = defaultdict(list)
        kinds, not_null = dict[str, str](), defaultdict(list)
        empty = set[str]()
        for table, name, type_, kind, forbidden, is_empty in answers["columns"]:
            columns[table].append((name, type_))
            kinds[table] = kind
            if is_empty:
                empty.add(table)
            if forbidden:
                not_null[table].append(name)
        keys, dependents = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
        used = dict[str, dict[str, list[str]]]()
        for table, name in answers["keys"]:
            keys[table].append(name)
        for table, view, column in answers["dependents"]:
            if view not in dependents[table]:
                dependents[table].append(view)
            # A view upon whole rows stands upon each of their columns.
            for name in [column] if column else [name for name, _ in columns[table]]:
                used.setdefault(table, defaultdict(list))[name].append(view)
        return {
            table: PublishedTable(
                tuple(named),
                tuple(keys[table]),
                tuple(dependents[table]),
                kinds[table],
                tuple(name for name in not_null[table] if name not in keys[table]),
                {column: tuple(views) for column, views in used.get(table, {}).items()},
                table in empty,
            )
            for table, named in columns.items()
        }

    def done(self, plan: TablePlan) -> dict[str, tuple[Partition, tuple[Coercion, ...]]]:
        """Token → partition that a run which was stopped left whole in staging, with as many rows as it says."""
        with self.pool.session() as session:
            staged = sql.staging_name(plan.name_postgres)
            if not session.rows(sql.exists_postgres(self.namespace, staged)):
                return {}
            try:
                # By it each partition is counted, and what is no part of one is taken out.
                self._give_key(session, plan)
            except KeyNotHeldError:
                return {}
            question = tracking.staged_partitions(self.namespace, plan.name, plan.staging_id)
            done = tracking.partitions_from(session.rows(question))
            key = sql.postgres_name(plan.key_fields[0].name_postgres)
            table = sql.postgres_table(self.namespace, staged)
            counts = {
                # A server that crashed has emptied its unlogged tables.
                token: session.rows(f"SELECT count(*) FROM {table}{sql.inside(key, part)}")[0][0]
                for token, (part, _) in done.items()
            }
        return {token: (part, found) for token, (part, found) in done.items() if counts[token] == part.rows}

    def prepare(self, plan: TablePlan, keep: Sequence[Partition] = ()) -> None:
        """
        Make the staging table, and one for keys that are gone.

        Args:
            keep: the partitions that stay in the staging table that is there; all else goes out of it.
        """
        name = sql.staging_name(plan.name_postgres)
        with self.pool.session() as session:
            if keep:
                key = sql.postgres_name(plan.key_fields[0].name_postgres)
                with session.transaction():
                    target = sql.postgres_table(self.namespace, name)
                    session.execute(f"DELETE FROM {target}{sql.outside(key, keep)}")
                    tokens = [part.token or "" for part in keep]
                    session.execute(tracking.forget_partitions(self.namespace, plan.name, tokens))
                return
            if plan.is_split:
                session.execute(tracking.forget_partitions(self.namespace, plan.name))
            if name in self._left:
                session.execute(sql.drop_postgres(self.namespace, name))
            for statement in sql.create_warehouse(self.namespace, plan):
                session.execute(statement)

    def take(self, plan: TablePlan, part: Partition, table: pa.Table) -> Taken:
        """
        Ingest one partition: all of it, or none.

        Returns:
            What had to be coerced, and how long it took.

        Raises:
            DataExtractionError: a value fits neither its rule nor a coercion.
            DataLoadingError: the server refused a value.
            KeyNotHeldError: it refused a primary key, or would have.
        """
        if table.num_rows == 0 and not part.token:
            return Taken()
        began = time.monotonic()
        converted, coercions = coerce.to_warehouse(plan.name, table, plan.fields, plan.table.integer_key)
        if plan.key_postgres and {c.column for c in coercions if c.became == "NULL"} & set(plan.table.primary_key):
            raise KeyNotHeldError(f"{plan.name}: a primary key becomes NULL")
        reader, coerced = converted.to_reader(limits.copy_batch_rows), time.monotonic()
        try:
            with self._for_copy(converted).session() as session, session.transaction():
                if plan.mode is Mode.INCREMENTAL and part.since is None:
                    keys = table.column(plan.table.primary_key[0]).to_pylist()
                    session.execute(sql.stage_again(self.namespace, plan, keys))
                session.ingest(self.namespace, sql.staging_name(plan.name_postgres), reader)
                if part.token:
                    whole = (plan.name, plan.staging_id, part, table.num_rows, coercions)
                    session.execute(tracking.staged_partition(self.namespace, *whole))
        except DatabaseQueryError as error:
            if plan.key_postgres and error.code in _KEY_REFUSED:
                raise KeyNotHeldError(f"{plan.name}: {error.message}") from error
            if refused := _refused(plan, converted, error):
                raise refused from error
            raise
        return Taken(coercions, {"coerce": coerced - began, "ingest": time.monotonic() - coerced})

    def _for_copy(self, rows: pa.Table) -> drivers.Pool[drivers.Postgres] | drivers.Pool[drivers.PostgresArrow]:
        return self.pool if drivers.can_copy(rows.schema) else self.arrow

    def forget(self, plan: TablePlan, part: Partition, keys: pa.Table) -> None:
        """Stage the keys of rows that are gone from the source."""
        if keys.num_rows:
            converted, _ = coerce.to_warehouse(plan.name, keys, plan.key_fields, None)
            with self._for_copy(converted).session() as session:
                name = sql.gone_name(plan.name_postgres)
                session.ingest(self.namespace, name, converted.to_reader(limits.copy_batch_rows))

    def rows(self, plan: TablePlan, part: Partition) -> pa.Table:
        """The published rows of a partition, as `readback.as_read_back` has them."""
        with self.arrow.session() as session:
            return readback.comparable(session.read_arrow(sql.rows_back(self.namespace, plan, part)), plan.fields)

    def batches(self, statement: str) -> Iterator[pa.RecordBatch]:
        """The rows of a query, never all of them at once."""
        with self.arrow.session() as session:
            yield from session.batches(statement)

    def count(self, plan: TablePlan) -> int:
        """Rows in staging, as the server counts them."""
        with self.pool.session() as session:
            return session.count(self.namespace, sql.staging_name(plan.name_postgres))

    def finish(self, plan: TablePlan) -> None:
        """
        Give a large table its key, and let the server learn staging's keys, by which it is joined.

        The rest, and all of a table that is only renamed, it learns by itself within a minute of the cutover, where it
        is allowed to: all 67 columns of procedurelog took 1.1 s, however few the rows, a key takes 0.1 to 0.2 s.

        Raises:
            KeyNotHeldError: the server refused the key.
        """
        with self.pool.session() as session:
            if plan.cutover is Cutover.SWAP and plan.is_split:
                self._give_key(session, plan)
            if plan.cutover is Cutover.SWAP and self._learns:
                return
            columns = ", ".join(map(sql.postgres_name, plan.key_postgres)) if self._learns else ""
            staging = sql.postgres_table(self.namespace, sql.staging_name(plan.name_postgres))
            session.execute(f"ANALYZE {staging}" + (f" ({columns})" if columns else ""))

    def _give_key(self, session: drivers.Postgres, plan: TablePlan) -> None:
        has_key, give_key = sql.staging_key(self.namespace, plan)
        if not plan.key_postgres or session.rows(has_key)[0][0]:
            return
        try:
            session.execute(give_key)
        except DatabaseQueryError as error:
            if error.code in _KEY_REFUSED:
                raise KeyNotHeldError(f"{plan.name}: {error.message}") from error
            raise

    def cutover(self, plan: TablePlan, staged: Staged, comments: Mapping[str, str], recorded: Recorded) -> Changes:
        """
        Make what was staged the published rows, in one transaction with the ledger's record.

        Args:
            comments: column of places → its SRID; empty where it has none, or several.
            recorded: the ledger's statement about what was changed.

        Raises:
            DatabaseQueryError: a reader held the table longer than `limits.cutover_lock_seconds`.
            OutOfStepError: the published table would not have the rows it must; nothing was changed.
        """
        with self.pool.session() as session:
            changes = cutover.cutover(session, plan, staged, comments, recorded)
            if plan.cutover is not Cutover.SWAP or plan.is_split:
                self._drop_staging(session, plan)
        return changes

    def discard(self, plan: TablePlan) -> None:
        """Drop what a failed journey left."""
        with self.pool.session() as session:
            self._drop_staging(session, plan)

    def _drop_staging(self, session: drivers.Postgres, plan: TablePlan) -> None:
        for name in (sql.staging_name, *([sql.gone_name] if plan.is_delta else [])):
            session.execute(sql.drop_postgres(self.namespace, name(plan.name_postgres)))
        session.execute(tracking.forget_partitions(self.namespace, plan.name))

    @property
    def version(self) -> str:
        """Of the server."""
        return str(self.answers("SHOW server_version")[0][0])

    def answers(self, question: str) -> list[tuple[Any, ...]]:
        """What the server says to one of `sql.sums`' questions."""
        with self.pool.session() as session:
            return session.rows(question)

    def close(self) -> None:
        self.pool.close()
        self.arrow.close()


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
