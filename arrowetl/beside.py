"""
The commands of the private servers: `arrowetl sandbox up|seed|down|status`.

The partner of `cli`, which has all others. What they do is in `sandbox`, which
is imported when it is asked for: nobody else needs it.
"""

from __future__ import annotations

from pathlib import Path

import click

from arrowetl.options import shared


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
@shared
def up(ports: str | None, postgres: Path | None) -> None:
    """Start them, or those that do not run; print the settings that lead there."""
    from arrowetl.sandbox import demo as sandbox_demo

    for line in sandbox_demo.up(ports, postgres):
        click.echo(line)


@sandbox.command()
@click.option("--scale", default="small", show_default=True, help="tiny, small, clinic, or a factor of the clinic.")
@shared
def seed(scale: str) -> None:
    """Fill the source with the synthetic OpenDental, anew."""
    from arrowetl.sandbox import demo as sandbox_demo

    click.echo(sandbox_demo.seed(scale), err=True)


@sandbox.command()
@click.option("--delete", is_flag=True, help="Remove their data, too.")
@shared
def down(delete: bool) -> None:
    """Stop them."""
    from arrowetl.sandbox import demo as sandbox_demo

    click.echo(sandbox_demo.down(delete), err=True)


@sandbox.command("status")
@shared
def sandbox_status() -> None:
    """Where they listen."""
    from arrowetl.sandbox import demo as sandbox_demo

    click.echo(sandbox_demo.status())
