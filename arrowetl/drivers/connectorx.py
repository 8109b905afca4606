"""
A query's rows as Arrow, through connectorx.
"""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from typing import TYPE_CHECKING, TextIO
from urllib.parse import quote

from arrowetl import limits
from arrowetl.drivers import remedies, sessions
from arrowetl.drivers.messages import clean, remedy_for
from arrowetl.drivers.watchdog import time_limit, time_limit_seconds
from arrowetl.errors import DatabaseConnectionError, DataExtractionError
from arrowetl.model.connection import Endpoint

if TYPE_CHECKING:
    import pyarrow as pa

# Its pool prints every retry, host and all, on stderr unless this is set before it is imported.
os.environ.setdefault("RUST_LOG", "off")


def read_arrow(endpoint: Endpoint, statement: str, tls: bool, statement_seconds: int = 0) -> pa.Table:
    """
    Read a query's rows as Arrow, through connectorx.

    Args:
        tls: whether the server was seen to speak it (`preferred` means `required` to connectorx).
        statement_seconds: after which the server ends the query; 0 is never.

    Returns:
        A table of the query's columns, by their aliases; timestamps are naive UTC.

    Raises:
        DataExtractionError: the read was ended.
    """
    import connectorx

    mode = endpoint.ssl_mode.upper() if endpoint.ssl_mode not in ("preferred", "disabled") else "REQUIRED"
    # prefer_socket: it would otherwise follow a loopback server's socket path to another server on this machine.
    options = {
        "prefer_socket": "false",
        "tcp_connect_timeout_ms": str(endpoint.connect_seconds * 1000),
        "tcp_keepalive_time_ms": str(limits.tcp_keepalive["TCP_KEEPIDLE"] * 1000),
        "tcp_keepalive_probe_interval_secs": str(limits.tcp_keepalive["TCP_KEEPINTVL"]),
        "tcp_keepalive_probe_count": str(limits.tcp_keepalive["TCP_KEEPCNT"]),
        "ssl-mode": mode if tls else "DISABLED",
    }
    if tls and endpoint.ssl_ca:
        options["ssl-ca"] = endpoint.ssl_ca
    if endpoint.socket:
        options |= {"socket": endpoint.socket, "ssl-mode": "DISABLED"}
    user, password, database = (quote(part, safe="") for part in (endpoint.user, endpoint.password, endpoint.database))
    query = "&".join(f"{key}={quote(value, safe='/')}" for key, value in options.items())
    url = f"mysql://{user}:{password}@{_url_host(endpoint.host)}:{endpoint.port}/{database}?{query}"
    try:
        with time_limit(endpoint, time_limit_seconds(endpoint, statement_seconds)):
            return connectorx.read_sql(
                url, statement, return_type="arrow", protocol="binary", pre_execution_query=_session(statement_seconds)
            )
    except (KeyboardInterrupt, SystemExit, DatabaseConnectionError):
        raise
    except BaseException as error:  # a Rust panic is no Exception
        # Neither text is passed on: a panic's holds the cell's value.
        reason = re.search(r"ERROR (\d+) \(\w+\):?\s*(.*?)\s*}?\s*$", str(error), re.DOTALL)
        if reason and int(reason[1]) == sessions.NOT_AS_SET:
            raise sessions.not_as_set(endpoint, "its character set, its time zone, or one of its limits") from None
        said = f"{clean(reason[2], endpoint)} ({reason[1]})" if reason else _words(error)
        remedy = "run again; if it stays, `arrowetl test-connections` shows how the server is"
        if reason and int(reason[1]) in remedies.MYSQL:
            remedy = remedy_for(remedies.mysql(int(reason[1]), said), endpoint) or remedy
        if reason and int(reason[1]) in _NOT_FOUND and not statement.isascii():
            # connectorx asks for the query's columns in a session that cannot be set up.
            said += "; the name is not only of ASCII, and the server seems to overrule the session's character set"
            remedy = (
                "take SET NAMES out of the server's init_connect, and skip-character-set-client-handshake out of its "
                "configuration; or leave the column, or the table, out in arrowetl.yml"
            )
        raise DataExtractionError(
            f"{endpoint}: the read was ended: {said}",
            remedy,
            transient=int(reason[1]) in _CHANGED_MEANWHILE if reason else not _is_of_values(error),
        ) from None


# Lock timeouts and deadlocks, what an administrator killed, a connection that was lost; a table or column that no
# longer exists: planned again, the table may be loaded as it is now.
_CHANGED_MEANWHILE = {1205, 1213, 1317, 1927, 2006, 2013, 1054, 1146, 1412}


# A table or column that is not there.
_NOT_FOUND = {1054, 1146}


@cache
def _session(statement_seconds: int) -> list[str]:
    """What each session of the library's says first."""
    settings = sessions.mysql("", statement_seconds, writes=False)
    return [*sessions.said_to_mysql(settings, writes=False), sessions.refused_by_mysql(settings)]


def _is_of_values(error: BaseException) -> bool:
    """Whether the driver failed on what was read, and not on the connection."""
    return any(words in str(error) for words in ("Couldn't convert", "packet"))


def _words(error: BaseException) -> str:
    if "packet" in str(error).lower():
        return "a row is larger than its max_allowed_packet, which is to be raised"
    return "a value that the driver cannot hold" if "Couldn't convert" in str(error) else type(error).__name__


def mute_panics() -> TextIO:
    """
    Keep Rust's panics off this process's stderr, for a program of its own.

    A panic prints the offending cell before anybody can catch it. From here
    on file descriptor 2 leads nowhere; what Python has to say goes to the
    stream returned, which is the stderr there was.
    """
    os.environ["RUST_BACKTRACE"] = "0"
    if sys.stderr is None or not _is_open(2):
        # The file is closed; its descriptor must not become another file's.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if nowhere != 2:
            os.dup2(nowhere, 2)
        sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
        return sys.stderr
    sys.stderr.flush()
    kept = os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = kept
    return kept


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
