"""
The command line: parse the words, call the API, show the result.

It knows no SQL and no server; every command is a method of `api.Etl`. What is
shown is made by `render_run` and `render_verify`. stdout has the result, stderr everything else.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich.console import Console

import arrowetl
from arrowetl import drivers, lazy, limits
from arrowetl.cli.export_commands import dbt_sources, snapshot, write_report
from arrowetl.cli.export_commands import report as report_command
from arrowetl.cli.fleet_commands import fleet
from arrowetl.cli.opening import open_etl
from arrowetl.cli.options import (
    all_option,
    clinic_option,
    global_options,
    json_option,
    names_of_tables,
    publish_option,
    report_option,
    servers_used,
    show,
    show_json,
    table_option,
    with_global_options,
    write_file,
)
from arrowetl.cli.sandbox_commands import demo_of_sandbox, sandbox
from arrowetl.cli.screen import Screen
from arrowetl.config import env
from arrowetl.config.files import DEFAULT_TABLES
from arrowetl.errors import ArrowetlError, EnvironmentError, Interrupted, UsageError, indented
from arrowetl.model.connection import CATEGORIES, DESTINATIONS, EXECUTORS
from arrowetl.pages.printable import printable, printable_name
from arrowetl.workers import memory

if TYPE_CHECKING:
    from arrowetl.cli import progress, render_run, render_verify
else:
    progress, render_run, render_verify = (
        lazy.module(f"arrowetl.cli.{name}") for name in ("progress", "render_run", "render_verify")
    )


class Commands(click.Group):
    """The commands in the order of a first day, and one place where errors become exit codes."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)

    def main(self, *arguments: Any, **named: Any) -> Any:
        # As click does by itself, and for a program that asked for JSON with a document.
        try:
            return super().main(*arguments, **{**named, "standalone_mode": False})
        except click.exceptions.Exit as end:
            sys.exit(end.exit_code)
        except click.ClickException as problem:
            problem.show()
            if "--json" in (named.get("args") or (arguments[0] if arguments else None) or sys.argv):
                usage_error = UsageError(problem.format_message(), "--help, also after a command, lists the options")
                show_json(render_run.error_json(usage_error))
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


_stderr: Console = Screen(stderr=True)


def _fail(context: click.Context, problem: ArrowetlError) -> NoReturn:
    if context.ensure_object(dict).get("log_format") == "json":
        progress.JsonLines(_stderr, verbose=False).failed(problem)
    else:
        _stderr.print(render_run.error(problem), highlight=False, soft_wrap=True)
    if context.ensure_object(dict).get("json"):
        show_json(render_run.error_json(problem))
    sys.exit(problem.exit_code)


def _watch() -> progress.Watch:
    if global_options().get("log_format") == "json":
        return progress.JsonLines(_stderr, bool(global_options().get("verbose")))
    if _stderr.is_terminal:
        return progress.Bars(_stderr)
    return progress.Lines(_stderr, bool(global_options().get("verbose")))


def _print_version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        dependencies = ", ".join(f"{package} {version}" for package, version in drivers.versions().items())
        click.echo(f"arrowetl {arrowetl.__version__} ({dependencies})")
        context.exit()


def main() -> NoReturn:
    """The program: nothing that a driver prints reaches the terminal; a scheduler's TERM, or a HUP, is a Ctrl-C."""
    global _stderr
    _stderr = Screen(file=drivers.mute_panics())
    memory.share()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        # Also where a script's `&` had us ignore Ctrl-C; a terminal that closes is a TERM.
        if number := getattr(signal, name, None):
            signal.signal(number, signal.default_int_handler)
    try:
        commands()
    except OSError as error:
        if error.filename is not None:
            _stderr.print(f"arrowetl: {error.filename}: {error.strerror or error}", highlight=False, soft_wrap=True)
            sys.exit(1)
        # Nothing can be printed: a pipe that was closed, a disk that is full.
        _stderr.print(f"arrowetl: stdout: {error.strerror or error}", highlight=False, soft_wrap=True)
        # Nor can what is still to be written when the program ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_CANNOT_BE_SHOWN)
    sys.exit(0)


_CANNOT_BE_SHOWN = 74
"""EX_IOERR of sysexits.h."""


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
              help="Show the version and exit.")  # fmt: skip
@with_global_options
def commands() -> None:
    """
    Copy a MySQL or MariaDB database into a MySQL replica and a PostgreSQL warehouse, and prove that every row arrived.
    """


@commands.command()
@click.option("--scale", default="small", show_default=True, help="tiny, small, clinic, or a factor of the clinic.")
@click.option("--keep", is_flag=True, help="Leave the servers running, and say how to reach them.")
@with_global_options
def demo(scale: str, keep: bool) -> None:
    """Private servers, a synthetic OpenDental, analyze, run, verify."""
    sys.exit(demo_of_sandbox().demo(scale, keep, show, _watch))


commands.add_command(sandbox)


@commands.command("test-connections")
@with_global_options
def test_connections() -> None:
    """The three servers: version, settings that matter, privileges, latency."""
    with open_etl() as etl:
        found = etl.test_connections()
    show(render_run.examined(found))
    sys.exit(0 if all(one.good for one in found) else 4)


@commands.command()
@click.option("--offline", is_flag=True, help="Ask no server.")
@with_global_options
def validate(offline: bool) -> None:
    """Every problem of the environment, tables.yml and the servers at once."""
    from arrowetl.config.tables_yml import problems_of, run_wide

    tables_file = global_options().get("tables_file") or DEFAULT_TABLES
    with suppress(EnvironmentError):  # a file that cannot be read is reported below
        for name, (value, origin) in env.shown_variables(
            os.environ, tables_file, global_options().get("env_file")
        ).items():
            click.echo(f"{name} = {value} ({origin}): {env.ARROWETL_VARIABLES[name][1]}", err=True)
    for name, (value, default) in run_wide(tables_file).items():
        usage_error = f"{value}" + ("" if value == default else f" (default {default})")
        click.echo(f"settings.{name} = {usage_error}", err=True)
    try:
        with open_etl() as etl:
            problems, notes = etl.validate(offline)
    except EnvironmentError as error:
        # Without settings there is no server to ask; the file can be judged all the same.
        problems, notes = [str(error), *problems_of(tables_file)], []
    for line in (*notes, *problems):
        click.echo(printable(indented(line)))
    if problems:
        sys.exit(3)
    click.echo("no problem found")


@commands.command()
@click.option("--output", type=click.Path(path_type=Path), help="Where to write; default the file of --config.")
@click.option(
    "--fail-on", type=click.Choice(["breaking"]), help="Exit 1 where a change at the source breaks what reads raw."
)
@click.option("--suggest-phi", is_flag=True, help="Print masks for OpenDental's personal columns; write nothing.")
@with_global_options
def analyze(output: Path | None, fail_on: str | None, suggest_phi: bool) -> None:
    """Write tables.yml from the source's catalog; your overrides stay."""
    with open_etl("source", wants=("warehouse",)) as etl:
        if suggest_phi:
            click.echo(render_run.policy(*etl.suggest_phi()), nl=False)
            return
        analysis = etl.analyze(output)
    tables = {name: entry for name, entry in analysis.document["tables"].items() if name not in analysis.vanished}
    by_category = {c: sum(t["performance_category"] == c for t in tables.values()) for c in CATEGORIES}
    for note in analysis.notes:
        click.echo(printable_name(f"note: {note}"))
    words = ", ".join(f"{number} {category}" for category, number in by_category.items() if number)
    click.echo(f"{analysis.path}: {len(tables)} tables ({words})")
    if analysis.vanished:
        click.echo(printable_name(f"missing at the source: {', '.join(analysis.vanished)}"))
    show(render_run.changed(analysis.changes, analysis.changelog))
    sys.exit(int(fail_on is not None and analysis.is_breaking))


@commands.command()
@all_option
@table_option
@click.option("--category", type=click.Choice(CATEGORIES), help="Tables of that size, as tables.yml has it.")
@click.option(
    "--max-workers",
    type=int,
    default=limits.workers_default,
    show_default=True,
    help="How many partitions are loaded at a time.",
)
@click.option("--force-full", is_flag=True, help="Read every row, whatever is known of a table.")
@click.option(
    "--from",
    "read_from",
    type=click.Choice(["source", "replica"]),
    default="source",
    show_default=True,
    help="From the replica, the warehouse is filled without the source.",
)
@click.option(
    "--executor",
    metavar="|".join(EXECUTORS),
    help="Who loads partitions; default what tables.yml chooses, or thread.",
)
@click.option(
    "--to",
    type=click.Choice(DESTINATIONS),
    default="both",
    show_default=True,
    help="Which targets are written; for the warehouse alone no replica is needed.",
)
@click.option("--max-source-connections", type=int, help="Connections to the source at once, at most.")
@click.option(
    "--strict", is_flag=True, help="Exit 1 for what is only flagged, too: coercions, unsettled reads, slow tables."
)
@publish_option
@report_option
@click.option("--dry-run", is_flag=True, help="Show the plan; touch nothing.")
@clinic_option
@json_option
@with_global_options
def run(report_file: Path | None, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Load tables from the source into the replica and the warehouse."""
    if dry_run and report_file:
        raise click.UsageError("--report is of a run: leave it out, or --dry-run")
    with open_etl(*servers_used(options["read_from"], options["to"])) as etl:
        if dry_run:
            planned = etl.plan(**options)
            if as_json:
                show_json(render_run.plans_json(planned))
            else:
                show(render_run.plans(planned))
                for failure in (outcome.failure for outcome in planned.failed if outcome.failure):
                    words = f"cannot be loaded: {failure.message}\n  {failure.remedy}"
                    click.echo(printable(words), err=True)
            sys.exit(int(bool(planned.failed)))
        watch = _watch()
        try:
            summary = etl.run(on_event=watch, **options)
        finally:
            watch.close()
        if as_json:
            show_json(summary.as_json())
        else:
            show(render_run.summary(summary))
        # Last: if the page fails, the run has been reported.
        if report_file:
            write_report(report_file, etl, summary)
    sys.exit(summary.exit_code)


@commands.command()
@click.argument("table", shell_complete=names_of_tables)
@click.option(
    "--to", type=click.Choice(DESTINATIONS), default="both", show_default=True, help="Which targets are loaded."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=limits.bench_seconds,
    show_default=True,
    help="About how long it may take.",
)
@click.option("--save", is_flag=True, help="Write what was better than the default into the table's overrides.")
@report_option
@clinic_option
@json_option
@with_global_options
def bench(table: str, to: str, seconds: float, save: bool, report_file: Path | None, as_json: bool) -> None:
    """Try partition sizes and workers on the real servers; nothing that is published is touched."""
    with open_etl(*servers_used("source", to)) as etl, _stderr.status("…") as usage_error:
        found = etl.bench(table, to, seconds, save, lambda trial: usage_error.update(render_run.trial(trial)))
    if report_file:
        from arrowetl.pages import render

        write_file(report_file, render.bench_page(found.as_json()))
    if as_json:
        show_json({"exit_code": 0, **found.as_json(), "saved": save and bool(found.chosen)})
    else:
        show(render_run.benched(found, save))


@commands.command("verify")
@all_option
@table_option
@click.option("--deep", is_flag=True, help="Compare every value, and not checksums.")
@click.option("--changed", is_flag=True, help="Read only what changed since the last verify; trust it for the rest.")
@click.option("--repair", is_flag=True, help="Reload what differs, then verify it again.")
@click.option("--show-values", is_flag=True, help="Show the values that differ; else only their digests.")
@clinic_option
@json_option
@with_global_options
def verify_(
    all: bool, tables: tuple[str, ...], deep: bool, changed: bool, repair: bool, show_values: bool, as_json: bool
) -> None:
    """Compare source, replica and warehouse by checksums; say which rows and columns differ."""
    if all == bool(tables):
        raise click.UsageError("name tables with --table, or ask for --all")
    with open_etl() as etl:
        found = etl.verify(tables, deep, show_values, repair, changed)
    if as_json:
        show_json(found.as_json())
    else:
        show(render_verify.verdicts(found))
    sys.exit(found.exit_code)


@commands.command()
@table_option
@click.option("--watch", is_flag=True, help="Refresh every few seconds, until Ctrl-C.")
@click.option("--alert", is_flag=True, help="Notify the webhook of tables that failed or are overdue, or of no run.")
@click.option("--check", is_flag=True, help="Exit 1 where the last run was not good: for a monitor.")
@clinic_option
@json_option
@with_global_options
def status(tables: tuple[str, ...], watch: bool, alert: bool, check: bool, as_json: bool) -> None:
    """What is in the warehouse, as of when, from which run."""
    if watch and (as_json or alert):
        raise click.UsageError("--watch is for people: without it, ask again as often as you like")
    with open_etl("warehouse") as etl:
        if watch:
            from rich.live import Live

            with Live(render_verify.status(etl.status(tables=tables)), auto_refresh=False) as live:
                while True:
                    time.sleep(limits.watch_seconds)
                    live.update(render_verify.status(etl.status(tables=tables)), refresh=True)
        found = etl.status(alert, tables)
    if as_json:
        show_json(found.as_json())
    else:
        show(render_verify.status(found))
    for warning in found.warnings:
        _stderr.print(f"arrowetl: {warning}", highlight=False, soft_wrap=True)
    sys.exit(int(bool(found.warnings) or (check and not found.good)))


@commands.command()
@with_global_options
def types() -> None:
    """The type rules, as a table."""
    from arrowetl.types import rules

    show(render_run.types(rules.RULES))


commands.add_command(snapshot)
commands.add_command(report_command)
commands.add_command(dbt_sources)
commands.add_command(fleet)
