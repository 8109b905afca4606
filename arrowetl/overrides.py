"""
Overrides written into tables.yml by arrowetl itself, where a person's own stand.

Everything else in the file, comments and order among it, stays as it is; the
file is replaced whole or not at all. `config` reads it, `analyze` writes it
anew around the overrides.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from arrowetl.errors import ConfigurationError


def record_types(path: Path, types: Mapping[str, Mapping[str, str]]) -> None:
    """
    Record the types that columns are to have at the warehouse.

    Args:
        types: table → column → PostgreSQL type.

    Raises:
        ConfigurationError: the file cannot be read or written; it is as it was.
    """
    # Its own style is PyYAML's, which `analyze` writes with; wide, so that no line is broken that was whole.
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10_000
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        document = yaml.load(path.read_text(encoding="utf-8"))
        for table, columns in types.items():
            places = _below(_below(_below(_below(document, "tables"), table), "overrides"), "columns")
            for column, type_ in columns.items():
                _below(places, column)["type"] = type_
        text = io.StringIO()
        yaml.dump(document, text)
        unfinished.write_text(text.getvalue(), encoding="utf-8")
        unfinished.replace(path)
    except (OSError, YAMLError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        wanted = "; ".join(f"{table}: {dict(columns)}" for table, columns in types.items())
        raise ConfigurationError(
            f"{path}: cannot be rewritten: {reason}",
            "the warehouse's tables are kept as they are, which is to be recorded there: let it be written for this "
            f"run, or add under overrides.columns, as {{type: …}}, yourself: {wanted}",
        ) from error


def _below(mapping: Any, key: str) -> Any:
    if mapping.get(key) is None:
        mapping[key] = CommentedMap()
    inner = mapping[key]
    if isinstance(inner, CommentedMap) and not inner:
        # `{}` has nothing in it to look like.
        inner.fa.set_block_style()
    return inner
