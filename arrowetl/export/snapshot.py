"""
Tables as Parquet files, from any of the three servers, for other programs to read.

Files are written under a temporary name in the target directory, and moved into place
when all of them are complete; a manifest lists them. What is read, and
that masks and exclusions of tables.yml hold, is the business of `readers`, what
may follow --where `where_clause`'s; no server is written.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from arrowetl import __version__, limits, preflight
from arrowetl.config import env, files
from arrowetl.config.env import Settings
from arrowetl.config.table_names import chosen_tables
from arrowetl.config.tables_yml import read_tables
from arrowetl.errors import ConfigurationError, DatabaseQueryError, DataError, UsageError
from arrowetl.export import where_clause
from arrowetl.export.readers import OfMySQL, OfWarehouse, Read, Reader, Request
from arrowetl.model.connection import Endpoint
from arrowetl.model.events import Event, TableDone, TablesChosen
from arrowetl.replica.spill import run_directory
from arrowetl.source.reader import Source
from arrowetl.types import conversion
from arrowetl.warehouse.loader import Warehouse

FORM = 1
"""Of what a manifest looks like."""
MANIFEST = "manifest.json"
_PREFIX = ".arrowetl-snapshot-"
_NAMES_SHOWN = 12
_NO_DISK_SPACE = "free some space there, or name another directory with --to"


def snapshot(
    settings: Settings,
    request: Request,
    workers: int = limits.workers_default,
    on_event: Callable[[Event], None] = lambda event: None,
) -> dict[str, Any]:
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
    tree = where_clause.read(request.where) if request.where else None
    started_at = datetime.now(UTC)
    with ExitStack() as held:
        tables_file = read_tables(settings.tables_file, settings.chosen)
        if request.read_from == "warehouse":
            is_loaded = endpoint.namespace == settings.endpoint("warehouse").namespace
            reader: Reader = OfWarehouse(Warehouse(endpoint), tables_file, is_loaded)
        else:
            if request.read_from == "source" and (hashed := tables_file.hashed()):
                env.require_mask_key(settings, hashed)
            mask_key = settings.mask_key if request.read_from == "source" else None
            reader = OfMySQL(Source(endpoint, tables_file.choices, mask_key=mask_key), tables_file)
        held.callback(reader.close)
        tables = _chosen(reader, request, endpoint)
        on_event(TablesChosen(len(tables)))

        def one(name: str) -> list[_Part]:
            parts = _write(staging / places[name], reads[name])
            on_event(TableDone(name, sum(part.rows for part in parts)))
            return parts

        reads = {name: reader.read(name, request, tree) for name in tables}
        places = {name: _place(name) for name in tables}
        _make(request.directory)
        before = _manifest(request.directory)
        for place in places.values():
            _refuse_others(request.directory, place, before)
        _refuse_increment_on_full(request, tables, before)
        staging = held.enter_context(run_directory(request.directory, _PREFIX, _NO_DISK_SPACE))
        with ThreadPoolExecutor(workers) as pool, _explain_condition_errors(request):
            written = dict(zip(tables, pool.map(one, tables), strict=True))
        about = {
            "from": str(endpoint),
            "where": request.where or None,
            "since": request.since or None,
            "taken_at": started_at.isoformat(),
        }
        entries = {
            name: {"directory": places[name], **about, **_entry(reads[name], parts)} for name, parts in written.items()
        }
        _move_all(staging, request.directory, list(places.values()))
        _keep_manifest(request.directory, before, entries)
    return {"directory": str(request.directory), "tables": entries}


# --- what is written ----------------------------------------------------------------------------


def _chosen(reader: Reader, request: Request, endpoint: Endpoint) -> tuple[str, ...]:
    """
    What is left out, and arrowetl's own tables, are in no snapshot of all or of a glob; by its name it is refused.

    Raises:
        UsageError: a name, or a glob, is of no table.
    """
    there = reader.names()
    names = [*sorted(there)[:_NAMES_SHOWN], *(["…"] if len(there) > _NAMES_SHOWN else [])]
    remedy = f"those of {endpoint}: {', '.join(names)}"
    if not there:
        remedy = f"there is none in {endpoint} yet: `arrowetl run` loads them there, dbt makes its own"
    chosen = chosen_tables(request.tables, there, remedy, request.exclude)
    return tuple(name for name in chosen if name in request.tables or not reader.leaves_out(name))


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
        row_batches = iter(read.row_batches)
        batch = next(row_batches, None)
        while batch is not None or not parts:
            path = directory / f"part-{len(parts):05}.parquet"
            bytes_ = rows = 0
            # Statistics and dictionaries are the defaults of who reads them; zstd is half of snappy's size here.
            with pq.ParquetWriter(path, read.schema, compression="zstd") as writer:
                while batch is not None and bytes_ < limits.snapshot_file_bytes:
                    writer.write_table(batch)
                    bytes_, rows = bytes_ + batch.nbytes, rows + batch.num_rows
                    batch = next(row_batches, None)
            found = pq.read_metadata(path).num_rows
            if found != rows:
                raise DataError(f"{path.name}: {rows:,} rows were written, {found:,} are in it", "try again")
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            parts.append(_Part(path.name, rows, path.stat().st_size, digest))
    except OSError as error:
        raise DataError(
            f"{directory.name}: cannot be written: {os.strerror(error.errno or 0)}; nothing was replaced",
            _NO_DISK_SPACE,
        ) from error
    return parts


def _entry(read: Read, parts: Sequence[_Part]) -> dict[str, Any]:
    coerced = conversion.merged(read.coercions)
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


def _place(name: str) -> str:
    """A directory's name for a table: its own, but for what would lead elsewhere, or be hidden."""
    place = "".join(f"%{ord(letter):02X}" if letter in "/\\:\0%" else letter for letter in name)
    return f"%{ord(place[0]):02X}{place[1:]}" if place.startswith(".") or place == MANIFEST else place


def _manifest(directory: Path) -> dict[str, Any]:
    """Table → its entry in the manifest that lies there; nothing where there is none."""
    try:
        return dict(json.loads((directory / MANIFEST).read_text(encoding="utf-8"))["tables"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _refuse_increment_on_full(request: Request, tables: Sequence[str], before: Mapping[str, Any]) -> None:
    """
    Raises:
        UsageError: what was written there is all of a table, and would be replaced by a part of it.
    """
    full = [name for name in tables if request.since and name in before and not before[name].get("since")]
    if full:
        raise UsageError(
            f"{request.directory}: holds all of {', '.join(full)}, which the rows since {request.since} would replace",
            "name another directory for the increment with --to",
        )


@contextmanager
def _explain_condition_errors(request: Request) -> Iterator[None]:
    """A value that is none of its column's is the condition's fault, not the server's."""
    try:
        yield
    except DatabaseQueryError as error:
        if request.where and str(error.code or "")[:2] in ("22", "42"):
            raise UsageError(
                f"--where: {error.said or error.message}", "write values as their columns have them"
            ) from error
        raise


def _refuse_others(directory: Path, place: str, before: Mapping[str, Any]) -> None:
    """
    Raises:
        ConfigurationError: the directory of a table holds something that is no snapshot.
    """
    there = directory / place
    if not there.exists():
        return
    ours = {file["name"] for entry in before.values() if entry.get("directory") == place for file in entry["files"]}
    others = [path.name for path in there.iterdir() if path.name not in ours] if there.is_dir() else [there.name]
    if others:
        raise ConfigurationError(
            f"{there}: holds what no snapshot of the manifest wrote: {others[0]}", "name another directory with --to"
        )


def _move_all(staging: Path, directory: Path, places: Sequence[str]) -> None:
    """Every table's directory into its place; where one cannot be moved, all are as they were."""
    moved: list[str] = []
    try:
        for place in places:
            if (directory / place).exists():
                (directory / place).replace(staging / f"{place}.before")
            moved.append(place)
            (staging / place).replace(directory / place)
    except OSError as error:
        for place in reversed(moved):
            with suppress(OSError):
                if (directory / place).exists():
                    (directory / place).replace(staging / f"{place}.after")
                if (staging / f"{place}.before").exists():
                    (staging / f"{place}.before").replace(directory / place)
        raise DataError(
            f"{directory}: cannot be written: {os.strerror(error.errno or 0)}; nothing was replaced",
            "see what else is at work there, or name another directory with --to",
        ) from error


def _keep_manifest(directory: Path, before: Mapping[str, Any], entries: Mapping[str, Any]) -> None:
    """With the entries of tables that an earlier snapshot wrote there."""
    kept = {name: entry for name, entry in before.items() if (directory / entry.get("directory", name)).is_dir()}
    document = {"form": FORM, "snapshot_id": secrets.token_hex(8), "tables": {**kept, **entries}}
    files.write_atomically(directory / MANIFEST, json.dumps(document, indent=2) + "\n")
