"""
Files: where they are, and that they are replaced atomically, so that no reader ever sees half of one.

`yaml_file` reads those that a person wrote.
"""

from __future__ import annotations

from pathlib import Path

from arrowetl.errors import ConfigurationError

# Where they are by default.
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
