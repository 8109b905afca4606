"""
What a person wrote into tables.yml: comments are there after the next analysis, and choices in arrowetl.yml.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from arrowetl.analyze import yaml_comments

FIRST = ("# schema", "# ours begins")
OURS = f"""\
{FIRST[0]}
{FIRST[1]}
# and ends

metadata:
  total_tables: 2
tables:
  patient:
    batch_size: 6
    incremental_columns:
    - DateTStamp
    monitoring:
      alert_on_failure: true
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
# weekly is too late
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
      workers: 2

  # about zebras
  # twice
  zebra:
    batch_size: 7
  'On':
    overrides: {exclude: true}  # not ours
# the end
"""

REST = """\
# before everything
# ours begins
# with other words, of an earlier version

# of the file
metadata:
  total_tables: 1
tables:
  patient:
    batch_size: 5  # it is slow
    incremental_columns:
    - DateTStamp
    monitoring:
      alert_on_failure: true

  # about zebras
  # twice
  zebra:
    batch_size: 7
  'On':
# the end
"""

CHOICES = """\
# weekly is too late
settings: {reconcile_days: 3}   # they asked for it
tables:
  # of the patients
  # why this
  patient:
    # inside
    columns: {SSN: {exclude: true}}  # the law
    workers: 2
  'On': {exclude: true}  # not ours
"""

BOTH = """\
# schema
# ours begins
# and ends

# before everything
# of the file
metadata:
  total_tables: 2
tables:
  patient:
    batch_size: 6  # it is slow
    incremental_columns:
    - DateTStamp
    monitoring:
      alert_on_failure: true
  # about zebras
  # twice
  zebra:
    batch_size: 7
# the end
"""


def test_choices_are_moved_with_their_comments() -> None:
    """Their very lines, a level higher; what is left has none, and the second time nothing is moved."""
    assert yaml_comments.moved(A_PERSONS, FIRST) == (REST, CHOICES, ())
    assert yaml_comments.moved(REST, FIRST) == (REST, "", ())


def test_comments_are_kept_verbatim() -> None:
    """And arrowetl's own heading is the new one."""
    assert yaml_comments.kept(REST, OURS, FIRST) == (BOTH, ())
    assert yaml_comments.kept(BOTH, OURS, FIRST) == (BOTH, ())


@pytest.mark.parametrize(
    ("before", "choices", "lost"),
    [
        ("tables: {a: {overrides: {workers: 2}}}  # one\n", {"tables": {"a": {"workers": 2}}}, ("# one",)),
        ("tables:\n  c:\n    overrides: &o {workers: 2}  # why\n  a:\n    overrides: *o\n",
         {"tables": {"c": {"workers": 2}, "a": {"workers": 2}}}, ("# why",)),
        ("tables:\n  a:\n    overrides: {\n      workers: 2  # two\n    }\n", {"tables": {"a": {"workers": 2}}}, ()),
        ("settings: {  # every one\n  reconcile_days: 3\n}\ntables: {}\n", {"settings": {"reconcile_days": 3}}, ()),
        ("tables:\n  a:\n    overrides: {}\n  b:\n    overrides:\n", {}, ()),
        ("tables: {}\nsettings:\n", {}, ()),
        ("- no mapping\n", {}, ()),
    ],
)  # fmt: skip
def test_choices_of_any_form_are_moved(before: str, choices: dict[str, Any], lost: tuple[str, ...]) -> None:
    """Whatever way they are written; a comment that cannot go along is reported."""
    rest, text, reported = yaml_comments.moved(before, FIRST)

    assert (yaml.safe_load(text) or {}, reported) == (choices, lost)
    assert "overrides: {workers" not in rest


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
        (OURS.replace("  zebra:\n", "  yak: &a\n    batch_size: 7  # seven\n  yeti: *a\n  zebra:\n"), ("# seven",)),
    ],
)  # fmt: skip
def test_a_comment_is_kept_or_reported(before: str, lost: tuple[str, ...]) -> None:
    """Wherever it is; but those of list items, of tables that no longer exist, and next to aliases."""
    text, reported = yaml_comments.kept(before, OURS, FIRST)

    assert reported == lost
    assert all(comment in text for comment in ("# agreed", "# two") if comment in before and comment not in lost)
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
def test_nothing_is_lost_of_a_rewritten_file(
    tables: dict[str, Any], settings: Any, said: list[tuple[int, str]], flows: bool
) -> None:
    """Choices in any form, comments at any line: the new document is what is meant, and the choices are all there."""
    after = {"metadata": {"total_tables": 2}, "tables": {**{name: {} for name in tables}, "new": {"batch_size": 1}}}
    before = {"settings": settings, "tables": tables}
    lines = yaml.safe_dump(before, sort_keys=False, default_flow_style=None if flows else False).splitlines()
    for place, comment in said:
        lines.insert(place, comment)
    document = "\n".join(lines) + "\n"
    try:
        reads = yaml.safe_load(document)
    except yaml.YAMLError:
        # A comment within a text.
        return

    text = yaml.safe_dump(after, sort_keys=False, allow_unicode=True)
    rest, choices, _ = yaml_comments.moved(document, FIRST)
    kept, _ = yaml_comments.kept(rest, text, FIRST)

    assert yaml.safe_load(kept) == after
    assert (yaml.safe_load(choices) or {}) == yaml_comments._choices(reads)
    assert yaml_comments.kept(kept, text, FIRST) == (kept, ())
