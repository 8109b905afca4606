"""
A limit for every wait for a server: past it, the connection is cut from here.

A lost server is noticed by its silence to probes (TCP's keepalive);
one that is up, and never answers, is not, and neither connectorx nor libpq
takes a limit. One thread looks after all waits of a process.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from contextlib import AbstractContextManager, nullcontext, suppress

from arrowetl import limits
from arrowetl.drivers.messages import remedy_for
from arrowetl.errors import DatabaseConnectionError
from arrowetl.model.connection import Endpoint

_REMEDY = (
    "see what the server, and whatever is between, is doing; ARROWETL_SILENCE_SECONDS, or for the source "
    "settings.statement_seconds of arrowetl.yml, says how long a statement may take"
)


class _Wait:
    """One, for as long as a block lasts. Not a generator: each of a run's ten thousand statements is one."""

    __slots__ = ("copy", "cut", "deadline", "endpoint", "fd", "others", "seconds")

    def __init__(self, endpoint: Endpoint, seconds: float, fd: int | None) -> None:
        self.endpoint, self.seconds, self.fd, self.cut = endpoint, seconds, fd, False

    def __enter__(self) -> None:
        # A descriptor of our own: the number may be another connection's by then.
        self.copy = None if self.fd is None else _copy(self.fd)
        # Where the connection is a library's: what this process had open before, which it is none of.
        self.others = sockets() if self.fd is None else frozenset()
        self.deadline = time.monotonic() + self.seconds
        with _CHANGED:
            if not _LOOKS.is_set():
                _LOOKS.set()
                threading.Thread(target=_look_after, name="patience", daemon=True).start()
            if not _WAITS:
                _CHANGED.notify()
            _WAITS.add(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: object) -> None:
        with _CHANGED:
            _WAITS.discard(self)
            if self.copy is not None:
                os.close(self.copy)
        if self.cut and isinstance(error, Exception):
            raise DatabaseConnectionError(
                f"{self.endpoint}: no answer within {self.seconds:,.0f} seconds; the connection was cut",
                remedy_for(_REMEDY, self.endpoint),
            ) from error


_WAITS: set[_Wait] = set()
_CHANGED = threading.Condition()
_LOOKS = threading.Event()
"""Whether the thread is running."""


def time_limit(endpoint: Endpoint, seconds: float, fd: int | None = None) -> AbstractContextManager[None]:
    """
    A limit for a wait for a server, for the length of a block; 0 is none.

    Args:
        fd: the descriptor of the connection, where it is known; else it is one that is opened meanwhile.

    Raises:
        DatabaseConnectionError: the limit was reached.
    """
    return _Wait(endpoint, seconds, fd) if seconds else nullcontext()


def time_limit_seconds(endpoint: Endpoint, statement_seconds: int = 0) -> float:
    """How long an answer may take: where the server ends statements by itself, a little longer than that."""
    return statement_seconds + limits.silence_grace_seconds if statement_seconds else endpoint.silence_seconds


def sockets() -> frozenset[int]:
    """The sockets that this process has open, by numbers that are not used again; none where the system has no list."""
    found = set()
    with suppress(OSError):
        # Asked before each read: paths would take ten times as long.
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
            with suppress(OSError):
                target = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
                if target.startswith("socket:["):
                    found.add(int(target[8:-1]))
    return frozenset(found)


def opened_since(before: frozenset[int], endpoint: Endpoint) -> int | None:
    """The descriptor of the one connection to a server that was opened since; None where it is not clear."""
    found = _connections(endpoint, before)
    return found[0] if len(found) == 1 else None


def _look_after() -> None:
    while True:
        with _CHANGED:
            # A second late is early enough, and the thread need not be woken for each of thousands of waits.
            _CHANGED.wait(1.0 if _WAITS else None)
            overdue = [wait for wait in _WAITS if wait.deadline <= time.monotonic()]
            for wait in overdue:
                wait.cut = True
                # A connection that is opened in its place is cut off again.
                wait.deadline = time.monotonic() + limits.silence_again_seconds
                if wait.copy is not None:
                    _shut(wait.copy)
        for wait in overdue:
            # Whatever goes wrong here, others wait as well.
            with suppress(Exception):
                for fd in _connections(wait.endpoint, wait.others) if wait.copy is None else []:
                    if _silent_seconds(fd) >= limits.silence_again_seconds:
                        _shut(fd)


def _connections(endpoint: Endpoint, others: frozenset[int]) -> list[int]:
    """Descriptors of this process's connections to a server's port that were opened since."""
    import psutil

    with suppress(OSError, psutil.Error):
        there = [
            one for one in psutil.Process().net_connections("tcp") if one.raddr and one.raddr.port == endpoint.port
        ]
        return [one.fd for one in there if one.fd >= 0 and os.fstat(one.fd).st_ino not in others]
    return []


def _copy(fd: int) -> int | None:
    try:
        return os.dup(fd)
    except OSError:
        return None


def _silent_seconds(fd: int) -> float:
    """Since a connection last received something; infinite, where the system does not say."""
    if not hasattr(socket, "TCP_INFO"):
        return float("inf")
    with suppress(OSError, struct.error), socket.socket(fileno=os.dup(fd)) as one:
        # tcpi_last_data_recv of Linux's struct tcp_info, in milliseconds.
        (milliseconds,) = struct.unpack_from("I", one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 64), 52)
        return int(milliseconds) / 1000
    return 0.0


def _shut(fd: int) -> None:
    with suppress(OSError), socket.socket(fileno=os.dup(fd)) as one:
        one.shutdown(socket.SHUT_RDWR)
