"""
A run as the warehouse keeps it: its document, the runs before it, its receipt; and what is there now.

It asks the warehouse alone, and writes nothing. `pages` shows what it
finds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from arrowetl import drivers, preflight
from arrowetl.config.env import Settings
from arrowetl.config.table_names import chosen_names
from arrowetl.errors import UsageError
from arrowetl.model import document as documents
from arrowetl.monitoring.status import status
from arrowetl.state import history_sql, ledger, receipt_sql


@dataclass(frozen=True)
class RunReport:
    """A run, as `pages.run_page` is given it."""

    document: Mapping[str, Any]
    """As `run --json` has it; of one that was killed, or is at work, what is known."""
    runs: tuple[Mapping[str, Any], ...]
    """It and those before it on the same route, the latest first."""
    receipt: Mapping[str, Any] | None
    """`digest`, and what it says under `receipt`."""
    status: Mapping[str, Any] | None = None
    """What is in the warehouse now, as `status --json` has it."""


def run_report(settings: Settings, run_id: str = "") -> RunReport:
    """
    Args:
        run_id: or what it begins with; the last run, where it is empty.

    Raises:
        UsageError: there is no such run, or none.
        DatabaseError: the warehouse cannot be asked.
    """
    endpoint = settings.endpoint("warehouse")
    preflight.reach(endpoint)
    session = drivers.Postgres(endpoint)
    try:
        name = _chosen(session, endpoint.namespace, run_id)
        document = json.loads(session.rows(history_sql.run_document(endpoint.namespace, name))[0][0])
        tables = [json.loads(one) for (one,) in session.rows(history_sql.table_documents(endpoint.namespace, name))]
        rows = session.rows(history_sql.recent_runs(endpoint.namespace, name))
        runs = [dict(zip(history_sql.RUN_COLUMNS, row, strict=True)) for row in rows]
        kept = session.rows(receipt_sql.receipt_of(endpoint.namespace, name))
    finally:
        session.close()
    if "schema_version" not in document:
        # Nobody wrote the end of it.
        document = {**documents.document("run", 1, settings.identity), **document}
    receipt = {"digest": kept[0][1], "receipt": json.loads(kept[0][0])} if kept else None
    return RunReport({**document, "tables": tables}, tuple(runs), receipt, status(settings).as_json())


def _chosen(session: drivers.Postgres, namespace: str, wanted: str) -> str:
    there = ledger.is_there(session, "etl_run_history", "etl_table_history", "etl_load_status", "etl_receipts")
    names = [name for (name,) in session.rows(history_sql.run_ids(namespace))] if there else []
    if not names:
        raise UsageError(f"no run is recorded in {namespace}", "run `arrowetl run --all` first")
    if not wanted:
        return str(names[0])
    fitting = [name for name in names if name.startswith(wanted)]
    if len(fitting) > 1 and wanted not in fitting:
        raise UsageError(f"{len(fitting)} runs begin with {wanted!r}: {', '.join(fitting[:3])} …", "say more of it")
    (found,) = chosen_names((fitting[0] if fitting and wanted not in fitting else wanted,), names, _LAST, "run")
    return str(found)


def runs(settings: Settings, last: int) -> list[dict[str, Any]]:
    """
    The last runs, newest first; those that were killed or go on have no exit code.

    Raises:
        DatabaseError: the warehouse cannot be asked.
    """
    endpoint = settings.endpoint("warehouse")
    preflight.reach(endpoint)
    with closing(drivers.Postgres(endpoint)) as session:
        if not ledger.is_there(session, "etl_run_history"):
            return []
        rows = session.rows(history_sql.runs(endpoint.namespace, last))
    return [dict(zip(history_sql.LISTED, row, strict=True)) for row in rows]


_LAST = "`arrowetl report` without a name is of the last one"
