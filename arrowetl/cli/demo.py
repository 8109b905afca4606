"""
The demo and the sandbox's commands, in words for a terminal.

Everything it does a user could do with the commands it names; it uses only
their API.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import click
from rich.console import RenderableType

import arrowetl
from arrowetl.cli import progress, render_run, render_verify
from arrowetl.errors import ConfigurationError, UsageError
from arrowetl.model.connection import CATEGORIES
from arrowetl.model.humanize import count, duration
from arrowetl.sandbox import opendental, servers
from arrowetl.sandbox import seed as seeding

_NAME = "up"


def demo(
    scale: str,
    keep: bool,
    show: Callable[[RenderableType], None],
    watching: Callable[[], AbstractContextManager[progress.Watch]],
) -> int:
    """
    The main job, end to end, on servers of its own.

    Returns:
        The exit code: that of the run, or of the comparison.
    """
    factor = _factor(scale)
    began = time.monotonic()
    name = "demo-kept" if keep else f"demo-{time.time_ns()}"
    try:
        with _phase("servers: MariaDB as source, MariaDB as replica, PostgreSQL as warehouse"):
            sandbox = servers.start(name, owned=not keep)
        with _phase(f"synthetic OpenDental at {factor:g} of a clinic") as report:
            rows = seeding.seed(sandbox.admin("source"), scale)
            report(f"{len(opendental.tables(factor))} tables, {count(rows)} rows")
        with (
            tempfile.TemporaryDirectory() as directory,
            arrowetl.open(sandbox.environment(), Path(directory) / "tables.yml") as etl,
        ):
            with _phase("arrowetl analyze") as report:
                tables = etl.analyze().document["tables"].values()
                counts = {c: sum(t["performance_category"] == c for t in tables) for c in CATEGORIES}
                report(", ".join(f"{number} {category}" for category, number in counts.items() if number))
            with _phase("arrowetl run --all") as report, watching() as watch:
                summary = etl.run(on_event=watch, all=True)
                report(f"{count(sum(o.rows_extracted for o in summary.outcomes))} rows to both targets")
            with _phase("arrowetl verify --all: source, replica and warehouse") as report, watching() as watch:
                verdicts = etl.verify(on_event=watch)
                report(f"{sum(v.verdict == 'equal' for v in verdicts.tables)} of {len(verdicts.tables)} tables equal")
        click.echo()
        show(render_run.summary(summary))
        show(render_verify.verdicts(verdicts))
        click.echo(f"demo: {duration(time.monotonic() - began)}")
        if keep:
            click.echo("the servers run on; to reach them:")
            for line in _exports(sandbox):
                click.echo(f"  {line}")
            click.echo(f"  (their data: {sandbox.directory})")
        return summary.exit_code or verdicts.exit_code
    finally:
        if not keep:
            servers.stop(name, delete=True)


@contextmanager
def _phase(what: str) -> Iterator[Callable[[str], None]]:
    """
    A line for what is being done, ended by how long it took.

    On a terminal the line is printed when it is done: the progress that is shown meanwhile would take its place.
    """
    is_terminal = sys.stdout.isatty()
    if not is_terminal:
        click.echo(f"{what} … ", nl=False)
    clock, said = time.monotonic(), list[str]()
    yield said.append
    took = f"{time.monotonic() - clock:.1f} s" + (f" ({said[0]})" if said else "")
    click.echo(f"{what} … {took}" if is_terminal else took)


def _factor(scale: str) -> float:
    try:
        return opendental.factor_of(scale)
    except ValueError as error:
        raise UsageError(
            f"--scale {scale}: no scale", "tiny, small, clinic, or a factor of the clinic, up to 100"
        ) from error


def up(ports: str | None, postgres: Path | None) -> list[str]:
    """Start the sandbox; the lines that a shell evaluates to reach it."""
    # One that there is keeps the ports it has.
    chosen = None if servers.status(_NAME) else servers.PORTS
    if ports:
        numbers = [port.strip() for port in ports.split(",")]
        if len(numbers) != 3 or not all(port.isdigit() and 0 < int(port) < 65_536 for port in numbers):
            raise UsageError(f"--ports {ports}: three numbers from 1 to 65535, with commas between them")
        chosen = dict(zip(servers.PORTS, map(int, numbers), strict=True))
    return _exports(servers.start(_NAME, chosen, owned=False, postgres=postgres))


def seed(scale: str) -> str:
    _factor(scale)
    if not servers.status(_NAME):
        raise ConfigurationError("sandbox: it is not up", "arrowetl sandbox up")
    clock = time.monotonic()
    sandbox = servers.start(_NAME, owned=False)
    rows = seeding.seed(sandbox.admin("source"), scale)
    return f"{count(rows)} rows in {duration(time.monotonic() - clock)}"


def down(delete: bool) -> str:
    stopped = servers.stop(_NAME, delete)
    kept = "" if delete else "; their data stays (--delete removes it)"
    return f"stopped: {', '.join(stopped) or 'nothing ran'}{kept}"


def places() -> dict[str, str]:
    """Server → where it listens; nothing where none runs."""
    return {server: str(place) for server, place in servers.status(_NAME).items()}


def _exports(sandbox: servers.Sandbox) -> list[str]:
    return [f"export {name}={shlex.quote(value)}" for name, value in sandbox.environment().items()]
