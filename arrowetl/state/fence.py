"""
The proofs of a switch, in the transaction that makes it: the run may still switch, and all rows are staged.

At either target alike. The SQL is in `fence_sql`; `locks` holds the lock of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from arrowetl.errors import DatabaseQueryError, LockLostError, VerificationError
from arrowetl.model.plan import TablePlan
from arrowetl.sql import staging_name
from arrowetl.state import fence_sql
from arrowetl.state.load_journal import Session


def require_own(session: Session, namespace: str | None, plan: TablePlan, after: Sequence[str] = ()) -> None:
    """
    No other run has begun since, nor will before the transaction ends.

    Args:
        namespace: None at the replica.
        after: statements that the warehouse is to run before, in the same round trip.

    Raises:
        LockLostError: one has; nothing is switched.
    """
    found = session.rows("; ".join([*after, fence_sql.holder(namespace)]))
    _require_mark(found, "warehouse" if namespace else "replica", plan)


def begin_swap(warehouse: Session, namespace: str, plan: TablePlan, after: Sequence[str]) -> int:
    """
    The same, where staging is to become the published table.

    Returns:
        How many rows are staged.
    """
    staging = staging_name(plan.name_postgres, plan.run)
    found = warehouse.rows("; ".join([*after, fence_sql.may_swap(namespace, staging)]))
    _require_mark(found, "warehouse", plan)
    return int(found[0][2])


def begin_switch(replica: Session, database: str, plan: TablePlan) -> tuple[int, bool]:
    """
    The same at the replica, where a RENAME is no part of a transaction: a run that takes over the switching waits for a
    lock that this session has from now on.

    Returns:
        How many rows are staged, and whether the replica has a record of the table.

    Raises:
        LockLostError: another run has begun; nothing is switched.
        DatabaseQueryError: another run is switching, and does not end.
    """
    replica.execute(fence_sql.waits_to_switch(database, plan.name))
    try:
        found = replica.rows(fence_sql.may_switch(database, plan.name, staging_name(plan.name, plan.run)))
    except DatabaseQueryError:
        # The staged rows no longer exist: by a run that has begun since?
        require_own(replica, None, plan)
        raise
    _require_mark(found, "replica", plan)
    _, _, has_lock, rows, records = found[0]
    if not has_lock:
        raise DatabaseQueryError(f"{plan.name}: the replica is busy with another switch", "run again", transient=True)
    return int(rows), bool(records)


def _require_mark(found: Sequence[tuple[Any, ...]], target: str, plan: TablePlan) -> None:
    if not found or found[0][0] != plan.run:
        other = f"run {found[0][1]} has begun since" if found else "who may switch there is not recorded any more"
        raise LockLostError(
            f"{plan.name}: not switched at the {target}: the run's lock was lost, and {other}",
            "run again; what the other run has done is kept",
        )


def miscounted(plan: TablePlan, target: str, rows: int, expected: int) -> VerificationError:
    """That a target would not have the rows that were staged for it; nothing is switched."""
    return VerificationError(
        f"{plan.name}: the {target} would have {rows:,} rows, and must have {expected:,}; nothing was changed there",
        "run again; if it stays, run it with --force-full",
    )
