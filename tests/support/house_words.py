"""
The field's word for each word of a private dialect, and where one of these is used again.

`nox -s lint` runs this as a program over code, tests and pages; `project/test_words.py` shows that it notices. A word
that a contract has (a column of a tracking table, a key of a JSON document) is in `KEPT`. What the terms that stay mean
is in docs/glossary.md.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("arrowetl/**/*.py", "arrowetl/**/*.html", "arrowetl/**/*.js", "benchmarks/*.py", "tests/**/*.py",
          "tests/**/*.yml", "tests/*.md", "docs/**/*.md", "*.md", "conf/tables.yml", "examples/**/*", "noxfile.py",
          "pyproject.toml")  # fmt: skip

WORDS = {
    r"carr(?:y|ies|ied|ying)": "load, copy, extract, write",
    r"br(?:ing|ings|inging|ought)": "load, add, cause",
    r"(?:un)?t(?:ell|ells|elling|old)": "report, show, say, name, mean",
    r"nights?": "run",
    r"journeys?": "load kind",
    r"legs?": "phase",
    r"stand|stands|standing|standings|stood": "exist, be in, table state",
    r"anew": "again, recreate",
    r"upon": "on",
    r"gone": "deleted, lost, missing",
    r"beside": "next to, besides",
    r"moments?": "time, timestamp",
    r"stamps?|stamped": "timestamp",
    r"believ(?:e|es|ed|ing)": "trust",
    r"hands": "workers",
    r"ends (?:have|are|were|hold|agree|differ)"
    r"|(?:both|the|all|two|three|its|their|own|other|these|of|at|which|whose) ends"
    r"|(?:an|each|either|another|other|one|every|that|which|whose) end(?! of|-)|end's": "target, replica, warehouse",
    r"(?:read|compared|reads|loaded|verified|compares) whole|whole (?:table|row|rows|tables|range)": "full, in full",
    r"made level|brought level": "in sync",
    r"(?:is|are|were|was|has|have|shows?) no more(?! than)|any more(?= at)": "no longer",
    r"by its bytes|by their bytes": "read as hex",
}

# The contract's, a library's, or the language's: each with the word as it is written there.
KEPT = re.compile("|".join((
    r"stand(?:s|ing)? for",
    # Columns of tracking tables, keys and values of documents, a value of tables.yml.
    r"\bjourney varchar|t\.journey|table_name, journey|\"journey|[\"'`]legs[\"'`]",
    r"[\"'`](?:stamped_by_server|stamped|tables\[\]\.believed_of|believed_of|carry|compared whole)[\"'`]",
    r"new_columns: carry",
    # The name of a benchmark, of a test, of a variable.
    r"ARROWETL_TEST_NIGHTS|nights\.py|-- nights|`nights`|import nights|nights\.change|nights::|nightly|overnight",
    # OpenDental's columns, and MySQL's.
    r"[A-Za-z]+Stamp\b|GONE_ERROR",
    # Names that the changelog still has.
    r"Etl\.told|tell=",
)))  # fmt: skip


def found_in(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, word, and the field's word for it."""
    for number, line in enumerate(text.splitlines(), 1):
        left = KEPT.sub(lambda kept: " " * len(kept[0]), line)
        # Of a name each part is a word.
        left = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", left)
        for pattern, instead in RULES:
            for word in pattern.finditer(left):
                yield number, word[0], instead


RULES = [
    (re.compile(rf"(?<![A-Za-z])(?:{word})(?![A-Za-z])", re.IGNORECASE), instead) for word, instead in WORDS.items()
]


def files() -> Iterator[Path]:
    seen = {path for pattern in PLACES for path in ROOT.glob(pattern) if path.is_file()}
    return iter(sorted(seen - {Path(__file__).resolve(), ROOT / "tests" / "project" / "test_words.py"}))


def main() -> int:
    count = 0
    for path in files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for line, word, instead in found_in(text):
            count += 1
            print(f"{path.relative_to(ROOT)}:{line}: {word!r}: rather {instead}")
    return min(count, 1)


if __name__ == "__main__":
    sys.exit(main())
