"""
conf/fleet.yml → the clinics of a group, or every problem at once.

Reads one file, and reaches no server. What each key may hold is one table per
kind; a clinic's servers are read of its environment by `env`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arrowetl import limits
from arrowetl.config import keys
from arrowetl.config.keys import Check, Problem
from arrowetl.config.yaml_file import load_yaml, located
from arrowetl.errors import ValidationError, join_problems
from arrowetl.model.connection import reserved_name


@dataclass(frozen=True)
class Clinic:
    """One practice, its servers, and what is chosen for it besides tables.yml."""

    name: str
    env_file: Path | None
    prefix: str
    replica: str
    """Its database at the replica."""
    schema: str
    """Its schema in the warehouse."""
    chosen: Mapping[str, Any] = field(default_factory=dict)
    """`settings` and `tables`, as tables.yml has them."""


@dataclass(frozen=True)
class Fleet:
    """All of them."""

    clinics: tuple[Clinic, ...]
    max_workers: int = limits.workers_default
    executor: str | None = None
    unite: str | None = None
    """The schema of the union views of all clinics; None where there are none."""


def _is_pattern(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\w*\{clinic\}\w*", value, re.ASCII) is not None


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z_]\w{0,62}", value, re.ASCII) is not None


_NAME = Check(
    _is_name, "a name of letters, digits and _", {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,62}$"}
)
_PATTERN = Check(
    _is_pattern, "a name with {clinic} in it, such as raw_{clinic}",
    {"type": "string", "pattern": "^[A-Za-z0-9_]*\\{clinic\\}[A-Za-z0-9_]*$"},
)  # fmt: skip
_TEXT = Check(lambda value: isinstance(value, str) and value != "", "a text", {"type": "string", "minLength": 1})
_PREFIX = Check(
    lambda v: _is_name(v) and v == v.upper(), "what names of variables begin with, such as NORTH_",
    {"type": "string", "pattern": "^[A-Z_][A-Z0-9_]*$"},
)  # fmt: skip

SETTINGS: dict[str, Check] = {
    "replica": _PATTERN,
    "schema": _PATTERN,
    "max_workers": keys.integer(1, limits.workers_max),
    "executor": keys.SETTINGS["executor"],
    "unite": _NAME,
}
CLINIC: dict[str, Check] = {
    "env_file": _TEXT,
    "prefix": _PREFIX,
    "time_zone": keys.SETTINGS["time_zone"],
    "hours": keys.SETTINGS["business_hours"],
    "replica": _NAME,
    "schema": _NAME,
    "settings": keys.MAPPING,
    "tables": keys.MAPPING,
}
FLEET_YML: dict[str, Check] = {"settings": keys.MAPPING_OR_NULL, "clinics": keys.MAPPING_OR_NULL}
MISSING = "write it: `clinics:` with the name of each and its `env_file` or `prefix`"


def read_fleet(path: Path) -> Fleet:
    """
    Read fleet.yml.

    Raises:
        ConfigurationError: there is none, or it is no YAML.
        ValidationError: unknown keys or impossible values; all at once.
    """
    document = load_yaml(path, MISSING)
    problems = keys.wrong(document, FLEET_YML, ())
    settings = document.get("settings") or {}
    there = document.get("clinics") or {}
    if not problems:
        problems += keys.wrong(settings, SETTINGS, ("settings",))
        problems += [] if there else [Problem(("clinics",), "there must be one at least")]
        for name, entry in there.items():
            problems += _wrong_clinic(name, entry)
    if problems:
        raise ValidationError(f"{path}: {join_problems(located(path, problems))}", "correct them")
    clinics = tuple(_clinic(name, entry or {}, settings, path) for name, entry in there.items())
    shared = _twice(clinics)
    shared += [
        f"clinics.{one.name}.{what}: {words}"
        for one in clinics
        for what, server in (("schema", "warehouse"), ("replica", "replica"))
        if (words := reserved_name(server, getattr(one, what)))
    ]
    if words := reserved_name("warehouse", str(settings.get("unite", ""))):
        shared.append(f"settings.unite: {words}")
    shared += [
        f"settings.unite: {one.schema} is {one.name}'s schema"
        for one in clinics
        if one.schema.casefold() == str(settings.get("unite", "")).casefold()
    ]
    if shared:
        raise ValidationError(f"{path}: {join_problems(shared)}", "give each clinic a place of its own")
    return Fleet(
        clinics, settings.get("max_workers", limits.workers_default), settings.get("executor"), settings.get("unite")
    )


def _wrong_clinic(name: Any, entry: Any) -> list[Problem]:
    place = ("clinics", name)
    if not _is_name(name) or len(name) > _NAME_CHARACTERS:
        return [Problem(place, f"must be {_NAME.words}, of {_NAME_CHARACTERS} characters at the most")]
    if entry is not None and not isinstance(entry, dict):
        return [Problem(place, f"must be {keys.MAPPING.words}")]
    entry = entry or {}
    problems = keys.wrong(entry, CLINIC, place)
    if not entry.get("env_file") and not entry.get("prefix"):
        problems.append(Problem(place, "needs an env_file, or a prefix: how else are its servers found?"))
    if not problems:
        chosen = {"settings": entry.get("settings") or {}, "tables": entry.get("tables") or {}}
        problems += [Problem((*place, *one.place), one.words) for one in keys.sound_choices(chosen)[1]]
    return problems


_NAME_CHARACTERS = 40


def _clinic(name: str, entry: Mapping[str, Any], settings: Mapping[str, Any], path: Path) -> Clinic:
    def placed(key: str, pattern: str) -> str:
        return str(entry.get(key) or settings.get(key, pattern).replace("{clinic}", name))

    chosen = dict(entry.get("settings") or {})
    for key, setting in (("hours", "business_hours"), ("time_zone", "time_zone")):
        if key in entry:
            chosen[setting] = entry[key]
    env_file = path.parent / entry["env_file"] if "env_file" in entry else None
    return Clinic(
        name=name,
        env_file=env_file,
        prefix=entry.get("prefix", ""),
        replica=placed("replica", "replica_{clinic}"),
        schema=placed("schema", "raw_{clinic}"),
        chosen={"settings": chosen, "tables": keys.sound_choices({"tables": entry.get("tables") or {}})[0]["tables"]},
    )


def _twice(clinics: tuple[Clinic, ...]) -> list[str]:
    """Schemas and databases that two clinics would share; those of other servers could, and need not."""
    problems = []
    places: dict[str, Callable[[Clinic], str]] = {"schema": lambda one: one.schema, "replica": lambda one: one.replica}
    for what, place in places.items():
        seen: dict[str, str] = {}
        for clinic in clinics:
            # A server may take names that differ in case for one.
            other = seen.setdefault(place(clinic).casefold(), clinic.name)
            if other != clinic.name:
                problems.append(f"clinics.{clinic.name}: its {what} {place(clinic)} is {other}'s")
    return problems


def schema() -> dict[str, Any]:
    """A JSON Schema of fleet.yml, for editors."""
    inner = keys.arrowetl_schema()["properties"]
    clinic = keys.schema_of(CLINIC, {"settings": inner["settings"], "tables": inner["tables"]})
    clinics = {"type": ["object", "null"], "additionalProperties": clinic}
    return keys.schema_of(FLEET_YML, {"settings": keys.schema_of(SETTINGS), "clinics": clinics})
