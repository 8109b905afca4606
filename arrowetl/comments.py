"""
What a person wrote into tables.yml, carried over into the text that `analyze` writes anew: comments, and the very
lines of `settings:` and of each table's `overrides:`.

Pure text. Where what comes out would not be read as what was meant, the new text is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Path = tuple[str, ...]
"""The keys that lead to a place: `("tables", "patient", "batch_size")`."""
_END: Path = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """A key with its value, by the lines it has in a text."""

    path: Path
    line: int
    column: int
    end: int
    """The line after its last."""


def kept(before: str, after: str, heading: str) -> str:
    """
    The new text with a person's comments and lines in it.

    Args:
        before: the file as it is.
        after: what would be written.
        heading: how the comment begins that is arrowetl's own, up to the first blank line.
    """
    try:
        old_places, places = _places(before), {place.path: place for place in _places(after)}
    except (yaml.YAMLError, RecursionError):
        return after
    old, lines = before.splitlines(), after.splitlines()
    own = _own_lines(old, heading)
    verbatim = [place for place in old_places if place.path in places and _is_a_persons(place.path)]
    inside = {number for place in verbatim for number in range(place.line + 1, place.end)}
    whole, trailing = _comments(old, old_places, own | inside)
    replaced = {places[place.path].line: (place, places[place.path]) for place in verbatim}
    at_line = {place.line: place for place in places.values()}
    out: list[str] = []
    number = 0
    while number < len(lines):
        place = at_line.get(number)
        if place:
            out += whole.get(place.path, [])
        if number in replaced:
            was, is_ = replaced[number]
            out += _shifted(old[was.line : was.end], is_.column - was.column)
            number = is_.end
            continue
        out.append(lines[number] + (trailing.get(place.path, "") if place else ""))
        number += 1
    text = "\n".join([*out, *whole.get(_END, [])]) + "\n"
    return text if _reads_as(text) == _reads_as(after) else after


def _is_a_persons(path: Path) -> bool:
    return path == ("settings",) or (len(path) == 3 and path[0] == "tables" and path[2] == "overrides")


def _places(text: str) -> list[_Place]:
    """Keys of the document, of each table, and of each table's entry, in the order of their lines."""
    root = yaml.compose(text, Loader=_LOADER)
    lines = text.splitlines()
    return list(_walked(root, _END, lines)) if isinstance(root, yaml.MappingNode) else []


def _walked(node: yaml.MappingNode, path: Path, lines: Sequence[str]) -> Iterator[_Place]:
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or node.flow_style:
            continue
        inner = (*path, str(key.value))
        column = key.start_mark.column
        yield _Place(inner, key.start_mark.line, column, _end(key.start_mark.line, column, value, lines))
        if isinstance(value, yaml.MappingNode) and (inner == ("tables",) or (len(inner) == 2 and path == ("tables",))):
            yield from _walked(value, inner, lines)


def _end(line: int, column: int, value: yaml.Node, lines: Sequence[str]) -> int:
    """The line after a value's last: blank lines and comments that are no deeper than its key are not its own."""
    end = min(value.end_mark.line + 1, len(lines))
    while end > line + 1:
        last = lines[end - 1]
        deeper = len(last) - len(last.lstrip()) > column
        if last.strip() and (deeper or (last.lstrip().startswith("- ") and not last[:column].strip())):
            break
        end -= 1
    return end


def _own_lines(lines: Sequence[str], heading: str) -> set[int]:
    """The lines of the comment that arrowetl writes itself."""
    start = next((number for number, line in enumerate(lines) if line == heading), None)
    if start is None:
        return set()
    end = next((n for n in range(start, len(lines)) if not lines[n].startswith("#")), len(lines))
    return set(range(start, end))


def _comments(
    lines: Sequence[str], places: Sequence[_Place], left_out: set[int]
) -> tuple[Mapping[Path, list[str]], Mapping[Path, str]]:
    """Comments that stand above a key, and those that stand behind its value, by where they belong."""
    whole: dict[Path, list[str]] = {}
    trailing: dict[Path, str] = {}
    starts = {place.line: place for place in places}
    waiting: list[str] = []
    for number, line in enumerate(lines):
        if number in left_out:
            continue
        if line.lstrip().startswith("#"):
            waiting.append(line)
        elif number in starts:
            place = starts[number]
            whole[place.path], waiting = waiting, []
            if not _is_a_persons(place.path) and (comment := _behind(line)):
                trailing[place.path] = comment
    whole[_END] = waiting
    return whole, trailing


def _behind(line: str) -> str:
    """
    The comment behind a value, with the blanks before it.

    >>> _behind("    batch_size: 5000  # half"), _behind("    name: 'a # b'"), _behind("    text: a # b # c")
    ('  # half', '', ' # b # c')
    """
    for event in _scanned(line):
        rest = line[event.end_mark.column :]
        if rest.strip().startswith("#"):
            return rest
    return ""


def _scanned(line: str) -> list[Any]:
    try:
        tokens = [token for token in yaml.scan(line.strip("\r\n"), Loader=_LOADER) if token.end_mark.line == 0]
    except yaml.YAMLError:  # the first line of a longer value
        return []
    return [token for token in tokens if token.end_mark.column > token.start_mark.column][-1:]


def _shifted(lines: Sequence[str], columns: int) -> list[str]:
    if columns >= 0:
        return [" " * columns + line if line.strip() else line for line in lines]
    return [line[-columns:] if not line[:-columns].strip() else line for line in lines]


def _reads_as(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_LOADER)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
