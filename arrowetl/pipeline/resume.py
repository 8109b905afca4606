"""
What a run that was stopped left whole in staging, and what of it still holds.

Both ends note each partition in the transaction that brings it, under one
token. Here the notes of both are compared, and the rows with the source's, by
checksums: what is as the source has it now need not be read again. `load_table`
carries the rest.
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
from arrowetl.workers.jobs import End

Held = tuple[Partition, tuple[Coercion, ...]]


def held(plan: TablePlan, ends: Sequence[End], source: Source, replica: Source) -> list[Held]:
    """The partitions of a table that both ends have in staging, and that are as the source has them now."""
    possible = plan.is_whole and plan.is_split and partitioning.can_be_split(plan.table) and bool(plan.key_fields)
    # What is left out cannot be told by a checksum.
    if not possible or plan.left_out or len(ends) < 2:
        return []
    at_first, *others = (end.done(plan) for end in ends)
    common = [token for token in at_first if all(token in other for other in others)]
    found = []
    for token in common:
        # Only the warehouse knows what it had to coerce.
        part, coercions = others[-1][token]
        grouped = Grouped(plan.table.primary_key[0], plan.fields, part, 1)
        here, there = source.groups(grouped, plan.name), replica.groups(grouped, sql.staging_name(plan.name, plan.run))
        if here is not None and here == there and sum(rows for rows, _ in here.values()) == part.rows:
            found.append((part, coercions))
    return found


def outcomes(found: Sequence[Held]) -> list[PartitionOutcome]:
    """Partitions that need not be carried, as if they had been; nothing was read for them."""
    return [
        PartitionOutcome(
            rows=0,
            bytes=0,
            staged=part.rows,
            gone=0,
            standing=part.rows,
            coercions=coerced,
            process=os.getpid(),
            connections=(),
        )
        for part, coerced in found
    ]
