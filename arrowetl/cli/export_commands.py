"""
The commands that write files for others: `arrowetl snapshot`, Parquet; `report`, a page; `dbt-sources`, for dbt.

The partner of `main`, which has all others. What is in a file is the business
of `snapshot`, `pages` and `dbt_sources`.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arrowetl import lazy
from arrowetl.cli.opening import open_etl
from arrowetl.cli.options import (
    best_effort_report,
    clinic_option,
    json_option,
    names_of_tables,
    show,
    show_json,
    split_names,
    with_global_options,
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


@click.command()
@click.argument(
    "tables", nargs=-1, required=True, callback=split_names, metavar="TABLE...", shell_complete=names_of_tables
)
@click.option(
    "--to", "directory", type=click.Path(path_type=Path), required=True, help="A directory; each table gets one in it."
)
@click.option("--columns", multiple=True, callback=split_names, metavar="A,B", help="Only these.")
@click.option("--where", default="", metavar="CONDITION", help="Only rows of which it is true: comparisons in SQL.")
@click.option("--since", default="", metavar="WATERMARK", help="Only rows changed then or later.")
@click.option(
    "--from", "read_from", type=click.Choice(SERVERS), default="warehouse", show_default=True, help="What is read."
)
@click.option("--namespace", default="", metavar="SCHEMA", help="Of the warehouse, such as marts; default the raw one.")
@clinic_option
@json_option
@with_global_options
def snapshot(as_json: bool, **asked: Any) -> None:
    """Write tables as Parquet files, for analysis elsewhere."""
    with open_etl(asked["read_from"]) as etl:
        found = etl.snapshot(**asked)
    if as_json:
        show_json({"exit_code": 0, **found})
    else:
        show(render_verify.snapshot(found))


@click.command()
@click.argument("run_id", metavar="[RUN]", default="")
@click.option("--output", type=click.Path(path_type=Path), help="A file, or - ; default report-RUN.html.")
@click.option("--open", "opens", is_flag=True, help="Show it in the browser.")
@clinic_option
@with_global_options
def report(run_id: str, output: Path | None, opens: bool) -> None:
    """One page of the last run, or of RUN (its name begins so): was it good, what changed, what took long."""
    # Jinja and Vega take a second to import, and only this command needs them.
    from arrowetl.pages import render

    if opens and str(output) == "-":
        raise click.UsageError("a browser opens a file: leave out --open, or --output -")
    with open_etl("warehouse") as etl:
        report = etl.run_report(run_id)
    page = render.run_page(report.document, report.runs, report.receipt)
    path = write_file(output or Path(f"report-{report.document['run_id']}.html"), page)
    if opens:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())


@click.command("dbt-sources")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("sources.yml"),
    show_default=True,
    help="Updated, where it exists: what you added stays. - prints a new one.",
)
@clinic_option
@with_global_options
def dbt_sources(output: Path) -> None:
    """Write dbt's sources.yml of the warehouse's tables, with types, tests of keys, and freshness."""
    with open_etl("warehouse") as etl:
        text, notes = etl.dbt_sources(None if str(output) == "-" else output)
    if str(output) == "-":
        click.echo(text, nl=False)
    for note in notes:
        click.echo(f"note: {note}", err=True)


def write_report(path: Path, etl: Etl, summary: Summary) -> None:
    """The run's page; without the runs before it, if the warehouse was lost."""
    from arrowetl.pages import render

    runs: tuple[Any, ...] = ()
    receipt = None
    with suppress(ArrowetlError):
        report = etl.run_report(summary.run_id)
        runs, receipt = report.runs, report.receipt
    with best_effort_report(path):
        write_file(path, render.run_page(summary.as_json(), runs, receipt))
