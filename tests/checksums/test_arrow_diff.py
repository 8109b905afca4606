"""
Two readings of a range: what one lacks of the other, for any rows there are.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arrowetl.checksums import arrow_diff
from arrowetl.checksums.groups import groups_differing, keys_differing, together

TYPES = {"k": pa.int64(), "t": pa.string(), "f": pa.float64(), "b": pa.large_binary(), "d": pa.decimal128(38, 10)}
VALUES = st.tuples(
    st.none() | st.text(max_size=3),
    st.none() | st.sampled_from([0.0, -0.0, 1.5, 5e-324]),
    st.none() | st.binary(max_size=2),
    st.none() | st.sampled_from([Decimal(0), Decimal("1.5")]),
)
ROWS = st.dictionaries(st.integers(-5, 5), VALUES, max_size=6)


def arrow(rows: list[tuple[object, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(TYPES)
    return pa.table(
        {name: pa.array(values, type_) for (name, type_), values in zip(TYPES.items(), columns, strict=True)}
    )


def listed(rows: dict[int, tuple[object, ...]]) -> list[tuple[object, ...]]:
    return [(key, *values) for key, values in rows.items()]


def bits(row: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(struct.pack(">d", value) if isinstance(value, float) else value for value in row)


@settings(deadline=None)
@given(source=ROWS, replica=ROWS)
def test_applying_the_diff_to_the_replica_gives_the_source(
    source: dict[int, tuple[object, ...]], replica: dict[int, tuple[object, ...]]
) -> None:
    """And no more than that is said to differ: zeros of either sign do, whatever the order."""
    changed, deleted = arrow_diff.diff_by_key(arrow(listed(source)), arrow(listed(replica)[::-1]), ["k"])
    after = {key: values for key, values in replica.items() if key not in deleted.column("k").to_pylist()}
    after |= {row["k"]: tuple(row.values())[1:] for row in changed.to_pylist()}

    assert {key: bits(values) for key, values in after.items()} == {k: bits(v) for k, v in source.items()}
    differing = {k for k, v in source.items() if k not in replica or bits(v) != bits(replica[k])}
    assert set(changed.column("k").to_pylist()) == differing
    assert set(deleted.column("k").to_pylist()) == replica.keys() - source.keys()


@settings(deadline=None)
@given(rows=st.lists(VALUES.map(lambda values: (1, *values)), max_size=6), data=st.data())
def test_keyless_tables_are_equal_if_every_row_occurs_equally_often(
    rows: list[tuple[object, ...]], data: st.DataObject
) -> None:
    """The same ones, each as often, in any order; and not where one is another, or there once more."""
    shuffled = data.draw(st.permutations(rows))

    assert arrow_diff.same_rows(arrow(rows), arrow(shuffled))
    assert not arrow_diff.same_rows(arrow(rows), arrow([*rows, (1, None, None, None, None)]))
    if rows:
        other = [(2, *rows[0][1:]), *rows[1:]]
        assert not arrow_diff.same_rows(arrow(rows), arrow(other))


@pytest.mark.parametrize("key", [["t"], ["k", "t"]])
def test_text_keys_are_compared_by_case(key: list[str]) -> None:
    """Letters of another case are another key."""
    source, replica = arrow([(1, "a", None, None, None)]), arrow([(1, "A", None, None, None)])
    changed, deleted = arrow_diff.diff_by_key(source, replica, key)

    assert (changed.column("t").to_pylist(), deleted.column("t").to_pylist()) == (["a"], ["A"])


def keyed(*rows: tuple[int, str]) -> pa.Table:
    return arrow([(key, text, None, None, None) for key, text in rows])


@settings(deadline=None)
@given(
    rows=st.lists(VALUES.map(lambda values: (1, *values)), max_size=6), others=st.lists(st.integers(0, 3), max_size=6)
)
def test_rows_on_one_side_only_are_counted(rows: list[tuple[object, ...]], others: list[int]) -> None:
    """Each as often as the other has it not; where they are."""
    right = [rows[number % len(rows)] for number in others] if rows else []
    ours, theirs = arrow_diff.diff_counting(arrow(rows), arrow(right))
    left = Counter(map(bits, rows)) - Counter(map(bits, right))

    assert Counter(bits(rows[at]) for at in ours.to_pylist()) == left
    assert Counter(bits(right[at]) for at in theirs.to_pylist()) == Counter(map(bits, right)) - Counter(map(bits, rows))
    assert ours.to_pylist() == sorted(ours.to_pylist())
    assert theirs.to_pylist() == sorted(theirs.to_pylist())


def test_equal_tables_have_no_differing_rows() -> None:
    same = keyed((1, "a"), (2, "b"))
    ours, theirs = arrow_diff.diff_counting(same, same)

    assert (ours.type, theirs.type) == (pa.uint32(), pa.uint32())
    assert len(ours) == len(theirs) == 0


@pytest.mark.parametrize(
    ("given", "ordered"),
    [([], []), ([3], [3]), ([1, 2], [1, 2]), ([2, 1], [1, 2]), ([1, 3, 2], [1, 2, 3]), ([2, 2, 1], [1, 2, 2]),
     ([1, 1], [1, 1])],
)  # fmt: skip
def test_rows_are_sorted_by_key(given: list[int], ordered: list[int]) -> None:
    table = keyed(*((key, str(key)) for key in given))
    found = arrow_diff.ordered(table, "k")

    assert found.column("k").to_pylist() == ordered
    assert found.column("t").to_pylist() == [str(key) for key in ordered]
    # What is in order is not sorted once more.
    assert (found is table) is (given in ([], [3], [1, 2]))


def test_keys_without_rows_are_found() -> None:
    keys = keyed((1, "a"), (2, "b"), (3, "c"), (2, "b")).select(["t", "k"])
    left = arrow_diff.without(keys, keyed((2, "b"), (3, "another")))

    assert left.to_pylist() == [{"t": "a", "k": 1}, {"t": "c", "k": 3}]
    assert arrow_diff.without(keys, keyed()).num_rows == 4


@pytest.mark.parametrize(
    ("source", "replica", "same"),
    [
        ([], [], True),
        ([(1, "a")], [(1, "a")], True),
        ([(1, "a"), (2, "b")], [(2, "b"), (1, "a")], True),
        ([(1, "a"), (1, "a"), (2, "b")], [(1, "a"), (2, "b"), (2, "b")], False),
        ([(1, "a")], [(1, "b")], False),
        ([(1, "a")], [(1, "a"), (1, "a")], False),
    ],
)
def test_equal_rows_in_any_order_are_equal(
    source: list[tuple[int, str]], replica: list[tuple[int, str]], same: bool
) -> None:
    assert arrow_diff.same_rows(keyed(*source), keyed(*replica)) is same


def test_changed_rows_keep_their_order() -> None:
    source = keyed((5, "e"), (1, "a"), (3, "c"), (2, "b"))
    changed, deleted = arrow_diff.diff_by_key(source, keyed((9, "x"), (2, "b"), (7, "y"), (3, "other")), ["k"])

    assert changed.column("k").to_pylist() == [5, 1, 3]
    assert deleted.column("k").to_pylist() == [9, 7]
    assert deleted.column_names == ["k"]


def test_bitwise_equal_tables_are_not_joined() -> None:
    """Two that are the same, bit for bit, are not looked at row by row."""
    source = keyed((1, "a"), (2, "b"))
    changed, deleted = arrow_diff.diff_by_key(source, source, ["k"])

    assert (changed.num_rows, changed.schema) == (0, source.schema)
    assert (deleted.num_rows, deleted.column_names) == (0, ["k"])


def test_positive_and_negative_zero_differ() -> None:
    left, right = (arrow([(1, None, zero, None, None)]) for zero in (0.0, -0.0))

    assert arrow_diff.as_bits(left).column(2).type == pa.int64()
    assert arrow_diff.as_bits(pa.table({"f": pa.array([1.5], pa.float32())})).column(0).type == pa.int32()
    assert not arrow_diff.same_rows(left, right)
    assert [len(one) for one in arrow_diff.diff_counting(left, right)] == [1, 1]
    assert [len(one) for one in arrow_diff.diff_counting(left, left)] == [0, 0]


KEYED = st.dictionaries(st.integers(-40, 40), st.integers(0, 2**60 - 1), max_size=30)


@settings(deadline=None)
@given(source=KEYED, replica=KEYED, staged=KEYED, count=st.integers(1, 8))
def test_group_checksums_find_every_differing_key(
    source: dict[int, int], replica: dict[int, int], staged: dict[int, int], count: int
) -> None:
    """Also where some rows are to replace others of the same key: the two are added up apart."""

    def groups(rows: dict[int, int]) -> dict[int, tuple[int, int]]:
        return together(*({key % count: (1, checksum)} for key, checksum in rows.items()))

    # A row's checksum is of its key as well.
    source, replica, staged = (
        {key: int(hashlib.sha256(repr((key, value)).encode()).hexdigest()[:15], 16) for key, value in rows.items()}
        for rows in (source, replica, staged)
    )

    left_alone = {key: checksum for key, checksum in replica.items() if key not in staged}
    differing = groups_differing(groups(source), together(groups(left_alone), groups(staged)))
    after = left_alone | staged
    named = [{k: c for k, c in rows.items() if k % count in differing} for rows in (source, after)]
    changed, deleted = keys_differing(*named)

    assert changed == sorted(key for key, checksum in source.items() if after.get(key) != checksum)
    assert deleted == sorted(after.keys() - source.keys())
