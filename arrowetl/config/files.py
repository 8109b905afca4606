"""
Files: where they lie, and that they are replaced whole or not at all, so that nobody ever reads half of one.

What is in one that a person wrote is read by `yaml_file`.
"""

from __future__ import annotations

from pathlib import Path

from arrowetl.errors import ConfigurationError

# Where they lie, unless somebody chose.
DEFAULT_TABLES, DEFAULT_FLEET = Path("conf/tables.yml"), Path("conf/fleet.yml")


def write_atomically(path: Path, text: str) -> None:
    """
    Raises:
        OSError: it cannot be written; what was there still is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_where_asked(path: Path, text: str) -> None:
    """
    Where a person wanted it.

    Raises:
        ConfigurationError: it cannot be written there; what was there still is.
    """
    try:
        write_atomically(path, text)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}", "choose another place") from error
