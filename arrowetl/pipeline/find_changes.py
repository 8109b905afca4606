"""
The changed rows and deleted keys of a range: found by reading source and replica, or by checksums of both.

Nothing is written here; `load_partition` stages what is found. The two methods find
the same, and which is taken was decided by `sync_mode`: where the link is quick,
reading is quicker than any checksum a server can add up; where it is not,
checksums let only the differing rows be sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from arrowetl import limits, sql
from arrowetl.checksums import arrow_diff, groups
from arrowetl.checksums.groups import Grouped
from arrowetl.model.plan import LoadKind, Partition, TablePlan
from arrowetl.model.result import Coercion
from arrowetl.source.reader import Source
from arrowetl.types import conversion, from_postgres
from arrowetl.warehouse.loader import Warehouse
from arrowetl.workers.jobs import Job


@dataclass(frozen=True)
class ChangeSet:
    """What is to be staged for a range, and what it took to find out."""

    changed_rows: tuple[tuple[TablePlan, pa.Table], ...]
    """Rows that are new or other ones, each with the plan by which they were read."""
    deleted_keys: pa.Table
    """Keys that the source no longer has, in the key's columns, as `read` reads them."""
    read: TablePlan
    rows_in_source: int
    """Rows the source has."""
    rows_read: int
    bytes_read: int
    coercions: tuple[Coercion, ...] = ()
    """Of all rows that were compared with the warehouse's."""

    @property
    def rows_changed(self) -> int:
        return sum(rows.num_rows for _, rows in self.changed_rows)

    @property
    def rows_deleted(self) -> int:
        return int(self.deleted_keys.num_rows)


def changes_for_replica(source: Source, replica: Source, plan: TablePlan, part: Partition) -> ChangeSet:
    """
    What the replica lacks in a range of the key.

    Raises:
        DatabaseError, DataExtractionError: one of them could not be read.
    """
    if plan.kind.goes_by_checksums:
        found = _by_checksum(source, replica, plan, part)
        if found is not None:
            return found
        # So large a range is looked for by its key.
        plan = replace(plan, full_scan_per_partition=False)
    return _by_reading(source, replica, plan, part)


def changes_for_both(source: Source, replica: Source, warehouse: Warehouse, job: Job) -> dict[str, ChangeSet]:
    """
    End → what it lacks in a range of the key, by reading all three: the replica's rows as they were read, the
    warehouse's as the source's become there.
    """
    plan, part = job.plan, job.part
    key = plan.table.primary_key[0]
    read, rows, at_replica = read_both(source, replica, plan, part)
    rows = arrow_diff.ordered(rows, key)
    changed, deleted_keys = arrow_diff.diff_by_key(rows, arrow_diff.ordered(at_replica, key), plan.table.primary_key)
    lacks = {"replica": _all_read(read, rows, changed, deleted_keys)}
    del at_replica  # one server at a time: so large a part of the table is held twice, not three times
    wanted, coercions = conversion.to_warehouse(plan.name, rows, read.fields, key)
    there = arrow_diff.ordered(warehouse.rows(read, part), plan.key_postgres[0])
    places, deleted_keys = arrow_diff.differing(
        from_postgres.as_read_back(wanted, read.fields), there, plan.key_postgres
    )
    lost = _keys(plan, [int(value) for value in deleted_keys.column(0).to_pylist()])
    return {**lacks, "warehouse": replace(_all_read(read, rows, rows.take(places), lost), coercions=coercions)}


def same_without_key(source: Source, replica: Source, plan: TablePlan, part: Partition) -> tuple[bool, int, int]:
    """Whether a table without a key has the same rows at both; and how many, in how many bytes."""
    _, rows, at_replica = read_both(source, replica, plan, part)
    return arrow_diff.same_rows(rows, at_replica), rows.num_rows, rows.nbytes


def read_both(
    source: Source, replica: Source, plan: TablePlan, part: Partition
) -> tuple[TablePlan, pa.Table, pa.Table]:
    """The range at both servers, read by the same expressions: either may need texts read as hex."""
    read, rows = source.extract(plan, part)
    # The replica's tables are read by their key in any case.
    again, at_replica = replica.extract(replace(read, full_scan_per_partition=False), part)
    again = replace(again, full_scan_per_partition=plan.full_scan_per_partition)
    if again.fields != read.fields:
        again, rows = source.extract(again, part)
    return again, rows, at_replica


def _by_reading(source: Source, replica: Source, plan: TablePlan, part: Partition) -> ChangeSet:
    read, rows, at_replica = read_both(source, replica, plan, part)
    changed, deleted_keys = arrow_diff.diff_by_key(rows, at_replica, plan.table.primary_key)
    return _all_read(read, rows, changed, deleted_keys)


def _all_read(read: TablePlan, rows: pa.Table, changed: pa.Table, deleted_keys: pa.Table) -> ChangeSet:
    """What a target lacks, where every row of the range was read at the source."""
    return ChangeSet(
        changed_rows=((read, changed),),
        deleted_keys=deleted_keys,
        read=read,
        rows_in_source=rows.num_rows,
        rows_read=rows.num_rows,
        bytes_read=rows.nbytes,
    )


def _by_checksum(source: Source, replica: Source, plan: TablePlan, part: Partition) -> ChangeSet | None:
    """None where reading is better after all: too much differs, or a row's text cannot be produced."""
    key = plan.table.integer_key
    assert key is not None, "checksums go by one integer key"
    staged = sql.staging_name(plan.name, plan.run) if plan.kind is LoadKind.INCREMENTAL else None
    all_of_it = staged is None or plan.table.rows <= limits.full_row_checksum_rows_max
    fields = plan.fields if all_of_it else plan.key_fields
    fields = tuple(field for field in fields if field.is_compared)
    grouped = Grouped(key, fields, part, max(1, part.rows // limits.checksum_group_rows))
    here = source.group_checksums(grouped, plan.name)
    there = [
        replica.group_checksums(grouped, plan.name, staged),
        *([replica.group_checksums(grouped, staged)] if staged else []),
    ]
    if here is None or any(answer is None for answer in there):
        return None
    differing = frozenset(groups.groups_differing(here, groups.together(*(answer for answer in there if answer))))
    most = len(differing) > len(here) / 2 and len(differing) > 1
    if most and all_of_it and not staged:
        return None
    among = None if most else differing
    # Rows of the groups that are not asked about again.
    rows_in_source = 0 if most else sum(rows for group, (rows, _) in here.items() if group not in differing)
    said = len(here) * _GROUP_BYTES
    if not differing:
        return ChangeSet(
            changed_rows=(),
            deleted_keys=_keys(plan, []),
            read=plan,
            rows_in_source=rows_in_source,
            rows_read=0,
            bytes_read=said,
        )
    source_rows = source.row_checksums(grouped, plan.name, among)
    replica_rows = replica.row_checksums(grouped, plan.name, among, staged)
    if staged:
        replica_rows |= replica.row_checksums(grouped, staged, among)
    changed, deleted_keys = groups.keys_differing(source_rows, replica_rows)
    changed_rows = _named(source, plan, part, changed)
    # A key that was asked for as text is read as one.
    found = {int(value) for _, rows in changed_rows for value in rows.column(key).to_pylist()}
    # Rows that went between the question and the reading of them.
    vanished = [value for value in changed if value not in found]
    deleted_keys += [value for value in vanished if value in replica_rows]
    rows_read = sum(rows.num_rows for _, rows in changed_rows)
    said += len(source_rows) * _ROW_BYTES + sum(rows.nbytes for _, rows in changed_rows)
    return ChangeSet(
        changed_rows=tuple(changed_rows),
        deleted_keys=_keys(plan, deleted_keys),
        read=plan,
        rows_in_source=rows_in_source + len(source_rows) - len(vanished),
        rows_read=rows_read,
        bytes_read=said,
    )


# The size of an answer about a group, or a row: numbers of eight bytes, as Arrow would have them.
_GROUP_BYTES = 24
_ROW_BYTES = 16


def _named(source: Source, plan: TablePlan, part: Partition, keys: Sequence[int]) -> list[tuple[TablePlan, pa.Table]]:
    """The rows of the keys named."""
    size = min(limits.keys_per_statement, plan.rows_per_partition)
    chunks = (tuple(keys[start : start + size]) for start in range(0, len(keys), size))
    return [source.extract(plan, replace(part, index=0, keys=chunk)) for chunk in chunks]


def _keys(plan: TablePlan, keys: Sequence[int]) -> pa.Table:
    (field,) = plan.key_fields
    type_ = pa.uint64() if field.column.unsigned else pa.int64()
    return pa.table({field.column.name: pa.array(sorted(keys), type_)})
