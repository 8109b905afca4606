"""
The documents that other programs read, as they come from real runs; and what of them the docs describe.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from conftest import Clinic
from rich.console import Console
from test_security import listening

from arrowetl import progress
from arrowetl.outcome import TableRetried

# Maps whose keys are names of the data's own: whatever stands there is told as `*`.
NAMES_OF_DATA = (
    "tables[].coerced", "tables[].differing[].key", "tables[].differing[].digests", "tables[].differing[].values",
    "versions", "tables", "connections", "totals.by_category",
)  # fmt: skip
WORDS = {"production", "test", "equal", "tables[].…", "run --json", "--show-values", "--repair", "--since",
         "status --alert", "--changed", "etl_receipts", "digest"}  # fmt: skip
PAGE = Path(__file__).parent.parent / "docs" / "documents.md"


def paths(value: Any, at: str = "") -> Iterator[str]:
    """Every key there is, with the way that leads to it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            place = f"{at}.{key}" if at else key
            if at in NAMES_OF_DATA:
                place = f"{at}.*"
            yield place
            yield from paths(inner, place)
    elif isinstance(value, list):
        for inner in value:
            yield from paths(inner, f"{at}[]")


def described() -> dict[str, set[str]]:
    """Document → the keys that the docs have of it."""
    found: dict[str, set[str]] = {}
    for part in PAGE.read_text().split("\n## ")[1:]:
        heading, _, body = part.partition("\n")
        rows = [line for line in body.splitlines() if line.startswith("| `")]
        # Whatever stands in code is a key, but for words that are explained as such.
        keys = {key for line in rows for key in re.findall(r"`([^`]+)`", line)} - WORDS
        found[heading.split(" — ")[0].strip("`")] = keys
    return found


def documents(clinic: Clinic) -> dict[str, set[str]]:
    """Document → the keys it has, in runs in which all that may happen does."""
    clinic.create(
        "CREATE TABLE visit (Num int NOT NULL, D date, Note varchar(50), DateTStamp timestamp NOT NULL DEFAULT "
        "CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (Num)) ENGINE=MyISAM;\n"
        "INSERT INTO visit VALUES (1, '0000-00-00', 'a', NOW()), (2, NULL, 'b', NOW());\n"
        "CREATE TABLE bad (Num int NOT NULL, v varchar(50), PRIMARY KEY (Num)) ENGINE=MyISAM;\n"
        "INSERT INTO bad VALUES (1, 'too long');\n"
        "CREATE TABLE late (Num int PRIMARY KEY) ENGINE=MyISAM"
    )
    clinic.tables_file.write_text(
        "tables:\n  bad: {overrides: {columns: {v: {type: varchar(3)}}}}\n"
        "  visit: {extraction_strategy: incremental, primary_incremental_column: DateTStamp}\n"
    )
    found: dict[str, list[Any]] = {}
    heard: list[bytes] = []
    with ExitStack() as held:
        clinic.environment["ARROWETL_WEBHOOK_URL"] = held.enter_context(listening(heard))
        clinic.environment["ARROWETL_METRICS_FILE"] = str(clinic.directory / "arrowetl.prom")

        def said(name: str, *arguments: str) -> None:
            done = clinic.arrowetl(*arguments)
            found.setdefault(name, []).append(json.loads(done.stdout))
            found.setdefault("--log-format json", []).extend(
                json.loads(one) for one in done.stderr.splitlines() if one[:1] == "{"
            )

        log = ("--log-format", "json", "-v")
        said("run --json", "run", "--all", "--json", *log)
        clinic.warehouse_execute("UPDATE raw.etl_load_status SET _checked_at = now() - interval '40 days' "
                                 "WHERE table_name = 'late'")  # fmt: skip
        said("run --json", "run", "--table", "visit", "--json", *log)
        said("run --dry-run --json", "run", "--all", "--dry-run", "--force-full", "--json")
        clinic.warehouse_execute('UPDATE raw.visit SET "Note" = \'x\' WHERE "Num" = 1')
        said("verify --json", "verify", "--all", "--json", "--show-values")
        said("status --json", "status", "--json", "--alert")
        said("snapshot --json", "snapshot", "visit", "--to", str(clinic.directory / "s"), "--from", "source", "--json")
        said("error", "run", "--table", "nosuch", "--json", "--log-format", "json")
    # What is rare is told to the log by hand.
    console = Console(file=io.StringIO())
    progress.JsonLines(console, verbose=True)(TableRetried("visit", 1, 0.5, "lost"))
    found["--log-format json"].append(json.loads(console.file.getvalue()))  # type: ignore[attr-defined]
    found["manifest.json"] = [json.loads((clinic.directory / "s" / "manifest.json").read_text())]
    found["receipt"] = [json.loads(r) for (r,) in clinic.warehouse("SELECT receipt::text FROM raw.etl_receipts")]
    found["webhook"] = [json.loads(body) for body in heard]
    metrics = (clinic.directory / "arrowetl.prom").read_text()
    answer = {name: {path for one in each for path in paths(one)} for name, each in found.items()}
    answer["metrics"] = set(re.findall(r"^# TYPE (\S+)", metrics, re.MULTILINE))
    return answer
