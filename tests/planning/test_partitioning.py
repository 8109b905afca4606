"""
Ranges cover every key there is, none twice, whatever the keys do meanwhile.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.catalog_values import column, table

from arrowetl import limits
from arrowetl.model.plan import Partition
from arrowetl.planning import partitioning

KEYS = st.integers(-(2**63), 2**64 - 1)


def edge_after(edges: list[int], lower: int | None) -> tuple[int | None, int]:
    """The next of some edges."""
    return next((edge for edge in edges if lower is None or edge > lower), None), 1


@given(st.lists(KEYS, max_size=30), KEYS)
def test_every_key_is_in_exactly_one_partition(edges: list[int], key: int) -> None:
    """Half-open ranges, open at both targets: also a key that was written after they were made."""
    parts = list(partitioning.walked(partial(edge_after, sorted(set(edges)))))
    holding = [
        part for part in parts if (part.lower is None or part.lower <= key) and (part.upper is None or key < part.upper)
    ]

    assert len(holding) == 1


@given(st.lists(KEYS, max_size=30))
def test_partitions_ascend_and_meet(edges: list[int]) -> None:
    """Each begins where the one before it ends; numbered from 0."""
    parts = list(partitioning.walked(partial(edge_after, sorted(set(edges)))))

    assert [part.index for part in parts] == list(range(len(parts)))
    assert parts[0].lower is None
    assert parts[-1].upper is None
    assert all(before.upper == after.lower for before, after in pairwise(parts))
    assert len(parts) == len(set(edges)) + 1


@given(st.integers(0, 10**7), st.none() | st.integers(1, 10**7), st.integers(65_536, 10**9))
def test_partitions_stay_within_bytes_and_rows(width: int, rows: int | None, size: int) -> None:
    """At least one row, however wide; else within both caps."""
    held = partitioning.rows_per_partition(table("t", row_bytes=width), rows, size)

    assert 1 <= held <= (rows or limits.partition_rows_max)
    assert held == 1 or held * width <= size


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=60), st.integers(1, 10**8), st.integers(1, 3))
def test_wide_rows_are_partitioned_by_bytes(widths: list[int], size: int, same: int) -> None:
    """Of several rows no more than fit; a row alone may be larger; rows of one key stay together."""
    keyed = [(number // same, width) for number, width in enumerate(widths)]
    edge = partitioning.widths_edge(keyed, size)
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
def test_small_myisam_tables_are_scanned_per_partition(engine: str, mib: int, rows: int, each: int | None) -> None:
    """Those of MyISAM that are read in so few ranges that looking at every row is cheaper than finding each."""
    of = replace(
        table("t", column("Num", "bigint(20)"), key=("Num",), rows=rows), engine=engine, data_bytes=mib * limits.MIB
    )

    assert partitioning.scanned(of, None) == each
    assert partitioning.scanned(replace(of, primary_key=()), None) is None


def test_only_integer_keys_are_partitioned() -> None:
    """A text key means another order at every server; no key means no range."""
    whole, text = column("Num", "bigint(20)"), column("Code", "varchar(15)")

    assert partitioning.can_be_split(table("t", whole, key=("Num",)))
    assert partitioning.can_be_split(table("t", whole, text, key=("Num", "Code")))
    assert not partitioning.can_be_split(table("t", whole, text, key=("Code", "Num")))
    assert not partitioning.can_be_split(table("t", whole))


def test_rows_per_partition_follow_the_average_width() -> None:
    """By the average width, no more than the cap, and one at least."""
    assert partitioning.rows_per_partition(table("t", row_bytes=100), None, 1_000) == 10
    assert partitioning.rows_per_partition(table("t", row_bytes=100), 3, 1_000) == 3
    assert partitioning.rows_per_partition(table("t", row_bytes=0), None, 1_000) == 1_000
    assert partitioning.rows_per_partition(table("t", row_bytes=2_000), None, 1_000) == 1
    assert partitioning.rows_per_partition(table("t", row_bytes=1), None, 10**12) == limits.partition_rows_max


@pytest.mark.parametrize(
    ("more", "cap", "each"),
    [
        # Sixteen partitions are the most; more than one partition's bytes the least.
        ({"data_bytes": limits.full_scans_max * limits.scan_bytes_max}, None, -(-400_000 // limits.full_scans_max)),
        ({"data_bytes": limits.full_scans_max * limits.scan_bytes_max + 1}, None, None),
        ({"data_bytes": limits.partition_bytes}, None, None),
        ({"data_bytes": limits.partition_bytes + 1}, None, 200_000),
        ({"data_bytes": limits.partition_bytes + 1}, 200_000, 200_000),
        ({"data_bytes": limits.partition_bytes + 1}, 199_999, None),
        ({"engine": "Aria"}, None, None),
    ],
)
def test_scanning_has_bounds(more: dict[str, Any], cap: int | None, each: int | None) -> None:
    of = replace(table("t", column("Num", "bigint(20)"), key=("Num",), rows=400_000), data_bytes=100 * limits.MIB)

    assert partitioning.scanned(replace(of, **more), cap) == each


@pytest.mark.parametrize(
    ("estimated", "counted", "rows", "row_bytes", "data_bytes"),
    [
        # An estimate that is right by half and by so many rows is kept.
        (1_000, 2_000 + limits.estimate_off_rows, 1_000, 100, 100_000),
        (1_000, 2_001 + limits.estimate_off_rows, 2_001 + limits.estimate_off_rows, 100,
         100 * (2_001 + limits.estimate_off_rows)),
        (0, limits.estimate_off_rows, 0, 100, 0),
        (0, limits.estimate_off_rows + 1, limits.estimate_off_rows + 1, 100, 100 * (limits.estimate_off_rows + 1)),
    ],
)  # fmt: skip
def test_a_counted_table_replaces_the_estimate(
    estimated: int, counted: int, rows: int, row_bytes: int, data_bytes: int
) -> None:
    found = partitioning.counted(table("t", column("Num", "bigint(20)"), rows=estimated), counted)

    assert (found.rows, found.row_bytes, found.data_bytes) == (rows, row_bytes, data_bytes)


def test_known_bytes_are_kept() -> None:
    of = replace(table("t", column("Num", "bigint(20)"), rows=0), data_bytes=10**12)

    assert partitioning.counted(of, 10**6).data_bytes == 10**12


@pytest.mark.parametrize(
    ("type_", "width"),
    [
        ("bigint(20)", 8), ("date", 8), ("decimal(65,30)", 8), ("char(3)", 3), ("varchar(63)", 63), ("varchar(65)", 64),
        ("varchar(255)", 64), ("binary(16)", 16), ("varbinary(300)", 64), ("text", 64), ("longtext", 64),
        ("tinyblob", 64), ("longblob", 64), ("json", 64),
    ],
)  # fmt: skip
def test_unknown_widths_follow_the_types(type_: str, width: int) -> None:
    """By the types alone, of a table that the engine knows nothing of."""
    found = partitioning.counted(replace(table("t", column("a", type_), column("b", "int(11)")), row_bytes=0), 10**6)

    assert found.row_bytes == width + 8


NARROW, WIDE = column("Num", "bigint(20)"), column("Note", "text")


@pytest.mark.parametrize(
    ("columns", "more", "varies"),
    [
        ((NARROW,), {}, False),
        ((NARROW, column("c", "varchar(9000)")), {"row_bytes": 10**6}, False),
        ((NARROW, column("c", "varchar(9000) COMPRESSED")), {}, True),
        ((NARROW, WIDE), {"row_bytes": 0}, True),
        # What is small by the word of an engine that knows is small.
        ((NARROW, WIDE), {"data_bytes": limits.partition_bytes}, False),
        ((NARROW, WIDE), {"data_bytes": limits.partition_bytes, "engine": "Aria"}, False),
        ((NARROW, WIDE), {"data_bytes": limits.partition_bytes, "engine": "MEMORY"}, False),
        ((NARROW, WIDE), {"data_bytes": limits.partition_bytes, "engine": "ARCHIVE"}, False),
        ((NARROW, WIDE), {"data_bytes": limits.partition_bytes, "engine": "InnoDB"}, True),
        ((NARROW, WIDE), {"data_bytes": limits.partition_bytes + 1}, False),
        ((NARROW, WIDE), {"data_bytes": 10**9, "row_bytes": limits.varying_row_bytes}, True),
        ((NARROW, WIDE), {"data_bytes": 10**9, "row_bytes": limits.varying_row_bytes - 1}, False),
        ((NARROW, column("c", "blob")), {"row_bytes": 0}, True),
        *(
            ((NARROW, column("c", huge)), {"data_bytes": 10**9}, True)
            for huge in ("mediumtext", "longtext", "mediumblob", "longblob", "json", "point", "geometry")
        ),
    ],
)
def test_tables_with_large_objects_vary(columns: tuple[Any, ...], more: dict[str, Any], varies: bool) -> None:
    assert partitioning.varies(replace(table("t", *columns, key=("Num",), rows=1_000), **more)) is varies


def test_wide_ranges_get_fewer_rows() -> None:
    """Half of their share, since the wide ones may are together; one at least."""
    assert str(partitioning.fewer(1000, 4 * limits.range_bytes_max)) == "125"
    assert partitioning.fewer(1000, limits.range_bytes_max) == 500
    assert partitioning.fewer(1, 2**40) == 1
    assert partitioning.fewer(1000, 0) == 1000 * limits.range_bytes_max // 2
    assert partitioning.fewer(1000, 1) == 1000 * limits.range_bytes_max // 2


def test_slices_follow_the_bytes() -> None:
    """As many as its bytes fill, one at least, and no more than so many."""
    assert partitioning.slices(0) == 1
    assert partitioning.slices(limits.slice_bytes_max) == 1
    assert partitioning.slices(limits.slice_bytes_max + 1) == 2
    assert partitioning.slices(3 * limits.slice_bytes_max) == 3
    assert partitioning.slices(10**15) == limits.slices_max


@pytest.mark.parametrize(
    ("widths", "bytes_", "edge"),
    [
        ([(1, 60), (2, 30), (5, 20), (7, 10)], 100, 5),
        ([(1, 60), (2, 30), (5, 10)], 100, None),
        ([(1, 60), (2, 30), (5, 11)], 100, 5),
        ([(1, 600), (2, 600)], 100, 2),
        ([(1, 600), (1, 600), (2, 1)], 100, 2),
        ([(1, 600), (1, 600)], 100, None),
        ([(1, 600)], 100, None),
        ([], 100, None),
    ],
)
def test_a_wide_partition_ends_within_its_bytes(widths: list[tuple[int, int]], bytes_: int, edge: int | None) -> None:
    assert partitioning.widths_edge(widths, bytes_) == edge


@pytest.mark.parametrize(
    ("done", "left"),
    [
        ([], ((None, None),)),
        ([(10, 20), (20, 30)], ((None, 10), (30, None))),
        ([(20, 30), (10, 20)], ((None, 10), (30, None))),
        ([(None, 10)], ((10, None),)),
        ([(None, 10), (20, None)], ((10, 20),)),
        ([(20, None)], ((None, 20),)),
        ([(None, None)], ()),
        ([(None, 0), (0, 5)], ((5, None),)),
        ([(-5, 0), (None, -5)], ((0, None),)),
        ([(0, 5)], ((None, 0), (5, None))),
    ],
)
def test_gaps_are_what_is_not_done(
    done: list[tuple[int | None, int | None]], left: tuple[tuple[int | None, int | None], ...]
) -> None:
    assert partitioning.gaps([Partition(number, *bounds) for number, bounds in enumerate(done)]) == left


@pytest.mark.parametrize(
    ("bounds", "ranges"),
    [
        ((None, None), [(None, 10, 5), (10, 20, 6), (20, None, 3)]),
        ((None, 20), [(None, 10, 5), (10, 20, 6)]),
        ((None, 15), [(None, 10, 5), (10, 15, 6)]),
        ((None, 10), [(None, 10, 5)]),
        ((10, None), [(10, 20, 6), (20, None, 3)]),
        ((10, 20), [(10, 20, 6)]),
    ],
)
def test_ranges_stay_between_their_bounds(
    bounds: tuple[int | None, int | None], ranges: list[tuple[int | None, int | None, int]]
) -> None:
    edges: dict[int | None, tuple[int | None, int]] = {None: (10, 5), 10: (20, 6), 20: (None, 3)}
    parts = list(partitioning.walked(edges.__getitem__, *bounds))

    assert [(part.lower, part.upper, part.rows) for part in parts] == ranges
    assert [part.index for part in parts] == list(range(len(ranges)))
