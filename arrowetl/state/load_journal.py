"""
Jobs that may be lost and go on unnoticed: a partition that is loaded a second time, and an attempt that is closed.

At either target alike; rows of a first attempt are deleted in the transaction that loads the second. The SQL is in
`load_journal_sql`; the loaders delete the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from arrowetl.model.plan import Partition, TablePlan
from arrowetl.model.result import Coercion
from arrowetl.state import load_journal_sql


class Session(Protocol):
    """A session on either target."""

    def rows(self, statement: str) -> list[tuple[Any, ...]]: ...
    def execute(self, statement: str) -> Any: ...


def record_retried_partition(
    session: Session, namespace: str | None, table: str, part: Partition, rows: int, coercions: Sequence[Coercion],
    out: Iterable[str],
) -> None:  # fmt: skip
    """
    Note once more a partition that could not be noted as new, and take out what is there of it.

    Args:
        namespace: None at the replica.
        out: the statements by which rows go out.

    Raises:
        DataLoadingError: the attempt that it belongs to is over.
    """
    if not session.rows(load_journal_sql.is_open(namespace, part)) or not session.rows(
        load_journal_sql.is_noted(namespace, part)
    ):
        raise load_journal_sql.no_more(table, part)
    session.execute(load_journal_sql.note_again(namespace, part, rows, coercions))
    for statement in out:
        session.execute(statement)


def close_attempt(session: Session, namespace: str | None, plan: TablePlan, attempt: str) -> dict[str, str | None]:
    """Let no job of an attempt load any more partitions; token → execution of those that are there."""
    session.execute(load_journal_sql.close_attempt(namespace, attempt))
    found = dict(session.rows(load_journal_sql.executions(namespace, plan.name)))
    if not (plan.is_partitioned and plan.stages_all_rows):
        # No run would resume it.
        session.execute(load_journal_sql.forget(namespace, plan.name))
    return found
