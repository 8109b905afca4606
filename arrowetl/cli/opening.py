"""
arrowetl as the commands open it, by the options of the line; and what shows the progress of what they do.

The partner of `options`, where the line's options are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import arrowetl
from arrowetl import lazy
from arrowetl.cli.fleet_commands import settings_of_clinic
from arrowetl.cli.options import global_options
from arrowetl.cli.screen import stderr

if TYPE_CHECKING:
    from arrowetl.api import Etl
    from arrowetl.cli import progress
else:
    progress = lazy.module("arrowetl.cli.progress")


@contextmanager
def open_etl(*needs: str, wants: tuple[str, ...] = ()) -> Iterator[Etl]:
    """
    Args:
        needs: the servers that are going to be used; all that are configured, where none is named.
        wants: those that will be used where there are settings of them.
    """
    options = global_options()
    if clinic := options.get("clinic"):
        opened = arrowetl.open(settings_of_clinic(clinic, needs))
    else:
        opened = arrowetl.open(
            tables_file=options.get("tables_file"), env_file=options.get("env_file"), needs=needs, wants=wants
        )
    with opened as etl:
        # Whose a document is that says why the command failed.
        options["identity"] = etl.settings.identity
        yield etl


@contextmanager
def watching(unit: str = "tables") -> Iterator[progress.Watch]:
    """
    What shows the events of the block, as the line's options ask for it.

    Args:
        unit: what is counted.
    """
    options, screen = global_options(), stderr()
    verbose = bool(options.get("verbose"))
    watch: progress.Watch
    if options.get("log_format") == "json":
        watch = progress.JsonLines(screen, verbose)
    elif options.get("quiet"):
        watch = progress.Silent()
    elif screen.is_terminal:
        watch = progress.Bars(screen, verbose, unit)
    else:
        watch = progress.Lines(screen, verbose)
    try:
        yield watch
    finally:
        watch.close()
