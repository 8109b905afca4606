"""
What may go by itself is tried again, after a while that grows, and not without end.

A server that stays away is given up for all tables: hundreds of them would
each wait for it in turn. What is transient is said by who found it
(`errors.ArrowetlError.transient`); what is tried is the caller's business.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from arrowetl import limits
from arrowetl.errors import ArrowetlError, DatabaseConnectionError

T = TypeVar("T")


def delay(attempt: int, seconds: float, chance: float) -> float:
    """
    How long to wait before a table is tried again.

    Args:
        attempt: 1 for the first time again.
        seconds: before that one.
        chance: from 0 to 1; up to half of it is taken off, so that not all come again at once.

    >>> [delay(attempt, 1.0, 0.0) for attempt in range(1, 8)]
    [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    """
    whole = min(limits.retry_seconds_max, seconds * 2.0 ** (attempt - 1))
    return whole * (1 - chance / 2)


@dataclass
class Retries:
    """How often the tables of a run are tried again, and what need not be tried any more."""

    most: int = limits.retries
    seconds: float = limits.retry_seconds
    lost: list[ArrowetlError] = field(default_factory=list)
    """Connections that did not come back for as long as a table had patience."""

    def call(self, act: Callable[[int], T], wait: Callable[[ArrowetlError, float], bool]) -> T:
        """
        What `act` returns, which gets the number of tries before.

        Args:
            wait: gets the error, and how many seconds to wait; returns whether to go on then.

        Raises:
            ArrowetlError: what went wrong the last time.
        """
        for attempt in range(self.most + 1):
            try:
                return act(attempt)
            except ArrowetlError as error:
                connection = isinstance(error, DatabaseConnectionError)
                if not error.transient or (connection and self.lost):
                    raise
                if attempt == self.most:
                    self.lost += [error] if connection else []
                    raise
                if not wait(error, delay(attempt + 1, self.seconds, random.random())):  # noqa: S311 - no secret
                    raise
        raise AssertionError("range() ended")
