"""What a docstring names in backticks is there: a module, or a name of the package."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import arrowetl

PACKAGE = Path(arrowetl.__file__).parent
NAMED = re.compile(r"`([a-z_][a-z_0-9]*)(?:\.([A-Za-z_]\w*))?`")
EXAMPLE = re.compile(r"^>>>.*", re.MULTILINE)

# Of servers, programs, libraries, and of the documents that arrowetl reads and writes.
OTHERS = {"concurrent", "init_connect", "initdb", "psql", "preferred", "required", "no", "utf8", "utf8mb3"}
OTHERS |= {"overrides", "settings", "until", "differing", "etl_run_history", "_clinic", "validate"}


@cache
def _modules() -> dict[str, list[Path]]:
    """Module, or package → its files."""
    found: dict[str, list[Path]] = {}
    for file in PACKAGE.rglob("*.py"):
        found.setdefault(file.stem, []).append(file)
        found.setdefault(file.parent.name, []).append(file)
    return found


@cache
def _names(file: Path) -> set[str]:
    """Every identifier of a file, and every word of its texts: columns, tables and keys are spelled there."""
    found: set[str] = set()
    docstrings = {id(node.body[0].value) for node in _documented(file) if ast.get_docstring(node) is not None}
    for node in ast.walk(_tree(file)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.Constant(value=str(text)) if id(node) not in docstrings:
                found |= set(re.findall(r"\w+", text))
    return found


@cache
def _names_of_package(package: Path) -> set[str]:
    return set().union(*(_names(file) for file in package.glob("*.py")))


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def _documented(file: Path) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef]:
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield node


def unknown(file: Path) -> list[str]:
    """A file's docstrings' names that neither are modules, nor in the package or `model`."""
    found = []
    for node in _documented(file):
        for first, second in NAMED.findall(EXAMPLE.sub("", ast.get_docstring(node) or "")):
            home = _modules().get(first)
            known = first in _modules() or first in OTHERS
            known = known or any(first in _names_of_package(one) for one in (file.parent, PACKAGE / "model"))
            if second and home:
                known = known and any(second in _names(one) or second == one.stem for one in home)
            if not known:
                found.append(f"{first}.{second}" if second else first)
    return found


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda one: str(one.relative_to(PACKAGE)))
def test_what_a_docstring_names_is_there(file: Path) -> None:
    assert unknown(file) == []


def test_a_module_that_moved_away_is_found(tmp_path: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text('"""Its partner is `a_module_of_yesterday`; `drivers` is there, and `drivers.nobody` is not."""\n')
    assert unknown(file) == ["a_module_of_yesterday", "drivers.nobody"]
