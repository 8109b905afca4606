"""
arrowetl.yml → what a person chooses: connections, tables, defaults; or every problem at once.

Reads one file, which lies next to tables.yml and need not exist. `tables_yml` puts its choices over what `analyze`
found; `arrowetl_yml_edit` is the only place that writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from arrowetl.config import keys
from arrowetl.config.connections import Said
from arrowetl.config.yaml_file import load_yaml, located
from arrowetl.errors import ConfigurationError, ValidationError, join_problems

NAME = "arrowetl.yml"
NOTHING: Mapping[str, Any] = {}


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
    """Server → its URL in arrowetl.yml; nothing of a file that cannot be read, which is reported when tables are."""
    try:
        found = examined(tables_file)[0]
    except ConfigurationError:
        return {}
    return {server: said for server in found.connections if (said := found.url(server))}
