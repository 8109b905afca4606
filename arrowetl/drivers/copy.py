"""
COPY into PostgreSQL: encoded by pgpq, sent by psycopg.

ADBC takes 4.7 s of a core to encode a million rows of procedurelog (67
columns), pgpq 0.9 s; what it cannot encode is left to ADBC (`can_copy`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pgpq
import psycopg
import pyarrow as pa

from arrowetl import limits
from arrowetl.drivers.postgres import conninfo, postgres_error
from arrowetl.route import Endpoint
from arrowetl.sql import postgres_name, postgres_table

# Those whose encoding is the wire form of the column they go into; decimals, uuids and what is past int64 are not.
_ENCODED = {
    pa.int8(), pa.uint8(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.bool_(), pa.string(),
    pa.binary(), pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.duration("us"),
}  # fmt: skip


def can_copy(schema: pa.Schema) -> bool:
    """Whether every column has an encoding."""
    return all(type_ in _ENCODED for type_ in schema.types)


class PostgresCopy:
    """
    A session on the warehouse for COPY, and for statements of the same transaction.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        """
        Connect, or fail within `limits.connect_seconds`.

        Raises:
            DatabaseConnectionError: the server is down or refuses.
        """
        self.endpoint = endpoint
        self._used = time.monotonic()
        with self._translated("connect"):
            self._connection = psycopg.connect(conninfo(endpoint), autocommit=True)

    def execute(self, statement: str) -> None:
        """Run a statement."""
        with self._translated("statement"):
            self._connection.execute(statement.encode())

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements of the block, or none."""
        with self._translated("commit"), self._connection.transaction():
            yield

    def ingest(self, namespace: str, table: str, reader: pa.RecordBatchReader) -> None:
        """COPY the reader's batches into a table that has columns of exactly their types."""
        columns = ", ".join(map(postgres_name, reader.schema.names))
        statement = f"COPY {postgres_table(namespace, table)} ({columns}) FROM STDIN (FORMAT binary)"
        encoder = pgpq.ArrowToPostgresBinaryEncoder(reader.schema)
        with self._translated("COPY"), self._connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.write(encoder.write_header())
            for batch in reader:
                copy.write(encoder.write_batch(batch))
            copy.write(encoder.finish())

    def alive(self) -> bool:
        """Whether the session still stands; asks the server only after a while of silence."""
        if time.monotonic() - self._used < limits.idle_seconds_unchecked:
            return not self._connection.broken
        try:
            return self._connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.Error:
            return False

    def close(self) -> None:
        with suppress(Exception):
            self._connection.close()

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        self._used = time.monotonic()
        try:
            yield
        except psycopg.Error as error:
            # What the server said, in the form in which libpq says it.
            said = f"ERROR:  {error}" if error.diag.message_primary else str(error)
            raise postgres_error(said, error.sqlstate, self.endpoint, doing) from error
