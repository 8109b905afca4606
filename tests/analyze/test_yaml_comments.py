"""
What a person wrote into tables.yml is there after the next analysis.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from arrowetl.analyze import yaml_comments

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


def test_comments_and_overrides_are_kept_verbatim() -> None:
    """And arrowetl's own heading is the new one."""
    assert yaml_comments.kept(A_PERSONS, OURS, FIRST) == (BOTH, ())
    assert yaml_comments.kept(BOTH, OURS, FIRST) == (BOTH, ())


def test_a_file_without_comments_gets_none() -> None:
    assert yaml_comments.kept(OURS, OURS, FIRST) == (OURS, ())


@pytest.mark.parametrize(
    ("before", "lost"),
    [
        (OURS.replace("    - DateTStamp", "    - DateTStamp  # the best"), ("# the best",)),
        (OURS.replace("  zebra:", "  # they were dropped\n  yak:  # all of them\n    batch_size: 1\n  zebra:"),
         ("# they were dropped", "# all of them")),
        (OURS.replace("alert_on_failure: true", "alert_on_failure: true  # agreed"), ()),
        (OURS.replace("total_tables: 2", "total_tables: 2  # two"), ()),
        (OURS.replace("reconcile_days: 3", "reconcile_days: 3  # weekly"), ()),
        (OURS.replace("    overrides:\n      columns:\n        SSN:\n          exclude: true\n",
                      "    overrides: {\n      columns: {SSN: {exclude: true}}  # the law\n    }\n"), ()),
        (OURS.replace("settings:\n  reconcile_days: 3\n", "settings: {  # every one\n  reconcile_days: 3\n}\n"), ()),
        (OURS.replace("  zebra:\n", "  yak: &a\n    batch_size: 7  # seven\n  yeti: *a\n  zebra:\n"), ("# seven",)),
    ],
)  # fmt: skip
def test_a_comment_is_kept_or_reported(before: str, lost: tuple[str, ...]) -> None:
    """Wherever it is; but those of list items, of tables that no longer exist, and next to aliases."""
    text, reported = yaml_comments.kept(before, OURS, FIRST)

    assert reported == lost
    assert all(
        comment in text
        for comment in ("# agreed", "# two", "# weekly", "# the law", "# every one")
        if comment in before and comment not in lost
    )
    assert yaml.safe_load(text) == yaml.safe_load(OURS)


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
def test_text_that_would_parse_differently_is_not_inserted(before: str) -> None:
    """The document that is to be written is the one that is read."""
    assert yaml.safe_load(yaml_comments.kept(before, OURS, FIRST)[0]) == yaml.safe_load(OURS)


def test_aliases_survive_rewriting() -> None:
    """What several tables share is one value in memory, and an alias in the text that is written."""
    shared = {"workers": 2}
    after = yaml.safe_dump({"tables": {name: {"overrides": shared} for name in "abc"}})
    before = "tables:\n  c:\n    overrides: &o {workers: 2}  # why\n  a:\n    overrides: *o\n  b: {overrides: *o}\n"

    assert yaml_comments.kept(before, after, FIRST) == (after, ("# why",))


WORDS = st.text("ab: #'\"{}[]-,&*|>\\éß", max_size=8)
VALUES: st.SearchStrategy[Any] = st.recursive(
    WORDS | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=5,
)


@given(
    st.dictionaries(WORDS, st.dictionaries(WORDS | st.just("overrides"), VALUES, max_size=3), max_size=3),
    VALUES,
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["# one", "  # two", "      # three", "#"])), max_size=5),
    st.booleans(),
)
def test_the_rewritten_file_always_parses_to_the_new_document(
    tables: dict[str, Any], settings: Any, said: list[tuple[int, str]], flows: bool
) -> None:
    """Overrides in any form, comments at any line."""
    after = {"metadata": {"total_tables": 2}, "settings": settings, "tables": {**tables, "new": {"batch_size": 1}}}
    before = {"settings": settings, "tables": tables}
    lines = yaml.safe_dump(before, sort_keys=False, default_flow_style=None if flows else False).splitlines()
    for place, comment in said:
        lines.insert(place, comment)

    text = yaml.safe_dump(after, sort_keys=False, allow_unicode=True)
    kept, _ = yaml_comments.kept("\n".join(lines) + "\n", text, FIRST)

    assert yaml.safe_load(kept) == after
    assert yaml_comments.kept(kept, text, FIRST) == (kept, ())
