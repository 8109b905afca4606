"""
The tables a person means: names, and globs, held against those that there are.

Pure. A name that is not there is refused with the nearest ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase

from arrowetl.errors import UsageError, did_you_mean

_LISTED = "`arrowetl status` and conf/tables.yml list the tables"


def chosen_tables(
    names: Sequence[str], known: Collection[str], remedy: str = _LISTED, exclude: Sequence[str] = ()
) -> tuple[str, ...]:
    """
    The tables a person named, or all, without those that are excluded.

    >>> chosen_tables(["claim*", "patient"], ["claim", "claimproc", "patient"], exclude=["claimproc"])
    ('claim', 'patient')

    Raises:
        UsageError: a name, or a glob, is of no table; the message has the nearest names.
    """
    out = set(_expanded(exclude, known, remedy))
    return tuple(name for name in (_expanded(names, known, remedy) if names else known) if name not in out)


def chosen_names(names: Sequence[str], known: Collection[str], remedy: str, what: str) -> tuple[str, ...]:
    """
    The same of other things than tables, of which a name is a name.

    Raises:
        UsageError: some do not exist; the message has the nearest names.
    """
    _refuse_unknown([name for name in names if name not in set(known)], known, remedy, what)
    return tuple(dict.fromkeys(names))


def _expanded(names: Sequence[str], known: Collection[str], remedy: str) -> tuple[str, ...]:
    """Names as they are, and of globs those that match."""
    found = {name: [name] if name in known else _matching(known, name) for name in names}
    _refuse_unknown([name for name, those in found.items() if not those], known, remedy, "table")
    return tuple(dict.fromkeys(name for those in found.values() for name in those))


def _matching(known: Iterable[str], glob: str) -> list[str]:
    """The names that a glob matches, capitals and all; none of a text that is no glob."""
    return [name for name in known if fnmatchcase(name, glob)] if any(mark in glob for mark in "*?[") else []


def _refuse_unknown(unknown: Sequence[str], known: Collection[str], remedy: str, what: str) -> None:
    if unknown:
        words = [f"{name}{did_you_mean(name, known, most=3)}" for name in unknown]
        plural = "" if len(unknown) == 1 else "s"
        raise UsageError(f"unknown {what}{plural}: {', '.join(words)}", remedy, slug=f"unknown_{what}")
