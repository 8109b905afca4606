"""
What can go stale: the README has every command, option, variable and key, and the types as the code has them.
"""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import click
import pytest
from test_tidy import MODULES, PACKAGE

from arrowetl import cli, config, fleet_file, report, rules
from arrowetl.keys import COLUMN_OVERRIDES, KEYS, OVERRIDES
from arrowetl.route import VARIABLES
from arrowetl.sandbox import programs

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CONTEXT = click.Context(cli.commands)


def part(name: str) -> str:
    return README.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->")[0]


@pytest.mark.parametrize("command", cli.commands.list_commands(CONTEXT))
def test_a_command_is_in_the_readme(command: str) -> None:
    """As one types it; the demo as nox does."""
    assert f"arrowetl {command}" in README or f"nox -s {command}" in README


def test_the_options_of_run_are_in_the_readme_or_their_own_help() -> None:
    """Every option says what it is for."""
    silent = [
        f"{name} {parameter.opts[-1]}"
        for name, command in cli.commands.commands.items()
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.help
    ]

    assert silent == []


def test_every_variable_is_in_the_readme() -> None:
    """Those of arrowetl, of the sandbox, of the three servers."""
    names = [*config.ARROWETL_VARIABLES, programs.POSTGRES_VARIABLE, "ETL_ENVIRONMENT"]
    names += [f"{prefix}_HOST" for prefix in VARIABLES.values()]
    names += ["_SSL_MODE", "_SSL_CA", "_SCHEMA", "_HOST _PORT _DB _USER _PASSWORD", *config.SSL_MODES]

    assert [name for name in names if name not in README] == []


def test_every_key_a_person_may_set_is_in_the_readme() -> None:
    """What `overrides:` may hold beyond what analyze writes, and what it may hold of a column."""
    own = OVERRIDES.keys() - KEYS.keys() | COLUMN_OVERRIDES.keys()

    assert [key for key in own if f"{key}:" not in README] == []


def test_the_types_are_those_of_the_code() -> None:
    """The README's table is made from the rules; after a change, put what this prints between its markers."""
    assert part("types").strip() == report.types_markdown(rules.RULES).strip()


def test_the_performance_is_what_the_benchmark_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """`nox -s bench` makes the README's part, the page and the picture from its JSON."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    results = importlib.import_module("results")
    document = json.loads((ROOT / "benchmarks" / "results.json").read_text())

    assert part("performance") == results.markdown(document)
    assert (ROOT / "benchmarks" / "results.md").read_text() == results.markdown(document)
    assert (ROOT / "benchmarks" / "results.svg").read_text() == results.picture(document)


def test_every_module_is_on_the_map() -> None:
    """Where things are: each module, or its folder."""
    named = set(re.findall(r"`(\w+)(?:\.py|/)`", part_of_section("Where things are")))
    there = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES}

    assert there - named == {"__init__", "__main__"}
    assert named <= there


def part_of_section(heading: str) -> str:
    return README.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def test_the_page_on_scale_is_of_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it computes, it computes from what was measured, and fleet.yml's keys are all explained."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    scale = importlib.import_module("scale")
    page = (ROOT / "docs" / "scale.md").read_text()

    assert page == scale.with_part(page, json.loads((ROOT / "benchmarks" / "scale.json").read_text()))


@pytest.mark.parametrize("key", [*fleet_file.SETTINGS, *fleet_file.CLINIC])
def test_a_key_of_the_fleet_is_on_its_page(key: str) -> None:
    assert re.search(rf"\b{key}:", (ROOT / "docs" / "fleet.md").read_text())
