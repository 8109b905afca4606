"""
The state of the warehouse's tables as Prometheus reads it from a text file.

Pure. Names and labels are kept from version to version; `status` writes them, prometheus_client spells them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

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
    registry = CollectorRegistry()
    registry.register(_Gauges([
        *(_gauge(name, help_, [(whose, of_run[name])]) for name, help_ in RUN_METRICS.items()),
        *(_gauge(name, help_, [({**whose, "table": row["table"]}, _of_table(name, row)) for row in tables])
          for name, help_ in TABLE_METRICS.items()),
    ]))  # fmt: skip
    return generate_latest(registry).decode()


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


def _gauge(name: str, help_: str, values: Iterable[tuple[Mapping[str, str], Any]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_)
    for labels, value in values:
        if value is not None:
            family.add_sample(name, dict(labels), value.timestamp() if isinstance(value, datetime) else float(value))
    return family


class _Gauges(Collector):
    def __init__(self, families: Sequence[GaugeMetricFamily]) -> None:
        self._families = families

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Those that have a value: a metric without one is absent."""
        return (family for family in self._families if family.samples)
