"""
The page of documents and the documents: neither has a key that the other has not.
"""

from __future__ import annotations

import re

from support.clinic import Clinic
from support.documents import described, documents

PARTS = {
    r"(^|\.)coercions\[\]": "coercion",
    r"(^|\.)flags\[\]": "flag",
    r"(^|\.)error": "failure",
    r"(^|\.)checksums\.(source|replica|warehouse)": "checksums",
    r"^planned": "estimate",
}


def reported(document: str, keys: set[str]) -> dict[str, set[str]]:
    """A document's keys, those of its parts under the parts' names."""
    found: dict[str, set[str]] = {document: set()}
    for key in keys:
        # What totals are of all tables, they are of those of one size.
        key = re.sub(r"^totals\.by_category\.\*\.", "totals.", key)
        part, rest = document, key
        for place, name in PARTS.items():
            if match := re.search(rf"{place}\.", key):
                part, rest = name, key[match.end() :]
        found.setdefault(part, set()).add(rest)
    return found


def test_documents_have_exactly_the_documented_keys(clinic: Clinic) -> None:
    """Of every document that other programs read, as real runs write them."""
    page, real = described(), dict[str, set[str]]()
    for document, keys in documents(clinic).items():
        if document == "snapshot --json":
            # A table's entry is the manifest's.
            keys = {key for key in keys if not key.startswith("tables.*.")}
        for name, some in reported(document, keys).items():
            real.setdefault(name, set()).update(some)
    for name, keys in page.items():
        assert keys - real[name] == set(), f"{name}: described, and nowhere written"
        assert real[name] - keys == set(), f"{name}: written, and not described"
    assert real.keys() == page.keys()
