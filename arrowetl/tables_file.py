"""
tables.yml → what is chosen of each table and for all of them, or every problem at once.

Reads one file, and decides nothing about tables (`plan` does). What a key may
hold is one table, `KEYS`; `analyze` writes the file this module reads, and
`overrides` a line of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from typing import Any

import yaml

from arrowetl import limits, predecessor
from arrowetl.errors import ConfigurationError, ValidationError, counted, nearest
from arrowetl.mask import MASKS
from arrowetl.model import CATEGORIES, PRIORITIES, STRATEGIES, Table, TableSettings
from arrowetl.route import COMPARISONS, DEFAULT_CHOICES, NEW_COLUMNS, Choices


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


def _one_of(*words: str) -> tuple[Callable[[Any], bool], str]:
    return lambda value: value in words, f"one of {', '.join(words)}"


def _integer(lower: int, upper: int) -> tuple[Callable[[Any], bool], str]:
    return (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and lower <= value <= upper,
        f"a whole number from {lower} to {upper}",
    )


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


_NUMBER = (
    lambda v: isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v < float("inf"),
    "a number from 0",
)
_TEXT = (lambda v: isinstance(v, str), "a text")
_TEXT_OR_NULL = (lambda v: v is None or isinstance(v, str), "a name or null")
_TRUTH = (lambda v: isinstance(v, bool), "true or false")
_NAMES = (_is_text_list, "a list of names")
_KEY = (lambda v: v is None or isinstance(v, str) or _is_text_list(v), "a name, a list of names, or null")
_MAPPING_OR_NULL = (lambda v: v is None or isinstance(v, dict), "a mapping")
_MAPPING = (lambda v: isinstance(v, dict), "a mapping")

Check = tuple[Callable[[Any], bool], str]

# What each key of a table may hold. What a person may set stands under `overrides:` as well.
KEYS: dict[str, Check] = {
    "table_name": _TEXT,
    "extraction_strategy": _one_of(*STRATEGIES),
    "strategy_reason": _TEXT,
    "incremental_columns": _NAMES,
    "primary_incremental_column": _TEXT_OR_NULL,
    "batch_size": _integer(1, 10_000_000),
    "performance_category": _one_of(*CATEGORIES),
    "processing_priority": _one_of(*PRIORITIES),
    "time_gap_threshold_days": _integer(0, 36_500),
    "estimated_rows": _NUMBER,
    "estimated_size_mb": _NUMBER,
    "estimated_processing_time_minutes": _NUMBER,
    "memory_requirements_mb": _NUMBER,
    "monitoring": _MAPPING,
    "primary_key": _KEY,
    "quarantined_columns": _NAMES,
}
OVERRIDES: dict[str, Check] = {
    **KEYS,
    "exclude": _TRUTH,
    "partition_bytes": _integer(65_536, 2_000_000_000),
    "workers": _integer(1, limits.workers_max),
    "columns": _MAPPING,
    "views": _one_of("refuse", "rebuild"),
}
MONITORING: dict[str, Check] = {
    "alert_on_failure": _TRUTH,
    "alert_on_slow_extraction": _TRUTH,
    "performance_threshold_records_per_second": _NUMBER,
}
COLUMN_OVERRIDES: dict[str, Check] = {
    "type": _TEXT,
    "exclude": _TRUTH,
    "mask": _one_of(*MASKS),
}
METADATA: dict[str, Check] = {
    "generated_at": (lambda v: v is not None, "a time"),
    "analyzer_version": _TEXT,
    "environment": _TEXT,
    "source_database": _TEXT,
    "total_tables": _integer(0, 10**9),
    "schema_hash": _TEXT,
}
SETTINGS: dict[str, Check] = {
    "reconcile_days": _integer(0, 36_500),
    "reconcile_by": _one_of(*COMPARISONS),
    "statement_seconds": _integer(0, 86_400),
    "source_connections": _integer(1, limits.workers_max),
    "pause_milliseconds": _integer(0, 60_000),
    "new_columns": _one_of(*NEW_COLUMNS),
    "business_hours": (lambda v: isinstance(v, str) and _hours(v) is not None, "hours like 07:00-18:00"),
}
DOCUMENT: dict[str, Check] = {"metadata": _MAPPING, "settings": _MAPPING_OR_NULL, "tables": _MAPPING}


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
        settings, waiting = self.of(table.name), self.quarantined(table)
        if len(waiting) == len(table.columns):
            return TableSettings({**settings.values, "exclude": True}) if waiting else settings
        columns = {**settings.get("columns", {}), **{name: {"exclude": True} for name in waiting}}
        return TableSettings({**settings.values, "columns": columns}) if waiting else settings

    def quarantined(self, table: Table) -> tuple[str, ...]:
        """The columns that appeared after the last analysis, or are listed as such, and nobody has decided about."""
        if self.known is None:
            return ()
        settings, known = self.of(table.name), self.known.get(table.name, {}).get("columns", {})
        listed = {*settings.get("quarantined_columns", ())}
        return tuple(
            column.name for column in table.columns
            if (column.name in listed or column.name not in known) and column.name not in settings.get("columns", {})
        )  # fmt: skip

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
    kept, problems = sound(document)
    tables = {name: TableSettings(_chosen(entry)) for name, entry in kept["tables"].items()}
    choices = Choices(**(kept.get("settings") or {}))
    known = _known(path) if choices.new_columns == "quarantine" else None
    told = tuple(f"{path}: {note}" for note in notes)
    found = TablesFile(kept.get("metadata") or {}, tables, choices, known, told)
    remedy = "correct them; an `overrides:` that is wrong stays so until you do"
    return found, ValidationError(f"{path}: {counted(problems)}", remedy) if problems else None


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


def _known(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """
    Raises:
        ConfigurationError: nobody knows which columns are new.
    """
    if not (known := remembered(path)):
        raise ConfigurationError(
            f"{path}: `new_columns: quarantine` needs {path.with_suffix(SCHEMA_SUFFIX).name} beside it, by which new "
            "columns are known; it is not there, or broken",
            "bring it back, or write it anew with: arrowetl analyze",
        )
    return known


def load_yaml(path: Path) -> dict[str, Any]:
    """
    Raises:
        ConfigurationError: no such file, or no YAML mapping in it.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path}: no such file", "write it with: arrowetl analyze") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise ConfigurationError(
            f"{path}{place}: no YAML: {getattr(error, 'problem', error)}",
            "correct it; `arrowetl analyze` keeps what is in it, and must read it for that",
        ) from error
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


def check_tables(document: Mapping[str, Any]) -> list[str]:
    """Every problem of a tables.yml, in words; pure."""
    return sound(document)[1]


def sound(document: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What of a tables.yml can be gone by, and every problem of it, in words; pure."""
    problems: list[str] = []
    kept = _sound(document, DOCUMENT, "", problems)
    for part, keys in (("metadata", METADATA), ("settings", SETTINGS)):
        if kept.get(part):
            kept[part] = _sound(kept[part], keys, f"{part}.", problems)
    tables = kept.get("tables") or {}
    kept["tables"] = {name: _sound_table(f"tables.{name}", name, entry, problems) for name, entry in tables.items()}
    return kept, problems


def _sound_table(where: str, name: Any, entry: Any, problems: list[str]) -> dict[str, Any]:
    if not isinstance(name, str):
        problems.append(f"{where}: the name must be a text; put it in quotes")
    if not isinstance(entry, dict):
        problems.append(f"{where}: must be a mapping, got {_shown(entry)}")
        return {"overrides": {}}
    overrides = {} if entry.get("overrides") is None else entry["overrides"]
    kept = _sound({k: v for k, v in entry.items() if k != "overrides"}, KEYS, f"{where}.", problems, "overrides")
    if isinstance(overrides, dict):
        chosen = _sound(overrides, OVERRIDES, f"{where}.overrides.", problems)
    else:
        problems.append(f"{where}.overrides: must be a mapping, got {_shown(overrides)}")
        chosen = {}
    for of, place in ((kept, where), (chosen, f"{where}.overrides")):
        if "monitoring" in of:
            of["monitoring"] = _sound(of["monitoring"], MONITORING, f"{place}.monitoring.", problems)
    if "columns" in chosen:
        chosen["columns"] = _sound_columns(f"{where}.overrides.columns", chosen["columns"], problems)
    return {**kept, "overrides": chosen}


def _sound_columns(where: str, columns: Mapping[Any, Any], problems: list[str]) -> dict[str, Any]:
    kept = {}
    for column, choice in columns.items():
        if not isinstance(column, str):
            problems.append(f"{where}.{column}: the name must be a text; put it in quotes")
        elif not isinstance(choice, dict):
            problems.append(f"{where}.{column}: must be a mapping, got {_shown(choice)}")
        else:
            kept[column] = _sound(choice, COLUMN_OVERRIDES, f"{where}.{column}.", problems)
    return kept


def _sound(
    values: Mapping[str, Any], keys: Mapping[str, Check], where: str, problems: list[str], *more: str
) -> dict[str, Any]:
    """Those of the values that may be; of the others, what is wrong."""
    kept = {}
    for key, value in values.items():
        if key not in keys:
            hint = nearest(str(key), [*keys, *more])
            problems.append(f"{where}{key}: unknown key" + (f" (did you mean {hint[0]}?)" if hint else ""))
            continue
        fits, words = keys[key]
        if fits(value):
            kept[key] = value
        else:
            problems.append(f"{where}{key}: must be {words}, got {_shown(value)}")
    return kept


def _shown(value: Any) -> str:
    """
    >>> _shown("half past seven"), _shown([1] * 100)
    ("'half past seven'", '[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, …')
    """
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


_SHOWN_CHARACTERS = 61


def _hours(text: str) -> tuple[time, time] | None:
    """
    >>> _hours("07:00-18:30")
    (datetime.time(7, 0), datetime.time(18, 30))
    """
    begin, _, end = text.partition("-")
    try:
        return time.fromisoformat(begin.strip()), time.fromisoformat(end.strip())
    except ValueError:
        return None


def is_within(hours: str | None, moment: datetime) -> bool:
    """
    Whether a moment lies in some hours of the day, which may pass midnight.

    >>> is_within("22:00-02:00", datetime(2026, 1, 2, 1, 0)), is_within("07:00-18:00", datetime(2026, 1, 2, 18, 0))
    (True, False)
    """
    if not hours or not (span := _hours(hours)):
        return False
    begin, end = span
    now = moment.time()
    return begin <= now < end if begin <= end else now >= begin or now < end
