"""
Tables as Parquet files, from any of the three ends, for whoever wants to look at them elsewhere.

Files are written under a temporary name beside their place, and moved there
when the table is whole; a manifest tells what there is. Masks and exclusions
of tables.yml hold. What stands in a file for a value is `parquet`'s business,
what may stand after --where `condition`'s; no server is written.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from arrowetl import __version__, coerce, condition, config, files, limits, modes, parquet, plan, preflight, schema, sql
from arrowetl.config import Settings
from arrowetl.errors import ConfigurationError, DataError, UsageError, nearest
from arrowetl.model import Field, Partition, Table, TablePlan, TableSettings
from arrowetl.outcome import Coercion
from arrowetl.source import Source
from arrowetl.spill import run_directory
from arrowetl.tables_file import TablesFile, read_tables
from arrowetl.warehouse import Warehouse

FORM = 1
"""Of what a manifest looks like."""
MANIFEST = "manifest.json"
_PREFIX = ".arrowetl-snapshot-"


@dataclass(frozen=True)
class Request:
    """What a person asked for."""

    tables: tuple[str, ...]
    directory: Path
    columns: tuple[str, ...] = ()
    where: str = ""
    since: str = ""
    read_from: str = "warehouse"
    namespace: str = ""
    """Of the warehouse; empty is the one that is loaded."""


@dataclass(frozen=True)
class Read:
    """What is read of a table, as a file has it, piece by piece."""

    schema: pa.Schema
    pieces: Iterator[pa.Table]
    coercions: list[Coercion] = field(default_factory=list)
    """Of what was read so far."""
    until: str | None = None
    """The watermark that will have been reached: where the next increment may begin."""
    left_out: tuple[str, ...] = ()


def snapshot(settings: Settings, request: Request, workers: int = limits.workers_default) -> dict[str, Any]:
    """
    Write the tables asked for, and a manifest.

    Returns:
        The manifest's entries of these tables.

    Raises:
        UsageError: a table, column or condition that cannot be asked for.
        ConfigurationError: the directory cannot be written, or holds something else.
        DatabaseError, DataError: a table could not be read; none of them was replaced.
    """
    endpoint = settings.endpoint(request.read_from)
    if request.namespace:
        endpoint = replace(endpoint, namespace=request.namespace)
    preflight.reach(endpoint)
    tree = condition.read(request.where) if request.where else None
    started_at = datetime.now(UTC)
    with ExitStack() as held:
        tables_file = read_tables(settings.tables_file)
        if request.read_from == "warehouse":
            reader: _Reader = _OfWarehouse(Warehouse(endpoint), tables_file)
        else:
            if request.read_from == "source" and (hashed := tables_file.hashed()):
                config.require_mask_key(settings, hashed)
            mask_key = settings.mask_key if request.read_from == "source" else None
            reader = _OfMySQL(Source(endpoint, tables_file.choices, mask_key=mask_key), tables_file)
        held.callback(reader.close)
        tables = config.chosen_tables(request.tables, reader.names())
        reads = {name: reader.read(name, request, tree) for name in tables}
        _make(request.directory)
        remedy = "free some space there, or name another directory with --to"
        beside = held.enter_context(run_directory(request.directory, _PREFIX, remedy))
        with ThreadPoolExecutor(workers) as pool:
            written = dict(zip(tables, pool.map(lambda name: _write(beside / name, reads[name]), tables), strict=True))
        about = {
            "from": str(endpoint),
            "where": request.where or None,
            "since": request.since or None,
            "taken_at": started_at.isoformat(),
        }
        entries = {name: {**about, **_entry(reads[name], parts)} for name, parts in written.items()}
        for name in tables:
            _move(beside / name, request.directory / name, beside / f"{name}.before")
        _keep_manifest(request.directory, entries)
    return {"directory": str(request.directory), "tables": entries}


# --- what is read -------------------------------------------------------------------------------


class _Reader(Protocol):
    """An end to read from."""

    def names(self) -> list[str]: ...
    def read(self, name: str, request: Request, tree: Any) -> Read: ...
    def close(self) -> None: ...


class _OfMySQL:
    """The source, or the replica."""

    def __init__(self, source: Source, tables_file: TablesFile) -> None:
        self._source, self._tables_file = source, tables_file
        self._catalog = source.catalog()

    def names(self) -> list[str]:
        return list(self._catalog)

    def read(self, name: str, request: Request, tree: Any) -> Read:
        table, settings = self._catalog[name], self._tables_file.of_table(self._catalog[name])
        _refuse_excluded(name, settings.excluded)
        watermark = _watermark(table, settings)
        if request.read_from == "replica":
            settings = plan.without_absent(settings, table)
        planned = replace(plan.table_plan(table, settings, None, remembered=()), watermark=watermark)
        until = self._source.high(planned, self._source.reading(planned)) if watermark else None
        asked = {f.column.name: f.column.name for f in planned.fields if not f.mask}
        words = condition.in_mysql(tree, asked) if tree else ""
        fields = _chosen(name, planned.fields, request.columns)
        planned = replace(planned, fields=fields)
        part = Partition(0, None, None, since=_since(name, request.since, table, watermark), condition=words)
        told: list[Coercion] = []
        names = {f.column.name for f in fields}
        return Read(
            pa.schema([parquet.field_of(f.column.name, f.type_postgres, _digits(f), f) for f in fields]),
            self._pieces(planned, part, told),
            told,
            until,
            tuple(column.name for column in table.columns if column.name not in names),
        )

    def _pieces(self, planned: TablePlan, part: Partition, told: list[Coercion]) -> Iterator[pa.Table]:
        for one in self._source.partitions(planned):
            bounded = replace(one, since=part.since, condition=part.condition)
            read, rows = self._source.extract(planned, bounded)
            wanted, coercions = coerce.to_warehouse(planned.name, rows, read.fields, None)
            told += coercions
            yield _as_files_have_it(wanted, read.fields)

    def close(self) -> None:
        self._source.close()


class _OfWarehouse:
    """A namespace of the warehouse, by its own types."""

    def __init__(self, warehouse: Warehouse, tables_file: TablesFile) -> None:
        self._warehouse, self._tables_file = warehouse, tables_file
        self._published = warehouse.published()

    def names(self) -> list[str]:
        return list(self._published)

    def read(self, name: str, request: Request, tree: Any) -> Read:
        settings = self._tables_file.of(name)
        _refuse_excluded(name, settings.excluded)
        columns = {column: schema.spelled(type_) for column, type_ in self._published[name].columns}
        chosen = _named(name, list(columns), request.columns)
        words = condition.in_postgres(tree, {column: column for column in columns}) if tree else ""
        watermark = settings.get("primary_incremental_column")
        conditions = [words] if words else []
        if request.since:
            if watermark not in columns:
                raise _no_watermark(name)
            since = sql.postgres_literal(_moment(request.since))
            conditions.append(f"{sql.postgres_name(str(watermark))} >= {since}")
        stands = {column: parquet.stands(columns[column], schema.digits_of(columns[column])) for column in chosen}
        selected = [
            f"{select.replace('{c}', sql.postgres_name(column))} AS {sql.postgres_name(column)}"
            for column, (_, select, _) in stands.items()
        ]
        where = f" WHERE {' AND '.join(f'({one})' for one in conditions)}" if conditions else ""
        statement = f"SELECT {', '.join(selected)} FROM {sql.postgres_table(self._warehouse.namespace, name)}{where}"
        digits = {column: schema.digits_of(columns[column]) for column in chosen}
        wanted = pa.schema([parquet.field_of(c, columns[c], digits[c], None) for c in chosen])
        return Read(wanted, self._pieces(statement, wanted), left_out=tuple(c for c in columns if c not in chosen))

    def _pieces(self, statement: str, wanted: pa.Schema) -> Iterator[pa.Table]:
        for batch in self._warehouse.batches(statement):
            yield pa.Table.from_batches([batch]).cast(wanted)

    def close(self) -> None:
        self._warehouse.close()


def _refuse_excluded(name: str, excluded: bool) -> None:
    if excluded:
        raise UsageError(f"{name}: excluded in tables.yml", "what is excluded is copied nowhere")


def _watermark(table: Table, settings: TableSettings) -> str | None:
    """The column by which changes are known; a replica's columns stamp nothing, and hold the source's stamps."""
    name = settings.get("primary_incremental_column")
    hidden = {*settings.excluded_columns(), *settings.masks()}
    there = {column.name for column in table.columns} - hidden
    return modes.watermark_column(table, settings) or (name if name in there else None)


def _no_watermark(name: str) -> UsageError:
    return UsageError(
        f"{name}: --since needs a watermark, and tables.yml has none of this table",
        f"name one under tables.{name}.overrides.primary_incremental_column, or use --where",
    )


def _since(name: str, since: str, table: Table, watermark: str | None) -> str | None:
    if not since:
        return None
    if watermark is None:
        raise _no_watermark(name)
    if table.column(watermark).data_type in ("timestamp", "datetime", "date"):
        return _moment(since)
    if not since.lstrip("-").isdigit():
        raise UsageError(f"--since: {watermark} is a number, got {since}")
    return since


def _moment(since: str) -> str:
    """A moment in UTC as both languages read it; a number stays one."""
    if since.lstrip("-").isdigit():
        return since
    try:
        moment = datetime.fromisoformat(since)
    except ValueError as error:
        raise UsageError(f"--since: no moment: {since}", "write it like 2026-01-31T06:00:00+00:00") from error
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ") if moment.tzinfo else moment.isoformat(" ")


def _named(table: str, there: Sequence[str], wanted: Sequence[str]) -> list[str]:
    unknown = [name for name in wanted if name not in there]
    if unknown:
        hint = nearest(unknown[0], there)
        raise UsageError(
            f"{table}: no column {unknown[0]}" + (f" (did you mean {', '.join(hint)}?)" if hint else ""),
            "columns that tables.yml excludes are in no snapshot",
        )
    return list(dict.fromkeys(wanted)) if wanted else list(there)


def _chosen(table: str, fields: Sequence[Field], wanted: Sequence[str]) -> tuple[Field, ...]:
    by_name = {field.column.name: field for field in fields}
    return tuple(by_name[name] for name in _named(table, list(by_name), wanted))


def _digits(one: Field) -> tuple[int, ...]:
    return schema.digits_of(one.type_postgres)


def _as_files_have_it(rows: pa.Table, fields: Sequence[Field]) -> pa.Table:
    wanted = [parquet.field_of(f.column.name, f.type_postgres, _digits(f), f) for f in fields]
    arrays = [
        parquet.from_arrow(column, f.type_postgres, one.type)
        for column, f, one in zip(rows.columns, fields, wanted, strict=True)
    ]
    return pa.table(arrays, schema=pa.schema(wanted))


# --- what is written ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    name: str
    rows: int
    bytes: int
    sha256: str


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{directory}: cannot be made: {os.strerror(error.errno or 0)}", "name another directory with --to"
        ) from error


def _write(directory: Path, read: Read) -> list[_Part]:
    """A table's files, in a directory of its own; one without a row where there is none."""
    parts: list[_Part] = []
    try:
        directory.mkdir()
        pieces = iter(read.pieces)
        piece = next(pieces, None)
        while piece is not None or not parts:
            path = directory / f"part-{len(parts):05}.parquet"
            bytes_ = rows = 0
            # Statistics and dictionaries are the defaults of who reads them; zstd is half of snappy's size here.
            with pq.ParquetWriter(path, read.schema, compression="zstd") as writer:
                while piece is not None and bytes_ < limits.snapshot_file_bytes:
                    writer.write_table(piece)
                    bytes_, rows = bytes_ + piece.nbytes, rows + piece.num_rows
                    piece = next(pieces, None)
            found = pq.read_metadata(path).num_rows
            if found != rows:
                raise DataError(f"{path.name}: {rows:,} rows were written, {found:,} are in it", "try again")
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            parts.append(_Part(path.name, rows, path.stat().st_size, digest))
    except OSError as error:
        raise DataError(
            f"{directory.name}: cannot be written: {os.strerror(error.errno or 0)}; nothing was replaced",
            "free some space there, or name another directory with --to",
        ) from error
    return parts


def _entry(read: Read, parts: Sequence[_Part]) -> dict[str, Any]:
    coerced = coerce.merged(read.coercions)
    return {
        "rows": sum(part.rows for part in parts),
        "files": [{"name": p.name, "rows": p.rows, "bytes": p.bytes, "sha256": p.sha256} for p in parts],
        "columns": [
            {"name": one.name, "parquet": str(one.type), **json.loads(one.metadata[b"arrowetl"])} for one in read.schema
        ],
        "columns_left_out": list(read.left_out),
        "coercions": [one.as_json() for one in coerced],
        "until": read.until,
        "arrowetl": __version__,
    }


def _move(new: Path, place: Path, before: Path) -> None:
    """A table's directory into its place; what was there is gone only when the new one stands."""
    if place.exists():
        if not place.is_dir() or any(path.suffix != ".parquet" for path in place.iterdir()):
            raise ConfigurationError(
                f"{place}: holds something else than a snapshot", "name another directory with --to"
            )
        place.replace(before)
    new.replace(place)
    shutil.rmtree(before, ignore_errors=True)


def _keep_manifest(directory: Path, entries: Mapping[str, Any]) -> None:
    """With the entries of tables that an earlier snapshot wrote there."""
    path = directory / MANIFEST
    try:
        before = json.loads(path.read_text(encoding="utf-8"))["tables"]
    except (OSError, ValueError, KeyError, TypeError):
        before = {}
    kept = {name: entry for name, entry in before.items() if (directory / name).is_dir()}
    document = {"form": FORM, "snapshot_id": secrets.token_hex(8), "tables": {**kept, **entries}}
    files.write_whole(path, json.dumps(document, indent=2) + "\n")
