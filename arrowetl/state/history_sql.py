"""
What every run leaves behind at the warehouse, and what is asked of it later.

Pure, in PostgreSQL's language: `etl_run_history` has a row for each run,
`etl_table_history` one for each table of it, both made by `ddl`. `ledger`
says it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from arrowetl import limits
from arrowetl.model.result import Outcome, Summary, coercions_text
from arrowetl.sql import postgres_literal, postgres_name
from arrowetl.state.state_sql import postgres_values

_HISTORY = (
    "run_id, table_name, mode, status, started_at, seconds, partitions, rows_extracted, rows_inserted, rows_updated, "
    "rows_deleted, bytes_extracted, coerced, settled, verdict, error, reason, rows_planned, seconds_planned, "
    "journey, outcome"
)


def history(namespace: str, run_id: str, outcomes: Iterable[Outcome]) -> str:
    """What happened to tables in a run, and what had been planned; with the table's document."""
    rows = [f"({_history_values(run_id, outcome)})" for outcome in outcomes]
    return (
        f"INSERT INTO {postgres_name(namespace)}.etl_table_history ({_HISTORY}) VALUES {', '.join(rows)} "
        # The answer to a COMMIT may have been lost.
        "ON CONFLICT DO NOTHING"
    )


def _history_values(run_id: str, outcome: Outcome) -> str:
    failure, started_at = outcome.failure, outcome.started_at or datetime.now(UTC)
    return postgres_values(
        run_id, outcome.table, outcome.mode.value, outcome.status.value, started_at.astimezone(UTC),
        f"{outcome.seconds:.6f}", outcome.partitions, outcome.rows_extracted, outcome.changes.inserted,
        outcome.changes.updated, outcome.changes.deleted, outcome.bytes_extracted,
        coercions_text(outcome.coercions), outcome.settled, outcome.verdict,
        failure and f"{failure.kind}: {failure.message}", outcome.reason, outcome.expected.rows,
        f"{outcome.expected.seconds:.3f}", outcome.kind.value, json.dumps(outcome.as_json()),
    )  # fmt: skip


def ended(namespace: str, summary: Summary, pace: str | None, route_label: str, planned: Mapping[str, Any]) -> str:
    """What a run did, in its row."""
    totals = summary.totals()
    values = {
        "ended_at": summary.ended_at, "exit_code": summary.exit_code, "tables": totals["tables"],
        "failed": totals["failed"], "rows_extracted": totals["rows_extracted"],
        "bytes_extracted": totals["bytes_extracted"], "way": route_label, "pace": pace, "planned": json.dumps(planned),
        # Each table's part of it is in its own row.
        "document": json.dumps({**summary.as_json(), "tables": []}),
    }  # fmt: skip
    said = ", ".join(f"{name} = {postgres_values(value)}" for name, value in values.items())
    table = f"{postgres_name(namespace)}.etl_run_history"
    return f"UPDATE {table} SET {said} WHERE run_id = {postgres_literal(summary.run_id)}"


def flagged(namespace: str, run_id: str, outcomes: Iterable[Outcome]) -> str:
    """What a person should look at, in addition to what happened; some outcome must have a flag."""
    rows = ", ".join(
        f"({postgres_values(one.table, json.dumps([flag.as_json() for flag in one.flags]))})"
        for one in outcomes
        if one.flags
    )
    return (
        f"UPDATE {postgres_name(namespace)}.etl_table_history h SET flags = f.flags::jsonb "
        f"FROM (VALUES {rows}) f (name, flags) WHERE h.run_id = {postgres_literal(run_id)} AND h.table_name = f.name"
    )


def past_tables(namespace: str, route_label: str) -> str:
    """
    Table, load kind, seconds and rows that were to be read, of the last few successful runs of each on one route; the
    latest first.
    """
    # The key begins with the time at which a run began.
    since = f"to_char(now() - interval '{limits.estimate_days} days', 'YYYYMMDD')"
    return (
        "SELECT table_name, journey, seconds, rows_planned FROM ("
        "SELECT t.table_name::text, t.journey::text, t.seconds, t.rows_planned, row_number() OVER ("
        "PARTITION BY t.table_name, t.journey ORDER BY t.started_at DESC) AS nth "
        f"FROM {postgres_name(namespace)}.etl_table_history t "
        f"JOIN {postgres_name(namespace)}.etl_run_history r ON r.run_id = t.run_id "
        f"AND r.way = {postgres_literal(route_label)} "
        f"WHERE t.run_id > {since} AND t.status = 'succeeded' AND t.journey IS NOT NULL) h "
        f"WHERE nth <= {limits.estimate_runs} ORDER BY table_name, journey, nth"
    )


def past_runs(namespace: str, route_label: str) -> str:
    """Seconds of the last few runs on one route, and of their tables by themselves; the latest first."""
    return (
        "SELECT extract(epoch FROM ended_at - started_at)::double precision, (planned->>'makespan')::double precision "
        f"FROM {postgres_name(namespace)}.etl_run_history WHERE way = {postgres_literal(route_label)} "
        "AND planned->>'makespan' IS NOT NULL AND exit_code = 0 "
        f"ORDER BY started_at DESC LIMIT {limits.estimate_runs}"
    )


LAST = (
    "table", "load_status", "rows", "loaded_at", "checked_at", "run_id", "mode", "seconds", "verdict", "settled",
    "error", "flags", "rows_changed", "seconds_usual", "interval_seconds", "verified_at", "differed_at",
)  # fmt: skip
"""The columns of `last`."""


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


def mark_published(namespace: str, run_id: str, token: str) -> str:
    """By which a transaction is known to have been committed."""
    return (
        f"UPDATE {postgres_name(namespace)}.etl_run_history SET published = {postgres_literal(token)} "
        f"WHERE run_id = {postgres_literal(run_id)}"
    )


def published(namespace: str, run_id: str) -> str:
    """The token of the transaction in which a run published its tables; NULL where it did not."""
    return (
        f"SELECT published::text FROM {postgres_name(namespace)}.etl_run_history "
        # One that is being committed holds the row: then it is waited for.
        f"WHERE run_id = {postgres_literal(run_id)} FOR SHARE"
    )


def run_ids(namespace: str) -> str:
    """All runs there were, the last one first."""
    return f"SELECT run_id::text FROM {postgres_name(namespace)}.etl_run_history ORDER BY started_at DESC"


def run_document(namespace: str, run_id: str) -> str:
    """A run's document as it ended, without its tables; of one that never did, what is known of it."""
    return (
        "SELECT coalesce(document, jsonb_build_object('run_id', run_id, 'environment', "
        "environment, 'started_at', started_at, 'ended_at', ended_at, 'exit_code', exit_code, "
        "'seconds', extract(epoch FROM ended_at - started_at), 'totals', jsonb_build_object('tables', tables)))::text "
        f"FROM {postgres_name(namespace)}.etl_run_history WHERE run_id = {postgres_literal(run_id)}"
    )


def table_documents(namespace: str, run_id: str) -> str:
    """A run's document of each of its tables; of one that a killed run only recorded as done, that."""
    place, run = postgres_name(namespace), postgres_literal(run_id)
    return (
        "SELECT document FROM (SELECT table_name::text, "
        "(outcome || jsonb_build_object('flags', coalesce(flags, '[]')))::text AS document "
        f"FROM {place}.etl_table_history WHERE run_id = {run} "
        "UNION ALL SELECT table_name::text, jsonb_build_object('table', table_name, 'mode', '', 'status', "
        "CASE load_status WHEN 'success' THEN 'succeeded' ELSE 'failed' END, 'rows_warehouse', "
        "rows_total, 'reason', 'the run ended before it recorded more')::text "
        f"FROM {place}.etl_load_status s WHERE run_id = {run} AND NOT EXISTS (SELECT FROM "
        f"{place}.etl_table_history h WHERE h.run_id = {run} AND h.table_name = s.table_name)) each_table "
        "ORDER BY table_name"
    )


RUN_COLUMNS = ("run_id", "started_at", "seconds", "exit_code", "tables", "failed", "rows", "bytes", "rows_changed")
"""The columns of `recent_runs`."""


def recent_runs(namespace: str, run_id: str) -> str:
    """A run and those before it on the same route; the latest first."""
    table = f"{postgres_name(namespace)}.etl_run_history"
    changed = " + ".join(
        f"(h.document->'totals'->>'rows_{kind}')::bigint" for kind in ("inserted", "updated", "deleted")
    )
    return (
        "SELECT h.run_id::text, h.started_at, extract(epoch FROM h.ended_at - h.started_at)::double precision, "
        f"h.exit_code, h.tables, h.failed, h.rows_extracted, h.bytes_extracted, {changed} FROM {table} h "
        f"JOIN {table} this ON this.run_id = {postgres_literal(run_id)} AND h.started_at <= this.started_at "
        "AND coalesce(h.way = this.way, true) WHERE h.ended_at IS NOT NULL "
        f"ORDER BY h.started_at DESC LIMIT {limits.report_runs}"
    )


LISTED = (
    "run_id", "started_at", "ended_at", "seconds", "exit_code", "tables", "failed", "rows_extracted", "route",
)  # fmt: skip
"""The columns of `runs`."""


def runs(namespace: str, last: int) -> str:
    """The last runs, newest first, be they at their end or not."""
    return (
        "SELECT run_id::text, started_at, ended_at, extract(epoch FROM ended_at - started_at)::double precision, "
        "exit_code, tables, failed, rows_extracted, way::text "
        f"FROM {postgres_name(namespace)}.etl_run_history ORDER BY started_at DESC LIMIT {last}"
    )


def not_begun(namespace: str, document: Mapping[str, Any]) -> str:
    """A run that could not begin, in a row of its own; none where one has begun meanwhile."""
    table = f"{postgres_name(namespace)}.etl_run_history"
    names = ("run_id", "environment", "started_at", "ended_at", "exit_code")
    values = postgres_values(*(document[name] for name in names), 0, 0, json.dumps(document))
    return (
        f"INSERT INTO {table} ({', '.join(names)}, tables, failed, document) SELECT {values} "
        f"WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE started_at >= {postgres_literal(document['started_at'])})"
    )


RUN = ("run_id", "started_at", "ended_at", "exit_code", "tables", "failed", "missing", "shows_nothing", "error")
"""The columns of `last_run`."""


def last_run(namespace: str) -> str:
    """The last run that there was, be it at its end or not."""
    return (
        "SELECT run_id::text, started_at, ended_at, exit_code, tables, failed, "
        "COALESCE((SELECT array_agg(name) FROM jsonb_array_elements_text(document->'missing') name), '{}'::text[]), "
        "COALESCE((document->>'shows_nothing')::boolean, false), document->'error'->>'message' "
        f"FROM {postgres_name(namespace)}.etl_run_history ORDER BY started_at DESC LIMIT 1"
    )
