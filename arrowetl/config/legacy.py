"""
A tables.yml of a previous pipeline → one as ours, and what of it is ignored.

Pure. `tables_yml` reads every file through it.
"""

from __future__ import annotations

from typing import Any

from arrowetl.model.connection import PRIORITIES

# Keys of a previous pipeline's file that are ignored: its watermarks are not trusted.
_OF_A_PREDECESSOR = {
    "metadata": {"configuration_version", "analysis_timestamp", "performance_optimizations_enabled",
                 "optimization_features"},
    "table": {"incremental_strategy", "schema_hash", "last_analyzed", "is_modeled", "dbt_model_types", "error",
              "column_names", "sync_profile", "replicator_watermark_column", "lookback_resync"},
    "monitoring": {"memory_alert_threshold_mb"},
}  # fmt: skip


def modernized(document: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A previous pipeline's tables.yml as ours, and notes about it; others stay as they are. Pure."""
    left: set[str] = set()
    tables = document.get("tables")
    changed = dict(document)
    if "metadata" in document:
        changed["metadata"] = _without(document["metadata"], "metadata", left)
    if isinstance(tables, dict):
        changed["tables"] = {name: _modern(entry, left) for name, entry in tables.items()}
    if not left:
        return document, []
    note = f"{', '.join(sorted(left))}: from a previous pipeline; ignored. `arrowetl analyze` rewrites the file"
    return changed, [note]


def _modern(entry: Any, left: set[str]) -> Any:
    entry = _without(entry, "table", left)
    if isinstance(entry, dict) and "monitoring" in entry:
        entry = {**entry, "monitoring": _without(entry["monitoring"], "monitoring", left)}
    priority = entry.get("processing_priority") if isinstance(entry, dict) else None
    if isinstance(priority, int) and not isinstance(priority, bool) and 1 <= priority <= 10:
        left.add("processing_priority as a number")
        entry = {**entry, "processing_priority": PRIORITIES[0 if priority <= 3 else 1 if priority <= 6 else 2]}
    return entry


def _without(mapping: Any, part: str, left: set[str]) -> Any:
    if not isinstance(mapping, dict) or not (old := _OF_A_PREDECESSOR[part] & mapping.keys()):
        return mapping
    left |= old
    return {key: value for key, value in mapping.items() if key not in old}
