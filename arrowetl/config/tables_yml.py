"""
tables.yml → what is chosen of each table and for all of them, or every problem at once.

Reads one file, and decides nothing about tables (`table_plan` does). What a key may
hold is one table, `KEYS`; `analyze_tables` writes the file this module reads, and
`tables_yml_edit` a line of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from arrowetl.config import legacy, tables_yml_keys
from arrowetl.config.yaml_file import load_yaml
from arrowetl.errors import ArrowetlError, ConfigurationError, Interrupted, ValidationError, join_problems
from arrowetl.model.connection import DEFAULT_CHOICES, RunSettings, TableSettings
from arrowetl.model.plan import Table

NOTHING: Mapping[str, Any] = {}
WRITE_IT = "write it with: arrowetl analyze"


@dataclass(frozen=True)
class TablesFile:
    """tables.yml, checked."""

    metadata: Mapping[str, Any]
    tables: Mapping[str, TableSettings]
    choices: RunSettings = DEFAULT_CHOICES
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
        """The columns that appeared after the last analysis, or are listed as such, without a decision of a person."""
        return self._waiting(table.name, [column.name for column in table.columns])

    def _waiting(self, table: str, names: Sequence[str]) -> tuple[str, ...]:
        if self.known is None:
            return ()
        settings, known = self.of(table), self.known.get(table, {}).get("columns", {})
        listed = {*settings.get("quarantined_columns", ())}
        return tuple(
            name for name in names if (name in listed or name not in known) and name not in settings.get("columns", {})
        )

    def analyzed_of(self, database: str) -> set[str]:
        """The tables that an analysis of this database has seen; a file may be of many, or be written by hand."""
        if self.metadata.get("source_database") != database:
            return set()
        return {name for name, one in self.tables.items() if one.get("estimated_rows") is not None}

    def analyzed_since(self, timestamp: datetime | None) -> bool:
        """Whether an analysis wrote the file after some time."""
        said = self.metadata.get("generated_at")
        try:
            written = said if isinstance(said, datetime) else datetime.fromisoformat(str(said))
        except ValueError:
            return False
        written = written.replace(tzinfo=written.tzinfo or UTC)
        return timestamp is None or written > timestamp.replace(tzinfo=timestamp.tzinfo or UTC)

    def hashed(self) -> tuple[str, ...]:
        """The columns that are to be masked by a key, with their tables."""
        chosen = ((name, settings) for name, settings in self.tables.items() if not settings.excluded)
        return tuple(
            f"{name}.{column}"
            for name, settings in chosen
            for column, mask in settings.masks().items()
            if mask == "hash" and column not in settings.excluded_columns()
        )


def read_tables(path: Path, over: Mapping[str, Any] = NOTHING) -> TablesFile:
    """
    Read tables.yml.

    Args:
        over: `settings`, and `tables` with their overrides, that are chosen besides.

    Raises:
        ConfigurationError: there is none, or it is no YAML.
        ValidationError: unknown keys or impossible values; all at once.
    """
    found, problem = examined_tables(path, over)
    if problem:
        raise problem
    return found


def examined_tables(path: Path, over: Mapping[str, Any] = NOTHING) -> tuple[TablesFile, ValidationError | None]:
    """
    What of tables.yml can be used, and what is wrong with the rest, all at once.

    Raises:
        ConfigurationError: there is none, or it is no YAML.
    """
    document, notes = legacy.modernized(with_choices(load_yaml(path, WRITE_IT), over))
    kept, problems = tables_yml_keys.sound(document)
    tables = settings_of(kept)
    choices, known = RunSettings(**(kept.get("settings") or {})), None
    if choices.new_columns == "quarantine":
        known = generated_facts(path) or None
        problems += [] if known else [unknown_columns(path)]
    named = tuple(f"{path}: {note}" for note in notes)
    found = TablesFile(metadata=kept.get("metadata") or {}, tables=tables, choices=choices, known=known, notes=named)
    remedy = "correct them; an `overrides:` that is wrong stays so until you do"
    return found, ValidationError(f"{path}: {join_problems(problems)}", remedy) if problems else None


def with_choices(document: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """
    A tables.yml with more settings, and more overrides of its tables.

    >>> there = {"tables": {"a": {"overrides": {"workers": 1, "batch_size": 5}}}}
    >>> with_choices(there, {"settings": {"reconcile_days": 1}, "tables": {"a": {"workers": 2}}})
    {'tables': {'a': {'overrides': {'workers': 2, 'batch_size': 5}}}, 'settings': {'reconcile_days': 1}}
    """
    found = dict(document)
    if over.get("settings"):
        found["settings"] = {**(found.get("settings") or {}), **over["settings"]}
    for name, chosen in over.get("tables", {}).items():
        tables = found.get("tables") or {}
        entry = tables.get(name) or {}
        overrides = {**(entry.get("overrides") or {}), **chosen}
        found["tables"] = {**tables, name: {**entry, "overrides": overrides}}
    return found


def settings_of(kept: Mapping[str, Any]) -> dict[str, TableSettings]:
    """Table → its settings, of what is sound."""
    return {name: TableSettings(_chosen(entry)) for name, entry in kept["tables"].items()}


def run_wide(path: Path) -> dict[str, tuple[Any, Any]]:
    """Name → what tables.yml chooses for all tables, and the default; the defaults where it cannot be read."""
    try:
        choices = examined_tables(path)[0].choices
    except ConfigurationError:
        choices = DEFAULT_CHOICES
    return {f.name: (getattr(choices, f.name), getattr(DEFAULT_CHOICES, f.name)) for f in fields(RunSettings)}


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
"""Of the file next to tables.yml that has the schema of the last analysis."""


def generated_facts(path: Path) -> dict[str, Mapping[str, Any]]:
    """The schema as the last analysis had it, of the tables.yml at `path`; nothing where that is not known."""
    try:
        said = json.loads(path.with_suffix(SCHEMA_SUFFIX).read_text(encoding="utf-8"))
        return {name: one for name, one in said.items() if isinstance(one["columns"], dict)}
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return {}


def unknown_columns(path: Path) -> str:
    """What is wrong where it is not known which columns are new."""
    name = path.with_suffix(SCHEMA_SUFFIX).name
    return (
        f"settings.new_columns: quarantine needs {name} next to it, which lists the known columns; it is missing, or "
        "broken: restore it (from git, or a backup). Where everything the source has now may be loaded, take "
        "`new_columns` out, run `arrowetl analyze`, and put it in again"
    )


def refuse_business_hours(choices: RunSettings, what: str, error: type[ArrowetlError] = Interrupted) -> None:
    """
    Raises:
        Interrupted, or another error: these are business hours, and `what` is not to begin.
    """
    hours, zone = choices.business_hours, choices.time_zone
    if is_within(hours, datetime.now(ZoneInfo(zone) if zone else None)):
        raise error(
            f"{what}: not begun, these being business hours ({hours}{f' in {zone}' if zone else ''})",
            "run again when they have ended; settings.business_hours of tables.yml sets them",
        )


def is_within(hours: str | None, timestamp: datetime) -> bool:
    """
    Whether a time is within some hours of the day, which may pass midnight.

    >>> is_within("22:00-02:00", datetime(2026, 1, 2, 1, 0)), is_within("07:00-18:00", datetime(2026, 1, 2, 18, 0))
    (True, False)
    """
    if not hours or not (span := tables_yml_keys.hours(hours)):
        return False
    begin, end = span
    now = timestamp.time()
    return begin <= now < end if begin <= end else now >= begin or now < end
