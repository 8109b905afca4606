"""
YAML that a person wrote: every mistake is reported with its line, and aliases cannot make a file explode.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from arrowetl import limits
from arrowetl.config.keys import Problem
from arrowetl.errors import ConfigurationError


# The same safe loader, in C where PyYAML was built with it: ten times as fast over 446 tables.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A duplicate key would silently have its last value: the first may have been what keeps a column here."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._scalars: dict[tuple[str, str], Any] = {}

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        # Most of a long file's scalars are the same few, such as `false`: a third of the time it takes to be read.
        if not isinstance(node, yaml.ScalarNode):
            return super().construct_object(node, deep)
        key = (node.tag, node.value)
        if key not in self._scalars:
            self._scalars[key] = super().construct_object(node, deep)
        return self._scalars[key]

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.MarkedYAMLError(None, None, f"{key.value!r} is there twice", key.start_mark)
                seen.add((key.tag, key.value))
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


# What the library raises of values that are not what their tags say, and of nesting without end.
_NO_YAML = (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError)


def load_yaml(path: Path, missing: str) -> dict[str, Any]:
    """
    The document of a file; nothing of one that has nothing in it but comments.

    Args:
        missing: what to do where there is none.

    Raises:
        ConfigurationError: no such file, or no YAML mapping in it.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path}: no such file", missing) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from error
    except _NO_YAML as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise ConfigurationError(
            f"{path}{place}: invalid YAML: {getattr(error, 'problem', error)}",
            "correct it: nothing is done until the file can be read",
        ) from error
    document = {} if document is None else document
    if _values(document, {}) > limits.yaml_values_max:
        raise ConfigurationError(
            f"{path}: its aliases (*name) refer to each other, or to more than {limits.yaml_values_max:,} values",
            "write out what is meant",
        )
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path}: must be a mapping, such as `tables:` with names below it", missing)
    return document


def located(path: Path, problems: Sequence[Problem]) -> list[str]:
    """Problems of a file that was read, in words, each with its line, and with keys as they are written there."""
    if not problems:
        return []
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
    except (OSError, *_NO_YAML):
        return [str(problem) for problem in problems]
    return [_located(loader, root, problem) for problem in problems]


def _located(loader: _Loader, node: yaml.Node | None, problem: Problem) -> str:
    line, written = 0, list[str]()
    for key in problem.place:
        pair = _below(loader, node, key)
        if pair is None:
            written.append(str(key))
            node = None
        else:
            line, node = pair[0].start_mark.line + 1, pair[1]
            written.append(str(pair[0].value))
    words = f"{'.'.join(written)}: {problem.words}"
    return f"line {line}: {words}" if line else words


def _below(loader: _Loader, node: yaml.Node | None, wanted: Any) -> tuple[yaml.ScalarNode, yaml.Node] | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and loader.construct_object(key) == wanted:
            return key, value
    return None


def _values(value: Any, known: dict[int, float]) -> float:
    """How many values there are with every alias written out; infinitely many where one refers to itself."""
    if not isinstance(value, dict | list | set | tuple):
        return 1
    if id(value) not in known:
        known[id(value)] = float("inf")  # until it is known: what is met in itself has no end
        inner = [*value.values()] if isinstance(value, dict) else [*value]
        known[id(value)] = 1 + sum(_values(one, known) for one in inner)
    return known[id(value)]
