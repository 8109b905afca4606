"""
The commands that try and prove: `arrowetl verify`, `bench`.

The partner of `main`, which lists all commands. What is shown is made by `render_verify` and `render_run`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arrowetl import lazy, limits
from arrowetl.cli.opening import open_etl, watching
from arrowetl.cli.options import (
    HOW,
    OUTPUT,
    Command,
    all_option,
    choosing_tables,
    clinic_option,
    exclude_option,
    json_option,
    names_of_tables,
    option,
    report_option,
    servers_used,
    show,
    show_document,
    show_json,
    to_option,
    with_global_options,
    workers_option,
    write_file,
)
from arrowetl.cli.screen import stderr

if TYPE_CHECKING:
    from arrowetl.cli import render_run, render_verify
    from arrowetl.model import run_options
else:
    run_options = lazy.module("arrowetl.model.run_options")
    render_run, render_verify = (lazy.module(f"arrowetl.cli.{name}") for name in ("render_run", "render_verify"))


@click.command(
    cls=Command,
    examples=["arrowetl verify --all", "arrowetl verify patient 'pay*' --deep", "arrowetl verify --all --repair"],
)
@choosing_tables
@all_option
@exclude_option
@option("--deep", is_flag=True, help="Compare values instead of checksums.")
@option("--changed", is_flag=True, help="Check only what changed since the last verification; trust it for the rest.")
@option("--repair", "repairs", is_flag=True, help="Copy differing ranges again, then compare them again.")
@option("--show-values", is_flag=True, heading=OUTPUT, help="Print differing values, which may be personal data.")
@workers_option
@clinic_option
@json_option
@with_global_options
def verify(all: bool, as_json: bool, **options: Any) -> None:
    """Compare the servers, and name the rows and columns that differ."""
    if all == bool(options["tables"]):
        raise click.UsageError("choose tables: TABLE... or --all (exactly one)")
    run_options.VerifyOptions(**options)
    with open_etl() as etl, watching() as watch:
        found = etl.verify(on_event=watch, **options)
    if as_json:
        show_json(found.as_json())
    else:
        show(render_verify.verdicts(found))
    sys.exit(found.exit_code)


@click.command(cls=Command, examples=["arrowetl bench procedurelog", "arrowetl bench procedurelog --seconds 60 --save"])
@click.argument("table", shell_complete=names_of_tables)
@to_option
@option("--seconds", type=click.FloatRange(min=1), default=limits.bench_seconds, show_default=True, heading=HOW,
        help="About how long it may take.")  # fmt: skip
@option("--save", is_flag=True, heading=OUTPUT, help="Write what was better than the default into the table's choices.")
@report_option
@clinic_option
@json_option
@with_global_options
def bench(table: str, to: str | None, seconds: float, save: bool, report_file: Path | None, as_json: bool) -> None:
    """Find a table's best partition size and number of workers."""
    with open_etl(*servers_used("source", to)) as etl, stderr().status("…") as shown:
        found = etl.bench(table, to, seconds, save, lambda trial: shown.update(render_run.trial(trial)))
    if report_file:
        from arrowetl.pages import render

        write_file(report_file, render.bench_page(found.as_json()))
    if as_json:
        show_document(0, etl.settings.identity, **found.as_json(), saved=save and bool(found.chosen))
    else:
        show(render_run.benched(found, save))
