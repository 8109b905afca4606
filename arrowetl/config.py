"""
The environment and tables.yml → settings, or every problem at once.

Reads files and the environment, and decides nothing about tables (`plan`
does). What a key may hold is one table, `KEYS`; `analyze` writes the file
this module reads.
"""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values

from arrowetl import limits
from arrowetl.errors import ConfigurationError, EnvironmentError, UsageError, ValidationError
from arrowetl.model import (
    CATEGORIES,
    COMPARISONS,
    DEFAULT_CHOICES,
    PRIORITIES,
    STRATEGIES,
    VARIABLES,
    Choices,
    Endpoint,
    TableSettings,
)

ENVIRONMENTS = ("production", "test")
SSL_MODES = ("disabled", "preferred", "required", "verify_ca", "verify_identity")
DEFAULT_TABLES = Path("conf/tables.yml")

# The same safe loader, in C where PyYAML was built with it: ten times as fast over 446 tables.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Name → (default, what it is for); `validate` lists them.
ARROWETL_VARIABLES = {
    "ARROWETL_SPILL_DIR": (tempfile.gettempdir(), "partitions wait for LOAD DATA in a private directory below it"),
}


@dataclass(frozen=True)
class Settings:
    """Everything a run needs to know that is not in a server."""

    environment: str
    endpoints: Mapping[str, Endpoint]
    tables_file: Path = DEFAULT_TABLES
    spill_directory: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))

    def endpoint(self, name: str) -> Endpoint:
        """
        Raises:
            EnvironmentError: the settings at hand leave this server out.
        """
        if name not in self.endpoints:
            raise EnvironmentError(f"no settings for the {name}", f"set {VARIABLES[name]}_HOST and its companions")
        return self.endpoints[name]


def settings_from_environment(
    environment: Mapping[str, str] | None = None,
    tables_file: Path | None = None,
    env_file: Path | None = None,
    needs: tuple[str, ...] = ("source", "replica", "warehouse"),
) -> Settings:
    """
    Settings from variables and the file `.env_<environment>` beside tables.yml.

    Args:
        environment: default the operating system's. It wins over the file; a
            blank value is unset.
        env_file: instead of the file beside tables.yml; must exist.
        needs: the servers that are going to be used.

    Raises:
        EnvironmentError: ETL_ENVIRONMENT is missing or unknown, or a variable
            is missing or impossible; all problems at once.
    """
    outside = dict(os.environ if environment is None else environment)
    chosen = outside.get("ETL_ENVIRONMENT", "").strip()
    if chosen not in ENVIRONMENTS:
        found = f"is {chosen!r}" if chosen else "is not set"
        raise EnvironmentError(
            f"ETL_ENVIRONMENT {found}",
            f"set it to one of: {', '.join(ENVIRONMENTS)}; there is no default, and no file can set it",
        )
    tables_file = tables_file or DEFAULT_TABLES
    path = env_file or tables_file.parent / f".env_{chosen}"
    if env_file is not None and not env_file.is_file():
        raise EnvironmentError(f"{env_file}: no such file", "name the file that --env-file should read")
    values = _values(chosen, path, outside)
    problems: list[str] = []
    endpoints = {
        name: endpoint for name in needs if (endpoint := _endpoint(name, values, problems, chosen)) is not None
    }
    spill = values.get("ARROWETL_SPILL_DIR") or tempfile.gettempdir()
    if not Path(spill).is_dir():
        problems.append(f"ARROWETL_SPILL_DIR: {spill} is no directory")
    if problems:
        raise EnvironmentError(
            f"settings of the {chosen} environment: {_counted(problems)}",
            f"set them in the environment or in {path}",
        )
    return Settings(chosen, endpoints, tables_file, Path(spill))


def _values(chosen: str, path: Path, outside: Mapping[str, str]) -> dict[str, str]:
    inside = dotenv_values(path, interpolate=False) if path.is_file() else {}
    values = {key: value for key, value in inside.items() if value and value.strip()}
    if chosen == "test":
        # A production host that happens to be exported must never be reached from a test.
        values |= {key.removeprefix("TEST_"): value for key, value in values.items() if key.startswith("TEST_")}
        outside = {
            key.removeprefix("TEST_"): value for key, value in outside.items() if key.startswith(("TEST_", "ARROWETL_"))
        }
    return values | {key: value for key, value in outside.items() if value.strip()}


def _endpoint(name: str, values: Mapping[str, str], problems: list[str], chosen: str) -> Endpoint | None:
    prefix = VARIABLES[name]
    shown = f"TEST_{prefix}" if chosen == "test" else prefix
    missing = [key for key in ("HOST", "PORT", "DB", "USER", "PASSWORD") if f"{prefix}_{key}" not in values]
    problems += [f"{shown}_{key} is missing" for key in missing]
    port = values.get(f"{prefix}_PORT", "0").strip()
    if "PORT" not in missing and not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535):
        problems.append(f"{shown}_PORT: must be a number from 1 to 65535, got {port!r}")
        missing.append("PORT")
    ssl_mode = values.get(f"{prefix}_SSL_MODE", "preferred").strip().lower()
    if ssl_mode not in SSL_MODES:
        problems.append(f"{shown}_SSL_MODE: must be one of {', '.join(SSL_MODES)}, got {ssl_mode!r}")
        missing.append("SSL_MODE")
    ssl_ca = values.get(f"{prefix}_SSL_CA")
    if ssl_ca and not Path(ssl_ca).is_file():
        problems.append(f"{shown}_SSL_CA: no file {ssl_ca}")
    if missing:
        return None
    namespace = values.get(f"{prefix}_SCHEMA", "raw") if name == "warehouse" else ""
    return Endpoint(
        name=name,
        host=values[f"{prefix}_HOST"].strip(),
        port=int(port),
        database=values[f"{prefix}_DB"].strip(),
        user=values[f"{prefix}_USER"],
        password=values[f"{prefix}_PASSWORD"],
        namespace=namespace,
        ssl_mode=ssl_mode,
        ssl_ca=ssl_ca,
    )


def _counted(problems: list[str]) -> str:
    word = "problem" if len(problems) == 1 else "problems"
    return f"{len(problems)} {word}\n  " + "\n  ".join(problems)


# --- tables.yml ---------------------------------------------------------------------------------


def _one_of(*words: str) -> tuple[Callable[[Any], bool], str]:
    return lambda value: value in words, f"one of {', '.join(words)}"


def _integer(lower: int, upper: int) -> tuple[Callable[[Any], bool], str]:
    return (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and lower <= value <= upper,
        f"a whole number from {lower} to {upper}",
    )


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


_NUMBER = (lambda v: isinstance(v, int | float) and not isinstance(v, bool) and v >= 0, "a number from 0")
_TEXT = (lambda v: isinstance(v, str), "a text")
_TEXT_OR_NULL = (lambda v: v is None or isinstance(v, str), "a name or null")
_TRUTH = (lambda v: isinstance(v, bool), "true or false")
_NAMES = (_is_text_list, "a list of names")
_KEY = (lambda v: v is None or isinstance(v, str) or _is_text_list(v), "a name, a list of names, or null")
_MAPPING = (lambda v: isinstance(v, dict), "a mapping")

Check = tuple[Callable[[Any], bool], str]

# What each key of a table may hold. What a person may set stands under `overrides:` as well.
KEYS: dict[str, Check] = {
    "table_name": _TEXT,
    "extraction_strategy": _one_of(*STRATEGIES),
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
}
OVERRIDES: dict[str, Check] = {
    **KEYS,
    "exclude": _TRUTH,
    "partition_bytes": _integer(65_536, 2_000_000_000),
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
    "business_hours": (lambda v: isinstance(v, str) and _hours(v) is not None, "hours like 07:00-18:00"),
}
DOCUMENT: dict[str, Check] = {"metadata": _MAPPING, "settings": _MAPPING, "tables": _MAPPING}


@dataclass(frozen=True)
class TablesFile:
    """tables.yml, checked."""

    metadata: Mapping[str, Any]
    tables: Mapping[str, TableSettings]
    choices: Choices = DEFAULT_CHOICES

    def of(self, table: str) -> TableSettings:
        """A table's settings; defaults for one the file does not know."""
        return self.tables.get(table, TableSettings())


def read_tables(path: Path) -> TablesFile:
    """
    Read tables.yml.

    Raises:
        ConfigurationError: there is none, or it is no YAML.
        ValidationError: unknown keys or impossible values; all at once.
    """
    document = load_yaml(path)
    problems = check_tables(document)
    if problems:
        raise ValidationError(
            f"{path}: {_counted(problems)}", "correct them; an `overrides:` that is wrong stays so until you do"
        )
    tables = {
        name: TableSettings({**entry, **(entry.get("overrides") or {})})
        for name, entry in (document.get("tables") or {}).items()
    }
    return TablesFile(document.get("metadata") or {}, tables, Choices(**(document.get("settings") or {})))


def problems_of(path: Path) -> list[str]:
    """What is wrong with a tables.yml, in words; empty is good."""
    try:
        read_tables(path)
    except ConfigurationError as error:
        return [str(error)]
    return []


def load_yaml(path: Path) -> dict[str, Any]:
    """
    Raises:
        ConfigurationError: no such file, or no YAML mapping in it.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path}: no such file", "write it with: arrowetl analyze") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise ConfigurationError(
            f"{path}{place}: no YAML: {getattr(error, 'problem', error)}",
            "correct it; `arrowetl analyze` keeps what is in it, and must read it for that",
        ) from error
    if not isinstance(document, dict):
        raise ConfigurationError(
            f"{path}: must be a mapping with `metadata` and `tables`", "write it with: arrowetl analyze"
        )
    return document


def check_tables(document: Mapping[str, Any]) -> list[str]:
    """Every problem of a tables.yml, in words; pure."""
    problems: list[str] = []
    _check(document, DOCUMENT, "", problems)
    for part, keys in (("metadata", METADATA), ("settings", SETTINGS)):
        if isinstance(document.get(part), dict):
            _check(document[part], keys, f"{part}.", problems)
    tables = document.get("tables")
    for name, entry in tables.items() if isinstance(tables, dict) else ():
        where = f"tables.{name}"
        if not isinstance(entry, dict):
            problems.append(f"{where}: must be a mapping, got {entry!r}")
            continue
        if not isinstance(name, str):
            problems.append(f"{where}: the name must be a text; put it in quotes")
        overrides = {} if entry.get("overrides") is None else entry["overrides"]
        _check({k: v for k, v in entry.items() if k != "overrides"}, KEYS, f"{where}.", problems, "overrides")
        if not isinstance(overrides, dict):
            problems.append(f"{where}.overrides: must be a mapping, got {overrides!r}")
            continue
        _check(overrides, OVERRIDES, f"{where}.overrides.", problems)
        if isinstance(entry.get("monitoring"), dict):
            _check(entry["monitoring"], MONITORING, f"{where}.monitoring.", problems)
        columns = overrides.get("columns")
        for column, choice in columns.items() if isinstance(columns, dict) else ():
            if isinstance(choice, dict):
                _check(choice, COLUMN_OVERRIDES, f"{where}.overrides.columns.{column}.", problems)
            else:
                problems.append(f"{where}.overrides.columns.{column}: must be a mapping, got {choice!r}")
    return problems


def _check(values: Mapping[str, Any], keys: Mapping[str, Check], where: str, problems: list[str], *more: str) -> None:
    for key, value in values.items():
        if key not in keys:
            hint = nearest(str(key), [*keys, *more])
            problems.append(f"{where}{key}: unknown key" + (f" (did you mean {hint[0]}?)" if hint else ""))
        else:
            fits, words = keys[key]
            if not fits(value):
                problems.append(f"{where}{key}: must be {words}, got {value!r}")


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


# --- names of tables ----------------------------------------------------------------------------


def nearest(name: str, known: Any) -> list[str]:
    """The known names most like this one, best first; at most three."""
    return difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)


def chosen_tables(names: tuple[str, ...], known: Any) -> tuple[str, ...]:
    """
    The tables a person named.

    Raises:
        UsageError: some are not there; tells the nearest names.
    """
    unknown = [name for name in names if name not in set(known)]
    if unknown:
        lines = [
            f"{name}" + (f" (did you mean {', '.join(hint)}?)" if (hint := nearest(name, known)) else "")
            for name in unknown
        ]
        word = "table" if len(unknown) == 1 else "tables"
        raise UsageError(
            f"unknown {word}: {', '.join(lines)}",
            "`arrowetl status` and conf/tables.yml list those there are",
        )
    return tuple(dict.fromkeys(names))


def worker_count(workers: int) -> int:
    """
    Raises:
        UsageError: fewer than one, or more than a machine can mean.
    """
    if not 1 <= workers <= limits.workers_max:
        raise UsageError(f"--max-workers must be 1 … {limits.workers_max}, got {workers}")
    return workers
