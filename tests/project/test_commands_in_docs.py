"""
Every command that README, pages and examples show is run, on a clinic that has what they speak of.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from support import launcher
from support.clinic import Clinic
from support.two_clinics import fleet_of_two

from arrowetl.cli import main

ROOT = Path(__file__).parent.parent.parent
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
UNITS = [ROOT / "examples/systemd/arrowetl.service"]

# Program and first words → the test that runs it, where it cannot be run here.
ELSEWHERE = {
    "demo": "../noxfile.py",
    "init": "cli/test_init.py",
    "sandbox": "sandbox/test_sandbox.py",
    "run --all --max-workers 8 --executor dask": "workers/test_dask.py",
    "status --alert": "monitoring/test_flags.py",
}
# What a command may end with: 5 where a page is about a difference, 1 where it asks for breaking changes.
CODES = {"verify": (0, 5), "analyze --fail-on breaking": (0, 1)}
LINE = re.compile(r"(?:^|[$`(/ ])arrowetl ([a-z][^`\n]*)")


def commands() -> Iterator[tuple[str, str]]:
    """Page and the words after `arrowetl`, of code blocks, of code within the text, of tables, cron lines and units."""
    seen: set[str] = set()
    for page in [*PAGES, *UNITS]:
        text = page.read_text()
        for line in text.splitlines():
            is_code = line.startswith("    ") or page in UNITS
            found = [line] if is_code and "arrowetl " in line else re.findall(r"`[^`]*\barrowetl [^`]*`", line)
            for words in (one for part in found for one in re.split(r" && ", part)):
                match = LINE.search(words)
                if not match or words.lstrip().startswith(("├", "│", "└", "#", "import ", "Description")):
                    continue
                said = re.split(r"\s+#|\s*[>|)]|\s2>|\s{3,}|; ", match[1])[0].strip().rstrip('".')
                if said and said not in seen and "…" not in said and re.match(r"[a-z-]+( |$)", said):
                    seen.add(said)
                    yield page.name, said


KNOWN = set(main.commands.commands)
# `run` alone names a process, TABLE stands for another word.
COMMANDS = [
    (page, said) for page, said in commands() if said.split()[0] in KNOWN and said != "run" and "TABLE" not in said
]


@pytest.fixture
def practice(clinic: Clinic) -> Clinic:
    """The tables that pages speak of, loaded once; two clinics of a fleet."""
    conf = clinic.directory / "conf"
    conf.mkdir()
    for name in ("patient", "payment", "procedurelog", "appointment"):
        clinic.create(
            f"CREATE TABLE {name} (Num int NOT NULL, LName varchar(50), AptStatus int, AptDateTime datetime, "
            "PRIMARY KEY (Num)) ENGINE=MyISAM;\n"
            f"INSERT INTO {name} SELECT seq, 'n', seq MOD 5, '2026-02-01' FROM seq_1_to_3000"
        )
    fleet_of_two(clinic)
    return clinic


def test_every_documented_command_runs(practice: Clinic) -> None:
    """Each as it is there, one after the other, in a directory that holds `conf/`."""
    for prepared in (["analyze", "--output", "conf/tables.yml"], ["run", "--all"], ["fleet", "run"]):
        done = said(practice, prepared)
        assert done.returncode == 0, (prepared, done.stderr)
    wrong, ran = [], 0
    for page, words in COMMANDS:
        if elsewhere(words):
            continue
        arguments = shlex.split(words)
        # The run that a page names is the last one there is.
        arguments = [one if not re.fullmatch(r"20\d{6}", one) else last_run(practice) for one in arguments]
        # No browser is opened, and a bench need not take its time.
        arguments = [one for one in arguments if one != "--open"]
        arguments += ["--seconds", "2"] if arguments[0] == "bench" else []
        done = said(practice, arguments)
        codes = next((codes for start, codes in CODES.items() if words.startswith(start)), (0,))
        ran += 1
        if done.returncode not in codes:
            wrong.append((page, words, done.returncode, done.stderr[-300:]))
    assert wrong == []
    assert ran > 40


def said(clinic: Clinic, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """As one types it, in the directory that holds `conf/`."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("TEST_", "ETL_", "PYTEST"))}
    process = launcher.start("arrowetl", arguments, {**outside, **clinic.environment}, clinic.directory)
    stdout, stderr = process.communicate(timeout=120)
    return subprocess.CompletedProcess(arguments, process.returncode or 0, stdout, stderr)


def last_run(clinic: Clinic) -> str:
    return str(clinic.warehouse("SELECT max(run_id)::text FROM raw.etl_run_history")[0][0])


def elsewhere(words: str) -> bool:
    """Whether another test runs it, which is looked up there."""
    for start, file in ELSEWHERE.items():
        if words.startswith(start):
            assert f'"{start.split()[0]}"' in (ROOT / "tests" / file).read_text()
            return True
    return False


@pytest.mark.parametrize(("executor", "next_to"), [("thread", 0), ("process", 4)])
def test_the_documented_process_tree_is_real(clinic: Clinic, executor: str, next_to: int) -> None:
    """As explanation/run.md has it: one process; with `process` one for each of three workers, and one to tidy up."""
    clinic.create(
        "CREATE TABLE big (Num int PRIMARY KEY, Note char(200)) ENGINE=MyISAM;\n"
        "INSERT INTO big SELECT seq, 'n' FROM seq_1_to_60000"
    )
    clinic.tables_file.write_text("tables: {big: {overrides: {partition_bytes: 400000}}}\n")
    process = clinic.start("run", "--all", "--max-workers", "3", "--executor", executor)
    seen = 0
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(process.pid).children(recursive=True)
            # For a time mysql.connector asks a program for this system's name.
            seen = max(seen, sum("python" in child.name() for child in children))
        time.sleep(0.01)
    _, stderr = process.communicate()

    assert process.returncode == 0, stderr
    assert seen == next_to
