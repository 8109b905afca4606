"""
What past partitions took → how large the next ones are, and how many are loaded at a time.

Pure: it gets what was loaded, how long each phase took, and how idle this
machine is; it has no clock and knows no server. `pool` asks it before each
partition; what was learned is recorded by `ledger`, and begins the next run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median

from arrowetl import limits


@dataclass(frozen=True, slots=True)
class Pace:
    """How large partitions are, and how many are loaded at a time."""

    partition_bytes: int
    at_a_time: int


class Pacer:
    """
    One run's pace, as it is found.

    Size: what the slowest phase moves in `limits.partition_seconds`. Number: one
    more while this machine is idle and the last one more was worth it, one
    fewer while it is busy and there are more than it has cores.
    """

    def __init__(self, begin: Pace, cores: int, most: int) -> None:
        """
        Args:
            begin: what an earlier run learned, or the defaults.
            most: partitions at a time, however idle the machine.
        """
        self.pace = replace(begin, at_a_time=max(1, min(begin.at_a_time, most)))
        self.partitions = 0
        """How many it has learned from."""
        self._cores, self._most = cores, most
        self._sizes: deque[float] = deque(maxlen=limits.pace_partitions)
        self._rates: dict[int, float] = {}
        """Partitions at a time → bytes a second of all together, when it was so many."""
        self._window_bytes = self._window_partitions = 0
        self._window_began: float | None = None

    def loaded(self, bytes_: int, seconds: Mapping[str, float], now: float, idle: float) -> Pace:
        """
        Learn from a partition that was loaded.

        Args:
            seconds: phase → how long it took.
            now: of a monotonic clock.
            idle: recent idle share of this machine's cores, 0 to 1.
        """
        slowest = max(seconds.values(), default=0.0)
        if bytes_ and slowest:
            self.partitions += 1
            self._sizes.append(bytes_ / slowest * limits.partition_seconds)
            self._count(bytes_, now, idle)
            self.pace = replace(self.pace, partition_bytes=self._size())
        return self.pace

    def _size(self) -> int:
        return int(max(limits.partition_bytes_min, min(limits.partition_bytes_max, median(self._sizes))))

    def _count(self, bytes_: int, now: float, idle: float) -> None:
        """When a window closes, decide whether another number of partitions at a time is better."""
        if self._window_began is None:
            self._window_began = now
            return
        self._window_bytes += bytes_
        self._window_partitions += 1
        count = self.pace.at_a_time
        if self._window_partitions < limits.pace_rounds * count or now <= self._window_began:
            return
        self._rates[count] = self._window_bytes / (now - self._window_began)
        self._window_bytes, self._window_partitions, self._window_began = 0, 0, now
        fewer = self._rates.get(count - 1)
        if fewer and self._rates[count] < fewer * limits.pace_gain_min:
            count -= 1
        elif idle >= limits.pace_idle_min and count < self._most and count + 1 not in self._rates:
            count += 1
        elif idle < limits.pace_busy_max and count > max(self._cores, limits.partitions_at_a_time_min):
            count -= 1
        self.pace = replace(self.pace, at_a_time=count)
