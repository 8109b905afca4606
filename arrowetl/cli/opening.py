"""
arrowetl as the commands open it: by the options of the line, for one clinic or one of many.

The partner of `options`, where the line's options are kept.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import arrowetl
from arrowetl.cli.fleet_commands import settings_of_clinic
from arrowetl.cli.options import global_options

if TYPE_CHECKING:
    from arrowetl.api import Etl


def open_etl(*needs: str, wants: tuple[str, ...] = ()) -> AbstractContextManager[Etl]:
    """
    Args:
        needs: the servers that are going to be used; all three, where none is named.
        wants: those that will be used where there are settings of them.
    """
    if clinic := global_options().get("clinic"):
        return arrowetl.open(settings_of_clinic(clinic, needs))
    return arrowetl.open(
        tables_file=global_options().get("tables_file"),
        env_file=global_options().get("env_file"),
        needs=needs or ("source", "replica", "warehouse"),
        wants=wants,
    )
