"""
Receipts of runs and verifications, and what was verified, kept at the warehouse.

The partner of `ledger`, whose tables say what is there: these prove it.
What a receipt says is `receipt`'s business.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from arrowetl import __version__, drivers, limits
from arrowetl.model.state import LastVerification
from arrowetl.sql import postgres_name
from arrowetl.state import ddl, receipt_sql
from arrowetl.state.ledger import is_there
from arrowetl.state.receipt import digest

_TABLES = ("etl_receipts", "etl_verified")


@cache
def versions() -> Mapping[str, str]:
    """Of the program and of its drivers."""
    return {"arrowetl": __version__, "python": platform.python_version(), **drivers.versions()}


class Archive:
    """
    The tables `etl_receipts` and `etl_verified` of a warehouse.
    """

    def __init__(self, pool: drivers.Pool[drivers.Postgres]) -> None:
        """
        Args:
            pool: sessions on the warehouse; the caller closes it.
        """
        self._pool = pool
        self.namespace = pool.endpoint.namespace

    def last_verifications(self) -> dict[str, LastVerification]:
        """Table → what its last verification found; nothing where none was kept."""
        with self._pool.session() as session:
            if not is_there(session, *_TABLES):
                return {}
            return receipt_sql.known_from(session.rows(receipt_sql.verified(self.namespace)))

    def differing(self) -> frozenset[str]:
        """Tables that a verification found to differ, with the warehouse's tables still as they were."""
        with self._pool.session() as session:
            if not is_there(session, *_TABLES):
                return frozenset()
            return frozenset(table for (table,) in session.rows(receipt_sql.still_differing(self.namespace)))

    def broken(self) -> str | None:
        """
        The first of the last receipts that was altered, or whose predecessor is missing; None where there is none.
        """
        with self._pool.session() as session:
            if not is_there(session, *_TABLES):
                return None
            rows = session.rows(receipt_sql.receipts(self.namespace, limits.receipts_checked))
        before: str | None = None
        for number, (run_id, text, kept) in enumerate(reversed(rows)):
            said = json.loads(text)
            if digest(said) != kept or (number and said["previous"] != before):
                return str(run_id)
            before = kept
        return None

    def keep(
        self,
        run_id: str,
        receipt: Callable[[str | None], Mapping[str, Any]],
        known: Mapping[str, LastVerification] | None = None,
        differing: Mapping[str, str | None] | None = None,
        repaired_rows: Collection[str] = (),
    ) -> str:
        """
        Record a receipt, and what was verified.

        Args:
            receipt: digest of the receipt before → what this one says.
            known: table → what is to be remembered of it.
            differing: tables that were found to differ → the version of them.
            repaired_rows: tables that differed before, and no longer do.

        Returns:
            Its digest.

        Raises:
            DatabaseError: nothing of it was.
        """
        with self._pool.session() as session, session.transaction():
            if not is_there(session, *_TABLES):
                for statement in ddl.WAREHOUSE_TABLES.values():
                    session.execute(statement.format(namespace=postgres_name(self.namespace)))
            session.execute(receipt_sql.one_at_a_time(self.namespace))
            before = session.rows(receipt_sql.last_digest(self.namespace))
            said = receipt(before[0][0] if before else None)
            session.execute(receipt_sql.kept(self.namespace, run_id, said, digest(said), datetime.now(UTC)))
            if repaired_rows:
                session.execute(receipt_sql.repaired_rows(self.namespace, repaired_rows))
            if known:
                session.execute(receipt_sql.remember(self.namespace, known))
            if differing:
                session.execute(receipt_sql.differing(self.namespace, run_id, differing, datetime.now(UTC)))
        return digest(said)
