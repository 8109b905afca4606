"""
The source's catalog, and a short look at each table → tables.yml: how each table is to be treated, and why.

It needs nothing but SELECT, and writes tables.yml, the schema next to it, what it found, and what changed since
(`schema_changelog`). What a person chose in a file of an earlier form is moved to arrowetl.yml, and comments are kept
(`yaml_comments`); `tables_yml` reads what is written here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml.error import YAMLError

from arrowetl import limits, preflight
from arrowetl.analyze import schema_changelog, tables_yml_entry, yaml_comments
from arrowetl.analyze.schema_changelog import Change
from arrowetl.analyze.tables_yml_entry import TableProfile, seen
from arrowetl.config import arrowetl_yml, arrowetl_yml_edit, legacy, schemas
from arrowetl.config.env import Settings
from arrowetl.config.files import write_atomically
from arrowetl.config.keys import persons_part, sound
from arrowetl.config.tables_yml import (
    SCHEMA_SUFFIX,
    WRITE_IT,
    TablesFile,
    generated_facts,
    read_tables,
    settings_of,
    unknown_columns,
)
from arrowetl.config.yaml_file import load_yaml, located
from arrowetl.errors import ArrowetlError, ConfigurationError, ValidationError, join_problems
from arrowetl.model.connection import RunSettings, TableSettings
from arrowetl.model.events import Event, TableDone, TablesChosen
from arrowetl.model.plan import Table
from arrowetl.model.run_options import route_label
from arrowetl.source.reader import Source
from arrowetl.source.sample_sql import is_counted
from arrowetl.state.ledger import TRACKING, Ledger
from arrowetl.types import phi


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
    notes: tuple[str, ...] = ()
    written: bool = True
    """Whether tables.yml was written: it is left as it was where nothing but the time would change."""

    @property
    def is_breaking(self) -> bool:
        return schema_changelog.are_breaking(self.changes)

    def as_json(self) -> dict[str, Any]:
        """The document `analyze --json` prints."""
        there = {name: one for name, one in self.document["tables"].items() if name not in self.vanished}
        return {
            "tables_file": str(self.path),
            "written": self.written,
            "tables": [
                {
                    "table": name,
                    "category": one["performance_category"],
                    "strategy": one["extraction_strategy"],
                    "reason": one["strategy_reason"],
                    "rows": one["estimated_rows"],
                }
                for name, one in there.items()
            ],
            "missing": list(self.vanished),
            "changes": [one.as_json() for one in self.changes],
            "changelog": self.changelog and str(self.changelog),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class ExistingTablesYml:
    """The tables.yml that is there, and what was known when it was written; empty where there is none."""

    text: str
    document: Mapping[str, Any]
    chosen: TablesFile
    """What a person chose in it."""
    known: schema_changelog.Facts
    """The schema of then."""

    @property
    def tables(self) -> Mapping[str, Any]:
        tables = self.document.get("tables")
        return tables if isinstance(tables, dict) else {}

    @property
    def written_at(self) -> str | None:
        """None of a file that no analysis wrote."""
        metadata = self.document.get("metadata")
        timestamp = metadata.get("generated_at") if isinstance(metadata, dict) else None
        return None if timestamp is None else str(timestamp)


def before(path: Path) -> ExistingTablesYml:
    """
    Raises:
        ConfigurationError: it cannot be read, or what a person chose in it cannot be meant: it would be lost, or stay
            wrong.
    """
    person = arrowetl_yml.read(path)
    if not path.exists():
        none = TablesFile({}, settings_of({"tables": {}}, person), RunSettings(**person.settings), person=person)
        return ExistingTablesYml("", {}, none, {})
    document, known = load_yaml(path, WRITE_IT), generated_facts(path)
    kept, wrong = sound(persons_part(legacy.modernized(document)[0]))
    choices = RunSettings(**{**(kept.get("settings") or {}), **person.settings})
    quarantines = choices.new_columns == "quarantine"
    # A first analysis finds nothing new.
    known_columns = (known or None) if quarantines else None
    chosen = TablesFile({}, settings_of(kept, person), choices, known_columns, person=person)
    found = ExistingTablesYml(path.read_text(encoding="utf-8"), document, chosen, known)
    problems = located(path, wrong)
    if quarantines and not known and found.written_at:
        problems.append(unknown_columns(path))
    if problems:
        raise ValidationError(
            f"{path}: {join_problems(problems)}", "correct them, and analyze again; nothing was written meanwhile"
        )
    return found


def analyze(
    settings: Settings, output: Path | None = None, on_event: Callable[[Event], None] = lambda event: None
) -> Analysis:
    """
    Write tables.yml from the source's catalog, and what changed since the last time under the log directory.

    Raises:
        DatabaseError: the source cannot be read.
        ConfigurationError: the file that is there is broken, so that what is in it cannot be kept; or none can be
            written.
    """
    path, database = output or settings.tables_file, settings.endpoint("source").database
    was = before(path)
    tables, notes = _looked_at(settings, was, on_event)
    now = schema_changelog.facts((one.table for one in tables.values()), _strategies(tables))
    waiting = _in_quarantine(tables, was)
    document, text, lost, choices = rewritten(tables, was, settings.environment, database, waiting)
    found = schema_changelog.found(was.known, now, _left_out_now(tables, was, waiting)) if was.known else []
    reports = settings.log_directory / "schema_analysis" / "reports"
    timestamp = f"{datetime.now(UTC):%Y%m%d_%H%M%S}"
    changelog = reports / f"schema_changelog_{timestamp}.md" if found else None
    written = _without_time(was.text) != _without_time(text)
    try:
        if was.text and written:
            write_atomically(reports / f"{path.stem}_{timestamp}{path.suffix}", was.text)
        if changelog:
            until = document["metadata"]["generated_at"]
            write_atomically(changelog, schema_changelog.as_markdown(found, was.written_at, until))
            changelog_document = schema_changelog.as_json(found, was.written_at, until)
            write_atomically(changelog.with_suffix(".json"), json.dumps(changelog_document, indent=1) + "\n")
            write_atomically(changelog.with_suffix(".html"), _page(changelog_document))
        write_atomically(
            reports / "schema_analysis.json", _lines({name: one.as_json() for name, one in tables.items()})
        )
        # First: a choice that is in both files is the same in both.
        notes += _moved(path, choices)
        if written:
            write_atomically(path, text)
        if written or now != was.known:
            write_atomically(path.with_suffix(SCHEMA_SUFFIX), _lines(now))
        schemas.write_next_to(path)
    except OSError as error:
        place = error.filename or reports
        raise ConfigurationError(
            f"{place}: cannot be written: {error.strerror}", "ARROWETL_LOG_DIR chooses another place for the reports"
        ) from error
    if lost:
        notes.append(f"comments that found no place: {', '.join(lost)}; the file as it was is in {reports}")
    if was.written_at and not was.known:
        notes.append(f"{path.with_suffix(SCHEMA_SUFFIX)} was not there: what changed since then is not known")
    vanished = tuple(sorted(was.tables.keys() - tables.keys()))
    return Analysis(
        path=path,
        document=document,
        vanished=vanished,
        changes=tuple(found),
        changelog=changelog,
        notes=tuple(notes),
        written=written,
    )


def _moved(path: Path, choices: str) -> list[str]:
    """
    Put into arrowetl.yml what a tables.yml of an earlier form has of a person's choices; say so.

    Raises:
        ConfigurationError: arrowetl.yml cannot be rewritten; neither file was.
    """
    if not choices:
        return []
    place = arrowetl_yml.path_of(path)
    before = place.read_text(encoding="utf-8") if place.exists() else ""
    try:
        text, both = arrowetl_yml_edit.with_moved(before, choices)
    except YAMLError as error:
        raise ConfigurationError(
            f"{place}: cannot be rewritten: {type(error).__name__}", "move what you chose in tables.yml there yourself"
        ) from error
    write_atomically(place, text)
    words = f"what you chose in {path.name} was moved to {place}, with its comments"
    return [words, *([f"{place} already says otherwise, and holds: {', '.join(both)}"] if both else [])]


def _page(changelog: Mapping[str, Any]) -> str:
    # Jinja takes a tenth of a second to import, and most runs change nothing.
    from arrowetl.pages import render

    return render.changelog_page(changelog)


def rewritten(
    tables: Mapping[str, TableProfile], was: ExistingTablesYml, environment: str, database: str, waiting: Waiting
) -> tuple[dict[str, Any], str, tuple[str, ...], str]:
    """
    tables.yml, as a document and as its text, with a person's comments; comments that found no place in it; and what a
    person chose in the file that is there, as arrowetl.yml has it.
    """
    document = tables_yml_entry.document(tables, datetime.now(UTC), environment, database, was.tables, waiting)
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text = yaml.dump(document, Dumper=dumper, sort_keys=False, allow_unicode=True, width=120)
    text = f"{tables_yml_entry.heading()}\n{text}"
    if not was.text:
        return document, text, (), ""
    rest, choices, lost = yaml_comments.moved(was.text, tables_yml_entry.HEADINGS)
    text, more = yaml_comments.kept(rest, text, tables_yml_entry.HEADINGS)
    return document, text, (*lost, *more), choices


Waiting = Mapping[str, tuple[str, ...]]
"""Table → the columns that are to wait for a person."""


def _in_quarantine(tables: Mapping[str, TableProfile], was: ExistingTablesYml) -> Waiting:
    return {name: waiting for name, one in tables.items() if (waiting := was.chosen.quarantined(one.table))}


def _left_out_now(
    tables: Mapping[str, TableProfile], was: ExistingTablesYml, waiting: Waiting
) -> schema_changelog.LeftOut:
    """What the next run will not load, and why, in words."""
    found = dict[tuple[str, str | None], str]()
    for name, one in tables.items():
        chosen = was.chosen.of(name)
        columns = dict.fromkeys(chosen.excluded_columns(), "left out, as arrowetl.yml says")
        columns |= dict.fromkeys(waiting.get(name, ()), "left out until you choose of it (`new_columns: quarantine`)")
        found |= {(name, column): words for column, words in columns.items()}
        if chosen.excluded:
            found[name, None] = "left out, as arrowetl.yml says"
        elif columns.keys() >= {column.name for column in one.table.columns}:
            found[name, None] = columns[one.table.columns[0].name] if columns else "nothing"
    return found


def _strategies(tables: Mapping[str, TableProfile]) -> dict[str, str]:
    return {name: one.strategy.name for name, one in tables.items()}


def _looked_at(
    settings: Settings, was: ExistingTablesYml, on_event: Callable[[Event], None]
) -> tuple[dict[str, TableProfile], list[str]]:
    """The source's tables, each looked at, without our own records; and notes."""
    endpoint = settings.endpoint("source")
    preflight.reach(endpoint)
    with closing(Source(endpoint)) as source:
        catalog = _catalog(source)
    left_out = {name: frozenset(_personal(was.chosen.of(name))) for name in catalog}
    with closing(Source(endpoint, RunSettings(statement_seconds=limits.probe_seconds))) as source:
        asked = [table for table in catalog.values() if table.rows or is_counted(table)]
        on_event(TablesChosen(len(asked)))
        found = source.probes(asked, left_out, lambda name: on_event(TableDone(name)))
    took, notes = _took(settings)
    return {
        name: seen(table, found.get(name), left_out[name], (took or {}).get(name), took is not None)
        for name, table in catalog.items()
    }, notes


def _personal(chosen: TableSettings) -> set[str]:
    """The columns of a table whose values are not looked at."""
    return {*chosen.excluded_columns(), *chosen.masks()}


def _took(settings: Settings) -> tuple[Mapping[str, float] | None, list[str]]:
    """Table → seconds of reading it in full, as the warehouse remembers; None, with a note, if it is down."""
    warehouse = settings.endpoints.get("warehouse")
    if warehouse is None:
        return None, []
    try:
        preflight.reach(warehouse)
        with closing(Ledger(None, warehouse)) as ledger:
            return ledger.full_load_seconds(route_label()), []
    except ArrowetlError as error:
        return None, [f"estimated times are kept as before: {error.message}"]


def _catalog(source: Source) -> dict[str, Table]:
    return {name: table for name, table in source.catalog().items() if name not in TRACKING}


def _lines(document: Mapping[str, Any]) -> str:
    """As JSON, a line for each table, so that a diff shows only what changed."""
    lines = (f"{json.dumps(name)}: {json.dumps(one)}" for name, one in document.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _without_time(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("  generated_at:")]


def suggested_policy(settings: Settings) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """
    What `columns` of OpenDental's personal columns could be, as arrowetl.yml would have it, and table → other
    columns that may be personal by their names; nothing is written.

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
    suggested = {"tables": {name: {"columns": columns} for name, columns in found.items()}}
    return suggested, phi.doubtful(catalog.values(), decided)
