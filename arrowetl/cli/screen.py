"""
What is shown to a person goes through here, to a terminal or a log: nothing of it is obeyed but what arrowetl means.

What is shown is made by `render_run` and `render_verify`; what is printable is `printable`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from arrowetl.pages.printable import printable


class Screen(Console):
    """A console that no control character can change."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
