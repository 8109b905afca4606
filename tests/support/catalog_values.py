"""
Values of the catalog, made in one line: what a test does not say is ordinary.
"""

from __future__ import annotations

from typing import Any

from arrowetl.model.connection import TableSettings
from arrowetl.model.dialect import Flavour
from arrowetl.model.plan import Column, Field, Index, PublishedTable, Table, TablePlan
from arrowetl.planning import table_plan
from arrowetl.types import mapping


def column(name: str, column_type: str, **more: Any) -> Column:
    """`column("Amt", "decimal(10,2)")`; precision and scale as information_schema would give them."""
    bare = column_type.partition("(")[0].partition(" ")[0]
    digits = column_type.partition("(")[2].partition(")")[0].split(",")
    has_precision = bare in ("decimal", "datetime", "timestamp", "time") or (
        len(digits) == 2 and bare in ("float", "double")
    )
    if has_precision and digits[0].isdigit():
        more = {"precision": int(digits[0]), "scale": int(digits[1]) if len(digits) > 1 else None} | more
    return Column(name, bare, column_type, **more)


def table(name: str, *columns: Column, key: tuple[str, ...] = (), rows: int = 0, row_bytes: int = 100,
          indexes: tuple[Index, ...] = (), flavour: Flavour = Flavour.MARIADB) -> Table:  # fmt: skip
    return Table(name, flavour, "MyISAM", "utf8mb3", "utf8mb3_general_ci", rows, rows * row_bytes, row_bytes,
                 columns, key, indexes)  # fmt: skip


def fields(*columns: Column, **overrides: str) -> tuple[Field, ...]:
    return mapping.translate("t", columns, overrides)


def planned(of: Table, published: PublishedTable | None = None, **settings: Any) -> TablePlan:
    return table_plan.table_plan(of, TableSettings(settings), published)


PATIENT = table(
    "patient", column("PatNum", "bigint(20)", nullable=False), column("LName", "varchar(100)"), key=("PatNum",), rows=3
)
