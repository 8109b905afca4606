"""
Which mode a table gets, and why: one table of facts.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from nouns import column, planned, table

from arrowetl import modes
from arrowetl.model import Column, Comparison, PublishedTable
from arrowetl.modes import Circumstances
from arrowetl.record import AsOf, Reading, Record, Standing
from arrowetl.route import Choices, Link, TableSettings

NOON = datetime(2026, 1, 2, 12)
TONIGHT = datetime(2026, 1, 3, 21, tzinfo=UTC)
STAMPED = column("DateTStamp", "timestamp", extra="on update current_timestamp()")
VISIT = replace(
    table(
        "visit", column("N", "bigint(20)", nullable=False), column("Note", "text"), STAMPED, key=("N",), rows=500_000
    ),
    update_time=NOON,
)
THERE = PublishedTable((("N", "bigint"), ("Note", "text"), ("DateTStamp", "timestamp with time zone")), ("N",))
STRUCTURE = modes.structure(planned(VISIT, THERE))
READ = Reading(500_000, NOON, NOON + timedelta(hours=9))
AS_OF = AsOf("clinic:3306/opendental", STRUCTURE, TONIGHT - timedelta(days=1), READ)
RECORD = Record("run1", 500_000, TONIGHT - timedelta(days=1), "2026-01-02T21:00:00", "DateTStamp", AS_OF)
STANDING = Standing(RECORD, RECORD, True, THERE)
INCREMENTAL = {"extraction_strategy": "incremental", "primary_incremental_column": "DateTStamp"}
MOVED = replace(VISIT, update_time=NOON + timedelta(hours=20))


def decided(
    of: Any = MOVED, standing: Standing = STANDING, settings: dict[str, Any] | None = None, **around: Any
) -> tuple[str, str]:
    """Mode and reason."""
    chosen = INCREMENTAL if settings is None else settings
    plan = planned(of, standing.published, **chosen)
    circumstances = Circumstances(**{"source": "clinic:3306/opendental", "now": TONIGHT, **around})
    found = modes.with_mode(plan, TableSettings(chosen), standing, circumstances)
    return found.mode.value, found.reason


def recorded(**more: Any) -> Standing:
    """The replica's record, and the warehouse's, with something else in them."""
    return replace(STANDING, replica=replace(RECORD, **more), warehouse=replace(RECORD, **more))


def read(**more: Any) -> Standing:
    return recorded(as_of=replace(AS_OF, **more))


@pytest.mark.parametrize(
    ("case", "mode", "reason"),
    [
        ({"standing": Standing()}, "full", "first load"),
        ({"standing": Standing(published=THERE)}, "full", "the replica has no such table"),
        ({"standing": replace(STANDING, replica=Record())}, "full", "the replica's rows are of unknown origin"),
        ({"standing": recorded(version=None)}, "full", "of a run that was killed"),
        ({"standing": read(structure="other")}, "full", "its columns or its key changed"),
        ({"standing": read(source="another:3306/opendental")}, "full", "read from another server or database"),
        ({"force_full": True}, "full", "--force-full"),
        ({"of": VISIT}, "skipped", "unchanged since 2026-01-02 12:00:00"),
        ({"of": replace(VISIT, rows=499_999)}, "incremental", ""),
        ({"of": replace(VISIT, update_time=None)}, "incremental", ""),
        ({"of": VISIT, "standing": read(reading=None)}, "incremental", ""),
        ({"of": VISIT, "standing": read(reading=replace(READ, now=NOON + timedelta(seconds=1)))}, "incremental", ""),
        ({"of": replace(VISIT, engine="InnoDB")}, "incremental", ""),
        ({"of": replace(VISIT, engine="InnoDB", checksum=7), "standing": read(reading=replace(READ, checksum=7))},
         "skipped", "its checksum is what it was"),
        ({"of": replace(VISIT, engine="InnoDB", checksum=8), "standing": read(reading=replace(READ, checksum=7))},
         "incremental", ""),
        ({}, "incremental", "DateTStamp from 2026-01-02 19:00:00 on; the rest by checksums"),
        ({"settings": {"extraction_strategy": "full_table"}}, "reconcile", "full_table in tables.yml; compared by"),
        ({"settings": {**INCREMENTAL, "primary_incremental_column": "N"}}, "reconcile",
         "N is no watermark: the server does not stamp it"),
        ({"settings": {**INCREMENTAL, "primary_incremental_column": "none"}}, "reconcile", "none is no watermark"),
        ({"standing": recorded(watermark="2026-01-02T03:00:00+00:00|17")}, "reconcile", "no watermark of DateTStamp"),
        ({"standing": recorded(watermark_column="hybrid")}, "reconcile", "no watermark of DateTStamp is recorded"),
        ({"standing": recorded(watermark=None)}, "reconcile", "no watermark of DateTStamp is recorded"),
        ({"standing": read(compared_at=TONIGHT - timedelta(days=8))}, "reconcile", "is compared whole every 7 days"),
        ({"standing": recorded(checked_at=TONIGHT - timedelta(days=31))}, "reconcile",
         "its last success is 31 days old, more than 30"),
        ({"of": VISIT, "standing": recorded(checked_at=TONIGHT - timedelta(days=31))}, "reconcile",
         "its last success is 31 days old"),
        ({"of": VISIT, "standing": recorded(checked_at=TONIGHT + timedelta(days=1))}, "reconcile", "by the clock"),
        ({"of": VISIT, "standing": replace(STANDING, warehouse=replace(RECORD, version="run0"))}, "skipped",
         "unchanged since 2026-01-02 12:00:00; the warehouse is behind, and takes all from the replica"),
        ({"standing": replace(STANDING, published=None)}, "incremental", "takes all from the replica"),
        ({"read_from": "replica"}, "skipped", "the warehouse has what the replica has"),
        ({"read_from": "replica", "standing": replace(STANDING, published=None)}, "full",
         "first load, from the replica"),
        ({"read_from": "replica", "standing": replace(STANDING, warehouse=Record())}, "full",
         "the warehouse has another version than the replica"),
        ({"read_from": "replica", "force_full": True}, "full", "--force-full, from the replica"),
    ],
)  # fmt: skip
def test_a_mode_and_its_reason(case: dict[str, Any], mode: str, reason: str) -> None:
    """When in doubt, read."""
    found = decided(**case)

    assert found[0] == mode
    assert reason in found[1]


@pytest.mark.parametrize(
    ("rows", "bytes_", "link", "chosen", "comparison"),
    [
        (1_000_000, 400_000_000, Link(0.0001, 500e6), "auto", Comparison.READING),
        (1_000_000, 400_000_000, Link(0.03, 5e6), "auto", Comparison.CHECKSUM),
        (20_000, 8_000_000, Link(0.0001, 500e6), "auto", Comparison.CHECKSUM),
        (100, 9_000, Link(0.03, 5e6), "auto", Comparison.READING),
        (1_000_000, 400_000_000, Link(0.0001, 500e6), "checksum", Comparison.CHECKSUM),
        (20_000, 8_000_000, Link(0.03, 5e6), "reading", Comparison.READING),
    ],
)
def test_how_source_and_replica_are_compared(
    rows: int, bytes_: int, link: Link, chosen: str, comparison: Comparison
) -> None:
    """A quick link reads what is large; a slow one never, nor where checksums cost next to nothing."""
    plan = planned(replace(MOVED, rows=rows, data_bytes=bytes_), THERE)
    around = Circumstances("clinic:3306/opendental", TONIGHT, choices=Choices(reconcile_by=chosen), link=link)

    assert modes.with_mode(plan, TableSettings(), STANDING, around).comparison is comparison


@pytest.mark.parametrize(
    ("watermark", "type_", "since"),
    [
        ("2026-01-02T03:04:05", "timestamp", "2026-01-02 01:04:05"),
        ("2026-01-02T03:04:05+02:00", "timestamp", "2026-01-01 23:04:05"),
        # Stamped in the zone of whoever writes: zones are 26 hours apart.
        ("2026-01-02 03:04:05", "datetime", "2025-12-31 23:04:05"),
        ("1970-01-01T00:00:01", "timestamp", "1970-01-02 00:00:00"),
        ("17", "bigint", "17"),
        ("2026-01-02", "date", "2025-12-30 20:00:00"),
        # An integer key compared with a moment matched every row of 43 tables, once.
        ("2026-01-02T03:04:05", "bigint", None),
        ("17", "timestamp", None),
        ("2026-01-02T03:04:05|17", "timestamp", None),
        ("", "timestamp", None),
        (None, "timestamp", None),
        ("17", "varchar", None),
    ],
)
def test_what_a_recorded_watermark_means(watermark: str | None, type_: str, since: str | None) -> None:
    """Less the overlap; nothing where it is not certain."""
    assert modes.since_of(watermark, Column("c", type_, type_)) == since


@pytest.mark.parametrize(
    ("extra", "settings", "watermark"),
    [
        ("on update current_timestamp()", INCREMENTAL, "DateTStamp"),
        ("DEFAULT_GENERATED on update CURRENT_TIMESTAMP", INCREMENTAL, "DateTStamp"),
        ("", INCREMENTAL, None),
        ("", {**INCREMENTAL, "overrides": {"primary_incremental_column": "DateTStamp"}}, "DateTStamp"),
        ("on update current_timestamp()", {**INCREMENTAL, "extraction_strategy": "full_table"}, None),
        ("on update current_timestamp()", {**INCREMENTAL, "primary_incremental_column": "Gone"}, None),
    ],
)
def test_what_is_a_watermark(extra: str, settings: dict[str, Any], watermark: str | None) -> None:
    """What the server stamps at every change, or what a person answers for."""
    of = replace(VISIT, columns=(*VISIT.columns[:2], replace(STAMPED, extra=extra)))

    assert modes.watermark_column(of, TableSettings(settings)) == watermark
