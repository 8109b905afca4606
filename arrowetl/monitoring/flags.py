"""
What a person should look at although nothing failed, and which of it is an alert: by tables.yml's `monitoring`.

Pure. `run` asks it once all tables have ended; `webhook` sends what is worth
an alert.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from arrowetl import limits
from arrowetl.errors import WITHHELD
from arrowetl.model.connection import TableSettings
from arrowetl.model.plan import Mode
from arrowetl.model.result import Flag, Outcome, Status, Summary
from arrowetl.model.state import TargetState

KINDS = ("coerced", "unsettled", "slow", "grew", "shrank", "overdue")


def flags(outcome: Outcome, settings: TableSettings, before: TargetState, now: datetime) -> tuple[Flag, ...]:
    """
    Args:
        before: what was recorded of the table when the run began.
    """
    if outcome.status is Status.FAILED:
        return overdue(outcome.table, before.checked_at, settings, now)
    if outcome.status is not Status.SUCCEEDED:
        return ()
    found = []
    if counts := outcome.coerced():
        words = ", ".join(f"{column} {count:,}" for column, count in counts.items())
        found.append(Flag("coerced", f"{outcome.table}: values that the warehouse cannot hold: {words}"))
    if outcome.settled is False:
        found.append(Flag("unsettled", f"{outcome.table}: written to while it was read"))
    return (*found, *_slow(outcome, settings), *_grown(outcome, before))


def overdue(table: str, checked_at: datetime | None, settings: TableSettings, now: datetime) -> tuple[Flag, ...]:
    """Of a table that was verified up to date once: its last success is older than tables.yml allows."""
    days = settings.get("time_gap_threshold_days", limits.time_gap_days)
    if checked_at is None or settings.excluded or not days:  # 0 asks for comparisons, and for no alarms
        return ()
    age = now - checked_at.replace(tzinfo=checked_at.tzinfo or UTC)
    if age <= timedelta(days=days):
        return ()
    return (Flag("overdue", f"{table}: its last success is {age.days} days old, {days} are allowed"),)


def _slow(outcome: Outcome, settings: TableSettings) -> tuple[Flag, ...]:
    """Of tables that were read in full, for so long that the rate means something."""
    least = (settings.get("monitoring") or {}).get("performance_threshold_records_per_second")
    long = outcome.seconds >= limits.slow_seconds_min and outcome.rows_extracted >= limits.slow_rows_min
    if not least or outcome.mode is not Mode.FULL or not long:
        return ()
    rate = outcome.rows_extracted / outcome.seconds
    if rate >= least:
        return ()
    return (Flag("slow", f"{outcome.table}: {rate:,.0f} rows/s, its threshold is {least:,.0f}"),)


def _grown(outcome: Outcome, before: TargetState) -> tuple[Flag, ...]:
    rows, now = before.rows, outcome.rows_warehouse if outcome.rows_warehouse is not None else outcome.rows_replica
    if not rows or now is None or max(rows, now) < limits.growth_rows_min:
        return ()
    for kind, is_so in (("grew", now > rows * limits.growth_max), ("shrank", now * limits.growth_max < rows)):
        if is_so:
            return (Flag(kind, f"{outcome.table}: {now:,} rows, there were {rows:,}"),)
    return ()


def alerts(summary: Summary, settings: Mapping[str, TableSettings]) -> list[dict[str, Any]]:
    """What tables.yml wants alerts for: tables that failed or that no run loads, and those that were slow."""
    found: list[dict[str, Any]] = []
    for name, flag in summary.overdue.items():
        if _wanted(name, settings).get("alert_on_failure", True):
            found.append({"table": name, **flag.as_json()})
    for outcome in summary.outcomes:
        wanted = _wanted(outcome.table, settings)
        # Of what was withheld the cause is reported, once.
        is_cause = outcome.failure is not None and outcome.failure.kind != WITHHELD
        if outcome.failure and is_cause and wanted.get("alert_on_failure", True):
            found.append({"table": outcome.table, **outcome.failure.as_json(), "kind": "failed"})
        if wanted.get("alert_on_slow_extraction", False):
            found += [{"table": outcome.table, **flag.as_json()} for flag in outcome.flags if flag.kind == "slow"]
    return found


def late(rows: Sequence[Mapping[str, Any]], settings: Mapping[str, TableSettings]) -> list[dict[str, Any]]:
    """The same of what the warehouse says, where no run may have come to report it."""
    found: list[dict[str, Any]] = []
    for row in rows:
        if not _wanted(row["table"], settings).get("alert_on_failure", True):
            continue
        # Of what was withheld the cause is reported, once.
        if row["load_status"] == "failed" and not (row["error"] or "").startswith(WITHHELD):
            # The record has the error's class before its words.
            message = (row["error"] or "").partition(": ")[2]
            remedy = f"arrowetl run --table {row['table']}; if it fails again, it says what to do about it"
            found.append({"table": row["table"], "kind": "failed", "message": message, "remedy": remedy})
        if row["overdue"]:
            days = (row["lag_seconds"] or 0) // 86_400
            found.append({"table": row["table"], "kind": "overdue",
                         "message": f"{row['table']}: its last success is {days} days old"})  # fmt: skip
    return found


def missed(rows: Sequence[Mapping[str, Any]], now: datetime) -> str:
    """
    That a run did not come, in words: half of the tables and more should have been proven current by now, by how far
    apart their runs are; empty where it is not so.
    """
    # Of one that failed a run did come.
    came = [row for row in rows if row["load_status"] != "failed" and row["expected_at"]]
    due = [row for row in came if (row["interval_seconds"] or 0) >= limits.late_interval_min]
    late = [
        row["expected_at"]
        for row in due
        if now > row["expected_at"] + timedelta(seconds=limits.late_share * row["interval_seconds"])
    ]
    if not late or len(late) < len(due) / 2:
        return ""
    return (
        f"no run came: {len(late)} of {len(rows)} tables were due by {min(late):%Y-%m-%d %H:%M} UTC, by what was usual"
    )


def _wanted(table: str, settings: Mapping[str, TableSettings]) -> Mapping[str, Any]:
    return settings.get(table, TableSettings()).get("monitoring") or {}
