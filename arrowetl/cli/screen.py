"""
What is shown to a person goes through here, to a terminal or a log: nothing of it is obeyed but what arrowetl means.

What is shown is made by `render_run` and `render_verify`; what is printable is `printable`'s to say.
"""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from arrowetl.pages.printable import printable

# For streams that cannot encode them: a C locale, a pipe on Windows.
_PLAIN = str.maketrans(
    {"✓": "ok", "✗": "x", "⚠": "!", "…": "...", "→": "->", "←": "<-", "×": "x", "█": "#", "◄": "<", "−": "-", "–": "-"}
)


class Screen(Console):
    """
    A console that no control character and no [markup] of a name changes, and whose stream can encode what it is given.
    """

    def __init__(self, **about: Any) -> None:
        super().__init__(**{"markup": False, **about})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(self._encodable(printable(segment.text)), segment.style)

    def _encodable(self, text: str) -> str:
        if text.isascii() or self.encoding.startswith("utf"):
            return text
        return text.translate(_PLAIN).encode(self.encoding, "replace").decode(self.encoding)


class _ClosedStdout(io.TextIOBase):
    """Of a program that was started without one: Python writes to nowhere then, and says nothing."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "is closed")


class _Stderr:
    """Where progress and errors go: `main` replaces it by a stream that no driver prints to."""

    screen = Screen(stderr=True)


def stderr() -> Screen:
    return _Stderr.screen


def use_streams(errors: TextIO) -> None:
    """Progress and errors go to `errors`; what stdout cannot encode is replaced, and raises nothing."""
    _Stderr.screen = Screen(file=errors)
    if sys.stdout is None:
        sys.stdout = _ClosedStdout()
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        reconfigure(errors="replace")
