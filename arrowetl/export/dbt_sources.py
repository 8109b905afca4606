"""
dbt's sources.yml, read and written, from the warehouse's tables.

It asks the warehouse alone, and tables.yml and the schema of the last analysis
next to it; nothing of dbt is needed here.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import SingleQuotedScalarString

from arrowetl import preflight
from arrowetl.config.arrowetl_yml_edit import is_plain
from arrowetl.config.env import Settings
from arrowetl.config.files import write_where_asked
from arrowetl.config.tables_yml import TablesFile, generated_facts, read_tables
from arrowetl.errors import ConfigurationError, UsageError
from arrowetl.export import dbt_document
from arrowetl.model.plan import PublishedTable
from arrowetl.state.ledger import Ledger
from arrowetl.types import mapping
from arrowetl.warehouse.loader import Warehouse


def dbt_sources(settings: Settings, path: Path | None) -> tuple[str, list[str]]:
    """
    A sources.yml, as text; where there is a path, the file there is updated.

    Returns:
        The text; and notes on entries of tables that no longer exist.

    Raises:
        UsageError: nothing was loaded yet.
        ConfigurationError: the file exists, and is no sources.yml; it is as it was.
        DatabaseError: the warehouse cannot be asked.
    """
    endpoint = settings.endpoint("warehouse")
    preflight.reach(endpoint)
    with closing(Ledger(None, endpoint)) as ledger:
        loaded = [row["table"] for row in ledger.tables()]
    if not loaded:
        raise UsageError(f"{endpoint}: nothing was loaded yet", "run `arrowetl run --all` first")
    with closing(Warehouse(endpoint)) as warehouse:
        published = warehouse.published()
    there = settings.tables_file.exists()
    chosen = read_tables(settings.tables_file, settings.chosen) if there else TablesFile({}, {})
    tables = list(_tables(loaded, published, chosen, settings.tables_file))
    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 10_000
    editor.indent(mapping=2, sequence=4, offset=2)
    document = _read(editor, path)
    notes = dbt_document.updated(document, endpoint.namespace, tables, published)
    said = io.StringIO()
    _quote(document)
    editor.dump(document, said)
    if path:
        write_where_asked(path, said.getvalue())
    return said.getvalue(), notes


def _quote(value: Any) -> Any:
    """Texts that dbt would take for something else, `no` and `12:30`, in quotes; what a person quoted stays."""
    if isinstance(value, dict):
        for key, one in value.items():
            value[key] = _quote(one)
    elif isinstance(value, list):
        value[:] = [_quote(one) for one in value]
    elif type(value) is str and not is_plain(value) and "\n" not in value:
        return SingleQuotedScalarString(value)
    return value


def _tables(
    loaded: Iterable[str], published: dict[str, PublishedTable], chosen: TablesFile, path: Path
) -> Iterable[dbt_document.SourceTable]:
    seen = generated_facts(path)
    for name in sorted(loaded):
        name_postgres = mapping.postgres_name(name)
        if name_postgres in published:
            columns = {column: types[0] for column, types in seen.get(name, {}).get("columns", {}).items()}
            yield dbt_document.SourceTable(
                name=name,
                name_postgres=name_postgres,
                published=published[name_postgres],
                settings=chosen.of(name),
                columns=columns,
            )


def _read(editor: YAML, path: Path | None) -> Any:
    """The existing document; a new one where there is none."""
    try:
        document = editor.load(path.read_text(encoding="utf-8")) if path and path.exists() else None
        if document is None:
            document = CommentedMap()
            document.yaml_set_start_comment(dbt_document.HEADING)
        sources = document.get("sources") or []
        tables = [table for source in sources for table in source.get("tables") or []]
        _ = [one["name"] for one in (*sources, *tables, *(c for table in tables for c in table.get("columns") or []))]
    except (OSError, ValueError, YAMLError, AttributeError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path}: no sources.yml of dbt's", "mend it, or choose another --output") from error
    return document
