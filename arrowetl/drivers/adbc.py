"""
Arrow from and to PostgreSQL, through ADBC: for types that pgpq cannot encode, and for reading.

It is imported with the first session: most runs need none, and it takes 0.1 s.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from typing import Any

import pyarrow as pa

from arrowetl import limits
from arrowetl.drivers.postgres import connected, postgres_error, set_up
from arrowetl.drivers.watchdog import opened_since, sockets, time_limit
from arrowetl.errors import DatabaseError
from arrowetl.model.connection import Endpoint

_CONNECTING = threading.Lock()


class PostgresArrow:
    """
    A session on the warehouse for Arrow, and for statements of the same transaction.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        """
        Connect, or fail within the endpoint's `connect_seconds`.

        Raises:
            DatabaseConnectionError: the server is down or refuses.
        """
        self.endpoint = endpoint
        self._used = time.monotonic()
        self._adbc = import_module("adbc_driver_postgresql.dbapi")
        self._fd: int | None = None
        self._open()
        with ExitStack() as undo:
            undo.callback(self.close)
            if not self._knows_types():
                # It learns the names of types while it connects, where a role may have them quoted; no pooler that
                # refuses `options` is met by who has no such role.
                self.close()
                self._open(" options='-c quote_all_identifiers=off'")
            set_up(self)
            undo.pop_all()

    def _open(self, more: str = "") -> None:
        # One at a time: what is opened meanwhile is this one.
        with _CONNECTING, self._translated("connect"):
            before = sockets()
            self._connection = connected(
                self.endpoint, lambda words: self._adbc.connect(f"{words}{more}", autocommit=True)
            )
            self._fd = opened_since(before, self.endpoint)

    def _knows_types(self) -> bool:
        return bool(self.read_arrow("SELECT ''::pg_catalog.text").schema.field(0).type == pa.string())

    def read_arrow(self, statement: str) -> pa.Table:
        """The rows of a query as Arrow: what is no type of Arrow's must be cast to one."""
        with self._translated("query"), self._connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetch_arrow_table()

    def batches(self, statement: str) -> Iterator[pa.RecordBatch]:
        """The rows of a query as they come, some thousands at a time."""
        with self._translated("query"), self._connection.cursor() as cursor:
            cursor.execute(statement)
            yield from cursor.fetch_record_batch()

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of a query, or of a statement that returns some."""
        with self._translated("query"), self._connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
            cursor.execute(statement)
            return [tuple(row) for row in cursor.fetchall()]

    def execute(self, statement: str) -> None:
        """Run a statement."""
        with self._translated("statement"), self._connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
            cursor.execute(statement)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements of the block, or none."""
        # A connection opened to commit by itself does nothing when it is asked to roll back: its lower half does.
        connection = self._connection.adbc_connection
        with self._translated("statement"):
            connection.set_autocommit(False)
        try:
            yield
            with self._translated("commit"):
                connection.commit()
        except BaseException:
            with suppress(Exception), self._translated("statement"):
                connection.rollback()
            raise
        finally:
            with suppress(Exception), self._translated("statement"):
                connection.set_autocommit(True)

    def ingest(self, namespace: str, table: str, reader: pa.RecordBatchReader) -> None:
        """COPY the reader's batches into a table that has columns of exactly their types."""
        with self._translated("COPY"), self._connection.cursor() as cursor:
            cursor.adbc_ingest(table, reader, mode="append", db_schema_name=namespace)

    def alive(self) -> bool:
        """Whether the session is alive; asks the server only after a period of silence."""
        if time.monotonic() - self._used < limits.idle_seconds_unchecked:
            return True
        try:
            return bool(self.read_arrow("SELECT 1").num_rows)
        except DatabaseError:
            return False

    def close(self) -> None:
        with suppress(Exception):
            self._connection.close()

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        self._used = time.monotonic()
        try:
            with time_limit(self.endpoint, 0 if doing == "connect" else self.endpoint.silence_seconds, self._fd):
                yield
        except self._adbc.Error as error:
            raise postgres_error(str(error), getattr(error, "sqlstate", None), self.endpoint, doing) from error
