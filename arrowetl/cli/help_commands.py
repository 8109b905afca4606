"""
The commands that explain: `arrowetl types`, `completion`, `help`.

The partner of `main`, which lists all commands. None of them asks a server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import get_completion_class

from arrowetl import lazy
from arrowetl.cli.options import Command, json_option, show, show_document, without_options
from arrowetl.errors import UsageError

if TYPE_CHECKING:
    from arrowetl.cli import render_run
else:
    render_run = lazy.module("arrowetl.cli.render_run")

_SHELLS = ("bash", "zsh", "fish")


@click.command(cls=Command, examples=["arrowetl types", "arrowetl types json bit", "arrowetl types --json"])
@click.argument("names", nargs=-1, metavar="[TYPE]...")
@json_option
@without_options
def types(names: tuple[str, ...], as_json: bool) -> None:
    """Show how each MySQL type is mapped."""
    from arrowetl.types import rules

    wanted = [rule for rule in rules.RULES if not names or {rule.name, *rule.mysql} & {name.lower() for name in names}]
    if not wanted:
        raise UsageError(f"no type {', '.join(names)}", "`arrowetl types` lists all of them")
    if as_json:
        headings, *rows = render_run.type_rows(wanted)
        show_document(0, types=[dict(zip(headings, row, strict=True)) for row in rows])
    else:
        show(render_run.types(wanted))


@click.command(cls=Command, examples=['eval "$(arrowetl completion bash)"', "arrowetl completion fish | source"])
@click.argument("shell", type=click.Choice(_SHELLS))
@without_options
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the shell's completion, which knows tables and clinics as well."""
    completing = get_completion_class(shell)
    assert completing is not None
    click.echo(completing(context.find_root().command, {}, "arrowetl", "_ARROWETL_COMPLETE").source())


@click.command("help", cls=Command, examples=["arrowetl help run", "arrowetl help fleet status"])
@click.argument("names", nargs=-1, metavar="[COMMAND]...")
@without_options
@click.pass_context
def help_(context: click.Context, names: tuple[str, ...]) -> None:
    """Show the help of a command."""
    there = context.find_root()
    for name in names:
        command = there.command
        inner = command.get_command(there, name) if isinstance(command, click.Group) else None
        if inner is None:
            raise click.UsageError(f"No such command '{' '.join(names)}'.")
        there = click.Context(inner, info_name=inner.name, parent=there)
    click.echo(there.get_help())
