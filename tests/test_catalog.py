"""
What a source's catalog says, and what is read out of it.
"""

from __future__ import annotations

import pytest

from arrowetl import catalog


@pytest.mark.parametrize(
    ("expression", "depends_on"),
    [
        ("`a` + `b`", ""),
        ("timestampdiff(YEAR,`Born`,curdate())", "curdate()"),
        ("CURRENT_TIMESTAMP", "current_timestamp()"),
        ("current_timestamp(6)", "current_timestamp()"),
        ("unix_timestamp() - `At`", "unix_timestamp()"),
        ("unix_timestamp ( )", "unix_timestamp()"),
        # Of a moment that is given it depends on nothing else.
        ("unix_timestamp(`At`)", ""),
        ("concat(@@session.time_zone, `a`)", "@@()"),
        ("(@@lc_time_names)", "@@()"),
        ("rand()", "rand()"),
        ("uuid ()", "uuid()"),
        ("concat('now()', `a`)", ""),
        ("`now()` + 1", ""),
        ("concat(`a`, 'it''s rand()')", ""),
        ("knower(`a`)", ""),
        (None, ""),
    ],
)
def test_what_a_generated_column_depends_on(expression: str | None, depends_on: str) -> None:
    """A clock, chance, or who asks: its values are not of its row alone."""
    assert catalog._depends_on("VIRTUAL GENERATED", expression) == depends_on
    assert catalog._depends_on("STORED GENERATED", expression) == ""
