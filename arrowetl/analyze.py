"""
The source's catalog → tables.yml: how each table is to be treated.

It reads dictionary tables and nothing else, and writes tables.yml, what the
schema was beside it, and what changed since (`changes`). A person's `overrides:`
are carried over as they are; `tables_file` reads what is written here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from arrowetl import __version__, changes, limits, modes, partition, phi, plan, preflight
from arrowetl.changes import Change
from arrowetl.config import Settings
from arrowetl.ledger import TRACKING
from arrowetl.model import Table
from arrowetl.route import Endpoint
from arrowetl.source import Source
from arrowetl.tables_file import load_yaml, read_tables

_GAP_DAYS = {"large": 60, "medium": 30, "small": 30, "tiny": 7}
_SLOW_ROWS_PER_SECOND = {"large": 3000, "medium": 2000, "small": 1000, "tiny": 500}
_PRIORITY = {"large": "high", "medium": "high", "small": "medium", "tiny": "low"}
# What everybody waits for in the morning, whatever its size.
_URGENT = frozenset({"patient", "appointment", "procedurelog", "claimproc", "payment"})

_HEADING = """\
# How arrowetl treats each table of the source. Written by `arrowetl analyze`, which writes it anew;
# what you choose yourself goes under a table's `overrides:`, and stays:
#
#   patient:
#     overrides:
#       exclude: true                     # leave the table out
#       processing_priority: high         # high before medium before low
#       batch_size: 50000                 # rows of a partition at most
#       partition_bytes: 8388608          # bytes of a partition; otherwise they follow what a run measures
#       workers: 2                        # partitions of it at a time, at most
#       columns:
#         SSN: {exclude: true}            # leave a column out
#         LName: {mask: hash}             # or nullify, or partial; hashes need ARROWETL_MASK_KEY
#         HasIns: {type: boolean}         # carry it as another type; `arrowetl types` lists them
#       views: rebuild                    # save the views in the way of a changed type, and make them anew
#
# What you choose for all tables goes under `settings:`, and stays as well:
#
#   settings:
#     reconcile_days: 7                   # incremental tables are compared whole so often
#     reconcile_by: auto                  # or reading, or checksum
#     statement_seconds: 600              # no statement at the source takes longer
#     source_connections: 4               # at most so many at once
#     pause_milliseconds: 0               # between two ranges of a table
#     business_hours: 07:00-18:00         # no table of the source is begun in them, by this machine's clock
"""


@dataclass(frozen=True)
class Analysis:
    """What was written, and what a person should know of it."""

    path: Path
    document: Mapping[str, Any]
    vanished: tuple[str, ...]
    changes: tuple[Change, ...] = ()
    """Since the last analysis, where its schema is known."""
    changelog: Path | None = None
    """Where they were written down; None where nothing changed."""

    @property
    def is_breaking(self) -> bool:
        return changes.are_breaking(self.changes)


def analyze(settings: Settings, output: Path | None = None) -> Analysis:
    """
    Write tables.yml from the source's catalog, and what changed since the last time under the log directory.

    Raises:
        DatabaseError: the source cannot be read.
        ConfigurationError: the file that is there is broken, so that its overrides cannot be kept.
    """
    endpoint = settings.endpoint("source")
    catalog, path = _catalog(endpoint), output or settings.tables_file
    document_before = load_yaml(path) if path.exists() else {}
    before = document_before.get("tables") or {}
    document = tables_document(
        catalog.values(), settings.environment, endpoint.database, before, document_before.get("settings")
    )
    known = path.with_suffix(".schema.json")
    strategies = {name: document["tables"][name]["extraction_strategy"] for name in catalog}
    schema_before, schema_now = _remembered(known), changes.facts(catalog.values(), strategies)
    found = changes.found(schema_before, schema_now) if schema_before else []
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text = yaml.dump(dict(document), Dumper=dumper, sort_keys=False, allow_unicode=True, width=120)
    moment = f"{datetime.now(UTC):%Y%m%d_%H%M%S}"
    reports = settings.log_directory / "schema_analysis" / "reports"
    if path.exists() and _without_time(document_before) != _without_time(document):
        _write(reports / f"{path.stem}_{moment}{path.suffix}", path.read_text(encoding="utf-8"))
    since, now = (document_before.get("metadata") or {}).get("generated_at"), document["metadata"]["generated_at"]
    changelog = reports / f"schema_changelog_{moment}.md" if found else None
    if changelog:
        _write(changelog, changes.as_markdown(found, since, now))
        _write(changelog.with_suffix(".json"), json.dumps(changes.as_json(found, since, now), indent=1) + "\n")
    _write(path, f"{_HEADING}\n{text}")
    # A line for each table, so that a diff shows only what changed.
    lines = (f"{json.dumps(name)}: {json.dumps(one)}" for name, one in schema_now.items())
    _write(known, "{\n" + ",\n".join(lines) + "\n}\n")
    return Analysis(path, document, tuple(sorted(before.keys() - catalog.keys())), tuple(found), changelog)


def _catalog(endpoint: Endpoint) -> dict[str, Table]:
    """The source's tables; none of our own records."""
    preflight.reach(endpoint)
    with closing(Source(endpoint)) as source:
        return {name: table for name, table in source.catalog().items() if name not in TRACKING}


def _remembered(path: Path) -> changes.Facts:
    """The schema as the last analysis had it; nothing where that is not known."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _without_time(document: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in (document.get("metadata") or {}).items() if key != "generated_at"}
    return {**document, "metadata": metadata}


def _write(path: Path, text: str) -> None:
    """The whole file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def suggested_policy(settings: Settings) -> dict[str, Any]:
    """
    What `overrides.columns` of OpenDental's personal columns could be, as tables.yml would have it; nothing is written.

    Raises:
        DatabaseError: the source cannot be read.
        ConfigurationError: the tables.yml that is there is broken.
    """
    catalog = _catalog(settings.endpoint("source"))
    decided = read_tables(settings.tables_file).tables if settings.tables_file.exists() else {}
    found = phi.suggested(catalog.values(), decided)
    return {"tables": {name: {"overrides": {"columns": columns}} for name, columns in found.items()}}


def tables_document(
    tables: Iterable[Table],
    environment: str,
    database: str,
    before: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """
    The whole of tables.yml; pure but for the time in it.

    Args:
        before: the tables of the file that is there, for their overrides.
        settings: those of the file that is there, which stay.
    """
    tables = sorted(tables, key=lambda table: table.name)
    names = {table.name for table in tables}
    return {
        "metadata": {
            "generated_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "analyzer_version": __version__,
            "environment": environment,
            "source_database": database,
            "total_tables": len(tables),
            "schema_hash": schema_hash(tables),
        },
        **({"settings": dict(settings)} if settings else {}),
        "tables": {
            **{table.name: _entry(table, before.get(table.name) or {}) for table in tables},
            # Of tables that are not there now, a person's choices stay: they may come back.
            **{
                name: {"overrides": entry["overrides"]}
                for name, entry in sorted(before.items())
                if name not in names and (entry or {}).get("overrides")
            },
        },
    }


def schema_hash(tables: Iterable[Table]) -> str:
    """A digest of all tables, columns, types and keys; the same for the same schema, whoever asks."""
    facts = [
        [table.name, [[c.name, c.column_type, c.nullable] for c in table.columns], table.primary_key]
        for table in tables
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _entry(table: Table, before: Mapping[str, Any]) -> dict[str, Any]:
    category = plan.category_of(table.rows)
    stamps = [column.name for column in table.columns if modes.is_stamped(column)]
    batch_rows = partition.rows_per_partition(table, None, limits.scan_bytes_max)
    held_rows = partition.scanned(table, None) or partition.rows_per_partition(table, None, limits.partition_bytes_max)
    key = table.primary_key
    entry = {
        "table_name": table.name,
        "extraction_strategy": _strategy(category, bool(key), stamps),
        "incremental_columns": stamps,
        "primary_incremental_column": stamps[0] if stamps else None,
        "batch_size": batch_rows,
        "performance_category": category,
        "processing_priority": "high" if table.name in _URGENT else _PRIORITY[category],
        "time_gap_threshold_days": _GAP_DAYS[category],
        "estimated_rows": table.rows,
        "estimated_size_mb": round(table.data_bytes / limits.MIB, 2),
        "estimated_processing_time_minutes": round(table.rows / limits.rows_per_second_expected / 60, 1),
        # The rows as Arrow, their text, and an encoded batch.
        "memory_requirements_mb": max(1, round(3 * min(table.rows, held_rows) * table.row_bytes / limits.MIB)),
        "monitoring": {
            "alert_on_failure": category in ("large", "medium") or table.data_bytes > 50 * limits.MIB,
            "alert_on_slow_extraction": category in ("large", "medium"),
            "performance_threshold_records_per_second": _SLOW_ROWS_PER_SECOND[category],
        },
        "primary_key": None if not key else key[0] if len(key) == 1 else list(key),
    }
    if before.get("overrides"):
        entry["overrides"] = before["overrides"]
    return entry


def _strategy(category: str, has_key: bool, stamps: list[str]) -> str:
    """
    Incremental only where the server itself stamps every change.

    >>> _strategy("large", True, ["DateTStamp"])
    'incremental_chunked'
    """
    if not stamps or not has_key:
        return "full_table"
    return "incremental_chunked" if category == "large" else "incremental"
