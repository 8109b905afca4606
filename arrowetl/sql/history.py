"""
What every run leaves behind at the warehouse, and what is asked of it later.

Pure, in PostgreSQL's language: `etl_run_history` has a row for each run,
`etl_table_history` one for each table of it, both made by `tracking`. `ledger`
says it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from arrowetl import limits
from arrowetl.outcome import Outcome, Summary
from arrowetl.sql.names import postgres_literal, postgres_name
from arrowetl.sql.tracking import postgres_values

_HISTORY = (
    "run_id, table_name, mode, status, started_at, seconds, partitions, rows_extracted, rows_inserted, rows_updated, "
    "rows_deleted, bytes_extracted, coerced, settled, verdict, error, reason, rows_planned, seconds_planned, "
    "journey"
)


def history(namespace: str, run_id: str, outcomes: Iterable[tuple[Outcome, datetime]]) -> str:
    """What happened to tables in a run, and what had been planned."""
    rows = [f"({_history_values(run_id, outcome, started_at)})" for outcome, started_at in outcomes]
    return f"INSERT INTO {postgres_name(namespace)}.etl_table_history ({_HISTORY}) VALUES {', '.join(rows)}"


def _history_values(run_id: str, outcome: Outcome, started_at: datetime) -> str:
    failure = outcome.failure
    return postgres_values(
        run_id, outcome.table, outcome.mode.value, outcome.status.value, started_at.astimezone(UTC),
        f"{outcome.seconds:.6f}", outcome.partitions, outcome.rows_extracted, outcome.changes.inserted,
        outcome.changes.updated, outcome.changes.deleted, outcome.bytes_extracted,
        json.dumps([coercion.as_json() for coercion in outcome.coercions]), outcome.settled, outcome.verdict,
        failure and f"{failure.kind}: {failure.message}", outcome.reason, outcome.expected.rows,
        f"{outcome.expected.seconds:.3f}", outcome.journey.value,
    )  # fmt: skip


def ended(namespace: str, summary: Summary, pace: str | None, way: str, planned: Mapping[str, Any]) -> str:
    """What a run did, in its row."""
    totals = summary.totals()
    values = {
        "ended_at": summary.ended_at, "exit_code": summary.exit_code, "tables": totals["tables"],
        "failed": totals["failed"], "rows_extracted": totals["rows_extracted"],
        "bytes_extracted": totals["bytes_extracted"], "way": way, "pace": pace, "planned": json.dumps(planned),
    }  # fmt: skip
    said = ", ".join(f"{name} = {postgres_values(value)}" for name, value in values.items())
    table = f"{postgres_name(namespace)}.etl_run_history"
    return f"UPDATE {table} SET {said} WHERE run_id = {postgres_literal(summary.run_id)}"


def flagged(namespace: str, run_id: str, outcomes: Iterable[Outcome]) -> str:
    """What a person should look at, beside what happened; some outcome must have a flag."""
    rows = ", ".join(
        f"({postgres_values(one.table, json.dumps([flag.as_json() for flag in one.flags]))})"
        for one in outcomes if one.flags
    )  # fmt: skip
    return (
        f"UPDATE {postgres_name(namespace)}.etl_table_history h SET flags = f.flags::jsonb "
        f"FROM (VALUES {rows}) f (name, flags) WHERE h.run_id = {postgres_literal(run_id)} AND h.table_name = f.name"
    )


def past_tables(namespace: str, way: str) -> str:
    """
    Table, journey, seconds and rows that were to be read, of the last few runs of each that went one way and succeeded;
    the latest first.
    """
    # The key begins with the moment at which a run began.
    since = f"to_char(now() - interval '{limits.estimate_days} days', 'YYYYMMDD')"
    return (
        "SELECT table_name, journey, seconds, rows_planned FROM ("
        "SELECT t.table_name::text, t.journey::text, t.seconds, t.rows_planned, row_number() OVER ("
        "PARTITION BY t.table_name, t.journey ORDER BY t.started_at DESC) AS nth "
        f"FROM {postgres_name(namespace)}.etl_table_history t "
        f"JOIN {postgres_name(namespace)}.etl_run_history r ON r.run_id = t.run_id AND r.way = {postgres_literal(way)} "
        f"WHERE t.run_id > {since} AND t.status = 'succeeded' AND t.journey IS NOT NULL) h "
        f"WHERE nth <= {limits.estimate_runs} ORDER BY table_name, journey, nth"
    )


def past_runs(namespace: str, way: str) -> str:
    """Seconds of the last few runs that went one way, and of their tables by themselves; the latest first."""
    return (
        "SELECT extract(epoch FROM ended_at - started_at)::double precision, (planned->>'makespan')::double precision "
        f"FROM {postgres_name(namespace)}.etl_run_history WHERE way = {postgres_literal(way)} "
        "AND planned->>'makespan' IS NOT NULL AND exit_code = 0 "
        f"ORDER BY started_at DESC LIMIT {limits.estimate_runs}"
    )


LAST = (
    "table", "load_status", "rows", "loaded_at", "checked_at", "run_id", "mode", "seconds", "verdict", "settled",
    "error", "flags", "rows_changed", "seconds_usual", "interval_seconds", "verified_at", "differed_at",
)  # fmt: skip
"""What `last` tells of each table."""


def last(namespace: str) -> str:
    """Each table's record, joined with its last outcome, what its last runs took, and when it was last verified."""
    place = postgres_name(namespace)
    since = f"to_char(now() - interval '{limits.estimate_days} days', 'YYYYMMDD')"
    past = (
        "SELECT table_name, "
        "percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE status = 'succeeded') AS seconds, "
        "percentile_cont(0.5) WITHIN GROUP (ORDER BY gap) AS gap FROM (SELECT table_name, status, seconds, "
        "extract(epoch FROM lag(started_at) OVER w - started_at) AS gap, row_number() OVER w AS nth "
        f"FROM {place}.etl_table_history WHERE run_id > {since} AND status <> 'failed' "
        "WINDOW w AS (PARTITION BY table_name ORDER BY started_at DESC)) each_run "
        f"WHERE nth <= {limits.estimate_runs + 1} GROUP BY 1"
    )
    return (
        "SELECT s.table_name::text, s.load_status::text, s.rows_total, s._loaded_at, s._checked_at, "
        "s.run_id::text, h.mode::text, h.seconds, h.verdict::text, h.settled, h.error, h.flags::text, "
        "h.rows_inserted - h.rows_deleted, p.seconds, p.gap::double precision, "
        "CASE WHEN v.version = s.version AND v.differed_at IS NULL THEN v.verified_at END, "
        "CASE WHEN v.version = s.version THEN v.differed_at END "
        f"FROM {place}.etl_load_status s LEFT JOIN {place}.etl_table_history h "
        "ON h.run_id = s.run_id AND h.table_name = s.table_name "
        f"LEFT JOIN ({past}) p ON p.table_name = s.table_name "
        f"LEFT JOIN {place}.etl_verified v ON v.table_name = s.table_name ORDER BY s.table_name"
    )


RUN = ("run_id", "started_at", "ended_at", "exit_code", "tables", "failed")
"""What `last_run` tells."""


def last_run(namespace: str) -> str:
    """The last run that there was, be it at its end or not."""
    return (
        "SELECT run_id::text, started_at, ended_at, exit_code, tables, failed "
        f"FROM {postgres_name(namespace)}.etl_run_history ORDER BY started_at DESC LIMIT 1"
    )
