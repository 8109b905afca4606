"""
Receipts, and what was verified: how they are written down at the warehouse, and asked for.

Pure, in PostgreSQL's language; the tables are made by `ddl`, and the edge
that speaks to them is `receipt_store`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from arrowetl.model.plan import Partition
from arrowetl.model.state import LastVerification, VerifiedRange
from arrowetl.sql import postgres_literal, postgres_name
from arrowetl.state.state_sql import postgres_values, reading_of, reading_said


def kept(namespace: str, run_id: str, receipt: Mapping[str, Any], digest: str, now: datetime) -> str:
    """Add a receipt."""
    values = postgres_values(run_id, now, json.dumps(receipt), digest)
    place = f"{postgres_name(namespace)}.etl_receipts"
    return f"INSERT INTO {place} (run_id, written_at, receipt, digest) VALUES ({values})"


def last_digest(namespace: str) -> str:
    """Of the receipt before, by which this one is tied to it."""
    return f"SELECT digest::text FROM {postgres_name(namespace)}.etl_receipts ORDER BY number DESC LIMIT 1"


def one_at_a_time(namespace: str) -> str:
    """No other session adds a receipt until the transaction has ended."""
    return f"LOCK TABLE {postgres_name(namespace)}.etl_receipts IN SHARE ROW EXCLUSIVE MODE"


def differing(namespace: str, run_id: str, versions: Mapping[str, str | None], now: datetime) -> str:
    """
    That tables were found to differ: nothing else is remembered of them.

    Args:
        versions: table → what the warehouse held.
    """
    rows = ", ".join(
        f"({postgres_values(table, run_id, now, version, '', '', None, '', now)})"
        for table, version in versions.items()
    )
    names = [*_VERIFIED.split(", "), "differed_at"]
    taken = ", ".join(f"{name} = excluded.{name}" for name in names[1:])
    return (
        f"INSERT INTO {postgres_name(namespace)}.etl_verified ({', '.join(names)}) VALUES {rows} "
        f"ON CONFLICT (table_name) DO UPDATE SET {taken}"
    )


def still_differing(namespace: str) -> str:
    """Tables that were found to differ, of which the warehouse stores what it stored then."""
    place = postgres_name(namespace)
    return (
        f"SELECT v.table_name::text FROM {place}.etl_verified v JOIN {place}.etl_load_status s USING (table_name) "
        "WHERE v.differed_at IS NOT NULL AND v.version = s.version"
    )


def repaired_rows(namespace: str, tables: Iterable[str]) -> str:
    """That a run has read all of these tables at every server since they were found to differ."""
    names = ", ".join(map(postgres_literal, tables))
    place = f"{postgres_name(namespace)}.etl_verified"
    return f"DELETE FROM {place} WHERE differed_at IS NOT NULL AND table_name IN ({names})"


def receipt_of(namespace: str, run_id: str) -> str:
    """What the receipt of a run says, and its digest."""
    place = f"{postgres_name(namespace)}.etl_receipts"
    return f"SELECT receipt::text, digest::text FROM {place} WHERE run_id = {postgres_literal(run_id)}"


def receipts(namespace: str, most: int) -> str:
    """The last receipts, the latest first."""
    place = f"{postgres_name(namespace)}.etl_receipts"
    return f"SELECT run_id::text, receipt::text, digest::text FROM {place} ORDER BY number DESC LIMIT {most}"


_VERIFIED = "table_name, run_id, verified_at, version, structure, reading, watermark, ranges"


def verified(namespace: str) -> str:
    """What is remembered of each table's last verification."""
    return f"SELECT {_VERIFIED} FROM {postgres_name(namespace)}.etl_verified WHERE differed_at IS NULL"


def remember(namespace: str, found: Mapping[str, LastVerification]) -> str:
    """What a verification found of some tables, in the place of what was remembered."""
    rows = ", ".join(f"({_values(table, known)})" for table, known in found.items())
    taken = ", ".join(f"{name} = excluded.{name}" for name in _VERIFIED.split(", ")[1:])
    return (
        f"INSERT INTO {postgres_name(namespace)}.etl_verified ({_VERIFIED}) VALUES {rows} "
        f"ON CONFLICT (table_name) DO UPDATE SET {taken}, differed_at = NULL"
    )


def _values(table: str, known: LastVerification) -> str:
    ranges = [
        [r.part.lower, r.part.upper, r.rows, None if r.images is None else f"{r.images:x}", f"{r.texts:x}"]
        for r in known.ranges
    ]
    return postgres_values(
        table, known.run_id, known.verified_at, known.version, known.structure,
        json.dumps(reading_said(known.reading)), known.watermark, json.dumps(ranges, separators=(",", ":")),
    )  # fmt: skip


def known_from(rows: Iterable[tuple[Any, ...]]) -> dict[str, LastVerification]:
    """Table → what is remembered of it; nothing of what cannot be read, which another version may have written."""
    found = {}
    for table, run_id, verified_at, version, structure, reading, watermark, ranges in rows:
        try:
            each = tuple(
                VerifiedRange(
                    Partition(n, lower, upper, rows=count),
                    count,
                    None if images is None else int(images, 16),
                    int(texts, 16),
                )
                for n, (lower, upper, count, images, texts) in enumerate(json.loads(ranges))
            )
            seen = reading_of(json.loads(reading))
        except (ValueError, KeyError, TypeError):
            continue
        found[table] = LastVerification(
            run_id=run_id,
            verified_at=verified_at.astimezone(UTC),
            version=version,
            structure=structure,
            reading=seen,
            watermark=watermark,
            ranges=each,
        )
    return found
