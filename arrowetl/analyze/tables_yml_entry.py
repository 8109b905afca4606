"""
What is known of a table → its entry of tables.yml; and the words at the head of the file that say what it means.

Pure. `analyze_tables` looks at the tables, and writes what is made here; `tables_yml`
reads it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from arrowetl import __version__, limits
from arrowetl.analyze import load_strategy
from arrowetl.analyze.load_strategy import Candidate, Strategy
from arrowetl.model.plan import Table
from arrowetl.planning import estimate, partitioning, table_plan
from arrowetl.source.sample_sql import Sample

_GAP_DAYS = {"large": 60, "medium": 30, "small": 30, "tiny": 7}
_SLOW_ROWS_PER_SECOND = {"large": 3000, "medium": 2000, "small": 1000, "tiny": 500}
_PRIORITY = {"large": "high", "medium": "high", "small": "medium", "tiny": "low"}
# What everybody waits for in the morning, whatever its size.
_URGENT = frozenset({"patient", "appointment", "procedurelog", "claimproc", "payment"})


MEANINGS = {
    "table_name": "as the source spells it",
    "extraction_strategy": "full_table; incremental, incremental_chunked if large: every change can be known",
    "strategy_reason": "why",
    "incremental_columns": "the server updates them at every change",
    "primary_incremental_column": "the one by which changed rows are found",
    "batch_size": "rows of a partition at most",
    "performance_category": "large from a million rows, medium from 100,000, small from 10,000, or tiny",
    "processing_priority": "high before medium before low, the largest first within",
    "time_gap_threshold_days": "full comparison, and called overdue, when its last success is older",
    "estimated_rows": "exact where the engine counts them, or they are few",
    "estimated_size_mb": "as the source stores it",
    "estimated_processing_time_minutes": "of reading it in full: what the last runs took, or a guess before the first",
    "memory_requirements_mb": "of one partition in flight",
    "monitoring": "what to report: failures, slow reads, and what is slow",
    "primary_key": "a name, several, or null",
    "quarantined_columns": "left out until you choose of them under overrides.columns, or remove them from this list",
}
"""What each key of a table is for, as tables.yml explains it."""

FIRST_LINE = "# How arrowetl treats each table of the source. Written by `arrowetl analyze`, which rewrites it;"
_HEADING = """\
{first_line}
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
#         SSN: {exclude: true}            # leave a column out
#         LName: {mask: hash}             # or nullify, or partial; hashes need ARROWETL_MASK_KEY
#         HasIns: {type: boolean}         # load it as another type; `arrowetl types` lists them
#       views: rebuild                    # save the views that block a change of type, and recreate them
#
# What you choose for all tables goes under `settings:`, and stays as well:
#
#   settings:
#     reconcile_days: 7                   # full comparison of every table, every so many days
#     reconcile_by: auto                  # or reading, or checksum
#     statement_seconds: 600              # no statement at the source takes longer
#     source_connections: 4               # at most so many at once
#     replica_connections: 20             # the same at the replica, and at the warehouse
#     warehouse_connections: 20
#     executor: thread                    # or process, or dask:tcp://host:8786
#     pause_milliseconds: 0               # between two ranges of a table
#     business_hours: 07:00-18:00         # no table of the source is begun in them, by this machine's clock, or
#     time_zone: America/Chicago          # by that of a zone
#     new_columns: carry                  # or quarantine: what appears later is left out until you choose
#
# The keys of each table:
#
{meanings}
"""


def heading() -> str:
    """The comment at the head of tables.yml."""
    meanings = "\n".join(f"#   {key:<35} # {words}" for key, words in MEANINGS.items())
    # Its examples have braces of their own.
    return _HEADING.replace("{first_line}", FIRST_LINE).replace("{meanings}", meanings)


@dataclass(frozen=True, slots=True)
class TableProfile:
    """What is known of a table when it is decided how to treat it."""

    table: Table
    """Its rows counted, where that costs little."""
    probed: Sample | None
    """None where it was not looked at: it is empty, or cannot be read."""
    candidates: tuple[Candidate, ...]
    seconds: float | None = None
    """What a run took to read it in full, where one did."""
    remembers: bool = True
    """Whether the warehouse could be asked what runs took."""

    @property
    def category(self) -> str:
        return table_plan.category_of(self.table.rows)

    @property
    def strategy(self) -> Strategy:
        return load_strategy.strategy(self.table, self.category, self.candidates)

    def as_json(self) -> dict[str, Any]:
        return {
            "rows": self.table.rows, "rows_are": "an estimate" if self._is_estimated else "exact",
            "bytes": self.table.data_bytes, "row_bytes": self.table.row_bytes,
            "widest_sampled_bytes": self.probed and self.probed.widest,
            "key": list(self.table.primary_key), "keys_lie": load_strategy.key_words(self.table, self.probed),
            "strategy": self.strategy.name, "reason": self.strategy.reason,
            "candidates": [one.as_json() for one in self.candidates],
        }  # fmt: skip

    @property
    def _is_estimated(self) -> bool:
        return self.table.engine != "MyISAM" and (self.probed is None or self.probed.rows is None)


def seen(
    table: Table,
    probed: Sample | None,
    left_out: frozenset[str] = frozenset(),
    seconds: float | None = None,
    remembers: bool = True,
) -> TableProfile:
    """
    Args:
        left_out: columns that are not looked at.
    """
    if probed and probed.rows is not None:
        table = replace(table, rows=probed.rows)
    return TableProfile(
        table=table,
        probed=probed,
        candidates=tuple(load_strategy.candidates(table, left_out, probed)),
        seconds=seconds,
        remembers=remembers,
    )


def document(
    seen: Mapping[str, TableProfile],
    now: datetime,
    environment: str,
    database: str,
    before: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
    waiting: Mapping[str, tuple[str, ...]] | None = None,
) -> dict[str, Any]:
    """
    The text of tables.yml.

    Args:
        before: the tables of the file that is there, for their overrides.
        settings: those of the file that is there, which stay.
        waiting: table → its columns in quarantine.
    """
    names = sorted(seen)
    return {
        "metadata": {
            "generated_at": now.isoformat(timespec="seconds"),
            "analyzer_version": __version__,
            "environment": environment,
            "source_database": database,
            "total_tables": len(names),
            "schema_hash": schema_hash(seen[name].table for name in names),
        },
        **({"settings": settings} if settings else {}),
        "tables": {
            **{name: _entry(seen[name], before.get(name), (waiting or {}).get(name, ())) for name in names},
            # Of tables that are not there now, a person's choices stay: they may come back.
            **{
                name: {"overrides": entry["overrides"]}
                for name, entry in sorted(before.items(), key=lambda item: str(item[0]))
                if name not in seen and isinstance(entry, dict) and entry.get("overrides")
            },
        },
    }


def schema_hash(tables: Iterable[Table]) -> str:
    """A digest of all tables, columns, types and keys; the same for the same schema, with any account."""
    facts = [
        [table.name, [[c.name, c.column_type, c.nullable] for c in table.columns], table.primary_key]
        for table in tables
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _entry(seen: TableProfile, before: Any, waiting: tuple[str, ...]) -> dict[str, Any]:
    table, category, strategy = seen.table, seen.category, seen.strategy
    batch_rows = partitioning.rows_per_partition(table, None, limits.scan_bytes_max)
    held_rows = partitioning.scanned(table, None) or partitioning.rows_per_partition(
        table, None, limits.partition_bytes_max
    )
    held = max(min(table.rows, held_rows) * table.row_bytes, seen.probed.widest if seen.probed else 0)
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
        "estimated_processing_time_minutes": _minutes(seen, before),
        # The rows as Arrow, their text, and an encoded batch.
        "memory_requirements_mb": max(1, round(3 * held / limits.MIB)),
        "monitoring": {
            "alert_on_failure": True,
            "alert_on_slow_extraction": category in ("large", "medium"),
            "performance_threshold_records_per_second": _SLOW_ROWS_PER_SECOND[category],
        },
        "primary_key": None if not key else key[0] if len(key) == 1 else list(key),
    }
    if waiting:
        entry["quarantined_columns"] = list(waiting)
    if isinstance(before, dict) and before.get("overrides"):
        entry["overrides"] = before["overrides"]
    return entry


def _minutes(seen: TableProfile, before: Any) -> float:
    """How long reading a table in full takes; what the file says, while that is near, or nothing better is known."""
    seconds = estimate.full_load_seconds(seen.table) if seen.seconds is None else seen.seconds
    minutes = round(seconds / 60, 1)
    said = before.get("estimated_processing_time_minutes") if isinstance(before, dict) else None
    if not isinstance(said, int | float) or isinstance(said, bool):
        return minutes
    near = abs(said - minutes) <= max(0.1, limits.estimate_near * minutes)
    return said if near or not seen.remembers else minutes
