"""
The commands of a first day: `arrowetl test-connections`, `analyze`, `validate`, `config`.

The partner of `main`, which lists all commands.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arrowetl import lazy
from arrowetl.cli.opening import open_etl, watching
from arrowetl.cli.options import (
    Command,
    CommandGroup,
    clinic_option,
    global_options,
    json_option,
    names_of_tables,
    option,
    show,
    show_json,
    with_global_options,
    with_settings,
    without_options,
)
from arrowetl.config.files import DEFAULT_TABLES
from arrowetl.errors import EnvironmentError, indented
from arrowetl.model.connection import CATEGORIES
from arrowetl.pages.printable import printable, printable_name

if TYPE_CHECKING:
    from arrowetl.cli import render_run
    from arrowetl.config import env
else:
    render_run, env = lazy.module("arrowetl.cli.render_run"), lazy.module("arrowetl.config.env")


@click.command("test-connections", cls=Command, examples=["arrowetl test-connections", "arrowetl test-connections -v"])
@clinic_option
@json_option
@with_global_options
def test_connections(as_json: bool) -> None:
    """Check each server: version, privileges, settings that matter, latency."""
    with open_etl() as etl:
        found = etl.test_connections()
    code = 0 if all(one.good for one in found) else 4
    if as_json:
        show_json({"exit_code": code, "servers": [one.as_json() for one in found]})
    else:
        show(render_run.examined(found, bool(global_options().get("verbose"))))
    sys.exit(code)


@click.command(cls=Command, examples=["arrowetl validate", "arrowetl validate --offline -v"])
@option("--offline", is_flag=True, help="Ask no server.")
@clinic_option
@json_option
@with_global_options
def validate(offline: bool, as_json: bool) -> None:
    """Check settings, tables.yml and servers, and list every problem at once."""
    from arrowetl.config.tables_yml import problems_of

    tables_file = global_options().get("tables_file") or DEFAULT_TABLES
    try:
        with open_etl() as etl:
            found = etl.validate(offline)
        problems, notes, code = found.problems, found.notes, found.exit_code
    except EnvironmentError as error:
        # Without settings there is no server to ask; the file can be judged all the same.
        problems, notes, code = (str(error), *problems_of(tables_file)), (), error.exit_code
    if as_json:
        show_json({"exit_code": code, "problems": problems, "notes": notes})
        sys.exit(code)
    if not problems:
        click.echo("no problem found")
    for line in (*problems, *(f"note: {note}" for note in notes)):
        click.echo(printable(indented(line)))
    if global_options().get("verbose"):
        for line in _settings(tables_file):
            click.echo(printable(line))
    sys.exit(code)


def _settings(tables_file: Path) -> list[str]:
    """What holds, and where each value is from; no secret."""
    shown = _shown(tables_file)
    return [
        *(f"{server} {part} = {value} ({origin})" for server, parts in shown["servers"].items()
          for part, (value, origin) in parts.items()),
        *(f"{name} = {value} ({origin})" for name, (value, origin) in shown["variables"].items()),
        *(f"settings.{name} = {_in_words(value)} ({origin})" for name, (value, origin) in shown["settings"].items()),
    ]  # fmt: skip


def _shown(tables_file: Path) -> dict[str, dict[str, Any]]:
    from arrowetl.config.tables_yml import run_wide

    servers, variables = dict[str, Any](), dict[str, Any]()
    with suppress(EnvironmentError):  # a file that cannot be read is reported by `validate`
        found = env.explained(os.environ, tables_file, global_options().get("env_file"))
        servers = {server: {part: (value, at) for part, value, at in parts} for server, parts in found.servers.items()}
        variables = dict(found.variables)
    return {"servers": servers, "variables": variables, "settings": run_wide(tables_file)}


@click.group(cls=CommandGroup)
def config() -> None:
    """Show what holds and where it came from; print JSON Schemas."""


@config.command(
    "show", examples=["arrowetl config show", "arrowetl config show patient", "arrowetl config show --json"]
)
@click.argument("table", default="", shell_complete=names_of_tables)
@json_option
@with_settings
def show_holding(table: str, as_json: bool) -> None:
    """Show settings, or what holds of a table, each with its origin."""
    from arrowetl.config.tables_yml import explained

    tables_file = global_options().get("tables_file") or DEFAULT_TABLES
    found = {table: explained(tables_file, table)} if table else _shown(tables_file)
    if as_json:
        document = {
            part: {name: _with_origin(value) for name, value in values.items()} for part, values in found.items()
        }
        show_json({"exit_code": 0, **({"tables": document} if table else document)})
        return
    for part, values in found.items():
        for name, value in values.items():
            each = value.items() if isinstance(value, dict) else [("", value)]
            for inner, (what, origin) in each:
                place = ".".join(filter(None, (part, name, inner)))
                click.echo(printable(f"{place} = {_in_words(what)} ({origin})"))


def _with_origin(value: Any) -> Any:
    if isinstance(value, dict):
        return {part: _with_origin(inner) for part, inner in value.items()}
    return {"value": value[0], "origin": value[1]}


@config.command(examples=["arrowetl config schema arrowetl", "arrowetl config schema fleet"])
@click.argument("name", type=click.Choice(["arrowetl", "tables", "fleet"]))
@without_options
def schema(name: str) -> None:
    """Print the JSON Schema of a file, by which editors complete and check it."""
    from arrowetl.config import schemas

    click.echo(schemas.text(name), nl=False)


def _in_words(value: Any) -> str:
    """
    >>> _in_words(None), _in_words(1.0), _in_words("auto")
    ('none', '1', 'auto')
    """
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


@click.command(
    cls=Command,
    examples=["arrowetl analyze", "arrowetl analyze --fail-on breaking", "arrowetl analyze --suggest-phi > masks.yml"],
)
@option("--output", type=click.Path(path_type=Path), help="Where to write. [default: the file of --config]")
@option("--fail-on", type=click.Choice(["breaking"]), help="Exit 1 on changes of the schema that break readers of raw.")
@option("--suggest-phi", is_flag=True, help="Print masks for OpenDental's personal columns, and write nothing.")
@clinic_option
@json_option
@with_global_options
def analyze(output: Path | None, fail_on: str | None, suggest_phi: bool, as_json: bool) -> None:
    """Inspect the source and write tables.yml; what you chose stays."""
    with open_etl("source", wants=("warehouse",)) as etl:
        if suggest_phi:
            click.echo(render_run.policy(*etl.suggest_phi()), nl=False)
            return
        with watching() as watch:
            analysis = etl.analyze(output, watch)
    code = int(fail_on is not None and analysis.is_breaking)
    if as_json:
        show_json({"exit_code": code, **analysis.as_json()})
        sys.exit(code)
    tables = {name: entry for name, entry in analysis.document["tables"].items() if name not in analysis.vanished}
    by_category = {c: sum(t["performance_category"] == c for t in tables.values()) for c in CATEGORIES}
    for note in analysis.notes:
        click.echo(printable_name(f"note: {note}"))
    words = ", ".join(f"{number} {category}" for category, number in by_category.items() if number)
    unchanged = "" if analysis.written else "; nothing but the time has changed, and the file was left as it is"
    click.echo(f"{analysis.path}: {len(tables)} tables ({words}){unchanged}")
    if analysis.vanished:
        click.echo(printable_name(f"missing at the source: {', '.join(analysis.vanished)}"))
    show(render_run.changed(analysis.changes, analysis.changelog))
    sys.exit(code)
