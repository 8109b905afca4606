"""
The command line: parse the words, call the API, show the result.

It knows no SQL and no server; every command is a method of `api.Etl`. The commands are in the modules next to this
one, by their sections of `arrowetl --help`. stdout has the result, stderr everything else.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

import click

import arrowetl
from arrowetl import drivers, lazy
from arrowetl.cli import export_commands, help_commands, prove_commands, run_commands, setup_commands
from arrowetl.cli.fleet_commands import fleet
from arrowetl.cli.init_command import init
from arrowetl.cli.options import option, path_of, show_json, with_global_options
from arrowetl.cli.sandbox_commands import demo, sandbox
from arrowetl.cli.screen import stderr, use_streams
from arrowetl.errors import ArrowetlError, Interrupted, UsageError, traced, unexpected
from arrowetl.model.document import Identity, document
from arrowetl.workers import memory

if TYPE_CHECKING:
    from arrowetl.cli import progress, render_run
else:
    progress, render_run = lazy.module("arrowetl.cli.progress"), lazy.module("arrowetl.cli.render_run")

# The headings of the list of commands, in the order of a first day.
SECTIONS: dict[str, tuple[click.Command, ...]] = {
    "Get started": (
        demo, init, setup_commands.test_connections, setup_commands.analyze, setup_commands.validate,
    ),
    "Every day": (run_commands.run, run_commands.status, export_commands.report, run_commands.runs),
    "Prove and repair": (prove_commands.verify,),
    "More": (
        export_commands.snapshot, export_commands.dbt_sources, prove_commands.bench, help_commands.types,
        setup_commands.config, fleet, sandbox, help_commands.completion, help_commands.help_,
    ),
}  # fmt: skip
# What users of other tools type.
ALIASES = {"export": "snapshot", "tune": "bench"}
EXIT_CODES = {
    0: "all good",
    1: "a table failed or is missing at the source; --strict, --check or --fail-on has its reason",
    2: "usage",
    3: "configuration",
    4: "a server cannot be reached, or refuses",
    5: "verify found a difference",
    6: "another run is active",
    74: "the result cannot be written",
    130: "interrupted",
}


class Commands(click.Group):
    """The commands by their sections, and one place where errors become exit codes."""

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        return super().get_command(context, ALIASES.get(name, name))

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.commands))
        for heading, those in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(f"{one.name:<{width}}", one.get_short_help_str(200)) for one in those])

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), words) for code, words in EXIT_CODES.items()])
        formatter.write_paragraph()
        formatter.write_text(
            "`arrowetl help COMMAND` shows the options of a command, and examples. `export` is another name of "
            "snapshot, and `tune` of bench."
        )

    def main(self, *arguments: Any, **named: Any) -> Any:
        # As click does by itself, and for a program that asked for JSON with a document.
        try:
            return super().main(*arguments, **{**named, "standalone_mode": False})
        except click.exceptions.Exit as end:
            sys.exit(end.exit_code)
        except click.ClickException as problem:
            words = named.get("args") or (arguments[0] if arguments else None) or sys.argv
            if ("json" in words and "--log-format" in words) or "--log-format=json" in words:
                log = progress.JsonLines(stderr(), verbose=False)
                log.failed(UsageError(problem.format_message(), "--help, also after a command, lists the options"))
            else:
                problem.show()
            if "--json" in words:
                usage_error = UsageError(problem.format_message(), "--help, also after a command, lists the options")
                command = path_of(problem.ctx) if isinstance(problem, click.UsageError) else ""
                show_json(document(command, problem.exit_code, **render_run.error_json(usage_error)))
            sys.exit(problem.exit_code)
        except click.Abort:
            sys.exit(Interrupted.exit_code)

    def invoke(self, context: click.Context) -> Any:
        # Made here, so that the command's context has the same one.
        context.ensure_object(dict)
        try:
            return super().invoke(context)
        except ArrowetlError as problem:
            _fail(context, problem)
        except KeyboardInterrupt:
            _fail(context, Interrupted("interrupted"))
        except BrokenPipeError:
            # click would exit with 1, which is a failed table.
            _forget_stdout()
            sys.exit(_CANNOT_BE_SHOWN)
        except (click.ClickException, click.exceptions.Exit, click.Abort, OSError):
            raise
        except Exception as bug:
            _fail(context, unexpected("arrowetl", bug))


def _fail(context: click.Context, problem: ArrowetlError) -> NoReturn:
    options = context.ensure_object(dict)
    if options.get("log_format") == "json":
        progress.JsonLines(stderr(), verbose=False).failed(problem)
    else:
        stderr().print(render_run.error(problem), highlight=False, soft_wrap=True)
    if options.get("debug"):
        stderr().print(traced(problem), markup=False, highlight=False, soft_wrap=True)
    if options.get("json"):
        environment = os.environ.get("ETL_ENVIRONMENT", "").strip() or None
        about = options.get("identity") or Identity(environment=environment, clinic=options.get("clinic"))
        command = options.get("command", "")
        show_json(document(command, problem.exit_code, about, **render_run.error_json(problem)))
    sys.exit(problem.exit_code)


def _print_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        dependencies = ", ".join(f"{package} {version}" for package, version in drivers.versions().items())
        click.echo(f"arrowetl {arrowetl.__version__} ({dependencies})")
        context.exit()


def main() -> NoReturn:
    """The program: nothing that a driver prints reaches the terminal; a scheduler's TERM, or a HUP, is a Ctrl-C."""
    use_streams(drivers.mute_panics())
    memory.share()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        # Also where a script's `&` had us ignore Ctrl-C; a terminal that closes is a TERM.
        if number := getattr(signal, name, None):
            signal.signal(number, signal.default_int_handler)
    try:
        commands()
    except OSError as error:
        if error.filename is not None:
            stderr().print(f"arrowetl: {error.filename}: {error.strerror or error}", highlight=False, soft_wrap=True)
            sys.exit(1)
        # Nothing can be printed: a pipe that was closed, a disk that is full.
        stderr().print(f"arrowetl: stdout: {error.strerror or error}", highlight=False, soft_wrap=True)
        _forget_stdout()
        sys.exit(_CANNOT_BE_SHOWN)
    sys.exit(0)


def _forget_stdout() -> None:
    """What is still to be written when the program ends cannot be written either."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_CANNOT_BE_SHOWN = 74
"""EX_IOERR of sysexits.h."""


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@option(
    "-V", "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
    help="Print the version, and those of the drivers.",
)  # fmt: skip
@with_global_options
def commands() -> None:
    """
    Copy MySQL or MariaDB to PostgreSQL, and prove that every row arrived.
    """


for _section in SECTIONS.values():
    for _command in _section:
        commands.add_command(_command)
