"""
The source's catalog, and a short look at each table → tables.yml: how each table is to be treated, and why.

It needs nothing but SELECT, and writes tables.yml, what the schema was beside
it, what it found, and what changed since (`changes`). What a person wrote is
carried over as it is (`comments`); `tables_file` reads what is written here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from arrowetl import __version__, changes, comments, limits, partition, phi, plan, preflight, watermarks
from arrowetl.changes import Change
from arrowetl.config import Settings
from arrowetl.errors import ArrowetlError
from arrowetl.files import write_whole
from arrowetl.ledger import TRACKING, Ledger
from arrowetl.model import Table, TableSettings
from arrowetl.source import Source
from arrowetl.sql.probe import Probed, is_counted
from arrowetl.tables_file import MEANINGS, SCHEMA_SUFFIX, TablesFile, load_yaml, read_tables, remembered
from arrowetl.watermarks import Candidate, Strategy

_GAP_DAYS = {"large": 60, "medium": 30, "small": 30, "tiny": 7}
_SLOW_ROWS_PER_SECOND = {"large": 3000, "medium": 2000, "small": 1000, "tiny": 500}
_PRIORITY = {"large": "high", "medium": "high", "small": "medium", "tiny": "low"}
# What everybody waits for in the morning, whatever its size.
_URGENT = frozenset({"patient", "appointment", "procedurelog", "claimproc", "payment"})


def _meanings() -> str:
    return "\n".join(f"#   {key:<35} # {words}" for key, words in MEANINGS.items())


_FIRST_LINE = "# How arrowetl treats each table of the source. Written by `arrowetl analyze`, which writes it anew;"
_HEADING = f"""\
{_FIRST_LINE}
# your comments stay, and so does what you choose yourself, which goes under a table's `overrides:`
#
#   patient:
#     overrides:
#       exclude: true                     # leave the table out
#       processing_priority: high         # high before medium before low
#       batch_size: 50000                 # rows of a partition at most
#       partition_bytes: 8388608          # bytes of a partition; otherwise they follow what a run measures
#       workers: 2                        # partitions of it at a time, at most
#       columns:
#         SSN: {{exclude: true}}            # leave a column out
#         LName: {{mask: hash}}             # or nullify, or partial; hashes need ARROWETL_MASK_KEY
#         HasIns: {{type: boolean}}         # carry it as another type; `arrowetl types` lists them
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
#     new_columns: carry                  # or quarantine: what appears later is left out until you choose
#
# What stands under each table:
#
{_meanings()}
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
        ConfigurationError: the file that is there is broken, so that what is in it cannot be kept.
    """
    path = output or settings.tables_file
    document_before = load_yaml(path) if path.exists() else {}
    before = _mapping(document_before.get("tables"))
    seen = _looked_at(settings, before)
    schema_before, choices = remembered(path), document_before.get("settings")
    waiting = _in_quarantine(seen, before, schema_before, _mapping(choices))
    document = tables_document(
        seen, settings.environment, settings.endpoint("source").database, before, choices, waiting
    )
    strategies = {name: one.strategy.name for name, one in seen.items()}
    schema_now = changes.facts((one.table for one in seen.values()), strategies)
    found = changes.found(schema_before, schema_now) if schema_before else []
    moment = f"{datetime.now(UTC):%Y%m%d_%H%M%S}"
    reports = settings.log_directory / "schema_analysis" / "reports"
    if path.exists() and _without_time(document_before) != _without_time(document):
        write_whole(reports / f"{path.stem}_{moment}{path.suffix}", path.read_text(encoding="utf-8"))
    since, now = _mapping(document_before.get("metadata")).get("generated_at"), document["metadata"]["generated_at"]
    changelog = reports / f"schema_changelog_{moment}.md" if found else None
    if changelog:
        write_whole(changelog, changes.as_markdown(found, since, now))
        write_whole(changelog.with_suffix(".json"), json.dumps(changes.as_json(found, since, now), indent=1) + "\n")
    write_whole(reports / "schema_analysis.json", _lines({name: one.as_json() for name, one in seen.items()}))
    write_whole(path, _text(document, path))
    write_whole(path.with_suffix(SCHEMA_SUFFIX), _lines(schema_now))
    return Analysis(path, document, tuple(sorted(map(str, before.keys() - seen.keys()))), tuple(found), changelog)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a table when it is decided how to treat it."""

    table: Table
    """Its rows counted, where that costs little."""
    probed: Probed | None
    """None where it was not looked at: it is empty, or cannot be read."""
    candidates: tuple[Candidate, ...]
    seconds: float | None = None
    """What a run took to read it whole, where one did."""

    @property
    def category(self) -> str:
        return plan.category_of(self.table.rows)

    @property
    def strategy(self) -> Strategy:
        return watermarks.strategy(self.table, self.category, self.candidates)

    def as_json(self) -> dict[str, Any]:
        return {
            "rows": self.table.rows, "rows_are": "an estimate" if self._is_estimated else "exact",
            "bytes": self.table.data_bytes, "row_bytes": self.table.row_bytes,
            "widest_sampled_bytes": self.probed and self.probed.widest,
            "key": list(self.table.primary_key), "keys_lie": watermarks.key_words(self.table, self.probed),
            "strategy": self.strategy.name, "reason": self.strategy.reason,
            "candidates": [one.as_json() for one in self.candidates],
        }  # fmt: skip

    @property
    def _is_estimated(self) -> bool:
        return self.table.engine != "MyISAM" and (self.probed is None or self.probed.rows is None)


def seen(table: Table, probed: Probed | None, left_out: frozenset[str], seconds: float | None = None) -> Seen:
    """
    Args:
        left_out: columns that nobody is to look at.
    """
    if probed and probed.rows is not None:
        table = replace(table, rows=probed.rows)
    those = watermarks.candidates(table, watermarks.times(table, left_out), probed)
    return Seen(table, probed, tuple(those), seconds)


def _looked_at(settings: Settings, before: Mapping[str, Any]) -> dict[str, Seen]:
    """The source's tables, each looked at; none of our own records."""
    left_out = {name: _left_out(before.get(name)) for name in before}
    endpoint = settings.endpoint("source")
    preflight.reach(endpoint)
    with closing(Source(endpoint)) as source:
        catalog = _catalog(source)
        columns = {name: watermarks.times(table, left_out.get(name, _NONE)) for name, table in catalog.items()}
        asked = [t for name, t in catalog.items() if (t.rows or is_counted(t)) and (columns[name] or t.row_bytes)]
        found = source.probes(asked, columns)
    took = _took(settings)
    return {
        name: seen(table, found.get(name), left_out.get(name, _NONE), took.get(name)) for name, table in catalog.items()
    }


_NONE: frozenset[str] = frozenset()


def _left_out(entry: Any) -> frozenset[str]:
    """The columns of a table whose values are nobody's business."""
    columns = _mapping(_mapping(_mapping(entry).get("overrides")).get("columns"))
    return frozenset(name for name, one in columns.items() if _mapping(one).get("exclude") or _mapping(one).get("mask"))


def _took(settings: Settings) -> Mapping[str, float]:
    """Table → seconds of reading it whole, as the warehouse remembers; nothing where it does not answer."""
    warehouse = settings.endpoints.get("warehouse")
    if warehouse:
        with suppress(ArrowetlError), closing(Ledger(None, warehouse)) as book:
            preflight.reach(warehouse)
            return book.seconds_whole()
    return {}


def _catalog(source: Source) -> dict[str, Table]:
    return {name: table for name, table in source.catalog().items() if name not in TRACKING}


def _text(document: Mapping[str, Any], path: Path) -> str:
    """tables.yml, with what a person wrote into the one that is there."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text = yaml.dump(dict(document), Dumper=dumper, sort_keys=False, allow_unicode=True, width=120)
    text = f"{_HEADING}\n{text}"
    return comments.kept(path.read_text(encoding="utf-8"), text, _FIRST_LINE) if path.exists() else text


def _lines(document: Mapping[str, Any]) -> str:
    """As JSON, a line for each table, so that a diff shows only what changed."""
    lines = (f"{json.dumps(name)}: {json.dumps(one)}" for name, one in document.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _mapping(value: Any) -> Mapping[str, Any]:
    """What is no mapping, where one belongs, is nothing: `validate` tells it."""
    return value if isinstance(value, dict) else {}


def _in_quarantine(
    seen: Mapping[str, Seen], before: Mapping[str, Any], known: changes.Facts, choices: Mapping[str, Any]
) -> dict[str, tuple[str, ...]]:
    """Table → the columns that are to wait for a person; a first analysis finds nothing new."""
    if choices.get("new_columns") != "quarantine" or not known:
        return {}
    entries = {
        name: TableSettings({**_mapping(entry), **_mapping(_mapping(entry).get("overrides"))})
        for name, entry in before.items()
    }
    file = TablesFile({}, entries, known=known)
    return {name: waiting for name, one in seen.items() if (waiting := file.quarantined(one.table))}


def _without_time(document: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in _mapping(document.get("metadata")).items() if key != "generated_at"}
    return {**document, "metadata": metadata}


def suggested_policy(settings: Settings) -> dict[str, Any]:
    """
    What `overrides.columns` of OpenDental's personal columns could be, as tables.yml would have it; nothing is written.

    Raises:
        DatabaseError: the source cannot be read.
        ConfigurationError: the tables.yml that is there is broken.
    """
    endpoint = settings.endpoint("source")
    preflight.reach(endpoint)
    with closing(Source(endpoint)) as source:
        catalog = _catalog(source)
    decided = read_tables(settings.tables_file).tables if settings.tables_file.exists() else {}
    found = phi.suggested(catalog.values(), decided)
    return {"tables": {name: {"overrides": {"columns": columns}} for name, columns in found.items()}}


def tables_document(
    seen: Mapping[str, Seen],
    environment: str,
    database: str,
    before: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
    waiting: Mapping[str, tuple[str, ...]] | None = None,
) -> dict[str, Any]:
    """
    The whole of tables.yml; pure but for the time in it.

    Args:
        before: the tables of the file that is there, for their overrides.
        settings: those of the file that is there, which stay.
        waiting: table → its columns in quarantine.
    """
    names = sorted(seen)
    return {
        "metadata": {
            "generated_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "analyzer_version": __version__,
            "environment": environment,
            "source_database": database,
            "total_tables": len(names),
            "schema_hash": schema_hash(seen[name].table for name in names),
        },
        **({"settings": settings} if settings else {}),
        "tables": {
            **{name: _entry(seen[name], _mapping(before.get(name)), (waiting or {}).get(name, ())) for name in names},
            # Of tables that are not there now, a person's choices stay: they may come back.
            **{
                name: {"overrides": entry["overrides"]}
                for name, entry in sorted(before.items(), key=lambda item: str(item[0]))
                if name not in seen and _mapping(entry).get("overrides")
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


def _entry(seen: Seen, before: Mapping[str, Any], waiting: tuple[str, ...]) -> dict[str, Any]:
    table, category, strategy = seen.table, seen.category, seen.strategy
    batch_rows = partition.rows_per_partition(table, None, limits.scan_bytes_max)
    held_rows = partition.scanned(table, None) or partition.rows_per_partition(table, None, limits.partition_bytes_max)
    held = max(min(table.rows, held_rows) * table.row_bytes, seen.probed.widest if seen.probed else 0)
    seconds = table.rows / limits.rows_per_second_expected if seen.seconds is None else seen.seconds
    key = table.primary_key
    entry = {
        "table_name": table.name,
        "extraction_strategy": strategy.name,
        "strategy_reason": strategy.reason,
        "incremental_columns": list(strategy.columns),
        "primary_incremental_column": strategy.columns[0] if strategy.columns else None,
        "batch_size": batch_rows,
        "performance_category": category,
        "processing_priority": "high" if table.name in _URGENT else _PRIORITY[category],
        "time_gap_threshold_days": _GAP_DAYS[category],
        "estimated_rows": table.rows,
        "estimated_size_mb": round(table.data_bytes / limits.MIB, 2),
        "estimated_processing_time_minutes": round(seconds / 60, 1),
        # The rows as Arrow, their text, and an encoded batch.
        "memory_requirements_mb": max(1, round(3 * held / limits.MIB)),
        "monitoring": {
            "alert_on_failure": category in ("large", "medium") or table.data_bytes > 50 * limits.MIB,
            "alert_on_slow_extraction": category in ("large", "medium"),
            "performance_threshold_records_per_second": _SLOW_ROWS_PER_SECOND[category],
        },
        "primary_key": None if not key else key[0] if len(key) == 1 else list(key),
    }
    if waiting:
        entry["quarantined_columns"] = list(waiting)
    if before.get("overrides"):
        entry["overrides"] = before["overrides"]
    return entry
