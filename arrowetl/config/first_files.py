"""
The files of a first day: settings with their passwords, for their owner alone; choices; what git leaves out.

It writes what `init_command` found to work, and asks nobody.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from arrowetl.config import arrowetl_yml
from arrowetl.config.arrowetl_yml_edit import HEAD
from arrowetl.config.connections import OURS
from arrowetl.errors import ConfigurationError
from arrowetl.model.connection import MASK_KEY_VARIABLE

_GITIGNORE = "# Passwords are nobody else's.\n.env*\n"
_CHOICES = """\
# exclude: [securityloghash, '*_bak*']        # tables to leave out: names and globs; include: copies only those
# settings: {business_hours: 07:00-18:00}     # in which nothing is begun
# tables:
#   patient: {columns: {SSN: {exclude: true}, LName: {mask: hash}}}
"""


def env_file(directory: Path, environment: str) -> Path:
    return directory / f".env_{environment}"


def write(
    directory: Path,
    environment: str,
    urls: Mapping[str, str],
    passwords: Mapping[str, str],
    others: Mapping[str, str],
) -> list[Path]:
    """
    Write the settings of an environment, over those that are there; and what is next to them where it is not.

    Args:
        urls: server → its URL, without a password.
        others: the variables of anything else, among them the key of masks.

    Returns:
        What was written.

    Raises:
        ConfigurationError: the files cannot be written.
    """
    path = env_file(directory, environment)
    lines = [f"# Settings of the {environment} environment. It has passwords: keep it out of git, and from others."]
    for server, url in urls.items():
        lines += ["", f"{OURS[server]}_URL={_quoted(url)}"]
        if server in passwords:
            lines.append(f"{OURS[server]}_PASSWORD={_quoted(passwords[server])}")
    if MASK_KEY_VARIABLE in others:
        lines += ["", "# The key of `mask: hash`. Keep it: with another one, all hashes are others."]
    lines += [f"{name}={_quoted(value)}" for name, value in others.items()]
    choices = directory / arrowetl_yml.NAME
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _write_private(path, "\n".join(lines) + "\n")
        written = [path]
        for place, text in ((choices, HEAD + _CHOICES), (directory / ".gitignore", _GITIGNORE)):
            if not place.exists():
                place.write_text(text, encoding="utf-8")
                written.append(place)
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename}: cannot be written: {error.strerror}", "choose another --directory"
        ) from error
    return written


def require_writable(directory: Path) -> None:
    """
    Before anybody is asked for anything.

    Raises:
        ConfigurationError: it cannot be written to.
    """
    there = next(place for place in (directory, *directory.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ConfigurationError(f"{there}: nothing can be written there", "choose another --directory")


def _write_private(path: Path, text: str) -> None:
    """Readable by its owner alone from the first byte on."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    unfinished.replace(path)


def _quoted(value: str) -> str:
    r"""
    As dotenv reads it back.

    >>> _quoted("it's"), _quoted("a\\b")
    ("'it\\'s'", "'a\\\\b'")
    """
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
