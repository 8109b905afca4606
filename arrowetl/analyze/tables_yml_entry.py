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
from arrowetl.config import keys
from arrowetl.model.plan import Table
from arrowetl.planning import estimate, partitioning, table_plan
from arrowetl.source.sample_sql import Sample

_GAP_DAYS = {"large": 60, "medium": 30, "small": 30, "tiny": 7}
_SLOW_ROWS_PER_SECOND = {"large": 3000, "medium": 2000, "small": 1000, "tiny": 500}
_PRIORITY = {"large": "high", "medium": "high", "small": "medium", "tiny": "low"}
# What everybody waits for in the morning, whatever its size.
_URGENT = frozenset({"patient", "appointment", "procedurelog", "claimproc", "payment"})


SCHEMA_LINE = "# yaml-language-server: $schema=schemas/tables.json"
FIRST_LINE = "# How arrowetl treats each table of the source. Written by `arrowetl analyze`, which rewrites it;"
HEADINGS = (SCHEMA_LINE, FIRST_LINE)
"""How the comment at the head begins, now and in earlier forms."""
_HEADING = """\
{schema_line}
{first_line}
# comments stay. What you choose goes into arrowetl.yml next to this file, whose choices hold over it.
#
# The keys of each table:
#
{meanings}
"""


def heading() -> str:
    """The comment at the head of tables.yml."""
    meanings = "\n".join(f"#   {key:<35} # {keys.MEANINGS[key]}" for key in keys.KEYS)
    return _HEADING.format(schema_line=SCHEMA_LINE, first_line=FIRST_LINE, meanings=meanings)


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
    waiting: Mapping[str, tuple[str, ...]] | None = None,
) -> dict[str, Any]:
    """
    The text of tables.yml.

    Args:
        before: the tables of the file that is there, for what is near enough.
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
        "tables": {name: _entry(seen[name], before.get(name), (waiting or {}).get(name, ())) for name in names},
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
