"""
The shape of the code: layers, doors, lengths, openings.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "arrowetl"
MODULES = sorted(PACKAGE.rglob("*.py"))

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


def test_the_package_has_a_dozen_described_subpackages() -> None:
    """What is at its top can be read at a glance; each package says what it is for."""
    there = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]

    assert len(there) <= 30
    assert [
        path.name
        for path in there
        if path.is_dir() and not ast.get_docstring(ast.parse((path / "__init__.py").read_text()))
    ] == []


def test_drivers_are_imported_in_drivers_only() -> None:
    """connectorx, mysql.connector, ADBC, psycopg and pgpq: by `drivers` alone."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in MODULES
        for line, name in imports(path)
        if name.split(".")[0] in DRIVERS and module_of(path) != "drivers"
    ]

    assert found == []


PURE = {"errors", "limits", "model", "types", "checksums", "planning", "pages", "sql"}
# Of packages that can do more than decide.
ALSO_PURE = {
    "config/legacy.py", "config/keys.py", "analyze/load_strategy.py", "analyze/schema_changelog.py",
    "analyze/tables_yml_entry.py", "analyze/yaml_comments.py", "export/dbt_document.py", "export/where_clause.py",
    "fleet/schema_diff.py", "monitoring/flags.py", "monitoring/metrics.py", "pipeline/retry.py", "source/catalog.py",
    "state/receipt.py",
}  # fmt: skip


def test_deciding_modules_do_no_io() -> None:
    """No socket, file, clock or environment in what decides, nor in what makes SQL."""
    names_paths = {"model/connection.py", "model/result.py"}  # and open none
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in MODULES
        for line, name in imports(path)
        if (module_of(path) in PURE or path.stem.endswith("_sql") or str(path.relative_to(PACKAGE)) in ALSO_PURE)
        and str(path.relative_to(PACKAGE)) not in names_paths
        and name.split(".")[0] in IO_FREE
    ]

    assert found == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_and_functions_are_short_and_introduced(path: Path) -> None:
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


def test_wide_dataclasses_are_built_by_keywords() -> None:
    """A dataclass of more than four: a value that is put in another's place is seen by nobody."""
    trees = {path: ast.parse(path.read_text()) for path in MODULES}
    wide = {
        node.name
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any("dataclass" in ast.dump(one) for one in node.decorator_list)
        and sum(isinstance(one, ast.AnnAssign) for one in node.body) > 4
    }
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {name}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (name := getattr(node.func, "id", getattr(node.func, "attr", ""))) in wide
        and len([one for one in node.args if not isinstance(one, ast.Starred)]) > 4
    ]

    assert len(wide) > 20
    assert found == []


@pytest.mark.xdist_group("kept together")
def test_test_groups_stay_on_one_worker(request: pytest.FixtureRequest) -> None:
    """Tests that are on one preparation are run by one process: else each process makes it."""
    grouped = request.config.getoption("loadgroup", False)

    assert request.node.nodeid.endswith("@kept together") is bool(grouped)


def test_load_table_functions_are_short() -> None:
    """What loads a table to staging can be read aloud: fewer than 50 lines, its docstring among them."""
    tree = ast.parse((PACKAGE / "pipeline" / "load_table.py").read_text())
    story = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "stage")

    assert story.end_lineno is not None
    assert story.end_lineno - story.lineno < 50


def test_only_cli_imports_click_and_rich() -> None:
    """click and rich: in `cli` alone."""
    face = {"cli"}
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in MODULES
        for line, name in imports(path)
        if name.split(".")[0] in {"rich", "click"} and module_of(path) not in face
    ]

    assert found == []


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["run", "--help"], ["fleet", "run", "--help"]])
def test_version_and_help_import_no_heavy_library(arguments: list[str]) -> None:
    """Neither polars, pyarrow, connectorx, YAML, Jinja nor a driver, where nothing is loaded."""
    program = (
        "import sys\nfrom arrowetl.__main__ import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)

    read_in = {name.partition(".")[0] for name in done.stderr.split()}
    assert read_in & {*DRIVERS, "polars", "pyarrow", "numpy", "psutil", "yaml", "ruamel", "jinja2", "sqlglot"} == set()
