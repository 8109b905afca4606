"""
How every document that programs read begins: its form, who wrote it, whether it went well, which servers it is about.

Values alone. The documents are made by what they are about (`result`, `verdict`, `status` …); `cli` prints them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from arrowetl import __version__

SCHEMA_VERSION = 1
"""Of all documents: a key is added without another, and removed or changed never within one."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose a document is."""

    environment: str | None = None
    """None where a command ended before it was known."""
    clinic: str | None = None
    """Of many; None where there is one."""
    servers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Server → host, port, database and schema; nothing of an account."""

    def as_json(self) -> dict[str, Any]:
        return {"environment": self.environment, "clinic": self.clinic, "servers": dict(self.servers)}


NOBODY = Identity()


def document(
    command: str, exit_code: int, about: Identity = NOBODY, error: Mapping[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """
    A document, as programs read it.

    Args:
        command: as a person types it, such as `fleet run`.
        more: what is in it besides.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "arrowetl_version": __version__,
        "command": command,
        "ok": exit_code == 0,
        "exit_code": exit_code,
        "error": error,
        **about.as_json(),
        **more,
    }
