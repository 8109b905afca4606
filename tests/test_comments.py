"""
What a person wrote into tables.yml is there after the next analysis.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from arrowetl import comments

FIRST = "# ours begins"
OURS = f"""\
{FIRST}
# and ends

metadata:
  total_tables: 2
settings:
  reconcile_days: 3
tables:
  patient:
    batch_size: 6
    incremental_columns:
    - DateTStamp
    monitoring:
      alert_on_failure: true
    overrides:
      columns:
        SSN:
          exclude: true
  zebra:
    batch_size: 7
"""

A_PERSONS = """\
# before everything
# ours begins
# with other words, of an earlier version

# of the file
metadata:
  total_tables: 1
settings: {reconcile_days: 3}   # they asked for it
tables:
  # of the patients
  patient:
    batch_size: 5  # it is slow
    incremental_columns:
    - DateTStamp
    monitoring:
      alert_on_failure: true
    # why this
    overrides:
      # inside
      columns: {SSN: {exclude: true}}  # the law

  # about zebras
  # twice
  zebra:
    batch_size: 7
# the end
"""

BOTH = """\
# ours begins
# and ends

# before everything
# of the file
metadata:
  total_tables: 2
settings: {reconcile_days: 3}   # they asked for it
tables:
  # of the patients
  patient:
    batch_size: 6  # it is slow
    incremental_columns:
    - DateTStamp
    monitoring:
      alert_on_failure: true
    # why this
    overrides:
      # inside
      columns: {SSN: {exclude: true}}  # the law
  # about zebras
  # twice
  zebra:
    batch_size: 7
# the end
"""


def test_comments_and_overrides_stay_as_they_were_written() -> None:
    """And arrowetl's own heading is the new one."""
    assert comments.kept(A_PERSONS, OURS, FIRST) == BOTH
    assert comments.kept(BOTH, OURS, FIRST) == BOTH


def test_nothing_of_a_person_is_nothing_more() -> None:
    assert comments.kept(OURS, OURS, FIRST) == OURS


@pytest.mark.parametrize(
    "before",
    [
        "tables: [",
        "[]",
        "just words",
        "",
        "tables: {patient: {overrides: &a {exclude: false}}, zebra: {overrides: *a}}",
        "tables:\n  ? [1, 2]\n  : 3\n",
        "tables:\n        patient:\n              overrides:\n                    columns: {}\n",
        "tables:\n  patient:\n    overrides:\n      exclude: true\n",
    ],
)
def test_what_would_be_read_as_something_else_is_left(before: str) -> None:
    """The document that is to be written is the one that is read."""
    assert yaml.safe_load(comments.kept(before, OURS, FIRST)) == yaml.safe_load(OURS)


WORDS = st.text("ab: #'\"{}[]-,&*|>\\éß", max_size=8)
VALUES: st.SearchStrategy[Any] = st.recursive(
    WORDS | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=5,
)


@given(
    st.dictionaries(WORDS, st.dictionaries(WORDS | st.just("overrides"), VALUES, max_size=3), max_size=3), VALUES,
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["# one", "  # two", "      # three", "#"])), max_size=5),
    st.booleans(),
)  # fmt: skip
def test_whatever_was_there_the_new_document_is_what_is_read(
    tables: dict[str, Any], settings: Any, said: list[tuple[int, str]], flows: bool
) -> None:
    """Overrides in any form, comments at any line."""
    after = {"metadata": {"total_tables": 2}, "settings": settings, "tables": {**tables, "new": {"batch_size": 1}}}
    before = {"settings": settings, "tables": tables}
    lines = yaml.safe_dump(before, sort_keys=False, default_flow_style=None if flows else False).splitlines()
    for place, comment in said:
        lines.insert(place, comment)

    text = yaml.safe_dump(after, sort_keys=False, allow_unicode=True)
    kept = comments.kept("\n".join(lines) + "\n", text, FIRST)

    assert yaml.safe_load(kept) == after
    assert comments.kept(kept, text, FIRST) == kept
