"""
Alerts → ARROWETL_WEBHOOK_URL: one POST of JSON.

A run is not worse for an alert that did not arrive; it says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from arrowetl import limits


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
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - config.is_address
    try:
        with urllib.request.build_opener(NoRedirects).open(request, timeout=limits.webhook_seconds):
            return None
    except urllib.error.HTTPError as error:
        return f"it answered {error.code}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return type(getattr(error, "reason", None) or error).__name__
