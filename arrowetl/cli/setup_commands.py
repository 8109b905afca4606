"""
The commands of a first day: `arrowetl test-connections`, `analyze`, `validate`, `config`.

The partner of `main`, which lists all commands.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
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
    show_document,
    with_global_options,
    with_settings,
    without_options,
)
from arrowetl.config.files import DEFAULT_TABLES
from arrowetl.errors import ConfigurationError, EnvironmentError, indented
from arrowetl.model.connection import CATEGORIES
from arrowetl.model.document import NOBODY, Identity
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
        show_document(code, etl.settings.identity, examined=[one.as_json() for one in found])
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
        problems, notes, code, about = found.problems, found.notes, found.exit_code, etl.settings.identity
    except EnvironmentError as error:
        # Without settings there is no server to ask; the file can be judged all the same.
        problems, notes, code, about = (str(error), *problems_of(tables_file)), (), error.exit_code, NOBODY
    if as_json:
        show_document(code, about, problems=list(problems), notes=list(notes))
        sys.exit(code)
    if not problems:
        click.echo("no problem found")
    for line in (*problems, *(f"note: {note}" for note in notes)):
        click.echo(printable(indented(line)))
    if global_options().get("verbose"):
        # What cannot be read is among the problems.
        with suppress(ConfigurationError):
            for line in _lines(_settings(tables_file)):
                click.echo(printable(line))
    sys.exit(code)


Shown = tuple[str, Any, str]
"""A setting's name, its value, and where that is from; of a secret only that it is set."""


def _settings(tables_file: Path) -> list[Shown]:
    from arrowetl.config.tables_yml import run_wide

    found = env.explained(os.environ, tables_file, global_options().get("env_file"))
    shown = [
        (f"{server}.{part}", value, origin)
        for server, parts in found.servers.items()
        for part, value, origin in parts
    ]  # fmt: skip
    shown += [(name, value, origin) for name, (value, origin) in found.variables.items()]
    return shown + [(f"settings.{name}", value, origin) for name, (value, origin) in run_wide(tables_file).items()]


def _lines(shown: Sequence[Shown]) -> list[str]:
    return [f"{name} = {_in_words(value)} ({origin})" for name, value, origin in shown]


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
    if table:
        shown: list[Shown] = [(f"{table}.{key}", *found) for key, found in explained(tables_file, table).items()]
    else:
        shown = _settings(tables_file)
    if as_json:
        about = Identity(environment=os.environ.get("ETL_ENVIRONMENT", "").strip() or None)
        show_document(0, about, settings=[{"name": name, "value": value, "origin": at} for name, value, at in shown])
        return
    for line in _lines(shown):
        click.echo(printable(line))


@config.command(examples=["arrowetl config schema arrowetl", "arrowetl config schema fleet"])
@click.argument("name", type=click.Choice(["arrowetl", "tables", "fleet"]))
@without_options
def schema(name: str) -> None:
    """Print the JSON Schema of a file, by which editors complete and check it."""
    from arrowetl.config import schemas

    click.echo(schemas.text(name), nl=False)


def _in_words(value: Any) -> str:
    """
    As YAML has it, so that it can be pasted.

    >>> _in_words(None), _in_words(1.0), _in_words("auto"), _in_words(["Num", "x: y"]), _in_words(False)
    ('none', '1', 'auto', "[Num, 'x: y']", 'false')
    """
    import yaml

    if value is None or isinstance(value, str):
        return "none" if value is None else value
    if isinstance(value, float):
        return f"{value:g}"
    return yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False).removesuffix("...\n").strip()


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
    if suggest_phi and as_json:
        raise click.UsageError("--suggest-phi prints YAML: leave out --json")
    with open_etl("source", wants=("warehouse",)) as etl:
        if suggest_phi:
            click.echo(render_run.policy(*etl.suggest_phi()), nl=False)
            return
        with watching() as watch:
            analysis = etl.analyze(output, watch)
    code = int(fail_on is not None and analysis.is_breaking)
    if as_json:
        show_document(code, etl.settings.identity, **analysis.as_json())
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
