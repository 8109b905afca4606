"""
Ranges cover every key there is, none twice, whatever the keys do meanwhile.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nouns import column, table

from arrowetl import limits, partition

KEYS = st.integers(-(2**63), 2**64 - 1)


def edge_after(edges: list[int], lower: int | None) -> tuple[int | None, int]:
    """The next of some edges."""
    return next((edge for edge in edges if lower is None or edge > lower), None), 1


@given(st.lists(KEYS, max_size=30), KEYS)
def test_every_key_is_in_exactly_one_partition(edges: list[int], key: int) -> None:
    """Half-open ranges, open at both ends: also a key that was written after they were made."""
    parts = list(partition.walked(partial(edge_after, sorted(set(edges)))))
    holding = [
        part for part in parts if (part.lower is None or part.lower <= key) and (part.upper is None or key < part.upper)
    ]

    assert len(holding) == 1


@given(st.lists(KEYS, max_size=30))
def test_partitions_ascend_and_meet(edges: list[int]) -> None:
    """Each begins where the one before it ends; numbered from 0."""
    parts = list(partition.walked(partial(edge_after, sorted(set(edges)))))

    assert [part.index for part in parts] == list(range(len(parts)))
    assert parts[0].lower is None
    assert parts[-1].upper is None
    assert all(before.upper == after.lower for before, after in pairwise(parts))
    assert len(parts) == len(set(edges)) + 1


@given(st.integers(0, 10**7), st.none() | st.integers(1, 10**7), st.integers(65_536, 10**9))
def test_a_partition_holds_no_more_than_its_bytes_and_rows(width: int, rows: int | None, size: int) -> None:
    """At least one row, however wide; else within both caps."""
    held = partition.rows_per_partition(table("t", row_bytes=width), rows, size)

    assert 1 <= held <= (rows or limits.partition_rows_max)
    assert held == 1 or held * width <= size


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=60), st.integers(1, 10**8), st.integers(1, 3))
def test_wide_rows_are_split_by_their_bytes(widths: list[int], size: int, same: int) -> None:
    """Of several rows no more than fit; a row alone may be larger; rows of one key stay together."""
    keyed = [(number // same, width) for number, width in enumerate(widths)]
    edge = partition.widths_edge(keyed, size)
    held = [width for key, width in keyed if edge is None or key < edge]

    assert held
    if edge is None:
        assert sum(held[: -same or None]) <= size or len({key for key, _ in keyed}) == 1
    else:
        assert sum(width for key, width in keyed if key <= edge) > size
        assert sum(held) <= size or len({key for key, _ in keyed if key < edge}) == 1 or same > 1


SCANNED = [
    # engine, MiB, rows → rows of a partition
    ("MyISAM", 130, 1_000_000, 250_000),
    ("MyISAM", 70, 300_000, 150_000),
    ("InnoDB", 90, 300_000, None),
    ("MyISAM", 300, 1_000_000, None),
    ("MyISAM", 130, 4_000_000, None),
    ("MyISAM", 5, 100_000, None),
]


@pytest.mark.parametrize(("engine", "mib", "rows", "each"), SCANNED)
def test_which_tables_are_scanned_for_each_partition(engine: str, mib: int, rows: int, each: int | None) -> None:
    """Those of MyISAM that are read in so few ranges that looking at every row is cheaper than finding each."""
    of = replace(
        table("t", column("Num", "bigint(20)"), key=("Num",), rows=rows), engine=engine, data_bytes=mib * limits.MIB
    )

    assert partition.scanned(of, None) == each
    assert partition.scanned(replace(of, primary_key=()), None) is None


def test_only_whole_numbers_are_split() -> None:
    """A text key means another order at every server; no key means no range."""
    whole, text = column("Num", "bigint(20)"), column("Code", "varchar(15)")

    assert partition.can_be_split(table("t", whole, key=("Num",)))
    assert partition.can_be_split(table("t", whole, text, key=("Num", "Code")))
    assert not partition.can_be_split(table("t", whole, text, key=("Code", "Num")))
    assert not partition.can_be_split(table("t", whole))
