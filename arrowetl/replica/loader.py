"""
The replica's loader: a staging table, LOAD DATA into it, RENAME or merge.

It receives Arrow, which it spills as text. Reading from the replica is
`reader`'s work; its SQL is in `replica_sql`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import IO

import pyarrow as pa

from arrowetl import drivers, limits, sql
from arrowetl.checksums import row_checksums
from arrowetl.errors import DatabaseQueryError, DataLoadingError, ReplicaBehindError
from arrowetl.model.connection import Endpoint
from arrowetl.model.dialect import Flavour
from arrowetl.model.plan import Field, LoadKind, Partition, TablePlan
from arrowetl.model.result import Coercion, LoadResult, RowCounts, StagedCounts, StateStatement
from arrowetl.replica import replica_sql
from arrowetl.state import fence_sql, load_journal_sql, state_sql
from arrowetl.state.fence import begin_switch, miscounted, require_own
from arrowetl.state.load_journal import close_attempt, record_retried_partition
from arrowetl.types import conversion, mapping

Spilled = Callable[[Callable[[IO[bytes]], None]], AbstractContextManager[Path]]


class Replica:
    """
    One server and database to load into.
    """

    name = "replica"

    def __init__(
        self, endpoint: Endpoint, spill_directory: Path, spilled: Spilled, connections: int | None = None
    ) -> None:
        """
        Args:
            spill_directory: the only place files are loaded from.
            spilled: keeps what is written as a file there, for as long as a block lasts.
            connections: at once, at most.
        """
        self.endpoint = endpoint
        self.pool = drivers.Pool(
            endpoint, lambda: drivers.MySQL(endpoint, infile_directory=spill_directory), connections
        )
        self._spilled = spilled
        self._tables: frozenset[str] = frozenset()
        self._left: frozenset[str] = frozenset()
        """Tables in which some run has staged another."""
        self.folds_names = False
        """Whether the server takes `Visit` and `visit` for one name."""

    @property
    def version(self) -> str:
        """Of the server."""
        with self.pool.session() as session:
            return str(session.rows("SELECT VERSION()")[0][0])

    def open(self, kept: Collection[str] = ()) -> None:
        """
        Learn what is there, and drop the staging tables of a killed run.

        Args:
            kept: tables that are to be staged in full again: some of it may be there already.
        """
        with self.pool.session() as session:
            for (name,) in session.rows(replica_sql.leftovers_mysql(self.endpoint.database)):
                if not any(sql.is_staging_of(name, table) for table in kept):
                    # One that cannot be dropped now blocks nothing: no other run has its name.
                    with suppress(DatabaseQueryError):
                        session.execute(replica_sql.drop_mysql(self.endpoint.database, name))
        self.refresh()

    def refresh(self) -> None:
        """Learn what exists by now: a failed attempt may have left, or done, more than it knew."""
        there = self.published()
        self._tables = frozenset(map(self._said, there))
        self._left = frozenset(name for name in there if name.startswith(sql.STAGING))
        self.__dict__.pop("_pointing", None)

    def _said(self, name: str) -> str:
        """A table's name as the server compares it."""
        return sql.folded(name, self.folds_names)

    @cached_property
    def _server(self) -> tuple[Flavour, dict[str, str]]:
        """What the server is; its collations, each with its character set."""
        with self.pool.session() as session:
            return session.flavour, {name: charset for name, charset in session.rows(replica_sql.COLLATIONS) if charset}

    @cached_property
    def _pointing(self) -> tuple[tuple[str, str, str], ...]:
        """Foreign keys that arrowetl did not make: the table that each points at, its own table, and its name."""
        with self.pool.session() as session:
            # Once for all tables: the server opens every one of them to answer, in 28 ms where there are 381.
            return tuple(session.rows(replica_sql.pointing(self.endpoint.database)))

    def published(self) -> frozenset[str]:
        """The names of the tables there."""
        with self.pool.session() as session:
            self.folds_names = folds_names(session)
            return frozenset(name for (name,) in session.rows(replica_sql.names(self.endpoint.database)))

    def resumable_partitions(self, plan: TablePlan) -> dict[str, tuple[Partition, tuple[Coercion, ...]]]:
        """
        Token → partition that a stopped run left complete in staging, with as many rows as it says; from now on
        that staging is this run's, and another that would load rows there does not find it.
        """
        ours = sql.staging_name(plan.name, plan.run)
        left = [name for name in self._left if sql.is_staging_of(name, plan.name)]
        with self.pool.session() as session:
            found = load_journal_sql.partitions_from_rows(
                session.rows(load_journal_sql.complete_partitions(None, plan.name, plan.staging_id))
            )
            if not found or len(left) != 1:
                return {}
            if left != [ours]:
                names = [sql.mysql_table(self.endpoint.database, name) for name in (left[0], ours)]
                session.execute(f"RENAME TABLE {names[0]} TO {names[1]}")
                self._left = self._left - {*left} | {ours}
        return found

    def prepare(self, plan: TablePlan, keep: Sequence[Partition] = (), attempt: str | None = None) -> tuple[str, ...]:
        """
        Make the staging table, with its primary key and no other index; and one for deleted keys.

        Args:
            keep: the partitions that stay in the existing staging table; all else is deleted from it.
            attempt: by which partitions may be loaded, where jobs can be lost and go on unnoticed.

        Returns:
            Notes on how the table differs at the replica.
        """
        name, database = sql.staging_name(plan.name, plan.run), self.endpoint.database
        if keep:
            with self.pool.session() as session, session.transaction():
                session.execute(load_journal_sql.forget(None, plan.name, [part.resume_token or "" for part in keep]))
                key = sql.mysql_name(plan.table.primary_key[0])
                session.execute(f"DELETE FROM {sql.mysql_table(database, name)}{sql.outside(key, keep)}")
                if attempt:
                    session.execute(load_journal_sql.begin(None, plan.name, attempt))
            return ()
        flavour, collations = self._server
        for field in plan.fields:
            # Their bytes are loaded as they are, and would be others in another character set.
            if mapping.goes_by_bytes(field) and not replica_sql.known_charset(field.column.charset or "", collations):
                raise DataLoadingError(
                    f"{plan.name}.{field.column.name}: the replica has no character set {field.column.charset}",
                    mapping.remedy_of(plan.name, field),
                )
        with self.pool.session() as session:
            if plan.is_partitioned or attempt:
                session.execute(load_journal_sql.forget(None, plan.name))
            for left in self._left:
                # Also what a run that was stopped has left, where this one can do nothing with it.
                if sql.is_staging_of(left, plan.name):
                    session.execute(replica_sql.drop_mysql(database, left))
            notes = self._create(session, plan)
            if plan.stages_changes_only:
                session.execute(replica_sql.create_deleted_keys_table(database, plan, flavour, collations))
            if attempt:
                session.execute(load_journal_sql.begin(None, plan.name, attempt))
        return notes

    def _create(self, session: drivers.MySQL, plan: TablePlan) -> tuple[str, ...]:
        """The staging table; what is to be noted of it."""
        flavour, collations = self._server
        name, database, indexed = sql.staging_name(plan.name, plan.run), self.endpoint.database, _is_indexed_first(plan)
        notes: tuple[str, ...] = ()
        if not plan.stages_changes_only:
            notes = (*replica_sql.other_collations(plan, collations), *replica_sql.indexes_left_out(plan, flavour))
        try:
            session.execute(replica_sql.create_replica(database, name, plan, flavour, collations, indexed))
            return notes
        except DatabaseQueryError as error:
            if error.code not in _TOO_WIDE or plan.stages_changes_only:
                raise
        session.execute(replica_sql.create_replica(database, name, plan, flavour, collations, indexed, engine="MyISAM"))
        return (*notes, "is MyISAM's at the replica: InnoDB takes none so wide, nor columns called as its own")

    def load(
        self,
        plan: TablePlan,
        part: Partition,
        row_batches: Sequence[tuple[TablePlan, pa.Table]],
        deleted_keys: pa.Table | None = None,
    ) -> LoadResult:
        """
        Load one partition: all of it, exactly, or none.

        Args:
            row_batches: its rows, each batch with the plan by which it was read.
            deleted_keys: keys of rows that were deleted at the source.

        Returns:
            How long it took; nothing is ever coerced.

        Raises:
            DataLoadingError: a row was refused, replaced another, or drew a warning; or the attempt is closed.
        """
        loads = [
            (rows, read.fields, sql.staging_name(plan.name, plan.run)) for read, rows in row_batches if rows.num_rows
        ]
        if deleted_keys is not None and deleted_keys.num_rows:
            loads.append((deleted_keys, plan.key_fields, sql.deleted_keys_name(plan.name, plan.run)))
        if not loads and not part.resume_token:
            return LoadResult()
        began = time.monotonic()
        with ExitStack() as held:
            paths = [
                held.enter_context(self._spilled(partial(conversion.write_infile, rows, fields)))
                for rows, fields, _ in loads
            ]
            session = held.enter_context(self.pool.session())
            spilled = time.monotonic()
            if part.attempt:
                # If this machine is lost meanwhile, the server would not know for hours, and keep its locks.
                session.execute(f"SET SESSION wait_timeout = {limits.lock_seconds}")
            with session.transaction():
                if part.resume_token:
                    self._note(session, plan, part, sum(rows.num_rows for _, rows in row_batches))
                for (rows, fields, name), path in zip(loads, paths, strict=True):
                    self._load(session, plan, part, rows, fields, name, path)
            if part.attempt:
                session.execute(f"SET SESSION wait_timeout = {limits.idle_session_seconds}")
        return LoadResult(seconds={"spill": spilled - began, "load": time.monotonic() - spilled})

    def _note(self, session: drivers.MySQL, plan: TablePlan, part: Partition, rows: int) -> None:
        """Record that the partition is there; what a lost job loaded of it is deleted."""
        if session.execute(load_journal_sql.note(None, plan.name, plan.staging_id, part, rows)):
            return
        key = sql.mysql_name(plan.table.primary_key[0]) if plan.table.primary_key else ""
        # Of an incremental table each row replaces the one with its key.
        names = (
            () if plan.kind is LoadKind.INCREMENTAL else sql.staged_names(plan.name, plan.run, plan.stages_changes_only)
        )
        out = [f"DELETE FROM {sql.mysql_table(self.endpoint.database, n)}{sql.inside(key, part)}" for n in names]
        record_retried_partition(session, None, plan.name, part, rows, (), out)

    def _load(
        self,
        session: drivers.MySQL,
        plan: TablePlan,
        part: Partition,
        rows: pa.Table,
        fields: Sequence[Field],
        name: str,
        path: Path,
    ) -> None:
        expected = conversion.unlabelled(rows, fields)
        # An incremental row may be staged a second time, where it changed once more: REPLACE counts it twice.
        replaces = plan.kind is LoadKind.INCREMENTAL
        statement = replica_sql.load_data(
            self.endpoint.database, name, fields, path.as_posix(), session.flavour, replaces
        )
        changed, warnings, words = session.load(statement, lenient=expected > 0)
        again = changed - rows.num_rows if replaces else 0
        if warnings != expected or not 0 <= again <= rows.num_rows or changed != rows.num_rows + again:
            raise _refused(plan, part, rows.num_rows, changed, words)

    def close_attempt(self, plan: TablePlan, attempt: str) -> dict[str, str | None]:
        """Let no job of an attempt load any more partitions; token → execution of those that are there."""
        with self.pool.session() as session:
            return close_attempt(session, None, plan, attempt)

    def count(self, plan: TablePlan) -> int:
        """Rows in staging, as the server counts them."""
        question = replica_sql.mysql_count(self.endpoint.database, sql.staging_name(plan.name, plan.run))
        with self.pool.session() as session:
            return int(session.rows(question)[0][0])

    def build_indexes(self, plan: TablePlan) -> None:
        """Give staging its other indexes, while it has no readers."""
        if (
            plan.stages_changes_only
            or _is_indexed_first(plan)
            or not replica_sql.add_indexes(self.endpoint.database, plan.name, plan)
        ):
            return
        staging = sql.staging_name(plan.name, plan.run)
        with self.pool.session() as session:
            # A run that was stopped may have come as far as this.
            present = {name for (name,) in session.rows(replica_sql.index_names(self.endpoint.database, staging))}
            if statement := replica_sql.add_indexes(self.endpoint.database, staging, plan, present, session.flavour):
                session.execute(statement)

    def cutover(
        self, plan: TablePlan, staged: StagedCounts, comments: Mapping[str, str], recorded: StateStatement
    ) -> RowCounts:
        """
        Make what was staged the published rows, and say so in the ledger.

        Args:
            recorded: the ledger's statement about what was changed.

        Raises:
            VerificationError: staging has not the rows it must; nothing was changed.
            ReplicaBehindError: the published table would not have them, or is not as it was made; nothing was changed.
        """
        return (self._merge if plan.stages_changes_only else self._swap)(plan, staged, recorded)

    def _swap(self, plan: TablePlan, staged: StagedCounts, recorded: StateStatement) -> RowCounts:
        """Staging in the published table's place: readers see the one or the other."""
        changes, database = RowCounts(inserted=staged.rows), self.endpoint.database
        exists = self._said(plan.name) in self._tables
        _refuse_pointed_at(self._pointing, plan, self.folds_names)
        with self.pool.session() as session:
            rows, is_recorded = begin_switch(session, database, plan)
            if rows != staged.expected:
                raise miscounted(plan, "replica", rows, staged.expected)
            if exists:
                # An attempt whose connection was lost may have come as far as its own RENAME.
                session.execute(replica_sql.drop_mysql(database, sql.retired_name(plan.name, plan.run)))
            # A RENAME is no part of a transaction: until it is recorded, the table's rows are in doubt.
            if is_recorded:
                session.execute(state_sql.in_doubt(plan.name))
            try:
                session.execute(replica_sql.swap_replica(database, plan, exists))
            except DatabaseQueryError:
                session.execute(state_sql.no_doubt(plan.name))
                raise
            session.execute(recorded(changes))
            if plan.is_partitioned:
                session.execute(load_journal_sql.forget(None, plan.name))
            session.rows(f"SELECT RELEASE_LOCK({fence_sql.switch_lock(database, plan.name)})")
            if exists:
                for statement in replica_sql.drop_retired(database, sql.retired_name(plan.name, plan.run)):
                    session.execute(statement)
        return changes

    def _merge(self, plan: TablePlan, staged: StagedCounts, recorded: StateStatement) -> RowCounts:
        """Merge staged rows into the published table and delete deleted ones, in one transaction with the record."""
        checksums = (row_checksums.row_checksum(plan.fields, "t"), row_checksums.row_checksum(plan.fields, "s"))
        database = self.endpoint.database
        with self.pool.session() as session:
            changes = RowCounts()
            # It may have keys that the source has dropped since.
            in_place = not session.rows(replica_sql.other_unique_keys(database, plan.name))[0][0]
            statements = replica_sql.merge_replica(database, plan, checksums, in_place)
            with session.transaction():
                require_own(session, None, plan)
                if staged:
                    done = self._merged(session, plan, statements)
                    went_out = 0 if in_place else done["updated"]
                    changes = RowCounts(done["inserted"] - went_out, done["updated"], done["deleted"])
                    rows = int(session.rows(replica_sql.mysql_count_changed(database, plan.name))[0][0])
                    if rows != staged.expected:
                        raise ReplicaBehindError(
                            miscounted(plan, "replica", rows, staged.expected).message, "run again"
                        )
                session.execute(recorded(changes))
            for name in sql.staged_names(plan.name, plan.run, plan.stages_changes_only):
                session.execute(replica_sql.drop_mysql(database, name))
        return changes

    def _merged(self, session: drivers.MySQL, plan: TablePlan, statements: Mapping[str, str]) -> dict[str, int]:
        """Step → rows that it changed."""
        try:
            return {step: session.execute(statement) for step, statement in statements.items()}
        except DatabaseQueryError as error:
            if error.code in _NOT_AS_MADE:
                raise ReplicaBehindError(
                    f"{plan.name}: the replica's table is not as it was made: {error.said}",
                    "run again with --force-full",
                ) from error
            raise

    def discard(self, plan: TablePlan) -> None:
        """Drop what a failed load left."""
        with self.pool.session() as session:
            for name in sql.staged_names(plan.name, plan.run, plan.stages_changes_only):
                session.execute(replica_sql.drop_mysql(self.endpoint.database, name))
            session.execute(load_journal_sql.forget(None, plan.name))

    def close(self) -> None:
        self.pool.close()


def _refuse_pointed_at(keys_there: Iterable[tuple[str, str, str]], plan: TablePlan, folds_names: bool) -> None:
    """
    Args:
        keys_there: the replica's foreign keys: the table that each points at, its own table, and its name.

    Raises:
        DataLoadingError: foreign keys at the replica point at a table that is to be recreated.
    """
    name = sql.folded(plan.name, folds_names)
    if pointing := [(table, key) for to, table, key in keys_there if sql.folded(to, folds_names) == name]:
        keys = ", ".join(f"{key} of {table}" for table, key in pointing)
        raise DataLoadingError(
            f"{plan.name}: foreign keys at the replica point at it ({keys}), and it was to be recreated; nothing was "
            "changed there",
            "drop them there: the table that they point at would be another one",
        )


def folds_names(session: drivers.MySQL) -> bool:
    """Whether a server takes two names for one that differ in capitals alone."""
    return bool(int(session.rows("SELECT @@lower_case_table_names")[0][0]))


# Two rows that a unique key takes for one; columns, keys, types, checks and views that arrowetl did not make.
_NOT_AS_MADE = {1062, 1048, 1054, 1176, 1264, 1288, 1348, 1364, 1366, 1406, 1471, 3819, 4025}
# Too many columns, too wide a row, what MariaDB makes of either; and names that InnoDB has for columns of its own.
_TOO_WIDE = {1117, 1118, 1005, 1713, 1166, 1280}


def _is_indexed_first(plan: TablePlan) -> bool:
    """Whether staging has the table's indexes before its rows come."""
    return not plan.stages_changes_only and plan.table.rows <= limits.indexes_first_rows_max


def _refused(plan: TablePlan, part: Partition, sent: int, changed: int, words: list[str]) -> DataLoadingError:
    what = f"{plan.name}[{part.index}]: {sent:,} rows were sent to the replica, it counts {changed:,}"
    if words:
        what += f" and warns: {'; '.join(words)}"
    return DataLoadingError(
        what + "; nothing of the partition was kept",
        "two rows with one key under the replica's collation, or a value its column cannot hold; compare the "
        "table's definition at both servers",
    )
