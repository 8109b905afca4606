"""
What several commands have: options, where they are kept, how help shows them, and how a result is shown.

The partner of `main`, which has the commands.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import RenderableType

from arrowetl import limits
from arrowetl.cli.screen import Screen
from arrowetl.config.files import DEFAULT_FLEET, DEFAULT_TABLES, write_where_asked
from arrowetl.errors import ConfigurationError, as_arrowetl_error
from arrowetl.model.connection import DESTINATIONS, PUBLISHING
from arrowetl.model.document import NOBODY, Identity, document

F = TypeVar("F", bound=Callable[..., Any])

# The headings of a command's help, in their order.
WHICH, HOW, OUTPUT, MORE, GLOBAL = "Which tables", "How", "Output", "Options", "Settings"
_HEADINGS = (WHICH, MORE, HOW, OUTPUT, GLOBAL)


class Option(click.Option):
    """An option, and under which heading of its command's help it is."""

    def __init__(self, *arguments: Any, heading: str = MORE, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.heading = heading


class Command(click.Command):
    """A command whose help groups its options, and ends with examples."""

    def __init__(self, *arguments: Any, examples: Sequence[str] = (), **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.examples = tuple(examples)

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        by_heading: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(context):
            record = parameter.get_help_record(context)
            if record is not None and not isinstance(parameter, click.Argument):
                by_heading.setdefault(getattr(parameter, "heading", MORE), []).append(record)
        for heading in _HEADINGS:
            if heading in by_heading:
                with formatter.section(heading):
                    formatter.write_dl(by_heading[heading])

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{example}\n")


class CommandGroup(click.Group):
    """A group of such commands, which its help lists in the order of their use, each in a full sentence."""

    command_class = Command

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(_WHOLE)) for name, one in self.commands.items()])


_WHOLE = 1000
"""Characters of a command's sentence, which is never cut."""


def option(*arguments: Any, **named: Any) -> Callable[[F], F]:
    """As click's, with a heading."""
    decorator: Callable[[F], F] = click.option(*arguments, cls=Option, **named)
    return decorator


def global_options() -> dict[str, Any]:
    """The global options of this invocation, from anywhere on the line."""
    chosen: dict[str, Any] = click.get_current_context().ensure_object(dict)
    return chosen


def choose(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value is not None:
        context.ensure_object(dict)[parameter.name] = value


# Declaration, kind, and what click is given of each.
_GLOBALS: tuple[tuple[tuple[str, ...], str, dict[str, Any]], ...] = (
    (("--config", "tables_file"), "settings",
     {"type": click.Path(path_type=Path), "envvar": "ARROWETL_CONFIG", "heading": GLOBAL,
      "help": "Path to tables.yml. [default: conf/tables.yml]"}),
    (("--env-file",), "settings",
     {"type": click.Path(path_type=Path), "envvar": "ARROWETL_ENV_FILE", "heading": GLOBAL,
      "help": "File with connection settings. [default: .env_<environment> next to tables.yml]"}),
    (("--log-format",), "log",
     {"type": click.Choice(["text", "json"]), "heading": OUTPUT,
      "help": "How progress is written to stderr. [default: text]"}),
    (("-v", "--verbose"), "log",
     {"is_flag": True, "default": None, "heading": OUTPUT, "help": "Print every step and table."}),
    (("-q", "--quiet"), "log",
     {"is_flag": True, "default": None, "heading": OUTPUT, "help": "Print the result and errors only."}),
    (("--debug",), "errors",
     {"is_flag": True, "default": None, "heading": OUTPUT, "help": "Print the traceback of an error as well."}),
)  # fmt: skip


def _accepts(*shown: str) -> Callable[[F], F]:
    """The global options, which may come before or after any command; its help shows those that act on it."""

    def accepting(command: F) -> F:
        for declared, kind, about in reversed(_GLOBALS):
            hidden = kind not in (*shown, "errors")
            command = option(*declared, callback=choose, expose_value=False, hidden=hidden, **about)(command)
        return command

    return accepting


with_global_options = _accepts("settings", "log")
"""Of commands that read settings and take a while."""
with_settings = _accepts("settings")
"""Of commands that read settings and answer at once."""
with_log_options = _accepts("log")
"""Of commands that take a while, and need no settings."""
without_options = _accepts()


def split_names(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip() for value in values for name in value.split(",") if name.strip())


def json_too(context: click.Context, parameter: click.Parameter, value: bool) -> bool:
    # A failure is then printed as JSON as well.
    context.ensure_object(dict).update(json=value, command=path_of(context))
    return value


def names_of_tables(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """For a shell that completes words: the tables of tables.yml that begin so, after the last comma."""
    return _names_in(context.ensure_object(dict).get("tables_file") or DEFAULT_TABLES, "tables", incomplete)


def names_of_clinics(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The same of the clinics of fleet.yml."""
    return _names_in(context.ensure_object(dict).get("fleet_file") or DEFAULT_FLEET, "clinics", incomplete)


def _names_in(path: Path, part: str, incomplete: str) -> list[str]:
    from arrowetl.config.yaml_file import load_yaml

    before, comma, last = incomplete.rpartition(",")
    with suppress(ConfigurationError, KeyError, TypeError):
        return [f"{before}{comma}{name}" for name in load_yaml(path, "")[part] if name.startswith(last)]
    return []


_table_option = option(
    "--table", "tables", multiple=True, callback=split_names, metavar="T", heading=WHICH,
    shell_complete=names_of_tables, help="The same as TABLE. Repeat it or use commas.",
)  # fmt: skip


def choosing_tables(command: F) -> F:
    """Tables by position, by `--table`, or both: names, or globs such as 'claim*'."""

    @click.argument("by_position", nargs=-1, metavar="[TABLE]...", shell_complete=names_of_tables)
    @_table_option
    @functools.wraps(command)
    def chosen(by_position: tuple[str, ...], tables: tuple[str, ...], **named: Any) -> Any:
        return command(tables=(*by_position, *tables), **named)

    return chosen  # type: ignore[return-value]


all_option = option("--all", is_flag=True, heading=WHICH, help="All tables that are not excluded.")


exclude_option = option(
    "--exclude", multiple=True, callback=split_names, metavar="T", heading=WHICH, shell_complete=names_of_tables,
    help="Leave these out: names or globs.",
)  # fmt: skip


workers_option = option(
    "--max-workers", type=int, default=limits.workers_default, show_default=True, heading=HOW, metavar="N",
    help="Partitions loaded in parallel.",
)  # fmt: skip


_CLINIC = (
    option("--clinic", callback=choose, expose_value=False, metavar="C", heading=GLOBAL,
           shell_complete=names_of_clinics, help="A clinic of fleet.yml."),
    option("--fleet", "fleet_file", type=click.Path(path_type=Path), callback=choose, expose_value=False,
           heading=GLOBAL, help="Path to fleet.yml, for --clinic. [default: conf/fleet.yml]"),
)  # fmt: skip


def clinic_option(command: F) -> F:
    """One clinic of many, and the file that lists them."""
    for one in reversed(_CLINIC):
        command = one(command)
    return command


json_option = option(
    "--json", "as_json", is_flag=True, callback=json_too, heading=OUTPUT, help="Print the result as one JSON document."
)


publish_option = option(
    "--publish",
    type=click.Choice(PUBLISHING),
    default="each",
    show_default=True,
    heading=HOW,
    help="each: publish tables as they finish. together: all in one transaction; with --strict, all or nothing.",
)


def not_stdout(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    if value is not None and str(value) == "-":
        raise click.BadParameter("--report needs a file name: stdout has the result", context, parameter)
    return value


report_option = option(
    "--report",
    "report_file",
    callback=not_stdout,
    type=click.Path(path_type=Path),
    metavar="FILE",
    heading=OUTPUT,
    help="Write an HTML report as well.",
)


to_option = option(
    "--to", type=click.Choice(DESTINATIONS), heading=MORE,
    help="Targets to write. [default: both; warehouse, where no replica is configured]",
)  # fmt: skip


def servers_used(read_from: str, to: str | None) -> tuple[str, ...]:
    """Those that a run needs by what it reads and writes; none named are all that are configured."""
    if to == "warehouse" or read_from == "replica":
        return (read_from, "warehouse")
    return () if to is None else ("source", "replica", "warehouse")


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
    console = Screen(highlight=False)
    if console.is_terminal:
        console.print(what)
        return
    # A pipe has no width of its own: nothing is cut there, and no line is padded to a width.
    console = Screen(highlight=False, width=240)
    with console.capture() as captured:
        console.print(what)
    click.echo("\n".join(line.rstrip() for line in captured.get().split("\n")), nl=False)


def show_json(document: Any) -> None:
    """For a program, on stdout."""
    click.echo(json.dumps(document, indent=2, default=str))


def show_document(code: int, about: Identity = NOBODY, error: Mapping[str, Any] | None = None, **more: Any) -> None:
    """The same of what the command of this invocation has to say, with the beginning that all documents have."""
    show_json(document(command_name(), code, about, error, **more))


def command_name() -> str:
    """As a person types it, without the program's name; empty before one is known."""
    return path_of(click.get_current_context(silent=True))


def path_of(context: click.Context | None) -> str:
    """The command of a context, as a person types it, such as `fleet run`."""
    words = list[str]()
    while context is not None and context.parent is not None:
        words.insert(0, context.command.name or "")
        context = context.parent
    return " ".join(words)
