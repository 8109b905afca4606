"""
What servers are asked to add up, in their own words, and what is concluded from their answers.
"""

from __future__ import annotations

import pytest
from support.catalog_values import column, fields

from arrowetl.checksums import groups
from arrowetl.checksums.groups import Grouped
from arrowetl.checksums.row_checksums import row_checksum
from arrowetl.model.plan import Partition

FIELDS = fields(column("Num", "bigint(20)"), column("Note", "text", charset="utf8"))
ROW = row_checksum(FIELDS)


def test_a_row_checksum_covers_values_nulls_and_lengths() -> None:
    """60 bits of a SHA-256 over what is stored; behind it which are NULL, and how long texts are."""
    number, letters = fields(column("Num", "bigint(20)"), column("Code", "char(5)", nullable=False))

    assert row_checksum([number]) == (
        "CAST(CONV(LEFT(SHA2(CONCAT_WS('#', t.`Num`, CONCAT(ISNULL(t.`Num`))), 256), 15), 16, 10) AS UNSIGNED)"
    )
    assert row_checksum([number, letters], "s") == (
        "CAST(CONV(LEFT(SHA2(CONCAT_WS('#', s.`Num`, CAST(s.`Code` AS BINARY), LENGTH(s.`Code`), "
        "CONCAT(ISNULL(s.`Num`))), 256), 15), 16, 10) AS UNSIGNED)"
    )


def test_table_checksums_are_returned_by_number() -> None:
    """By number, so that no name need be reported back."""
    assert groups.table_checksums("d", [("a`b", FIELDS), ("t", FIELDS[:1])]) == (
        f"SELECT 0, CAST(COALESCE(SUM({ROW}), 0) AS CHAR), COALESCE(SUM({ROW} IS NULL), 0) FROM `d`.`a``b` t"
        f" UNION ALL SELECT 1, CAST(COALESCE(SUM({row_checksum(FIELDS[:1])}), 0) AS CHAR), "
        f"COALESCE(SUM({row_checksum(FIELDS[:1])} IS NULL), 0) FROM `d`.`t` t"
    )


EVERY, RANGE = Partition(0, None, None), Partition(0, 10, 20)
STAGED = "NOT EXISTS (SELECT 1 FROM `d`.`s` s WHERE s.`Num` = t.`Num`)"


@pytest.mark.parametrize(
    ("part", "staged", "where"),
    [
        (EVERY, None, ""),
        (RANGE, None, " WHERE t.`Num` >= 10 AND t.`Num` < 20"),
        (EVERY, "s", f" WHERE {STAGED}"),
        (RANGE, "s", f" WHERE t.`Num` >= 10 AND t.`Num` < 20 AND {STAGED}"),
    ],
)
def test_group_checksums_leave_out_rows_that_staged_ones_replace(
    part: Partition, staged: str | None, where: str
) -> None:
    """By the key's remainder; those that staged rows are to replace are left out."""
    asked = Grouped("Num", FIELDS, part, 7)

    assert asked.question("d", "t", staged) == (
        f"SELECT t.`Num` MOD 7, COUNT(*), CAST(COALESCE(SUM({ROW}), 0) AS CHAR), SUM({ROW} IS NULL) "
        f"FROM `d`.`t` t{where} GROUP BY 1"
    )
    assert asked.rows_question("d", "t", None, staged) == f"SELECT t.`Num`, {ROW} FROM `d`.`t` t{where}"


def test_rows_of_the_chosen_groups_are_asked_for() -> None:
    asked = Grouped("Num", FIELDS, RANGE, 7)

    assert asked.rows_question("d", "t", [2, 5]) == (
        f"SELECT t.`Num`, {ROW} FROM `d`.`t` t WHERE t.`Num` >= 10 AND t.`Num` < 20 AND t.`Num` MOD 7 IN (2, 5)"
    )
    assert asked.rows_question("d", "t", [2], "s").endswith(f"< 20 AND t.`Num` MOD 7 IN (2) AND {STAGED}")


def test_group_checksums_of_disjoint_tables_add_up() -> None:
    assert groups.together({1: (2, 30)}, {1: (1, 5), 2: (1, 9)}, {}) == {1: (3, 35), 2: (1, 9)}
    assert groups.together() == {}


def test_groups_differ_by_rows_sum_or_presence() -> None:
    """By rows, by sum, or since only one has them."""
    left = {1: (2, 30), 2: (1, 9), 5: (1, 1), 6: (1, 7)}
    right = {1: (2, 30), 3: (1, 1), 5: (2, 1), 6: (1, 8)}

    assert groups.groups_differing(left, right) == (2, 3, 5, 6)
    assert groups.groups_differing(left, left) == ()


def test_changed_and_deleted_keys_are_found() -> None:
    """New or another at the source; and deleted from it."""
    assert groups.keys_differing({3: 30, 2: 20, 1: 10}, {2: 21, 3: 30, 9: 1, 4: 40}) == ([1, 2], [4, 9])
    assert groups.keys_differing({}, {}) == ([], [])


@pytest.mark.parametrize(
    ("counts", "reported"),
    [
        ({}, None),
        ({"replica": 1234, "warehouse": 1234}, None),
        ({"replica": 1233, "warehouse": 1234}, "1,234 rows were read, staged were: replica 1,233"),
        ({"replica": 1233, "warehouse": 12345}, "1,234 rows were read, staged were: replica 1,233, warehouse 12,345"),
    ],
)
def test_missing_staged_rows_are_counted_per_target(counts: dict[str, int], reported: str | None) -> None:
    assert groups.miscounted(1234, counts) == reported
