"""
Every wait for a server has an end: who waits longer than that has its connection cut from here.

A server that is gone is found out by its silence to probes (TCP's keepalive);
one that is there, and says nothing, is not, and neither connectorx nor libpq
can be told how long to wait. One thread looks after all waits of a process.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil

from arrowetl import limits
from arrowetl.drivers.refusals import remedy_for
from arrowetl.errors import DatabaseConnectionError
from arrowetl.route import Endpoint

_REMEDY = (
    "see what the server, and whatever stands between, is at; ARROWETL_SILENCE_SECONDS, or of the source "
    "settings.statement_seconds of tables.yml, says how long a statement may take"
)


@dataclass(eq=False)
class _Wait:
    endpoint: Endpoint
    deadline: float
    fd: int | None
    """Of its connection; None where a library keeps that to itself."""
    cut: bool = field(default=False)


_WAITS: set[_Wait] = set()
_CHANGED = threading.Condition()
_LOOKS = threading.Event()
"""Whether somebody looks after them."""
_OWN: set[int] = set()
"""Descriptors of connections that are known to belong to a session of ours."""


@contextmanager
def patience(endpoint: Endpoint, seconds: float, fd: int | None = None) -> Iterator[None]:
    """
    A wait for a server, which is ended after so long; 0 is never.

    Args:
        fd: the descriptor of the connection, where it is known.

    Raises:
        DatabaseConnectionError: it was.
    """
    if not seconds:
        yield
        return
    wait = _Wait(endpoint, time.monotonic() + seconds, fd)
    with _CHANGED:
        if not _LOOKS.is_set():
            _LOOKS.set()
            threading.Thread(target=_look_after, name="patience", daemon=True).start()
        if not _WAITS:
            _CHANGED.notify()
        _WAITS.add(wait)
    try:
        yield
    except Exception as error:
        if wait.cut:
            raise DatabaseConnectionError(
                f"{endpoint}: no answer within {seconds:,.0f} seconds; the connection was cut",
                remedy_for(_REMEDY, endpoint),
            ) from error
        raise
    finally:
        with _CHANGED:
            _WAITS.discard(wait)


def patience_seconds(endpoint: Endpoint, statement_seconds: int = 0) -> float:
    """How long an answer may take: where the server ends statements by itself, a little longer than that."""
    return statement_seconds + limits.silence_grace_seconds if statement_seconds else endpoint.silence_seconds


def belongs(fd: int, to_us: bool = True) -> None:
    """Say that a connection is a session's own, or no more: it is never taken for one that a library hides."""
    (_OWN.add if to_us else _OWN.discard)(fd)


def _look_after() -> None:
    while True:
        with _CHANGED:
            # A second late is early enough, and nobody need be told of each of thousands of waits.
            _CHANGED.wait(1.0 if _WAITS else None)
            overdue = [wait for wait in _WAITS if wait.deadline <= time.monotonic()]
            for wait in overdue:
                wait.cut = True
                # Whoever opens another connection in its stead is cut off again.
                wait.deadline = time.monotonic() + limits.silence_again_seconds
        for wait in overdue:
            for fd in [wait.fd] if wait.fd is not None else _hidden(wait.endpoint):
                _shut(fd)


def _hidden(endpoint: Endpoint) -> list[int]:
    """Descriptors of this process's connections to a server that are no session's own, and silent."""
    with suppress(OSError, psutil.Error):
        addresses = {info[4][0] for info in socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)}
        return [
            one.fd for one in psutil.Process().net_connections("tcp")
            if one.raddr and one.raddr.port == endpoint.port and one.raddr.ip.removeprefix("::ffff:") in addresses
            and one.fd not in _OWN and _silent_seconds(one.fd) >= limits.silence_again_seconds
        ]  # fmt: skip
    return []


def _silent_seconds(fd: int) -> float:
    """Since a connection last received something; for ever, where the system cannot tell."""
    if not hasattr(socket, "TCP_INFO"):
        return float("inf")
    with suppress(OSError), socket.socket(fileno=os.dup(fd)) as one:
        # tcpi_last_data_recv of Linux's struct tcp_info, in milliseconds.
        (milliseconds,) = struct.unpack_from("I", one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 64), 52)
        return int(milliseconds) / 1000
    return 0.0


def _shut(fd: int) -> None:
    with suppress(OSError), socket.socket(fileno=os.dup(fd)) as one:
        one.shutdown(socket.SHUT_RDWR)
