"""
The replica's side of the journey: a staging table, LOAD DATA into it, RENAME.

It receives spills' text and gives back counts. Reading from the replica is
`source`'s work; what its tables look like is phrased in `sql`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import IO

import pyarrow as pa

from arrowetl import drivers, infile, limits, schema, sql
from arrowetl.errors import DataLoadingError
from arrowetl.model import Endpoint, Flavour, Partition, TablePlan
from arrowetl.outcome import Changes, Coercion

Spilled = Callable[[Callable[[IO[bytes]], None]], AbstractContextManager[Path]]


class Replica:
    """
    One server and database to load into.
    """

    name = "replica"

    def __init__(self, endpoint: Endpoint, spill_directory: Path, spilled: Spilled) -> None:
        """
        Args:
            spill_directory: the only place files are loaded from.
            spilled: keeps what is written as a file there, for as long as a block lasts.
        """
        self.endpoint = endpoint
        self.pool = drivers.Pool(endpoint, lambda: drivers.MySQL(endpoint, infile_directory=spill_directory))
        self._spilled = spilled
        self._server: tuple[Flavour, dict[str, str]] | None = None
        self._tables: frozenset[str] = frozenset()

    def open(self) -> None:
        """
        Learn what is there, and drop the staging tables of a run that was killed.
        """
        with self.pool.session() as session:
            self._server = (
                session.flavour,
                dict(session.rows("SELECT COLLATION_NAME, CHARACTER_SET_NAME FROM information_schema.COLLATIONS")),
            )
            for (name,) in session.rows(sql.leftovers_mysql(self.endpoint.database)):
                session.execute(sql.drop_mysql(self.endpoint.database, name))
            rows = session.rows(
                f"SELECT TABLE_NAME FROM information_schema.TABLES "
                f"WHERE TABLE_SCHEMA = {sql.mysql_literal(self.endpoint.database)}"
            )
        self._tables = frozenset(name for (name,) in rows)

    def prepare(self, plan: TablePlan) -> None:
        """Make the staging table, with its primary key and no other index."""
        assert self._server is not None, "open() comes first"
        flavour, collations = self._server
        name = sql.staging_name(plan.name)
        for field in plan.fields:
            # Their bytes are loaded as they are, and would be others in another character set.
            if schema.goes_by_bytes(field) and not sql.known_charset(field.column.charset or "", collations):
                raise DataLoadingError(
                    f"{plan.name}.{field.column.name}: the replica has no character set {field.column.charset}",
                    schema.remedy_of(plan.name, field),
                )
        with self.pool.session() as session:
            session.execute(sql.create_replica(self.endpoint.database, name, plan, flavour, collations))

    def take(self, plan: TablePlan, part: Partition, table: pa.Table) -> tuple[Coercion, ...]:
        """
        Load one partition: all of it, exactly, or none.

        Returns:
            What had to be coerced: nothing, ever.

        Raises:
            DataLoadingError: a row was refused, replaced another, or drew a warning.
        """
        if table.num_rows == 0:
            return ()
        staging = sql.staging_name(plan.name)
        with (
            self._spilled(partial(infile.write, table, plan.fields)) as path,
            self.pool.session() as session,
        ):
            session.execute("START TRANSACTION")
            expected = infile.unlabelled(table, plan.fields)
            changed, warnings, codes = session.load(
                sql.load_data(self.endpoint.database, staging, plan.fields, path.as_posix()), lenient=expected > 0
            )
            if warnings != expected or changed != table.num_rows:
                session.execute("ROLLBACK")
                raise _refused(plan, part, table.num_rows, changed, codes)
            session.execute("COMMIT")
        return ()

    def count(self, plan: TablePlan) -> int:
        """Rows in staging, as the server counts them."""
        with self.pool.session() as session:
            return int(session.rows(sql.mysql_count(self.endpoint.database, sql.staging_name(plan.name)))[0][0])

    def finish(self, plan: TablePlan) -> None:
        """Give staging its other indexes, while nobody looks at it."""
        statement = sql.add_indexes(self.endpoint.database, sql.staging_name(plan.name), plan)
        if statement:
            with self.pool.session() as session:
                session.execute(statement)

    def cutover(self, plan: TablePlan, rows: int, comments: Mapping[str, str]) -> Changes:
        """Put staging in the published table's place; readers see the one or the other."""
        exists = plan.name in self._tables
        with self.pool.session() as session:
            # The server's own patience with a reader is a day, in which every other reader would queue behind us.
            session.execute(f"SET SESSION lock_wait_timeout = {limits.cutover_lock_seconds}")
            session.execute(sql.swap_replica(self.endpoint.database, plan.name, exists))
            session.execute(sql.drop_mysql(self.endpoint.database, sql.retired_name(plan.name)))
        return Changes(inserted=rows)

    def discard(self, plan: TablePlan) -> None:
        """Drop what a failed journey left."""
        with self.pool.session() as session:
            session.execute(sql.drop_mysql(self.endpoint.database, sql.staging_name(plan.name)))

    def close(self) -> None:
        self.pool.close()


def _refused(plan: TablePlan, part: Partition, sent: int, changed: int, codes: list[str]) -> DataLoadingError:
    what = f"{plan.name}[{part.index}]: {sent:,} rows were sent to the replica, it counts {changed:,}"
    if codes:
        what += f" and warns (codes {', '.join(codes)})"
    return DataLoadingError(
        what + "; nothing of the partition was kept",
        "two rows with one key under the replica's collation, or a value its column cannot hold; compare the "
        "table's definition at both servers",
    )
