"""
Sessions on PostgreSQL, through psycopg; COPY's binary form is encoded by pgpq.

ADBC takes 4.7 s of a core to encode a million rows of procedurelog (67
columns), pgpq 0.9 s; and 65 ms to connect, where psycopg takes 8. What pgpq
cannot encode, and what is read as Arrow, is left to `adbc`.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

import pgpq
import psycopg
import pyarrow as pa

from arrowetl import limits
from arrowetl.drivers import remedies, sessions
from arrowetl.drivers.messages import clean, remedy_for, verb
from arrowetl.drivers.watchdog import time_limit
from arrowetl.errors import DatabaseConnectionError, DatabaseError, DatabaseQueryError
from arrowetl.model.connection import Endpoint
from arrowetl.sql import postgres_name, postgres_table

# It logs what it cannot raise, in its own words; without a handler, Python would print them.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

_SSL_POSTGRES = {
    "disabled": "disable",
    "preferred": "prefer",
    "required": "require",
    "verify_ca": "verify-ca",
    "verify_identity": "verify-full",
}


def conninfo(endpoint: Endpoint) -> str:
    """libpq's connection parameters for a warehouse."""
    settings = {
        "host": endpoint.host,
        "port": str(endpoint.port),
        "dbname": endpoint.database,
        "user": endpoint.user,
        "password": endpoint.password,
        "connect_timeout": str(endpoint.connect_seconds),
        "sslmode": _SSL_POSTGRES[endpoint.ssl_mode],
        "keepalives_idle": str(limits.tcp_keepalive["TCP_KEEPIDLE"]),
        "keepalives_interval": str(limits.tcp_keepalive["TCP_KEEPINTVL"]),
        "keepalives_count": str(limits.tcp_keepalive["TCP_KEEPCNT"]),
        "tcp_user_timeout": str(limits.unacknowledged_seconds * 1000),
        "application_name": "arrowetl",
        # What is not understood before there is a session; the rest is said in it (`sessions`), as poolers refuse
        # `options`. Whatever PGCLIENTENCODING says.
        "client_encoding": "UTF8",
    }
    if endpoint.ssl_mode in ("disabled", "preferred") and not endpoint.host.startswith("/"):
        # A server, or somebody in between, may ask for the password itself: not where it can be read on its way.
        settings["require_auth"] = "!password"
    # libpq verifies by an authority it is given whatever the mode, and `prefer` then falls back to plain text.
    if endpoint.ssl_ca and endpoint.ssl_mode.startswith("verify"):
        settings["sslrootcert"] = endpoint.ssl_ca
    if endpoint.ssl_cert and endpoint.ssl_key:
        settings |= {"sslcert": endpoint.ssl_cert, "sslkey": endpoint.ssl_key}
    escaped = {key: value.replace("\\", "\\\\").replace("'", "\\'") for key, value in settings.items()}
    return " ".join(f"{key}='{value}'" for key, value in escaped.items())


T = TypeVar("T")


def connected(endpoint: Endpoint, connect: Callable[[str], T]) -> T:
    """
    Connect by `conninfo`; to a server that wants the password itself by TLS alone, where that is allowed.

    Raises:
        Whatever `connect` raises.
    """
    try:
        return connect(conninfo(endpoint))
    except Exception as error:
        if endpoint.ssl_mode != "preferred" or _ASKS_CLEARLY not in str(error):
            raise
        return connect(conninfo(replace(endpoint, ssl_mode="required")))


_ASKS_CLEARLY = "server requested a cleartext password"
"""libpq's words; it has no code for it."""

# Arrow types whose encoding is the wire form of the column they go into; that of decimals, uuids and what is past int64
# is not.
_ENCODED = {
    pa.int8(), pa.uint8(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.bool_(), pa.string(),
    pa.binary(), pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.duration("us"),
}  # fmt: skip


def can_copy(schema: pa.Schema) -> bool:
    """Whether every column has an encoding."""
    return all(type_ in _ENCODED for type_ in schema.types)


class Asks(Protocol):
    """A session, of whichever driver."""

    endpoint: Endpoint

    def rows(self, statement: str) -> list[tuple[Any, ...]]: ...


def set_up(session: Asks) -> list[tuple[str, str, str, str]]:
    """
    Set up the session, and check the result.

    Returns:
        Name, what the server would have done, what the session does, and why; where they differ.

    Raises:
        DatabaseConnectionError: it is not as asked; the caller closes it.
    """
    settings, endpoint = sessions.postgres(), session.endpoint
    answers = session.rows(sessions.said_to_postgres(settings))
    found = {name: now for name, now, _ in answers}
    sessions.require(endpoint, settings, found)
    encoding = found.get(sessions.ENCODING)
    if encoding is None:
        raise sessions.not_as_set(endpoint, f"of its settings {len(found)} were answered, and not its encoding")
    if encoding != "UTF8":
        raise DatabaseConnectionError(
            f"{endpoint}: its database is encoded in {encoding}, which cannot store all of the source's texts",
            f"make another: CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8', and name it in "
            f"{endpoint.settings}_DB",
            transient=False,
        )
    return sessions.differing_settings(settings, {name: before for name, _, before in answers})


def require_one_each(first: Asks, second: Postgres) -> None:
    """
    Two clients have two sessions, each of them one.

    Raises:
        DatabaseConnectionError: a pooler lends sessions by the transaction: locks and settings would be anybody's.
    """
    question = "SELECT pg_backend_pid()"
    before = first.rows(question)
    with second.transaction():
        # What is in a transaction, a pooler cannot lend to anybody else meanwhile.
        other, after = second.rows(question), first.rows(question)
    if other == before or after != before:
        raise DatabaseConnectionError(
            f"{first.endpoint}: a pooler lends its sessions by the transaction; a run's lock and settings need one of "
            "its own",
            "connect to PostgreSQL itself, or to a pool in session mode (PgBouncer: pool_mode = session)",
            transient=False,
        )


class Postgres:
    """
    A session on the warehouse, in UTC; each statement commits unless inside `transaction`.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        """
        Connect, or fail within the endpoint's `connect_seconds`.

        Raises:
            DatabaseConnectionError: the server is down or refuses, or the session is not what it was asked to be.
        """
        self.endpoint = endpoint
        self._used = time.monotonic()
        self._fd: int | None = None
        with self._translated("connect"):
            # A prepared statement would outlive the columns of the table it was prepared for.
            self._connection = connected(endpoint, partial(psycopg.connect, autocommit=True, prepare_threshold=None))
        self._fd = self._connection.pgconn.socket
        with ExitStack() as undo:
            undo.callback(self.close)
            self.differing_settings = set_up(self)
            undo.pop_all()
        """Name, what the server would have done, what this session does, and why."""

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of a query; of several statements, those of the last."""
        with self._translated("query"), self._connection.cursor() as cursor:
            cursor.execute(statement.encode())
            while cursor.nextset():
                pass
            return cursor.fetchall()

    def count(self, namespace: str, table: str) -> int:
        """How many rows a table has."""
        return int(self.rows(f"SELECT count(*) FROM ONLY {postgres_table(namespace, table)}")[0][0])

    def execute(self, statement: str) -> None:
        """Run a statement."""
        with self._translated("statement"):
            self._connection.execute(statement.encode())

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements of the block, or none."""
        # BEGIN and COMMIT are waited for; a block's statements between them have waits of their own.
        transaction = self._connection.transaction()
        with self._translated("statement"):
            transaction.__enter__()
        try:
            yield
        except BaseException as error:
            with self._translated("statement"):
                transaction.__exit__(type(error), error, error.__traceback__)
            raise
        with self._translated("commit"):
            transaction.__exit__(None, None, None)

    def ingest(self, namespace: str, table: str, reader: pa.RecordBatchReader) -> None:
        """COPY the reader's batches into a table that has columns of exactly their types; `can_copy` says which may."""
        columns = ", ".join(map(postgres_name, reader.schema.names))
        statement = f"COPY {postgres_table(namespace, table)} ({columns}) FROM STDIN (FORMAT binary)"
        encoder = pgpq.ArrowToPostgresBinaryEncoder(reader.schema)
        with self._translated("COPY"), self._connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.write(encoder.write_header())
            for batch in reader:
                copy.write(encoder.write_batch(batch))
            copy.write(encoder.finish())

    def alive(self) -> bool:
        """Whether the session is alive; asks the server only after a period of silence."""
        if time.monotonic() - self._used < limits.idle_seconds_unchecked:
            return not self._connection.broken
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
            # Until there is a connection, libpq has patience of its own.
            with time_limit(self.endpoint, 0 if doing == "connect" else self.endpoint.silence_seconds, self._fd):
                yield
        except psycopg.Error as error:
            # What the server said, in the form in which libpq says it.
            said = f"ERROR:  {error}" if error.diag.message_primary else str(error)
            raise postgres_error(said, error.sqlstate, self.endpoint, doing) from error


def postgres_error(text: str, code: str | None, endpoint: Endpoint, doing: str) -> DatabaseError:
    """Our error for libpq's words, whichever library passed them on."""
    theirs = code == _RAISED or "PL/pgSQL function" in text
    said = "by a trigger or a rule" if theirs else _postgres_words(text, endpoint)
    if (code or "").startswith("22"):
        # Data exceptions quote what they stumbled over.
        said = re.sub(r'"[^"]*"', '"…"', said)
    if code is None or code in ("\0" * 5, "00000"):
        code = next((state for state, words in _WITHOUT_STATE.items() if words in text), None)
    remedy = remedy_for(remedies.postgres(code), endpoint)
    if doing == "connect" or (code or "").startswith(("08", "57P")) or ("connection" in said and code is None):
        return DatabaseConnectionError(
            f"{endpoint}: {verb(doing)}: {said}",
            remedy if code else remedy_for(remedies.TLS if _TLS.search(said) else remedies.UNREACHABLE, endpoint),
            not (code or "").startswith(_REFUSED),
        )
    place = re.search(r"^COPY .*, line (\d+)(?:, column (.+))?$", text, re.MULTILINE)
    return DatabaseQueryError(
        f"{endpoint}: the {doing} was refused: {said}" + (f" ({code})" if code else ""),
        remedy,
        code,
        (int(place[1]) - 1, place[2]) if place else None,
        said,
        transient=code in _TRANSIENT,
    )


_TLS = re.compile(r"\bSSL\b|certificate")
# Connections that are still being refused, too; and what was locked by others, or needed memory they had.
_REFUSED = ("28", "3D", "42")
_TRANSIENT = {"40001", "40P01", "55P03", "53200"}

# RAISE: the trigger's author chose the words, and a value may be among them.
_RAISED = "P0001"

# libpq gives no SQLSTATE for a refused connection.
_WITHOUT_STATE = {
    "28P01": "password authentication failed",
    "28000": "no pg_hba.conf entry",
    "3D000": "does not exist",
    "53300": "too many c",
}


def _postgres_words(text: str, endpoint: Endpoint) -> str:
    # DETAIL and CONTEXT hold values of rows; the first ERROR or FATAL line does not.
    found = re.search(r"(?:ERROR|FATAL):\s*(.+)", text) or re.search(r"(?:failed|address): (.+)", text)
    said = found[1] if found else text.splitlines()[-1] if text else "no reason given"
    # This DETAIL holds names only.
    dependents = re.search(r"DETAIL:\s*(\S.* depends on .+)", text)
    return clean(said + (f"; {dependents[1]}" if dependents else ""), endpoint)
