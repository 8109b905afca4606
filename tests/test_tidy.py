"""
The shape of the code: layers, doors, lengths, openings.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "arrowetl"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Lowest first. A module may import from its own layer only what stands before it, and from any layer below;
# those of the edge are blind to each other.
LAYERS: dict[str, tuple[str, ...]] = {
    "ground": ("_version", "errors", "limits", "dialect", "model", "record", "route", "outcome", "events", "verdict"),
    "core": (
        "printable",
        "judgement",
        "rules",
        "schema",
        "refusals",
        "evidence",
        "catalog",
        "partition",
        "texts",
        "mask",
        "phi",
        "coerce",
        "readback",
        "parquet",
        "infile",
        "sql",
        "condition",
        "checksum",
        "compare",
        "policy",
        "plan",
        "modes",
        "watermarks",
        "estimate",
        "treatment",
        "monitor",
        "metrics",
        "changes",
        "comments",
        "predecessor",
        "keys",
        "pace",
        "sharing",
        "side_by_side",
        "receipt",
        "retry",
        "sizes",
        "dbt",
        "pages",
    ),
    "door": ("files", "memory", "webhook", "drivers", "locks", "ranges", "again", "fencing", "united", "cutover"),
    "edge": (
        "config",
        "tables_file",
        "fleet_file",
        "overrides",
        "spill",
        "source",
        "replica",
        "warehouse",
        "ledger",
        "archive",
    ),
    "journey": (
        "preflight",
        "status",
        "runs",
        "sources",
        "jobs",
        "remote",
        "cluster",
        "executors",
        "workers",
        "reconcile",
        "carry",
        "resume",
        "account",
        "seen",
        "adjust",
        "transfer",
        "planning",
        "night",
        "publish",
        "run",
        "bench",
        "analyze",
        "bisect",
        "deep",
        "recall",
        "audit",
        "verify",
        "repair",
        "pieces",
        "snapshot",
        "etl",
        "fleet_settings",
        "fleet",
    ),
    "face": (
        "screen",
        "report",
        "proof",
        "progress",
        "__init__",
        "options",
        "demo",
        "beside",
        "fleet_commands",
        "opening",
        "export_commands",
        "cli",
        "__main__",
    ),
}
BLIND = {"edge"}
# `--version` and the package's own name are everybody's; the sandbox stands beside, and only commands ask it.
EXCEPTIONS = {
    ("demo", "sandbox"),
    ("beside", "sandbox"),
    ("cli", "sandbox"),
}

DRIVERS = {"connectorx", "mysql", "adbc_driver_manager", "adbc_driver_postgresql", "pgpq", "psycopg"}
IO_FREE = {"os", "io", "socket", "time", "threading", "subprocess", "pathlib", "tempfile", "shutil", "psutil"}


def module_of(path: Path) -> str:
    """`arrowetl/drivers/mysql.py` is of `drivers`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything a module imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def own_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Which of arrowetl's modules a module imports."""
    names = {name for layer in LAYERS.values() for name in layer} | {"sandbox"}
    for line, name in imports(path):
        parts = name.split(".")
        if parts[0] == "arrowetl":
            yield line, parts[1] if len(parts) > 1 and parts[1] in names else "__init__"


def layer_of(module: str) -> int:
    return next(i for i, modules in enumerate(LAYERS.values()) if module in modules)


def test_every_module_has_a_layer() -> None:
    """A new module is put into a layer before it lands."""
    known = {name for layer in LAYERS.values() for name in layer} | {"sandbox"}

    assert {module_of(path) for path in MODULES} == known


def test_imports_run_downwards_only() -> None:
    """No module knows one above it; siblings of the edge do not know each other."""
    found = []
    for path in MODULES:
        module = module_of(path)
        if module == "sandbox":
            continue
        for line, imported in own_imports(path):
            if imported == module or (module, imported) in EXCEPTIONS:
                continue
            here, there = layer_of(module), layer_of(imported) if imported != "sandbox" else 99
            siblings = list(LAYERS.values())[here]
            below = there < here or (
                there == here and siblings.index(imported) < siblings.index(module) and list(LAYERS)[here] not in BLIND
            )
            if not below:
                found.append(f"{path.relative_to(ROOT)}:{line}: {module} imports {imported}")

    assert found == []


def test_drivers_are_imported_at_one_door() -> None:
    """connectorx, mysql.connector, ADBC, psycopg and pgpq: by `drivers` alone."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in MODULES
        for line, name in imports(path)
        if name.split(".")[0] in DRIVERS and module_of(path) != "drivers"
    ]

    assert found == []


def test_the_core_can_do_no_io() -> None:
    """No socket, file, clock or environment in ground and core."""
    pure = {*LAYERS["ground"], *LAYERS["core"]} - {"route", "outcome"}  # they name paths, and open none
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in MODULES
        for line, name in imports(path)
        if module_of(path) in pure and name.split(".")[0] in IO_FREE
    ]

    assert found == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_can_be_read_in_one_sitting(path: Path) -> None:
    """At most 500 lines, functions at most 70, an opening that says what it is, nothing left for later."""
    text = path.read_text()
    tree = ast.parse(text)
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.end_lineno and node.end_lineno - node.lineno + 1 > 70
    ]

    assert len(text.splitlines()) <= 500
    assert long == []
    assert ast.get_docstring(tree)
    assert re.findall(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", text) == []


@pytest.mark.xdist_group("kept together")
def test_groups_are_kept_together(request: pytest.FixtureRequest) -> None:
    """Tests that stand upon one preparation are run by one process: else each process makes it."""
    grouped = request.config.getoption("loadgroup", False)

    assert request.node.nodeid.endswith("@kept together") is bool(grouped)


def test_the_story_of_a_table_is_short() -> None:
    """What brings a table to staging can be read aloud: fewer than 50 lines, its docstring among them."""
    tree = ast.parse((PACKAGE / "transfer.py").read_text())
    story = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "stage")

    assert story.end_lineno is not None
    assert story.end_lineno - story.lineno < 50


def test_only_the_face_writes_to_the_terminal() -> None:
    """print, click.echo and rich: in `report`, `progress`, `cli`, and the demo's own screen."""
    face = {*LAYERS["face"], "sandbox"}
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in MODULES
        for line, name in imports(path)
        if name.split(".")[0] in {"rich", "click"} and module_of(path) not in face
    ]

    assert found == []
