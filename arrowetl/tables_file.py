"""
tables.yml → what is chosen of each table and for all of them, or every problem at once.

Reads one file, and decides nothing about tables (`plan` does). What a key may
hold is one table, `KEYS`; `analyze` writes the file this module reads, and
`overrides` a line of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from arrowetl import keys, limits, predecessor
from arrowetl.errors import ConfigurationError, ValidationError, counted
from arrowetl.model import Table, TableSettings
from arrowetl.route import DEFAULT_CHOICES, Choices


# The same safe loader, in C where PyYAML was built with it: ten times as fast over 446 tables.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A key that stands twice would silently have its last value: the first may have been what keeps a column here."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.MarkedYAMLError(None, None, f"{key.value!r} stands twice", key.start_mark)
                seen.add((key.tag, key.value))
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


@dataclass(frozen=True)
class TablesFile:
    """tables.yml, checked."""

    metadata: Mapping[str, Any]
    tables: Mapping[str, TableSettings]
    choices: Choices = DEFAULT_CHOICES
    known: Mapping[str, Mapping[str, Any]] | None = None
    """The schema of the last analysis, where `new_columns: quarantine` asks for it."""
    notes: tuple[str, ...] = ()
    """What a person should know of the file, although it can be read."""

    def of(self, table: str) -> TableSettings:
        """A table's settings; defaults for one the file does not know."""
        return self.tables.get(table, TableSettings())

    def of_table(self, table: Table) -> TableSettings:
        """The same, but for what is in quarantine, which is left out as if a person had said so."""
        return self.of_columns(table.name, [column.name for column in table.columns])

    def of_columns(self, table: str, names: Sequence[str]) -> TableSettings:
        """The same of a table of which only the columns' names are known."""
        settings, waiting = self.of(table), self._waiting(table, names)
        if len(waiting) == len(names):
            return TableSettings({**settings.values, "exclude": True}) if waiting else settings
        columns = {**settings.get("columns", {}), **{name: {"exclude": True} for name in waiting}}
        return TableSettings({**settings.values, "columns": columns}) if waiting else settings

    def quarantined(self, table: Table) -> tuple[str, ...]:
        """The columns that appeared after the last analysis, or are listed as such, and nobody has decided about."""
        return self._waiting(table.name, [column.name for column in table.columns])

    def _waiting(self, table: str, names: Sequence[str]) -> tuple[str, ...]:
        if self.known is None:
            return ()
        settings, known = self.of(table), self.known.get(table, {}).get("columns", {})
        listed = {*settings.get("quarantined_columns", ())}
        return tuple(
            name for name in names if (name in listed or name not in known) and name not in settings.get("columns", {})
        )

    def hashed(self) -> tuple[str, ...]:
        """The columns that are to be masked by a key, with their tables."""
        chosen = ((name, settings) for name, settings in self.tables.items() if not settings.excluded)
        return tuple(
            f"{name}.{column}" for name, settings in chosen for column, mask in settings.masks().items()
            if mask == "hash" and column not in settings.excluded_columns()
        )  # fmt: skip


def read_tables(path: Path) -> TablesFile:
    """
    Read tables.yml.

    Raises:
        ConfigurationError: there is none, or it is no YAML.
        ValidationError: unknown keys or impossible values; all at once.
    """
    found, problem = examined_tables(path)
    if problem:
        raise problem
    return found


def examined_tables(path: Path) -> tuple[TablesFile, ValidationError | None]:
    """
    What of tables.yml can be gone by, and what is wrong with the rest: for who wants to know of all that is wrong.

    Raises:
        ConfigurationError: there is none, or it is no YAML.
    """
    document, notes = predecessor.modernized(load_yaml(path))
    kept, problems = keys.sound(document)
    tables = settings_of(kept)
    choices, known = Choices(**(kept.get("settings") or {})), None
    if choices.new_columns == "quarantine":
        known = remembered(path) or None
        problems += [] if known else [unknown_columns(path)]
    told = tuple(f"{path}: {note}" for note in notes)
    found = TablesFile(kept.get("metadata") or {}, tables, choices, known, told)
    remedy = "correct them; an `overrides:` that is wrong stays so until you do"
    return found, ValidationError(f"{path}: {counted(problems)}", remedy) if problems else None


def settings_of(kept: Mapping[str, Any]) -> dict[str, TableSettings]:
    """Table → its settings, of what is sound."""
    return {name: TableSettings(_chosen(entry)) for name, entry in kept["tables"].items()}


def run_wide(path: Path) -> dict[str, tuple[Any, Any]]:
    """Name → what tables.yml chooses for all tables, and the default; the defaults where it cannot be read."""
    try:
        choices = examined_tables(path)[0].choices
    except ConfigurationError:
        choices = DEFAULT_CHOICES
    return {f.name: (getattr(choices, f.name), getattr(DEFAULT_CHOICES, f.name)) for f in fields(Choices)}


def problems_of(path: Path) -> list[str]:
    """What is wrong with a tables.yml, in words; empty is good."""
    try:
        read_tables(path)
    except ConfigurationError as error:
        return [str(error)]
    return []


def _chosen(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A table's entry, with a person's choices in the place of the others."""
    overrides = entry["overrides"]
    chosen = {**entry, **overrides}
    if "monitoring" in overrides:
        chosen["monitoring"] = {**entry.get("monitoring", {}), **overrides["monitoring"]}
    return chosen


SCHEMA_SUFFIX = ".schema.json"
"""Of the file beside tables.yml that has the schema of the last analysis."""


def remembered(path: Path) -> dict[str, Mapping[str, Any]]:
    """The schema as the last analysis had it, of the tables.yml at `path`; nothing where that is not known."""
    try:
        said = json.loads(path.with_suffix(SCHEMA_SUFFIX).read_text(encoding="utf-8"))
        return {name: one for name, one in said.items() if isinstance(one["columns"], dict)}
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return {}


def unknown_columns(path: Path) -> str:
    """What is wrong where nobody can tell which columns are new."""
    name = path.with_suffix(SCHEMA_SUFFIX).name
    return (
        f"settings.new_columns: quarantine needs {name} beside it, by which new columns are known; it is not there, or "
        "broken: bring it back (from git, or a backup). Where all that the source has now may be carried, take "
        "`new_columns` out, run `arrowetl analyze`, and put it in again"
    )


# What the library raises of values that are not what their tags say, and of nesting without end.
_NO_YAML = (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError)


def load_yaml(path: Path) -> dict[str, Any]:
    """
    The document of a file; nothing of one that has nothing in it but comments.

    Raises:
        ConfigurationError: no such file, or no YAML mapping in it.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path}: no such file", "write it with: arrowetl analyze") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from error
    except _NO_YAML as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise ConfigurationError(
            f"{path}{place}: no YAML: {getattr(error, 'problem', error)}",
            "correct it; `arrowetl analyze` keeps what is in it, and must read it for that",
        ) from error
    document = {} if document is None else document
    if _values(document, {}) > limits.yaml_values_max:
        raise ConfigurationError(
            f"{path}: its aliases (*name) stand for each other, or for more than "
            f"{limits.yaml_values_max:,} values", "write out what is meant",
        )  # fmt: skip
    if not isinstance(document, dict):
        raise ConfigurationError(
            f"{path}: must be a mapping with `metadata` and `tables`", "write it with: arrowetl analyze"
        )
    return document


def _values(value: Any, known: dict[int, float]) -> float:
    """How many values there are with every alias written out; infinitely many where one stands for itself."""
    if not isinstance(value, dict | list | set | tuple):
        return 1
    if id(value) not in known:
        known[id(value)] = float("inf")  # until it is known: what is met in itself has no end
        inner = [*value.values()] if isinstance(value, dict) else [*value]
        known[id(value)] = 1 + sum(_values(one, known) for one in inner)
    return known[id(value)]


def is_within(hours: str | None, moment: datetime) -> bool:
    """
    Whether a moment lies in some hours of the day, which may pass midnight.

    >>> is_within("22:00-02:00", datetime(2026, 1, 2, 1, 0)), is_within("07:00-18:00", datetime(2026, 1, 2, 18, 0))
    (True, False)
    """
    if not hours or not (span := keys.hours(hours)):
        return False
    begin, end = span
    now = moment.time()
    return begin <= now < end if begin <= end else now >= begin or now < end
