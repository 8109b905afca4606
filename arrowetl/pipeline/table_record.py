"""
The record of a table that was loaded: what the ledger stores of it, and its outcome.

Values from values: nothing is asked of a server here, nothing written.
`load_table` gathered what came of the table; `ledger` stores what is made
of that here, `result` shows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import uuid4

from arrowetl.model.plan import LoadKind, TablePlan
from arrowetl.model.result import Coercion, Outcome, PartitionOutcome, RowCounts, StagedCounts, Status
from arrowetl.model.state import SourceStats, SyncPoint, TargetState
from arrowetl.planning import evidence, sync_mode
from arrowetl.state.state_sql import Entry
from arrowetl.types import conversion, mapping
from arrowetl.workers.pool import RunContext


def coerced(
    plan: TablePlan, results: Sequence[PartitionOutcome], context: RunContext
) -> tuple[tuple[Coercion, ...], dict[str, str]]:
    """What had to be coerced in all partitions together, and the SRID to record in each geometry column's comment."""
    found = conversion.merged(
        (coercion for part in results for coercion in part.coercions), context.known_coercions.get(plan.name)
    )
    srids, coercions = conversion.srids(found)
    places = [field for field in plan.fields if mapping.is_geometry(field)]
    return coercions, {field.name_postgres: srids.get(field.column.name, "") for field in places}


def all_coercions(plan: TablePlan, coercions: Sequence[Coercion], context: RunContext) -> tuple[Coercion, ...]:
    """What is to be remembered of a table: where only what changed was seen, what was known of the rest as well."""
    seen = {(one.column, one.found) for one in coercions}
    known = (
        context.known_coercions.get(plan.name, ())
        if plan.stages_changes_only and plan.kind is not LoadKind.PROOF
        else ()
    )
    return (*coercions, *(one for one in known if (one.column, one.found) not in seen))


def entry_of(
    plan: TablePlan,
    staged: StagedCounts,
    context: RunContext,
    max_watermark: str | None,
    reading: SourceStats | None,
    started_at: datetime,
) -> Entry:
    """What is to be recorded of a table that was loaded from the source."""
    before = recorded(plan, context)
    unmasked = {field.column.name for field in plan.fields if not field.mask}
    moved = not plan.stages_changes_only or bool(staged)
    # Of a table that is tried twice in a run, the targets may have what either attempt loaded.
    version = f"{context.route.run_id}-{uuid4().hex[:8]}"
    with_full_comparison = plan.kind is not LoadKind.INCREMENTAL or evidence.rest_is_fully_compared(plan)
    compared_at = started_at if with_full_comparison or before.as_of is None else before.as_of.compared_at
    return Entry(
        table=plan.name,
        run_id=context.route.run_id,
        rows=staged.expected,
        version=version if moved else before.version,
        as_of=SyncPoint(
            source=context.servers.source.identity,
            structure=plan.structure,
            compared_at=compared_at,
            reading=reading,
            warehouse_key_dropped=plan.warehouse_key_dropped,
            masks=sync_mode.masks_of(plan),
            keys=sync_mode.keys_of(plan),
            at_replica=plan.at_replica,
        ),
        watermark=max_watermark or (before.watermark if before.watermark_column == plan.watermark else None),
        watermark_column=plan.watermark,
        forgets_watermark=before.watermark_column is not None and before.watermark_column not in unmasked,
    )


def recorded(plan: TablePlan, context: RunContext) -> TargetState:
    """What was recorded of a table before: at the replica, or at the warehouse of a run that has no replica."""
    state = context.states[plan.name]
    return state.replica if context.route.replica else state.warehouse


def recorded_entry(plan: TablePlan, context: RunContext) -> Entry:
    """What is recorded of the replica, for a warehouse that takes its rows from there."""
    record = context.states[plan.name].replica
    return Entry(
        table=plan.name,
        run_id=context.route.run_id,
        rows=record.rows or 0,
        version=record.version,
        as_of=record.as_of,
        watermark=record.watermark,
        watermark_column=record.watermark_column,
        current_at=record.checked_at if plan.reads_replica else None,
    )


def staged_outcome(
    plan: TablePlan,
    results: Sequence[PartitionOutcome],
    coercions: tuple[Coercion, ...],
    settled: bool | None,
    started_at: datetime,
    seconds: float,
    finishing: float,
) -> Outcome:
    """
    The outcome of a table that is staged, as it will be once it is switched.

    Args:
        seconds, finishing: that it has taken until now; and those in which staging was completed, once all rows were
            there.
    """
    phases = Counter({"finish": finishing} if finishing else {})
    for part in results:
        phases.update(part.seconds)
    return Outcome(
        table=plan.name,
        category=plan.category,
        mode=plan.mode,
        reason=plan.reason,
        reason_code=plan.reason_code,
        status=Status.SUCCEEDED,
        # Rows that waited are no partition of their own.
        partitions=sum(1 for part in results if not part.completes),
        rows_extracted=sum(part.rows for part in results),
        bytes_extracted=sum(part.bytes for part in results),
        seconds=seconds,
        coercions=coercions,
        settled=settled,
        verdict="equal",
        kind=plan.kind,
        expected=plan.expected,
        notes=plan.notes,
        started_at=started_at,
        phases=phases,
    )


def switched_outcome(
    outcome: Outcome, plan: TablePlan, staged: StagedCounts, changes: Mapping[str, RowCounts], seconds: float
) -> Outcome:
    """The outcome of a table that arrived where it was changed."""
    at_warehouse = changes.get("warehouse", outcome.changes)
    how = [f"written at the warehouse: {at_warehouse.how}"] if at_warehouse.how and "warehouse" in changes else []
    return replace(
        outcome,
        # Where the replica was read rather than written, its rows are those that were read.
        rows_replica=staged.expected if plan.reads_replica or "replica" in changes else outcome.rows_replica,
        rows_warehouse=staged.expected if "warehouse" in changes else outcome.rows_warehouse,
        changes=at_warehouse,
        seconds=outcome.seconds + seconds,
        notes=(*outcome.notes, *how),
        phases={**outcome.phases, "cutover": outcome.phases.get("cutover", 0.0) + seconds},
    )
