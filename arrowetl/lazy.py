"""
Libraries that take a tenth of a second to import, and that a run without changes does not need.

A module that cannot do without one at its top names it here, and for mypy as usual:

    if TYPE_CHECKING:
        import polars as pl
    else:
        pl = lazy.module("polars")

A function that is the only user of a library imports it itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class module:  # noqa: N801 - used like a module
    """
    A module that is imported when something of it is first asked for, by whichever thread.

    >>> module("json").dumps([1])
    '[1]'
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(import_module(self._name), attribute)
        setattr(self, attribute, found)
        return found
