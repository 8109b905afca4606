"""
The readers of a snapshot: a table's rows, batch by batch, from source, replica or warehouse.

Each batch is Arrow as a file is to have it (`to_parquet` says how). The policy of
tables.yml holds here: what is excluded, or in quarantine, is not read,
and what is masked only where it is known to be masked as chosen. `snapshot`
writes the batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from arrowetl import sql
from arrowetl.config.tables_yml import TablesFile
from arrowetl.errors import DatabaseQueryError, DataError, UsageError, did_you_mean
from arrowetl.export import where_clause
from arrowetl.model.connection import SERVERS, TableSettings
from arrowetl.model.plan import Column, Field, Partition, Table, TablePlan
from arrowetl.model.result import Coercion
from arrowetl.planning import evidence, sync_mode, table_plan
from arrowetl.source.reader import Source
from arrowetl.state import state_sql
from arrowetl.state.ledger import TRACKING
from arrowetl.types import conversion, mapping, postgres_types, to_parquet
from arrowetl.warehouse.loader import Warehouse


@dataclass(frozen=True)
class Request:
    """What a person asked for."""

    tables: tuple[str, ...]
    """Names or globs; all, where none is named."""
    directory: Path
    exclude: tuple[str, ...] = ()
    """Of these, not."""
    columns: tuple[str, ...] = ()
    where: str = ""
    since: str = ""
    read_from: str = "warehouse"
    namespace: str = ""
    """Of the warehouse; empty is the one that is loaded."""

    def __post_init__(self) -> None:
        if self.read_from not in SERVERS:
            raise UsageError(f"no snapshot from {self.read_from!r}", f"one of: {', '.join(SERVERS)}")
        if self.namespace and self.read_from != "warehouse":
            raise UsageError("--namespace is the warehouse's", "leave out --from, or --namespace")


@dataclass(frozen=True)
class Read:
    """What is read of a table, as a file has it, piece by piece."""

    schema: pa.Schema
    row_batches: Iterator[pa.Table]
    coercions: list[Coercion] = field(default_factory=list)
    """Of what was read so far."""
    until: str | None = None
    """The watermark that will have been reached: where the next increment may begin."""
    left_out: tuple[str, ...] = ()


class Reader(Protocol):
    """A server to read from."""

    def names(self) -> list[str]: ...
    def leaves_out(self, name: str) -> bool: ...
    def read(self, name: str, request: Request, tree: Any) -> Read: ...
    def close(self) -> None: ...


class OfMySQL:
    """The source, or the replica."""

    def __init__(self, source: Source, tables_file: TablesFile) -> None:
        self._source, self._tables_file = source, tables_file
        self._catalog = source.catalog()

    def names(self) -> list[str]:
        return list(self._catalog)

    def leaves_out(self, name: str) -> bool:
        return name in TRACKING or self._tables_file.of_table(self._catalog[name]).excluded

    def read(self, name: str, request: Request, tree: Any) -> Read:
        """
        Raises:
            UsageError: it is excluded, or has not what is asked for.
            DataError: the replica's rows are not masked as tables.yml has it.
        """
        table, settings = self._catalog[name], self._tables_file.of_table(self._catalog[name])
        _refuse_excluded(name, settings.excluded)
        watermark = _watermark(table, settings)
        if request.read_from == "replica":
            settings = table_plan.without_absent(settings, table)
        planned = replace(table_plan.table_plan(table, settings, None, known_coercions=()), watermark=watermark)
        if request.read_from == "replica":
            masks = {field.column.name: field.mask for field in planned.fields if field.mask}
            _require_masks(name, "replica", masks, _recorded(self._source, state_sql.as_of_question(None, name)))
        until = _until(table, watermark, self._source.max_watermark(planned, self._source.reading(planned)))
        asked = {f.column.name: f.column.name for f in planned.fields if not f.mask}
        words = where_clause.in_mysql(tree, asked) if tree else ""
        fields = _chosen(name, planned.fields, request.columns)
        planned = replace(planned, fields=fields)
        part = Partition(0, None, None, incremental_from=_since(name, request.since, table, watermark), condition=words)
        found_so_far: list[Coercion] = []
        names = {f.column.name for f in fields}
        wanted = pa.schema([to_parquet.field_of(f.column.name, f.type_postgres, f) for f in fields])
        return Read(
            schema=wanted,
            row_batches=self._batches(planned, part, wanted, found_so_far),
            coercions=found_so_far,
            until=until,
            left_out=tuple(column.name for column in table.columns if column.name not in names),
        )

    def _batches(
        self, planned: TablePlan, part: Partition, wanted: pa.Schema, found_so_far: list[Coercion]
    ) -> Iterator[pa.Table]:
        for one in self._source.partitions(planned):
            # A table without a key to cut it by comes in slices, each of which has a condition of its own.
            both = " AND ".join(f"({words})" for words in (one.condition, part.condition) if words)
            bounded = replace(one, incremental_from=part.incremental_from, condition=both)
            read, rows = self._source.extract(planned, bounded)
            converted, coercions = conversion.to_warehouse(planned.name, rows, read.fields, None)
            found_so_far += coercions
            columns = zip(converted.columns, read.fields, wanted, strict=True)
            arrays = [to_parquet.from_arrow(column, f.type_postgres, to.type) for column, f, to in columns]
            yield pa.table(arrays, schema=wanted)

    def close(self) -> None:
        self._source.close()


class OfWarehouse:
    """A namespace of the warehouse, by its own types and names."""

    def __init__(self, warehouse: Warehouse, tables_file: TablesFile, is_loaded: bool) -> None:
        """
        Args:
            is_loaded: whether it is the namespace that runs load, which tables.yml describes.
        """
        self._warehouse, self._tables_file = warehouse, tables_file if is_loaded else TablesFile({}, {})
        # What is made of raw's tables elsewhere may have columns that are to leave nowhere, under their own names.
        self._withheld = frozenset() if is_loaded else _withheld(tables_file)
        self._published = warehouse.published()
        # Names that PostgreSQL cannot hold are others there.
        self._names = {mapping.postgres_name(name): name for name in self._tables_file.tables}

    def names(self) -> list[str]:
        return list(self._published)

    def leaves_out(self, name: str) -> bool:
        return name in TRACKING or self._tables_file.of(self._names.get(name, name)).excluded

    def read(self, name: str, request: Request, tree: Any) -> Read:
        """
        Raises:
            UsageError: it is excluded, or has not what is asked for.
            DataError: its rows are not masked as tables.yml has it.
        """
        types = {column: postgres_types.spelled(type_) for column, type_ in self._published[name].columns}
        origin = self._names.get(name, name)
        mentioned = self._tables_file.of(origin).get("columns", {})
        there = {mapping.postgres_name(column): column for column in mentioned}
        settings = self._tables_file.of_columns(origin, [there.get(column, column) for column in types])
        _refuse_excluded(name, settings.excluded)
        hidden = {mapping.postgres_name(column) for column in settings.excluded_columns()}
        hidden |= {column for column in types if column.lower() in self._withheld}
        columns = {column: type_ for column, type_ in types.items() if column not in hidden}
        masks = {column: mask for column, mask in settings.masks().items() if mapping.postgres_name(column) in columns}
        namespace = self._warehouse.namespace
        as_of = _recorded(self._warehouse, state_sql.as_of_question(namespace, origin)) if masks else None
        _require_masks(name, "warehouse", masks, as_of)
        masked = set(map(mapping.postgres_name, masks))
        chosen = _named(name, list(columns), request.columns)
        words = where_clause.in_postgres(tree, {c: c for c in columns if c not in masked}) if tree else ""
        conditions = [words] if words else []
        if request.since:
            watermark = settings.get("primary_incremental_column")
            if watermark not in columns or watermark in masked:
                raise _no_watermark(name)
            since = sql.postgres_literal(_timestamp(request.since))
            conditions.append(f"{sql.postgres_name(str(watermark))} >= {since}")
        wanted = pa.schema([to_parquet.field_of(c, columns[c], None) for c in chosen])
        found_so_far: list[Coercion] = []
        row_batches = self._batches(name, self._statement(name, columns, chosen, conditions), wanted, found_so_far)
        left_out = tuple(column for column in types if column not in chosen)
        reached = _recorded(self._warehouse, state_sql.watermark_question(namespace, origin))
        overlap = _overlap(columns.get(str(settings.get("primary_incremental_column")), ""))
        return Read(
            schema=wanted,
            row_batches=row_batches,
            coercions=found_so_far,
            until=reached and _earlier(reached, overlap),
            left_out=left_out,
        )

    def _statement(
        self, name: str, columns: Mapping[str, str], chosen: Sequence[str], conditions: Sequence[str]
    ) -> str:
        """Each column, and behind them of each whether its value is one that a file cannot have."""
        selected, odd = [], []
        for number, column in enumerate(chosen):
            place = sql.postgres_name(column)
            _, select, _ = to_parquet.parquet_type(columns[column])
            selected.append(f"{select.replace('{c}', place)} AS {place}")
            beyond = to_parquet.beyond(columns[column])
            odd.append(f"{beyond.replace('{c}', place) if beyond else 'FALSE'} AS odd{number}")
        where = f" WHERE {' AND '.join(f'({one})' for one in conditions)}" if conditions else ""
        return (
            f"SELECT {', '.join([*selected, *odd])} FROM {sql.postgres_table(self._warehouse.namespace, name)}{where}"
        )

    def _batches(
        self, name: str, statement: str, wanted: pa.Schema, found_so_far: list[Coercion]
    ) -> Iterator[pa.Table]:
        for batch in self._warehouse.batches(statement):
            rows, odd = batch.columns[: len(wanted)], batch.columns[len(wanted) :]
            arrays = []
            for column, flags, one in zip(rows, odd, wanted, strict=True):
                if count := pc.sum(flags).as_py():
                    found_so_far.append(Coercion(one.name, "NaN, infinity, or a day before the year 1", "NULL", count))
                try:
                    arrays.append(column.cast(one.type))
                except pa.ArrowInvalid:  # its words hold the value
                    raise DataError(
                        f"{name}.{one.name}: holds a value that {one.type} cannot",
                        "leave the column out with --columns, or make it another type at the warehouse",
                    ) from None
            yield pa.table(arrays, schema=wanted)

    def close(self) -> None:
        self._warehouse.close()


def _withheld(tables_file: TablesFile) -> frozenset[str]:
    """Names, in small letters, of the columns that tables.yml leaves out or masks, of whichever table."""
    return frozenset(
        mapping.postgres_name(column).lower()
        for settings in tables_file.tables.values()
        for column in {*settings.excluded_columns(), *settings.masks()}
    )


def _recorded(target: Source | Warehouse, question: str) -> str | None:
    """What the tracking table of a target says of a table; None where there is no such table, or no row of it."""
    with suppress(DatabaseQueryError):
        rows = target.answers(question)
        return rows[0][0] if rows else None
    return None


def _until(table: Table, watermark: str | None, max_watermark: str | None) -> str | None:
    """A watermark as the next `--since` takes it: a TIMESTAMP in UTC, and saying so."""
    if watermark is None or max_watermark is None:
        return None
    column = table.column(watermark)
    said = f"{max_watermark}+00:00" if column.data_type == "timestamp" and "+" not in max_watermark else max_watermark
    return _earlier(said, evidence.overlap(column))


def _earlier(reached: str, overlap: timedelta) -> str:
    """
    Where the next increment is to begin: by so much earlier as timestamps may come late. A row that is in two is the
    same in both.

    >>> _earlier("2026-01-31T06:00:00+00:00", timedelta(hours=2)), _earlier("17", timedelta(hours=2))
    ('2026-01-31T04:00:00+00:00', '17')
    """
    return reached if reached.lstrip("-").isdigit() else (datetime.fromisoformat(reached) - overlap).isoformat()


def _require_masks(name: str, target: str, masks: Mapping[str, str | None], as_of: str | None) -> None:
    known = state_sql.as_of_from(as_of)
    wanted = {column: mask for column, mask in masks.items() if mask}
    if wanted and (known is None or known.masks != sync_mode.digest_of_masks(wanted)):
        raise DataError(
            f"{name}: the {target}'s rows are not known to be masked as arrowetl.yml has it "
            f"({', '.join(wanted)}); nothing was written",
            f"load the table first: arrowetl run --table {name}",
        )


def _refuse_excluded(name: str, excluded: bool) -> None:
    if excluded:
        raise UsageError(f"{name}: excluded in arrowetl.yml", "what is excluded is copied nowhere")


def _watermark(table: Table, settings: TableSettings) -> str | None:
    """The column that shows changes; a replica's columns update nothing, and hold the source's values."""
    name = settings.get("primary_incremental_column")
    hidden = {*settings.excluded_columns(), *settings.masks()}
    there = {column.name for column in table.columns} - hidden
    return sync_mode.watermark_column(table, settings) or (name if name in there else None)


def _no_watermark(name: str) -> UsageError:
    return UsageError(
        f"{name}: --since needs a watermark, and tables.yml has none of this table",
        f"name one in arrowetl.yml, tables.{name}.primary_incremental_column, or use --where",
    )


def _since(name: str, since: str, table: Table, watermark: str | None) -> str | None:
    if not since:
        return None
    if watermark is None:
        raise _no_watermark(name)
    if table.column(watermark).data_type in ("timestamp", "datetime", "date"):
        return _timestamp(since)
    if not since.lstrip("-").isdigit():
        raise UsageError(f"--since: {watermark} is a number, got {since}")
    return since


# PostgreSQL type of a watermark → MySQL's.
_TIMESTAMPS = {"timestamptz": "timestamp", "timestamp": "datetime", "date": "date"}


def _overlap(type_: str) -> timedelta:
    """By how much timestamps may have come late, of a watermark at the warehouse."""
    kind = _TIMESTAMPS.get(type_.partition("(")[0])
    return evidence.overlap(Column("", kind, kind)) if kind else timedelta()


def _timestamp(since: str) -> str:
    """A time in UTC as both languages read it; a number stays one."""
    if since.lstrip("-").isdigit():
        return since
    try:
        timestamp = datetime.fromisoformat(since)
    except ValueError as error:
        raise UsageError(f"--since: no time: {since}", "write it like 2026-01-31T06:00:00+00:00") from error
    return (timestamp.astimezone(UTC).replace(tzinfo=None) if timestamp.tzinfo else timestamp).isoformat(" ")


def _named(table: str, there: Sequence[str], wanted: Sequence[str]) -> list[str]:
    unknown = [name for name in wanted if name not in there]
    if unknown:
        raise UsageError(
            f"{table}: no column {unknown[0]}{did_you_mean(unknown[0], there, most=3)}",
            "columns that arrowetl.yml excludes are in no snapshot; nor are those of their names in other schemas, or "
            "of masked ones: give them another name there where they hold nothing of a person's",
        )
    return list(dict.fromkeys(wanted)) if wanted else list(there)


def _chosen(table: str, fields: Sequence[Field], wanted: Sequence[str]) -> tuple[Field, ...]:
    by_name = {field.column.name: field for field in fields}
    return tuple(by_name[name] for name in _named(table, list(by_name), wanted))
