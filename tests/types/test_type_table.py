"""
What is said of each type in SQL at either target, as one table: tests/types.yml.

How a column is read, what its stored value is compared by, its canonical text at both targets, what a person is shown,
and how the warehouse gives it back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.catalog_values import column, fields

from arrowetl.model.plan import Field
from arrowetl.types import checksum_text, mapping
from arrowetl.types.from_postgres import read_back

FACTS: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "types.yml").read_text())
_GIVEN = ("type", "charset", "asked")
ASKED = {
    "is of letters": checksum_text.needs_its_length,
    "is long": checksum_text.is_long,
    "may hold a mark": checksum_text.may_hold_a_mark,
    "is a document": mapping.is_json,
    "is read as text": mapping.is_read_as_text,
    "is a date": mapping.is_a_date,
    "goes by bytes": mapping.goes_by_bytes,
    "is a place": mapping.is_geometry,
}


def facts(field: Field) -> dict[str, Any]:
    canonical, (read, arrow) = checksum_text.canonical_text(field), read_back(field)
    return {
        "rule": field.rule,
        "warehouse": field.type_postgres,
        "reads": mapping.expression(field),
        "image": checksum_text.stored_text(field),
        "canonical": list(canonical) if canonical else None,
        "shows": list(checksum_text.shown_text(field)),
        "gives back": [read, str(arrow)],
        "is": [name for name, ask in ASKED.items() if ask(field)],
    }


def field_of(said: dict[str, Any]) -> Field:
    asked = {"c": said["asked"]} if "asked" in said else {}
    (field,) = fields(column("c", said["type"], charset=said.get("charset")), **asked)
    return field


@pytest.mark.parametrize("said", FACTS, ids=lambda said: " ".join(map(str, (said[k] for k in _GIVEN if k in said))))
def test_each_type_matches_the_table(said: dict[str, Any]) -> None:
    assert {**{name: said[name] for name in _GIVEN if name in said}, **facts(field_of(said))} == said
