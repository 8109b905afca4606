"""
Waits that target: a connection that is silent for too long is cut, and no other.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from arrowetl import drivers
from arrowetl.drivers.watchdog import time_limit
from arrowetl.errors import DatabaseConnectionError
from arrowetl.model.connection import Endpoint
from arrowetl.sandbox import servers


@pytest.fixture
def silent() -> Iterator[Endpoint]:
    """A server that lets in whoever comes, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Endpoint("warehouse", "127.0.0.1", listener.getsockname()[1], "d", "u", "p")


def connected(endpoint: Endpoint) -> socket.socket:
    one = socket.create_connection((endpoint.host, endpoint.port))
    one.settimeout(8)
    return one


def test_a_silent_connection_is_cut_after_the_limit(silent: Endpoint) -> None:
    """The connection is cut, and the error says how long was waited."""
    refused = pytest.raises(DatabaseConnectionError, match="no answer within 1 seconds")
    with connected(silent) as one, refused, time_limit(silent, 1, one.fileno()):
        if not one.recv(1):
            raise OSError


def test_a_librarys_silent_connection_is_cut_and_no_other(silent: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the one that was opened meanwhile; those that was before are somebody else's, and stay."""
    monkeypatch.setattr("arrowetl.limits.silence_again_seconds", 0.5)
    with connected(silent) as others:
        with pytest.raises(DatabaseConnectionError), time_limit(silent, 1), connected(silent) as one:
            if not one.recv(1):
                raise OSError
        others.settimeout(1)
        with pytest.raises(TimeoutError):
            others.recv(1)


def test_a_reused_descriptor_is_not_cut(silent: Endpoint) -> None:
    """What was waited for is closed, and its number another's: that one stays."""
    first = connected(silent)
    number = first.fileno()
    ended = threading.Event()

    def wait() -> None:
        with time_limit(silent, 1, number):
            ended.wait(4)

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.1)
    first.close()
    with connected(silent) as second:
        assert second.fileno() == number
        second.settimeout(2.5)
        with pytest.raises(TimeoutError):
            second.recv(1)
        ended.set()
        waiting.join()


def test_long_transactions_are_not_cut(sandbox: servers.Sandbox) -> None:
    """A transaction may last as long as its statements do, each of which is answered."""
    session = drivers.Postgres(replace(sandbox.warehouse, silence_seconds=2))
    with session.transaction():
        for _ in range(4):
            session.rows("SELECT pg_sleep(0.8)")
    with pytest.raises(DatabaseConnectionError, match="no answer within 2 seconds"):
        session.rows("SELECT pg_sleep(9)")
    session.close()


def test_silence_fails_as_a_lost_connection_in_every_driver(
    sandbox: servers.Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ADBC and mysql.connector: a statement that is not answered fails as a connection that was lost."""
    monkeypatch.setattr("arrowetl.limits.silence_again_seconds", 0.5)
    monkeypatch.setattr("arrowetl.limits.silence_grace_seconds", 1)
    arrow = drivers.PostgresArrow(replace(sandbox.warehouse, silence_seconds=1))
    with pytest.raises(DatabaseConnectionError):
        arrow.read_arrow("SELECT 1 FROM pg_sleep(9)")
    arrow.close()
    session = drivers.MySQL(replace(sandbox.replica, silence_seconds=1))
    with pytest.raises(DatabaseConnectionError):
        session.rows("SELECT SLEEP(9)")
    session.close()
