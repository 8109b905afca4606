"""
docs/reference/cli.md, from the commands themselves.

`nox -s pages` writes it; `project/test_docs.py` shows that it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from arrowetl.cli import main
from arrowetl.cli.options import Command

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md"

HEAD = """\
# Command line

Every command and option, as its `--help` prints them. `python -m arrowetl` is the same program.

An option that is listed with several commands means the same in each. `--config`, `--env-file`, `--log-format`, `-v`,
`-q` and `--debug` may come before or after any command. `--config` and `--env-file` may also be set by the variables
ARROWETL_CONFIG and ARROWETL_ENV_FILE.

## Exit codes

| code | meaning |
|---|---|
"""


def commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield f"{before}{name}", command
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def about(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=f"arrowetl {name}")
    level = "##" if " " not in name else "###"
    yield f"{level} arrowetl {name}"
    yield ""
    aliases = [alias for alias, meant in main.ALIASES.items() if meant == name]
    yield (command.help or "").strip() + (f" Also called `arrowetl {aliases[0]}`." if aliases else "")
    yield ""
    if isinstance(command, click.Group):
        return
    arguments = " ".join(command.collect_usage_pieces(context)).replace("[OPTIONS]", "").strip()
    if arguments:
        yield f"    {arguments}"
        yield ""
    rows = [
        record
        for one in command.get_params(context)
        if isinstance(one, click.Option) and (record := one.get_help_record(context)) and one.opts[-1] != "--help"
    ]
    if rows:
        yield "| option | |"
        yield "|---|---|"
        for declared, words in rows:
            yield f"| `{declared.replace('|', ' or ')}` | {words.replace('|', ' or ')} |"
        yield ""
    if isinstance(command, Command) and command.examples:
        yield from (f"    {example}" for example in command.examples)
        yield ""


def written() -> str:
    codes = [f"| {code} | {words} |" for code, words in main.EXIT_CODES.items()]
    lines = [line for name, command in commands(main.commands) for line in about(name, command)]
    return HEAD + "\n".join([*codes, "", *lines]).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(written())
