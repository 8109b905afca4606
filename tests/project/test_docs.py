"""
What can go stale: README and pages have every command, option, variable and key, types and steps as the code has them.
"""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import click
import pytest
from support import cli_page, types_page

from arrowetl.cli import main
from arrowetl.cli.fleet_commands import fleet
from arrowetl.config import connections, env, fleet_yml
from arrowetl.config.keys import ARROWETL_YML, COLUMN_OVERRIDES, KEYS, OVERRIDES, SETTINGS
from arrowetl.model.connection import VARIABLES
from arrowetl.model.events import Step
from arrowetl.sandbox import programs
from arrowetl.state import ledger

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "arrowetl"
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
DOCS_FOLDER = ROOT / "docs"
PAGES = {
    path.relative_to(DOCS_FOLDER).with_suffix("").as_posix(): path.read_text()
    for path in sorted(DOCS_FOLDER.rglob("*.md"))
}
DOCS = "\n".join([README, CONTRIBUTING, *PAGES.values()])
CONTEXT = click.Context(main.commands)


def part(name: str, text: str = README) -> str:
    return text.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->")[0]


@pytest.mark.parametrize("command", main.commands.list_commands(CONTEXT))
def test_every_command_is_in_the_readme(command: str) -> None:
    """As one types it; the demo as nox does."""
    assert f"arrowetl {command}" in README or command == "sandbox"


OPTIONS = sorted(
    {
        (name, parameter.opts[-1])
        for name, command in (*main.commands.commands.items(), *((f"fleet {n}", c) for n, c in fleet.commands.items()))
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.opts[-1] not in ("--config", "--env-file", "--verbose")
    }
)


@pytest.mark.parametrize(("command", "option"), OPTIONS, ids=lambda value: value)
def test_every_option_is_documented(command: str, option: str) -> None:
    """Somebody who reads learns that there is such a thing."""
    assert option in DOCS


def test_every_option_has_help() -> None:
    silent = [
        f"{name} {parameter.opts[-1]}"
        for name, command in main.commands.commands.items()
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.help
    ]

    assert silent == []


def test_every_variable_is_documented() -> None:
    """Those of arrowetl, of the sandbox, of the three servers."""
    assert programs.POSTGRES_VARIABLE in DOCS
    names = [*env.ARROWETL_VARIABLES, "ETL_ENVIRONMENT"]
    names += [f"{prefix}_HOST" for prefix in VARIABLES.values()]
    names += [*(f"_{part}" for part in connections.parts_of("warehouse")), *connections.SSL_MODES]

    assert [name for name in names if name not in PAGES["reference/settings"]] == []


def test_every_override_is_documented() -> None:
    """What arrowetl.yml may hold beyond what analyze writes, and what it may hold of a column."""
    own = OVERRIDES.keys() - KEYS.keys() | COLUMN_OVERRIDES.keys() | ARROWETL_YML.keys() | SETTINGS.keys()

    assert [key for key in own if f"{key}:" not in PAGES["reference/settings"]] == []


def test_the_types_page_matches_the_rules() -> None:
    """After a change of the rules, `nox -s pages` writes it."""
    assert types_page.PAGE.read_text() == types_page.written()


def test_the_command_line_page_matches_the_commands() -> None:
    """After a change of the commands, `nox -s pages` writes it."""
    assert cli_page.PAGE.read_text() == cli_page.written()


def test_every_command_is_in_one_section_of_the_help() -> None:
    listed = [one.name for those in main.SECTIONS.values() for one in those]

    assert sorted(listed) == sorted(main.commands.commands)
    assert all(len(one.get_short_help_str(200)) < 80 for those in main.SECTIONS.values() for one in those)


def test_the_performance_figures_match_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    """`nox -s bench` makes the README's part, the page and the picture from its JSON."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    results = importlib.import_module("results")
    document = json.loads((ROOT / "benchmarks" / "results.json").read_text())

    assert part("performance", PAGES["explanation/benchmarks"]) == results.markdown(document)
    assert part("numbers") == results.brief(document)
    assert (ROOT / "benchmarks" / "results.md").read_text() == results.markdown(document)
    assert (ROOT / "benchmarks" / "results.svg").read_text() == results.picture(document)


def test_every_package_is_on_the_map() -> None:
    """Where things are: each package, and each module that is in none."""
    named = set(re.findall(r"`(\w+)(?:\.py|/)`", part_of_section("Where things are")))
    there = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}

    assert there - named == {"__main__"}
    assert named <= {path.stem for path in PACKAGE.rglob("*.py")} | there


def part_of_section(heading: str) -> str:
    return CONTRIBUTING.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def test_the_scale_page_matches_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it computes, it computes from what was measured, and fleet.yml's keys are all explained."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    scale = importlib.import_module("scale")
    page = PAGES["explanation/scale"]

    assert page == scale.with_part(page, json.loads((ROOT / "benchmarks" / "scale.json").read_text()))


@pytest.mark.parametrize("key", [*fleet_yml.SETTINGS, *fleet_yml.CLINIC])
def test_every_fleet_key_is_documented(key: str) -> None:
    assert re.search(rf"\b{key}:", PAGES["how-to/load-many-clinics"])


def test_the_documented_steps_match_the_log() -> None:
    """By their numbers and words."""
    assert part("steps", PAGES["explanation/run"]) == "".join(f"{step}. {step.words}\n" for step in Step)


@pytest.mark.parametrize("page", PAGES)
def test_pages_have_a_title_and_are_reached_from_the_first(page: str) -> None:
    """From the index, for who reads files, and from its contents, for who reads the site."""
    assert PAGES[page].splitlines()[0].startswith("# ")
    assert "docs/index.md" in README
    assert page == "index" or (f"({page}.md)" in PAGES["index"] and f"\n{page}\n" in PAGES["index"])


LINK = re.compile(r"\]\(([^)#:\s]*)(?:#([\w-]+))?\)")


@pytest.mark.parametrize(
    "page", ["README", "CONTRIBUTING", "SECURITY", "examples/dbt/README", *(f"docs/{page}" for page in PAGES)]
)
def test_links_resolve(page: str) -> None:
    """To a file, and to a heading that it has."""
    path = ROOT / f"{page}.md"
    for target, heading in LINK.findall(path.read_text()):
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), target
        if heading:
            there = [
                re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
                for line in file.read_text().splitlines()
                if line.startswith("#")
            ]
            assert heading in there


@pytest.mark.parametrize("table", sorted(ledger.OURS | {"etl_copy_status"}))
def test_every_tracking_table_is_documented(table: str) -> None:
    assert f"`{table}`" in DOCS
