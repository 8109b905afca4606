"""
A password leaves this machine encrypted, or not at all: whatever a server asks for, or somebody in between.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress

import pytest

from arrowetl import drivers
from arrowetl.drivers.adbc import PostgresArrow
from arrowetl.errors import ArrowetlError, DatabaseConnectionError
from arrowetl.model.connection import Endpoint

PASSWORD = "p@ss:w/rd#1?&%"
SSL = 0x0800
PLUGINS = ("caching_sha2_password", "mysql_clear_password", "sha256_password", "mysql_native_password")
Talk = Callable[[socket.socket, list[bytes]], None]


def packet(number: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "little") + bytes([number]) + body


def greeting(plugin: str) -> bytes:
    """Of a MySQL 8 that says it has no TLS, or of which somebody in between says so."""
    capabilities = 0x00FFFFFF & ~SSL
    name = plugin.encode() + b"\0"
    return (
        b"\x0a8.0.40\0" + struct.pack("<I", 1) + b"12345678\0" + struct.pack("<H", capabilities & 0xFFFF) + b"\x21"
        + struct.pack("<HH", 2, capabilities >> 16) + bytes([21]) + bytes(10) + b"123456789012\0" + name
    )  # fmt: skip


@contextmanager
def recorded(talk: Talk) -> Iterator[tuple[int, list[bytes]]]:
    """A port at which somebody talks so, and all that is said to it."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=one, args=(client,), daemon=True).start()

        def one(client: socket.socket) -> None:
            client.settimeout(5)
            with client, suppress(OSError):
                talk(client, received)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1], received


def heard(client: socket.socket, received: list[bytes]) -> bytes:
    said = client.recv(65_536)
    if len(said) < 4:
        raise ConnectionError("nothing is said")
    received.append(said)
    return said


def asks_again(first: str, then: str) -> Talk:
    """A MySQL server that begins with one plugin, switches to another, and wants the password itself."""

    def talk(client: socket.socket, received: list[bytes]) -> None:
        client.sendall(packet(0, greeting(first)))
        number = heard(client, received)[3] + 1
        if then != first:
            client.sendall(packet(number, b"\xfe" + then.encode() + b"\0" + b"12345678901234567890\0"))
            number = heard(client, received)[3] + 1
        client.sendall(packet(number, b"\x01\x04"))
        heard(client, received)

    return talk


@pytest.mark.parametrize("then", PLUGINS)
@pytest.mark.parametrize("first", PLUGINS)
@pytest.mark.parametrize("mode", ["disabled", "preferred"])
def test_mysql_is_sent_no_password_in_clear(mode: str, first: str, then: str) -> None:
    with recorded(asks_again(first, then)) as (port, received):
        endpoint = Endpoint("source", "127.0.0.1", port, "d", "u", PASSWORD, ssl_mode=mode, connect_seconds=2)
        with pytest.raises(ArrowetlError) as refusal, closing(drivers.MySQL(endpoint)):
            pass

    assert PASSWORD.encode() not in b"".join(received)
    assert PASSWORD not in str(refusal.value)


def test_what_to_do_is_said_where_mysql_wants_the_password_itself() -> None:
    """An account of `caching_sha2_password` that its server does not remember: after each of its restarts."""
    with recorded(asks_again("caching_sha2_password", "caching_sha2_password")) as (port, _):
        endpoint = Endpoint("source", "127.0.0.1", port, "d", "u", PASSWORD, ssl_mode="disabled")
        with pytest.raises(DatabaseConnectionError) as refusal, closing(drivers.MySQL(endpoint)):
            pass

    assert "the connection is not encrypted: it was not sent" in refusal.value.message
    assert "SSL_MODE to required" in (refusal.value.remedy or "")


@pytest.mark.server
def test_connectorx_sends_no_password_in_clear() -> None:
    """It has connections of its own, for which it tries for half a minute: all at the same time."""

    def sent(then: str) -> bytes:
        with recorded(asks_again("mysql_native_password", then)) as (port, received):
            endpoint = Endpoint("source", "127.0.0.1", port, "d", "u", PASSWORD, ssl_mode="disabled")
            with suppress(ArrowetlError):
                drivers.read_arrow(endpoint, "SELECT 1 AS one", tls=False)
        return b"".join(received)

    with ThreadPoolExecutor(len(PLUGINS)) as threads:
        for said in threads.map(sent, PLUGINS):
            assert said
            assert PASSWORD.encode() not in said


def asks_clearly(client: socket.socket, received: list[bytes]) -> None:
    """A PostgreSQL server without TLS that wants the password itself."""
    said = heard(client, received)
    if said[4:8] == struct.pack(">I", 80877103):
        client.sendall(b"N")
        said = heard(client, received)
    client.sendall(b"R" + struct.pack(">II", 8, 3))
    heard(client, received)


@pytest.mark.parametrize("driver", [drivers.Postgres, PostgresArrow])
@pytest.mark.parametrize("mode", ["disabled", "preferred", "required"])
def test_postgresql_is_sent_no_password_in_clear(mode: str, driver: type) -> None:
    with recorded(asks_clearly) as (port, received):
        endpoint = Endpoint(
            "warehouse", "127.0.0.1", port, "d", "u", PASSWORD, namespace="raw", ssl_mode=mode, connect_seconds=2
        )
        with pytest.raises(DatabaseConnectionError) as refusal, closing(driver(endpoint)):
            pass

    assert PASSWORD.encode() not in b"".join(received)
    assert PASSWORD not in str(refusal.value)
    assert refusal.value.remedy
