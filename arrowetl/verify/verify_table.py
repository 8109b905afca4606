"""
One table at all servers: equal, or which rows and columns are not.

Each server adds up checksums of its own rows, range by range of the primary key: source and replica of their stored
images, replica and warehouse of canonical texts; without a replica source and warehouse of canonical texts. Of ranges
that differ `drilldown` finds the rows; `by_value` compares values where checksums cannot; `since_last` knows what need
not be read. Nothing is written here. `verify_tables` walks many tables through it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from arrowetl import limits
from arrowetl.checksums.row_checksums import IMAGES, TEXTS, mysql_side, postgres_side
from arrowetl.config.tables_yml import TablesFile
from arrowetl.model.plan import Field, Partition, PublishedTable, Table, TablePlan
from arrowetl.model.run_options import VerifyOptions
from arrowetl.model.state import LastVerification, SourceStats, TableState
from arrowetl.model.verdict import Ranged, RowDifference, Sum, Verdict
from arrowetl.planning import partitioning, sync_mode, table_plan
from arrowetl.source.reader import Source
from arrowetl.state.ledger import Ledger
from arrowetl.types import checksum_text, mapping
from arrowetl.verify import by_value, drilldown, since_last
from arrowetl.verify.drilldown import DifferenceFormat, TableSide
from arrowetl.verify.since_last import IncrementalVerification
from arrowetl.warehouse.loader import Warehouse


@dataclass(frozen=True)
class VerifyContext:
    """The servers, the tables at the targets, and what is recorded and remembered of those."""

    source: Source
    replica: Source | None
    """None where none is configured: source and warehouse are compared."""
    warehouse: Warehouse
    at_replica: Mapping[str, Table]
    published: Mapping[str, PublishedTable]
    tables_file: TablesFile
    asking: ThreadPoolExecutor
    """Who asks them, so that none waits for another."""
    ledger: Ledger
    states: Mapping[str, TableState]
    """Before it began."""
    known: Mapping[str, LastVerification]


def audit(table: Table, context: VerifyContext, options: VerifyOptions) -> Verdict:
    """
    Compare one table.

    Raises:
        ArrowetlError: it could not be compared.
    """
    settings, published = context.tables_file.of_table(table), context.published.get(mapping.postgres_name(table.name))
    began = datetime.now(UTC)
    planned = table_plan.table_plan(table, settings, published, known_coercions=())
    planned = replace(planned, watermark=sync_mode.watermark_column(table, settings))
    reading = context.source.reading(planned)
    absent = [
        target
        for target, there in (
            ("replica", context.replica is None or table.name in context.at_replica),
            ("warehouse", published),
        )
        if not there
    ]
    wrong = [f"missing at the {target}" for target in absent] or _altered(planned, context)
    if wrong:
        note = f"{'; '.join(wrong)} (arrowetl run --table {table.name})"
        return Verdict(table.name, "differs", rows={"source": reading.rows}, differences=reading.rows, note=note)
    asked, state = _sides(planned, context), context.states.get(table.name, TableState())
    watermark = context.source.max_watermark(planned, reading)
    recalled = since_last.recalled(planned, context.known.get(table.name), state, reading, asked, context.source)
    if recalled:
        parts: Sequence[Partition] = recalled.parts
    else:
        parts = list(context.source.ranges(planned, lambda: limits.verified_rows)) if asked[0].side.key else [_ALL]
    fields = tuple(field for field in planned.fields if field.is_compared)
    style = DifferenceFormat.of(fields, _naming(planned), options.show_values)
    planned = replace(planned, fields=fields)
    if options.deep or any(map(mapping.is_json, fields)):
        found = _read(planned, context, parts, style, limits.differences_shown)
    else:
        found = _summed(planned, context, asked, style, parts)
    if recalled:
        found = _with_remembered(found, recalled, [one.name for one in asked])
    if found.verdict == "differs":
        found = replace(found, note=_moved(planned, context, reading, state))
    left_out = tuple(column.name for column in table.columns if column.name not in {f.column.name for f in fields})
    return replace(
        found, table=table.name, left_out=left_out, reading=reading, watermark=watermark,
        structure=since_last.structure(planned), began=began, recalled=recalled.as_of if recalled else None,
    )  # fmt: skip


def _with_remembered(found: Verdict, recalled: IncrementalVerification, servers: Sequence[str]) -> Verdict:
    rows = sum(one.rows for one in recalled.kept)
    return replace(
        found,
        ranges=found.ranges + since_last.as_found(recalled.kept),
        rows={target: (found.rows.get(target) or 0) + rows for target in servers},
        note=recalled.note,
    )


def _moved(planned: TablePlan, context: VerifyContext, reading: SourceStats, state: TableState) -> str:
    """Whether the source has moved on, so that the next run may load what differs."""
    as_of = state.warehouse.as_of
    loaded = as_of.reading if as_of else None
    if context.source.reading(planned).update_time != reading.update_time:
        return "the source was written to while it was compared"
    if loaded and (loaded.rows, loaded.update_time) != (reading.rows, reading.update_time):
        return "the source has changed since it was loaded: run first, and verify then"
    return ""


_ALL = Partition(0, None, None)


def _altered(planned: TablePlan, context: VerifyContext) -> list[str]:
    """How a target's columns differ from those that the source has now, in words."""
    drift = planned.drift
    at_warehouse = [
        *(f"the warehouse lacks {field.name_postgres}" for field in drift.added),
        *(f"only the warehouse has {name}" for name in drift.dropped),
        *(f"{field.name_postgres} is of another type at the warehouse" for field in drift.retyped),
    ]
    if context.replica is None:
        return at_warehouse
    planned_columns = {field.column.name for field in planned.fields}
    there = {column.name for column in context.at_replica[planned.name].columns}
    at_source = {column.name for column in planned.table.columns}
    return [
        *(f"the replica lacks {name}" for name in sorted(planned_columns - there)),
        *(
            f"arrowetl.yml leaves out {name}, which the replica has"
            for name in sorted((there - planned_columns) & at_source)
        ),
        *(f"only the replica has {name}" for name in sorted(there - planned_columns - at_source)),
        *at_warehouse,
    ]


def _naming(planned: TablePlan) -> tuple[Field, ...]:
    """The fields that identify rows; none where a part of the key is masked, or no server can print it."""
    key = planned.key_fields
    return key if all(checksum_text.canonical_text(field) for field in key) else ()


def _sides(planned: TablePlan, context: VerifyContext) -> tuple[TableSide, ...]:
    """The table at the source, at the replica where there is one, and at the warehouse."""
    fields = [field for field in planned.fields if field.is_compared]
    named, ranged = _naming(planned), None
    if named and partitioning.can_be_split(planned.table) and _is_a_number(named[0]):
        ranged = named[0]
    key, key_there = (ranged.column.name, ranged.name_postgres) if ranged else (None, None)
    in_mysql = [
        TableSide(target.endpoint.name, target, mysql_side(target.endpoint.database, planned.name, fields, key, named))
        for target in (context.source, context.replica)
        if target
    ]
    there = postgres_side(context.warehouse.namespace, planned.name_postgres, fields, key_there, named)
    return *in_mysql, TableSide("warehouse", context.warehouse, there)


def _is_a_number(field: Field) -> bool:
    return field.type_postgres.partition("(")[0] in ("smallint", "integer", "bigint", "numeric")


def _added_up(
    one: TableSide, parts: Sequence[Partition], methods: Sequence[str], pause_seconds: float = 0.0
) -> list[Sum]:
    """What one server says of each range."""
    found = []
    for part in parts:
        if part.index:
            time.sleep(pause_seconds)
        unsaid = secrets.randbits(58)
        rows, *totals = one.target.answers(one.side.sums(part, methods, unsaid))[0]
        by_method = dict(zip(methods, map(int, totals), strict=True))
        found.append(Sum(int(rows), by_method.get(IMAGES), by_method.get(TEXTS)))
    return found


_METHODS = {"source": (IMAGES,), "replica": (IMAGES, TEXTS), "warehouse": (TEXTS,)}
_WITHOUT_REPLICA = {"source": (TEXTS,), "warehouse": (TEXTS,)}


def _summed(
    planned: TablePlan,
    context: VerifyContext,
    asked: Sequence[TableSide],
    style: DifferenceFormat,
    parts: Sequence[Partition],
) -> Verdict:
    """By checksums; all servers add up at the same time."""
    pause = context.source.choices.pause_milliseconds / 1000
    methods = _METHODS if context.replica else _WITHOUT_REPLICA
    adding = [
        context.asking.submit(_added_up, one, parts, methods[one.name], pause if one.name == "source" else 0.0)
        for one in asked
    ]
    said = [future.result() for future in adding]
    found = Verdict(planned.name, "equal")
    for part, *answers in zip(parts, *said, strict=True):
        sums = {one.name: answer for one, answer in zip(asked, answers, strict=True)}
        try:
            number, differing = _drill_down(asked, part, sums, style, _remaining(found))
        except drilldown.UnsaidError:
            found = _with(found, _read(planned, context, [part], style, _remaining(found)))
        else:
            found = _with(found, _of_range(planned.name, Ranged(part, sums), number, differing))
    return found


def _drill_down(
    asked: Sequence[TableSide],
    part: Partition,
    sums: Mapping[str, Sum],
    style: DifferenceFormat,
    limit: int,
) -> tuple[int, list[RowDifference]]:
    """How many rows of a range differ, at both targets together, and the first of them."""
    source, *replicas, warehouse = asked
    if not replicas:
        return _against_warehouse((source, warehouse), sums["source"], part, sums["warehouse"], style, limit)
    (replica,) = replicas
    alike = (sums["source"].rows, sums["source"].images) == (sums["replica"].rows, sums["replica"].images)
    number, found, reference, texts = 0, list[RowDifference](), replica, sums["replica"]
    if not alike:
        only = drilldown.differing_rows(source, replica, IMAGES, part, sums["source"].rows)
        number, found = drilldown.row_differences(source, replica, IMAGES, part, only, style, limit)
        # What the replica says is no measure here.
        reference, (texts,) = source, _added_up(source, [part], (TEXTS,))
    asked_of = (reference, warehouse)
    more, others = _against_warehouse(asked_of, texts, part, sums["warehouse"], style, limit - len(found))
    return number + more, found + others


def _against_warehouse(
    asked: tuple[TableSide, TableSide], texts: Sum, part: Partition, there: Sum, style: DifferenceFormat, limit: int
) -> tuple[int, list[RowDifference]]:
    """The same of the warehouse alone, by the texts of source or replica."""
    if (texts.rows, texts.texts) == (there.rows, there.texts):
        return 0, []
    reference, warehouse = asked
    only = drilldown.differing_rows(reference, warehouse, TEXTS, part, there.rows)
    return drilldown.row_differences(reference, warehouse, TEXTS, part, only, style, limit)


def _read(
    planned: TablePlan, context: VerifyContext, parts: Sequence[Partition], style: DifferenceFormat, limit: int
) -> Verdict:
    """By reading all of them."""
    found = Verdict(planned.name, "equal")
    for part in parts:
        left = max(0, limit - len(found.differing))
        one = by_value.compared(context.source, context.replica, context.warehouse, planned, part, style, left)
        sums = {target: Sum(rows) for target, rows in one.rows.items()}
        found = _with(found, _of_range(planned.name, Ranged(part, sums), one.differences, one.differing))
    return found


def _remaining(found: Verdict) -> int:
    return max(0, limits.differences_shown - len(found.differing))


def _of_range(table: str, ranged: Ranged, differences: int, differing: Sequence[RowDifference]) -> Verdict:
    rows = {target: one.rows for target, one in ranged.sums.items()}
    return Verdict(
        table=table,
        verdict="differs" if differences else "equal",
        ranges=(ranged,),
        rows=rows,
        differences=differences,
        differing=tuple(differing),
        ranges_differing=(ranged.part,) if differences else (),
        rows_read=sum(rows.values()),
    )


def _with(found: Verdict, more: Verdict) -> Verdict:
    """The verdict on one range more."""
    return replace(
        found,
        verdict="differs" if "differs" in (found.verdict, more.verdict) else "equal",
        ranges=found.ranges + more.ranges,
        rows={target: (found.rows.get(target) or 0) + (rows or 0) for target, rows in more.rows.items()},
        differences=found.differences + more.differences,
        differing=found.differing + more.differing,
        ranges_differing=found.ranges_differing + more.ranges_differing,
        rows_read=found.rows_read + more.rows_read,
    )
