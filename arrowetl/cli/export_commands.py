"""
The commands that write files for others: `arrowetl snapshot`, Parquet; `report`, a page; `dbt-sources`, for dbt.

The partner of `main`, which lists all commands. What is in a file is the business
of `snapshot`, `pages` and `dbt_sources`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arrowetl import lazy
from arrowetl.cli.opening import open_etl, watching
from arrowetl.cli.options import (
    OUTPUT,
    Command,
    all_option,
    best_effort_report,
    choosing_tables,
    clinic_option,
    exclude_option,
    json_option,
    option,
    show,
    show_document,
    show_json,
    split_names,
    with_global_options,
    with_settings,
    write_file,
)
from arrowetl.errors import ArrowetlError
from arrowetl.model.connection import SERVERS

if TYPE_CHECKING:
    from arrowetl.api import Etl
    from arrowetl.cli import render_verify
    from arrowetl.model.result import Summary
else:
    render_verify = lazy.module("arrowetl.cli.render_verify")


@click.command(
    cls=Command,
    examples=[
        "arrowetl snapshot patient payment --to out",
        "arrowetl snapshot --all --to out --exclude 'proc*'",
        "arrowetl snapshot patient --to out --columns Num --where 'Num < 100'",
    ],
)
@choosing_tables
@all_option
@exclude_option
@option(
    "--to", "directory", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Output directory; each "
    "table gets a subdirectory.",
)  # fmt: skip
@option("--columns", multiple=True, callback=split_names, metavar="A,B", help="Only these columns.")
@option("--where", default="", metavar="CONDITION", help="Only rows that match: comparisons in SQL.")
@option("--since", default="", metavar="WATERMARK", help="Only rows changed then or later.")
@option(
    "--from", "read_from", type=click.Choice(SERVERS), default="warehouse", show_default=True, help="Server to read."
)
@option("--namespace", default="", metavar="SCHEMA", help="Schema of the warehouse, such as marts. [default: raw]")
@clinic_option
@json_option
@with_global_options
def snapshot(as_json: bool, all: bool, **asked: Any) -> None:
    """Write tables as Parquet files, for DuckDB, Polars or pandas."""
    if all == bool(asked["tables"]):
        raise click.UsageError("choose tables: TABLE... or --all (exactly one)")
    with open_etl(asked["read_from"]) as etl, watching() as watch:
        found = etl.snapshot(**asked, on_event=watch)
    if as_json:
        show_document(0, etl.settings.identity, **found)
    else:
        show(render_verify.snapshot(found))


@click.command(
    cls=Command,
    examples=["arrowetl report --open", "arrowetl report 20261126 --output run.html", "arrowetl report --json"],
)
@click.argument("run_id", metavar="[RUN]", default="")
@option("--output", type=click.Path(path_type=Path), heading=OUTPUT, help="Output file, or - for stdout. [default: "
        "report-RUN.html]")  # fmt: skip
@option("--open", "opens", is_flag=True, heading=OUTPUT, help="Open it in the browser.")
@clinic_option
@json_option
@with_settings
def report(run_id: str, output: Path | None, opens: bool, as_json: bool) -> None:
    """Write an HTML report of the last run, or of RUN (the beginning of its id)."""
    if opens and str(output) == "-":
        raise click.UsageError("--open cannot be combined with --output -")
    if as_json and (opens or output):
        raise click.UsageError("--json prints the run's document: leave out --open and --output")
    with open_etl("warehouse") as etl:
        report = etl.run_report(run_id)
    if as_json:
        show_json(report.document)
        return
    # Jinja and Vega take a second to import, and only this command needs them.
    from arrowetl.pages import render

    page = render.run_page(report.document, report.runs, report.receipt, report.status)
    path = write_file(output or Path(f"report-{report.document['run_id']}.html"), page)
    if opens:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())


@click.command("dbt-sources", cls=Command, examples=["arrowetl dbt-sources --output models/sources.yml"])
@option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("sources.yml"),
    show_default=True,
    heading=OUTPUT,
    help="File to write; what you added to it stays. - prints a new one.",
)
@clinic_option
@with_settings
def dbt_sources(output: Path) -> None:
    """Create or update dbt's sources.yml, with types, tests of keys, and freshness."""
    with open_etl("warehouse") as etl:
        text, notes = etl.dbt_sources(None if str(output) == "-" else output)
    if str(output) == "-":
        click.echo(text, nl=False)
    for note in notes:
        click.echo(f"note: {note}", err=True)


@contextmanager
def reporting_what_prevents_it(path: Path | None) -> Iterator[None]:
    """Write the page of a run that cannot begin, where a page is asked for: the last one would be taken for it."""
    try:
        yield
    except ArrowetlError as error:
        if path:
            from arrowetl.pages import render

            said = {"message": error.message, "remedy": error.remedy, "code": error.slug}
            with best_effort_report(path):
                write_file(path, render.not_begun_page(said, os.environ.get("ETL_ENVIRONMENT", ""), datetime.now(UTC)))
        raise


def write_report(path: Path, etl: Etl, summary: Summary) -> None:
    """The run's page; without the runs before it, if the warehouse was lost."""
    from arrowetl.pages import render

    known: tuple[Any, ...] = ()
    with suppress(ArrowetlError):
        report = etl.run_report(summary.run_id)
        known = (report.runs, report.receipt, report.status)
    with best_effort_report(path):
        write_file(path, render.run_page(summary.as_json(), *known))
