"""
Catalog, tables.yml and what stands at the warehouse → one plan per table.

Pure: every choice about a table is made here, with its reason in words, and
nowhere later. What cannot be carried is said here, before any data moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from arrowetl import partition, schema
from arrowetl.errors import DataError
from arrowetl.model import (
    CATEGORIES,
    PRIORITIES,
    Cutover,
    Field,
    Mode,
    PublishedTable,
    Table,
    TablePlan,
    TableSettings,
)

_ROWS_FROM = {"large": 1_000_000, "medium": 100_000, "small": 10_000, "tiny": 0}

# PostgreSQL spells its own types out.
_SPELLINGS = {
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
}


def category_of(rows: int) -> str:
    """
    >>> category_of(99_999)
    'small'
    """
    return next(category for category in CATEGORIES if rows >= _ROWS_FROM[category])


def table_plan(
    table: Table, settings: TableSettings, published: PublishedTable | None, reason: str | None = None
) -> TablePlan:
    """
    Decide everything about one table.

    Args:
        published: the table at the warehouse, where there is one.
        reason: why this mode, where somebody asked for it.

    Raises:
        DataError: a column has no rule, or the warehouse's table cannot follow.
    """
    if not table.columns:
        raise DataError(
            f"{table.name}: the source shows no column of it", "see what CHECK TABLE says of it there, or exclude it"
        )
    excluded = settings.excluded_columns()
    columns = [column for column in table.columns if column.name not in excluded]
    if not columns:
        raise DataError(
            f"{table.name}: every column is excluded", "exclude the table instead: overrides: {exclude: true}"
        )
    fields = schema.translate(table.name, columns, settings.column_types())
    names = {field.column.name: field.name_postgres for field in fields}
    has_key = bool(table.primary_key) and all(name in names for name in table.primary_key)
    key_postgres = tuple(names[name] for name in table.primary_key) if has_key else ()
    cutover, added = _cutover(table.name, fields, key_postgres, published)
    name_postgres = schema.postgres_name(table.name)
    return TablePlan(
        table=table,
        mode=Mode.FULL,
        reason=reason or ("first load" if published is None else "every row is read and compared"),
        category=settings.get("performance_category") or category_of(table.rows),
        priority=PRIORITIES.index(settings.get("processing_priority", "medium")),
        fields=fields,
        rows_per_partition=partition.rows_per_partition(
            table, settings.get("batch_size"), settings.get("partition_bytes")
        ),
        name_postgres=name_postgres,
        key_postgres=key_postgres,
        cutover=cutover,
        added_columns=added,
        notes=tuple(_renamings(table.name, name_postgres, fields)),
    )


def _renamings(table: str, name_postgres: str, fields: Iterable[Field]) -> Iterable[str]:
    if name_postgres != table:
        yield f"is {name_postgres} at the warehouse"
    for field in fields:
        if field.name_postgres != field.column.name:
            yield f"column {field.column.name} is {field.name_postgres} at the warehouse"


def _cutover(
    table: str, fields: tuple[Field, ...], key: tuple[str, ...], published: PublishedTable | None
) -> tuple[Cutover, tuple[Field, ...]]:
    """
    How staging becomes the published table, and the columns that one gets first.
    """
    if published is None:
        return Cutover.SWAP, ()
    standing = dict(published.columns)
    wanted = {field.name_postgres: _SPELLINGS.get(field.type_postgres, field.type_postgres) for field in fields}
    retyped = [name for name, type_ in wanted.items() if name in standing and standing[name] != type_]
    gone = [name for name in standing if name not in wanted]
    if not retyped and not gone and key == published.primary_key:
        added = tuple(field for field in fields if field.name_postgres not in standing)
        return (Cutover.MERGE if key else Cutover.REPLACE), added
    if published.dependents:
        changes = [f"{name} becomes {wanted[name]} instead of {standing[name]}" for name in retyped]
        changes += [f"{name} is gone at the source" for name in gone]
        changes = changes or ["the primary key changes"]
        raise DataError(
            f"{table}: cannot follow the source ({'; '.join(changes)}) while views depend on the warehouse's table: "
            f"{', '.join(published.dependents)}",
            "drop those views, run again, and make them anew",
        )
    return Cutover.SWAP, ()


def ordered(plans: Iterable[TablePlan]) -> list[TablePlan]:
    """The order of work: high priority first, the largest first within, so that the longest does not end last."""
    return sorted(plans, key=lambda plan: (plan.priority, -plan.table.data_bytes, plan.name))


def unlisted(catalog: Mapping[str, Table], known: Iterable[str]) -> tuple[list[str], list[str]]:
    """The source's tables that tables.yml does not have, and those of tables.yml that the source has no more."""
    listed = set(known)
    return sorted(catalog.keys() - listed), sorted(listed - catalog.keys())
