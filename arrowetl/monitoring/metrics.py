"""
The state of the warehouse's tables as Prometheus reads it from a text file.

Pure. Names and labels are kept from version to version; `status` writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

# Name → what it is; those of a run, and those of a table, by the table's name.
RUN_METRICS = {
    "arrowetl_run_started_timestamp_seconds": "When the last run began.",
    "arrowetl_run_ended_timestamp_seconds": "When the last run ended; absent while it is at work, or if it was killed.",
    "arrowetl_run_exit_code": "Of the last run; 0 is all good.",
    "arrowetl_tables": "Tables that the warehouse has a record of.",
    "arrowetl_tables_failed": "Tables whose last run failed.",
    "arrowetl_tables_overdue": "Tables whose last success is older than tables.yml allows.",
}
TABLE_METRICS = {
    "arrowetl_table_rows": "Rows at the warehouse.",
    "arrowetl_table_failed": "1 where the last run of it failed.",
    "arrowetl_table_differs": "1 where the last verification of what it holds found that it differs.",
    "arrowetl_table_overdue": "1 where its last success is older than tables.yml allows.",
    "arrowetl_table_last_success_timestamp_seconds": "When it was last proven current.",
    "arrowetl_table_changed_timestamp_seconds": "When its rows last changed.",
    "arrowetl_table_verified_timestamp_seconds": "When what it holds was last verified; absent where it changed since.",
    "arrowetl_table_duration_seconds": "What its last run took.",
}


def text(run: Mapping[str, Any] | None, tables: Sequence[Mapping[str, Any]], clinic: str = "") -> str:
    """The file's content; with a label for the clinic, where there are many."""
    whose = {"clinic": clinic} if clinic else {}
    failed = sum(row["load_status"] == "failed" for row in tables)
    of_run = {
        "arrowetl_run_started_timestamp_seconds": run and run["started_at"],
        "arrowetl_run_ended_timestamp_seconds": run and run["ended_at"],
        "arrowetl_run_exit_code": run and run["exit_code"],
        "arrowetl_tables": len(tables),
        "arrowetl_tables_failed": failed,
        "arrowetl_tables_overdue": sum(row["overdue"] for row in tables),
    }
    lines = [line for name, help_ in RUN_METRICS.items() for line in _metric(name, help_, [(whose, of_run[name])])]
    for name, help_ in TABLE_METRICS.items():
        lines += _metric(name, help_, [({**whose, "table": row["table"]}, _of_table(name, row)) for row in tables])
    return "\n".join(lines) + "\n"


def _of_table(name: str, row: Mapping[str, Any]) -> Any:
    return {
        "arrowetl_table_rows": row["rows"],
        "arrowetl_table_failed": row["load_status"] == "failed",
        "arrowetl_table_differs": row["differed_at"] is not None,
        "arrowetl_table_overdue": row["overdue"],
        "arrowetl_table_last_success_timestamp_seconds": row["checked_at"],
        "arrowetl_table_changed_timestamp_seconds": row["loaded_at"],
        "arrowetl_table_verified_timestamp_seconds": row["verified_at"],
        "arrowetl_table_duration_seconds": row["seconds"],
    }[name]


def _metric(name: str, help_: str, values: Iterable[tuple[Mapping[str, str], Any]]) -> list[str]:
    lines = [f"# HELP {name} {help_}", f"# TYPE {name} gauge"]
    for labels, value in values:
        if value is None:
            continue
        number = value.timestamp() if isinstance(value, datetime) else float(value)
        label_text = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        lines.append(f"{name}{{{label_text}}} {number:.15g}" if label_text else f"{name} {number:.15g}")
    return lines if len(lines) > 2 else []


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
