"""
A partition that a retried job loads a second time: rows of the first attempt are deleted, unless the attempt is closed.

In the transaction that loads it, at either target alike. The SQL is in
`load_journal_sql`; the loaders delete the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from arrowetl.model.plan import Partition
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
