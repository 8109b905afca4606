"""
A table's plan, adjusted once the source was asked about the table: by what it says, before anything is staged.

What a plan is without that is decided by `table_plan` and `sync_mode`; `load_table` goes by
what comes of it here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from arrowetl import limits
from arrowetl.errors import DataExtractionError
from arrowetl.model.plan import LoadKind, TablePlan
from arrowetl.model.result import PartitionOutcome
from arrowetl.model.state import SourceStats
from arrowetl.pipeline.strategies import strategy_of
from arrowetl.pipeline.table_record import recorded
from arrowetl.planning import evidence, partitioning, sync_mode
from arrowetl.state.state_sql import Entry
from arrowetl.workers.jobs import Job
from arrowetl.workers.pool import RunContext


def adjusted(
    plan: TablePlan, context: RunContext, before: SourceStats, max_watermark: Callable[[], str | None]
) -> tuple[TablePlan, list[PartitionOutcome]]:
    """
    Args:
        before: what the source says of the table now; `max_watermark` says the highest timestamp there.

    Returns:
        The plan, and what was read of a table that is equal; nothing where it is still to be loaded.
    """
    plan = _by_its_rows(_compared_if_timestamps_went_back(plan, context, max_watermark), before.rows)
    return _full_load_if_changed(plan, context)


def refuse_another(plan: TablePlan, now: SourceStats, known: Entry | None) -> None:
    """
    Args:
        known: what is recorded of the replica, where that is read.

    Raises:
        DataExtractionError: the table is another one than was planned for, or than is recorded.
    """
    planned, there = plan.table.create_time, now.create_time
    # A replica's table was made when it was.
    if not plan.reads_replica and planned and there and planned != there:
        raise DataExtractionError(
            f"{plan.name}: was altered, or recreated, at the source since it was planned", "run again", transient=True
        )
    # The warehouse's record would say what is recorded of the replica.
    if plan.reads_replica and known and known.version is not None and known.rows != now.rows:
        raise DataExtractionError(
            f"{plan.name}: the replica has {now.rows:,} rows, and {known.rows:,} are recorded: somebody changed it "
            "there; nothing was loaded",
            "run again from the source, without --from replica",
        )


def _by_its_rows(plan: TablePlan, rows: int) -> TablePlan:
    """The plan by what was counted, where the catalog's estimate was far from it."""
    table = partitioning.counted(plan.table, rows)
    if table is plan.table:
        return plan
    fitting = partitioning.rows_per_partition(table, plan.batch_size, plan.partition_bytes or limits.partition_bytes)
    return replace(plan, table=table, rows_per_partition=min(plan.rows_per_partition, fitting))


def _compared_if_timestamps_went_back(
    plan: TablePlan, context: RunContext, max_watermark: Callable[[], str | None]
) -> TablePlan:
    """Where the highest timestamp is lower than before, the table, or some of its rows, was restored."""
    if plan.kind is not LoadKind.INCREMENTAL or not evidence.went_back(
        recorded(plan, context).watermark, max_watermark()
    ):
        return plan
    reason = f"its timestamps went back beneath {recorded(plan, context).watermark}: full comparison by checksums"
    return sync_mode.with_full_comparison(plan, ("timestamps_went_back", reason))


def _full_load_if_changed(plan: TablePlan, context: RunContext) -> tuple[TablePlan, list[PartitionOutcome]]:
    """
    Rows of a table without a key cannot be identified: it is compared first, and loaded in full where it differs.

    Returns:
        The plan, and what was read of a table that is equal; nothing where it is still to be loaded.
    """
    if plan.kind is not LoadKind.COMPARE_THEN_FULL:
        return plan, []
    strategy, equal = strategy_of(plan), []
    jobs = (Job(context.route, plan, part) for part in strategy.partitions(plan, context, ()))
    with closing(context.workers.each(strategy.load_partition, plan, jobs)) as outcomes:
        for found in outcomes:
            if found.staged or found.rows_deleted:
                break
            equal.append(found)
        else:
            return plan, equal
    reason = f"{plan.reason}; its rows differ, and there is no primary key to identify them"
    return sync_mode.with_full_load(plan, ("differs_without_key", reason)), []
