"""
What a switch proves of itself, in the transaction that makes it: that it is the run's to make, and all there.

At either end alike. The sentences are in `sql.fence`; who holds the lock of a
run, and lets it switch, is the business of `locks`.
"""

from __future__ import annotations

from arrowetl.again import Session
from arrowetl.errors import DataLoadingError, LockLostError, VerificationError
from arrowetl.model import TablePlan
from arrowetl.sql import acting_keys, fence, pointing_at


def require_own(session: Session, namespace: str | None, plan: TablePlan) -> None:
    """
    No other run has begun since, nor will before the transaction ends.

    Args:
        namespace: None at the replica.

    Raises:
        LockLostError: one has; nothing is switched.
    """
    found = session.rows(fence.holder(namespace))
    if not found or found[0][0] != plan.run:
        other = f"run {found[0][1]} has begun since" if found else "who may switch there is not recorded any more"
        raise LockLostError(
            f"{plan.name}: not switched at the {'warehouse' if namespace else 'replica'}: the run's lock was lost, and "
            f"{other}",
            "run again; what the other run has done stands",
        )


def refuse_pointed_at(replica: Session, database: str, plan: TablePlan) -> None:
    """
    Raises:
        DataLoadingError: somebody's foreign keys at the replica point at a table that is to be made anew.
    """
    if pointing := replica.rows(pointing_at(database, plan.name)):
        keys = ", ".join(f"{key} of {table}" for table, key in pointing)
        raise DataLoadingError(
            f"{plan.name}: foreign keys at the replica point at it ({keys}), and it was to be made anew; nothing was "
            "changed there",
            "drop them there: the table that they point at would be another one",
        )


def refuse_acting_keys(warehouse: Session, namespace: str, plan: TablePlan) -> None:
    """
    Raises:
        DataLoadingError: rows that are removed or changed would take other tables' rows with them.
    """
    if acting := warehouse.rows(acting_keys(namespace, plan.name_postgres)):
        keys = ", ".join(f"{key} of {table}" for table, key in acting)
        raise DataLoadingError(
            f"{plan.name}: foreign keys at the warehouse would remove or change rows of other tables with its own "
            f"({keys}); nothing was changed there",
            "drop them there, or make them anew without ON DELETE and ON UPDATE: nothing would tell what they did",
        )


def miscounted(plan: TablePlan, end: str, rows: int, expected: int) -> VerificationError:
    """That an end would not have the rows that were staged for it; nothing is switched."""
    return VerificationError(
        f"{plan.name}: the {end} would have {rows:,} rows, and must have {expected:,}; nothing was changed there",
        "run again; if it stays, run it with --force-full",
    )
