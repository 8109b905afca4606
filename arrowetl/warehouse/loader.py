"""
The warehouse's loader: a staging table, COPY into it, cutover.

It receives Arrow in exactly the warehouse's types (`to_postgres` made them) and
returns counts. How staged rows become published ones was decided by
`table_plan` and is done by `merge`; the SQL is in `warehouse_sql`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

from arrowetl import drivers, limits, sql
from arrowetl.errors import ArrowetlError, DatabaseQueryError, KeyNotHeldError
from arrowetl.model.connection import Endpoint
from arrowetl.model.plan import Cutover, LoadKind, Partition, PublishedTable, TablePlan
from arrowetl.model.result import Coercion, LoadResult, RowCounts, StagedCounts, StateStatement
from arrowetl.planning import refusals
from arrowetl.state import load_journal_sql, state_sql
from arrowetl.state.load_journal import close_attempt, record_retried_partition
from arrowetl.types import conversion, from_postgres, mapping
from arrowetl.warehouse import merge, warehouse_sql
from arrowetl.warehouse.merge import JointCutover, TableCutover


class Warehouse:
    """
    One PostgreSQL database and namespace to load into.
    """

    name = "warehouse"

    def __init__(self, endpoint: Endpoint, connections: int | None = None) -> None:
        """
        Args:
            connections: at once, at most: for its own, and for Arrow.
        """
        self.endpoint = endpoint
        self.namespace = endpoint.namespace
        self.pool = drivers.Pool(endpoint, lambda: drivers.Postgres(endpoint), connections)
        self._learns = False
        """Whether the server analyzes tables by itself."""
        self._left = set[str]()
        """Staging tables that an earlier run left."""
        self.arrow = drivers.Pool(endpoint, lambda: drivers.PostgresArrow(endpoint), connections)

    def open(self, kept: Collection[str] = ()) -> None:
        """
        Learn what is there, and drop the staging tables of a killed run.

        Args:
            kept: tables that are to be staged in full again: some of it may be there already.
        """
        staged = [mapping.postgres_name(name) for name in kept]
        with self.pool.session() as session:
            learns = "SELECT current_setting('autovacuum') = 'on' AND current_setting('track_counts') = 'on'"
            self._learns = session.rows(learns)[0][0]
            self._left = self._leftovers(session)
            for name in self._left:
                if not any(sql.is_staging_of(name, table) for table in staged):
                    # One that cannot be dropped now blocks nothing: no other run has its name.
                    with suppress(DatabaseQueryError):
                        session.execute(warehouse_sql.drop_postgres(self.namespace, name))

    def _leftovers(self, session: drivers.Postgres) -> set[str]:
        return {name for (name,) in session.rows(warehouse_sql.leftovers_postgres(self.namespace))}

    def refresh(self) -> None:
        """Learn what exists by now: a failed attempt may have left some of it."""
        with self.pool.session() as session:
            self._left = self._leftovers(session)

    def published(self) -> dict[str, PublishedTable]:
        """The namespace's tables: columns and types, primary keys, the views on them; in three queries."""
        with self.pool.session() as session:
            answers = {
                part: session.rows(question) for part, question in warehouse_sql.published(self.namespace).items()
            }
        columns: dict[str, list[tuple[str, str]]] = defaultdict(list)
        kinds, not_null = dict[str, str](), defaultdict(list)
        empty, ever = set[str](), dict[str, int]()
        for table, name, type_, kind, forbidden, is_empty, ever[table] in answers["columns"]:
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
        united = set[str]()
        for table, view, column, is_united in answers["dependents"]:
            if is_united:
                united.add(view)
            if view not in dependents[table]:
                dependents[table].append(view)
            # A view on full rows depends on each of their columns.
            for name in [column] if column else [name for name, _ in columns[table]]:
                used.setdefault(table, defaultdict(list))[name].append(view)
        return {
            table: PublishedTable(
                columns=tuple(named),
                primary_key=tuple(keys[table]),
                dependents=tuple(dependents[table]),
                kind=kinds[table],
                not_null=tuple(name for name in not_null[table] if name not in keys[table]),
                used={column: tuple(views) for column, views in used.get(table, {}).items()},
                united=frozenset(united.intersection(dependents[table])),
                is_empty=table in empty,
                columns_ever=ever[table],
            )
            for table, named in columns.items()
        }

    def resumable_partitions(self, plan: TablePlan) -> dict[str, tuple[Partition, tuple[Coercion, ...]]]:
        """
        Token → partition that a stopped run left complete in staging, with as many rows as it says; from now on
        that staging is this run's, and another that would load rows there does not find it.
        """
        staged = sql.staging_name(plan.name_postgres, plan.run)
        left = [name for name in self._left if sql.is_staging_of(name, plan.name_postgres)]
        with self.pool.session() as session:
            question = load_journal_sql.complete_partitions(self.namespace, plan.name, plan.staging_id)
            done = load_journal_sql.partitions_from_rows(session.rows(question))
            if not done or len(left) != 1:
                return {}
            if left != [staged]:
                place = sql.postgres_table(self.namespace, left[0])
                session.execute(f"ALTER TABLE {place} RENAME TO {sql.postgres_name(staged)}")
                self._left = self._left - {*left} | {staged}
            try:
                # By it each partition is counted, and what is no part of one is taken out.
                self._give_key(session, plan)
            except KeyNotHeldError:
                return {}
            key = sql.postgres_name(plan.key_fields[0].name_postgres)
            table = sql.postgres_table(self.namespace, staged)
            counts = {
                # A server that crashed has emptied its unlogged tables.
                resume_token: session.rows(f"SELECT count(*) FROM {table}{sql.inside(key, part)}")[0][0]
                for resume_token, (part, _) in done.items()
            }
        return {
            resume_token: (part, found)
            for resume_token, (part, found) in done.items()
            if counts[resume_token] == part.rows
        }

    def prepare(self, plan: TablePlan, keep: Sequence[Partition] = (), attempt: str | None = None) -> tuple[str, ...]:
        """
        Make the staging table, and one for deleted keys.

        Args:
            keep: the partitions that stay in the existing staging table; all else is deleted from it.
            attempt: by which partitions may be loaded, where jobs can be lost and go on unnoticed.
        """
        name = sql.staging_name(plan.name_postgres, plan.run)
        with self.pool.session() as session:
            if keep:
                key = sql.postgres_name(plan.key_fields[0].name_postgres)
                with session.transaction():
                    session.execute(
                        load_journal_sql.forget(self.namespace, plan.name, [part.resume_token or "" for part in keep])
                    )
                    target = sql.postgres_table(self.namespace, name)
                    session.execute(f"DELETE FROM {target}{sql.outside(key, keep)}")
            else:
                if plan.is_partitioned or attempt:
                    session.execute(load_journal_sql.forget(self.namespace, plan.name))
                own = sql.staged_names(plan.name_postgres, plan.run, plan.stages_changes_only)
                for left in self._left:
                    # Also what a run that was stopped has left, where this one can do nothing with it.
                    if left in own or sql.is_staging_of(left, plan.name_postgres):
                        session.execute(warehouse_sql.drop_postgres(self.namespace, left))
                for statement in warehouse_sql.create_warehouse(self.namespace, plan):
                    session.execute(statement)
            if plan.cutover is not Cutover.SWAP:
                session.execute(state_sql.prepared(self.namespace, plan.name))
            if attempt:
                session.execute(load_journal_sql.begin(self.namespace, plan.name, attempt))
        return ()

    def load(
        self,
        plan: TablePlan,
        part: Partition,
        row_batches: Sequence[tuple[TablePlan, pa.Table]],
        deleted_keys: pa.Table | None = None,
    ) -> LoadResult:
        """
        Ingest one partition: all of it, or none.

        Args:
            row_batches: its rows, each batch with the plan by which it was read.
            deleted_keys: keys of rows that were deleted at the source.

        Returns:
            What had to be coerced, and how long it took.

        Raises:
            DataExtractionError: a value fits neither its rule nor a coercion.
            DataLoadingError: the server refused a value; or the attempt is closed.
            KeyNotHeldError: it refused a primary key, or would have.
        """
        began, coercions, loads = time.monotonic(), list[Coercion](), list[tuple[str, TablePlan, pa.Table]]()
        for read, rows in row_batches:
            if rows.num_rows:
                converted, found = conversion.to_warehouse(plan.name, rows, read.fields, plan.table.integer_key)
                coercions += found
                loads.append((sql.staging_name(plan.name_postgres, plan.run), read, converted))
        if plan.key_postgres and {c.column for c in coercions if c.became == "NULL"} & set(plan.table.primary_key):
            raise KeyNotHeldError(f"{plan.name}: a primary key becomes NULL")
        if deleted_keys is not None and deleted_keys.num_rows:
            keys, _ = conversion.to_warehouse(plan.name, deleted_keys, plan.key_fields, None)
            loads.append((sql.deleted_keys_name(plan.name_postgres, plan.run), plan, keys))
        if not loads and not part.resume_token:
            return LoadResult()
        coerced = time.monotonic()
        with self._for_copy([rows for _, _, rows in loads]).session() as session, session.transaction():
            if part.resume_token:
                self._note(session, plan, part, sum(rows.num_rows for _, rows in row_batches), coercions)
            if plan.kind is LoadKind.INCREMENTAL and (part.incremental_from is None or part.attempt):
                # A row may be staged a second time, where it changed once more, or a job is done once more.
                for _, rows in row_batches:
                    if rows.num_rows:
                        keys = rows.column(plan.table.primary_key[0]).to_pylist()
                        session.execute(warehouse_sql.stage_again(self.namespace, plan, keys))
            for name, read, rows in loads:
                self._ingest(session, name, read, rows)
        return LoadResult(tuple(coercions), {"coerce": coerced - began, "ingest": time.monotonic() - coerced})

    def _note(
        self,
        session: drivers.Postgres | drivers.PostgresArrow,
        plan: TablePlan,
        part: Partition,
        rows: int,
        coercions: Sequence[Coercion],
    ) -> None:
        """Record that the partition is there; what a lost job loaded of it is deleted."""
        note = load_journal_sql.note(self.namespace, plan.name, plan.staging_id, part, rows, coercions)
        if part.attempt is None:
            session.execute(note)
            return
        if session.rows(note):
            return
        key = sql.postgres_name(plan.key_fields[0].name_postgres) if plan.key_fields else ""
        names = (
            ()
            if plan.kind is LoadKind.INCREMENTAL
            else sql.staged_names(plan.name_postgres, plan.run, plan.stages_changes_only)
        )
        out = [f"DELETE FROM {sql.postgres_table(self.namespace, n)}{sql.inside(key, part)}" for n in names]
        record_retried_partition(session, self.namespace, plan.name, part, rows, coercions, out)

    def _ingest(
        self, session: drivers.Postgres | drivers.PostgresArrow, name: str, read: TablePlan, rows: pa.Table
    ) -> None:
        try:
            session.ingest(self.namespace, name, rows.to_reader(limits.copy_batch_rows))
        except DatabaseQueryError as error:
            if read.key_postgres and error.code in _KEY_REFUSED:
                raise KeyNotHeldError(f"{read.name}: {error.message}") from error
            if error.code == _ROW_TOO_WIDE:
                raise refusals.row_too_wide(read, error) from error
            if refused := refusals.refused_value(read, rows, error):
                raise refused from error
            raise

    def _for_copy(
        self, tables: Sequence[pa.Table]
    ) -> drivers.Pool[drivers.Postgres] | drivers.Pool[drivers.PostgresArrow]:
        return self.pool if all(drivers.can_copy(rows.schema) for rows in tables) else self.arrow

    def close_attempt(self, plan: TablePlan, attempt: str) -> dict[str, str | None]:
        """Let no job of an attempt load any more partitions; token → execution of those that are there."""
        with self.pool.session() as session:
            return close_attempt(session, self.namespace, plan, attempt)

    def rows(self, plan: TablePlan, part: Partition) -> pa.Table:
        """The published rows of a partition, as `from_postgres.as_read_back` has them."""
        with self.arrow.session() as session:
            return from_postgres.comparable(
                session.read_arrow(warehouse_sql.rows_back(self.namespace, plan, part)), plan.fields
            )

    def batches(self, statement: str) -> Iterator[pa.RecordBatch]:
        """The rows of a query, never all of them at once."""
        with self.arrow.session() as session:
            yield from session.batches(statement)

    def count(self, plan: TablePlan) -> int:
        """Rows in staging, as the server counts them."""
        with self.pool.session() as session:
            return session.count(self.namespace, sql.staging_name(plan.name_postgres, plan.run))

    def build_indexes(self, plan: TablePlan) -> None:
        """
        Give a large table its key, and let the server learn staging's keys, by which it is joined.

        The rest, and all of a table that is only renamed, it learns by itself within a minute of the cutover, where it
        is allowed to: all 67 columns of procedurelog took 1.1 s, however few the rows, a key takes 0.1 to 0.2 s.

        Raises:
            KeyNotHeldError: the server refused the key.
        """
        with self.pool.session() as session:
            if plan.cutover is Cutover.SWAP and plan.is_partitioned:
                self._give_key(session, plan)
            if plan.cutover is Cutover.SWAP and self._learns:
                return
            columns = ", ".join(map(sql.postgres_name, plan.key_postgres)) if self._learns else ""
            staging = sql.postgres_table(self.namespace, sql.staging_name(plan.name_postgres, plan.run))
            session.execute(f"ANALYZE {staging}" + (f" ({columns})" if columns else ""))

    def _give_key(self, session: drivers.Postgres, plan: TablePlan) -> None:
        has_key, give_key = warehouse_sql.staging_key(self.namespace, plan)
        if not plan.key_postgres or session.rows(has_key)[0][0]:
            return
        try:
            session.execute(give_key)
        except DatabaseQueryError as error:
            if error.code in _KEY_REFUSED:
                raise KeyNotHeldError(f"{plan.name}: {error.message}") from error
            raise

    def cutover(
        self, plan: TablePlan, staged: StagedCounts, comments: Mapping[str, str], recorded: StateStatement
    ) -> RowCounts:
        """
        Make what was staged the published rows, in one transaction with the ledger's record.

        Args:
            comments: geometry column → its SRID; empty where it has none, or several.
            recorded: the ledger's statement about what was changed.

        Raises:
            DatabaseQueryError: a reader held the table longer than `limits.cutover_lock_seconds`.
            OutOfStepError: the published table would not have the rows it must; nothing was changed.
        """
        with self.pool.session() as session:
            changes = merge.cutover(session, TableCutover(plan, staged, comments, recorded))
            self._drop_what_is_left(session, plan)
        return changes

    def follow(self, plan: TablePlan) -> TablePlan:
        """
        Change the published table's columns before its rows, where that is possible.

        Returns:
            The plan, with what is done taken out of it.

        Raises:
            DatabaseError: a reader held the table for too long, or the server was lost.
        """
        with self.pool.session() as session:
            return merge.follow(session, plan)

    def cutover_together(
        self,
        switches: Sequence[TableCutover],
        found: JointCutover,
        accepts: Callable[[Mapping[str, ArrowetlError]], bool],
    ) -> None:
        """Many tables in one transaction, as `merge.cutover_together` has it."""
        with self.pool.session() as session:
            merge.cutover_together(session, switches, found, accepts)
            # They are published, whatever becomes of this; the next run sweeps up.
            with suppress(ArrowetlError):
                for one in switches:
                    if found.published and one.plan.name in found.changes:
                        self._drop_what_is_left(session, one.plan)

    def _drop_what_is_left(self, session: drivers.Postgres, plan: TablePlan) -> None:
        if plan.cutover is not Cutover.SWAP or plan.is_partitioned:
            self._drop_staging(session, plan)

    def discard(self, plan: TablePlan) -> None:
        """Drop what a failed load left."""
        with self.pool.session() as session:
            self._drop_staging(session, plan)

    def _drop_staging(self, session: drivers.Postgres, plan: TablePlan) -> None:
        for name in sql.staged_names(plan.name_postgres, plan.run, plan.stages_changes_only):
            session.execute(warehouse_sql.drop_postgres(self.namespace, name))
        session.execute(load_journal_sql.forget(self.namespace, plan.name))

    @property
    def version(self) -> str:
        """Of the server."""
        return str(self.answers("SHOW server_version")[0][0])

    def answers(self, question: str) -> list[tuple[Any, ...]]:
        """What the server says to one of `row_checksums`' questions."""
        with self.pool.session() as session:
            return session.rows(question)

    def close(self) -> None:
        self.pool.close()
        self.arrow.close()


# Two keys that became one, a key without a value, a key too long for an index.
_KEY_REFUSED = {"23505", "23502", "54000"}
# And a row that does not fit into a page.
_ROW_TOO_WIDE = "54000"
