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
from arrowetl.config import tables_yml_keys
from arrowetl.config.yaml_file import load_yaml
from arrowetl.errors import ValidationError, did_you_mean, join_problems
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


_NAME = (_is_name, "a name of letters, digits and _")
_PATTERN = (_is_pattern, "a name with {clinic} in it, such as raw_{clinic}")
_MAPPING = (lambda value: isinstance(value, dict), "a mapping")
_TEXT = (lambda value: isinstance(value, str) and value != "", "a text")

SETTINGS: dict[str, tables_yml_keys.Check] = {
    "replica": _PATTERN,
    "schema": _PATTERN,
    "max_workers": (lambda v: isinstance(v, int) and 1 <= v <= limits.workers_max, f"1 to {limits.workers_max}"),
    "executor": tables_yml_keys.SETTINGS["executor"],
    "unite": _NAME,
}
CLINIC: dict[str, tables_yml_keys.Check] = {
    "env_file": _TEXT,
    "prefix": (lambda v: _is_name(v) and v == v.upper(), "what names of variables begin with, such as NORTH_"),
    "time_zone": tables_yml_keys.SETTINGS["time_zone"],
    "hours": tables_yml_keys.SETTINGS["business_hours"],
    "replica": _NAME,
    "schema": _NAME,
    "settings": _MAPPING,
    "tables": _MAPPING,
}
MISSING = "write it: `clinics:` with the name of each and its `env_file` or `prefix`"


def read_fleet(path: Path) -> Fleet:
    """
    Read fleet.yml.

    Raises:
        ConfigurationError: there is none, or it is no YAML.
        ValidationError: unknown keys or impossible values; all at once.
    """
    document = load_yaml(path, MISSING)
    problems = _wrong(document, {"settings": _MAPPING, "clinics": _MAPPING}, "")
    settings = document.get("settings") or {}
    there = document.get("clinics") or {}
    if not problems:
        problems += _wrong(settings, SETTINGS, "settings.")
        problems += [] if there else ["clinics: there must be one at least"]
        for name, entry in there.items():
            problems += _wrong_clinic(name, entry)
    if problems:
        raise ValidationError(f"{path}: {join_problems(problems)}", "correct them")
    clinics = tuple(_clinic(name, entry or {}, settings, path) for name, entry in there.items())
    problems = _twice(clinics)
    problems += [
        f"clinics.{one.name}.{what}: {words}"
        for one in clinics
        for what, server in (("schema", "warehouse"), ("replica", "replica"))
        if (words := reserved_name(server, getattr(one, what)))
    ]
    if words := reserved_name("warehouse", str(settings.get("unite", ""))):
        problems.append(f"settings.unite: {words}")
    problems += [
        f"settings.unite: {one.schema} is {one.name}'s schema"
        for one in clinics
        if one.schema.casefold() == str(settings.get("unite", "")).casefold()
    ]
    if problems:
        raise ValidationError(f"{path}: {join_problems(problems)}", "give each clinic a place of its own")
    return Fleet(
        clinics, settings.get("max_workers", limits.workers_default), settings.get("executor"), settings.get("unite")
    )


def _wrong(found: Mapping[str, Any], known: Mapping[str, tables_yml_keys.Check], place: str) -> list[str]:
    problems = []
    for key, value in found.items():
        if key not in known:
            problems.append(f"{place}{key}: unknown{did_you_mean(str(key), known)}")
        elif not known[key][0](value):
            problems.append(f"{place}{key}: must be {known[key][1]}, got {value!r}")
    return problems


def _wrong_clinic(name: Any, entry: Any) -> list[str]:
    if not _is_name(name) or len(name) > _NAME_CHARACTERS:
        return [f"clinics.{name}: must be {_NAME[1]}, of {_NAME_CHARACTERS} characters at the most"]
    if entry is not None and not isinstance(entry, dict):
        return [f"clinics.{name}: must be {_MAPPING[1]}"]
    entry = entry or {}
    problems = _wrong(entry, CLINIC, f"clinics.{name}.")
    if not entry.get("env_file") and not entry.get("prefix"):
        problems.append(f"clinics.{name}: needs an env_file, or a prefix: how else are its servers found?")
    if not problems:
        tables = {table: {"overrides": chosen} for table, chosen in (entry.get("tables") or {}).items()}
        found = tables_yml_keys.check_tables({"settings": entry.get("settings") or {}, "tables": tables})
        problems += [f"clinics.{name}: {problem}" for problem in found]
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
        chosen={"settings": chosen, "tables": entry.get("tables") or {}},
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
