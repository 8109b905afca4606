"""
The commands of the private servers: `arrowetl demo`, `sandbox up|seed|down|status`.

The partner of `main`, which lists all commands. What they do is in `sandbox`, which
is imported only here: no other command needs it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import click

from arrowetl.cli.opening import watching
from arrowetl.cli.options import (
    Command,
    CommandGroup,
    json_option,
    option,
    show,
    show_document,
    with_log_options,
    without_options,
)
from arrowetl.errors import ConfigurationError

_scale_option = option(
    "--scale", default="small", show_default=True, help="tiny, small, clinic, or a factor of the clinic."
)


def demo_of_sandbox() -> ModuleType:
    """
    `demo`, with all that it needs.

    Raises:
        ConfigurationError: arrowetl was installed without it.
    """
    try:
        from arrowetl.cli import demo
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the sandbox and the demo need {error.name}, which is not installed", "pip install 'arrowetl[sandbox]'"
        ) from None
    return demo


@click.command(cls=Command, examples=["arrowetl demo", "arrowetl demo --scale tiny --keep"])
@_scale_option
@option("--keep", is_flag=True, help="Leave the servers running, and print how to reach them.")
@with_log_options
def demo(scale: str, keep: bool) -> None:
    """Run everything on throw-away servers with sample data."""
    sys.exit(demo_of_sandbox().demo(scale, keep, show, watching))


@click.group(cls=CommandGroup)
def sandbox() -> None:
    """Manage the demo's servers, step by step."""


@sandbox.command(examples=['eval "$(arrowetl sandbox up)"', "arrowetl sandbox up --ports 3306,3307,5432"])
@option("--ports", metavar="S,R,W", help="Ports of source, replica and warehouse. [default: unusual fixed ones]")
@option(
    "--postgres", type=click.Path(path_type=Path), help="Directory with initdb and postgres, instead of the wheel's."
)
@without_options
def up(ports: str | None, postgres: Path | None) -> None:
    """Start the servers that do not run, and print the settings that lead there."""
    for line in demo_of_sandbox().up(ports, postgres):
        click.echo(line)


@sandbox.command(examples=["arrowetl sandbox seed --scale tiny"])
@_scale_option
@without_options
def seed(scale: str) -> None:
    """Fill the source with the synthetic OpenDental again."""
    click.echo(demo_of_sandbox().seed(scale), err=True)


@sandbox.command(examples=["arrowetl sandbox down --delete"])
@option("--delete", is_flag=True, help="Remove their data as well.")
@without_options
def down(delete: bool) -> None:
    """Stop the servers."""
    click.echo(demo_of_sandbox().down(delete), err=True)


@sandbox.command("status", examples=["arrowetl sandbox status --json"])
@json_option
@without_options
def sandbox_status(as_json: bool) -> None:
    """Show where the servers listen."""
    places = demo_of_sandbox().places()
    if as_json:
        show_document(0, running=places)
    else:
        click.echo("\n".join(f"{server}: {place}" for server, place in places.items()) or "not up: arrowetl sandbox up")
