"""
The source's catalog, and a short look at each table → tables.yml: how each table is to be treated, and why.

It needs nothing but SELECT, and writes tables.yml, what the schema was beside
it, what it found, and what changed since (`changes`). What a person wrote is
carried over as it is (`comments`); `tables_file` reads what is written here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from arrowetl import changes, comments, phi, preflight, treatment, watermarks
from arrowetl.changes import Change
from arrowetl.config import Settings
from arrowetl.errors import ArrowetlError
from arrowetl.files import write_whole
from arrowetl.ledger import TRACKING, Ledger
from arrowetl.model import Table, TableSettings
from arrowetl.source import Source
from arrowetl.sql.probe import is_counted
from arrowetl.tables_file import SCHEMA_SUFFIX, TablesFile, load_yaml, read_tables, remembered
from arrowetl.treatment import Seen, seen


@dataclass(frozen=True)
class Analysis:
    """What was written, and what a person should know of it."""

    path: Path
    document: Mapping[str, Any]
    vanished: tuple[str, ...]
    changes: tuple[Change, ...] = ()
    """Since the last analysis, where its schema is known."""
    changelog: Path | None = None
    """Where they were written down; None where nothing changed."""

    @property
    def is_breaking(self) -> bool:
        return changes.are_breaking(self.changes)


def analyze(settings: Settings, output: Path | None = None) -> Analysis:
    """
    Write tables.yml from the source's catalog, and what changed since the last time under the log directory.

    Raises:
        DatabaseError: the source cannot be read.
        ConfigurationError: the file that is there is broken, so that what is in it cannot be kept.
    """
    path, database = output or settings.tables_file, settings.endpoint("source").database
    was = load_yaml(path) if path.exists() else {}
    tables = _looked_at(settings, _mapping(was.get("tables")))
    known, now = remembered(path), changes.facts((one.table for one in tables.values()), _strategies(tables))
    document, text = written_anew(tables, was, path, settings.environment, database)
    found = changes.found(known, now) if known else []
    reports = settings.log_directory / "schema_analysis" / "reports"
    moment = f"{datetime.now(UTC):%Y%m%d_%H%M%S}"
    if path.exists() and _without_time(was) != _without_time(document):
        write_whole(reports / f"{path.stem}_{moment}{path.suffix}", path.read_text(encoding="utf-8"))
    changelog = reports / f"schema_changelog_{moment}.md" if found else None
    if changelog:
        since, until = (_mapping(one.get("metadata")).get("generated_at") for one in (was, document))
        write_whole(changelog, changes.as_markdown(found, since, str(until)))
        told = json.dumps(changes.as_json(found, since, str(until)), indent=1, default=str)
        write_whole(changelog.with_suffix(".json"), told + "\n")
    write_whole(reports / "schema_analysis.json", _lines({name: one.as_json() for name, one in tables.items()}))
    write_whole(path, text)
    write_whole(path.with_suffix(SCHEMA_SUFFIX), _lines(now))
    vanished = tuple(sorted(map(str, _mapping(was.get("tables")).keys() - tables.keys())))
    return Analysis(path, document, vanished, tuple(found), changelog)


def written_anew(
    tables: Mapping[str, Seen], was: Mapping[str, Any], path: Path, environment: str, database: str
) -> tuple[dict[str, Any], str]:
    """
    tables.yml, as a document and as its text, with what a person wrote into the one that is there.

    Args:
        was: the document that is there; empty where none is.
        path: where it is.
    """
    before, choices = _mapping(was.get("tables")), was.get("settings")
    waiting = _in_quarantine(tables, before, remembered(path), _mapping(choices))
    document = treatment.document(tables, datetime.now(UTC), environment, database, before, choices, waiting)
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text = yaml.dump(document, Dumper=dumper, sort_keys=False, allow_unicode=True, width=120)
    text = f"{treatment.heading()}\n{text}"
    return document, comments.kept(path.read_text(encoding="utf-8"), text, treatment.FIRST_LINE) if was else text


def _strategies(tables: Mapping[str, Seen]) -> dict[str, str]:
    return {name: one.strategy.name for name, one in tables.items()}


def _looked_at(settings: Settings, before: Mapping[str, Any]) -> dict[str, Seen]:
    """The source's tables, each looked at; none of our own records."""
    left_out = {name: _left_out(before.get(name)) for name in before}
    endpoint = settings.endpoint("source")
    preflight.reach(endpoint)
    with closing(Source(endpoint)) as source:
        catalog = _catalog(source)
        columns = {name: watermarks.times(table, left_out.get(name, _NONE)) for name, table in catalog.items()}
        asked = [t for name, t in catalog.items() if (t.rows or is_counted(t)) and (columns[name] or t.row_bytes)]
        found = source.probes(asked, columns)
    took = _took(settings)
    return {
        name: seen(table, found.get(name), left_out.get(name, _NONE), took.get(name)) for name, table in catalog.items()
    }


_NONE: frozenset[str] = frozenset()


def _left_out(entry: Any) -> frozenset[str]:
    """The columns of a table whose values are nobody's business."""
    columns = _mapping(_mapping(_mapping(entry).get("overrides")).get("columns"))
    return frozenset(name for name, one in columns.items() if _mapping(one).get("exclude") or _mapping(one).get("mask"))


def _took(settings: Settings) -> Mapping[str, float]:
    """Table → seconds of reading it whole, as the warehouse remembers; nothing where it does not answer."""
    warehouse = settings.endpoints.get("warehouse")
    if warehouse:
        with suppress(ArrowetlError), closing(Ledger(None, warehouse)) as book:
            preflight.reach(warehouse)
            return book.seconds_whole()
    return {}


def _catalog(source: Source) -> dict[str, Table]:
    return {name: table for name, table in source.catalog().items() if name not in TRACKING}


def _lines(document: Mapping[str, Any]) -> str:
    """As JSON, a line for each table, so that a diff shows only what changed."""
    lines = (f"{json.dumps(name)}: {json.dumps(one)}" for name, one in document.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _mapping(value: Any) -> Mapping[str, Any]:
    """What is no mapping, where one belongs, is nothing: `validate` tells it."""
    return value if isinstance(value, dict) else {}


def _in_quarantine(
    tables: Mapping[str, Seen], before: Mapping[str, Any], known: changes.Facts, choices: Mapping[str, Any]
) -> dict[str, tuple[str, ...]]:
    """Table → the columns that are to wait for a person; a first analysis finds nothing new."""
    if choices.get("new_columns") != "quarantine" or not known:
        return {}
    entries = {
        name: TableSettings({**_mapping(entry), **_mapping(_mapping(entry).get("overrides"))})
        for name, entry in before.items()
    }
    file = TablesFile({}, entries, known=known)
    return {name: waiting for name, one in tables.items() if (waiting := file.quarantined(one.table))}


def _without_time(document: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in _mapping(document.get("metadata")).items() if key != "generated_at"}
    return {**document, "metadata": metadata}


def suggested_policy(settings: Settings) -> dict[str, Any]:
    """
    What `overrides.columns` of OpenDental's personal columns could be, as tables.yml would have it; nothing is written.

    Raises:
        DatabaseError: the source cannot be read.
        ConfigurationError: the tables.yml that is there is broken.
    """
    endpoint = settings.endpoint("source")
    preflight.reach(endpoint)
    with closing(Source(endpoint)) as source:
        catalog = _catalog(source)
    decided = read_tables(settings.tables_file).tables if settings.tables_file.exists() else {}
    found = phi.suggested(catalog.values(), decided)
    return {"tables": {name: {"overrides": {"columns": columns}} for name, columns in found.items()}}
