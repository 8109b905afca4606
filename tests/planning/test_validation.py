"""
What tables.yml says of columns, against the columns there are: every problem of a table at once.
"""

from __future__ import annotations

from typing import Any

import pytest
from support.catalog_values import column, table

from arrowetl.model.connection import TableSettings
from arrowetl.planning import validation

VISIT = table(
    "visit", column("Num", "bigint(20)"), column("Note", "varchar(20)"), column("Seen", "datetime"),
    column("none", "enum('a')"), key=("Num",),
)  # fmt: skip


def settings(columns: dict[str, Any] | None = None, **overrides: Any) -> TableSettings:
    chosen = {**overrides, **({"columns": columns} if columns else {})}
    return TableSettings({**chosen, "overrides": chosen})


@pytest.mark.parametrize(
    ("chosen", "problems"),
    [
        (settings(), []),
        (settings({"Note": {"mask": "hash"}, "Seen": {"mask": "partial"}}), []),
        (settings({"note": {"exclude": True}}),
         ["visit: choices for columns that the source has not: note (did you mean Note?)"]),
        (settings({"SSN": {"exclude": True}, "note": {}}),
         ["visit: choices for columns that the source has not: SSN, note (did you mean Note?)"]),
        (settings({"Num": {"mask": "nullify"}, "Seen": {"mask": "hash"}}),
         ["visit.Num (bigint(20)): cannot be masked by nullify: it is part of the primary key, which identifies rows",
          "visit.Seen (datetime): cannot be masked by hash: only texts and bigint can be hashed"]),
        (settings({"Seen": {"mask": "hash", "exclude": True}}), []),
        (settings(primary_incremental_column="Seen"), []),
        (settings(primary_incremental_column="Num"), []),
        (settings(primary_incremental_column=None), []),
        (settings(primary_incremental_column="Zzyzx"),
         ["visit: arrowetl.yml has a primary_incremental_column that the source has not: Zzyzx"]),
        (settings(primary_incremental_column="Note"),
         ["visit: arrowetl.yml has a primary_incremental_column that is neither a number nor a timestamp: "
          "Note (varchar(20))"]),
    ],
)  # fmt: skip
def test_impossible_overrides_are_refused(chosen: TableSettings, problems: list[str]) -> None:
    assert [problem.message for problem in validation.problems(VISIT, chosen)] == problems


def test_a_generated_watermark_may_have_been_dropped() -> None:
    """A watermark that nobody chose is no reason to refuse its table."""
    assert validation.problems(VISIT, TableSettings({"primary_incremental_column": "Zzyzx"})) == []


def test_keys_are_not_suggested_for_exclusion() -> None:
    """Nobody is reported to lose it."""
    (problem,) = validation.problems(VISIT, settings({"Num": {"mask": "nullify"}}))

    assert problem.remedy
    assert "exclude: true" not in problem.remedy
