"""
The check of words notices an old word in a name, a comment, a sentence, and leaves the contracts' words alone.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support import house_words, sentences

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "CHANGELOG")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("def carry_table(plan):", "carry"),
        ("class PartitionCarried:", "Carried"),
        ("rows_told = 3", "told"),
        ("# The rows are brought to both ends.", "brought"),
        ("The targets are read, and both ends agree.", "both ends"),
        ("A table is compared whole every night.", "night"),
        ("it is made anew", "anew"),
        ("keys that are gone", "gone"),
        ("what stands there", "stands"),
    ],
)
def test_an_old_word_is_found(text: str, word: str) -> None:
    assert word in [found for _, found, _ in house_words.found_in(text)]


@pytest.mark.parametrize(
    "text",
    [
        "A mark stands for a value.",
        "    journey varchar(32),",
        '"legs": dict(self.phases),',
        "SELECT DateTStamp FROM patient",
        "new_columns: carry",
        "the run ends with exit code 1, at the end of the day",
        "a standard, an understanding, a spreadsheet",
    ],
)
def test_a_contracts_word_is_kept(text: str) -> None:
    assert list(house_words.found_in(text)) == []


def test_every_file_is_searched() -> None:
    searched = {str(path.relative_to(house_words.ROOT)) for path in house_words.files()}

    some = {"README.md", "docs/explanation/run.md", "arrowetl/pipeline/run.py", "arrowetl/pages/run.html", "noxfile.py"}
    assert some <= searched
    assert "tests/support/house_words.py" not in searched


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_sentence_is_long(page: Path) -> None:
    found = sentences.sentences(page.read_text())

    assert [(words, sentence) for sentence, words in found if words > sentences.MOST_WORDS] == []
