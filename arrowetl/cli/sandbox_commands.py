"""
The commands of the private servers: `arrowetl sandbox up|seed|down|status`.

The partner of `main`, which has all others. What they do is in `sandbox`, which
is imported only here: no other command needs it.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import click

from arrowetl.cli.options import with_global_options
from arrowetl.errors import UsageError


def demo_of_sandbox() -> ModuleType:
    """
    `demo`, with all that it needs.

    Raises:
        UsageError: arrowetl was installed without it.
    """
    try:
        from arrowetl.cli import demo
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the sandbox and the demo need {error.name}, which is not installed", "pip install 'arrowetl[sandbox]'"
        ) from None
    return demo


@click.group()
def sandbox() -> None:
    """The demo's servers, step by step."""


@sandbox.command()
@click.option("--ports", metavar="S,R,W", help="Ports of source, replica and warehouse; default unusual fixed ones.")
@click.option(
    "--postgres",
    type=click.Path(path_type=Path),
    help="A directory with initdb and postgres, instead of the wheel.",
)
@with_global_options
def up(ports: str | None, postgres: Path | None) -> None:
    """Start them, or those that do not run; print the settings that lead there."""
    for line in demo_of_sandbox().up(ports, postgres):
        click.echo(line)


@sandbox.command()
@click.option("--scale", default="small", show_default=True, help="tiny, small, clinic, or a factor of the clinic.")
@with_global_options
def seed(scale: str) -> None:
    """Fill the source with the synthetic OpenDental, again."""
    click.echo(demo_of_sandbox().seed(scale), err=True)


@sandbox.command()
@click.option("--delete", is_flag=True, help="Remove their data, too.")
@with_global_options
def down(delete: bool) -> None:
    """Stop them."""
    click.echo(demo_of_sandbox().down(delete), err=True)


@sandbox.command("status")
@with_global_options
def sandbox_status() -> None:
    """Where they listen."""
    click.echo(demo_of_sandbox().status())
