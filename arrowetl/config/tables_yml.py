"""
tables.yml and arrowetl.yml → what holds of each table and for all of them, or every problem at once.

Decides nothing about tables (`table_plan` does). `analyze_tables` writes tables.yml, and a person arrowetl.yml, whose
choices hold over it. What a key may hold is in `keys`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from arrowetl.config import arrowetl_yml, keys, legacy
from arrowetl.config.arrowetl_yml import NO_CHOICES, NOTHING, Choices
from arrowetl.config.table_names import chosen_names
from arrowetl.config.yaml_file import load_yaml, located
from arrowetl.errors import ArrowetlError, ConfigurationError, Interrupted, ValidationError, join_problems
from arrowetl.model.connection import DEFAULT_CHOICES, RunSettings, TableSettings
from arrowetl.model.plan import Table

WRITE_IT = "write it with: arrowetl analyze"


@dataclass(frozen=True)
class TablesFile:
    """tables.yml, checked, with what a person chooses in arrowetl.yml."""

    metadata: Mapping[str, Any]
    tables: Mapping[str, TableSettings]
    choices: RunSettings = DEFAULT_CHOICES
    known: Mapping[str, Mapping[str, Any]] | None = None
    """The schema of the last analysis, where `new_columns: quarantine` asks for it."""
    notes: tuple[str, ...] = ()
    """What a person should know of the file, although it can be read."""
    person: Choices = NO_CHOICES
    listed: frozenset[str] = frozenset()
    """The tables that tables.yml itself has."""

    def unmatched_choices(self, there: Iterable[str]) -> list[str]:
        """
        What arrowetl.yml says of tables that neither exist nor are known, in words.

        Raises:
            ValidationError: one of them is like the name of a table that there is, and a mask, or an exclusion, would
                be without effect; or nothing that is to be included is there.
        """
        found = self.person.unmatched({*there, *self.listed})
        included = [one for one in found if one.place == ("include",)]
        nothing = included if included and len(included) == len(self.person.include) else []
        if wrong := [one for one in found if one.meant or one in nothing]:
            problems = located(self.person.path, [one.problem for one in wrong])
            raise ValidationError(f"{self.person.path}: {join_problems(problems)}", "correct it, or take it out")
        return [f"{self.person.path}: {one.problem}" for one in found]

    def is_only_chosen(self, table: str) -> bool:
        """Whether a person alone has named it: it was never there, as `unmatched_choices` says."""
        return table in self.person.tables and table not in self.listed

    def of(self, table: str) -> TableSettings:
        """A table's settings; defaults for one the file does not know."""
        return self.tables.get(table) or _settled(_layers(table, {}, self.person, NOTHING))

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
    Read tables.yml, and arrowetl.yml next to it.

    Args:
        over: `settings`, and `tables` with choices, that are chosen besides.

    Raises:
        ConfigurationError: there is none, or one is no YAML.
        ValidationError: unknown keys or impossible values; all at once.
    """
    found, problem = examined_tables(path, over)
    if problem:
        raise problem
    return found


def examined_tables(path: Path, over: Mapping[str, Any] = NOTHING) -> tuple[TablesFile, ValidationError | None]:
    """
    What of both files can be used, and what is wrong with the rest, all at once.

    Raises:
        ConfigurationError: there is none, or one is no YAML.
    """
    document, notes = legacy.modernized(_loaded(path))
    kept, wrong = keys.sound(document)
    person, wrong_choices = arrowetl_yml.examined(path)
    tables = {
        name: _settled(_layers(name, kept["tables"].get(name, {}), person, over.get("tables", {})))
        for name in {**kept["tables"], **person.tables, **over.get("tables", {})}
    }
    said = {**(kept.get("settings") or {}), **person.settings, **(over.get("settings") or {})}
    choices, known = RunSettings(**said), None
    problems = located(path, wrong)
    if choices.new_columns == "quarantine":
        known = generated_facts(path) or None
        problems += [] if known else [unknown_columns(path)]
    found = TablesFile(
        metadata=kept.get("metadata") or {},
        tables=tables,
        choices=choices,
        known=known,
        notes=tuple(f"{path}: {note}" for note in notes),
        person=person,
        listed=frozenset(kept["tables"]),
    )
    each = [(path, problems), (person.path, wrong_choices)]
    words = [f"{place}: {join_problems(those)}" for place, those in each if those]
    return found, ValidationError("\n".join(words), "correct them") if words else None


def _loaded(path: Path) -> dict[str, Any]:
    """
    Raises:
        ConfigurationError: it cannot be read; what is wrong with arrowetl.yml is said as well.
    """
    try:
        return load_yaml(path, WRITE_IT)
    except ConfigurationError as error:
        person, problems = NO_CHOICES, list[str]()
        with suppress(ConfigurationError):
            person, problems = arrowetl_yml.examined(path)
        if not problems:
            raise
        words = f"{error.message}\n{person.path}: {join_problems(problems)}"
        raise ConfigurationError(words, error.remedy) from error


Layer = tuple[str, Mapping[str, Any]]
"""Where choices are from, and they themselves."""


def _layers(name: str, entry: Mapping[str, Any], person: Choices, over: Mapping[str, Any]) -> list[Layer]:
    """What is said of a table, the last of which holds."""
    return [
        ("tables.yml", {key: value for key, value in entry.items() if key != "overrides"}),
        (f"{person.path.name}: defaults", person.defaults),
        (f"{person.path.name}: include, exclude", {"exclude": True} if person.leaves_out(name) else {}),
        ("tables.yml: overrides", entry.get("overrides") or {}),
        (f"{person.path.name}: tables", person.tables.get(name, {})),
        ("fleet.yml", over.get(name, {})),
    ]


def layered(layers: Iterable[Layer]) -> dict[str, Any]:
    """
    >>> layered([("a", {"workers": 1, "columns": {"x": {"type": "text"}}}), ("b", {"columns": {"y": {}}})])
    {'workers': 1, 'columns': {'x': {'type': 'text'}, 'y': {}}}
    """
    found: dict[str, Any] = {}
    for _, values in layers:
        for key, value in values.items():
            inner = key in ("columns", "monitoring") and isinstance(found.get(key), dict)
            found[key] = {**found[key], **value} if inner else value
    return found


def _settled(layers: Sequence[Layer]) -> TableSettings:
    """What holds of a table; under `overrides` what of it a person chose."""
    return TableSettings({**layered(layers), "overrides": layered(layers[1:])})


def explained(path: Path, table: str, over: Mapping[str, Any] = NOTHING) -> dict[str, tuple[Any, str]]:
    """
    Key → a table's value, and where it is from; of `columns` and `monitoring` each key below them.

    Raises:
        ConfigurationError: the files cannot be read, or something is wrong in them.
        UsageError: neither has the table.
    """
    known = read_tables(path, over).tables
    chosen_names((table,), known, f"{path} lists the tables", "table")
    kept, _ = keys.sound(legacy.modernized(load_yaml(path, WRITE_IT))[0])
    layers = _layers(table, kept["tables"].get(table, {}), arrowetl_yml.read(path), over.get("tables", {}))
    found = dict[str, tuple[Any, str]]()
    for origin, values in layers:
        for key, value in values.items():
            below = value if key in ("columns", "monitoring") and isinstance(value, dict) else None
            found |= (
                {f"{key}.{name}": (one, origin) for name, one in below.items()} if below else {key: (value, origin)}
            )
    return found


def settings_of(kept: Mapping[str, Any], person: Choices) -> dict[str, TableSettings]:
    """Table → its settings, of what is sound in tables.yml, and of arrowetl.yml."""
    names = {**kept["tables"], **person.tables}
    return {name: _settled(_layers(name, kept["tables"].get(name, {}), person, NOTHING)) for name in names}


def run_wide(path: Path) -> dict[str, tuple[Any, str]]:
    """
    Name → what holds for all tables, and where it is from.

    Raises:
        ConfigurationError: the files are there and cannot be read.
    """
    found = examined_tables(path)[0] if path.exists() else TablesFile({}, {}, person=arrowetl_yml.read(path))
    values = {one.name: getattr(found.choices, one.name) for one in fields(RunSettings)}

    def origin(name: str) -> str:
        if name in found.person.settings:
            return str(found.person.path)
        return "default" if values[name] == getattr(DEFAULT_CHOICES, name) else str(path)

    return {name: (value, origin(name)) for name, value in values.items()}


def problems_of(path: Path) -> list[str]:
    """What is wrong with tables.yml and arrowetl.yml, in words; empty is good."""
    try:
        read_tables(path)
    except ConfigurationError as error:
        return [str(error)]
    return []


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
            "run again when they have ended; settings.business_hours of arrowetl.yml sets them",
        )


def is_within(hours: str | None, timestamp: datetime) -> bool:
    """
    Whether a time is within some hours of the day, which may pass midnight.

    >>> is_within("22:00-02:00", datetime(2026, 1, 2, 1, 0)), is_within("07:00-18:00", datetime(2026, 1, 2, 18, 0))
    (True, False)
    """
    if not hours or not (span := keys.hours(hours)):
        return False
    begin, end = span
    now = timestamp.time()
    return begin <= now < end if begin <= end else now >= begin or now < end
