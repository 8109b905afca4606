"""
Which mode a table gets, and why: one table of facts.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.catalog_values import column, fields, planned, table

from arrowetl import limits
from arrowetl.errors import DataError
from arrowetl.model.connection import Link, RunSettings, TableSettings
from arrowetl.model.plan import Column, Index, LoadKind, Mode, PublishedTable, SchemaChange, TablePlan
from arrowetl.model.state import SourceStats, SyncPoint, TableState, TargetState
from arrowetl.planning import sync_mode
from arrowetl.planning.sync_mode import ReplicaFacts, RunConditions

NOON = datetime(2026, 1, 2, 12)
TONIGHT = datetime(2026, 1, 3, 21, tzinfo=UTC)
UPDATED = column("DateTStamp", "timestamp", extra="on update current_timestamp()")
VISIT = replace(
    table(
        "visit", column("N", "bigint(20)", nullable=False), column("Note", "text"), UPDATED, key=("N",), rows=500_000
    ),
    update_time=NOON,
)
THERE = PublishedTable((("N", "bigint"), ("Note", "text"), ("DateTStamp", "timestamp with time zone")), ("N",))
STRUCTURE = sync_mode.structure(planned(VISIT, THERE))
READ = SourceStats(500_000, NOON, NOON + timedelta(hours=9))
KEYS = sync_mode.keys_of(planned(VISIT, THERE))
AS_OF = SyncPoint("clinic:3306/opendental", STRUCTURE, TONIGHT - timedelta(days=1), READ, keys=KEYS)
RECORD = TargetState("run1", 500_000, TONIGHT - timedelta(days=1), "2026-01-02T21:00:00", "DateTStamp", AS_OF)
STATE = TableState(RECORD, RECORD, True, THERE)
INCREMENTAL = {"extraction_strategy": "incremental", "primary_incremental_column": "DateTStamp"}
MOVED = replace(VISIT, update_time=NOON + timedelta(hours=20))


def decided(
    of: Any = MOVED, state: TableState = STATE, settings: dict[str, Any] | None = None, **around: Any
) -> tuple[str, str]:
    """Mode and reason."""
    chosen = INCREMENTAL if settings is None else settings
    plan = planned(of, state.published, **chosen)
    circumstances = RunConditions(**{"source": "clinic:3306/opendental", "now": TONIGHT, **around})
    found = sync_mode.with_kind(plan, TableSettings(chosen), state, circumstances)
    return found.mode.value, found.reason


def recorded(**more: Any) -> TableState:
    """The replica's record, and the warehouse's, with something else in them."""
    return replace(STATE, replica=replace(RECORD, **more), warehouse=replace(RECORD, **more))


def shape(plan: TablePlan) -> dict[str, Any]:
    """What is recorded of a table's columns and keys."""
    return {"structure": sync_mode.structure(plan), "keys": sync_mode.keys_of(plan)}


def read(**more: Any) -> TableState:
    return recorded(as_of=replace(AS_OF, **more))


@pytest.mark.parametrize(
    ("case", "mode", "reason"),
    [
        ({"state": TableState()}, "full", "first load"),
        ({"state": TableState(published=THERE)}, "full", "the replica has no such table"),
        ({"state": replace(STATE, replica=TargetState())}, "full", "the replica's rows are of unknown origin"),
        ({"state": recorded(version=None)}, "full", "of a run that was killed"),
        ({"state": read(structure="other")}, "full", "its columns or its key changed"),
        ({"state": read(source="another:3306/opendental")}, "full", "read from another server or database"),
        ({"force_full": True}, "full", "--force-full"),
        ({"of": VISIT}, "skipped", "unchanged since 2026-01-02 12:00:00"),
        ({"of": replace(VISIT, rows=499_999)}, "incremental", ""),
        ({"of": replace(VISIT, update_time=None)}, "incremental", ""),
        ({"of": VISIT, "state": read(reading=None)}, "incremental", ""),
        ({"of": VISIT, "state": read(reading=replace(READ, now=NOON + timedelta(seconds=1)))}, "incremental", ""),
        ({"of": replace(VISIT, engine="InnoDB")}, "incremental", ""),
        ({"of": replace(VISIT, engine="InnoDB", checksum=7), "state": read(reading=replace(READ, checksum=7))},
         "skipped", "its checksum is what it was"),
        ({"of": replace(VISIT, engine="InnoDB", checksum=8), "state": read(reading=replace(READ, checksum=7))},
         "incremental", ""),
        ({}, "incremental", "DateTStamp from 2026-01-02 19:00:00 on; the rest by checksums"),
        ({"settings": {"extraction_strategy": "full_table"}}, "reconcile", "full_table in tables.yml; compared by"),
        ({"settings": {**INCREMENTAL, "primary_incremental_column": "N"}}, "reconcile",
         "N is no watermark: the server does not update it"),
        ({"settings": {**INCREMENTAL, "primary_incremental_column": "none"}}, "reconcile", "none is no watermark"),
        ({"state": recorded(watermark="2026-01-02T03:00:00+00:00|17")}, "reconcile", "no watermark of DateTStamp"),
        ({"state": recorded(watermark_column="hybrid")}, "reconcile", "no watermark of DateTStamp is recorded"),
        ({"state": recorded(watermark=None)}, "reconcile", "no watermark of DateTStamp is recorded"),
        ({"state": read(compared_at=TONIGHT - timedelta(days=8))}, "reconcile", "full comparison every 7 days"),
        ({"state": recorded(checked_at=TONIGHT - timedelta(days=31))}, "reconcile",
         "its last success is 31 days old, more than 30"),
        ({"of": VISIT, "state": recorded(checked_at=TONIGHT - timedelta(days=31))}, "reconcile",
         "its last success is 31 days old"),
        ({"of": VISIT, "state": recorded(checked_at=TONIGHT + timedelta(days=1))}, "reconcile", "by the clock"),
        ({"of": VISIT, "state": replace(STATE, warehouse=replace(RECORD, version="run0"))}, "skipped",
         "unchanged since 2026-01-02 12:00:00; the warehouse is behind and is loaded from the replica"),
        ({"state": replace(STATE, published=None)}, "incremental", "is loaded from the replica"),
        ({"read_from": "replica"}, "skipped", "the warehouse has what the replica has"),
        ({"read_from": "replica", "state": replace(STATE, published=None)}, "full",
         "first load, from the replica"),
        ({"read_from": "replica", "state": replace(STATE, warehouse=TargetState())}, "full",
         "the warehouse has another version than the replica"),
        ({"read_from": "replica", "force_full": True}, "full", "--force-full, from the replica"),
    ],
)  # fmt: skip
def test_each_state_gets_its_mode_and_reason(case: dict[str, Any], mode: str, reason: str) -> None:
    """When in doubt, read."""
    found = decided(**case)

    assert found[0] == mode
    assert reason in found[1]


@pytest.mark.parametrize(
    ("rows", "bytes_", "link", "chosen", "kind"),
    [
        (1_000_000, 400_000_000, Link(0.0001, 500e6), "auto", LoadKind.BY_READING),
        (1_000_000, 400_000_000, Link(0.03, 5e6), "auto", LoadKind.BY_CHECKSUMS),
        (20_000, 8_000_000, Link(0.0001, 500e6), "auto", LoadKind.BY_CHECKSUMS),
        (100, 9_000, Link(0.03, 5e6), "auto", LoadKind.BY_READING),
        (1_000_000, 400_000_000, Link(0.0001, 500e6), "checksum", LoadKind.BY_CHECKSUMS),
        (20_000, 8_000_000, Link(0.03, 5e6), "reading", LoadKind.BY_READING),
    ],
)
def test_the_comparison_method_follows_link_and_size(
    rows: int, bytes_: int, link: Link, chosen: str, kind: LoadKind
) -> None:
    """A quick link reads what is large; a slow one never, nor where checksums cost next to nothing."""
    plan = planned(replace(MOVED, rows=rows, data_bytes=bytes_), THERE)
    around = RunConditions("clinic:3306/opendental", TONIGHT, choices=RunSettings(reconcile_by=chosen), link=link)

    assert sync_mode.with_kind(plan, TableSettings(), STATE, around).kind is kind


@pytest.mark.parametrize(
    ("watermark", "type_", "incremental_from"),
    [
        ("2026-01-02T03:04:05", "timestamp", "2026-01-02 01:04:05"),
        ("2026-01-02T03:04:05+02:00", "timestamp", "2026-01-01 23:04:05"),
        # Updated in the zone of whoever writes: zones are 26 hours apart.
        ("2026-01-02 03:04:05", "datetime", "2025-12-31 23:04:05"),
        ("1970-01-01T00:00:01", "timestamp", "1970-01-02 00:00:00"),
        ("17", "bigint", "17"),
        ("2026-01-02", "date", "2025-12-30 20:00:00"),
        # An integer key compared with a time matched every row of 43 tables, once.
        ("2026-01-02T03:04:05", "bigint", None),
        ("17", "timestamp", None),
        ("2026-01-02T03:04:05|17", "timestamp", None),
        ("", "timestamp", None),
        (None, "timestamp", None),
        ("17", "varchar", None),
    ],
)
def test_the_watermark_is_read_less_its_overlap(
    watermark: str | None, type_: str, incremental_from: str | None, far_from_utc: None
) -> None:
    """Less the overlap; nothing where it is not certain."""
    assert sync_mode.watermark_less_overlap(watermark, Column("c", type_, type_)) == incremental_from


@pytest.mark.parametrize(
    ("extra", "settings", "watermark"),
    [
        ("on update current_timestamp()", INCREMENTAL, "DateTStamp"),
        ("DEFAULT_GENERATED on update CURRENT_TIMESTAMP", INCREMENTAL, "DateTStamp"),
        ("", INCREMENTAL, None),
        ("", {**INCREMENTAL, "overrides": {"primary_incremental_column": "DateTStamp"}}, "DateTStamp"),
        ("on update current_timestamp()", {**INCREMENTAL, "extraction_strategy": "full_table"}, None),
        ("on update current_timestamp()", {**INCREMENTAL, "primary_incremental_column": "Dropped"}, None),
    ],
)
def test_watermarks_are_auto_updated_or_chosen(extra: str, settings: dict[str, Any], watermark: str | None) -> None:
    """What the server timestamps at every change, or what a person answers for."""
    of = replace(VISIT, columns=(*VISIT.columns[:2], replace(UPDATED, extra=extra)))

    assert sync_mode.watermark_column(of, TableSettings(settings)) == watermark


# --- the whole decision ---------------------------------------------------------------------------

INNODB = replace(VISIT, engine="InnoDB", update_time=None, checksum=7)
SUMMED = replace(READ, checksum=7, update_time=None)
BEHIND = replace(STATE, warehouse=replace(RECORD, version="run0"))
UNPUBLISHED = replace(STATE, published=None)
EMPTIED = replace(STATE, published=replace(THERE, is_empty=True))
ALTERED = replace(STATE, published=replace(THERE, columns=(*THERE.columns, ("Old", "integer"))))
FROM = "DateTStamp from 2026-01-02 19:00:00 on; the rest by checksums"
LATE = (
    f"{FROM} of its keys: changes that move no timestamp, or more than 2 hours late, are found by the full "
    "comparison every 7 days"
)
STILL = "unchanged since 2026-01-02 12:00:00"
BOTH = "compared by reading both (0.6 s; checksums 1.2 s)"
CATCHES_UP = "; the warehouse is behind and is loaded from the replica"
NO_KEY = "compared by reading both, having no integer key"
UNKNOWN = "the replica's rows are of unknown origin, or of a run that was killed"
PROOF = "--force-full: every row of source, replica and warehouse is read and compared"
DIFFERS = "a verification found that it differs"
PROOF_OF_FOUND = f"{DIFFERS}: every row of source, replica and warehouse is read and compared"
VISITS = frozenset({"visit"})
BY_TEXT = replace(MOVED, primary_key=("Note",))


def plan_of(
    of: Any = MOVED, state: TableState = STATE, settings: dict[str, Any] | None = None, **around: Any
) -> TablePlan:
    chosen = INCREMENTAL if settings is None else settings
    # Whatever was thought of it before.
    plan = replace(planned(of, state.published, **chosen), kind=LoadKind.SKIPPED, incremental_from="of another run")
    circumstances = RunConditions(**{"source": "clinic:3306/opendental", "now": TONIGHT, **around})
    return sync_mode.with_kind(plan, TableSettings(chosen), state, circumstances)


def seen(**more: Any) -> dict[str, ReplicaFacts]:
    return {"visit": ReplicaFacts(**more), "another": ReplicaFacts(replica_rows=1, in_transactions=False)}


def forced(there: Any = VISIT, engine: str = "InnoDB", **more: Any) -> dict[str, Any]:
    return {"force_full": True, "replica_catalog": {"visit": replace(there, engine=engine)}, **more}


def ago(**much: float) -> datetime:
    return TONIGHT - timedelta(**much)


@pytest.mark.parametrize(
    ("case", "mode", "reason"),
    [
        ({}, "incremental", LATE),
        ({"of": replace(MOVED, rows=200_000)}, "incremental", FROM),
        ({"of": replace(MOVED, rows=200_001)}, "incremental", LATE),
        ({"of": VISIT}, "skipped", STILL),
        ({"state": UNPUBLISHED}, "incremental", LATE + CATCHES_UP),
        ({"of": VISIT, "state": BEHIND}, "skipped", STILL + CATCHES_UP),
        ({"of": VISIT, "state": ALTERED}, "skipped", STILL + CATCHES_UP),
        ({"of": VISIT, "state": EMPTIED}, "skipped", STILL + CATCHES_UP),
        ({"of": VISIT, "to": "replica", "state": BEHIND}, "skipped", STILL),
        ({"to": "replica"}, "incremental", LATE),
        # What else is known of the replica.
        ({"of": VISIT, "seen": seen(replica_rows=500_000)}, "skipped", STILL),
        ({"of": VISIT, "seen": seen(replica_rows=499_999)}, "reconcile",
         f"somebody changed the replica's table: it has 499,999 rows, and 500,000 are recorded; {BOTH}"),
        ({"of": VISIT, "seen": seen(in_transactions=False)}, "skipped", STILL),
        # Of another shape than a run gave it, its rows may be bent.
        ({"of": VISIT, "state": read(at_replica="17"), "seen": seen(shape="17")}, "skipped", STILL),
        ({"of": VISIT, "state": read(at_replica="17"), "seen": seen(shape="18")}, "full",
         "somebody altered the replica's table; it is recreated"),
        ({"of": VISIT, "state": read(at_replica=""), "seen": seen(shape="18")}, "skipped", STILL),
        ({"of": VISIT, "state": read(at_replica="17")}, "skipped", STILL),
        (forced(state=read(at_replica="17"), seen=seen(shape="17")), "full", PROOF),
        (forced(state=read(at_replica="17"), seen=seen(shape="18")), "full", "--force-full"),
        # What a verification found to differ is read at every target, and not only when it is due.
        ({"of": VISIT, "differing": VISITS, "replica_catalog": {"visit": replace(VISIT, engine="InnoDB")}}, "full",
         PROOF_OF_FOUND),
        ({"of": VISIT, "differing": VISITS}, "full", DIFFERS),
        ({"of": VISIT, "differing": VISITS, "to": "warehouse"}, "full", DIFFERS),
        ({"of": VISIT, "differing": VISITS, "read_from": "replica"}, "full", f"{DIFFERS}, from the replica"),
        ({"of": VISIT, "differing": frozenset({"another"})}, "skipped", STILL),
        # A replica that cannot show how many rows it has may have none.
        ({"of": VISIT, "seen": seen(unanswered=True)}, "incremental", LATE),
        ({"state": BEHIND, "seen": seen(in_transactions=False)}, "full",
         "the replica's table, whose rows are too wide for InnoDB, cannot be changed in place"),
        ({"of": replace(VISIT, exchanges_partitions="a twin")}, "reconcile",
         "a twin; compared by reading both (0.6 s; checksums 1.2 s)"),
        ({"of": replace(VISIT, exchangeable="a twin")}, "reconcile",
         "a twin; compared by reading both (0.6 s; checksums 1.2 s)"),
        ({"of": INNODB, "state": read(reading=SUMMED), "seen": seen(replica_checksum=7)}, "skipped",
         "its checksum is what it was"),
        ({"of": INNODB, "state": read(reading=SUMMED), "seen": seen(replica_checksum=8)}, "incremental", LATE),
        # Why timestamps are no use.
        ({"mostly_changed": frozenset({"visit"})}, "reconcile",
         f"a third of its rows or more changed since 2026-01-02 19:00:00; {BOTH}"),
        ({"mostly_changed": frozenset({"another"})}, "incremental", LATE),
        ({"of": replace(MOVED, cascades=("a", "b"))}, "reconcile",
         f"foreign keys change rows without a timestamp (a, b); {BOTH}"),
        ({"of": replace(MOVED, create_time=NOON + timedelta(days=1)),
          "state": read(reading=replace(READ, create_time=NOON))}, "reconcile",
         f"it was recreated at the source since: its timestamps may be older; {BOTH}"),
        ({"of": replace(MOVED, create_time=NOON), "state": read(reading=replace(READ, create_time=NOON))},
         "incremental", LATE),
        ({"of": BY_TEXT, "state": read(**shape(planned(BY_TEXT)))}, "reconcile",
         f"its primary key is not one integer; {NO_KEY}{CATCHES_UP}"),
        ({"state": recorded(watermark="17")}, "reconcile", f"no watermark of DateTStamp is recorded; {BOTH}"),
        ({"settings": {}}, "reconcile", f"full_table in tables.yml; {BOTH}"),
        ({"settings": {**INCREMENTAL, "primary_incremental_column": "N"}}, "reconcile",
         f"N is no watermark: the server does not update it at every change; {BOTH}"),
        # When it was last seen, and compared.
        ({"state": recorded(checked_at=ago(days=30))}, "incremental", LATE),
        ({"state": recorded(checked_at=ago(days=30, seconds=1))}, "reconcile",
         f"its last success is 30 days old, more than 30; {BOTH}"),
        ({"state": recorded(checked_at=ago(minutes=-5))}, "incremental", LATE),
        ({"state": recorded(checked_at=ago(minutes=-5, seconds=-1))}, "reconcile",
         f"by the clock, its last success is yet to come; {BOTH}"),
        ({"state": recorded(checked_at=None)}, "reconcile", f"when it was last current is not recorded; {BOTH}"),
        ({"settings": {**INCREMENTAL, "time_gap_threshold_days": 3}, "state": recorded(checked_at=ago(days=4))},
         "reconcile", f"its last success is 4 days old, more than 3; {BOTH}"),
        ({"of": VISIT, "state": read(compared_at=ago(days=7))}, "reconcile",
         f"full comparison every 7 days; {BOTH}"),
        ({"of": VISIT, "state": read(compared_at=ago(days=6, hours=23))}, "skipped", STILL),
        ({"of": VISIT, "state": read(compared_at=ago(days=3)), "choices": RunSettings(reconcile_days=3)}, "reconcile",
         f"full comparison every 3 days; {BOTH}"),
        ({"choices": RunSettings(reconcile_days=9)}, "incremental", LATE.replace("every 7", "every 9")),
        # Nothing to compare with.
        ({"state": TableState()}, "full", "first load"),
        ({"state": replace(STATE, at_replica=False)}, "full", "the replica has no such table"),
        ({"state": replace(STATE, replica=replace(RECORD, as_of=None))}, "full", UNKNOWN),
        ({"state": replace(STATE, replica=replace(RECORD, version=None))}, "full", UNKNOWN),
        ({"state": read(structure="other")}, "full",
         "its columns or its key changed, at the source or in arrowetl.yml"),
        ({"state": read(structure="other", masks="other")}, "full",
         "other columns are masked, or masked differently"),
        ({"state": read(keys="other")}, "full",
         "its unique keys changed at the source: the replica's are to follow"),
        ({"state": read(keys=sync_mode.keys_of(planned(VISIT)))}, "incremental", LATE),
        ({"state": read(source="another")}, "full", "read from another server or database than the last time"),
        # Every row, of a table that both targets have as it is to be.
        (forced(), "full", PROOF),
        # It could not be given what it lacks in a transaction.
        (forced(engine="MyISAM"), "full", "--force-full"),
        (forced(replace(VISIT, indexes=(Index("i", (("Note", None),), False),))), "full", "--force-full"),
        (forced(replace(VISIT, primary_key=())), "full", "--force-full"),
        (forced(replace(VISIT, columns=VISIT.columns[:2])), "full", "--force-full"),
        (forced(replace(VISIT, columns=(VISIT.columns[0], replace(VISIT.columns[1], nullable=False), UPDATED))),
         "full", "--force-full"),
        (forced(state=BEHIND), "full", "--force-full"),
        (forced(state=UNPUBLISHED), "full", "--force-full"),
        (forced(state=EMPTIED), "full", "--force-full"),
        (forced(state=read(structure="other")), "full", "--force-full"),
        (forced(state=read(source="another")), "full", "--force-full"),
        (forced(state=replace(STATE, replica=replace(RECORD, as_of=None))), "full", "--force-full"),
        ({"force_full": True}, "full", "--force-full"),
        # Without a replica.
        ({"to": "warehouse"}, "full", "changed; without a replica, all rows are read"),
        ({"to": "warehouse", "of": VISIT}, "skipped", STILL),
        ({"to": "warehouse", "of": VISIT, "force_full": True}, "full", "--force-full"),
        ({"to": "warehouse", "of": VISIT, "state": UNPUBLISHED}, "full", "first load"),
        ({"to": "warehouse", "of": VISIT, "state": replace(STATE, replica=TargetState())}, "skipped", STILL),
        ({"to": "warehouse", "of": VISIT, "state": replace(STATE, warehouse=replace(RECORD, version=None))},
         "full", "the warehouse's rows are of unknown origin"),
        ({"to": "warehouse", "of": VISIT, "state": replace(STATE, warehouse=replace(RECORD, as_of=None))},
         "full", "the warehouse's rows are of unknown origin"),
        ({"to": "warehouse", "of": VISIT, "state": read(structure="other")}, "full",
         "its columns or its key changed, at the source or in arrowetl.yml"),
        ({"to": "warehouse", "of": VISIT, "state": EMPTIED}, "full", "the warehouse's table changed"),
        ({"to": "warehouse", "of": VISIT, "state": ALTERED}, "full", "the warehouse's table changed"),
        ({"to": "warehouse", "of": VISIT, "state": recorded(checked_at=ago(days=31))}, "full",
         "its last success is 31 days old, more than 30"),
        ({"to": "warehouse", "of": VISIT, "state": read(compared_at=ago(days=7))}, "full",
         "full comparison every 7 days"),
        ({"to": "warehouse", "of": replace(VISIT, exchangeable="a twin")}, "full",
         "changed; without a replica, all rows are read"),
        # From the replica.
        ({"read_from": "replica"}, "skipped", "the warehouse has what the replica has"),
        ({"read_from": "replica", "state": BEHIND}, "full", "the warehouse has another version than the replica"),
        ({"read_from": "replica", "state": EMPTIED}, "full", "the warehouse has another version than the replica"),
        ({"read_from": "replica", "state": UNPUBLISHED}, "full", "first load, from the replica"),
        ({"read_from": "replica", "force_full": True}, "full", "--force-full, from the replica"),
    ],
)  # fmt: skip
def test_each_state_gets_its_mode_and_full_reason(case: dict[str, Any], mode: str, reason: str) -> None:
    """And what goes with it: from where on, how, and from which target."""
    plan = plan_of(**case)

    assert (plan.mode.value, plan.reason) == (mode, reason)
    assert plan.incremental_from == ("2026-01-02 19:00:00" if mode == "incremental" else None)
    assert not plan.kind.goes_by_checksums or mode == "incremental"
    assert plan.reload_warehouse_from_replica is reason.endswith(CATCHES_UP)
    assert (plan.kind is LoadKind.PROOF) is (reason in (PROOF, PROOF_OF_FOUND))
    assert plan.reads_replica is (case.get("read_from") == "replica" and mode != "skipped")
    assert plan.structure == sync_mode.structure(plan)


@pytest.mark.parametrize(
    ("drift", "words"),
    [
        (SchemaChange(), ""),
        (SchemaChange(added=fields(column("A", "int(11)"), column("B", "int(11)"))), ": added A, B"),
        (SchemaChange(retyped=fields(column("A", "int(11)"))), ": retyped A"),
        (SchemaChange(dropped=("A", "B")), ": dropped A, B"),
        (SchemaChange(adds_key=True), ": another primary key"),
        (SchemaChange(drops_key=True), ": another primary key"),
        (
            SchemaChange(adds_key=True, drops_key=True, dropped=("A",), added=fields(column("B", "int(11)"))),
            ": added B; dropped A; another primary key",
        ),
    ],
)
def test_schema_changes_are_in_the_reason(drift: SchemaChange, words: str) -> None:
    plan = replace(planned(MOVED, THERE), drift=drift)
    found = sync_mode.with_kind(
        plan, TableSettings(), read(structure="other"), RunConditions("clinic:3306/opendental", TONIGHT)
    )

    assert found.reason == f"its columns or its key changed, at the source or in arrowetl.yml{words}"


PLACE, DOCUMENT = column("Place", "point"), column("Doc", "json")


@pytest.mark.parametrize(
    ("columns", "key", "proves"),
    [
        ((column("N", "bigint(20)", nullable=False),), ("N",), True),
        ((column("N", "smallint(6)", nullable=False),), ("N",), True),
        ((column("N", "int(11)", nullable=False),), ("N",), True),
        # A numeric at the warehouse has no ranges like those of the others.
        ((column("N", "bigint(20) unsigned", nullable=False),), ("N",), False),
        ((column("N", "varchar(9)", nullable=False),), ("N",), False),
        ((column("N", "int(11)", nullable=False), column("M", "int(11)", nullable=False)), ("N", "M"), False),
        ((column("N", "int(11)", nullable=False), PLACE), ("N",), False),
        ((column("N", "int(11)", nullable=False), DOCUMENT), ("N",), False),
        ((column("N", "int(11)", nullable=False),), (), False),
    ],
)
def test_proof_needs_equal_shapes_at_all_servers(
    columns: tuple[Column, ...], key: tuple[str, ...], proves: bool
) -> None:
    of = table("visit", *columns, key=key, rows=9)
    fresh = planned(of)
    there = PublishedTable(tuple((f.name_postgres, f.type_postgres) for f in fresh.fields), fresh.key_postgres)
    record = replace(RECORD, as_of=replace(AS_OF, **shape(planned(of, there))))
    plan = plan_of(of, TableState(record, record, True, there), {}, **forced(of))

    assert (plan.kind is LoadKind.PROOF) is proves


def test_only_replicated_index_kinds_are_compared() -> None:
    """Those of a kind that it is given, and no other."""
    tree, texts = Index("i", (("Note", 9),), False), Index("f", (("Note", None),), False, "SPATIAL")
    of = replace(VISIT, indexes=(tree, texts))

    assert plan_of(of, **forced(replace(VISIT, indexes=(tree,)))).kind is LoadKind.PROOF
    assert plan_of(of, **forced(replace(VISIT, indexes=(texts,)))).kind is LoadKind.FULL
    assert plan_of(of, **forced(VISIT)).kind is LoadKind.FULL


def test_geometry_tables_are_loaded_in_full() -> None:
    """Their column's comment shows the reference system of all values, of which a part knows nothing."""
    of = replace(MOVED, columns=(*MOVED.columns, PLACE))
    there = replace(THERE, columns=(*THERE.columns, ("Place", "bytea")))
    record = replace(RECORD, as_of=replace(AS_OF, **shape(planned(of, there))))
    plan = plan_of(of, TableState(record, replace(record, version="run0"), True, there))

    assert (plan.mode, plan.reason, plan.reload_warehouse_from_replica) == (
        Mode.FULL,
        "has geometry columns; always a full load",
        False,
    )


def test_an_excluded_key_prevents_incremental_loads() -> None:
    """There is nothing by which changed rows would be known."""
    settings = {**INCREMENTAL, "columns": {"N": {"exclude": True}}}
    there = PublishedTable(THERE.columns[1:], ())
    record = replace(RECORD, as_of=replace(AS_OF, **shape(planned(MOVED, there, **settings))))
    plan = plan_of(MOVED, TableState(record, record, True, there), settings)

    assert plan.reason == (
        "its primary key is left out, by which changed rows would be known; "
        "compared by reading both, having no integer key"
    )


MASKED = {**INCREMENTAL, "columns": {"Note": {"mask": "null"}}}
MASKED_TWICE = {**INCREMENTAL, "columns": {"Note": {"mask": "null"}, "DateTStamp": {"mask": "null"}}}


def test_from_replica_refuses_unmasked_rows() -> None:
    """Its rows are loaded to nobody."""
    for state in (STATE, replace(STATE, replica=replace(RECORD, as_of=None))):
        with pytest.raises(DataError) as refusal:
            plan_of(MOVED, state, MASKED, read_from="replica")

        assert refusal.value.message == (
            "visit: the replica's rows are not known to be masked as arrowetl.yml has it (Note); nothing was loaded"
        )
        assert refusal.value.remedy == "load the table from the source first: without --from replica"


def test_from_replica_refuses_an_altered_table() -> None:
    with pytest.raises(DataError) as refusal:
        plan_of(MOVED, read(at_replica="17"), read_from="replica", seen=seen(shape="18"))

    assert refusal.value.message == "visit: somebody altered the replica's table; nothing was loaded"
    assert refusal.value.remedy == "load the table from the source first: without --from replica"
    assert plan_of(MOVED, read(at_replica="17"), read_from="replica", seen=seen(shape="17")).at_replica == "17"


def test_masked_columns_are_named_in_the_error() -> None:
    with pytest.raises(DataError, match=r"as arrowetl.yml has it \(Note, DateTStamp\); nothing"):
        plan_of(MOVED, STATE, MASKED_TWICE, read_from="replica")


def test_from_replica_accepts_masked_rows() -> None:
    masks = sync_mode.digest_of_masks({"Note": "null"})
    plan = plan_of(MOVED, read(masks=masks), MASKED, read_from="replica")

    assert (plan.kind, plan.reason) == (LoadKind.SKIPPED, "the warehouse has what the replica has")
    assert plan.left_out == ("Note",)


def test_masked_tables_are_compared_by_reading() -> None:
    settings = {"columns": {"Note": {"mask": "null"}}}
    fresh = planned(MOVED, THERE, **settings)
    state = read(**shape(fresh), masks=sync_mode.masks_of(fresh))
    plan = plan_of(MOVED, state, settings)

    assert plan.reason == "full_table in tables.yml; compared by reading both, for the sake of Note"

    settings = {"columns": {"Note": {"mask": "null"}, "DateTStamp": {"mask": "null"}}}
    fresh = planned(MOVED, THERE, **settings)
    state = read(**shape(fresh), masks=sync_mode.masks_of(fresh))
    assert plan_of(MOVED, state, settings).reason.endswith("for the sake of Note, DateTStamp")


@pytest.mark.parametrize(
    ("rows", "bytes_", "link", "chosen", "words"),
    [
        (500_000, 50_000_000, None, "auto", "compared by reading both (0.6 s; checksums 1.2 s)"),
        (500_000, 50_000_000, None, "checksum", "compared by checksum, as arrowetl.yml chooses"),
        (500_000, 50_000_000, None, "reading", "compared by reading, as arrowetl.yml chooses"),
        (500_000, limits.reading_bytes_min, None, "auto", "compared by reading both, being so small"),
        (500_000, limits.reading_bytes_min + 1, None, "auto", "compared by reading both (0.6 s; checksums 1.2 s)"),
        (500_000, 50_000_000, Link(0.01, 5e6), "auto", "compared by checksums (1.2 s; reading 10.0 s)"),
        (500_000, 50_000_000, Link(0.01, 5e9), "auto", "compared by reading both (0.6 s; checksums 1.2 s)"),
    ],
)
def test_the_comparison_has_a_reason(rows: int, bytes_: int, link: Link | None, chosen: str, words: str) -> None:
    of = replace(MOVED, rows=rows, data_bytes=bytes_)
    plan = plan_of(of, settings={}, link=link, choices=RunSettings(reconcile_by=chosen))

    assert plan.reason == f"full_table in tables.yml; {words}"
    assert plan.kind.goes_by_checksums is ("by checksum" in words)


@pytest.mark.parametrize(
    ("settings", "watermark"),
    [
        (INCREMENTAL, "DateTStamp"),
        ({**INCREMENTAL, "columns": {"DateTStamp": {"exclude": True}}}, None),
        # Its highest value would be written down.
        ({**INCREMENTAL, "columns": {"DateTStamp": {"mask": "null"}}}, None),
        ({**INCREMENTAL, "columns": {"Note": {"mask": "null"}}}, "DateTStamp"),
        ({"primary_incremental_column": "DateTStamp"}, None),
        ({"extraction_strategy": "incremental"}, None),
        ({**INCREMENTAL, "primary_incremental_column": "N"}, None),
        ({**INCREMENTAL, "primary_incremental_column": "N", "overrides": {"primary_incremental_column": "N"}}, "N"),
        ({**INCREMENTAL, "primary_incremental_column": "N", "overrides": None}, None),
        ({**INCREMENTAL, "primary_incremental_column": "X", "overrides": {"primary_incremental_column": "X"}}, None),
    ],
)
def test_the_watermark_column_is_chosen(settings: dict[str, Any], watermark: str | None) -> None:
    assert sync_mode.watermark_column(VISIT, TableSettings(settings)) == watermark


def test_a_load_that_finds_more_becomes_another_kind() -> None:
    """What is found while a table is loaded makes another kind of its plan, and says why."""
    plan = sync_mode.with_kind(
        planned(MOVED, THERE, **INCREMENTAL), TableSettings(INCREMENTAL), STATE,
        RunConditions("clinic:3306/opendental", TONIGHT),
    )  # fmt: skip
    assert (plan.kind, plan.incremental_from is None) == (LoadKind.INCREMENTAL, False)

    compared = sync_mode.with_full_comparison(plan, ("timestamps_went_back", "its timestamps went back"))
    assert (compared.kind, compared.incremental_from) == (LoadKind.BY_CHECKSUMS, None)
    assert compared.reason == "its timestamps went back"

    recreated = sync_mode.with_recreated_replica(plan)
    assert recreated.mode is Mode.FULL
    assert (recreated.incremental_from, recreated.stages_all_rows) == (None, True)
    assert recreated.reason == f"{plan.reason}; the replica could not follow row by row, and is recreated"

    read = sync_mode.with_full_load(plan, ("differs_without_key", "it differs"))
    assert (read.mode, read.reason, read.reason_code) == (Mode.FULL, "it differs", "differs_without_key")


def test_structure_digests_are_stable() -> None:
    """They may change with no version: every table would be read in full."""
    plan = planned(VISIT, THERE)
    keyed = planned(replace(VISIT, indexes=(Index("u", (("Note", 9),), True), Index("i", (("N", None),), False))))
    masked = planned(VISIT, None, columns={"Note": {"mask": "null"}})

    assert sync_mode.structure(plan) == "4e1a54cf4bf5b032"
    assert sync_mode.structure(masked) == "2c1bac6e89281583"
    assert sync_mode.keys_of(plan) == "a3b82fa8573ed722"
    assert sync_mode.keys_of(keyed) == "7eab47385db67e2a"
    assert sync_mode.masks_of(masked) == sync_mode.digest_of_masks({"Note": "null"}) == "ce1ada0a3236f7fd"
    assert sync_mode.masks_of(plan) == sync_mode.digest_of_masks({}) == ""


@pytest.mark.parametrize(
    ("state", "warehouse_is_current"),
    [
        (STATE, True),
        (BEHIND, False),
        (UNPUBLISHED, False),
        (EMPTIED, False),
        (ALTERED, False),
        (recorded(version=None), False),
        (replace(EMPTIED, warehouse=replace(RECORD, rows=0)), True),
    ],
)
def test_targets_of_one_version_are_in_sync(state: TableState, warehouse_is_current: bool) -> None:
    assert sync_mode.warehouse_is_current(planned(MOVED, state.published), state) is warehouse_is_current


def test_the_source_is_compared_with_the_written_target() -> None:
    state = replace(STATE, warehouse=replace(RECORD, version="other"))

    for to, version in (("both", "run1"), ("replica", "run1"), ("warehouse", "other")):
        assert sync_mode.base(state, RunConditions("s", TONIGHT, to=to)).version == version


@pytest.mark.parametrize(
    ("of", "now", "incremental_from"),
    [
        # Where full rows are compared next to it: from when it was last read.
        (replace(MOVED, rows=1_000), NOON + timedelta(hours=9), "2026-01-02 19:00:00"),
        (replace(MOVED, rows=1_000), NOON + timedelta(hours=11), "2026-01-02 21:00:00"),
        (replace(MOVED, rows=1_000), NOON, "2026-01-02 19:00:00"),
        # Elsewhere from the highest timestamp that it had.
        (MOVED, NOON + timedelta(hours=11), "2026-01-02 19:00:00"),
    ],
)
def test_incremental_loads_begin_at_the_overlap(of: Any, now: datetime, incremental_from: str) -> None:
    assert plan_of(of, read(reading=replace(READ, now=now))).incremental_from == incremental_from
