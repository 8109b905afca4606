"""
Sessions on MySQL and MariaDB, through mysql.connector.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import mysql.connector
from mysql.connector import errorcode
from mysql.connector.connection import MySQLConnection

from arrowetl import limits
from arrowetl.drivers import remedies, sessions
from arrowetl.drivers.messages import clean, lost, remedy_for, verb
from arrowetl.drivers.watchdog import time_limit, time_limit_seconds
from arrowetl.errors import DatabaseConnectionError, DatabaseError, DatabaseQueryError
from arrowetl.model.connection import Endpoint
from arrowetl.model.dialect import Flavour

# What MySQL says when it is not there, does not let us in, or goes away in the middle.
_CONNECTION_CODES = {
    errorcode.CR_CONNECTION_ERROR, errorcode.CR_CONN_HOST_ERROR, errorcode.CR_UNKNOWN_HOST,
    errorcode.CR_SERVER_GONE_ERROR, errorcode.CR_SERVER_LOST, errorcode.CR_SERVER_LOST_EXTENDED,
    errorcode.CR_SSL_CONNECTION_ERROR, errorcode.ER_ACCESS_DENIED_ERROR, errorcode.ER_DBACCESS_DENIED_ERROR,
    errorcode.ER_BAD_DB_ERROR, errorcode.ER_CON_COUNT_ERROR, errorcode.ER_HOST_NOT_PRIVILEGED,
    errorcode.ER_HOST_IS_BLOCKED, errorcode.ER_SERVER_SHUTDOWN, errorcode.ER_TOO_MANY_USER_CONNECTIONS,
    errorcode.ER_USER_LIMIT_REACHED,
    # What the driver says of a session that has been lost before; MySQL of one that was idle, MariaDB of one killed.
    -1, 4031, 1927,
}  # fmt: skip

# Of these the ones that will soon be different.
_REFUSED = {
    errorcode.ER_ACCESS_DENIED_ERROR, errorcode.ER_DBACCESS_DENIED_ERROR, errorcode.ER_BAD_DB_ERROR,
    errorcode.ER_HOST_NOT_PRIVILEGED, errorcode.ER_HOST_IS_BLOCKED, errorcode.CR_SSL_CONNECTION_ERROR,
}  # fmt: skip
# Others had the locks, or the memory for them.
_TRANSIENT = {errorcode.ER_LOCK_WAIT_TIMEOUT, errorcode.ER_LOCK_DEADLOCK, errorcode.ER_LOCK_TABLE_FULL}
# A MyISAM table that was open when its server was killed; the server mends it itself, where it may.
_CRASHED = {126, 127, 144, 145, errorcode.ER_CRASHED_ON_USAGE, errorcode.ER_CRASHED_ON_REPAIR}
_TRANSIENT |= _CRASHED
# A table or column that no longer exists, or another one: planned again, it may be loaded as it is now.
_TRANSIENT |= {errorcode.ER_NO_SUCH_TABLE, errorcode.ER_BAD_FIELD_ERROR, errorcode.ER_TABLE_DEF_CHANGED}

_WARNINGS_SHOWN = 3
_SIGNALLED = 1644


class MySQL:
    """
    A session on a MySQL or MariaDB server: UTC, strict, utf8mb4, no value ever renumbered.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        read_only: bool = False,
        infile_directory: Path | None = None,
        statement_seconds: int = 0,
        compares: bool = False,
    ) -> None:
        """
        Connect, or fail within the endpoint's `connect_seconds`.

        Args:
            infile_directory: the only place LOAD DATA LOCAL may read from.
            statement_seconds: after which the server ends a query; 0 is never.
            compares: whether to learn what the server would have done differently (`differing_settings`).

        Raises:
            DatabaseConnectionError: the server is down or refuses, or the session is not what it was asked to be.
        """
        self.endpoint = endpoint
        self._used = time.monotonic()
        self._time_limit_seconds = time_limit_seconds(endpoint, statement_seconds)
        self._fd: int | None = None
        arguments: dict[str, Any] = {
            "host": endpoint.host,
            "port": endpoint.port,
            "user": endpoint.user,
            "password": endpoint.password,
            "database": None if endpoint.is_made_later else endpoint.database,
            "charset": "utf8mb4",
            # Otherwise it asks every server that says 8.0 or later for a collation that MariaDB may lack.
            "collation": "utf8mb4_general_ci",
            "connection_timeout": endpoint.connect_seconds,
            "autocommit": True,
            "allow_local_infile": False,
        }
        if endpoint.socket:
            arguments["unix_socket"] = endpoint.socket
        if infile_directory is not None:
            arguments["allow_local_infile_in_path"] = str(infile_directory)
        with self._translated("connect"):
            self._connection = _connect_mysql(arguments, endpoint)
        with suppress(AttributeError):
            # From here on statements may take as long as `time_limit` lets them.
            connected = self._connection._socket.sock
            connected.settimeout(None)
            self._fd = connected.fileno()
            if not endpoint.socket:
                _keep_alive(connected)
        with ExitStack() as undo:
            undo.callback(self.close)
            settings = sessions.mysql(sessions.STRICT, statement_seconds, writes=not read_only)
            asked = sessions.asked_of_mysql(settings)
            before = self._named(asked) if compares else {}
            for statement in sessions.said_to_mysql(settings, writes=not read_only):
                self.execute(statement)
            sessions.require(endpoint, settings, self._named(asked))
            undo.pop_all()
        self.differing_settings = sessions.differing_settings(settings, before)
        """Name, what the server would have done, what this session does, and why."""

    @property
    def flavour(self) -> Flavour:
        """Which family the server belongs to: it says `10.11.19-MariaDB` or `8.4.2` of itself."""
        return Flavour.MARIADB if "mariadb" in str(self._connection.server_info).lower() else Flavour.MYSQL

    @property
    def uses_tls(self) -> bool:
        return bool(self.rows("SHOW SESSION STATUS LIKE 'Ssl_cipher'")[0][1])

    def _named(self, question: str) -> dict[str, str]:
        """Name → value, of an answer that has them in turn."""
        (answer,) = self.rows(question)
        return {str(name): str(value) for name, value in zip(answer[::2], answer[1::2], strict=True)}

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self._translated("query"):
            # Not by a cursor, which asks the server whether it is still there, each time: a second round trip.
            return self._fetched(self._connection.cmd_query(statement))

    def _fetched(self, result: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        rows = self._connection.get_rows()[0] if "columns" in result else []
        return [tuple(map(_text, row)) for row in rows]

    def answers(self, questions: Sequence[str]) -> list[list[tuple[Any, ...]] | None]:
        """
        The rows of each of many queries, in one round trip; None of one that is refused.

        Raises:
            DatabaseQueryError: one waited too long; whether it would be refused is not known.
        """
        found = list[list[tuple[Any, ...]] | None]()
        try:
            with self._translated("query"):
                for result in self._connection.cmd_query_iter("; ".join(questions)):
                    found.append(self._fetched(result))
            return found
        except DatabaseQueryError as error:
            if error.code in _WAITED:
                raise
        # Nothing behind it was answered.
        return [*found, None, *(self.answers(rest) if (rest := questions[len(found) + 1 :]) else [])]

    @contextmanager
    def impatient(self) -> Iterator[None]:
        """A question about many tables does not wait for one that is locked."""
        self.execute(f"SET SESSION lock_wait_timeout = {limits.question_lock_seconds}")
        yield
        self.execute(f"SET SESSION lock_wait_timeout = {limits.lock_seconds}")

    def execute(self, statement: str) -> int:
        """Run a statement; return the number of rows it changed."""
        with self._translated("statement"):
            result = self._connection.cmd_query(statement)
        return int(result.get("affected_rows", 0))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements of the block, or none: where something failed, the pool closes the session."""
        self.execute("START TRANSACTION")
        yield
        self.execute("COMMIT")

    def load(self, statement: str, lenient: bool = False) -> tuple[int, int, list[str]]:
        """
        Run a LOAD DATA.

        Args:
            lenient: let the server accept with a warning what it would refuse; the caller counts them.

        Returns:
            The rows it changed, how many warnings it gave, and the words of the first of them.
        """
        strict = sessions.STRICT
        if lenient:
            self.execute(f"SET SESSION sql_mode = '{strict.replace('STRICT_ALL_TABLES,', '')}'")
        with self._translated("LOAD DATA"):
            result = self._connection.cmd_query(statement)
        warnings, words = int(result.get("warning_count", 0)), list[str]()
        if warnings:
            first = self.rows(f"SHOW WARNINGS LIMIT {_WARNINGS_SHOWN}")
            words = [f"{clean(str(said), self.endpoint)} ({code})" for _, code, said in first]
            # The answer itself counts no further than 65,535.
            warnings = int(self.rows("SELECT @@warning_count")[0][0])
        if lenient:
            self.execute(f"SET SESSION sql_mode = '{strict}'")
        return int(result.get("affected_rows", 0)), warnings, words

    def alive(self) -> bool:
        """Whether the session is alive; asks the server only after a period of silence."""
        if time.monotonic() - self._used < limits.idle_seconds_unchecked:
            return True
        try:
            with time_limit(self.endpoint, self.endpoint.connect_seconds, self._fd):
                return bool(self._connection.is_connected())
        except DatabaseError:
            return False

    def close(self) -> None:
        with suppress(Exception), time_limit(self.endpoint, self.endpoint.connect_seconds, self._fd):
            self._connection.close()

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        self._used = time.monotonic()
        try:
            # The driver has patience of its own with the greeting, and none with what it asks after it.
            seconds = 2 * self.endpoint.connect_seconds if doing == "connect" else self._time_limit_seconds
            with time_limit(self.endpoint, seconds, self._fd):
                yield
        except mysql.connector.Error as error:
            raise _mysql_error(error, self.endpoint, doing) from error
        except (OSError, IndexError) as error:  # the pure driver lets a torn connection through as one of these
            raise lost(self.endpoint, doing) from error


def _keep_alive(connected: socket.socket) -> None:
    unacknowledged = {"TCP_USER_TIMEOUT": limits.unacknowledged_seconds * 1000}
    for name, value in {**limits.tcp_keepalive, **unacknowledged}.items():
        # Not every system has all of them.
        if (option := getattr(socket, name, None)) is not None:
            connected.setsockopt(socket.IPPROTO_TCP, option, value)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # LOAD DATA sends a file's end by itself, which otherwise waits 40 ms for the server to have acknowledged what came
    # before.
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


# For a lock, in a circle of them, until it was ended, or its time was over on MariaDB, or on MySQL.
_WAITED = {1205, 1213, 1317, 1969, 3024}


class _Discreet(MySQLConnection):  # type: ignore[misc]
    """
    A connection that sends a password to nobody who could read it on its way.

    Where a server that says 8.0 or later does not remember an account (caching_sha2_password, after each of its
    restarts), or somebody in between says so, the library would answer with the password itself, TLS or not.
    """

    def _do_auth(self, *arguments: Any, **named: Any) -> bool:
        plain, password = self._socket, self._password.encode()
        send = plain.send

        def guarded(payload: bytes, *more: Any) -> None:
            # After the switch to TLS the socket is another object's; what is sent by then is encrypted.
            if password and not self._ssl_active and bytes(payload).rstrip(b"\0") == password:
                raise mysql.connector.errors.InterfaceError(
                    msg="the server wants the password itself, and the connection is not encrypted: it was not sent",
                    errno=CR_AUTH_PLUGIN_ERR,
                )
            send(payload, *more)

        plain.send = guarded
        try:
            return bool(super()._do_auth(*arguments, **named))
        except RuntimeError as error:
            # A plugin is asked for more than there is of it.
            raise mysql.connector.errors.InterfaceError(
                msg="the server asks for more than its own protocol has", errno=CR_AUTH_PLUGIN_ERR
            ) from error
        finally:
            del plain.send


CR_AUTH_PLUGIN_ERR = 2061
"""What MySQL's own client says of an account's plugin that it cannot serve."""


def _connect_mysql(arguments: dict[str, Any], endpoint: Endpoint) -> Any:
    mode = endpoint.ssl_mode
    if endpoint.socket:
        # What passes through a unix socket does not leave the machine.
        return mysql.connector.connect(**arguments, use_pure=True, ssl_disabled=True)
    if mode == "disabled":
        return _Discreet(**arguments, ssl_disabled=True)
    if mode == "preferred":
        try:
            return _Discreet(**arguments)
        except mysql.connector.Error as error:
            # A server whose TLS is too old to speak with is still a server that plain text reaches.
            if error.errno != errorcode.CR_SSL_CONNECTION_ERROR and "SSL" not in str(error):
                raise
            return _Discreet(**arguments, ssl_disabled=True)
    verify = {"ssl_verify_cert": mode != "required", "ssl_verify_identity": mode == "verify_identity"}
    connection = _Discreet(**arguments, **verify, ssl_ca=endpoint.ssl_ca)
    if not getattr(connection, "_ssl_active", True):
        connection.close()
        raise mysql.connector.errors.InterfaceError(
            msg="the server offers no TLS", errno=errorcode.CR_SSL_CONNECTION_ERROR
        )
    return connection


def _text(value: Any) -> Any:
    # Dictionary columns are text or bytes by the server's version.
    # An enum's label may be no valid text: its table fails, not the catalog.
    return bytes(value).decode(errors="replace") if isinstance(value, bytes | bytearray) else value


def _mysql_error(error: mysql.connector.Error, endpoint: Endpoint, doing: str) -> DatabaseError:
    code = error.errno
    # SIGNAL: the trigger's author chose the words, and a value may be among them.
    said = clean(str(error.msg or error), endpoint) if code != _SIGNALLED else "by a trigger"
    if doing == "connect" or code in _CONNECTION_CODES:
        # While connecting there is no statement to be limited: the library calls its own wait so.
        # Nor is there a row that could be too large.
        known = remedies.MYSQL.get(code or 0, remedies.UNREACHABLE)
        unreachable = doing == "connect" and (code == errorcode.ER_QUERY_TIMEOUT or known is remedies.LOST)
        remedy = remedy_for(remedies.UNREACHABLE if unreachable else known, endpoint)
        return DatabaseConnectionError(f"{endpoint}: {verb(doing)}: {said} ({code})", remedy, code not in _REFUSED)
    remedy = remedy_for(remedies.mysql(code, said), endpoint)
    if code in (1148, 3948, 4166) or "LOAD DATA LOCAL" in said:
        said, remedy = "local_infile is off there", remedy_for(remedies.LOCAL_INFILE, endpoint)
    words = f"{endpoint}: the {doing} was refused: {said} ({code})"
    return DatabaseQueryError(words, remedy, code, said=said, transient=code in _TRANSIENT)
