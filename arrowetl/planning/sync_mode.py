"""
What is recorded of a table, and what the source says of it now → the kind of load, and the reason in words.

Pure, and the only place where a kind is chosen, once everything was measured; what `adjust_plan` and `load_tables` find
during the load becomes another kind by the functions at the end of this module. `table_plan` has decided what its
columns become; `plan_run` asks both. When in doubt, a table is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from arrowetl import limits
from arrowetl.errors import DataError
from arrowetl.model.connection import DEFAULT_CHOICES, Link, RunSettings, TableSettings
from arrowetl.model.dialect import INTEGERS, REPLICATED_INDEXES
from arrowetl.model.humanize import listed
from arrowetl.model.plan import Column, Cutover, LoadKind, Table, TablePlan
from arrowetl.model.state import SyncPoint, TableState, TargetState
from arrowetl.planning import evidence
from arrowetl.planning.reasons import Why
from arrowetl.types import mapping


@dataclass(frozen=True, slots=True)
class ReplicaFacts:
    """What else is known of a replica's table, by which its record is trusted or not."""

    replica_rows: int | None = None
    """That the replica counts; None where it was not asked."""
    in_transactions: bool = True
    """Whether the replica's table is of an engine that has some: only then is it changed in place."""
    replica_checksum: int | None = None
    """What the replica's rows add up to; None where it was not asked."""
    shape: str = ""
    """Of the replica's table, as its server describes it; empty where it was not asked."""
    unanswered: bool = False
    """Whether the replica was asked about its table, and could not answer."""


NO_FACTS = ReplicaFacts()


@dataclass(frozen=True, slots=True)
class RunConditions:
    """What holds for all tables of a run."""

    source: str
    """Which server and database is read."""
    now: datetime
    force_full: bool = False
    read_from: str = "source"
    choices: RunSettings = DEFAULT_CHOICES
    link: Link | None = None
    """None where it was not measured."""
    to: str = "both"
    """One of `connection.DESTINATIONS`."""
    mostly_changed: frozenset[str] = frozenset()
    """Tables of which so much changed since their watermark that it is no use."""
    replica_catalog: Mapping[str, Table] = field(default_factory=dict)
    """The replica's tables; asked for where every row is to be read."""
    differing: frozenset[str] = frozenset()
    """Tables that a verification found to differ, with the warehouse's tables still as they were."""
    seen: Mapping[str, ReplicaFacts] = field(default_factory=dict)
    """Table → what was asked about it besides."""
    folds_names: bool = False
    """Whether the replica takes two names for one that differ in capitals alone."""
    partition_bytes: int = limits.partition_bytes
    """Of a partition, where tables.yml chooses none."""
    mask_mark: str = ""
    """By which another key of masks will be noticed."""


def with_kind(plan: TablePlan, settings: TableSettings, state: TableState, around: RunConditions) -> TablePlan:
    """
    The plan with the kind of its load, and the reason.

    Called again once the source's checksums are known; `plan_run` asks for them only of tables whose first kind they
    could change: those that stage changes, and those of geometries.

    Args:
        plan: as `table_plan.table_plan` made it: as if everything were to be read.
    """
    seen = around.seen.get(plan.name, NO_FACTS)
    plan = replace(
        plan,
        structure=structure(plan),
        watermark=watermark_column(plan.table, settings),
        incremental_from=None,
        at_replica=seen.shape,
        reload_warehouse_from_replica=around.to == "both"
        and around.read_from == "source"
        and not warehouse_is_current(plan, state),
    )
    if around.read_from == "replica":
        return _from_replica(plan, state, around)
    if around.to == "warehouse":
        return _without_replica(plan, settings, state, around)
    record = state.replica
    if (forced := _forced(plan, around)) and _can_be_proven(plan, state, around):
        words = f"{forced[1]}: every row of source, replica and warehouse is read and compared"
        plan = replace(plan, kind=LoadKind.PROOF, reload_warehouse_from_replica=False)
        return _because(plan, (forced[0], words))
    if why := _why_full(plan, state, around):
        return _full(plan, why)
    # An unchanged source proves nothing of a replica that cannot be read.
    proof = None if seen.unanswered else evidence.unchanged(plan.table, record, seen.replica_checksum)
    if not seen.in_transactions and not proof:
        words = "the replica's table, whose rows are too wide for InnoDB, cannot be changed in place"
        return _full(plan, ("replica_not_transactional", words))
    if lost := evidence.miscounted_target(record, seen.replica_rows):
        # What changed at the source is not all that it lacks.
        kind, how = _comparison(plan, around)
        words = f"somebody changed the replica's table: {lost}; {how}"
        return _because(replace(plan, kind=kind), ("replica_changed_by_others", words))
    overdue = _overdue(record, settings, around.now)
    incremental_from, why_not = _incremental_from(plan, settings, record, around)
    if incremental_from and plan.name in around.mostly_changed:
        words = f"a third of its rows or more changed since {incremental_from}"
        incremental_from, why_not = None, ("mostly_changed", words)
    stale = _comparison_due(record, around)
    if proof and not overdue and not stale:
        kind = LoadKind.CATCHING_UP if plan.reload_warehouse_from_replica else LoadKind.SKIPPED
        plan = _because(replace(plan, kind=kind), (f"unchanged_{proof.kind}", proof.words))
    elif any(mapping.is_geometry(field) for field in plan.fields):
        # Column comments name the reference system of all values, which a part of the rows cannot decide.
        plan = _full(plan, ("geometry", "has geometry columns; always a full load"))
    elif not overdue and incremental_from:
        words = _incremental_words(plan, incremental_from, around)
        plan = replace(plan, kind=LoadKind.INCREMENTAL, incremental_from=incremental_from)
        plan = _because(plan, ("timestamps", words))
    else:
        kind, how = _comparison(plan, around)
        code, words = overdue or (stale if proof else None) or why_not
        plan = _because(replace(plan, kind=kind), (code, f"{words}; {how}"))
    if plan.reload_warehouse_from_replica:
        plan = replace(plan, reason=f"{plan.reason}; the warehouse is behind and is loaded from the replica")
    return plan


def _because(plan: TablePlan, why: Why) -> TablePlan:
    code, words = why
    return replace(plan, reason=words, reason_code=code)


def _full(plan: TablePlan, why: Why) -> TablePlan:
    return replace(with_full_load(plan, why), reload_warehouse_from_replica=False)


def _incremental_words(plan: TablePlan, incremental_from: str, around: RunConditions) -> str:
    """What is read, and what of the rest is looked at."""
    words = f"{plan.watermark} from {incremental_from} on; the rest by checksums"
    if plan.watermark is None or evidence.rest_is_fully_compared(plan):
        return words
    late = evidence.overlap(plan.table.column(plan.watermark)) // timedelta(hours=1)
    return (
        f"{words} of its keys: changes that move no timestamp, or more than {late} hours late, are found by the full "
        f"comparison every {around.choices.reconcile_days} days"
    )


def structure(plan: TablePlan) -> str:
    """A digest of the columns that are loaded, of their masks, and of the key."""
    columns = [[c.name, c.column_type, c.nullable, c.charset, c.collation] for c in (f.column for f in plan.fields)]
    masks = [masks_of(plan), plan.mask_mark] if plan.masked else []
    return hashlib.sha256(json.dumps([columns, plan.table.primary_key, *masks]).encode()).hexdigest()[:16]


def keys_of(plan: TablePlan) -> str:
    """A digest of what is unique in a table: which columns, and how much of each."""
    unique = sorted(repr(index.columns) for index in plan.table.indexes if index.unique)
    return hashlib.sha256(json.dumps([plan.table.primary_key, unique]).encode()).hexdigest()[:16]


def masks_of(plan: TablePlan) -> str:
    """A digest of which columns are masked, and how; empty where none is."""
    return digest_of_masks({field.column.name: field.mask for field in plan.fields if field.mask})


def digest_of_masks(masks: Mapping[str, str]) -> str:
    """The same of columns and their masks."""
    return hashlib.sha256(json.dumps(sorted(masks.items())).encode()).hexdigest()[:16] if masks else ""


def warehouse_is_current(plan: TablePlan, state: TableState) -> bool:
    """Whether both targets store the same, so that what changed at the one is all that the other is missing."""
    same = state.replica.version is not None and state.replica.version == state.warehouse.version
    return same and plan.published is not None and _as_recorded(plan, state)


def _as_recorded(plan: TablePlan, state: TableState) -> bool:
    """Whether nobody truncated the warehouse's table, or altered it."""
    return not (plan.published and plan.published.is_empty and state.warehouse.rows) and not plan.drift


def _forced(plan: TablePlan, around: RunConditions) -> Why | None:
    """Why nothing that is recorded of a table is trusted."""
    if around.force_full:
        return "forced", "--force-full"
    return ("found_to_differ", "a verification found that it differs") if plan.name in around.differing else None


def _why_full(plan: TablePlan, state: TableState, around: RunConditions) -> Why | None:
    """Why there is nothing to compare with; None where there is."""
    record, as_of = state.replica, state.replica.as_of
    known = state.at_replica and record.version is not None and as_of is not None
    altered = evidence.another_shape(record, plan.at_replica)
    reasons = (
        (not state.at_replica and state.published is None, "first_load", "first load"),
        (not state.at_replica, "first_load", "the replica has no such table"),
        (not known, "origin_unknown", "the replica's rows are of unknown origin, or of a run that was killed"),
        (altered, "replica_altered", "somebody altered the replica's table; it is recreated"),
    )
    why = _forced(plan, around) or next(((code, words) for holds, code, words in reasons if holds), None)
    return why or _read_otherwise(plan, as_of, around)


def _can_be_proven(plan: TablePlan, state: TableState, around: RunConditions) -> bool:
    """Whether both targets' tables have the planned shape, so that reading them spares writing them."""
    record, there = state.replica, around.replica_catalog.get(plan.name)
    if there is None or record.as_of is None or _read_otherwise(plan, record.as_of, around):
        return False
    if evidence.another_shape(record, plan.at_replica):
        return False
    return (
        warehouse_is_current(plan, state)
        and plan.cutover is Cutover.MERGE
        # It is given what it lacks, in a transaction.
        and there.engine == "InnoDB"
        and plan.table.integer_key is not None
        and bool(plan.key_fields)
        and all(field.type_postgres in ("smallint", "integer", "bigint") for field in plan.key_fields)
        and not any(mapping.is_geometry(field) or mapping.is_json(field) for field in plan.fields)
        and _is_alike(plan, there)
    )


def _is_alike(plan: TablePlan, there: Table) -> bool:
    """Whether the replica's table has the columns, the key and the indexes of the source's."""
    columns = [(field.column.name, field.column.column_type, field.column.nullable) for field in plan.fields]
    indexes = {index for index in plan.table.indexes if index.kind in REPLICATED_INDEXES}
    return (
        columns == [(column.name, column.column_type, column.nullable) for column in there.columns]
        and plan.table.primary_key == there.primary_key
        and indexes == set(there.indexes)
    )


def _read_otherwise(plan: TablePlan, as_of: SyncPoint | None, around: RunConditions) -> Why | None:
    """Why what was read last is no measure of what is read now."""
    if as_of and as_of.structure != plan.structure:
        if as_of.masks != masks_of(plan):
            return "masks_changed", "other columns are masked, or masked differently"
        words = f"its columns or its key changed, at the source or in arrowetl.yml{_drift_words(plan)}"
        return "columns_changed", words
    if as_of and as_of.keys != keys_of(plan):
        return "unique_keys_changed", "its unique keys changed at the source: the replica's are to follow"
    if as_of and evidence.another_source(as_of.source, around.source):
        return "another_source", "read from another server or database than the last time"
    return None


def _drift_words(plan: TablePlan) -> str:
    parts = {
        "added": [field.column.name for field in plan.drift.added],
        "retyped": [field.column.name for field in plan.drift.retyped],
        "dropped": list(plan.drift.dropped),
    }
    words = [f"{word} {', '.join(names)}" for word, names in parts.items() if names]
    words += ["another primary key"] if plan.drift.adds_key or plan.drift.drops_key else []
    return f": {'; '.join(words)}" if words else ""


def _from_replica(plan: TablePlan, state: TableState, around: RunConditions) -> TablePlan:
    as_of = state.replica.as_of
    if plan.masked and (as_of is None or as_of.masks != masks_of(plan)):
        raise DataError(
            f"{plan.name}: the replica's rows are not known to be masked as arrowetl.yml has it "
            f"({', '.join(plan.masked)}); nothing was loaded",
            "load the table from the source first: without --from replica",
        )
    if evidence.another_shape(state.replica, plan.at_replica):
        raise DataError(
            f"{plan.name}: somebody altered the replica's table; nothing was loaded",
            "load the table from the source first: without --from replica",
        )
    forced = _forced(plan, around)
    if not forced and warehouse_is_current(plan, state):
        return _because(replace(plan, kind=LoadKind.SKIPPED), ("current", "the warehouse has what the replica has"))
    if forced:
        why = forced[0], f"{forced[1]}, from the replica"
    elif state.published is None:
        why = "first_load", "first load, from the replica"
    else:
        why = "behind", "the warehouse has another version than the replica"
    return _because(replace(plan, kind=LoadKind.FROM_REPLICA), why)


def base(state: TableState, around: RunConditions) -> TargetState:
    """The record of what the source is compared with."""
    return state.warehouse if around.to == "warehouse" else state.replica


def _without_replica(plan: TablePlan, settings: TableSettings, state: TableState, around: RunConditions) -> TablePlan:
    """Skipped, or read in full: without a replica there is nothing to compare with."""
    record = state.warehouse
    unknown = record.version is None or record.as_of is None
    reasons = (
        (plan.published is None, "first_load", "first load"),
        (unknown, "origin_unknown", "the warehouse's rows are of unknown origin"),
    )
    why = _forced(plan, around) or next(((code, words) for holds, code, words in reasons if holds), None)
    why = why or _read_otherwise(plan, record.as_of, around)
    if not why and not _as_recorded(plan, state):
        why = "warehouse_changed", "the warehouse's table changed"
    why = why or _overdue(record, settings, around.now) or _comparison_due(record, around)
    if not why and (proof := evidence.unchanged(plan.table, record)):
        return _because(replace(plan, kind=LoadKind.SKIPPED), (f"unchanged_{proof.kind}", proof.words))
    if not why and plan.left_out:
        why = "masked", f"no checksum covers {listed(plan.left_out, 3)}; without a replica, all rows are read"
    return _full(plan, why or ("changed", "changed; without a replica, all rows are read"))


def _comparison_due(record: TargetState, around: RunConditions) -> Why | None:
    words = evidence.trusted_long_enough(record, around.now, around.choices.reconcile_days)
    return ("comparison_due", words) if words else None


def _overdue(record: TargetState, settings: TableSettings, now: datetime) -> Why | None:
    """Why the last success is not trusted: too long ago, or by the clock in the future."""
    days = settings.get("time_gap_threshold_days", limits.time_gap_days)
    if record.checked_at is None:
        return "overdue", "when it was last current is not recorded"
    age = now - record.checked_at
    if age < -timedelta(minutes=5):
        return "overdue", "by the clock, its last success is yet to come"
    if age > timedelta(days=days):
        return "overdue", f"its last success is {age.days} days old, more than {days}"
    return None


def watermark_column(table: Table, settings: TableSettings) -> str | None:
    """
    The column that shows the table's changes: one that the server updates at every change, or that a person
    named in arrowetl.yml.
    """
    name = settings.get("primary_incremental_column")
    if settings.get("extraction_strategy", "full_table") == "full_table" or name in (None, "none"):
        return None
    if name in settings.excluded_columns() or name in settings.masks():
        # Its highest value would be written down.
        return None
    column = next((column for column in table.columns if column.name == name), None)
    asked = "primary_incremental_column" in (settings.get("overrides") or {})
    return name if column and (asked or evidence.is_auto_updated(column)) else None


def _incremental_from(
    plan: TablePlan, settings: TableSettings, record: TargetState, around: RunConditions
) -> tuple[str | None, Why]:
    """From where on an incremental read begins; or why there is none."""
    strategy = settings.get("extraction_strategy", "full_table")
    if strategy == "full_table":
        return None, ("full_table", "full_table in tables.yml")
    if plan.watermark is None:
        named = settings.get("primary_incremental_column")
        return None, ("no_watermark", f"{named} is no watermark: the server does not update it at every change")
    if plan.table.integer_key is None:
        return None, ("no_integer_key", "its primary key is not one integer")
    if not plan.key_fields:
        return None, ("no_integer_key", "its primary key is left out, by which changed rows would be known")
    if why := evidence.unstamped_changes(plan.table) or plan.table.exchangeable:
        return None, ("unstamped_changes", why)
    before = record.as_of.reading if record.as_of else None
    if before and before.create_time != plan.table.create_time:
        return None, ("unstamped_changes", "it was recreated at the source since: its timestamps may be older")
    incremental_from = watermark_less_overlap(_reached(plan, record), plan.table.column(plan.watermark))
    if incremental_from is None or record.watermark_column != plan.watermark:
        return None, ("no_watermark", f"no watermark of {plan.watermark} is recorded")
    if stale := _comparison_due(record, around):
        return None, stale
    return incremental_from, ("", "")


def _reached(plan: TablePlan, record: TargetState) -> str | None:
    """
    Where timestamps need not be read again. Where the rest is compared by full rows, late timestamps are found
    by that: there it is when the table was last read; elsewhere the highest timestamp that it had.
    """
    before = record.as_of.reading if record.as_of else None
    is_clock = plan.watermark is not None and plan.table.column(plan.watermark).data_type == "timestamp"
    if not (before and record.watermark and is_clock and evidence.rest_is_fully_compared(plan)):
        return record.watermark
    return max(before.now.isoformat(), record.watermark)


def watermark_less_overlap(watermark: str | None, column: Column) -> str | None:
    """
    A recorded watermark less the overlap, as MySQL reads it; None where it is not certain what it means.

    >>> watermark_less_overlap("2026-01-02T03:04:05+00:00", Column("DateTStamp", "timestamp", "timestamp"))
    '2026-01-02 01:04:05'
    """
    if not watermark:
        return None
    try:
        if column.data_type in INTEGERS:
            return str(int(watermark))
        if column.data_type not in ("timestamp", "datetime", "date"):
            return None
        timestamp = datetime.fromisoformat(watermark)
    except ValueError:
        return None
    if timestamp.tzinfo:
        timestamp = timestamp.astimezone(UTC).replace(tzinfo=None)
    low = max(timestamp - evidence.overlap(column), datetime(1970, 1, 2))
    return f"{low:%Y-%m-%d %H:%M:%S}"


def _comparison(plan: TablePlan, around: RunConditions) -> tuple[LoadKind, str]:
    """How source and replica are compared, and why so."""
    table, link, chosen = plan.table, around.link, around.choices.reconcile_by
    if not plan.key_fields:
        return LoadKind.COMPARE_THEN_FULL, "compared by reading both, having no integer key"
    if table.integer_key is None:
        return LoadKind.BY_READING, "compared by reading both, having no integer key"
    if plan.left_out:
        return LoadKind.BY_READING, f"compared by reading both, for the sake of {', '.join(plan.left_out)}"
    if chosen != "auto":
        return _COMPARISONS[chosen], f"compared by {chosen}, as arrowetl.yml chooses"
    if table.data_bytes <= limits.reading_bytes_min:
        return LoadKind.BY_READING, "compared by reading both, being so small"
    summing = table.rows / limits.checksum_rows_per_second
    reading = table.rows / limits.reading_rows_per_second
    if link:
        reading = max(reading, table.data_bytes / link.bytes_per_second)
    if summing - reading > limits.checksum_extra_seconds_max:
        return LoadKind.BY_READING, f"compared by reading both ({reading:.1f} s; checksums {summing:.1f} s)"
    return LoadKind.BY_CHECKSUMS, f"compared by checksums ({summing:.1f} s; reading {reading:.1f} s)"


_COMPARISONS = {"reading": LoadKind.BY_READING, "checksum": LoadKind.BY_CHECKSUMS}


# --- what becomes of a plan during its load -----------------------------------------------------


def with_reload_from_replica(plan: TablePlan) -> TablePlan:
    """For a warehouse that is behind the replica, or cannot follow row by row: everything that the replica has."""
    return replace(
        plan,
        kind=LoadKind.FROM_REPLICA,
        reload_warehouse_from_replica=False,
        incremental_from=None,
        full_scan_per_partition=False,
    )


def with_full_comparison(plan: TablePlan, why: Why) -> TablePlan:
    """For an incremental table whose timestamps prove nothing after all."""
    return _because(replace(plan, kind=LoadKind.BY_CHECKSUMS, incremental_from=None), why)


def with_full_load(plan: TablePlan, why: Why) -> TablePlan:
    """For a table without a key that turned out to differ; the warehouse may still have to catch up."""
    kind = LoadKind.FIRST_LOAD if plan.cutover is Cutover.SWAP else LoadKind.FULL
    return _because(replace(plan, kind=kind), why)


def with_recreated_replica(plan: TablePlan) -> TablePlan:
    """For a table that the replica cannot follow row by row: all of it is read, and takes its place."""
    words = f"{plan.reason}; the replica could not follow row by row, and is recreated"
    return replace(_full(plan, ("replica_recreated", words)), incremental_from=None)
