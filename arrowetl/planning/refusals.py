"""
What is refused, in words: a table for its name, before anything is planned of it; a value that a server refused.

Pure. `table_plan` refuses what else cannot be loaded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pyarrow as pa

from arrowetl.errors import DatabaseQueryError, DataError, DataLoadingError
from arrowetl.model.plan import TablePlan
from arrowetl.types import mapping


def refuse_ours(table: str, tracking: Collection[str]) -> None:
    """One that would be written over a table of our own records."""
    if table in tracking:
        raise DataError(
            f"{table}: arrowetl keeps its own records under this name",
            f"exclude it: tables.{table}.overrides: {{exclude: true}}",
        )


def refuse_folded(table: str, tables: Iterable[str]) -> None:
    """Two tables that the replica would take for one."""
    same = sorted(name for name in tables if name.lower() == table.lower())
    if len(same) > 1:
        raise DataError(
            f"{table}: the replica takes {' and '.join(same)} for one name: neither was loaded",
            f"leave one of them out with tables.{table}.overrides: {{exclude: true}}, or have a replica that was "
            "initialised with lower_case_table_names = 0; --to warehouse loads both",
        )


def refuse_other_spelling(table: str, held_back: Iterable[str]) -> None:
    """
    What was meant to stay at the source is not loaded for want of a capital letter.

    Args:
        held_back: tables that are not there, and of which tables.yml leaves something out or masks it.
    """
    for other in held_back:
        if other.lower() == table.lower():
            raise DataError(
                f"{table}: tables.yml leaves out or masks columns of {other}, which the source spells {table}",
                f"rename tables.{other} to {table} in tables.yml",
            )


def refused_value(plan: TablePlan, rows: pa.Table, error: DatabaseQueryError) -> DataLoadingError | None:
    """A value that the server refused, named by its column and key; None where it was not one value."""
    row, name = error.refused or (0, None)
    field = next((field for field in plan.fields if field.name_postgres == name), None)
    if field is None:
        return None
    key = plan.table.integer_key
    index = next((i for i, field in enumerate(plan.fields) if field.column.name == key), None)
    at = f" (at {key} {rows.column(index)[row].as_py()})" if index is not None and row < rows.num_rows else ""
    return DataLoadingError(
        f"{plan.name}.{name} ({field.column.column_type}): a value was refused as {field.type_postgres}{at}: "
        f"{error.said}",
        mapping.remedy_of(plan.name, field),
    )
