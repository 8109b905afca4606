"""
Sessions kept for the next who needs one, and counted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Generic, Protocol, TypeVar

from arrowetl.errors import DatabaseConnectionError
from arrowetl.model.connection import Endpoint
from arrowetl.model.result import ConnectionCount


class Session(Protocol):
    """What a pool keeps."""

    def alive(self) -> bool: ...
    def close(self) -> None: ...


S = TypeVar("S", bound=Session)


class Pool(Generic[S]):
    """
    The sessions on one server: opened when needed, kept, used again, counted.

    Safe to share among threads. A session that was in use when something
    failed is closed rather than kept: its state is unknown.
    """

    def __init__(self, endpoint: Endpoint, connect: Callable[[], S], most: int | None = None) -> None:
        """
        Args:
            most: connections at once; who needs another one waits for it.
        """
        self.endpoint = endpoint
        self._connect = connect
        self._lock = threading.Lock()
        self._is_bounded = most is not None
        self._turn = threading.Semaphore(most) if most else nullcontext()
        self._idle: list[S] = []
        self._open = self._opened = self._peak = 0

    @property
    def count(self) -> ConnectionCount:
        """How many sessions there have been so far."""
        return ConnectionCount(self.endpoint.name, self._opened, self._peak)

    @contextmanager
    def session(self) -> Iterator[S]:
        with self._turn:
            session = self._take()
            try:
                yield session
            except BaseException as error:
                session.close()
                self._closed()
                if isinstance(error, DatabaseConnectionError):
                    # What ended this one has most likely ended those that wait.
                    self.close()
                raise
            with self._lock:
                self._idle.append(session)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """A connection that a library opens by itself, for as long as it lasts; never within a session's block."""
        with self._turn:
            if self._is_bounded:
                # Idle sessions count as well.
                self._close_one()
            self._opening()
            try:
                yield
            finally:
                self._closed()

    def _close_one(self) -> None:
        with self._lock:
            session = self._idle.pop() if self._idle else None
        if session:
            session.close()
            self._closed()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()
            self._closed()

    def _take(self) -> S:
        while True:
            with self._lock:
                session = self._idle.pop() if self._idle else None
            if session is None:
                break
            if session.alive():
                return session
            session.close()
            self._closed()
            # Each try would meet another one that is dead.
            self.close()
        session = self._connect()
        self._opening()
        return session

    def _opening(self) -> None:
        with self._lock:
            self._opened += 1
            self._open += 1
            self._peak = max(self._peak, self._open)

    def _closed(self) -> None:
        with self._lock:
            self._open -= 1
