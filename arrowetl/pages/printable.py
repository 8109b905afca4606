"""
Names made printable: a table's name may hold what a terminal, a log or a chart obeys.

Pure, and the one place where that is done: terminals and logs are written by
`screen`, pages are given documents that went through `printable_document`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# C0 and C1 controls but for line ends and tabs, line and paragraph separators, and what turns the direction of writing.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""
    A text without control characters.

    >>> printable("a\x1b[31m"), printable("\u202eb")
    ('a\\x1b[31m', '\\u202eb')
    """
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def printable_name(name: str) -> str:
    r"""
    The same of a name, which has no line ends either.

    >>> printable_name("a\nb")
    'a\\nb'
    """
    return printable(name.replace("\n", "\\n").replace("\t", "\\t"))


def printable_document(value: Any) -> Any:
    """A document, its keys and texts so."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable_document(key): printable_document(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(printable_document(one) for one in value)
    return value
