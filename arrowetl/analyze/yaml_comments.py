"""
What a person wrote into tables.yml: comments, kept in the text that `analyze` rewrites; and choices, moved to
arrowetl.yml with the comments that belong to them.

Pure text. The result must parse to what was meant, or the new text is left as it is; a comment without a place
is reported.
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
    key_end: int
    """The column after the key."""
    end: int
    """The line after its last."""


def kept(before: str, after: str, headings: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """
    The new text with a person's comments in it, and the comments that are not in it.

    Args:
        before: the file as it is, without what was moved.
        after: what would be written.
        headings: how the comment may begin that is arrowetl's own, up to the first line that is none.
    """
    old = before.splitlines()
    own = _own_lines(old, headings)
    try:
        text = _merged(old, after, own) if not _has_aliases(before) else after
        text = text if _reads_as(text) == _reads_as(after) else after
    except (yaml.YAMLError, RecursionError):
        text = after
    return text, _lost(old, own, text)


def _lost(old: Sequence[str], own: set[int], *texts: str) -> tuple[str, ...]:
    """Comments of a file that are in none of some texts."""
    there = {line.strip() for text in texts for line in text.splitlines()}
    said = [line.strip() for number, line in enumerate(old) if number not in own and line.lstrip().startswith("#")]
    said += [_behind(line).strip() for line in old if not line.lstrip().startswith("#")]
    return tuple(one for one in said if one and one not in there and not any(one in line for line in there))


def moved(before: str, headings: Sequence[str]) -> tuple[str, str, tuple[str, ...]]:
    """
    A tables.yml of an earlier form without a person's choices; these as an arrowetl.yml, with the comments that belong
    to them; and the comments that are in neither. The second is empty where nobody chose anything.
    """
    wanted = _choices(_reads_as(before))
    if not wanted:
        return before, "", ()
    old = before.splitlines()
    own = _own_lines(old, headings)
    try:
        rest, text = _taken_out(old, own) if not _has_aliases(before) else ("", "")
    except (yaml.YAMLError, RecursionError):
        rest, text = "", ""
    if not text or _reads_as(text) != wanted or _choices(_reads_as(rest)):
        # Written on one line, say, or shared by an alias: the choices are kept, and their comments are reported.
        text = yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True, width=120)
        rest = "\n".join(line for number, line in enumerate(old) if number in own or line.lstrip().startswith("#"))
        return rest, text, _lost(old, own, text, rest)
    return rest, text, ()


def _choices(document: Any) -> dict[str, Any]:
    """What of a tables.yml a person chose, as arrowetl.yml has it."""
    if not isinstance(document, dict):
        return {}
    tables = document.get("tables")
    each = tables.items() if isinstance(tables, dict) else ()
    found = {name: one["overrides"] for name, one in each if isinstance(one, dict) and one.get("overrides")}
    settings = document.get("settings")
    return {**({"settings": settings} if settings else {}), **({"tables": found} if found else {})}


def _taken_out(old: Sequence[str], own: set[int]) -> tuple[str, str]:
    """The lines without those of a person's choices, and these, a level higher."""
    places = list(_places("\n".join(old) + "\n"))
    by_path = {place.path: place for place in places}
    chosen = [place for place in places if _is_a_persons(place.path)]
    inside = {number for place in chosen for number in range(place.line + 1, place.end)}
    above = _lines_above(old, places, own | inside)
    taken, settings, tables = set[int](inside), list[str](), list[str]()
    for place in chosen:
        taken.add(place.line)
        lines = old[place.line : place.end]
        if place.path == ("settings",):
            taken |= set(above[place.path])
            settings += [*(old[number] for number in above[place.path]), *lines]
            continue
        table = by_path[place.path[:2]]
        comments = [*above[table.path], *above[place.path]]
        taken |= set(comments)
        key = old[table.line][table.column : table.key_end]
        tables += [f"  {old[number].strip()}" for number in comments]
        tables += [f"  {key}{lines[0][place.key_end :]}", *_shifted(lines[1:], 2 - place.column)]
    rest = [line for number, line in enumerate(old) if number not in taken]
    return "\n".join(rest) + "\n", "\n".join([*settings, *(["tables:", *tables] if tables else [])]) + "\n"


def _lines_above(lines: Sequence[str], places: Sequence[_Place], left_out: set[int]) -> dict[Path, list[int]]:
    """Key → the lines of the comments directly above it."""
    found: dict[Path, list[int]] = {}
    starts = {place.line: place for place in places}
    waiting: list[int] = []
    for number, line in enumerate(lines):
        if number in left_out:
            waiting = []
        elif line.lstrip().startswith("#"):
            waiting.append(number)
        elif number in starts:
            found[starts[number].path], waiting = waiting, []
        elif line.strip():
            waiting = []
    return found


def _has_aliases(text: str) -> bool:
    """An alias has no lines of its own."""
    return any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_LOADER))


def _merged(old: Sequence[str], after: str, own: set[int]) -> str:
    before = "\n".join(old) + "\n"
    whole, trailing = _comments(old, list(_places(before)), own)
    at_line = {place.line: place for place in _places(after)}
    out: list[str] = []
    for number, line in enumerate(after.splitlines()):
        place = at_line.get(number)
        out += whole.get(place.path, []) if place else []
        out.append(line + (trailing.get(place.path, "") if place else ""))
    return "\n".join([*out, *whole.get(_END, [])]) + "\n"


def _is_a_persons(path: Path) -> bool:
    return path == ("settings",) or (len(path) == 3 and path[0] == "tables" and path[2] == "overrides")


def _places(text: str) -> list[_Place]:
    """Every key that has lines of its own, in their order; of what a person chose only where it begins."""
    root = yaml.compose(text, Loader=_LOADER)
    lines = text.splitlines()
    return list(_walked(root, _END, lines)) if isinstance(root, yaml.MappingNode) else []


def _walked(node: yaml.MappingNode, path: Path, lines: Sequence[str]) -> Iterator[_Place]:
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or node.flow_style:
            continue
        inner = (*path, str(key.value))
        column = key.start_mark.column
        end = _end(key.start_mark.line, column, value, lines)
        yield _Place(path=inner, line=key.start_mark.line, column=column, key_end=key.end_mark.column, end=end)
        if isinstance(value, yaml.MappingNode) and not _is_a_persons(inner):
            yield from _walked(value, inner, lines)


def _end(line: int, column: int, value: yaml.Node, lines: Sequence[str]) -> int:
    """The line after a value's last."""
    end = min(value.end_mark.line + 1, len(lines))
    if not isinstance(value, yaml.CollectionNode) or value.flow_style:
        return max(end, line + 1)
    # A block ends where the next key begins: blank lines, and comments no deeper than its key, are not its own.
    while end > line + 1:
        last = lines[end - 1]
        deeper = len(last) - len(last.lstrip()) > column
        if last.strip() and (deeper or (last.lstrip().startswith("- ") and not last[:column].strip())):
            break
        end -= 1
    return end


def _own_lines(lines: Sequence[str], headings: Sequence[str]) -> set[int]:
    """The lines of the comment that arrowetl writes itself."""
    start = next((number for number, line in enumerate(lines) if line in headings), None)
    if start is None:
        return set()
    end = next((n for n in range(start, len(lines)) if not lines[n].startswith("#")), len(lines))
    return set(range(start, end))


def _comments(
    lines: Sequence[str], places: Sequence[_Place], left_out: set[int]
) -> tuple[Mapping[Path, list[str]], Mapping[Path, str]]:
    """Comments above a key, and those after its value, by the key they belong to."""
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
            if comment := _behind(line):
                trailing[place.path] = comment
    whole[_END] = waiting
    return whole, trailing


def _behind(line: str) -> str:
    """
    The comment behind a value, with the blanks before it.

    >>> _behind("    batch_size: 5000  # half"), _behind("    name: 'a # b'"), _behind("    text: a # b # c")
    ('  # half', '', ' # b # c')
    """
    if "#" not in line:
        return ""
    for token in _scanned(line):
        rest = line[token.end_mark.column :]
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
