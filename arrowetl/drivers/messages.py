"""
A driver's exception in our words: what the four drivers share.

Nothing here lets a password or a value of a row through. Which of our errors
an exception becomes is decided next to the driver (`mysql`, `postgres`,
`adbc`, `connectorx`).
"""

from __future__ import annotations

import re

from arrowetl import limits
from arrowetl.drivers.remedies import UNREACHABLE
from arrowetl.errors import DatabaseConnectionError
from arrowetl.model.connection import Endpoint


def remedy_for(text: str | None, endpoint: Endpoint) -> str | None:
    said = text and text.format(variables=endpoint.settings, database=endpoint.database)
    # By the name that was used: a part next to a URL would be a second opinion.
    return _PARTS.sub("_URL", said) if said and endpoint.by_url else said


_PARTS = re.compile("_(?:HOST and _PORT|HOST|DB|USER|SCHEMA)")


def clean(text: str, endpoint: Endpoint) -> str:
    """A server's message on one line, shortened, without the password and without quoted values."""
    line = " ".join(text.split())
    # No server repeats a password, and none is in what we send. A short one is in half of all words: cutting it out
    # would reveal it.
    if len(endpoint.password) >= limits.password_characters_cut:
        line = line.replace(endpoint.password, "***")
    for value in _VALUES:
        line, found = value.subn(r"\1 '…'", line)
        if found:
            break
    line = re.sub(r'(syntax for type [^:]+: )".*', r'\1"…"', line)
    return line[: limits.server_message_characters]


# Names stay (they follow `for`, or precede the value), values go: up to the last place where they can end, as
# servers escape no quote in them; or up to the message's end, where it was cut off.
_BEFORE = r"(value:?|entry|[Dd]ata|string:?) "
_VALUES = tuple(
    re.compile(_BEFORE + value)
    for value in (r"'.*'(?= for key '[^']*'$| for (?:column|function)\b)", r"'.*'(?= for key | at row \d+|$)", r"'.*$")
)


def verb(doing: str) -> str:
    return "cannot connect" if doing == "connect" else f"the connection was lost during a {doing}"


def lost(endpoint: Endpoint, doing: str) -> DatabaseConnectionError:
    return DatabaseConnectionError(f"{endpoint}: {verb(doing)}", remedy_for(UNREACHABLE, endpoint))
