"""
What is recorded during a load: `etl_partition_status`, at both targets, in both languages.

A partition is recorded in the transaction that loads it, under its token: a killed
run is resumed, and a job that was done twice counts once.
Where jobs can be lost, and go on unnoticed, each attempt to load a table has a
row of its own: a session that loads rows holds it, and once it is deleted none can.
`namespace` is None at the replica.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from arrowetl.errors import DataLoadingError
from arrowetl.model.plan import Partition
from arrowetl.model.result import Coercion, coercions_from, coercions_text
from arrowetl.sql import mysql_literal, postgres_literal, postgres_name

COLUMNS = "table_name, plan, lower_key, upper_key, token, rows_staged, coerced, execution"


def note(
    namespace: str | None, table: str, plan: str, part: Partition, rows: int, coercions: Iterable[Coercion] = ()
) -> str:
    """
    A partition is complete in staging. Changes nothing where it is recorded already, or the attempt is closed.

    Args:
        plan: identifies one form of staging.
    """
    keys = (None if key is None else str(key) for key in (part.lower, part.upper))
    coerced = coercions_text(coercions)
    values = _literals(namespace, (table, plan, *keys, part.resume_token, rows, coerced, part.execution))
    place = _place(namespace)
    if part.attempt is None:
        return f"INSERT INTO {place} ({COLUMNS}) VALUES ({values})"
    held = f"FROM {place} AS attempt WHERE token = {_literal(namespace, part.attempt)}"
    if namespace is None:
        # What is read of the table it writes, MySQL reads first.
        return f"INSERT IGNORE INTO {place} ({COLUMNS}) SELECT {values} {held} LOCK IN SHARE MODE"
    return (
        f"WITH attempt AS (SELECT {held} FOR SHARE) INSERT INTO {place} ({COLUMNS}) SELECT {values} FROM attempt "
        "ON CONFLICT (token) DO NOTHING RETURNING 1"
    )


def note_again(namespace: str | None, part: Partition, rows: int, coercions: Iterable[Coercion] = ()) -> str:
    """The same of one that was loaded before, and is loaded again."""
    coerced = coercions_text(coercions)
    rows_, said, execution = (_literal(namespace, value) for value in (rows, coerced, part.execution))
    return (
        f"UPDATE {_place(namespace)} SET rows_staged = {rows_}, coerced = {said}, execution = {execution} "
        f"WHERE token = {_literal(namespace, part.resume_token)}"
    )


def is_noted(namespace: str | None, part: Partition) -> str:
    """A row where a partition was loaded before, which is this transaction's to change from then on."""
    return f"SELECT token FROM {_place(namespace)} WHERE token = {_literal(namespace, part.resume_token)} FOR UPDATE"


def is_open(namespace: str | None, part: Partition) -> str:
    """A row where the attempt is not over, and will not be for as long as the transaction."""
    locks = "LOCK IN SHARE MODE" if namespace is None else "FOR SHARE"
    return f"SELECT token FROM {_place(namespace)} WHERE token = {_literal(namespace, part.attempt)} {locks}"


def no_more(table: str, part: Partition) -> DataLoadingError:
    """The error of a job that was lost, and comes too late."""
    return DataLoadingError(
        f"{table}[{part.index}]: the attempt that it belongs to is over; nothing of it was kept",
        "run again",
        transient=True,
    )


def begin(namespace: str | None, table: str, attempt: str) -> str:
    """From now on an attempt may load partitions of a table."""
    values = _literals(namespace, (table, "", None, None, attempt, 0, None, None))
    return f"INSERT INTO {_place(namespace)} ({COLUMNS}) VALUES ({values})"


def close_attempt(namespace: str | None, attempt: str) -> str:
    """From now on it may not; waits for a session that is loading one."""
    return f"DELETE FROM {_place(namespace)} WHERE token = {_literal(namespace, attempt)}"


def executions(namespace: str | None, table: str) -> str:
    """Token and execution of the partitions that are complete in a table's staging."""
    return f"SELECT token, execution FROM {_place(namespace)} WHERE table_name = {_literal(namespace, table)}"


def complete_partitions(namespace: str | None, table: str, plan: str) -> str:
    """Lower and upper key, token, rows and coercions of the partitions that are complete in staging, by one plan."""
    return (
        f"SELECT lower_key, upper_key, token, rows_staged, coerced FROM {_place(namespace)} "
        f"WHERE table_name = {_literal(namespace, table)} AND plan = {_literal(namespace, plan)}"
    )


def partitions_from_rows(rows: Iterable[tuple[Any, ...]]) -> dict[str, tuple[Partition, tuple[Coercion, ...]]]:
    """Token → partition and its coercions, of what `complete_partitions` asks."""
    return {
        resume_token: (
            Partition(0, lower and int(lower), upper and int(upper), rows=int(count), resume_token=resume_token),
            coercions_from(coerced),
        )
        for lower, upper, resume_token, count, coerced in rows
    }


def forget(namespace: str | None, table: str, kept: Iterable[str] = ()) -> str:
    """Nothing more is known of a table's staging, or only of the partitions with the tokens named."""
    named = _literals(namespace, kept)
    place = f"FROM {_place(namespace)}"
    if namespace is None:
        # By a scan, InnoDB would lock the rows of all tables, and wait for sessions that load some of theirs.
        place = "p FROM etl_partition_status p FORCE INDEX (table_name)"
    return f"DELETE {place} WHERE table_name = {_literal(namespace, table)}" + (
        f" AND token NOT IN ({named})" if named else ""
    )


def _place(namespace: str | None) -> str:
    return "etl_partition_status" if namespace is None else f"{postgres_name(namespace)}.etl_partition_status"


def _literal(namespace: str | None, value: object) -> str:
    return mysql_literal(value) if namespace is None else postgres_literal(value)


def _literals(namespace: str | None, values: Iterable[object]) -> str:
    return ", ".join(_literal(namespace, value) for value in values)
