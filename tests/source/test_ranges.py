"""
Where a table's ranges end, as a server says that has its rows; SQLite stands for it, which understands these questions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from support.catalog_values import column, planned, table

from arrowetl import limits
from arrowetl.model.plan import Column, Partition, Table
from arrowetl.planning import partitioning
from arrowetl.source import ranges
from arrowetl.source.ranges import Walk

NUM, PART, NOTE = column("Num", "bigint(20)", nullable=False), column("Part", "int(11)"), column("Note", "longtext")
Ranges = list[tuple[int | None, int | None, int]]


@dataclass
class Server:
    """A table of keys and widths, and what was asked about it."""

    rows: list[tuple[int, int]]
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.session = sqlite3.connect(":memory:")
        self.session.execute("ATTACH ':memory:' AS d")
        self.session.execute("CREATE TABLE d.t (Num integer, Note text)")
        self.session.executemany("INSERT INTO d.t VALUES (?, ?)", [(key, "x" * width) for key, width in self.rows])

    def __call__(self, question: str) -> list[tuple[Any, ...]]:
        self.asked.append(question)
        return self.session.execute(question).fetchall()


def of(held: list[tuple[int, int]], *more: Column, **known: Any) -> Table:
    bytes_ = sum(width for _, width in held)
    found = table("t", NUM, *more, key=("Num",), rows=len(held), row_bytes=bytes_ // max(len(held), 1))
    return replace(found, **{"data_bytes": bytes_, **known})


def walked(
    rows: list[tuple[int, int]], found: Table, each: int, lower: int | None = None, upper: int | None = None
) -> tuple[Ranges, list[str], list[int]]:
    """The ranges, what was asked to find them, and their bytes."""
    server = Server(rows)
    with closing(server.session):
        parts = list(Walk(server, "d", found).ranges(lambda: each, lower, upper))
    assert [part.index for part in parts] == list(range(len(parts)))
    return [(part.lower, part.upper, part.rows) for part in parts], server.asked, [part.bytes for part in parts]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ranges and rows that are large at some bytes."""
    monkeypatch.setattr(limits, "range_bytes_max", 1_000)
    monkeypatch.setattr(limits, "slice_bytes_max", 1_000)
    monkeypatch.setattr(limits, "wide_row_bytes", 50)
    monkeypatch.setattr(limits, "partition_bytes", 100)
    yield


KEYS = [(number, 1) for number in range(1, 11)]


@pytest.mark.parametrize(
    ("rows", "each", "bounds", "ranges"),
    [
        (KEYS, 4, (), [(None, 5, 4), (5, 9, 4), (9, None, 4)]),
        (KEYS, 9, (), [(None, 10, 9), (10, None, 9)]),
        (KEYS, 4, (5, None), [(5, 9, 4), (9, None, 4)]),
        (KEYS, 4, (None, 9), [(None, 5, 4), (5, 9, 4)]),
        (KEYS, 4, (3, 8), [(3, 7, 4), (7, 8, 4)]),
        # All that is left is no more than one range: the server is not asked.
        (KEYS, 10, (), [(None, None, 10)]),
        (KEYS, 10, (2, 7), [(2, 7, 10)]),
        # Keys with gaps, and below zero.
        ([(-50, 1), (-2, 1), (0, 1), (7, 1), (900, 1)], 2, (), [(None, 0, 2), (0, 900, 2), (900, None, 2)]),
        # More rows share the key's first column than a range is to have.
        ([(1, 1)] * 3 + [(2, 1)] * 9 + [(3, 1)] * 2, 2, (), [(None, 1, 2), (1, 2, 4), (2, None, 14)]),
    ],
)
def test_ranges_have_the_wanted_rows(
    rows: list[tuple[int, int]], each: int, bounds: tuple[int | None, ...], ranges: Ranges
) -> None:
    found, asked, bytes_ = walked(rows, of(rows), each, *bounds)

    assert found == ranges
    assert set(bytes_) == {0}
    assert (asked == []) is (len(rows) <= each)
    assert all(question.startswith("SELECT `Num` FROM `d`.`t` ") for question in asked)


def test_the_wanted_rows_are_asked_for_each_range() -> None:
    """A run learns meanwhile how large ranges are best."""
    server, sizes = Server(KEYS), iter([1, 1, 2, 5, 5])
    with closing(server.session):
        parts = list(Walk(server, "d", of(KEYS)).ranges(lambda: next(sizes), None, None))

    assert [(part.lower, part.upper) for part in parts] == [(None, 2), (2, 4), (4, 9), (9, None)]


@pytest.mark.parametrize(
    "found", [of(KEYS, PART, primary_key=()), of(KEYS, column("Code", "char(9)"), primary_key=("Code", "Num"))]
)
def test_a_table_that_cannot_be_cut_is_one_range(found: Table) -> None:
    assert walked(KEYS, found, 4) == ([(None, None, 10)], [], [0])


def test_the_last_range_is_within_the_tables_rows() -> None:
    """What is counted of it is a guess, for whoever shows how far a run has come."""
    found, _, _ = walked(KEYS, of(KEYS, rows=3), 2)

    assert found[-1] == (9, None, 2)
    assert walked(KEYS, of(KEYS, rows=12), 11)[0] == [(None, None, 11)]


def test_wide_rows_of_short_columns_use_the_average(small: None) -> None:
    """Are of their average width, each."""
    rows = [(1, 300), (2, 300), (3, 10), (4, 10), (5, 10), (6, 10)]
    found, asked, _ = walked(rows, of(rows, PART, row_bytes=107), 3)

    assert found == [(None, 4, 3), (4, None, 3)]
    assert asked[0] == "SELECT `Num`, 107 FROM `d`.`t` ORDER BY `Num` LIMIT 8"


def test_wide_rows_of_long_columns_are_measured(small: None) -> None:
    rows = [(1, 300), (2, 300), (3, 10), (4, 10), (5, 10), (6, 10), (7, 10), (8, 400)]
    found, asked, bytes_ = walked(rows, of(rows, NOTE), 2)

    assert asked[0] == "SELECT `Num`, COALESCE(LENGTH(`Note`), 0) FROM `d`.`t` ORDER BY `Num` LIMIT 6"
    # 131 bytes on average: two rows are 262.
    assert found == [(None, 2, 1), (2, 3, 1), (3, 8, 5), (8, None, 2)]
    assert bytes_ == [300, 300, 50, 400]


def test_ranges_beyond_the_byte_limit_are_cut_again(small: None) -> None:
    """What the average says nothing about: some rows are much wider than others."""
    rows = [(number, 600 if 5 <= number <= 8 else 5) for number in range(1, 21)]
    found, _, bytes_ = walked(rows, of(rows, NOTE, row_bytes=6, data_bytes=10**6, engine="InnoDB"), 20)
    each = [sum(w for k, w in rows if (lo is None or k >= lo) and (up is None or k < up)) for lo, up, _ in found]

    assert bytes_ == each
    assert sum(each) == sum(width for _, width in rows)
    assert max(each) <= 1_000
    assert (found[0][0], found[-1][1]) == (None, None)
    assert all(before[1] == after[0] for before, after in pairwise(found))


def test_rows_of_one_key_stay_together(small: None) -> None:
    rows = [(1, 5), (2, 900), (2, 900), (3, 5)]
    found, _, bytes_ = walked(rows, of(rows, NOTE, row_bytes=6, data_bytes=10**6, engine="InnoDB"), 2)

    assert [one[:2] for one in found] == [(None, 2), (2, 3), (3, None)]
    assert bytes_ == [5, 1_800, 5]


@pytest.mark.parametrize(
    ("rows", "cut"), [([(1, 600), (2, 600)], [(None, 2), (2, None)]), ([(1, 1_200)], [(None, None)])]
)
def test_two_rows_can_be_separated_and_one_cannot(
    rows: list[tuple[int, int]], cut: list[tuple[int | None, int | None]], small: None
) -> None:
    found, asked, _ = walked(rows, of(rows, NOTE, row_bytes=6, data_bytes=10**6, engine="InnoDB"), 9)

    assert [one[:2] for one in found] == cut
    assert len(rows) == 2 or len([one for one in asked if "SUM" in one]) == 1


def test_rows_at_the_width_limit_are_not_wide(small: None) -> None:
    """Are not wide yet: their keys alone are asked."""
    _, asked, _ = walked(KEYS, of(KEYS, PART, row_bytes=50), 4)

    assert {question.partition(" FROM ")[0] for question in asked} == {"SELECT `Num`"}


@pytest.mark.parametrize(("width", "parts"), [(250, 1), (251, 4)])
def test_a_range_at_the_byte_limit_is_not_cut(width: int, parts: int, small: None) -> None:
    rows = [(number, width) for number in range(1, 5)]
    found, _, _ = walked(rows, of(rows, NOTE, row_bytes=6, data_bytes=10**6, engine="InnoDB"), 10)

    assert len(found) == parts


# --- pieces -------------------------------------------------------------------------------------

CODE = column("Code", "varchar(9)")


@pytest.mark.parametrize(
    ("more", "counted", "asked", "count", "bytes_"),
    [
        # What an engine says of narrow rows is trusted.
        ({"data_bytes": 900}, 0, 0, 1, 900),
        ({"data_bytes": 2_500}, 0, 0, 3, 2_500),
        # Rows of which it knows no width are added up; and those that may be of any.
        ({"data_bytes": 0, "row_bytes": 0}, 1_700, 1, 2, 1_700),
        ({"data_bytes": 5_000, "row_bytes": 0}, 1_700, 1, 5, 5_000),
        ({"data_bytes": 0, "row_bytes": 0, "rows": 0}, 1_700, 0, 1, 0),
        ({"data_bytes": 100, "columns": (CODE, NOTE)}, 1_700, 0, 1, 100),
        ({"data_bytes": 100, "columns": (CODE, NOTE), "engine": "InnoDB"}, 1_700, 1, 2, 1_700),
    ],
)
def test_slices_cover_every_row_of_a_keyless_table(
    more: dict[str, Any], counted: int, asked: int, count: int, bytes_: int, small: None
) -> None:
    """None of them too large, all of them together every row."""
    found = replace(table("t", CODE, rows=7, row_bytes=10), **more)
    questions: list[str] = []

    def server(question: str) -> list[tuple[Any, ...]]:
        questions.append(question)
        return [(counted,)]

    parts = list(ranges.slices(server, "d", planned(found)))

    assert len(questions) == asked
    assert all(question.endswith("FROM `d`.`t`") for question in questions)
    assert [(part.index, part.lower, part.upper) for part in parts] == [(n, None, None) for n in range(count)]
    assert {part.rows for part in parts} == {-(-found.rows // count)}
    assert {part.bytes for part in parts} == {-(-bytes_ // count)}
    assert partitioning.slices(bytes_) == count
    if count == 1:
        assert parts[0].condition == ""


def test_slices_hash_the_key_or_all_columns(small: None) -> None:
    """The key where there is one that is no integer; else all that is compared."""
    keyed = replace(table("t", CODE, PART, key=("Code",), rows=7), data_bytes=1_500)
    keyless = replace(keyed, primary_key=())

    def conditions(found: Table) -> list[str]:
        return [part.condition for part in ranges.slices(lambda _: [], "d", planned(found))]

    one = "COALESCE(CAST(`Code` AS BINARY), '')"
    assert conditions(keyed) == [f"CRC32(CONCAT_WS('#', {one})) MOD 2 = {number}" for number in range(2)]
    both = f"{one}, COALESCE(`Part`, '')"
    assert conditions(keyless) == [f"CRC32(CONCAT_WS('#', {both})) MOD 2 = {number}" for number in range(2)]


def test_ranges_are_lazy() -> None:
    server = Server(KEYS)
    with closing(server.session):
        parts = Walk(server, "d", of(KEYS)).ranges(lambda: 4, None, None)
        assert server.asked == []
        assert next(parts) == Partition(0, None, 5, rows=4)
        assert len(server.asked) == 1
