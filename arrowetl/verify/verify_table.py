"""
One table at all three ends: equal, or which rows and columns are not.

Each end adds up checksums of its rows where they lie, range by range of the
primary key: source and replica of their stored images, replica and warehouse
of canonical texts. Of ranges that differ `drilldown` finds the rows; `by_value`
compares values where checksums cannot; `since_last` knows what need not be read.
Nothing is written here. `verify` walks many tables through it.
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
from arrowetl.model.connection import ENDS
from arrowetl.model.plan import Field, Partition, PublishedTable, Table, TablePlan
from arrowetl.model.state import Known, Reading, Standing
from arrowetl.model.verdict import Difference, Ranged, Sum, Verdict
from arrowetl.planning import partitioning, sync_mode, table_plan
from arrowetl.source.reader import Source
from arrowetl.state.ledger import Ledger
from arrowetl.types import checksum_text, mapping
from arrowetl.verify import by_value, drilldown, since_last
from arrowetl.verify.drilldown import Asked, Telling
from arrowetl.verify.since_last import Recalled
from arrowetl.warehouse.loader import Warehouse


@dataclass(frozen=True)
class Wanted:
    """What a person asked for."""

    tables: tuple[str, ...] = ()
    """All, where none is named."""
    deep: bool = False
    """Whether every value is to be compared, and not checksums."""
    shows: bool = False
    """Whether values may be told."""
    changed: bool = False
    """Whether only what changed since the last verification is to be read, and the rest believed."""


@dataclass(frozen=True)
class Ends:
    """The three servers, what stands at two of them, and what is recorded and remembered of it."""

    source: Source
    replica: Source
    warehouse: Warehouse
    at_replica: Mapping[str, Table]
    published: Mapping[str, PublishedTable]
    tables_file: TablesFile
    asking: ThreadPoolExecutor
    """Who asks them, so that none waits for another."""
    book: Ledger
    standings: Mapping[str, Standing]
    """Before it began."""
    known: Mapping[str, Known]


def audit(table: Table, ends: Ends, wanted: Wanted) -> Verdict:
    """
    Compare one table.

    Raises:
        ArrowetlError: it could not be compared.
    """
    settings, published = ends.tables_file.of_table(table), ends.published.get(mapping.postgres_name(table.name))
    began = datetime.now(UTC)
    planned = table_plan.table_plan(table, settings, published, remembered=())
    planned = replace(planned, watermark=sync_mode.watermark_column(table, settings))
    reading = ends.source.reading(planned)
    absent = [end for end, there in (("replica", table.name in ends.at_replica), ("warehouse", published)) if not there]
    wrong = [f"not at all at the {end}" for end in absent] or _altered(planned, ends)
    if wrong:
        note = f"{'; '.join(wrong)} (arrowetl run --table {table.name})"
        return Verdict(table.name, "differs", rows={"source": reading.rows}, differences=reading.rows, note=note)
    asked, standing = _sides(planned, ends), ends.standings.get(table.name, Standing())
    watermark = ends.source.high(planned, reading)
    recalled = since_last.recalled(planned, ends.known.get(table.name), standing, reading, asked, ends.source)
    if recalled:
        parts: Sequence[Partition] = recalled.parts
    else:
        parts = list(ends.source.ranges(planned, lambda: limits.verified_rows)) if asked[0].side.key else [_ALL]
    fields = tuple(field for field in planned.fields if field.is_compared)
    telling = Telling.of(fields, _naming(planned), wanted.shows)
    planned = replace(planned, fields=fields)
    if wanted.deep or any(map(mapping.is_a_document, fields)):
        found = _read(planned, ends, parts, telling, limits.differences_shown)
    else:
        found = _summed(planned, ends, asked, telling, parts)
    if recalled:
        found = _with_remembered(found, recalled)
    if found.verdict == "differs":
        found = replace(found, note=_moved(planned, ends, reading, standing))
    left_out = tuple(column.name for column in table.columns if column.name not in {f.column.name for f in fields})
    return replace(
        found, table=table.name, left_out=left_out, reading=reading, watermark=watermark,
        structure=since_last.structure(planned), began=began, recalled=recalled.as_of if recalled else None,
    )  # fmt: skip


def _with_remembered(found: Verdict, recalled: Recalled) -> Verdict:
    rows = sum(one.rows for one in recalled.kept)
    return replace(
        found,
        ranges=found.ranges + since_last.as_found(recalled.kept),
        rows={end: (found.rows.get(end) or 0) + rows for end in ENDS},
        note=recalled.note,
    )


def _moved(planned: TablePlan, ends: Ends, reading: Reading, standing: Standing) -> str:
    """Whether the source has moved on, so that what differs may be what the next run will carry."""
    as_of = standing.warehouse.as_of
    carried = as_of.reading if as_of else None
    if ends.source.reading(planned).update_time != reading.update_time:
        return "the source was written to while it was compared"
    if carried and (carried.rows, carried.update_time) != (reading.rows, reading.update_time):
        return "the source has changed since it was carried: run first, and verify then"
    return ""


_ALL = Partition(0, None, None)


def _altered(planned: TablePlan, ends: Ends) -> list[str]:
    """In what the columns of an end's table are not those that the source's has now, in words."""
    wanted = {field.column.name for field in planned.fields}
    there = {column.name for column in ends.at_replica[planned.name].columns}
    at_source = {column.name for column in planned.table.columns}
    drift = planned.drift
    return [
        *(f"the replica lacks {name}" for name in sorted(wanted - there)),
        *(f"tables.yml leaves out {name}, which the replica has" for name in sorted((there - wanted) & at_source)),
        *(f"only the replica has {name}" for name in sorted(there - wanted - at_source)),
        *(f"the warehouse lacks {field.name_postgres}" for field in drift.added),
        *(f"only the warehouse has {name}" for name in drift.dropped),
        *(f"{field.name_postgres} is of another type at the warehouse" for field in drift.retyped),
    ]


def _naming(planned: TablePlan) -> tuple[Field, ...]:
    """The fields that tell rows apart; none where a part of the key is masked, or no server can say it."""
    key = planned.key_fields
    return key if all(checksum_text.canonical_text(field) for field in key) else ()


def _sides(planned: TablePlan, ends: Ends) -> tuple[Asked, Asked, Asked]:
    fields = [field for field in planned.fields if field.is_compared]
    named, ranged = _naming(planned), None
    if named and partitioning.can_be_split(planned.table) and _is_a_number(named[0]):
        ranged = named[0]
    key, key_there = (ranged.column.name, ranged.name_postgres) if ranged else (None, None)
    at_source, at_replica = (
        Asked(end.endpoint.name, end, mysql_side(end.endpoint.database, planned.name, fields, key, named))
        for end in (ends.source, ends.replica)
    )
    there = postgres_side(ends.warehouse.namespace, planned.name_postgres, fields, key_there, named)
    return at_source, at_replica, Asked("warehouse", ends.warehouse, there)


def _is_a_number(field: Field) -> bool:
    return field.type_postgres.partition("(")[0] in ("smallint", "integer", "bigint", "numeric")


def _added_up(one: Asked, parts: Sequence[Partition], ways: Sequence[str], pause_seconds: float = 0.0) -> list[Sum]:
    """What one end says of each range."""
    found = []
    for part in parts:
        if part.index:
            time.sleep(pause_seconds)
        unsaid = secrets.randbits(58)
        rows, *totals = one.end.answers(one.side.sums(part, ways, unsaid))[0]
        by_way = dict(zip(ways, map(int, totals), strict=True))
        found.append(Sum(int(rows), by_way.get(IMAGES), by_way.get(TEXTS)))
    return found


_WAYS = {"source": (IMAGES,), "replica": (IMAGES, TEXTS), "warehouse": (TEXTS,)}


def _summed(
    planned: TablePlan, ends: Ends, asked: tuple[Asked, Asked, Asked], telling: Telling, parts: Sequence[Partition]
) -> Verdict:
    """By checksums; all three ends add up at the same time."""
    pause = ends.source.choices.pause_milliseconds / 1000
    adding = [
        ends.asking.submit(_added_up, one, parts, _WAYS[one.name], pause if one.name == "source" else 0.0)
        for one in asked
    ]
    said = [future.result() for future in adding]
    found = Verdict(planned.name, "equal")
    for part, *answers in zip(parts, *said, strict=True):
        sums = {one.name: answer for one, answer in zip(asked, answers, strict=True)}
        try:
            number, differing = _apart(asked, part, sums, telling, _room(found))
        except drilldown.UnsaidError:
            found = _with(found, _read(planned, ends, [part], telling, _room(found)))
        else:
            found = _with(found, _of_range(planned.name, Ranged(part, sums), number, differing))
    return found


def _apart(
    asked: tuple[Asked, Asked, Asked], part: Partition, sums: Mapping[str, Sum], telling: Telling, room: int
) -> tuple[int, list[Difference]]:
    """How many rows of a range differ, at both ends together, and the first of them."""
    source, replica, warehouse = asked
    alike = (sums["source"].rows, sums["source"].images) == (sums["replica"].rows, sums["replica"].images)
    number, found, reference, texts = 0, list[Difference](), replica, (sums["replica"].rows, sums["replica"].texts)
    if not alike:
        only = drilldown.apart(source, replica, IMAGES, part, sums["source"].rows)
        number, found = drilldown.told(source, replica, IMAGES, part, only, telling, room)
        # What the replica says is no measure here.
        (said,) = _added_up(source, [part], (TEXTS,))
        reference, texts = source, (said.rows, said.texts)
    if texts != (sums["warehouse"].rows, sums["warehouse"].texts):
        only = drilldown.apart(reference, warehouse, TEXTS, part, sums["warehouse"].rows)
        more, others = drilldown.told(reference, warehouse, TEXTS, part, only, telling, room - len(found))
        number, found = number + more, found + others
    return number, found


def _read(planned: TablePlan, ends: Ends, parts: Sequence[Partition], telling: Telling, room: int) -> Verdict:
    """By reading all three."""
    found = Verdict(planned.name, "equal")
    for part in parts:
        left = max(0, room - len(found.differing))
        one = by_value.compared(ends.source, ends.replica, ends.warehouse, planned, part, telling, left)
        sums = {end: Sum(rows) for end, rows in one.rows.items()}
        found = _with(found, _of_range(planned.name, Ranged(part, sums), one.differences, one.differing))
    return found


def _room(found: Verdict) -> int:
    return max(0, limits.differences_shown - len(found.differing))


def _of_range(table: str, ranged: Ranged, differences: int, differing: Sequence[Difference]) -> Verdict:
    rows = {end: one.rows for end, one in ranged.sums.items()}
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
    """The verdict upon one range more."""
    return replace(
        found,
        verdict="differs" if "differs" in (found.verdict, more.verdict) else "equal",
        ranges=found.ranges + more.ranges,
        rows={end: (found.rows.get(end) or 0) + (more.rows.get(end) or 0) for end in ENDS},
        differences=found.differences + more.differences,
        differing=found.differing + more.differing,
        ranges_differing=found.ranges_differing + more.ranges_differing,
        rows_read=found.rows_read + more.rows_read,
    )
