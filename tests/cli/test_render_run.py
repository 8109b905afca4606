"""
What a person sees: the verdict at a glance, failures last, nothing cut in a pipe.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console, RenderableType
from support.catalog_values import PATIENT, planned
from support.outcomes import BAD, GOOD, RUN

from arrowetl import limits
from arrowetl.cli import progress, render_run
from arrowetl.model.events import PartitionLoaded, RunPlanned, TableEnded, TableStarted
from arrowetl.model.result import Failure
from arrowetl.types import rules

PLAN = planned(PATIENT)


def shown(what: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=240, highlight=False)
    console.print(what)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 00 s"), (7260, "2 h 01 min")]
)
def test_durations_are_printed_in_the_next_larger_unit(seconds: float, words: str) -> None:
    """No sixty seconds, no ninety minutes."""
    assert render_run.duration(seconds) == words


def test_a_summary_ends_with_failures_and_remedies() -> None:
    """The verdict, then the failures, each with its remedy beneath."""
    lines = shown(render_run.summary(RUN)).splitlines()

    assert lines[-3].startswith("failed: 1 of 2 tables, 10 rows")
    assert lines[-2:] == ["✗ payment: lost", "  run again"]
    assert any("patient.Birthdate" in line and "zero date" in line for line in lines)


def test_the_tally_sums_tables_rows_bytes_and_time_left() -> None:
    """Tables, rows, bytes, the tables at work with their partitions, the time left."""
    tally = progress.Tally()
    for event in (RunPlanned((PLAN,)), TableStarted("patient", 2), PartitionLoaded("patient", 2, 100)):
        tally.add(event)

    assert (tally.tables, tally.rows, tally.bytes, tally.busy_words()) == (1, 2, 100, "patient 1/2")
    tally.add(TableEnded(GOOD))
    tally.add(TableEnded(BAD))
    assert (tally.tables_ended, tally.failed, tally.busy_words()) == (2, 1, "")
    assert "1 failed" in tally.words()


def test_the_time_left_follows_the_slower_of_tables_and_rows() -> None:
    """Half of the tables and a quarter of the rows: three times as long again; no guess at the very start."""
    tally = progress.Tally()
    assert tally.seconds_left(1.0) is None
    tally.tables, tally.tables_ended, tally.rows_expected, tally.rows = 4, 2, 100, 25

    assert tally.seconds_left(10.0) == pytest.approx(30.0)


def test_progress_is_lines_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """One every so often, and one for each failure."""
    monkeypatch.setattr(limits, "progress_line_seconds", 0)
    console = Console(file=io.StringIO(), width=200)
    watch = progress.Lines(console, verbose=False)
    for event in (RunPlanned((PLAN,)), TableStarted("payment", 1), TableEnded(BAD)):
        watch(event)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]

    assert "payment: lost" in lines
    assert lines[1].startswith("0/1 tables; ")
    assert "in progress: payment 0/1" in lines[1]


def test_progress_is_bars_on_a_terminal() -> None:
    """Tables done of all, the rate, and the table at work with its partitions."""
    console = Console(file=io.StringIO(), width=150, force_terminal=True, color_system=None)
    watch = progress.Bars(console)
    for event in (RunPlanned((PLAN,)), TableStarted("patient", 7), PartitionLoaded("patient", 3, 100)):
        watch(event)
    watch._live.refresh()
    watch.close()
    screen = console.file.getvalue()  # type: ignore[attr-defined]

    assert "0/1" in screen
    assert "3 rows" in screen
    assert "patient 1/7" in screen


def test_types_lists_every_rule() -> None:
    """Each rule has its line."""
    lines = shown(render_run.types(rules.RULES))

    assert [rule.name for rule in rules.RULES if rule.name not in lines] == []


def test_types_fit_a_narrow_terminal() -> None:
    """Six columns do not: each rule is a few lines there."""
    said = io.StringIO()
    Console(file=said, width=80).print(render_run.types(rules.RULES))

    assert "  warehouse: boolean\n" in said.getvalue()
    assert [line for line in said.getvalue().splitlines() if "…" in line and "(…)" not in line] == []


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("arrowetl ru", ["run", "runs"]),
        ("arrowetl run --publish ", ["each", "together"]),
        ("arrowetl run --table pa", ["patient", "payment"]),
        ("arrowetl run pa", ["patient", "payment"]),
        ("arrowetl run --table patient,pay", ["patient,payment"]),
        ("arrowetl snapshot pat", ["patient"]),
        ("arrowetl bench pay", ["payment"]),
    ],
)
def test_completion_knows_commands_options_and_tables(words: str, wanted: list[str], tmp_path: Path) -> None:
    """Commands, options and the tables of tables.yml; by the program that a shell asks."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "tables.yml").write_text("tables: {patient: {}, payment: {}, recall: {}}\n")
    asked = {"_ARROWETL_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "arrowetl")], env={**os.environ, **asked}, cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert [line.partition(",")[2] for line in done.stdout.splitlines()] == wanted


def test_version_lists_the_drivers(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "arrowetl", "--version"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert re.fullmatch(r"arrowetl \S+ \((\S+ \S+, ){2,}\S+ \S+\)\n", done.stdout)


def test_collateral_failures_are_listed_once() -> None:
    """Those that were withheld, and those that a stop left: the cause comes first."""
    failures = [
        Failure("WithheldError", "a: withheld", "mend"),
        Failure("Interrupted", "b: stopped", None),
        Failure("DataError", "c: too long", "widen"),
        Failure("WithheldError", "d: withheld", "mend"),
    ]

    assert [one.message for one in render_run.root_failures(failures)] == [
        "c: too long",
        "a: withheld; and so 1 more",
        "b: stopped",
    ]
