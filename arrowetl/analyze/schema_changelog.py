"""
The schema at the last analysis and now → what changed, and what that means for the next run and for readers of `raw`.

Pure: `analyze_tables` keeps what `facts` gives next to tables.yml, and writes what is found here as Markdown and JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from arrowetl.errors import DataError
from arrowetl.model.plan import Column, Table
from arrowetl.pages.printable import printable_name
from arrowetl.types import mapping, postgres_types

SEVERITIES = ("breaking", "warning", "info")

Facts = Mapping[str, Mapping[str, Any]]
"""Table → engine, key, strategy, and column → its type at the source and at the warehouse."""

LeftOut = Mapping[tuple[str, str | None], str]
"""Table and column, or the full table → in words, why the next run will not load it."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is another one than it was."""

    kind: str
    severity: str
    """One of `SEVERITIES`."""
    table: str
    column: str | None = None
    before: str | None = None
    after: str | None = None
    next_run: str = ""
    """What the next run will do about it."""
    readers: str = ""
    """What it means for those who read the warehouse."""

    @property
    def place(self) -> str:
        return f"{self.table}.{self.column}" if self.column else self.table

    @property
    def what(self) -> str:
        return f"{self.place}: {self.kind.replace('_', ' ')}"

    @property
    def words(self) -> str:
        return self.what + (f": {self.before} → {self.after}" if self.before and self.after else "")

    def as_json(self) -> dict[str, str | None]:
        return {
            "kind": self.kind, "severity": self.severity, "table": self.table, "column": self.column,
            "before": self.before, "after": self.after, "next_run": self.next_run, "readers": self.readers,
        }  # fmt: skip


def facts(tables: Iterable[Table], strategies: Mapping[str, str]) -> Facts:
    """What is remembered of a schema."""
    return {
        table.name: {
            "engine": table.engine,
            "key": list(table.primary_key),
            "strategy": strategies.get(table.name, ""),
            "columns": {
                column.name: [column.column_type, _at_warehouse(table.name, column)] for column in table.columns
            },
        }
        for table in sorted(tables, key=lambda table: table.name)
    }


def _at_warehouse(table: str, column: Column) -> str | None:
    try:
        (field,) = mapping.translate(table, [column], {})
    except DataError:  # no rule, which the run will report
        return None
    return field.type_postgres


def found(before: Facts, after: Facts, left_out: LeftOut | None = None) -> list[Change]:
    """Everything that changed, the gravest first; what is left out is marked as having no effect."""
    changes = [*_tables(before, after)]
    for table in sorted(before.keys() & after.keys()):
        changes += _table(table, before[table], after[table])
    changes = [_described(change, left_out or {}) for change in changes]
    return sorted(changes, key=lambda change: (SEVERITIES.index(change.severity), change.table, change.column or ""))


def _described(change: Change, left_out: LeftOut) -> Change:
    why = left_out.get((change.table, None)) or left_out.get((change.table, change.column))
    return replace(change, severity="info", next_run=why, readers="nothing: they have it not") if why else change


def _tables(before: Facts, after: Facts) -> Iterator[Change]:
    added, removed = sorted(after.keys() - before.keys()), sorted(before.keys() - after.keys())
    for name in list(removed):
        same = [other for other in added if after[other]["columns"] == before[name]["columns"]]
        if len(same) == 1:
            added.remove(same[0])
            removed.remove(name)
            yield Change(
                kind="table_renamed",
                severity="breaking",
                table=same[0],
                column=None,
                before=name,
                after=same[0],
                next_run=f"loaded in full as {same[0]}; {name} stays at both targets as it was",
                readers=f"raw.{name} is no longer filled: read raw.{same[0]}",
            )
    for name in added:
        yield Change("table_added", "info", name, next_run="loaded in full", readers=f"raw.{name} is new")
    for name in removed:
        yield Change(
            "table_removed",
            "breaking",
            name,
            next_run="left at both targets as it was",
            readers=f"raw.{name} is no longer filled, and keeps its last rows",
        )


def _table(table: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    old, new = before["columns"], after["columns"]
    for name in new.keys() - old.keys():
        yield Change(
            kind="column_added",
            severity="info",
            table=table,
            column=name,
            before=None,
            after=new[name][0],
            next_run="added at both targets, as the last one",
            readers=f"a new column, {new[name][1] or 'of no known type'}; NULL nowhere that the source has a value",
        )
    for name in old.keys() - new.keys():
        yield Change(
            kind="column_removed",
            severity="breaking",
            table=table,
            column=name,
            before=old[name][0],
            after=None,
            next_run="dropped at both targets; refused, and nothing of the table loaded, while a view names it",
            readers="views and models that name it must go without it first",
        )
    for name in old.keys() & new.keys():
        if old[name] != new[name]:
            yield _retyped(table, name, old[name], new[name])
    if before["key"] != after["key"]:
        was, is_ = (", ".join(facts["key"]) or "none" for facts in (before, after))
        yield Change(
            kind="key_changed",
            severity="breaking",
            table=table,
            column=None,
            before=was,
            after=is_,
            next_run="all rows are read; the key follows at both targets",
            readers="rows may be identified by other columns than before",
        )
    if before["engine"] != after["engine"]:
        yield Change(
            kind="engine_changed",
            severity="warning",
            table=table,
            column=None,
            before=before["engine"],
            after=after["engine"],
            next_run="whether it changed is found by another method from then on",
            readers="nothing",
        )
    if before["strategy"] != after["strategy"]:
        yield Change(
            kind="strategy_changed",
            severity="info",
            table=table,
            column=None,
            before=before["strategy"],
            after=after["strategy"],
            next_run="as the new strategy has it",
            readers="nothing",
        )


def _retyped(table: str, column: str, before: Sequence[str | None], after: Sequence[str | None]) -> Change:
    (was, raw_was), (is_, raw) = before, after
    if raw == raw_was:
        severity, readers = "info", f"nothing: it stays {raw}"
        next_run = "the replica's table is reloaded with the new type"
    elif raw and raw_was and postgres_types.widens(raw_was, raw):
        severity, readers = "warning", f"it becomes {raw} instead of {raw_was}; every value is kept"
        next_run = "altered at both targets; views that block it are saved and recreated"
    else:
        severity, readers = "breaking", f"it becomes {raw or 'of no known type'} instead of {raw_was}"
        next_run = "altered at both targets; refused while a view names it, unless `views: rebuild`"
    return Change(
        kind="column_retyped",
        severity=severity,
        table=table,
        column=column,
        before=was,
        after=is_,
        next_run=next_run,
        readers=readers,
    )


def are_breaking(changes: Sequence[Change]) -> bool:
    """Whether one of them breaks what reads the warehouse."""
    return any(change.severity == "breaking" for change in changes)


def as_json(changes: Sequence[Change], since: str | None, now: str) -> dict[str, Any]:
    return {
        "generated_at": now,
        "since": since,
        "has_changes": bool(changes),
        "has_breaking_changes": are_breaking(changes),
        "changes": [change.as_json() for change in changes],
    }


def as_markdown(changes: Sequence[Change], since: str | None, now: str) -> str:
    lines = ["# What changed at the source", "", f"Analyzed {now}; before that {since or 'at an unknown time'}."]
    for severity in SEVERITIES:
        those = [change for change in changes if change.severity == severity]
        if those:
            lines += ["", f"## {severity.capitalize()}", "", "| what | before | after | next run | readers of raw |"]
            lines += ["|---|---|---|---|---|"]
            lines += [
                f"| {_cell(change.what)} | {_cell(change.before)} | {_cell(change.after)} "
                f"| {change.next_run} | {change.readers} |"
                for change in those
            ]
    return "\n".join(lines) + "\n"


def _cell(text: str | None) -> str:
    """A text that is no more than itself in a table of Markdown, whatever a name holds."""
    return printable_name(text or "").replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
