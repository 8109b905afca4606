"""
What is refused, in words: a table for its name, before anything is planned of it; a value that a server refused.

Pure. `table_plan` refuses what else cannot be loaded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

import pyarrow as pa

from arrowetl.errors import DatabaseQueryError, DataError, DataLoadingError
from arrowetl.model.plan import TablePlan
from arrowetl.types import mapping, postgres_types


def refuse_ours(table: str, tracking: Collection[str]) -> None:
    """One that would be written over a table of our own records."""
    if table in tracking:
        raise DataError(
            f"{table}: arrowetl keeps its own records under this name",
            f"exclude it in arrowetl.yml: tables.{table}: {{exclude: true}}",
            slug="name_reserved",
        )


def refuse_folded(table: str, tables: Iterable[str]) -> None:
    """Two tables that the replica would take for one."""
    same = sorted(name for name in tables if name.lower() == table.lower())
    if len(same) > 1:
        raise DataError(
            f"{table}: the replica takes {' and '.join(same)} for one name: neither was loaded",
            f"leave one of them out in arrowetl.yml, tables.{table}: {{exclude: true}}, or have a replica that was "
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
                f"{table}: arrowetl.yml leaves out or masks columns of {other}, which the source spells {table}",
                f"rename tables.{other} to {table} in arrowetl.yml",
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


# Bytes in a row of PostgreSQL's, of the types that are never stored elsewhere.
_BYTES = {
    "interval": 16, "uuid": 16, "bigint": 8, "double precision": 8, "timestamp": 8, "timestamptz": 8, "time": 8,
    "integer": 4, "real": 4, "date": 4, "smallint": 2, "boolean": 1,
}  # fmt: skip


def row_too_wide(plan: TablePlan, error: DatabaseQueryError) -> DataLoadingError:
    """A row that is larger than a page of PostgreSQL's: the columns that take most of it, by their types."""
    columns = defaultdict[str, list[str]](list)
    for field in plan.fields:
        columns[postgres_types.bare(field.type_postgres)].append(field.name_postgres)
    type_, names = max(columns.items(), key=lambda one: _BYTES.get(one[0], 0) * len(one[1]))
    taken = _BYTES.get(type_, 0) * len(names)
    of_them = f"{', '.join(names[:3])} and {len(names) - 3:,} more" if len(names) > 4 else ", ".join(names)
    return DataLoadingError(
        f"{plan.name}: a row was refused by the warehouse: {error.said}; {taken:,} bytes of it are {of_them} ({type_})",
        "load some of them as texts, which are stored outside of the row, or leave some out: "
        f"tables.{plan.name}.columns: {{{names[0]}: {{type: text}}}}, or {{exclude: true}}",
    )
