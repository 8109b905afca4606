"""
Sessions on PostgreSQL, through ADBC.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa

from arrowetl import limits
from arrowetl.drivers.refusals import UNREACHABLE, clean, remedy_for, verb
from arrowetl.errors import DatabaseConnectionError, DatabaseError, DatabaseQueryError
from arrowetl.route import Endpoint
from arrowetl.sql import postgres_table

_SSL_POSTGRES = {
    "disabled": "disable",
    "preferred": "prefer",
    "required": "require",
    "verify_ca": "verify-ca",
    "verify_identity": "verify-full",
}

_REMEDIES_POSTGRES = {
    "28P01": "check {variables}_USER and _PASSWORD",
    "28000": "check {variables}_USER, and pg_hba.conf at the server",
    "3D000": "check {variables}_DB; the database must exist",
    "42501": "grant the account that privilege",
    "53300": "lower --max-workers, or raise max_connections at the server",
    **dict.fromkeys(
        ("23502", "23503", "23505", "23514"),
        "a constraint of the warehouse's own forbids what the source has: drop it there",
    ),
    "2BP01": "a view depends on it: drop it, run again, and make it anew; a key's dates can be kept as type: text",
    "53100": "free space on the server's disk",
}


def conninfo(endpoint: Endpoint) -> str:
    """How libpq is told the way to a warehouse, and how its sessions are to be: in UTC."""
    settings = {
        "host": endpoint.host,
        "port": str(endpoint.port),
        "dbname": endpoint.database,
        "user": endpoint.user,
        "password": endpoint.password,
        "connect_timeout": str(limits.connect_seconds),
        "sslmode": _SSL_POSTGRES[endpoint.ssl_mode],
        "keepalives_idle": str(limits.tcp_keepalive["TCP_KEEPIDLE"]),
        "keepalives_interval": str(limits.tcp_keepalive["TCP_KEEPINTVL"]),
        "keepalives_count": str(limits.tcp_keepalive["TCP_KEEPCNT"]),
        "application_name": "arrowetl",
        # jit off: our long statements are joins and scans it only delays.
        "options": "-c TimeZone=UTC -c IntervalStyle=postgres -c DateStyle=ISO -c extra_float_digits=1 -c jit=off",
    }
    if endpoint.ssl_ca:
        settings["sslrootcert"] = endpoint.ssl_ca
    escaped = {key: value.replace("\\", "\\\\").replace("'", "\\'") for key, value in settings.items()}
    return " ".join(f"{key}='{value}'" for key, value in escaped.items())


class Postgres:
    """
    A session on the warehouse, in UTC; each statement commits unless inside `transaction`.
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
            self._connection = adbc.connect(conninfo(endpoint), autocommit=True)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self._translated("query"), self._connection.cursor() as cursor:
            # COPY (…) TO would read large results faster, and fails on statements that are not plain queries.
            cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
            cursor.execute(statement)
            return list(cursor.fetchall())

    def read_arrow(self, statement: str) -> pa.Table:
        """The rows of a query as Arrow: what is no type of Arrow's must be cast to one."""
        with self._translated("query"), self._connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetch_arrow_table()

    def count(self, namespace: str, table: str) -> int:
        """How many rows a table has."""
        return int(self.rows(f"SELECT count(*) FROM {postgres_table(namespace, table)}")[0][0])

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
        connection.set_autocommit(False)
        try:
            yield
            with self._translated("commit"):
                connection.commit()
        except BaseException:
            with suppress(Exception):
                connection.rollback()
            raise
        finally:
            with suppress(Exception):
                connection.set_autocommit(True)

    def ingest(self, namespace: str, table: str, reader: pa.RecordBatchReader) -> None:
        """COPY the reader's batches into a table that has columns of exactly their types."""
        with self._translated("COPY"), self._connection.cursor() as cursor:
            cursor.adbc_ingest(table, reader, mode="append", db_schema_name=namespace)

    def alive(self) -> bool:
        """Whether the session still stands; asks the server only after a while of silence."""
        if time.monotonic() - self._used < limits.idle_seconds_unchecked:
            return True
        try:
            return self.rows("SELECT 1") == [(1,)]
        except DatabaseError:
            return False

    def close(self) -> None:
        with suppress(Exception):
            self._connection.close()

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        self._used = time.monotonic()
        try:
            yield
        except adbc.Error as error:
            raise postgres_error(str(error), getattr(error, "sqlstate", None), self.endpoint, doing) from error


def postgres_error(text: str, code: str | None, endpoint: Endpoint, doing: str) -> DatabaseError:
    """Ours for libpq's words, whoever passed them on."""
    theirs = code == _RAISED or "PL/pgSQL function" in text
    said = "by a trigger or a rule of its own" if theirs else _postgres_words(text, endpoint)
    if (code or "").startswith("22"):
        # Data exceptions quote what they stumbled over.
        said = re.sub(r'"[^"]*"', '"…"', said)
    if code is None or code in ("\0" * 5, "00000"):
        code = next((state for state, words in _WITHOUT_STATE.items() if words in text), None)
    remedy = remedy_for(_REMEDIES_POSTGRES.get(code or ""), endpoint)
    if doing == "connect" or (code or "").startswith(("08", "57P")) or ("connection" in said and code is None):
        return DatabaseConnectionError(
            f"{endpoint}: {verb(doing)}: {said}", remedy or remedy_for(UNREACHABLE, endpoint)
        )
    place = re.search(r"^COPY .*, line (\d+)(?:, column (.+))?$", text, re.MULTILINE)
    return DatabaseQueryError(
        f"{endpoint}: the {doing} was refused: {said}" + (f" ({code})" if code else ""),
        remedy,
        code,
        (int(place[1]) - 1, place[2]) if place else None,
        said,
    )


# RAISE: whoever wrote the trigger chose the words, and a value may be among them.
_RAISED = "P0001"

# libpq gives no SQLSTATE for a refused connection.
_WITHOUT_STATE = {
    "28P01": "password authentication failed",
    "28000": "no pg_hba.conf entry",
    "3D000": "does not exist",
}


def _postgres_words(text: str, endpoint: Endpoint) -> str:
    # DETAIL and CONTEXT hold values of rows; the first ERROR or FATAL line does not.
    found = re.search(r"(?:ERROR|FATAL):\s*(.+)", text) or re.search(r"(?:failed|address): (.+)", text)
    said = found[1] if found else text.splitlines()[-1] if text else "no reason given"
    dependents = re.search(r"DETAIL:\s*((?:view|materialized view) .+)", text)
    return clean(said + (f"; {dependents[1]}" if dependents else ""), endpoint)
