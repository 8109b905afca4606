"""
What several commands have: options, where they are kept, and how a result is shown.

The partner of `main`, which has the commands.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import RenderableType

from arrowetl.cli.screen import Screen
from arrowetl.config.files import DEFAULT_TABLES, write_where_asked
from arrowetl.errors import ConfigurationError, as_arrowetl_error
from arrowetl.model.connection import PUBLISHING

F = TypeVar("F", bound=Callable[..., Any])


def global_options() -> dict[str, Any]:
    """The global options of this invocation, from anywhere on the line."""
    chosen: dict[str, Any] = click.get_current_context().ensure_object(dict)
    return chosen


def choose(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value is not None:
        context.ensure_object(dict)[parameter.name] = value


def with_global_options(command: F) -> F:
    """Add the global options, which may come before or after the command."""
    for option in reversed(_GLOBALS):
        command = option(command)
    return command


_GLOBALS = (
    click.option("--config", "tables_file", type=click.Path(path_type=Path), callback=choose, expose_value=False,
                 help="tables.yml; default conf/tables.yml."),
    click.option("--env-file", type=click.Path(path_type=Path), callback=choose, expose_value=False,
                 help="Settings; default .env_<environment> next to tables.yml."),
    click.option("--log-format", type=click.Choice(["text", "json"]), callback=choose, expose_value=False,
                 help="How progress is written to stderr."),
    click.option("-v", "--verbose", is_flag=True, default=None, callback=choose, expose_value=False,
                 help="A line for every table."),
)  # fmt: skip


def split_names(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip() for value in values for name in value.split(",") if name.strip())


def json_too(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    # A failure is then printed as JSON as well.
    context.ensure_object(dict)["json"] = value
    return value


def names_of_tables(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """For a shell that completes words: the tables of tables.yml that begin so, after the last comma."""
    from arrowetl.config.yaml_file import load_yaml

    path = context.ensure_object(dict).get("tables_file") or DEFAULT_TABLES
    before, comma, last = incomplete.rpartition(",")
    with suppress(ConfigurationError, KeyError, TypeError):
        return [f"{before}{comma}{name}" for name in load_yaml(path, "")["tables"] if name.startswith(last)]
    return []


table_option = click.option(
    "--table", "tables", multiple=True, callback=split_names, metavar="T", help="Repeat it, or use commas.",
    shell_complete=names_of_tables,
)  # fmt: skip


all_option = click.option("--all", is_flag=True, help="Every table that tables.yml does not exclude.")


clinic_option = click.option(
    "--clinic", callback=choose, expose_value=False, metavar="C", help="One of those of conf/fleet.yml."
)


json_option = click.option(
    "--json", "as_json", is_flag=True, callback=json_too, help="One JSON document on stdout, and nothing else."
)


publish_option = click.option(
    "--publish",
    type=click.Choice(PUBLISHING),
    default="each",
    show_default=True,
    help="Each table when it is ready, or all in one transaction of the warehouse; none where --strict, and one fails.",
)


def not_stdout(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    if value is not None and str(value) == "-":
        raise click.BadParameter("a file, please: stdout has the result", context, parameter)
    return value


report_option = click.option(
    "--report",
    "report_file",
    callback=not_stdout,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a page of it, too.",
)


def servers_used(read_from: str, to: str) -> tuple[str, ...]:
    """Those that a run needs by what it reads and writes."""
    without_replica = to == "warehouse" or read_from == "replica"
    return (read_from, "warehouse") if without_replica else ("source", "replica", "warehouse")


def write_file(path: Path, text: str) -> Path:
    """Write a page, where one is wanted; `-` is stdout."""
    if str(path) == "-":
        click.echo(text, nl=False)
        return path
    write_where_asked(path, text)
    click.echo(path, err=True)
    return path


@contextmanager
def best_effort_report(place: Path) -> Iterator[None]:
    """Write a page when all is done: a failure is reported, and the exit code is that of the work alone."""
    try:
        yield
    except Exception as error:
        from arrowetl.cli import render_run

        problem = render_run.error(as_arrowetl_error(str(place), error))
        Screen(stderr=True).print(problem, highlight=False, soft_wrap=True)


def show(what: RenderableType) -> None:
    """For a person, on stdout."""
    # A pipe has no width of its own: nothing is cut there.
    console = Screen(highlight=False)
    if not console.is_terminal:
        console = Screen(highlight=False, width=240)
    console.print(what)


def show_json(document: Any) -> None:
    """For a program, on stdout."""
    click.echo(json.dumps(document, indent=2, default=str))
