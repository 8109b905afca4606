"""
The sentences of a page of Markdown, and how many words each has.

Code, headings and comments are none; a line of a list and a cell of a table end one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MOST_WORDS = 30

_NO_PROSE = re.compile(r"```.*?```|<!--.*?-->", re.DOTALL)
_ITEM = re.compile(r"^([-*]|\d+\\?\.) ")
_END = re.compile(r"(?<=[.!?])(?:\)|\*\*)?\s+(?=[A-Z`\[\"*(])")
_ADDRESS = re.compile(r"\]\([^)]*\)")


def sentences(page: str) -> Iterator[tuple[str, int]]:
    """
    Each sentence with the number of its words.

    >>> list(sentences("# Title\\n\\nOne is short. [Two](a b)\\nis so, too.\\n\\n    code is none\\n\\n- three"))
    [('One is short.', 3), ('[Two] is so, too.', 4), ('three', 1)]
    """
    for paragraph in _paragraphs(_NO_PROSE.sub("", page)):
        for sentence in _END.split(_ADDRESS.sub("]", paragraph)):
            if sentence:
                yield sentence, sum(bool(re.search(r"\w", word)) for word in sentence.split())


def _paragraphs(text: str) -> Iterator[str]:
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        said = line.strip()
        is_code = line.startswith("    ") and not lines
        if not said or said.startswith(("#", "|")) or is_code or _ITEM.match(said):
            yield " ".join(lines)
            lines = []
        if said.startswith("|"):
            yield from (cell.strip() for cell in said.strip("|").split(" | "))
        elif said and not said.startswith("#") and not is_code:
            lines.append(_ITEM.sub("", said, count=1))
