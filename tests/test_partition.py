"""
Ranges cover every key there is, none twice, whatever the keys do meanwhile.
"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from nouns import column, table

from arrowetl import limits, partition

KEYS = st.integers(-(2**63), 2**64 - 1)


@given(st.lists(KEYS, max_size=30), KEYS)
def test_every_key_is_in_exactly_one_partition(edges: list[int], key: int) -> None:
    """Half-open ranges, open at both ends: also a key that was written after they were made."""
    parts = partition.partitions(edges)
    holding = [
        part for part in parts if (part.lower is None or part.lower <= key) and (part.upper is None or key < part.upper)
    ]

    assert len(holding) == 1


@given(st.lists(KEYS, max_size=30))
def test_partitions_ascend_and_meet(edges: list[int]) -> None:
    """Each begins where the one before it ends; numbered from 0."""
    parts = partition.partitions(edges)

    assert [part.index for part in parts] == list(range(len(parts)))
    assert parts[0].lower is None
    assert parts[-1].upper is None
    assert all(before.upper == after.lower for before, after in pairwise(parts))
    assert len(parts) == len(set(edges)) + 1


@given(st.integers(0, 10**7), st.none() | st.integers(1, 10**7), st.none() | st.integers(65_536, 10**9))
def test_a_partition_holds_no_more_than_its_bytes_and_rows(width: int, rows: int | None, size: int | None) -> None:
    """At least one row, however wide; else within both caps."""
    held = partition.rows_per_partition(table("t", row_bytes=width), rows, size)

    assert 1 <= held <= (rows or limits.partition_rows_max)
    assert held == 1 or held * width <= (size or limits.partition_bytes)


def test_only_whole_numbers_are_split() -> None:
    """A text key means another order at every server; no key means no range."""
    whole, text = column("Num", "bigint(20)"), column("Code", "varchar(15)")

    assert partition.can_be_split(table("t", whole, key=("Num",)))
    assert partition.can_be_split(table("t", whole, text, key=("Num", "Code")))
    assert not partition.can_be_split(table("t", whole, text, key=("Code", "Num")))
    assert not partition.can_be_split(table("t", whole))
