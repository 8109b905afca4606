"""
The commands of many clinics: `arrowetl fleet validate|plan|run|status|report`, and what they show.

The partner of `main`, which has those of one. What is done is `fleet_run`'s
business.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console, Group, RenderableType
from rich.text import Text

from arrowetl import lazy, limits
from arrowetl.cli.options import (
    GLOBAL,
    HOW,
    OUTPUT,
    CommandGroup,
    best_effort_report,
    global_options,
    json_option,
    option,
    publish_option,
    servers_used,
    show,
    show_document,
    show_json,
    split_names,
    to_option,
    with_global_options,
    write_file,
)
from arrowetl.cli.screen import Screen
from arrowetl.config.files import DEFAULT_FLEET
from arrowetl.errors import indented
from arrowetl.model.connection import EXECUTORS
from arrowetl.model.humanize import count, duration, number_of

if TYPE_CHECKING:
    from arrowetl.cli import progress, render_run
    from arrowetl.config.env import Settings
    from arrowetl.fleet.fleet_run import FleetRun, FleetSummary, OfClinic
    from arrowetl.model import events, result
else:
    progress, render_run = lazy.module("arrowetl.cli.progress"), lazy.module("arrowetl.cli.render_run")
    events, result = lazy.module("arrowetl.model.events"), lazy.module("arrowetl.model.result")

F = TypeVar("F", bound=Callable[..., Any])


@click.group(cls=CommandGroup)
def fleet() -> None:
    """Run many databases, as conf/fleet.yml lists them."""


def _of_fleet(command: F) -> F:
    """The options that all of them have."""
    for one in (
        option("--clinic", "clinics", multiple=True, callback=split_names, metavar="C", help="Only these clinics."),
        option("--fleet", "fleet_file", type=click.Path(path_type=Path), default=DEFAULT_FLEET, show_default=True,
               heading=GLOBAL, help="Path to fleet.yml."),
    ):  # fmt: skip
        command = one(command)
    return command


_report_option = option(
    "--report",
    "report_directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    heading=OUTPUT,
    help="Write HTML reports as well.",
)


def _open_fleet(fleet_file: Path, clinics: Sequence[str], *needs: str) -> FleetRun:
    # A single clinic does not need it.
    from arrowetl.config.fleet_yml import read_fleet
    from arrowetl.fleet.fleet_run import FleetRun

    if global_options().get("env_file"):
        raise click.UsageError("--env-file is of one clinic: name each clinic's in fleet.yml")
    return FleetRun(read_fleet(fleet_file), global_options().get("tables_file"), clinics, needs)


def settings_of_clinic(name: str, needs: tuple[str, ...]) -> Settings:
    """Those of one clinic, for the commands of one."""
    opened_fleet = _open_fleet(global_options().get("fleet_file") or DEFAULT_FLEET, (name,), *needs)
    return opened_fleet.settings[name]


@fleet.command(examples=["arrowetl fleet validate --offline"])
@option("--offline", is_flag=True, help="Ask no server.")
@_of_fleet
@json_option
@with_global_options
def validate(fleet_file: Path, clinics: tuple[str, ...], offline: bool, as_json: bool) -> None:
    """Check fleet.yml, and each clinic's settings, tables.yml and servers."""
    from arrowetl.fleet.fleet_run import together

    opened_fleet = _open_fleet(fleet_file, clinics)
    found = opened_fleet.validate(offline, limits.workers_default)
    wrong = {one.clinic: list(one.answer.problems) if one.answer else [str(one.error)] for one in found}
    code = together(one.exit_code(lambda validation: validation.exit_code) for one in found)
    if as_json:
        documents = [{"clinic": name, "problems": problems} for name, problems in wrong.items()]
        show_document(code, clinics=documents)
    else:
        for name, problems in wrong.items():
            click.echo(f"{name}: {'good' if not problems else number_of(len(problems), 'problem')}")
            for endpoint in opened_fleet.settings[name].endpoints.values():
                click.echo(f"  {endpoint}")
            for problem in problems:
                click.echo("  " + indented(problem))
        for one in found:
            for note in one.answer.notes if one.answer else []:
                click.echo(f"note: {one.clinic}: {note}", err=True)
    sys.exit(code)


@fleet.command(examples=["arrowetl fleet plan --clinic north,south"])
@option("--force-full", "--full-refresh", is_flag=True, help="Read every row again, whatever is recorded.")
@to_option
@_of_fleet
@json_option
@with_global_options
def plan(fleet_file: Path, clinics: tuple[str, ...], force_full: bool, to: str | None, as_json: bool) -> None:
    """Show what a run would do in each clinic; touches nothing."""
    from arrowetl.fleet.fleet_run import together
    from arrowetl.model.run_options import RunOptions

    opened_fleet = _open_fleet(fleet_file, clinics, *servers_used("source", to))
    found = opened_fleet.plan(RunOptions(all=True, force_full=force_full, to=to or "both"))
    code = together(one.exit_code(lambda planned: int(bool(planned.failed))) for one in found)
    if as_json:
        documents = [
            {"clinic": one.clinic, "error": one.failure and one.failure.as_json(),
             "plan": one.answer and render_run.plans_json(one.answer)} for one in found
        ]  # fmt: skip
        show_document(code, clinics=documents)
        sys.exit(code)
    table = render_run.grid("clinic", "tables", "to read", "about", "", right=(1, 2, 3), folds=(4,))
    for one in found:
        if (planned := one.answer) is None:
            table.add_row(one.clinic, "", "", "", _error_of(one))
            continue
        reads = sum(plan.expected.rows for plan in planned.plans)
        seconds = duration(planned.estimate.seconds) if planned.estimate else ""
        failed = f"{len(planned.failed)} cannot be loaded" if planned.failed else ""
        table.add_row(one.clinic, count(len(planned.plans)), count(reads), seconds, failed)
    show(table)
    sys.exit(code)


@fleet.command(examples=["arrowetl fleet run --max-workers 8 --report pages"])
@option(
    "--max-workers", type=int, metavar="N", heading=HOW, help="Of all clinics together. [default: as fleet.yml says]"
)
@option(
    "--executor",
    metavar="|".join(EXECUTORS),
    heading=HOW,
    help="Load partitions in threads, in processes or on a Dask cluster. [default: as fleet.yml says]",
)
@to_option
@option("--force-full", "--full-refresh", is_flag=True, help="Read every row again, whatever is recorded.")
@option("--strict", is_flag=True, heading=HOW, help="Treat warnings as failures (exit 1).")
@publish_option
@_report_option
@option("--unite/--no-unite", default=True, help="Make the union views of all clinics, where fleet.yml names a schema.")
@_of_fleet
@json_option
@with_global_options
def run(
    fleet_file: Path, clinics: tuple[str, ...], report_directory: Path | None, unite: bool, as_json: bool,
    max_workers: int | None, **asked: Any,
) -> None:  # fmt: skip
    """Copy what changed of all clinics, several at a time."""
    from arrowetl.model.run_options import RunOptions

    opened_fleet = _open_fleet(fleet_file, clinics, *servers_used("source", asked["to"]))
    workers = opened_fleet.fleet.max_workers if max_workers is None else max_workers
    options = RunOptions(all=True, max_workers=workers, **{**asked, "to": asked["to"] or "both"})
    shown = _FleetProgress(Screen(stderr=True))
    summary = opened_fleet.run(options, unite, shown.event, shown.ended)
    if as_json:
        show_json(summary.as_json())
    else:
        show(_summary(summary))
    if report_directory:
        with best_effort_report(report_directory):
            _write_pages(opened_fleet, report_directory, summary)
    sys.exit(summary.exit_code)


@fleet.command(examples=["arrowetl fleet status --json"])
@_of_fleet
@json_option
@with_global_options
def status(fleet_file: Path, clinics: tuple[str, ...], as_json: bool) -> None:
    """Show what the warehouse has of each clinic, as of when; and how clinics differ."""
    from arrowetl.fleet.fleet_run import together

    opened_fleet = _open_fleet(fleet_file, clinics, "warehouse")
    found, differing = opened_fleet.status(), opened_fleet.differing()
    code = together(one.exit_code(lambda status: 0) for one in found)
    if as_json:
        documents = [
            {"clinic": one.clinic, "error": one.failure and one.failure.as_json(),
             "status": one.answer and one.answer.as_json()} for one in found
        ]  # fmt: skip
        show_document(code, clinics=documents, differing=differing)
        sys.exit(code)
    table = render_run.grid(
        "clinic", "last run", "tables", "failed", "overdue", "rows", "", right=(2, 3, 4, 5), folds=(6,)
    )
    for one in found:
        if (status := one.answer) is None:
            table.add_row(one.clinic, "", "", "", "", "", _error_of(one))
            continue
        tables, last = status.tables, status.run
        failed = sum(row["load_status"] != "success" for row in tables)
        table.add_row(
            one.clinic, f"{last['started_at']:%Y-%m-%d %H:%M}" if last else "none", count(len(tables)), count(failed),
            count(sum(row["overdue"] for row in tables)), count(sum(row["rows"] or 0 for row in tables)),
            "" if last is None or last["exit_code"] == 0 else f"exit code {last['exit_code']}",
        )  # fmt: skip
    show(Group(table, *_differing(differing)))
    sys.exit(code)


@fleet.command("report", examples=["arrowetl fleet report --output pages"])
@option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("fleet-report"),
    show_default=True,
    heading=OUTPUT,
    help="Directory for a page of all clinics, and one of each.",
)
@_of_fleet
@with_global_options
def report_(fleet_file: Path, clinics: tuple[str, ...], output: Path) -> None:
    """Write an HTML report of the last run of all clinics, and one of each."""
    opened_fleet = _open_fleet(fleet_file, clinics, "warehouse")
    _write_pages(opened_fleet, output, None)


def _write_pages(opened_fleet: FleetRun, directory: Path, summary: FleetSummary | None) -> None:
    """
    Args:
        summary: of the run that has just ended; the clinics' last runs, where it is None.
    """
    from arrowetl.pages import render

    now = {one.clinic: one for one in summary.clinics} if summary else {}
    rows, begun = [], []
    for last in opened_fleet.run_reports():
        error = now[last.clinic].error if last.clinic in now else last.error
        report, page = last.answer, None
        run: Mapping[str, Any] | None = None
        if ended := now[last.clinic].answer if last.clinic in now else None:
            run = ended.as_json()
        elif report and error is None:
            run = report.document
        if run is not None:
            page = f"clinics/{last.clinic}.html"
            begun.append(run["started_at"])
            known = (report.runs, report.receipt, report.status) if report else ((), None, None)
            write_file(directory / page, render.run_page(run, *known, back="../index.html"))
        failure = {"message": error.message, "remedy": error.remedy} if error else None
        rows.append({"clinic": last.clinic, "page": page, "error": failure, "run": run})
    about = {
        "environment": next(iter(opened_fleet.settings.values())).environment,
        "started_at": summary.started_at if summary else min(begun, default=None),
        "differing": summary.differing if summary else opened_fleet.differing(),
        "warnings": summary.warnings if summary else (),
    }
    write_file(directory / "index.html", render.fleet_page(rows, about))


class _FleetProgress:
    """A line on stderr for each clinic that has ended, and each table that failed."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def event(self, clinic: str, event: events.Event) -> None:
        if isinstance(event, events.TableEnded) and event.outcome.failure and progress.is_reportable(event.outcome):
            self._say(f"{clinic}: {event.outcome.failure.message}")

    def ended(self, one: Any) -> None:
        if one.error:
            self._say(f"{one.clinic}: {one.error.message} ({duration(one.seconds)})")
        else:
            self._say(f"{one.clinic}: {_words(one.answer)} in {duration(one.seconds)}")

    def _say(self, words: str) -> None:
        self._console.print(words, highlight=False, soft_wrap=True, markup=False)


def _words(run: result.Summary) -> str:
    failed = len(run.of(result.Status.FAILED))
    rows = sum(outcome.rows_extracted for outcome in run.outcomes)
    return f"{count(len(run.outcomes))} tables, {count(failed)} failed, {count(rows)} rows read"


def _summary(summary: FleetSummary) -> RenderableType:
    """The result of the run; what is not good last."""
    table = render_run.grid("clinic", "tables", "failed", "rows read", "inserted", "updated", "deleted", "seconds",
                 right=(1, 2, 3, 4, 5, 6, 7))  # fmt: skip
    parts: list[RenderableType] = [table]
    for one in summary.clinics:
        if (run := one.answer) is None:
            continue
        changes = [sum(getattr(o.changes, kind) for o in run.outcomes) for kind in ("inserted", "updated", "deleted")]
        table.add_row(
            one.clinic, count(len(run.outcomes)), count(len(run.of(result.Status.FAILED))),
            count(sum(outcome.rows_extracted for outcome in run.outcomes)), *map(count, changes), f"{one.seconds:.1f}",
        )  # fmt: skip
    parts += _differing(summary.differing)
    if summary.united:
        parts.append(Text(f"{count(len(summary.united))} union views of all clinics"))
    parts += [Text(f"note: {warning}") for warning in summary.warnings]
    totals = summary.as_json()["totals"]
    words = f"{count(totals['good'])} of {count(totals['clinics'])} clinics good, "
    words += f"{count(totals['rows_extracted'])} rows in {duration(summary.seconds)}"
    parts.append(Text(words, style="bold"))
    for one in summary.clinics:
        if one.error:
            parts.append(Text(f"✗ {one.clinic}: {one.error.message}", style="red"))
            parts += [Text(f"  {one.error.remedy}")] if one.error.remedy else []
        elif one.answer:
            failed = one.answer.of(result.Status.FAILED)
            failures = render_run.root_failures([outcome.failure for outcome in failed if outcome.failure])
            parts += [Text(f"✗ {one.clinic}: {failure.message}", style="red") for failure in failures[:_FAILURES_SHOWN]]
            if len(failures) > _FAILURES_SHOWN:
                parts.append(Text(f"  and {count(len(failures) - _FAILURES_SHOWN)} more tables of {one.clinic}"))
    return Group(*parts)


def _error_of(one: OfClinic[Any]) -> Text:
    return Text(one.error.message if one.error else "", style="red", overflow="fold")


_FAILURES_SHOWN = 5
_DIFFERING_SHOWN = 20


def _differing(found: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """Which clinics have a table or column that differs."""
    if not found:
        return []
    table = render_run.grid("table", "column", "type", "clinics", folds=(3,))
    for one in found[:_DIFFERING_SHOWN]:
        for number, (type_, clinics) in enumerate(one["clinics"].items()):
            place = (one["table"], one["column"] or "(the table)") if number == 0 else ("", "")
            table.add_row(*place, type_ or "(missing)", ", ".join(clinics))
    more = len(found) - _DIFFERING_SHOWN
    return [Text(), table, *([Text(f"and {count(more)} more; --json has all")] if more > 0 else [])]
