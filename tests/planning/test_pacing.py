"""
What the partitions before took says how large the next ones are, and how many are loaded at a time.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arrowetl import limits
from arrowetl.planning.pacing import Pace, Pacer

BEGIN = Pace(limits.partition_bytes, 2)
MIB = limits.MIB


def after(pacer: Pacer, partitions: int, rate: Callable[[int], float], idle: float, bytes_: int = 4 * MIB) -> Pace:
    """So many partitions, of which all together move `rate(partitions at a time)` bytes a second."""
    now = 0.0
    for _ in range(partitions):
        now += bytes_ / rate(pacer.pace.at_a_time)
        pacer.loaded(bytes_, {"extract": 0.01, "load": bytes_ / (64 * MIB)}, now, idle)
    return pacer.pace


SIZES = [
    # bytes a second of the slowest phase → bytes of a partition
    (1 * MIB, limits.partition_bytes_min),
    (10 * MIB, int(10 * MIB * limits.partition_seconds)),
    (1000 * MIB, limits.partition_bytes_max),
]


@pytest.mark.parametrize(("rate", "size"), SIZES)
def test_partition_size_follows_the_slowest_phase(rate: float, size: int) -> None:
    """Within its bounds; the quicker phases do not count."""
    pacer = Pacer(BEGIN, 2, 5)
    for number in range(10):
        pacer.loaded(6 * MIB, {"extract": 6 * MIB / rate, "load": 0.001}, float(number), 0.0)

    assert pacer.pace.partition_bytes == pytest.approx(size, rel=0.01)


NUMBERS = [
    # what all together move by how many at a time, how idle this machine is → how many it comes to
    ("a slow link: each one more is worth it", lambda n: n * 10 * MIB, 0.9, 5),
    ("the third is worth nothing", lambda n: min(n, 2) * 10 * MIB, 0.9, 2),
    ("one more helps, two do not", lambda n: min(n, 3) * 10 * MIB, 0.9, 3),
    ("nothing is idle here: none is tried", lambda n: n * 10 * MIB, 0.02, 2),
]


@pytest.mark.parametrize(("rate", "idle", "count"), [case[1:] for case in NUMBERS], ids=[case[0] for case in NUMBERS])
def test_concurrency_grows_while_it_pays(rate: Callable[[int], float], idle: float, count: int) -> None:
    """One more while it is worth it, and this machine has something left."""
    assert after(Pacer(BEGIN, 2, 5), 200, rate, idle).at_a_time == count


def test_concurrency_shrinks_on_a_busy_machine() -> None:
    """What another run learned on an idle machine is unlearned on a busy one."""
    assert after(Pacer(Pace(8 * MIB, 5), 2, 5), 200, lambda n: 10 * MIB, 0.0).at_a_time == 2


@given(
    st.lists(st.tuples(st.integers(0, 10**10), st.floats(0, 1e4), st.floats(0, 1e3), st.floats(0, 1)), max_size=40),
    st.integers(1, 64),
    st.integers(1, 64),
    st.integers(1, 64),
)
def test_pace_stays_within_its_bounds(
    reported: list[tuple[int, float, float, float]], begin: int, cores: int, most: int
) -> None:
    """Never more at a time than allowed, never larger partitions than memory has room for."""
    pacer, now = Pacer(Pace(limits.partition_bytes, begin), cores, most), 0.0
    for bytes_, seconds, passed, idle in reported:
        now += passed
        pace = pacer.loaded(bytes_, {"load": seconds}, now, idle)
        assert 1 <= pace.at_a_time <= most
        assert limits.partition_bytes_min <= pace.partition_bytes <= limits.partition_bytes_max
