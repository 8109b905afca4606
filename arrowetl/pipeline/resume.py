"""
What a stopped run left complete in staging, and what of it still holds.

Both targets record each partition in the transaction that loads it, under one
token. Here the records of both are compared, and the rows with the source's, by
checksums: what is as the source has it now need not be read again. `load_table`
loads the rest.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from arrowetl import sql
from arrowetl.checksums.groups import Grouped
from arrowetl.model.plan import Partition, TablePlan
from arrowetl.model.result import Coercion, PartitionOutcome
from arrowetl.planning import partitioning
from arrowetl.source.reader import Source
from arrowetl.workers.jobs import Target

Held = tuple[Partition, tuple[Coercion, ...]]


def held(plan: TablePlan, targets: Sequence[Target], source: Source, replica: Source) -> list[Held]:
    """The partitions of a table that both targets have in staging, and that are as the source has them now."""
    possible = (
        plan.stages_all_rows and plan.is_partitioned and partitioning.can_be_split(plan.table) and bool(plan.key_fields)
    )
    # What is left out cannot be compared by a checksum.
    if not possible or plan.left_out or len(targets) < 2:
        return []
    at_first, *others = (target.resumable_partitions(plan) for target in targets)
    common = [resume_token for resume_token in at_first if all(resume_token in other for other in others)]
    found = []
    for resume_token in common:
        # Only the warehouse knows what it had to coerce.
        part, coercions = others[-1][resume_token]
        grouped = Grouped(plan.table.primary_key[0], plan.fields, part, 1)
        here, there = (
            source.group_checksums(grouped, plan.name),
            replica.group_checksums(grouped, sql.staging_name(plan.name, plan.run)),
        )
        if here is not None and here == there and sum(rows for rows, _ in here.values()) == part.rows:
            found.append((part, coercions))
    return found


def outcomes(found: Sequence[Held]) -> list[PartitionOutcome]:
    """Partitions that need not be loaded, as if they had been; nothing was read for them."""
    return [
        PartitionOutcome(
            rows=0,
            bytes=0,
            staged=part.rows,
            rows_deleted=0,
            rows_in_source=part.rows,
            coercions=coerced,
            process=os.getpid(),
            connections=(),
        )
        for part, coerced in found
    ]
