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
    mask_key: str,
) -> list[Path]:
    """
    Write the settings of an environment, over those that are there; and what is next to them where it is not.

    Args:
        urls: server → its URL, without a password.
        mask_key: the key of `mask: hash`.

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
    lines += [
        "",
        "# The key of `mask: hash`. Keep it: with another one, all hashes are others.",
        f"{MASK_KEY_VARIABLE}={_quoted(mask_key)}",
    ]
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
