"""
What a run, or a verification, signs for: of each table its rows, its checksums at the three servers, and as of when.

Pure. A receipt is JSON with a digest of all it says and of the receipt before:
none can be altered, or left out, without the next one showing it. `receipt_store`
keeps them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from arrowetl.model.result import Outcome, Summary
from arrowetl.model.state import NO_STATE, LastVerification, TargetState
from arrowetl.model.verdict import Sum, Verdict, VerifyResult, equal_sums

FORM = 1
"""The version of a receipt's form."""


def of_run(
    summary: Summary,
    records: Mapping[str, TargetState],
    known: Mapping[str, LastVerification],
    versions: Mapping[str, str],
    previous: str | None,
) -> dict[str, Any]:
    """
    Args:
        records: what the ledger says of each table now.
        known: what is remembered of their last verifications.
        versions: of the program, its drivers and the servers.
        previous: digest of the receipt before.
    """
    tables = [_table_entry(one, records.get(one.table, NO_STATE), known.get(one.table)) for one in summary.outcomes]
    return {
        "form": FORM,
        "kind": "run",
        "run_id": summary.run_id,
        "environment": summary.environment,
        "started_at": summary.started_at.isoformat(),
        "ended_at": summary.ended_at.isoformat(),
        "signed_off": summary.exit_code == 0,
        "versions": dict(versions),
        "tables": tables,
        "previous": previous,
    }


def _table_entry(outcome: Outcome, record: TargetState, known: LastVerification | None) -> dict[str, Any]:
    # What was verified holds as long as no run has changed the table since.
    holds = known if known and record.version and known.version == record.version else None
    return {
        "table": outcome.table,
        "status": outcome.status.value,
        "mode": outcome.mode.value,
        "rows": {"source": record.rows, "replica": outcome.rows_replica, "warehouse": outcome.rows_warehouse},
        "checksums": holds and checksums(_sums(holds)),
        "verified_at": holds and holds.verified_at.isoformat(),
        "coercions": [one.as_json() for one in outcome.coercions],
        "watermark": record.watermark and {"column": record.watermark_column, "value": record.watermark},
        "settled": outcome.settled,
        "version": record.version,
        "as_of": record.checked_at and record.checked_at.isoformat(),
        "error": outcome.failure and outcome.failure.as_json(),
    }


def of_verification(
    found: VerifyResult,
    environment: str,
    times: tuple[datetime, datetime],
    records: Mapping[str, TargetState],
    versions: Mapping[str, str],
    previous: str | None,
) -> dict[str, Any]:
    """
    The same of what was verified.

    Args:
        times: when that began and ended.
    """
    return {
        "form": FORM,
        "kind": "verification",
        "run_id": found.run_id,
        "environment": environment,
        "started_at": times[0].isoformat(),
        "ended_at": times[1].isoformat(),
        "signed_off": all(verdict.verdict == "equal" for verdict in found.tables),
        "versions": dict(versions),
        "tables": [_verified(verdict, records.get(verdict.table, NO_STATE)) for verdict in found.tables],
        "previous": previous,
    }


def _verified(verdict: Verdict, record: TargetState) -> dict[str, Any]:
    return {
        "table": verdict.table,
        "verdict": verdict.verdict,
        "rows": dict(verdict.rows),
        "differences": verdict.differences,
        "repaired": verdict.repaired,
        "checksums": checksums(verdict.sums),
        "columns_left_out": list(verdict.left_out),
        "rows_read": verdict.rows_read,
        "believed_of": verdict.recalled and verdict.recalled.isoformat(),
        "version": record.version,
        "as_of": record.checked_at and record.checked_at.isoformat(),
        "error": verdict.failure and verdict.failure.as_json(),
    }


def checksums(sums: Mapping[str, Sum]) -> dict[str, Any] | None:
    """End → its checksums; None where values were compared, and none was added up."""
    document = {target: one.as_json() for target, one in sums.items()}
    return document if any(one.images is not None or one.texts is not None for one in sums.values()) else None


def _sums(known: LastVerification) -> dict[str, Sum]:
    images = [one.images for one in known.ranges if one.images is not None]
    has_replica = len(images) == len(known.ranges)
    return equal_sums(known.rows, sum(images) if has_replica else None, sum(one.texts for one in known.ranges))


def digest(receipt: Mapping[str, Any]) -> str:
    """
    SHA-256 of all it says.

    >>> digest({"b": 1, "a": None})
    'c0bf82ad036cb0a5a03d6759c1b7b8b1f70a39b32dd96ed3977c7f2831ee3b56'
    """
    text = json.dumps(receipt, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
