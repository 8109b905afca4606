"""
The page of documents and the documents: neither has a key that the other has not.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

import jsonschema
from support.clinic import Clinic
from support.documents import described, documents, paths, schema_file, schema_of

PARTS = {
    r"(^|\.)coercions\[\]": "coercion",
    r"(^|\.)flags\[\]": "flag",
    r"(^|\.)error": "failure",
    r"(^|\.)checksums\.(source|replica|warehouse)": "checksums",
    r"^estimate": "estimate",
    r"^(trials\[\]|default|recommended)": "trial",
}
HEAD = {"schema_version", "arrowetl_version", "command", "ok", "exit_code", "error", "environment", "clinic", "servers"}


def reported(document: str, keys: set[str]) -> dict[str, set[str]]:
    """A document's keys, those of its parts under the parts' names."""
    found: dict[str, set[str]] = {document: set()}
    for key in keys:
        of_command = document.endswith("--json") or document == "error"
        if of_command and key.partition(".")[0] in HEAD and not key.startswith("error."):
            found.setdefault("head", set()).add(key)
            continue
        # What totals are of all tables, they are of those of one size.
        key = re.sub(r"^totals\.by_category\.\*\.", "totals.", key)
        part, rest = document, key
        for place, name in PARTS.items():
            if match := re.search(rf"{place}\.", key):
                part, rest = name, key[match.end() :]
        found.setdefault(part, set()).add(rest)
    return found


def test_documents_have_exactly_the_documented_keys(clinic: Clinic) -> None:
    """Of every document that other programs read, as real runs write them; and their published schemas accept them."""
    page, real = described(), dict[str, set[str]]()
    written, metrics = documents(clinic)
    each = {name: {path for one in those for path in paths(one)} for name, those in written.items()}
    for document, keys in {**each, "metrics": metrics}.items():
        if document == "snapshot --json":
            # A table's entry is the manifest's.
            keys = {key for key in keys if not key.startswith("tables.*.")}
        for name, some in reported(document, keys).items():
            real.setdefault(name, set()).update(some)
    for name, keys in page.items():
        assert keys - real[name] == set(), f"{name}: described, and nowhere written"
        assert real[name] - keys == set(), f"{name}: written, and not described"
    assert real.keys() == page.keys()
    if os.environ.get("ARROWETL_TEST_SCHEMAS") == "write":
        write_schemas(written)
    refused = [
        f"{name}: {error.json_path}: {error.message[:80]}"
        for name, those in written.items()
        for one in those
        for error in jsonschema.Draft202012Validator(json.loads(schema_file(name).read_text())).iter_errors(one)
    ]
    assert refused == []


def write_schemas(written: dict[str, list[Any]]) -> None:
    """As `nox -s pages` does; a key that is new is described first."""
    for name, those in written.items():
        path = schema_file(name)
        head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"arrowetl: {name}"}
        path.parent.mkdir(exist_ok=True)
        required = [key for key in HEAD if all(key in one for one in those)]
        path.write_text(
            json.dumps({**head, **schema_of(those), "type": "object", "required": required}, indent=1) + "\n"
        )


HEAD = ("schema_version", "arrowetl_version", "command", "ok", "exit_code", "error", "environment", "clinic", "servers")
