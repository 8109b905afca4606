"""
The documents that other programs read, as they come from real runs; and what of them the docs describe.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from arrowetl.cli import progress
from arrowetl.model.events import TableRetried
from support.clinic import Clinic
from support.webhook_listener import listening

# Maps whose keys are names of the data's own: whatever is there is reported as `*`.
NAMES_OF_DATA = (
    "tables[].coerced", "tables[].phases", "tables[].differing[].key", "tables[].differing[].digests",
    "tables[].differing[].values", "versions", "tables", "connections", "totals.by_category", "differing[].clinics",
    "servers", "settings[].value", "examined[].facts", "types[]", "trials[].phases", "default.phases",
    "recommended.phases",
)  # fmt: skip
# Values of a server, of a file or of a person: of whatever type.
ANY_VALUE = ("settings[].value", "changes[].before", "changes[].after", "examined[].facts.*", "tables[].checksums.*.*")
WORDS = {"production", "test", "equal", "tables[].…", "run --json", "--publish together", "--show-values", "--repair",
         "--since", "status --alert", "--check", "status --json", "run --dry-run --json", "--changed",
         "etl_receipts", "digest", "fleet run"}  # fmt: skip
PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "documents.md"


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


def schema_of(values: list[Any], at: str = "") -> dict[str, Any]:
    """A JSON Schema of what was written at one place: every key, and each of the types it had, or null."""
    kinds = {_KINDS[type(value)] for value in values if value is not None}
    if not kinds or at in ANY_VALUE:
        # Nothing is known of what is there when it is not null.
        return {}
    schema: dict[str, Any] = {"type": sorted({*kinds - ({"integer"} if "number" in kinds else set()), "null"})}
    if mappings := [value for value in values if isinstance(value, dict)]:
        by_key: dict[str, list[Any]] = {}
        for one in mappings:
            for key, value in one.items():
                by_key.setdefault(key, []).append(value)
        if at in NAMES_OF_DATA:
            place = f"{at}.*"
            schema["additionalProperties"] = schema_of([value for each in by_key.values() for value in each], place)
        else:
            schema["properties"] = {key: schema_of(each, f"{at}.{key}" if at else key) for key, each in by_key.items()}
            schema["additionalProperties"] = False
    if items := [item for value in values if isinstance(value, list) for item in value]:
        schema["items"] = schema_of(items, f"{at}[]")
    return schema


_KINDS = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
SCHEMAS = PAGE.parent.parent / "schemas"


def schema_file(name: str) -> Path:
    """`fleet run --json` → docs/schemas/fleet-run.json."""
    return SCHEMAS / f"{name.replace(' --json', '').replace('--', '').replace(' ', '-').removesuffix('.json')}.json"


def described() -> dict[str, set[str]]:
    """Document → the keys that the docs have of it."""
    found: dict[str, set[str]] = {}
    for part in PAGE.read_text().split("\n## ")[1:]:
        heading, _, body = part.partition("\n")
        if not heading.startswith("`"):
            continue
        rows = [line for line in body.splitlines() if line.startswith("| `")]
        # Whatever is in code is a key, but for words that are explained as such.
        keys = {key for line in rows for key in re.findall(r"`([^`]+)`", line)} - WORDS
        found[heading.split(" — ")[0].strip("`")] = keys
    return found


def documents(clinic: Clinic) -> tuple[dict[str, list[Any]], set[str]]:
    """Document → those that were written in runs in which all that may happen does; and the names of metrics."""
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
        clinic.warehouse_execute(
            "UPDATE raw.etl_load_status SET _checked_at = now() - interval '40 days' WHERE table_name = 'late'"
        )
        clinic.create("UPDATE visit SET Note = 'c' WHERE Num = 2")
        said("run --json", "run", "--table", "visit", "--json", "--publish", "together", *log)
        said("run --dry-run --json", "run", "--all", "--dry-run", "--force-full", "--json")
        clinic.warehouse_execute('UPDATE raw.visit SET "Note" = \'x\' WHERE "Num" = 1')
        said("verify --json", "verify", "--all", "--json", "--show-values")
        said("status --json", "status", "--json", "--alert")
        said("snapshot --json", "snapshot", "visit", "--to", str(clinic.directory / "s"), "--from", "source", "--json")
        said("runs --json", "runs", "--json")
        said("bench --json", "bench", "visit", "--seconds", "1", "--json")
        said("analyze --json", "analyze", "--output", str(clinic.directory / "new" / "tables.yml"), "--json")
        clinic.create("ALTER TABLE late ADD v int")
        said("analyze --json", "analyze", "--output", str(clinic.directory / "new" / "tables.yml"), "--json")
        said("validate --json", "validate", "--json")
        said("test-connections --json", "test-connections", "--json")
        said("types --json", "types", "--json")
        said("config show --json", "config", "show", "--json")
        said("config show --json", "config", "show", "visit", "--json")
        _said_of_a_fleet(clinic, said)
        said("error", "run", "--table", "nosuch", "--json", "--log-format", "json")
    for name in found:
        if name.startswith("fleet"):
            # Each is reported of by itself.
            for one in (one for document in found[name] for one in document["clinics"]):
                one.update({key: None for key in ("run", "status", "plan") if key in one})
    # What is rare is reported to the log by hand.
    console = Console(file=io.StringIO())
    progress.JsonLines(console, verbose=True)(TableRetried("visit", 1, 0.5, "lost"))
    found["--log-format json"].append(json.loads(console.file.getvalue()))  # type: ignore[attr-defined]
    found["manifest.json"] = [json.loads((clinic.directory / "s" / "manifest.json").read_text())]
    found["receipt"] = [json.loads(r) for (r,) in clinic.warehouse("SELECT receipt::text FROM raw.etl_receipts")]
    found["webhook"] = [json.loads(body) for body in heard]
    metrics = (clinic.directory / "arrowetl.prom").read_text()
    return found, set(re.findall(r"^# TYPE (\S+)", metrics, re.MULTILINE))


def _said_of_a_fleet(clinic: Clinic, said: Callable[..., None]) -> None:
    """Two clinics of different schemas, and one that is down."""
    for name in ("fleet_a", "fleet_b"):
        clinic.create(f"CREATE DATABASE {name};\nCREATE TABLE {name}.t (Num int PRIMARY KEY)")
        clinic.undo.append(lambda name=name: clinic.create(f"DROP DATABASE {name}"))
        clinic.undo.append(lambda name=name: clinic.create(f"DROP DATABASE IF EXISTS replica_{name}", "replica"))
        clinic.undo.append(lambda name=name: clinic.warehouse_execute(f"DROP SCHEMA IF EXISTS raw_{name} CASCADE"))
    clinic.create("ALTER TABLE fleet_b.t ADD v int")
    clinic.create(f"GRANT SELECT ON `fleet\\_%`.* TO '{clinic.sandbox.source.user}'@'127.0.0.1'")
    clinic.create(f"GRANT ALL ON `replica\\_fleet\\_%`.* TO '{clinic.sandbox.replica.user}'@'127.0.0.1'", "replica")
    settings = {name: value for name, value in clinic.environment.items() if name.startswith("TEST_")}
    for name in ("fleet_a", "fleet_b", "fleet_c"):
        its = {variable.replace("TEST_", f"TEST_{name.upper()}_"): value for variable, value in settings.items()}
        its[f"TEST_{name.upper()}_OPENDENTAL_SOURCE_DB"] = name
        clinic.environment |= its
    file = clinic.directory / "fleet.yml"
    file.write_text(
        "settings: {unite: raw_all}\nclinics:\n"
        + "".join(f"  {name}: {{prefix: {name.upper()}_}}\n" for name in ("fleet_a", "fleet_b", "fleet_c"))
    )
    clinic.undo.append(lambda: clinic.warehouse_execute("DROP SCHEMA IF EXISTS raw_all CASCADE"))
    for command in ("run", "status", "plan", "validate"):
        said(f"fleet {command} --json", "fleet", command, "--fleet", str(file), "--json")
