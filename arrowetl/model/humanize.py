"""
Numbers as people read them, rows, bytes and seconds; and names, of which there may be many.

Pure; on a terminal (`cli`) and on a page (`pages`) they look the same.
"""

from __future__ import annotations

from collections.abc import Sequence


def count(number: int | float) -> str:
    """
    >>> count(1234567)
    '1,234,567'
    """
    return f"{number:,.0f}"


def size(bytes_: int | float) -> str:
    """
    >>> size(3 * 2**20)
    '3.0 MiB'
    """
    for unit, step in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if bytes_ >= step:
            return f"{bytes_ / step:,.1f} {unit}"
    return f"{bytes_:.0f} B"


def duration(seconds: float) -> str:
    """
    >>> duration(4.25), duration(125)
    ('4.2 s', '2 min 05 s')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def number_of(number: int, what: str) -> str:
    """
    >>> number_of(1, "problem"), number_of(2_000, "row")
    ('1 problem', '2,000 rows')
    """
    return f"{count(number)} {what}" + ("" if number == 1 else "s")


def listed(names: Sequence[str], most: int) -> str:
    """
    >>> listed(["a", "b", "c", "d"], most=2), listed(["a", "b"], most=2)
    ('a, b and 2 more', 'a, b')
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {count(more)} more" if more > 0 else "")
