"""
The commands of every day: `arrowetl run`, `status`, `runs`.

The partner of `main`, which lists all commands. What is shown is made by `render_run` and `render_verify`.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arrowetl import lazy, limits
from arrowetl.cli.export_commands import reporting_what_prevents_it, write_report
from arrowetl.cli.opening import open_etl, watching
from arrowetl.cli.options import (
    HOW,
    OUTPUT,
    WHICH,
    Command,
    all_option,
    choosing_tables,
    clinic_option,
    exclude_option,
    json_option,
    option,
    publish_option,
    report_option,
    servers_used,
    show,
    show_document,
    show_json,
    split_names,
    to_option,
    with_global_options,
    with_settings,
    workers_option,
)
from arrowetl.cli.screen import stderr
from arrowetl.model.connection import CATEGORIES, EXECUTORS
from arrowetl.pages.printable import printable

if TYPE_CHECKING:
    from arrowetl.cli import render_run, render_verify
    from arrowetl.model import run_options
else:
    run_options = lazy.module("arrowetl.model.run_options")
    render_run, render_verify = (lazy.module(f"arrowetl.cli.{name}") for name in ("render_run", "render_verify"))


@click.command(
    cls=Command,
    examples=[
        "arrowetl run --all --dry-run",
        "arrowetl run --all --max-workers 8",
        "arrowetl run patient 'pay*' --exclude appointment",
        "arrowetl run --all --publish together --strict --report run.html",
    ],
)
@choosing_tables
@all_option
@option("--category", multiple=True, callback=split_names, metavar="|".join(CATEGORIES), heading=WHICH,
        help="Tables of that size: large from 1M rows, medium from 100k, small from 10k. Repeat it or use commas.",
        )  # fmt: skip
@exclude_option
@to_option
@option("--from", "read_from", type=click.Choice(["source", "replica"]), default="source", show_default=True,
        help="Read the source, or rebuild the warehouse from the replica.")  # fmt: skip
@option("--force-full", "--full-refresh", is_flag=True, help="Read every row again, whatever is recorded.")
@workers_option
@option("--max-source-connections", type=int, metavar="N", heading=HOW, help="Connections to the source at once.")
@option("--executor", metavar="|".join(EXECUTORS), heading=HOW,
        help="Load partitions in threads, in processes or on a Dask cluster. [default: thread]")  # fmt: skip
@publish_option
@option("--strict", is_flag=True, heading=HOW, help="Treat warnings, such as coercions, as failures (exit 1).")
@option("--dry-run", is_flag=True, heading=OUTPUT, help="Show the plan and touch nothing.")
@report_option
@clinic_option
@json_option
@with_global_options
def run(report_file: Path | None, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Copy what changed from the source to the replica and the warehouse."""
    if dry_run and report_file:
        raise click.UsageError("--report cannot be combined with --dry-run")
    # What is not asked for is as configured; what cannot be asked for is refused before settings are read.
    options = {name: value for name, value in options.items() if value is not None}
    run_options.RunOptions(**options)
    with (
        reporting_what_prevents_it(report_file),
        open_etl(*servers_used(options["read_from"], options.get("to"))) as etl,
    ):
        if dry_run:
            planned = etl.plan(**options)
            if as_json:
                show_document(int(bool(planned.failed)), etl.settings.identity, **render_run.plans_json(planned))
            else:
                show(render_run.plans(planned))
                for failure in (outcome.failure for outcome in planned.failed if outcome.failure):
                    words = f"cannot be loaded: {failure.message}\n  {failure.remedy}"
                    click.echo(printable(words), err=True)
            sys.exit(int(bool(planned.failed)))
        with watching() as watch:
            summary = etl.run(on_event=watch, **options)
        if as_json:
            show_json(summary.as_json())
        else:
            show(render_run.summary(summary))
        # Last: if the page fails, the run has been reported.
        if report_file:
            write_report(report_file, etl, summary)
    sys.exit(summary.exit_code)


@click.command(cls=Command, examples=["arrowetl status", "arrowetl status --check --json", "arrowetl status 'pay*'"])
@choosing_tables
@option("--all", "shows_all", is_flag=True, heading=WHICH, help="Good tables as well.")
@option("--watch", is_flag=True, heading=OUTPUT, help="Refresh every few seconds until Ctrl-C.")
@option("--alert", is_flag=True, help="Notify of tables that failed or are overdue, and of missed runs.")
@option("--check", is_flag=True, help="Exit 1 if the last run failed, is overdue or missing.")
@clinic_option
@json_option
@with_settings
def status(tables: tuple[str, ...], shows_all: bool, watch: bool, alert: bool, check: bool, as_json: bool) -> None:
    """Show what is in the warehouse, as of when, and what is wrong with it."""
    if watch and (as_json or alert):
        raise click.UsageError("--watch cannot be combined with --json or --alert")
    with open_etl("warehouse") as etl:
        if watch:
            from rich.live import Live

            with Live(render_verify.status(etl.status(tables=tables), shows_all), auto_refresh=False) as live:
                while True:
                    time.sleep(limits.watch_seconds)
                    live.update(render_verify.status(etl.status(tables=tables), shows_all), refresh=True)
        found = etl.status(alert, tables)
    code = int(bool(found.warnings) or (check and not found.good))
    if as_json:
        show_json(replace(found, exit_code=code).as_json())
    else:
        show(render_verify.status(found, shows_all or bool(tables)))
    for warning in found.warnings:
        stderr().print(f"arrowetl: {warning}", highlight=False, soft_wrap=True)
    sys.exit(code)


@click.command(cls=Command, examples=["arrowetl runs", "arrowetl runs --last 3 --json", "arrowetl report 20261126"])
@option("--last", type=click.IntRange(min=1), default=limits.runs_listed, show_default=True, metavar="N",
        help="So many.")  # fmt: skip
@clinic_option
@json_option
@with_settings
def runs(last: int, as_json: bool) -> None:
    """List past runs, newest first, with their ids."""
    with open_etl("warehouse") as etl:
        found = etl.runs(last)
    if as_json:
        show_document(0, etl.settings.identity, runs=found)
    else:
        show(render_verify.runs(found))
