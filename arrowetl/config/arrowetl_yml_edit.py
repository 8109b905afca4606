"""
Choices written into arrowetl.yml by arrowetl itself, next to a person's own: by `bench --save`, by `analyze` when it
moves what an earlier form had in tables.yml, and by a run that keeps types of tables it did not make.

Everything else in the file, comments and order among it, stays as it is; the file is replaced atomically.
`arrowetl_yml` reads it.
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

HEAD = """\
# yaml-language-server: $schema=schemas/arrowetl.json
# What you choose: docs/reference/settings.md has every key. Commands add to this file only where they say so.
"""


def record_types(path: Path, types: Mapping[str, Mapping[str, str]]) -> None:
    """
    Record the types that columns are to have at the warehouse.

    Args:
        path: of arrowetl.yml, which need not exist.
        types: table → column → PostgreSQL type.

    Raises:
        ConfigurationError: the file cannot be read or written; it is as it was.
    """
    wanted = "; ".join(f"{table}: {dict(columns)}" for table, columns in types.items())
    record(
        path,
        {table: {"columns": {column: {"type": t} for column, t in cs.items()}} for table, cs in types.items()},
        "the warehouse's tables are kept as they are, which is to be recorded there: let it be written for this run, "
        f"or add below tables, with columns: and {{type: …}}, yourself: {wanted}",
    )


def record(path: Path, wanted: Mapping[str, Mapping[str, Any]], by_hand: str) -> None:
    """
    Record choices for tables, in addition to those that exist.

    Args:
        wanted: table → key → its value; mappings are filled up, all else is replaced.
        by_hand: what a person is to do where it cannot be written.

    Raises:
        ConfigurationError: the file cannot be read or written; it is as it was.
    """
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else HEAD
        after = _with(before, wanted)
        # Two libraries, two editions of the language: what was meant must be what is read.
        if yaml.safe_load(after) != _filled(yaml.safe_load(before), {"tables": wanted}):
            raise ConfigurationError(f"{path}: cannot be rewritten: anchors, or names that are no text", by_hand)
        write_atomically(path, after)
    except (OSError, YAMLError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigurationError(f"{path}: cannot be rewritten: {reason}", by_hand) from error


def with_moved(before: str, moved: str) -> tuple[str, list[str]]:
    """
    The text of an arrowetl.yml, with what another document has and it has not.

    Returns:
        It; and the keys that both have: those of `before` stay, and are named.

    Raises:
        YAMLError: one of them cannot be read.
    """
    if yaml.safe_load(before) is None:
        return before.rstrip("\n") + "\n" + moved if before.strip() else HEAD + moved, []
    editor = _editor()
    there, more = editor.load(before), editor.load(moved)
    both = _add(there, more, ())
    return _dumped(editor, there), both


def _add(there: Any, more: Any, place: tuple[str, ...]) -> list[str]:
    """Put into a mapping what another has; return the places that both have."""
    both = []
    for key, value in more.items():
        if there.get(key) is None:
            there[key] = value
            if comment := more.ca.items.get(key):
                there.ca.items[key] = comment
        elif isinstance(value, CommentedMap) and isinstance(there[key], CommentedMap):
            both += _add(there[key], value, (*place, str(key)))
        elif there[key] != value:
            both.append(".".join((*place, str(key))))
    return both


def _editor() -> YAML:
    # Wide, so that no line is broken.
    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 10_000
    editor.representer.add_representer(type(None), lambda r, _: r.represent_scalar("tag:yaml.org,2002:null", "null"))
    return editor


def _dumped(editor: YAML, document: Any) -> str:
    changed = io.StringIO()
    editor.dump(document, changed)
    return changed.getvalue()


def _with(text: str, wanted: Mapping[str, Mapping[str, Any]]) -> str:
    editor = _editor()
    document = editor.load(text)
    if document is None:
        # Comments alone are lost where there is nothing to keep them at.
        new: Any = CommentedMap()
        for table, choices in wanted.items():
            _fill(_below(_below(new, "tables"), table), choices)
        return text.rstrip("\n") + "\n" + _dumped(editor, new)
    for table, choices in wanted.items():
        _fill(_below(_below(document, "tables"), table), choices)
    return _dumped(editor, document)


def _fill(place: Any, wanted: Mapping[str, Any]) -> None:
    for key, value in wanted.items():
        if isinstance(value, Mapping):
            _fill(_below(place, key), value)
        else:
            place[key] = value


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
