"""
What each key of tables.yml may hold, and what a document holds: the rest in words, all of it at once.

Pure. `KEYS` and its like are everything that the file may contain; `tables_yml`
reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import time
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from arrowetl import limits
from arrowetl.errors import did_you_mean
from arrowetl.model.connection import CATEGORIES, COMPARISONS, NEW_COLUMNS, PRIORITIES, STRATEGIES, is_executor
from arrowetl.types.masking import MASKS


def _one_of(*words: str) -> tuple[Callable[[Any], bool], str]:
    return lambda value: value in words, f"one of {', '.join(words)}"


def _integer(lower: int, upper: int) -> tuple[Callable[[Any], bool], str]:
    return (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and lower <= value <= upper,
        f"an integer from {lower} to {upper}",
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

# What each key of a table may hold. What a person may set goes under `overrides:` as well.
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
# What `analyze` finds is no choice.
for _found in ("strategy_reason", "quarantined_columns"):
    del OVERRIDES[_found]
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
    "replica_connections": _integer(4, limits.connections_max),
    "warehouse_connections": _integer(4, limits.connections_max),
    "pause_milliseconds": _integer(0, 60_000),
    "executor": (lambda v: isinstance(v, str) and is_executor(v), "thread, process or dask:tcp://host:8786"),
    "new_columns": _one_of(*NEW_COLUMNS),
    "time_zone": (lambda v: isinstance(v, str) and is_zone(v), "a time zone like America/Chicago"),
    "business_hours": (lambda v: isinstance(v, str) and hours(v) is not None, "hours like 07:00-18:00"),
}
DOCUMENT: dict[str, Check] = {"metadata": _MAPPING, "settings": _MAPPING_OR_NULL, "tables": _MAPPING}


def check_tables(document: Mapping[str, Any]) -> list[str]:
    """Every problem of a tables.yml, in words; pure."""
    return sound(document)[1]


def sound(document: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What of a tables.yml can be used, and every problem of it, in words; pure."""
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
            misplaced = key in OVERRIDES and "overrides" in more
            hint = ": it belongs under `overrides:`" if misplaced else did_you_mean(str(key), [*keys, *more])
            problems.append(f"{where}{key}: unknown key{hint}")
            continue
        fits, words = keys[key]
        if fits(value):
            kept[key] = value
        else:
            problems.append(f"{where}{key}: must be {words}, got {_shown(value)}")
    return kept


def _shown(value: Any) -> str:
    """
    >>> _shown("half past seven"), len(_shown([1] * 100)), _shown([1] * 100)[-4:]
    ("'half past seven'", 61, ' 1,…')
    """
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        return "a number without end"
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


_SHOWN_CHARACTERS = 61


def persons_part(document: Mapping[str, Any]) -> dict[str, Any]:
    """What of a tables.yml only a person writes, and what only seems to be theirs for want of `overrides:`."""
    own = {"overrides", "quarantined_columns", *OVERRIDES.keys() - KEYS.keys()}
    part: dict[str, Any] = {key: document[key] for key in ("settings", "tables") if key in document}
    if isinstance(part.get("tables"), dict):
        part["tables"] = {
            name: {key: value for key, value in entry.items() if key in own} if isinstance(entry, dict) else entry
            for name, entry in part["tables"].items()
        }
    return part


def is_zone(name: str) -> bool:
    """
    >>> is_zone("Europe/Berlin"), is_zone("Mars/Olympus"), is_zone("/etc/passwd")
    (True, False, False)
    """
    try:
        return bool(name) and ZoneInfo(name) is not None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


def hours(text: str) -> tuple[time, time] | None:
    """
    >>> hours("07:00-18:30")
    (datetime.time(7, 0), datetime.time(18, 30))
    """
    begin, _, end = text.partition("-")
    try:
        span = time.fromisoformat(begin.strip()), time.fromisoformat(end.strip())
    except ValueError:
        return None
    # They are this machine's, and of no other zone.
    return None if any(one.tzinfo for one in span) else span
