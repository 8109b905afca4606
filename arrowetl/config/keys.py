"""
What each key of arrowetl.yml, tables.yml and fleet.yml may hold; what a document holds that may not be, all at once.

Pure. The tables of checks are everything that the files may contain: what is read (`tables_yml`, `arrowetl_yml`,
`fleet_yml`), and the JSON Schemas by which editors complete and check (`schema_of`), come from them alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import time
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from arrowetl import limits
from arrowetl.errors import did_you_mean
from arrowetl.model.connection import CATEGORIES, COMPARISONS, MASKS, NEW_COLUMNS, PRIORITIES, STRATEGIES, is_executor

Place = tuple[Any, ...]
"""The keys that lead to a value: `("tables", "patient", "workers")`."""


class Check(NamedTuple):
    """What a value must be."""

    fits: Callable[[Any], bool]
    words: str
    schema: Mapping[str, Any]
    """The same as a JSON Schema, as far as that can say it."""


class Problem(NamedTuple):
    """What is wrong in a document, and where."""

    place: Place
    words: str

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.place))}: {self.words}"


def one_of(*words: str) -> Check:
    return Check(lambda value: value in words, f"one of {', '.join(words)}", {"enum": list(words)})


def integer(lower: int, upper: int) -> Check:
    return Check(
        lambda value: isinstance(value, int) and not isinstance(value, bool) and lower <= value <= upper,
        f"an integer from {lower} to {upper}",
        {"type": "integer", "minimum": lower, "maximum": upper},
    )


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


_TEXT_LIST = {"type": "array", "items": {"type": "string"}}
NUMBER = Check(
    lambda v: isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v < float("inf"),
    "a number from 0",
    {"type": "number", "minimum": 0},
)
TEXT = Check(lambda v: isinstance(v, str), "a text", {"type": "string"})
TEXT_OR_NULL = Check(lambda v: v is None or isinstance(v, str), "a name or null", {"type": ["string", "null"]})
TRUTH = Check(lambda v: isinstance(v, bool), "true or false", {"type": "boolean"})
NAMES = Check(_is_text_list, "a list of names", _TEXT_LIST)
GLOBS = Check(
    lambda v: isinstance(v, str) or _is_text_list(v), "a name or glob, or a list of them",
    {"anyOf": [{"type": "string"}, _TEXT_LIST]},
)  # fmt: skip
KEY = Check(
    lambda v: v is None or isinstance(v, str) or _is_text_list(v), "a name, a list of names, or null",
    {"anyOf": [{"type": ["string", "null"]}, _TEXT_LIST]},
)  # fmt: skip
MAPPING = Check(lambda v: isinstance(v, dict), "a mapping", {"type": "object"})
MAPPING_OR_NULL = Check(lambda v: v is None or isinstance(v, dict), "a mapping", {"type": ["object", "null"]})

# What each key of a table may hold. What a person may set goes into arrowetl.yml as well.
KEYS: dict[str, Check] = {
    "table_name": TEXT,
    "extraction_strategy": one_of(*STRATEGIES),
    "strategy_reason": TEXT,
    "incremental_columns": NAMES,
    "primary_incremental_column": TEXT_OR_NULL,
    "batch_size": integer(1, 10_000_000),
    "performance_category": one_of(*CATEGORIES),
    "processing_priority": one_of(*PRIORITIES),
    "time_gap_threshold_days": integer(0, 36_500),
    "estimated_rows": NUMBER,
    "estimated_size_mb": NUMBER,
    "estimated_processing_time_minutes": NUMBER,
    "memory_requirements_mb": NUMBER,
    "monitoring": MAPPING,
    "primary_key": KEY,
    "quarantined_columns": NAMES,
}
OVERRIDES: dict[str, Check] = {
    **KEYS,
    "exclude": TRUTH,
    "partition_bytes": integer(65_536, 2_000_000_000),
    "workers": integer(1, limits.workers_max),
    "columns": MAPPING,
    "views": one_of("refuse", "rebuild"),
}
# What `analyze` finds is no choice.
for _found in ("strategy_reason", "quarantined_columns"):
    del OVERRIDES[_found]
# Of one table alone.
DEFAULTS = {key: check for key, check in OVERRIDES.items() if key not in ("table_name", "columns", "primary_key")}
MONITORING: dict[str, Check] = {
    "alert_on_failure": TRUTH,
    "alert_on_slow_extraction": TRUTH,
    "performance_threshold_records_per_second": NUMBER,
}
COLUMN_OVERRIDES: dict[str, Check] = {
    "type": TEXT,
    "exclude": TRUTH,
    "mask": one_of(*MASKS),
}
METADATA: dict[str, Check] = {
    "generated_at": Check(lambda v: v is not None, "a time", {"type": "string"}),
    "analyzer_version": TEXT,
    "environment": TEXT,
    "source_database": TEXT,
    "total_tables": integer(0, 10**9),
    "schema_hash": TEXT,
}
SETTINGS: dict[str, Check] = {
    "reconcile_days": integer(0, 36_500),
    "reconcile_by": one_of(*COMPARISONS),
    "statement_seconds": integer(0, 86_400),
    "source_connections": integer(1, limits.workers_max),
    "replica_connections": integer(4, limits.connections_max),
    "warehouse_connections": integer(4, limits.connections_max),
    "pause_milliseconds": integer(0, 60_000),
    "executor": Check(
        lambda v: isinstance(v, str) and is_executor(v), "thread, process or dask:tcp://host:8786",
        {"type": "string", "pattern": "^(thread|process|dask:.+://.+)$"},
    ),
    "new_columns": one_of(*NEW_COLUMNS),
    "time_zone": Check(
        lambda v: isinstance(v, str) and is_zone(v), "a time zone like America/Chicago", {"type": "string"}
    ),
    "business_hours": Check(
        lambda v: isinstance(v, str) and hours(v) is not None, "hours like 07:00-18:00", {"type": "string"}
    ),
}  # fmt: skip
CONNECTIONS: dict[str, Check] = dict.fromkeys(("source", "replica", "warehouse"), TEXT)
TABLES_YML: dict[str, Check] = {"metadata": MAPPING, "settings": MAPPING_OR_NULL, "tables": MAPPING}
ARROWETL_YML: dict[str, Check] = {
    "connections": MAPPING_OR_NULL,
    "include": GLOBS,
    "exclude": GLOBS,
    "defaults": MAPPING_OR_NULL,
    "settings": MAPPING_OR_NULL,
    "tables": MAPPING_OR_NULL,
}


def check_tables(document: Mapping[str, Any]) -> list[str]:
    """Every problem of a tables.yml, in words; pure."""
    return [str(problem) for problem in sound(document)[1]]


def sound(document: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """What of a tables.yml can be used, and every problem of it; pure."""
    problems: list[Problem] = []
    kept = _sound(document, TABLES_YML, (), problems)
    for part, keys in (("metadata", METADATA), ("settings", SETTINGS)):
        if kept.get(part):
            kept[part] = _sound(kept[part], keys, (part,), problems)
    tables = kept.get("tables") or {}
    kept["tables"] = {name: _sound_table(("tables", name), entry, problems) for name, entry in tables.items()}
    return kept, problems


def sound_choices(document: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The same of an arrowetl.yml; its tables are as `overrides` of a tables.yml are."""
    problems: list[Problem] = []
    kept = _sound(document, ARROWETL_YML, (), problems)
    for part, keys in (("connections", CONNECTIONS), ("defaults", DEFAULTS), ("settings", SETTINGS)):
        kept[part] = _sound(kept.get(part) or {}, keys, (part,), problems)
    if "monitoring" in kept["defaults"]:
        place = ("defaults", "monitoring")
        kept["defaults"]["monitoring"] = _sound(kept["defaults"]["monitoring"], MONITORING, place, problems)
    for part in ("include", "exclude"):
        said = kept.get(part, [])
        kept[part] = [said] if isinstance(said, str) else said
    tables = kept.get("tables") or {}
    kept["tables"] = {name: _sound_choice(("tables", name), entry, problems) for name, entry in tables.items()}
    return kept, problems


def _sound_table(place: Place, entry: Any, problems: list[Problem]) -> dict[str, Any]:
    _named(place, problems)
    if not isinstance(entry, dict):
        problems.append(Problem(place, f"must be a mapping, got {_shown(entry)}"))
        return {"overrides": {}}
    kept = _sound({k: v for k, v in entry.items() if k != "overrides"}, KEYS, place, problems, "overrides")
    if "monitoring" in kept:
        kept["monitoring"] = _sound(kept["monitoring"], MONITORING, (*place, "monitoring"), problems)
    overrides = {} if entry.get("overrides") is None else entry["overrides"]
    return {**kept, "overrides": _sound_override((*place, "overrides"), overrides, problems)}


def _sound_choice(place: Place, entry: Any, problems: list[Problem]) -> dict[str, Any]:
    _named(place, problems)
    return _sound_override(place, {} if entry is None else entry, problems)


def _named(place: Place, problems: list[Problem]) -> None:
    if not isinstance(place[-1], str):
        problems.append(Problem(place, "the name must be a text; put it in quotes"))


def _sound_override(place: Place, said: Any, problems: list[Problem]) -> dict[str, Any]:
    """What a person chooses of a table."""
    if not isinstance(said, dict):
        problems.append(Problem(place, f"must be a mapping, got {_shown(said)}"))
        return {}
    kept = _sound(said, OVERRIDES, place, problems)
    if "monitoring" in kept:
        kept["monitoring"] = _sound(kept["monitoring"], MONITORING, (*place, "monitoring"), problems)
    if "columns" in kept:
        kept["columns"] = _sound_columns((*place, "columns"), kept["columns"], problems)
    return kept


def _sound_columns(place: Place, columns: Mapping[Any, Any], problems: list[Problem]) -> dict[str, Any]:
    kept = {}
    for column, choice in columns.items():
        # `HasIns: boolean` is short for `HasIns: {type: boolean}`.
        said = {"type": choice} if isinstance(choice, str) else choice
        if not isinstance(column, str):
            problems.append(Problem((*place, column), "the name must be a text; put it in quotes"))
        elif not isinstance(said, dict):
            words = f"must be a type, or a mapping such as {{type: boolean}}, got {_shown(choice)}"
            problems.append(Problem((*place, column), words))
        else:
            kept[column] = _sound(said, COLUMN_OVERRIDES, (*place, column), problems)
    return kept


def _sound(
    values: Mapping[str, Any], keys: Mapping[str, Check], place: Place, problems: list[Problem], *more: str
) -> dict[str, Any]:
    """Those of the values that may be; of the others, what is wrong."""
    kept = {}
    for key, value in values.items():
        if key not in keys:
            misplaced = key in OVERRIDES and "overrides" in more
            hint = ": it belongs into arrowetl.yml" if misplaced else did_you_mean(str(key), [*keys, *more])
            problems.append(Problem((*place, key), f"unknown key{hint}"))
        elif keys[key].fits(value):
            kept[key] = value
        else:
            problems.append(Problem((*place, key), f"must be {keys[key].words}, got {_shown(value)}"))
    return kept


def wrong(values: Mapping[str, Any], keys: Mapping[str, Check], place: Place) -> list[Problem]:
    """What of some values may not be."""
    problems: list[Problem] = []
    _sound(values, keys, place, problems)
    return problems


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


# --- for editors --------------------------------------------------------------------------------

# What each key is for, as editors, tables.yml and `arrowetl config schema` explain it.
MEANINGS: dict[str, str] = {
    "connections": "URLs of the servers, without passwords: mysql://user@host/database, postgresql://…?schema=raw",
    "include": "the tables that are copied: names or globs; default all",
    "exclude": "the tables that are left out: names or globs; of one table true or false",
    "defaults": "choices for all tables, where a table has none of its own",
    "settings": "choices for the run",
    "tables": "table → choices for it",
    "table_name": "as the source spells it",
    "extraction_strategy": "full_table; or incremental, incremental_chunked if large: every change can be detected",
    "strategy_reason": "why",
    "incremental_columns": "the server updates them at every change",
    "primary_incremental_column": "the one by which changed rows are found",
    "batch_size": "most rows in one partition",
    "performance_category": "large from a million rows, medium from 100,000, small from 10,000, or tiny",
    "processing_priority": "high before medium before low, the largest first within",
    "time_gap_threshold_days": "days without success after which it is compared in full, and reported as overdue",
    "estimated_rows": "exact where the engine counts them, or they are few",
    "estimated_size_mb": "as the source stores it",
    "estimated_processing_time_minutes": "of reading it in full: what the last runs took, or a guess before the first",
    "memory_requirements_mb": "of one partition in flight",
    "monitoring": "what to report: failures, slow reads, and what is slow",
    "primary_key": "a name, several, or null",
    "quarantined_columns": "left out until you decide about them in arrowetl.yml, or remove them from this list",
    "partition_bytes": "bytes of one partition; by default as a run measures",
    "workers": "most partitions of the table at a time",
    "columns": "column → a type of `arrowetl types`, or {type, exclude, mask}",
    "views": "rebuild saves the views that block a change of type, and recreates them",
    "type": "load the column as this type",
    "mask": "hash (needs ARROWETL_MASK_KEY), nullify or partial",
    "reconcile_days": "full comparison of every table, every so many days",
    "reconcile_by": "how source and replica are compared: by reading, by checksum, or auto",
    "statement_seconds": "no statement at the source takes longer; 0 sets no limit",
    "source_connections": "connections to the source at once, at most",
    "replica_connections": "connections to the replica at once, at most",
    "warehouse_connections": "connections to the warehouse at once, at most",
    "pause_milliseconds": "between two ranges of a table",
    "executor": "thread, process or dask:tcp://host:8786: who loads partitions",
    "new_columns": "what becomes of columns that appear later: loaded, or left out (quarantine) until you choose",
    "time_zone": "whose clock business_hours go by; default this machine's",
    "business_hours": "hours like 07:00-18:00 in which no table of the source is begun",
}


def schema_of(checks: Mapping[str, Check], inner: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """
    A JSON Schema of a mapping.

    Args:
        inner: key → the schema of what is below it, where that is known.
    """
    properties = {
        key: {**((inner or {}).get(key) or check.schema), **({"description": MEANINGS[key]} if key in MEANINGS else {})}
        for key, check in checks.items()
    }
    return {"type": ["object", "null"], "additionalProperties": False, "properties": properties}


def _each(of: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": ["object", "null"], "additionalProperties": of}


_COLUMNS = _each({"anyOf": [{"type": "string"}, schema_of(COLUMN_OVERRIDES)]})
_MONITORING = schema_of(MONITORING)
OVERRIDES_SCHEMA = schema_of(OVERRIDES, {"columns": _COLUMNS, "monitoring": _MONITORING})


def arrowetl_schema() -> dict[str, Any]:
    """Of arrowetl.yml."""
    return schema_of(
        ARROWETL_YML,
        {
            "connections": schema_of(CONNECTIONS),
            "defaults": schema_of(DEFAULTS, {"monitoring": _MONITORING}),
            "settings": schema_of(SETTINGS),
            "tables": _each(OVERRIDES_SCHEMA),
        },
    )


def tables_schema() -> dict[str, Any]:
    """Of tables.yml, as `analyze` writes it and as earlier forms had it."""
    below = {"monitoring": _MONITORING, "overrides": OVERRIDES_SCHEMA}
    table = schema_of({**KEYS, "overrides": MAPPING_OR_NULL}, below)
    inner = {"metadata": schema_of(METADATA), "settings": schema_of(SETTINGS), "tables": _each(table)}
    return schema_of(TABLES_YML, inner)
