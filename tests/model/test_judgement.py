"""
One table of rules by which everybody judges: what is worse is reported first, and nothing is good that is not.
"""

from __future__ import annotations

import pytest

from arrowetl.model.judgement import Facts, judge


@pytest.mark.parametrize(
    ("facts", "word", "exit_code"),
    [
        (Facts(), "good", 0),
        (Facts(tables=3), "good", 0),
        (Facts(has_run=False), "never run", 1),
        (Facts(ended=False), "not ended", 1),
        (Facts(ended=False, at_work=True), "good", 0),
        (Facts(ended=False, at_work=True, failed=1), "failed", 1),
        (Facts(interrupted=True, failed=2), "interrupted", 130),
        (Facts(differing=1, failed=1), "differs", 5),
        (Facts(failed=1, missing=1), "failed", 1),
        (Facts(withheld=1), "failed", 1),
        (Facts(missing=1, shows_nothing=True), "missing", 1),
        (Facts(shows_nothing=True), "nothing", 1),
        (Facts(missed=True), "missed", 1),
        (Facts(overdue=1), "overdue", 1),
        (Facts(flagged=True), "flagged", 1),
        (Facts(exit_code=1), "flagged", 1),
    ],
)
def test_facts_give_one_verdict_and_exit_code(facts: Facts, word: str, exit_code: int) -> None:
    found = judge(facts)
    assert (found.word, found.exit_code, found.good) == (word, exit_code, exit_code == 0)
