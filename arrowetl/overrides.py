"""
Overrides written into tables.yml by arrowetl itself, where a person's own stand.

Everything else in the file, comments and order among it, stays as it is; the
file is replaced whole or not at all. `tables_file` reads it, `analyze` writes it
anew around the overrides.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import SingleQuotedScalarString

from arrowetl.errors import ConfigurationError


def record_types(path: Path, types: Mapping[str, Mapping[str, str]]) -> None:
    """
    Record the types that columns are to have at the warehouse.

    Args:
        types: table → column → PostgreSQL type.

    Raises:
        ConfigurationError: the file cannot be read or written; it is as it was.
    """
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        before = path.read_text(encoding="utf-8")
        after = _with_types(before, types)
        # Two libraries, two editions of the language: what was meant must be what is read.
        if yaml.safe_load(after) != _expected(yaml.safe_load(before), types):
            raise ConfigurationError(
                f"{path}: cannot be rewritten: anchors, or names that are no text", _by_hand(types)
            )
        unfinished.write_text(after, encoding="utf-8")
        unfinished.replace(path)
    except (OSError, YAMLError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigurationError(f"{path}: cannot be rewritten: {reason}", _by_hand(types)) from error


def _by_hand(types: Mapping[str, Mapping[str, str]]) -> str:
    wanted = "; ".join(f"{table}: {dict(columns)}" for table, columns in types.items())
    return (
        "the warehouse's tables are kept as they are, which is to be recorded there: let it be written for this run, "
        f"or add under overrides.columns, as {{type: …}}, yourself: {wanted}"
    )


def _with_types(text: str, types: Mapping[str, Mapping[str, str]]) -> str:
    # Its own style is PyYAML's, which `analyze` writes with; wide, so that no line is broken that was whole.
    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 10_000
    editor.representer.add_representer(type(None), lambda r, _: r.represent_scalar("tag:yaml.org,2002:null", "null"))
    document = editor.load(text)
    for table, columns in types.items():
        places = _below(_below(_below(_below(document, "tables"), table), "overrides"), "columns")
        for column, type_ in columns.items():
            _below(places, column)["type"] = type_
    changed = io.StringIO()
    editor.dump(document, changed)
    return changed.getvalue()


def _expected(document: Any, types: Mapping[str, Mapping[str, str]]) -> Any:
    expected = dict(document)
    for table, columns in types.items():
        place = expected
        for key in ("tables", table, "overrides", "columns"):
            # A copy: what an anchor stands for elsewhere is not meant.
            place[key] = dict(place.get(key) or {})
            place = place[key]
        for column, type_ in columns.items():
            place[column] = {**(place.get(column) or {}), "type": type_}
    return expected


def _below(mapping: Any, key: str) -> Any:
    if mapping.get(key) is None:
        # `On` and `12:30` are words to this library, and something else to the one that reads the file.
        mapping[key if _is_plain(key) else SingleQuotedScalarString(key)] = CommentedMap()
    inner = mapping[key]
    if isinstance(inner, CommentedMap) and not inner:
        # `{}` has nothing in it to look like.
        inner.fa.set_block_style()
    return inner


def _is_plain(key: str) -> bool:
    try:
        return bool(yaml.safe_load(key) == key)
    except yaml.YAMLError:
        return False
