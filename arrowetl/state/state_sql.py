"""
What is written into the tracking tables, and read from them.

Pure, and in both languages: `etl_copy_status` at the replica and
`etl_load_status` at the warehouse hold one row per table; what the history
tables get is in `history_sql`. `ledger` executes it, or a loader in the transaction
in which it changes the rows that are recorded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from arrowetl.model.result import Coercion, RowCounts, coercions_text
from arrowetl.model.state import SourceStats, SyncPoint
from arrowetl.sql import mysql_literal, postgres_literal, postgres_name


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be recorded of a table that is up to date at a target."""

    table: str
    run_id: str
    rows: int
    version: str | None
    as_of: SyncPoint | None
    watermark: str | None = None
    watermark_column: str | None = None
    forgets_watermark: bool = False
    """Whether the column of the recorded watermark is left out or masked now."""
    coerced: tuple[Coercion, ...] = ()
    current_at: datetime | None = None
    """As of when its rows are the source's; None is now."""


def recorded_copy(entry: Entry, changes: RowCounts) -> str:
    """The replica's row of a table, in its database."""
    values: dict[str, Any] = {
        "copy_status": "success",
        "rows_total": entry.rows,
        "run_id": entry.run_id,
        "version": entry.version,
        "as_of": as_of_text(entry.as_of),
        **_watermark(entry),
    }
    said = {name: mysql_literal(value) for name, value in values.items()} | {"_checked_at": "UTC_TIMESTAMP()"}
    if changes:
        said |= {"rows_copied": str(changes.inserted + changes.updated), "last_copied": "UTC_TIMESTAMP()"}
    first = {"rows_copied": "0", "last_copied": "UTC_TIMESTAMP()"} | said
    updates = ", ".join(f"{name} = {value}" for name, value in said.items())
    return (
        f"INSERT INTO etl_copy_status (table_name, {', '.join(first)}) "
        f"VALUES ({mysql_literal(entry.table)}, {', '.join(first.values())}) ON DUPLICATE KEY UPDATE {updates}"
    )


def _watermark(entry: Entry) -> dict[str, Any]:
    """What is recorded stays where a table has none; but nothing of a column that is no longer to be known."""
    if entry.watermark_column is None:
        return {"last_primary_value": None, "primary_column_name": None} if entry.forgets_watermark else {}
    return {"last_primary_value": entry.watermark, "primary_column_name": entry.watermark_column}


def recorded_load(namespace: str, entry: Entry, changes: RowCounts) -> str:
    """The warehouse's row of a table: `_loaded_at` moves when data changed, `_checked_at` whenever it is current."""
    now = "(now() AT TIME ZONE 'UTC')"
    values: dict[str, Any] = {
        "load_status": "success",
        "rows_total": entry.rows,
        "run_id": entry.run_id,
        "version": entry.version,
        "as_of": as_of_text(entry.as_of),
        **_watermark(entry),
        "coerced": coercions_text(entry.coerced),
    }
    checked = postgres_literal(entry.current_at.replace(tzinfo=None).isoformat()) if entry.current_at else now
    said = {name: postgres_literal(value) for name, value in values.items()} | {"_checked_at": checked}
    if changes:
        said |= {"rows_loaded": str(changes.inserted + changes.updated), "_loaded_at": now}
    first = {"rows_loaded": "0", "_loaded_at": now} | said
    updates = ", ".join(f"{name} = excluded.{name}" for name in said)
    return (
        f"INSERT INTO {postgres_name(namespace)}.etl_load_status (table_name, {', '.join(first)}) "
        f"VALUES ({postgres_literal(entry.table)}, {', '.join(first.values())}) "
        f"ON CONFLICT (table_name) DO UPDATE SET {updates}"
    )


def failed_copy(table: str, run_id: str) -> str:
    """A failure leaves what was recorded before."""
    name, run = mysql_literal(table), mysql_literal(run_id)
    return (
        f"INSERT INTO etl_copy_status (table_name, copy_status, run_id) VALUES ({name}, 'failed', {run}) "
        f"ON DUPLICATE KEY UPDATE copy_status = 'failed', run_id = {run}"
    )


def failed_load(namespace: str, table: str, run_id: str) -> str:
    return (
        f"INSERT INTO {postgres_name(namespace)}.etl_load_status (table_name, load_status, run_id) "
        f"VALUES ({postgres_values(table, 'failed', run_id)}) "
        "ON CONFLICT (table_name) DO UPDATE SET load_status = 'failed', run_id = excluded.run_id"
    )


def checked_copy(tables: Iterable[str], run_id: str) -> str:
    """Tables that were proven current, all at once."""
    names = ", ".join(map(mysql_literal, tables))
    return (
        f"UPDATE etl_copy_status SET copy_status = 'success', _checked_at = UTC_TIMESTAMP(), "
        f"run_id = {mysql_literal(run_id)} WHERE table_name IN ({names})"
    )


def checked_load(namespace: str, tables: Iterable[str], run_id: str, from_source: bool = True) -> str:
    """
    Args:
        from_source: whether the source was asked: what only the replica is known to have is as old as it was.
    """
    names = ", ".join(map(postgres_literal, tables))
    checked = "_checked_at = now() AT TIME ZONE 'UTC', " if from_source else ""
    return (
        f"UPDATE {postgres_name(namespace)}.etl_load_status SET load_status = 'success', "
        f"{checked}run_id = {postgres_literal(run_id)} WHERE table_name IN ({names})"
    )


def in_doubt(table: str) -> str:
    """From now on the replica's rows are in doubt, until they are recorded."""
    return (
        f"UPDATE etl_copy_status SET version = CONCAT('{_DOUBT}', version) "
        # One that is in doubt already stays so: a column has a maximum length.
        f"WHERE table_name = {mysql_literal(table)} AND LEFT(version, {len(_DOUBT)}) <> '{_DOUBT}'"
    )


def no_doubt(table: str) -> str:
    """It was refused: the replica holds what it held."""
    return (
        f"UPDATE etl_copy_status SET version = SUBSTR(version, {len(_DOUBT) + 1}) "
        f"WHERE table_name = {mysql_literal(table)} AND LEFT(version, {len(_DOUBT)}) = '{_DOUBT}'"
    )


_DOUBT = "in doubt: "


def certain(version: str | None) -> str | None:
    """A recorded version; None of one that is in doubt."""
    return None if version is None or version.startswith(_DOUBT) else version


def load_in_doubt(namespace: str, table: str) -> str:
    """The same of the warehouse."""
    return (
        f"UPDATE {postgres_name(namespace)}.etl_load_status SET version = NULL "
        f"WHERE table_name = {postgres_literal(table)}"
    )


def prepared(namespace: str, table: str) -> str:
    """That rows of a table are about to be staged, where a crash of the server would empty staging."""
    return (
        f"INSERT INTO {postgres_name(namespace)}.etl_staging_status (table_name) VALUES ({postgres_literal(table)}) "
        "ON CONFLICT (table_name) DO UPDATE SET prepared_at = now()"
    )


def is_prepared(namespace: str, table: str) -> str:
    """Whether staging still exists: the server has not crashed since."""
    place = f"{postgres_name(namespace)}.etl_staging_status"
    return f"SELECT EXISTS (SELECT FROM {place} WHERE table_name = {postgres_literal(table)})"


def postgres_values(*values: Any) -> str:
    return ", ".join(postgres_literal(v.isoformat() if isinstance(v, datetime) else v) for v in values)


def as_of_question(namespace: str | None, table: str) -> str:
    """What was known of the source when a table was last in sync: at the warehouse, or the replica."""
    if namespace is None:
        return f"SELECT as_of FROM etl_copy_status WHERE table_name = {mysql_literal(table)}"
    place = f"{postgres_name(namespace)}.etl_load_status"
    return f"SELECT as_of::text FROM {place} WHERE table_name = {postgres_literal(table)}"


def watermark_question(namespace: str, table: str) -> str:
    """The watermark that the warehouse's rows have reached."""
    place = f"{postgres_name(namespace)}.etl_load_status"
    return f"SELECT last_primary_value::text FROM {place} WHERE table_name = {postgres_literal(table)}"


def as_of_text(as_of: SyncPoint | None) -> str | None:
    """As JSON."""
    if as_of is None:
        return None
    return json.dumps(
        {
            "source": as_of.source,
            "structure": as_of.structure,
            "compared_at": as_of.compared_at.isoformat(),
            "reading": as_of.reading and reading_said(as_of.reading),
            "without_key": as_of.warehouse_key_dropped,
            "masks": as_of.masks,
            "keys": as_of.keys,
            "definition": as_of.at_replica,
        }
    )


def as_of_from(text: str | None) -> SyncPoint | None:
    """
    What `as_of_text` wrote; None of anything else.
    """
    try:
        said = json.loads(text or "null")
        if said is None:
            return None
        return SyncPoint(
            source=said["source"],
            structure=said["structure"],
            compared_at=datetime.fromisoformat(said["compared_at"]),
            reading=said["reading"] and reading_of(said["reading"]),
            warehouse_key_dropped=said["without_key"],
            masks=said["masks"],
            keys=said["keys"],
            at_replica=said["definition"],
        )
    except (ValueError, KeyError, TypeError):
        return None


def reading_said(reading: SourceStats) -> dict[str, Any]:
    return {
        "rows": reading.rows,
        "update_time": reading.update_time and reading.update_time.isoformat(),
        "now": reading.now.isoformat(),
        "checksum": reading.checksum,
        "create_time": reading.create_time and reading.create_time.isoformat(),
        "stamped": reading.update_time_reliable,
    }


def reading_of(said: Mapping[str, Any]) -> SourceStats:
    """
    What `reading_said` made.

    Raises:
        KeyError, ValueError, TypeError: it is something else.
    """
    return SourceStats(
        rows=said["rows"],
        update_time=said["update_time"] and datetime.fromisoformat(said["update_time"]),
        now=datetime.fromisoformat(said["now"]),
        checksum=said["checksum"],
        create_time=said["create_time"] and datetime.fromisoformat(said["create_time"]),
        update_time_reliable=said["stamped"],
    )
