"""
What may be trusted without reading it: each kind of evidence, what it needs, and what it cannot see.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from support.catalog_values import column, planned, table

from arrowetl import limits
from arrowetl.model.plan import Column
from arrowetl.model.state import SourceStats, SyncPoint, TargetState
from arrowetl.planning import evidence

NOON = datetime(2026, 1, 2, 12)
MADE = datetime(2025, 12, 1)
LATER = NOON + timedelta(hours=9)
MYISAM = replace(
    table("visit", column("N", "bigint(20)", nullable=False), key=("N",), rows=500), update_time=NOON, create_time=MADE
)
INNODB = replace(MYISAM, engine="InnoDB", update_time=None, checksum=17)
READ = SourceStats(500, NOON, LATER, None, MADE)
SUMMED = SourceStats(500, None, LATER, 17, MADE)
WINDOWS = evidence.update_time_doubts("Win64", False)


def record(reading: SourceStats | None, **more: object) -> TargetState:
    as_of = SyncPoint("clinic", "s", LATER.replace(tzinfo=UTC), reading)
    return replace(TargetState("run1", 500, LATER.replace(tzinfo=UTC), as_of=as_of), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("case", "now", "before", "kind"),
    [
        ("an unchanged time", MYISAM, READ, "update_time"),
        ("one that moved", replace(MYISAM, update_time=NOON + timedelta(seconds=1)), READ, None),
        ("one that went back", replace(MYISAM, update_time=NOON - timedelta(days=1)), READ, None),
        ("other rows under the same time", replace(MYISAM, rows=501), READ, None),
        ("a table that was recreated", replace(MYISAM, create_time=MADE + timedelta(days=9)), READ, None),
        ("a record without the time it was made", MYISAM, replace(READ, create_time=None), None),
        ("read within the same second", MYISAM, replace(READ, now=NOON + timedelta(seconds=1)), None),
        ("and a little later", MYISAM, replace(READ, now=NOON + timedelta(seconds=1, microseconds=1)), "update_time"),
        ("a server on Windows", replace(MYISAM, update_time_doubted=WINDOWS), READ, None),
        ("one that another may have replaced", replace(MYISAM, exchangeable="copy has the same"), READ, None),
        ("one that was read while times did not move", MYISAM, replace(READ, update_time_reliable=False), None),
        ("no time", replace(MYISAM, update_time=None), replace(READ, update_time=None), None),
        ("another engine's time", replace(MYISAM, engine="InnoDB"), READ, None),
        ("nothing recorded", MYISAM, None, None),
        ("empty as it was, on Windows", replace(MYISAM, rows=0, update_time_doubted=WINDOWS), replace(READ, rows=0),
         "nothing"),
        ("empty, and not before", replace(MYISAM, rows=0), READ, None),
        ("an estimate of no rows", replace(INNODB, rows=0, checksum=None), replace(SUMMED, rows=0), None),
        ("a checksum that is the same", INNODB, SUMMED, "checksum"),
        ("another one", replace(INNODB, checksum=18), SUMMED, None),
        ("one that could not be said", replace(INNODB, checksum=None), replace(SUMMED, checksum=None), None),
        ("a checksum instead", replace(MYISAM, update_time_doubted=WINDOWS, checksum=17), SUMMED, "checksum"),
    ],
)  # fmt: skip
def test_a_table_is_unchanged_only_with_a_proof(
    case: str, now: object, before: SourceStats | None, kind: str | None
) -> None:
    """Only where there is no room for a change; when in doubt, not."""
    proof = evidence.unchanged(now, record(before))  # type: ignore[arg-type]
    assert (proof and proof.kind) == kind, case


def test_proofs_have_words() -> None:
    empty = evidence.unchanged(replace(MYISAM, rows=0), record(replace(READ, rows=0)))

    assert (empty and empty.words) == "as empty as it was"


def test_an_empty_record_proves_nothing() -> None:
    assert evidence.unchanged(MYISAM, TargetState()) is None


def test_a_checksum_that_the_replica_lacks_is_no_proof() -> None:
    """Rows that were changed while they were read, and changed back: what is recorded is no sum of what arrived."""
    assert evidence.unchanged(INNODB, record(SUMMED), at_replica=17) is not None
    assert evidence.unchanged(INNODB, record(SUMMED), at_replica=16) is None


@pytest.mark.parametrize(
    ("compiled_for", "mmap", "doubted"),
    [
        ("Linux", False, ""),
        ("debian-linux-gnu", False, ""),
        ("osx10.19", False, ""),
        ("Win64", False, "Windows"),
        ("Win32", True, "Windows"),
        (" Win64  ", False, "Windows"),
        ("Linux", True, "mmap"),
        ("", False, ""),
    ],
)
def test_update_times_of_windows_and_mmap_are_doubted(compiled_for: str, mmap: bool, doubted: str) -> None:
    words = {
        "": "",
        "Windows": "the source runs on Windows, where a MyISAM table keeps its UPDATE_TIME while it is open",
        "mmap": "the source writes MyISAM through mmap (myisam_use_mmap), which moves no table's time",
    }

    assert evidence.update_time_doubts(compiled_for, mmap) == words[doubted]


@pytest.mark.parametrize(
    ("what", "shows"),
    [
        (MYISAM, False),
        (replace(MYISAM, update_time=None), True),
        (replace(MYISAM, update_time_doubted=WINDOWS), True),
        (replace(MYISAM, exchangeable="copy has the same"), True),
        (replace(MYISAM, exchanges_partitions="a partition"), True),
        (INNODB, True),
        (replace(INNODB, rows=limits.checksum_table_rows_max), True),
        (replace(INNODB, rows=limits.checksum_table_rows_max + 1), False),
    ],
)
def test_checksums_decide_for_small_tables_only(what: object, shows: bool) -> None:
    """Of small tables of which nothing else does."""
    assert evidence.is_checked_by_checksum(planned(what)) is shows  # type: ignore[arg-type]


def test_clock_columns_are_in_no_checksum() -> None:
    of_the_clock = replace(column("Age", "int(11)"), extra="VIRTUAL GENERATED", depends_on="curdate()")
    plan = planned(replace(INNODB, columns=(*INNODB.columns, of_the_clock)))

    assert plan.left_out == ("Age",)
    assert not evidence.is_checked_by_checksum(plan)
    assert not evidence.rest_is_fully_compared(plan)


@pytest.mark.parametrize(
    ("change", "settled"),
    [
        ({}, True),
        ({"rows": 501}, False),
        ({"update_time": NOON + timedelta(seconds=1)}, False),
        ({"create_time": NOON}, False),
        ({"checksum": 3}, False),
        ({"now": LATER + timedelta(seconds=9)}, True),
    ],
)
def test_any_visible_change_counts_as_changed(change: dict[str, object], settled: bool) -> None:
    assert evidence.settled(READ, replace(READ, **change)) is settled  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "found", "moved"),
    [
        ((None, None), 501, False),
        ((100, None), 501, False),
        ((None, 100), 501, False),
        ((100, 100), 501, False),
        ((100, 103), 504, False),
        ((100, 104), 504, True),
        ((100, 104), 496, True),
        ((100, 103), 496, False),
    ],
)
def test_unexplained_row_counts_are_errors(changes: tuple[int | None, int | None], found: int, moved: bool) -> None:
    """Another number than it ever had is explained by what the server wrote meanwhile, or by nothing."""
    before, after = (replace(READ, server_changes=number) for number in changes)

    assert evidence.may_have_changed_unnoticed(before, after, found) is moved


def test_a_recent_or_doubted_update_time_leaves_it_unknown() -> None:
    """A timestamp of this second, or one that does not change: the table may have moved under it."""
    fresh, doubted, unstamped = (
        replace(READ, now=NOON),
        replace(READ, update_time_reliable=False),
        replace(READ, update_time=None),
    )
    assert [evidence.settled(one, one) for one in (fresh, doubted, unstamped)] == [None, None, None]
    assert evidence.settled(SUMMED, SUMMED) is True


@pytest.mark.parametrize(
    ("days", "trusted"), [(timedelta(days=6, hours=23), True), (timedelta(days=7), False), (timedelta(days=400), False)]
)
def test_trust_expires_after_reconcile_days(days: timedelta, trusted: bool) -> None:
    """Whatever its timestamp says, a table is looked at once in a while."""
    now = LATER.replace(tzinfo=UTC) + days
    assert (evidence.trusted_long_enough(record(READ), now, 7) is None) is trusted
    assert evidence.trusted_long_enough(TargetState(), now, 7) is not None


@pytest.mark.parametrize(
    ("counted", "more", "trusted"),
    [
        (500, {}, True),
        (499, {}, False),
        (0, {}, False),
        (None, {}, True),
        (0, {"rows": None}, True),
        (0, {"version": None}, True),
    ],
)
def test_a_miscounted_target_is_not_trusted(counted: int | None, more: dict[str, object], trusted: bool) -> None:
    """What is recorded of a certain version is held against the table; without either there is nothing to hold."""
    assert (evidence.miscounted_target(record(READ, **more), counted) is None) is trusted


@pytest.mark.parametrize(
    ("written", "estimated", "untouched"),
    [
        (NOON, 480, True),
        (NOON + timedelta(seconds=limits.own_commit_seconds), 480, True),
        (NOON + timedelta(seconds=limits.own_commit_seconds + 1), 480, False),
        (None, 480, False),
        (NOON, 0, False),
    ],
)
def test_targets_written_by_others_are_noticed(written: datetime | None, estimated: int, untouched: bool) -> None:
    """By the engine's own word; TRUNCATE moves nothing but the estimate, and a restart forgets."""
    known = record(READ, changed_at=NOON.replace(tzinfo=UTC))
    assert evidence.untouched(known, written, estimated) is untouched
    assert not evidence.untouched(record(READ), NOON, 480)


@pytest.mark.parametrize(
    ("recorded", "highest", "back"),
    [
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05", False),
        ("2026-01-02T03:04:05", "2026-01-02 03:04:04", True),
        ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05", False),
        ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:04", True),
        ("2026-01-02T03:04:05", None, True),
        (None, "2026-01-02", False),
        ("9", "10", False),
        ("10", "9", True),
        ("10", "10", False),
        ("-3", "-5", True),
        ("-5", "-3", False),
        ("3", "-5", True),
        # What is no number is as if there were none.
        ("7", "none", True),
        ("none", "0", False),
        ("none", "1", False),
        ("1-2", "1", False),
    ],
)
def test_lower_timestamps_mean_a_restored_source(
    recorded: str | None, highest: str | None, back: bool, far_from_utc: None
) -> None:
    """Wherever this machine is."""
    assert evidence.went_back(recorded, highest) is back


@pytest.mark.parametrize(("type_", "hours"), [("timestamp", 2), ("datetime", 28), ("date", 52), ("bigint", 2)])
def test_the_overlap_follows_the_column_type(type_: str, hours: int) -> None:
    assert evidence.overlap(Column("c", type_, type_)) == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("type_", "extra", "update_time_reliable"),
    [
        ("timestamp", "on update current_timestamp()", True),
        ("datetime", "DEFAULT_GENERATED on update CURRENT_TIMESTAMP", True),
        ("timestamp", "", False),
        ("bigint", "on update current_timestamp()", False),
    ],
)
def test_auto_updated_columns_are_recognised(type_: str, extra: str, update_time_reliable: bool) -> None:
    assert evidence.is_auto_updated(Column("c", type_, type_, extra=extra)) is update_time_reliable


def test_cascading_foreign_keys_are_a_reason() -> None:
    assert evidence.unstamped_changes(MYISAM) is None
    assert "of_plan" in (evidence.unstamped_changes(replace(MYISAM, cascades=("of_plan",))) or "")


@pytest.mark.parametrize(
    ("recorded", "now", "another"),
    [("17", "17", False), ("17", "18", True), ("", "18", False), ("17", "", False), ("", "", False)],
)
def test_an_altered_replica_table_is_noticed(recorded: str, now: str, another: bool) -> None:
    """Another than a run gave it; of what was not recorded, or not asked, nothing is said."""
    known = record(READ)
    assert known.as_of is not None
    known = replace(known, as_of=replace(known.as_of, at_replica=recorded))

    assert evidence.another_shape(known, now) is another
    assert not evidence.another_shape(TargetState(), "18")


def test_missing_tables_are_found() -> None:
    assert evidence.missing({"a", "c", "b"}, {"b": 1, "d": 2}) == ["a", "c"]


def test_another_source_is_noticed() -> None:
    assert evidence.another_source("a:1/x", "a:1/y")
    assert not evidence.another_source("a:1/x", "a:1/x")
