"""
The JSON Schemas of arrowetl.yml, tables.yml and fleet.yml, by which editors complete and check them.

Made of the tables of keys, and written next to the files, whose first lines name them. `config schema` prints them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from arrowetl.config import fleet_yml, keys
from arrowetl.config.files import write_atomically

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
FILES = {
    "arrowetl": ("what a person chooses", keys.arrowetl_schema),
    "tables": ("what `arrowetl analyze` found of each table", keys.tables_schema),
    "fleet": ("the clinics of a group", fleet_yml.schema),
}


def schema(name: str) -> dict[str, Any]:
    """One of them, by the name of its file."""
    words, made = FILES[name]
    return {"$schema": _DRAFT, "title": f"{name}.yml of arrowetl: {words}", **made()}


def text(name: str) -> str:
    return json.dumps(schema(name), indent=1) + "\n"


def write_next_to(path: Path) -> None:
    """
    Write those that are not there as they are to be, into `schemas/` next to a file.

    Raises:
        OSError: one cannot be written.
    """
    for name in FILES:
        place = path.with_name("schemas") / f"{name}.json"
        if not place.exists() or place.read_text(encoding="utf-8") != text(name):
            write_atomically(place, text(name))
