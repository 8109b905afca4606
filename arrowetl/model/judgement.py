"""
The overall verdict: one table of rules, by which a run, `status`, a report and `verify` judge alike.

Pure. Each fills in what it knows; none has a word of its own for good. What to
trust about a single table is `evidence`'s business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from arrowetl.errors import Interrupted, VerificationError


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of many tables."""

    has_run: bool = True
    begun: bool = True
    """Whether it could begin: a server was there, the settings were good."""
    ended: bool = True
    at_work: bool = False
    """Whether a run that has not ended goes on."""
    interrupted: bool = False
    tables: int = 0
    """That were asked for."""
    failed: int = 0
    withheld: int = 0
    missing: int = 0
    """That were there, and that the source does not show any more, until a person has said so."""
    differing: int = 0
    overdue: int = 0
    missed: bool = False
    """Whether a run did not come."""
    flagged: bool = False
    """Whether what is only flagged was to count, and something is."""
    shows_nothing: bool = False
    """Whether the source has no table that could be seen."""
    exit_code: int = 0
    """Of a run of which nothing more is known."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """In a word."""

    word: str
    exit_code: int

    @property
    def good(self) -> bool:
        return self.exit_code == 0


# The first that holds.
_RULES: tuple[tuple[Callable[[Facts], bool], Judgement], ...] = (
    (lambda f: not f.has_run, Judgement("never run", 1)),
    (lambda f: not f.begun, Judgement("not begun", 1)),
    (lambda f: not f.ended and not f.at_work, Judgement("not ended", 1)),
    (lambda f: f.interrupted, Judgement("interrupted", Interrupted.exit_code)),
    (lambda f: f.differing > 0, Judgement("differs", VerificationError.exit_code)),
    (lambda f: f.failed > 0 or f.withheld > 0, Judgement("failed", 1)),
    (lambda f: f.missing > 0, Judgement("missing", 1)),
    (lambda f: f.shows_nothing, Judgement("nothing", 1)),
    (lambda f: f.missed, Judgement("missed", 1)),
    (lambda f: f.overdue > 0, Judgement("overdue", 1)),
    (lambda f: f.flagged or f.exit_code != 0, Judgement("flagged", 1)),
    (lambda f: True, Judgement("good", 0)),
)


def judge(facts: Facts) -> Judgement:
    """
    >>> judge(Facts(tables=3)).word, judge(Facts(missing=1)).exit_code, judge(Facts(differing=1, failed=1)).word
    ('good', 1, 'differs')
    """
    return next(judgement for holds, judgement in _RULES if holds(facts))
