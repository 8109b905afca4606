"""
arrowetl.yml → what a person chooses: connections, tables, defaults; or every problem at once.

Reads one file, which lies next to tables.yml and need not exist. `tables_yml` puts its choices over what `analyze`
found; `arrowetl_yml_edit` is the only place that writes it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from arrowetl.config import keys
from arrowetl.config.connections import Said
from arrowetl.config.keys import Problem
from arrowetl.config.yaml_file import load_yaml, located
from arrowetl.errors import ValidationError, did_you_mean, join_problems

NAME = "arrowetl.yml"
NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Unmatched:
    """A name, or a glob, that is of no table."""

    place: tuple[str, ...]
    """The keys that lead to it."""
    name: str
    meant: str
    """In words, what it may have been meant to be; empty where no table has a name like it."""

    @property
    def problem(self) -> Problem:
        """
        >>> str(Unmatched(("exclude",), "claims", " (did you mean claim?)").problem)
        'exclude: claims matches no table (did you mean claim?)'
        """
        return Problem(
            self.place, f"{'no such table' if self.name in self.place else f'{self.name} matches no table'}{self.meant}"
        )


def _nearest(name: str, known: Collection[str]) -> str:
    return "" if set(name) & set("*?[") else did_you_mean(name, known)


@dataclass(frozen=True)
class Choices:
    """What a person chooses, checked."""

    path: Path = Path(NAME)
    connections: Mapping[str, str] = field(default_factory=dict)
    """Server → its URL."""
    include: tuple[str, ...] = ()
    """Names and globs of the tables that are copied; all, where there is none."""
    exclude: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def leaves_out(self, table: str) -> bool:
        """Whether the globs leave a table out."""
        is_in = not self.include or any(fnmatchcase(table, glob) for glob in self.include)
        return not is_in or any(fnmatchcase(table, glob) for glob in self.exclude)

    def unmatched(self, known: Set[str]) -> list[Unmatched]:
        """The tables that are named here, by themselves or by a glob, and that are not there."""
        named = [Unmatched(("tables", name), name, _nearest(name, known - self.tables.keys())) for name in self.tables]
        for key, globs in (("include", self.include), ("exclude", self.exclude)):
            named += [Unmatched((key,), glob, _nearest(glob, known)) for glob in globs]
        return [one for one in named if not any(fnmatchcase(table, one.name) for table in known)]

    def url(self, server: str) -> Said | None:
        """A server's URL, and where it is from."""
        said = self.connections.get(server)
        return Said(said, f"{self.path}: connections.{server}") if said else None


NO_CHOICES = Choices()


def path_of(tables_file: Path) -> Path:
    """The arrowetl.yml of a tables.yml."""
    return tables_file.with_name(NAME)


def examined(tables_file: Path) -> tuple[Choices, list[str]]:
    """
    What of the arrowetl.yml next to tables.yml can be used, and what is wrong with the rest, each with its line.

    Raises:
        ConfigurationError: it is no YAML.
    """
    path = path_of(tables_file)
    if not path.exists():
        return Choices(path), []
    kept, problems = keys.sound_choices(load_yaml(path, ""))
    found = Choices(
        path=path,
        connections=kept["connections"],
        include=tuple(kept["include"]),
        exclude=tuple(kept["exclude"]),
        defaults=kept["defaults"],
        settings=kept["settings"],
        tables=kept["tables"],
    )
    return found, located(path, problems)


def read(tables_file: Path) -> Choices:
    """
    Raises:
        ConfigurationError: it is no YAML.
        ValidationError: unknown keys or impossible values; all at once.
    """
    found, problems = examined(tables_file)
    if problems:
        raise ValidationError(f"{found.path}: {join_problems(problems)}", "correct them")
    return found


def urls(tables_file: Path) -> Mapping[str, Said]:
    """
    Server → its URL in arrowetl.yml.

    Raises:
        ConfigurationError: it is no YAML.
    """
    found = examined(tables_file)[0]
    return {server: said for server in found.connections if (said := found.url(server))}
