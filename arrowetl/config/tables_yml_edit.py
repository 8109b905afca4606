"""
Overrides written into tables.yml by arrowetl itself, next to a person's own.

Everything else in the file, comments and order among it, stays as it is; the
file is replaced atomically. `tables_yml` reads it, `analyze` rewrites it
around the overrides.
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

from arrowetl.config.files import write_atomically
from arrowetl.errors import ConfigurationError


def record_types(path: Path, types: Mapping[str, Mapping[str, str]]) -> None:
    """
    Record the types that columns are to have at the warehouse.

    Args:
        types: table → column → PostgreSQL type.

    Raises:
        ConfigurationError: the file cannot be read or written; it is as it was.
    """
    wanted = "; ".join(f"{table}: {dict(columns)}" for table, columns in types.items())
    record(
        path,
        {table: {"columns": {column: {"type": t} for column, t in cs.items()}} for table, cs in types.items()},
        "the warehouse's tables are kept as they are, which is to be recorded there: let it be written for this run, "
        f"or add under overrides.columns, as {{type: …}}, yourself: {wanted}",
    )


def record(path: Path, wanted: Mapping[str, Mapping[str, Any]], by_hand: str) -> None:
    """
    Record overrides, in addition to those that exist.

    Args:
        wanted: table → override → its value; mappings are filled up, all else is replaced.
        by_hand: what a person is to do where it cannot be written.

    Raises:
        ConfigurationError: the file cannot be read or written; it is as it was.
    """
    try:
        before = path.read_text(encoding="utf-8")
        after = _with(before, wanted)
        # Two libraries, two editions of the language: what was meant must be what is read.
        if yaml.safe_load(after) != _expected(yaml.safe_load(before), wanted):
            raise ConfigurationError(f"{path}: cannot be rewritten: anchors, or names that are no text", by_hand)
        write_atomically(path, after)
    except (OSError, YAMLError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigurationError(f"{path}: cannot be rewritten: {reason}", by_hand) from error


def _with(text: str, wanted: Mapping[str, Mapping[str, Any]]) -> str:
    # The style is PyYAML's, which `analyze` writes with; wide, so that no line is broken.
    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 10_000
    editor.representer.add_representer(type(None), lambda r, _: r.represent_scalar("tag:yaml.org,2002:null", "null"))
    document = editor.load(text)
    for table, overrides in wanted.items():
        _fill(_below(_below(_below(document, "tables"), table), "overrides"), overrides)
    changed = io.StringIO()
    editor.dump(document, changed)
    return changed.getvalue()


def _fill(place: Any, wanted: Mapping[str, Any]) -> None:
    for key, value in wanted.items():
        if isinstance(value, Mapping):
            _fill(_below(place, key), value)
        else:
            place[key] = value


def _expected(document: Any, wanted: Mapping[str, Mapping[str, Any]]) -> Any:
    return _filled(document, {"tables": {table: {"overrides": overrides} for table, overrides in wanted.items()}})


def _filled(place: Any, wanted: Mapping[str, Any]) -> Any:
    # Copies: what an anchor refers to elsewhere is not meant.
    place = dict(place or {})
    for key, value in wanted.items():
        place[key] = _filled(place.get(key), value) if isinstance(value, Mapping) else value
    return place


def _below(mapping: Any, key: str) -> Any:
    if mapping.get(key) is None:
        # `On` and `12:30` are words to this library, and something else to the one that reads the file.
        mapping[key if is_plain(key) else SingleQuotedScalarString(key)] = CommentedMap()
    inner = mapping[key]
    if isinstance(inner, CommentedMap) and not inner:
        # `{}` has nothing in it to look like.
        inner.fa.set_block_style()
    return inner


def is_plain(text: str) -> bool:
    """Whether a text needs no quotes to be read as one, whichever edition of the language is read."""
    try:
        return bool(yaml.safe_load(text) == text)
    except yaml.YAMLError:
        return False
