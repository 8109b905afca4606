"""
The table in docs/reference/types.md, from the type rules.

`nox -s pages` writes it; `project/test_docs.py` shows that it was.
"""

from __future__ import annotations

from pathlib import Path

from arrowetl.cli import render_run
from arrowetl.types import rules

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "types.md"


def written() -> str:
    """The page with the table as it is to be."""
    headings, *rows = render_run.type_rows(rules.RULES)
    lines = [headings, ("---",) * len(headings), *rows]
    before, _, rest = PAGE.read_text().partition("<!-- types -->\n")
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{before}<!-- types -->\n{table}<!-- /types -->{rest.partition('<!-- /types -->')[2]}"


if __name__ == "__main__":
    PAGE.write_text(written())
