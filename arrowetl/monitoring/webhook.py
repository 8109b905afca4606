"""
Alerts → ARROWETL_WEBHOOK_URL: one POST of JSON.

A run is not worse for an alert that did not arrive; it says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from arrowetl import __version__, limits
from arrowetl.model.document import SCHEMA_VERSION

_LISTED = 5


def document(
    environment: str, clinic: str, run_id: str | None, exit_code: int | None, alerts: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """
    What is sent: alerts for a program, and a `text` for chats, which show nothing without one.

    >>> document("production", "north", None, 4, [{"message": "source: down"}])["text"]
    'arrowetl production, north: source: down'
    """
    lines = [str(alert["message"]) for alert in alerts]
    where = f"arrowetl {environment}" + (f", {clinic}" if clinic else "")
    text = f"{where}: {lines[0]}"
    if len(lines) > 1:
        more = [f"and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
        text = "\n- ".join([f"{where}: {len(lines)} alerts", *lines[:_LISTED], *more])
    about = {"run_id": run_id, "environment": environment, "clinic": clinic or None, "exit_code": exit_code}
    form = {"schema_version": SCHEMA_VERSION, "arrowetl_version": __version__}
    return {**form, "text": text, **about, "alerts": list(alerts)}


def post(url: str, document: Mapping[str, Any]) -> str | None:
    """Send a document; what went wrong, in words without the address, of which a part is a password."""
    import http.client
    import urllib.error
    import urllib.request

    class NoRedirects(urllib.request.HTTPRedirectHandler):
        """A redirect would be followed without the body, to any address: it counts as a failure."""

        def redirect_request(self, *_: Any) -> None:
            return None

    body = json.dumps(document, default=str).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - env.is_address has seen it
    try:
        with urllib.request.build_opener(NoRedirects).open(request, timeout=limits.webhook_seconds):
            return None
    except urllib.error.HTTPError as error:
        return f"it answered {error.code}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return type(getattr(error, "reason", None) or error).__name__
