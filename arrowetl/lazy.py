"""
Libraries that take a tenth of a second to import, and that a run of nothing needs nothing of.

A module that cannot do without one at its top names it here, and for mypy as usual:

    if TYPE_CHECKING:
        import polars as pl
    else:
        pl = lazy.module("polars")

Whoever needs one in one function imports it there.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class module:  # noqa: N801 - it stands for one
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
