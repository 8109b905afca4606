"""
What tables.yml says of a table's columns, and the columns it has → every problem at once.

Pure. A choice that cannot be meant is refused, and the table with it: the
column it was meant for might have been to stay at the source. `table_plan` asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from arrowetl.errors import DataError, did_you_mean
from arrowetl.model.connection import TableSettings
from arrowetl.model.dialect import INTEGERS
from arrowetl.model.plan import Field, Table
from arrowetl.types import masking


def problems(table: Table, settings: TableSettings) -> list[DataError]:
    """What is said of columns that are not there, and masks that a column cannot have."""
    return [*_unknown(table, settings), *_no_watermark(table, settings), *_masks(table, settings)]


def problems_of_types(table: str, fields: Iterable[Field], masks: Mapping[str, str]) -> list[DataError]:
    """Masks that a column cannot have as the type it becomes."""
    return [
        DataError(
            f"{table}.{name}: cannot be masked by {masks[name]}: {why}", f"correct {_place(table)}.columns.{name}"
        )
        for field in fields
        if (name := field.column.name) in masks and (why := masking.refused_type(field, masks[name]))
    ]


def unknown_columns(table: Table, settings: TableSettings) -> list[str]:
    """The columns that tables.yml mentions, and that the source does not show."""
    names = {column.name for column in table.columns}
    return [str(name) for name in settings.get("columns", {}) if name not in names]


def _unknown(table: Table, settings: TableSettings) -> Iterator[DataError]:
    names = [column.name for column in table.columns]
    unknown = unknown_columns(table, settings)
    if table.hides_columns:
        # What is left out need not be shown.
        unknown = [name for name in unknown if name not in settings.excluded_columns()]
    if unknown:
        yield DataError(
            f"{table.name}: choices for columns that the source has not: {_hinted(unknown, names)}",
            f"correct {_place(table.name)}.columns",
        )


def _no_watermark(table: Table, settings: TableSettings) -> Iterator[DataError]:
    """One that a person named; what `analyze` found may have been dropped since."""
    name = (settings.get("overrides") or {}).get("primary_incremental_column")
    if name is None:
        return
    names = [column.name for column in table.columns]
    column = next((column for column in table.columns if column.name == name), None)
    if column and column.data_type not in (*INTEGERS, "timestamp", "datetime", "date"):
        yield DataError(
            f"{table.name}: arrowetl.yml has a primary_incremental_column that is neither a number nor a timestamp: "
            f"{name} ({column.column_type})",
            f"correct {_place(table.name)}.primary_incremental_column",
        )
    # A predecessor's word for no column.
    if column is None and name != "none":
        yield DataError(
            f"{table.name}: arrowetl.yml has a primary_incremental_column that the source has not: "
            f"{_hinted([name], names)}",
            f"correct {_place(table.name)}.primary_incremental_column",
        )


def _masks(table: Table, settings: TableSettings) -> Iterator[DataError]:
    masks, excluded = settings.masks(), settings.excluded_columns()
    for column in (column for column in table.columns if column.name in masks and column.name not in excluded):
        if why := masking.refused(column, masks[column.name], table.primary_key):
            place = f"{_place(table.name)}.columns.{column.name}"
            yield DataError(
                f"{table.name}.{column.name} ({column.column_type}): cannot be masked by {masks[column.name]}: {why}",
                f"take {place}.mask out; leave the table out where its key is personal"
                if column.name in table.primary_key
                else f"correct {place}.mask, or leave the column out with {place}: {{exclude: true}}",
            )


def _hinted(unknown: Iterable[str], names: Iterable[str]) -> str:
    known = list(names)
    return ", ".join(f"{name}{did_you_mean(name, known)}" for name in unknown)


def _place(table: str) -> str:
    return f"tables.{table}"
