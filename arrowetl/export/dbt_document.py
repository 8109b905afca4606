"""
The warehouse's tables as dbt's sources: a sources.yml, made or updated.

Pure: a document in, the same one changed. What a person wrote into it stays:
a description, a test, a tag, another threshold of freshness; and tables and
columns that no longer exist, where somebody wrote something about them, which are
reported. `dbt_sources` reads the file and writes it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from arrowetl import limits
from arrowetl.errors import DataError
from arrowetl.model.connection import TableSettings
from arrowetl.model.plan import Column, PublishedTable
from arrowetl.sql import postgres_literal, postgres_name
from arrowetl.types import mapping
from arrowetl.types.rules import RULES

Entry = MutableMapping[str, Any]
HEADING = """\
Made by `arrowetl dbt-sources`, which updates names, types, its own descriptions and loaded_at_query; all else
is written once, and what you add, change or remove stays so. For dbt 1.10 or later.
"""


@dataclass(frozen=True)
class SourceTable:
    """A table at the warehouse, and what is known of where it comes from."""

    name: str
    """At the source."""
    name_postgres: str
    published: PublishedTable
    settings: TableSettings
    columns: Mapping[str, str]
    """Column at the source → its full type there; of those that the last analysis saw."""


def updated(
    document: Entry, namespace: str, tables: Sequence[SourceTable], existing: Collection[str] = ()
) -> list[str]:
    """
    Change a sources.yml, or an empty document, so that it has the warehouse's tables.

    Args:
        existing: other tables in the schema, which arrowetl did not make.

    Returns:
        Notes on entries whose table or column no longer exists, which are kept.
    """
    document.setdefault("version", 2)
    sources = _filled(document, "sources", [])
    # The usual threshold is written once, and others at their tables.
    days = Counter(_days(table) for table in tables)
    usual = days.most_common(1)[0][0] if days else limits.time_gap_days
    ours = [one for one in sources if _is_of(one, namespace)]
    if not ours:
        ours = [{
            "name": namespace, "schema": namespace, "loader": "arrowetl",
            "description": "As the source has them, loaded by arrowetl; zero dates and NUL characters aside.",
        }]  # fmt: skip
        sources += ours
    if "freshness" not in ours[0]:
        _filled(ours[0], "config", {}).setdefault("freshness", _freshness(usual))
    remarks: list[str] = []
    wanted, known = {table.name_postgres: table for table in tables}, dict[str, Entry]()
    for source in ours:
        for entry in list(_filled(source, "tables", [])):
            if (name := entry.get("identifier", entry["name"])) in wanted:
                known[name] = entry
            elif "loaded_at_query" in (entry.get("config") or {}) and _is_ours_alone(entry):
                source["tables"].remove(entry)
            elif name not in existing:
                remarks.append(f"{entry['name']}: no table of the warehouse's schema {namespace}, and left as it is")
    for name, table in wanted.items():
        if name not in known:
            ours[0]["tables"].append({"name": name})
            known[name] = ours[0]["tables"][-1]
        remarks += _table(known[name], namespace, table, usual)
    return remarks


def _is_of(source: Mapping[str, Any], namespace: str) -> bool:
    """Whether a source is of a schema; one whose schema dbt computes is known by its name."""
    there = str(source.get("schema") or source["name"])
    return source["name"] == namespace if "{{" in there else there == namespace


def _filled(entry: Entry, key: str, empty: Any) -> Any:
    """The value of a key; nothing, where nothing was written there."""
    if entry.get(key) is None:
        entry[key] = empty
    return entry[key]


def _freshness(days: int) -> dict[str, Any]:
    """A run that did not come is worth a warning."""
    error = {"count": days, "period": "day"}
    return {"warn_after": {"count": limits.fresh_hours, "period": "hour"}, **({"error_after": error} if days else {})}


def _days(table: SourceTable) -> int:
    return int(table.settings.get("time_gap_threshold_days", limits.time_gap_days))


def _table(entry: Entry, namespace: str, table: SourceTable, usual: int) -> list[str]:
    config, key = _filled(entry, "config", {}), table.published.primary_key
    is_new = "loaded_at_query" not in config
    _describe(entry, _of_table(table))
    config["loaded_at_query"] = (
        f"SELECT _checked_at FROM {postgres_name(namespace)}.etl_load_status "
        f"WHERE table_name = {postgres_literal(table.name)}"
    )
    if is_new and _days(table) != usual and "freshness" not in entry:
        config.setdefault("freshness", _freshness(_days(table)))
    if is_new and len(key) > 1 and not _has_tests(entry):
        entry["data_tests"] = [_together(key)]
    columns, remarks = _filled(entry, "columns", []), list[str]()
    types = dict(table.published.columns)
    for column in [one for one in columns if one["name"] not in types]:
        if _is_ours_alone(column):
            columns.remove(column)
        else:
            remarks.append(f"{table.name_postgres}.{column['name']}: no column of the table, and left as it is")
    known = {column["name"]: column for column in columns}
    for name, type_ in types.items():
        column = known.get(name)
        if column is None:
            columns.append({"name": name})
            column = columns[-1]
        tests = (["unique"] if len(key) == 1 else []) + ["not_null"] if name in key else []
        # A test that was removed was removed for a reason.
        if tests and "data_type" not in column and not _has_tests(column):
            column["data_tests"] = tests
        column["data_type"] = type_
        column.setdefault("quote", True)
        _describe(column, _of_column(table, name, type_))
    return remarks


def _has_tests(entry: Mapping[str, Any]) -> bool:
    """By either of the words that dbt knows for them."""
    return "data_tests" in entry or "tests" in entry


def _together(key: Sequence[str]) -> dict[str, Any]:
    """That a key of several columns is one."""
    return {"unique": {"arguments": {"column_name": f"({', '.join(map(postgres_name, key))})"}}}


def _describe(entry: Entry, words: str) -> None:
    """Say what it is, unless a person has said it."""
    if _is_ours(entry.get("description") or ""):
        if words:
            entry["description"] = words
        else:
            entry.pop("description", None)


def _of_table(table: SourceTable) -> str:
    strategy, column = table.settings.get("extraction_strategy"), table.settings.get("primary_incremental_column")
    by = f"changes are found by {column}" if column and strategy != "full_table" else "compared in full"
    return f"`{table.name}` at the source; {by}."


def _of_column(table: SourceTable, name: str, type_: str) -> str:
    source = next((one for one in table.columns if mapping.postgres_name(one) == name), None)
    if source is None:
        return ""
    whole = table.columns[source]
    words = f"`{whole}` at the source."
    if mask := table.settings.masks().get(source):
        return f"{words} Masked: {mask}."
    note = _note(source, whole, type_)
    return f"{words} {_sentence(note)}" if note else words


def _note(name: str, whole: str, type_: str) -> str:
    """What the rule says that makes this of that; nothing where none does."""
    bare = re.match(r"\w*", whole)
    column = Column(name, bare[0] if bare else "", whole, charset="utf8mb4", precision=0)
    for asked in ({}, {name: type_}):
        try:
            (field,) = mapping.translate("", [column], asked)
        except DataError:
            continue
        if field.type_postgres == type_:
            return mapping.rule_of(field).note
    return ""


def _sentence(note: str) -> str:
    return f"{note[:1].upper()}{note[1:]}."


@cache
def _ours() -> re.Pattern[str]:
    """A description as it is made here."""
    notes = "|".join(sorted({re.escape(_sentence(rule.note)) for rule in RULES if rule.note}))
    column = rf"`[^`]+` at the source\.( ({notes}|Masked: \w+\.))?"
    table = r"`[^`]+` at the source; (changes are found by \S+|compared in full)\."
    return re.compile(rf"{column}|{table}")


def _is_ours(description: str) -> bool:
    return not description or _ours().fullmatch(description) is not None


def _is_ours_alone(entry: Mapping[str, Any]) -> bool:
    """Whether only this program wrote something about a table, or a column."""
    own = {"name", "data_type", "quote", "description", "data_tests", "config", "columns"}
    config = dict(entry.get("config") or {})
    config.pop("loaded_at_query", None)
    days = ((config.get("freshness") or {}).get("error_after") or {}).get("count", 0)
    if config.get("freshness") == _freshness(days):
        del config["freshness"]
    return (
        entry.keys() <= own
        and _is_ours(entry.get("description") or "")
        and not config
        and all(map(_is_our_test, entry.get("data_tests") or ()))
        and all(map(_is_ours_alone, entry.get("columns") or ()))
    )


def _is_our_test(test: Any) -> bool:
    if not isinstance(test, Mapping):
        return test in ("unique", "not_null")
    columns = ((test.get("unique") or {}).get("arguments") or {}).get("column_name", "")
    return test == {"unique": {"arguments": {"column_name": columns}}} and str(columns).startswith('("')
