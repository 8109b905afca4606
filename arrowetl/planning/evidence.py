"""
What may be trusted about a table without reading it, and why: one proof per kind of evidence.

Pure, and the only place where something is called unchanged or as
recorded. Each proof says what it needs, and what it cannot see; where it is in
doubt there is none, and the table is read. `sync_mode` decides by them what a run
does, `since_last` what `verify --changed` need not read, `load_table` whether what was
read may be trusted later; `judgement` gives the overall verdict.

    kind      needs                                         cannot see
    time      MyISAM, whose UPDATE_TIME moves at each       a change within the same second: UPDATE_TIME must be older
              write (no Windows, no mmap); no table that    than that when it is read; a table of another database in
              could have taken its place                    its place, made and written in the same second
    nothing   an engine that counts its rows exactly        (an empty table has nothing else to see)
    checksum  all rows added up at the source, and at       two rows whose 60 bits are the same; columns that are
              the replica now, or when they were read       left out (masked, or of the clock)
    count     the rows of a target as recorded              rows that were changed, or exchanged, by somebody else
    identity  server, database, and when a table was made   a table that was emptied and filled again in its place
    watermark timestamps that the server sets at each       changes that move no timestamp, and timestamps that come
              change                                        later than the overlap: found when all is compared
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from arrowetl import limits
from arrowetl.model.plan import Column, Table, TablePlan
from arrowetl.model.state import SourceStats, TargetState


@dataclass(frozen=True, slots=True)
class Proof:
    """That something is as it was, and by what."""

    kind: str
    words: str


def update_time_doubts(compiled_for: str, through_mmap: bool) -> str:
    """
    Why a server's UPDATE_TIME of MyISAM tables proves nothing, in words; empty where it does.

    >>> update_time_doubts("debian-linux-gnu", False)
    ''
    >>> update_time_doubts("Win64", False)
    'the source runs on Windows, where a MyISAM table keeps its UPDATE_TIME while it is open'
    """
    if compiled_for.strip().lower().startswith("win"):
        return "the source runs on Windows, where a MyISAM table keeps its UPDATE_TIME while it is open"
    if through_mmap:
        return "the source writes MyISAM through mmap (myisam_use_mmap), which moves no table's time"
    return ""


def unchanged(table: Table, record: TargetState, at_replica: int | None = None) -> Proof | None:
    """
    Why the source's table is certainly as it was when it was last read; None when in doubt.

    Args:
        at_replica: what the replica says its rows add up to, where it was asked.
    """
    before = record.as_of.reading if record.as_of else None
    if before is None:
        return None
    return _nothing(table, before) or _update_time_proof(table, before) or _checksum(table, before, at_replica)


def _nothing(table: Table, before: SourceStats) -> Proof | None:
    """An empty table is what it was, whoever made it when, and whatever its UPDATE_TIME is worth."""
    if table.engine == "MyISAM" and table.rows == before.rows == 0:
        return Proof("nothing", "as empty as it was")
    return None


def _update_time_proof(table: Table, before: SourceStats) -> Proof | None:
    if not has_reliable_update_time(table):
        return None
    now = (table.rows, table.update_time, table.create_time)
    if now != (before.rows, before.update_time, before.create_time) or not is_old_enough(before):
        return None
    return Proof("update_time", f"unchanged since {table.update_time:%Y-%m-%d %H:%M:%S}")


def _checksum(table: Table, before: SourceStats, at_replica: int | None) -> Proof | None:
    if table.checksum is None or table.checksum != before.checksum:
        return None
    # What was recorded may be the sum of rows that were changed while they were read, and changed back.
    return Proof("checksum", "its checksum is what it was") if at_replica in (None, table.checksum) else None


def has_reliable_update_time(table: Table) -> bool:
    """Whether each change of a table moves its UPDATE_TIME."""
    return table.engine == "MyISAM" and table.update_time is not None and update_time_is_usable(table)


def update_time_is_usable(table: Table) -> bool:
    """Whether what the server says of when a table changed is worth anything."""
    return not (table.update_time_doubted or table.exchangeable or table.exchanges_partitions)


def is_old_enough(reading: SourceStats) -> bool:
    """Whether a later change would have moved the table's UPDATE_TIME, which has no fractions of a second."""
    grain = timedelta(seconds=limits.update_time_grain_seconds)
    return (
        reading.update_time_reliable and reading.update_time is not None and reading.now - reading.update_time > grain
    )


def is_checked_by_checksum(plan: TablePlan) -> bool:
    """
    Whether the checksum of all rows decides if the table changed: it is small, and no other evidence exists. Columns
    left out of checksums would change unnoticed.
    """
    return (
        not has_reliable_update_time(plan.table)
        and not plan.left_out
        and plan.table.rows <= limits.checksum_table_rows_max
    )


def is_unchanged(before: SourceStats, after: SourceStats) -> bool:
    """Whether nothing that can be seen of a table moved between two looks at it."""
    return all(
        getattr(before, what) == getattr(after, what) for what in ("rows", "update_time", "create_time", "checksum")
    )


def may_have_changed_unnoticed(before: SourceStats, after: SourceStats, found: int) -> bool:
    """
    Whether a table that seems unchanged may have been written to all the same, so that another number of rows
    was found in it, range after range, than it ever had: as many came as were deleted, no UPDATE_TIME says so, and the
    server wrote and removed as many rows meanwhile.
    """
    if before.server_changes is None or after.server_changes is None:
        return False
    return after.server_changes - before.server_changes >= abs(found - before.rows)


def settled(before: SourceStats, after: SourceStats) -> bool | None:
    """Whether a table did not change while it was read; None where that cannot be known."""
    if not is_unchanged(before, after):
        return False
    return True if before.checksum is not None or is_old_enough(before) else None


def trusted_long_enough(record: TargetState, now: datetime, days: int) -> str | None:
    """
    Why a table is not left unread once more although nothing seems to have changed: it was compared too long ago.

    What cannot be seen by the evidence above is found then at the latest.
    """
    compared = record.as_of.compared_at if record.as_of else None
    if compared is None or now - compared >= timedelta(days=days):
        return f"full comparison every {days} days"
    return None


# --- targets ------------------------------------------------------------------------------------


def miscounted_target(record: TargetState, counted: int | None) -> str | None:
    """
    Why a target's record is not trusted: the table has another number of rows. None where it was not counted.
    """
    if counted is None or record.rows is None or record.version is None or counted == record.rows:
        return None
    return f"it has {counted:,} rows, and {record.rows:,} are recorded"


def untouched(record: TargetState, update_time: datetime | None, estimated_rows: int) -> bool:
    """
    Whether only runs have written a target's table, by the engine's own word for when it was last written: of
    InnoDB one that is forgotten when the server restarts, and then proves nothing; nor does TRUNCATE move it, which
    only the estimate of its rows shows.
    """
    if update_time is None or record.changed_at is None or (record.rows and not estimated_rows):
        return False
    # A run's own COMMIT comes a little after it has noted the time.
    own = timedelta(seconds=limits.own_commit_seconds)
    return update_time.replace(tzinfo=UTC) <= record.changed_at + own


def another_shape(record: TargetState, now: str) -> bool:
    """Whether the replica's table has other columns, keys or triggers than a run gave it: its rows may be bent."""
    recorded = record.as_of.at_replica if record.as_of else ""
    return bool(recorded and now) and recorded != now


def another_source(recorded: str, now: str) -> bool:
    """Whether another server or database is read than the last time."""
    return recorded != now


# --- watermarks ---------------------------------------------------------------------------------


def is_auto_updated(column: Column) -> bool:
    """Whether the server itself updates the column at every change."""
    return column.data_type in ("timestamp", "datetime") and "on update current_timestamp" in column.extra.lower()


def unstamped_changes(table: Table) -> str | None:
    """Why rows of a table may change without moving a timestamp, in words."""
    if table.exchanges_partitions:
        return table.exchanges_partitions
    if table.cascades:
        return f"foreign keys change rows without a timestamp ({', '.join(table.cascades)})"
    return None


def rest_is_fully_compared(plan: TablePlan) -> bool:
    """Whether an incremental load adds up full rows of all that it does not read, and not their keys alone."""
    return plan.table.rows <= limits.full_row_checksum_rows_max and not plan.left_out


def overlap(column: Column) -> timedelta:
    """
    How far below the recorded watermark an incremental read begins again: how late a timestamp may become visible.

    A DATETIME is set in the zone of the session that writes, and zones are 26 hours apart.
    """
    hours = {"date": 24 + limits.time_zones_span_hours, "datetime": limits.time_zones_span_hours}.get(
        column.data_type, 0
    )
    return timedelta(seconds=limits.watermark_overlap_seconds, hours=hours)


def went_back(watermark: str | None, highest: str | None) -> bool:
    """
    Whether the highest timestamp is lower than the one that was reached before: rows, or all of the table, were
    restored from an earlier state.

    >>> went_back("2026-01-02T03:04:05", "2026-01-01 23:00:00"), went_back(None, "2026-01-01"), went_back("7", "9")
    (True, False, False)
    """
    if watermark is None:
        return False
    if highest is None:
        return True
    try:
        return _timestamp(highest) < _timestamp(watermark)
    except ValueError:
        return _as_integer(highest) < _as_integer(watermark)


def _timestamp(text: str) -> datetime:
    timestamp = datetime.fromisoformat(text)
    return timestamp.astimezone(UTC).replace(tzinfo=None) if timestamp.tzinfo else timestamp


def _as_integer(text: str) -> int:
    return int(text) if text.lstrip("-").isdigit() else 0


# --- many tables --------------------------------------------------------------------------------


def missing(known: Iterable[str], seen: Collection[str]) -> list[str]:
    """Tables that existed, and that the source no longer has, or does not show to this account."""
    return sorted(set(known) - set(seen))
