"""
`arrowetl init`: ask for the servers, try them, write conf/, analyze, and say what is next.

The partner of `setup_commands`, whose commands do the same one by one. Nothing is written before the servers answered.
"""

from __future__ import annotations

import os
import secrets
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

import arrowetl
from arrowetl import lazy
from arrowetl.cli.opening import watching
from arrowetl.cli.options import OUTPUT, Command, global_options, option, show, with_log_options
from arrowetl.cli.screen import stderr
from arrowetl.errors import EnvironmentError, UsageError
from arrowetl.model.connection import MASK_KEY_VARIABLE

if TYPE_CHECKING:
    from arrowetl.cli import render_run
    from arrowetl.config import connections, env, first_files
else:
    render_run = lazy.module("arrowetl.cli.render_run")
    connections, env, first_files = (
        lazy.module(f"arrowetl.config.{name}") for name in ("connections", "env", "first_files")
    )

_ASKED = {
    "source": "Source, which is only read (mysql://user@host/database)",
    "replica": "Replica, a MySQL copy of it (mysql://user@host/database; empty for none)",
    "warehouse": "Warehouse (postgresql://user@host/database?schema=raw)",
}


@click.command(
    cls=Command,
    examples=[
        "arrowetl init",
        "arrowetl init --no-input --source mysql://reader@10.0.0.5/opendental --warehouse postgresql://etl@db/analytics",
    ],
)
@option("--source", metavar="URL", help="mysql://user@host:port/database")
@option("--replica", metavar="URL", help="mysql://user@host:port/database; without one only the warehouse is written.")
@option("--warehouse", metavar="URL", help="postgresql://user@host:port/database?schema=raw")
@option("--environment", default="production", show_default=True, help="Name of the environment these servers are.")
@option("--directory", type=click.Path(path_type=Path), default=Path("conf"), show_default=True, heading=OUTPUT,
        help="Where to write.")  # fmt: skip
@option("--no-input", is_flag=True, help="Ask nothing: passwords come from ARROWETL_SOURCE_PASSWORD, "
        "ARROWETL_REPLICA_PASSWORD and ARROWETL_WAREHOUSE_PASSWORD.")  # fmt: skip
@option("--force", is_flag=True, help="Replace settings that are there, and write them although a server refuses.")
@with_log_options
def init(environment: str, directory: Path, no_input: bool, force: bool, **given: str | None) -> None:
    """Ask for the servers, try them, write conf/, and analyze the source."""
    path = first_files.env_file(directory, environment)
    if path.exists() and not force:
        raise UsageError(f"{path} is there already, and was left as it is", "--force replaces it")
    first_files.require_writable(directory)
    # In `test` nothing that was exported for production counts.
    test = "TEST_" if environment == env.TEST else ""
    urls, passwords = _asked(given, no_input, test)
    variables = {"ETL_ENVIRONMENT": environment}
    for server, url in urls.items():
        variables[f"{test}{connections.OURS[server]}_URL"] = url
        if server in passwords:
            variables[f"{test}{connections.OURS[server]}_PASSWORD"] = passwords[server]
    # Settings that are to be replaced are not read.
    with tempfile.NamedTemporaryFile() as empty:
        try:
            place = directory / "tables.yml" if directory.is_dir() else None
            with arrowetl.open(variables, place, Path(empty.name), needs=tuple(urls)) as etl:
                found = etl.test_connections()
        except EnvironmentError as error:
            raise EnvironmentError(error.message, "say them in the URLs, or set them in the environment") from error
    show(render_run.examined(found))
    if not all(one.good for one in found) and not force:
        stderr().print("arrowetl: nothing was written: a server refuses, or lacks something; see above. --force writes "
                       "the settings all the same", style="red", soft_wrap=True)  # fmt: skip
        sys.exit(4)
    for written in first_files.write(directory, environment, urls, passwords, _others(path)):
        click.echo(f"wrote {written}")
    tables_file = directory / "tables.yml"
    if next(one for one in found if one.endpoint.name == "source").good:
        global_options()["tables_file"] = tables_file
        with (
            arrowetl.open(
                {"ETL_ENVIRONMENT": environment}, tables_file, needs=("source",), wants=("warehouse",)
            ) as etl,
            watching() as watch,
        ):
            analysis = etl.analyze(on_event=watch)
        tables = len(analysis.document["tables"])
        click.echo(f"wrote {analysis.path}: {tables} tables")
    config = "" if directory == Path("conf") else f" --config {shlex.quote(str(tables_file))}"
    click.echo("next:")
    if not all(one.good for one in found):
        click.echo(f"  arrowetl{config} test-connections        # until no server refuses; then")
    click.echo(f"  export ETL_ENVIRONMENT={environment}")
    click.echo(f"  arrowetl{config} run --all --dry-run     # what would happen; then without --dry-run")
    click.echo(f"  arrowetl{config} verify --all            # every value of every row")
    click.echo(f"  arrowetl{config} report --open           # the last run as a page")


def _others(path: Path) -> dict[str, str]:
    """What settings that are replaced say of anything but servers; the key of masks is made where there is none."""
    old = {name: value for name, value in env.read_variables(path).items() if value is not None}
    servers = {f"{test}{name}" for test in ("", "TEST_") for name in connections.variables()}
    return {MASK_KEY_VARIABLE: secrets.token_urlsafe(24)} | {k: v for k, v in old.items() if k not in servers}


def _answer(words: str, default: str | None, hide_input: bool = False) -> str:
    """
    Raises:
        UsageError: nobody is there to answer.
    """
    try:
        return str(click.prompt(words, default=default, hide_input=hide_input, show_default=False, err=True))
    except click.Abort:
        if sys.stdin.isatty():
            raise
        raise UsageError(
            "standard input ended before all was answered",
            "--no-input asks nothing: give the URLs as options, and passwords in ARROWETL_SOURCE_PASSWORD and so on",
        ) from None


def _given_password(server: str, test: str) -> str:
    name = f"{test}{connections.OURS[server]}_PASSWORD"
    if (place := os.environ.get(f"{name}_FILE")) and name not in os.environ:
        return connections.password_in(place)
    return os.environ.get(name, "")


def _asked(given: dict[str, str | None], no_input: bool, test: str) -> tuple[dict[str, str], dict[str, str]]:
    """
    Server → URL and password, of options, of the environment, or as a person answers.

    Args:
        test: what names of variables must begin with.
    """
    urls, passwords = dict[str, str](), dict[str, str]()
    for server, words in _ASKED.items():
        url = given.get(server) or os.environ.get(f"{test}{connections.OURS[server]}_URL", "")
        if not url and not no_input:
            url = _answer(words, default="" if server == "replica" else None)
        if not url:
            if server != "replica":
                raise UsageError(f"no {server} was named", f"--{server} URL, or {connections.OURS[server]}_URL")
            continue
        urls[server], inside = connections.without_password(url)
        password = inside or _given_password(server, test)
        if not password and not no_input:
            password = _answer(f"Password at the {server}", default="", hide_input=sys.stdin.isatty())
        if password:
            passwords[server] = password
    return urls, passwords
