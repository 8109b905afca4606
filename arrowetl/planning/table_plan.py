"""
Catalog, tables.yml and the warehouse's tables → one plan per table.

Pure: what a table's columns become is decided here, with reasons in words. What cannot be loaded is
refused here, before any data moves. How a table is loaded is decided by `sync_mode`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from arrowetl import limits
from arrowetl.errors import DataError, together
from arrowetl.model.connection import CATEGORIES, PRIORITIES, TableSettings
from arrowetl.model.plan import (
    Column,
    Cutover,
    Field,
    LoadKind,
    PublishedTable,
    SchemaChange,
    Table,
    TablePlan,
)
from arrowetl.model.result import Coercion
from arrowetl.planning import partitioning, validation
from arrowetl.types import mapping, masking, postgres_types
from arrowetl.types.rules import LETTERS, LOST_AT_REPLICAS
from arrowetl.types.to_postgres import NO_CHARACTER

_ROWS_FROM = {"large": 1_000_000, "medium": 100_000, "small": 10_000, "tiny": 0}


def category_of(rows: int) -> str:
    """
    >>> category_of(99_999)
    'small'
    """
    return next(category for category in CATEGORIES if rows >= _ROWS_FROM[category])


def table_plan(
    table: Table,
    settings: TableSettings,
    published: PublishedTable | None,
    known_coercions: Sequence[Coercion] | None = None,
    unrepresentable: Mapping[str, int] | None = None,
    partition_bytes: int = limits.partition_bytes,
    mask_mark: str = "",
) -> TablePlan:
    """
    Decide what becomes of one table's columns, as if everything were to be read; `sync_mode` decides whether it is.

    Args:
        published: the table at the warehouse, where there is one.
        known_coercions: of the last run that succeeded; None where arrowetl did not make the warehouse's table.
        unrepresentable: column → how many of the source's values the type at the warehouse cannot hold; for those of
            `values_to_check`.
        partition_bytes: of a partition, where tables.yml chooses none.
        mask_mark: by which another key of its hashes will be noticed.

    Raises:
        DataError: a column has no rule, or the warehouse's table cannot follow.
    """
    _refuse_what_cannot_be(table, settings, published)
    columns = _columns(table, settings)
    unrepresentable = unrepresentable or {}
    adoptable = _adoptable(columns, settings, published) if known_coercions is None else {}
    adopted = {name: type_ for name, type_ in adoptable.items() if not unrepresentable.get(name)}
    fields = mapping.translate(table.name, columns, {**settings.column_types(), **adopted})
    coerced = {(coercion.column, coercion.found): coercion.became for coercion in known_coercions or ()}
    odd = {column for column, found in coerced if found == NO_CHARACTER}
    fields = mapping.fields_read_as_hex(table.name, fields, odd)
    masks = settings.masks()
    if problems := validation.problems_of_types(table.name, fields, masks):
        raise together(problems)
    fields = tuple(masking.masked(f, masks[f.column.name]) if f.column.name in masks else f for f in fields)
    key_postgres, notes = _key(table, fields, {column for (column, _), became in coerced.items() if became == "NULL"})
    name_postgres = mapping.postgres_name(table.name)
    chosen = "partition_bytes" in settings.values
    scanned = None if chosen else partitioning.scanned(table, settings.get("batch_size"))
    if adopted:
        notes += ("kept as they are at the warehouse: " + ", ".join(f"{n} as {t}" for n, t in adopted.items()),)
    if masked_names := [f"{field.column.name} by {field.mask}" for field in fields if field.mask]:
        notes += (f"masked, and left out of checksums: {', '.join(masked_names)}",)
    if moving := [f"{f.column.name} (by {f.column.depends_on})" for f in fields if f.column.depends_on]:
        notes += (f"as of the run, and not compared, since their values depend on the time: {', '.join(moving)}",)
    plan = TablePlan(
        table=table,
        kind=LoadKind.FULL,
        reason="first load" if published is None else "every row is read and compared",
        category=settings.get("performance_category") or category_of(table.rows),
        priority=PRIORITIES.index(settings.get("processing_priority", "medium")),
        fields=fields,
        rows_per_partition=scanned
        or partitioning.rows_per_partition(
            table, settings.get("batch_size"), settings.get("partition_bytes") or partition_bytes
        ),
        full_scan_per_partition=scanned is not None,
        batch_size=settings.get("batch_size"),
        partition_bytes=settings.get("partition_bytes"),
        workers=settings.get("workers"),
        name_postgres=name_postgres,
        key_postgres=key_postgres,
        cutover=Cutover.SWAP,
        published=published,
        mask_mark=mask_mark if any(field.mask == "hash" for field in fields) else "",
        adopted=adopted,
        notes=(*_renamings(table.name, name_postgres, fields), *notes),
    )
    return _with_cutover(plan, unrepresentable, settings.get("views") == "rebuild")


def not_shown(plan: TablePlan, settings: TableSettings) -> DataError | None:
    """
    Why columns that the warehouse has, and the source does not show any more, are not taken for dropped: of a table of
    which this account does not see all columns.
    """
    excluded = {mapping.postgres_name(name) for name in settings.excluded_columns()}
    missing = [column for column in plan.drift.dropped if column not in excluded]
    if not missing:
        return None
    named = ", ".join(missing)
    place = f"tables.{plan.name}.columns"
    return DataError(
        f"{plan.name}: the source no longer shows {named}, to an account that does not see all columns of the "
        "table: dropped, or no longer granted? nothing was loaded",
        f"GRANT SELECT on the table, or on {named}, to the account that reads; or to remove them from the targets as "
        f"well: {place}: {', '.join(f'{name}: {{exclude: true}}' for name in missing)}",
    )


def _refuse_what_cannot_be(table: Table, settings: TableSettings, published: PublishedTable | None) -> None:
    if not table.columns:
        raise DataError(
            f"{table.name}: the source shows no column of it", "see what CHECK TABLE says of it there, or exclude it"
        )
    if problems := validation.problems(table, settings):
        raise together(problems)
    for column in _columns(table, settings):
        if column.data_type in ("enum", "set") and "\ufffd" in column.column_type:
            raise DataError(
                f"{table.name}.{column.name}: a label of it is no text",
                f"leave the column out in arrowetl.yml: tables.{table.name}.columns.{column.name}: {{exclude: true}}",
            )
    if not _columns(table, settings):
        raise DataError(
            f"{table.name}: every column is excluded", "exclude the table instead: {exclude: true} in arrowetl.yml"
        )
    if published and published.kind != "table":
        raise DataError(
            f"{table.name}: a {published.kind} of that name exists at the warehouse, and cannot be written to",
            "rename or drop it there, or exclude the table in arrowetl.yml: {exclude: true}",
        )


def _key(table: Table, fields: Iterable[Field], become_null: set[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The primary key at the warehouse, and what is to be noted of one that there cannot be."""
    names = {field.column.name: field.name_postgres for field in fields}
    if not table.primary_key and any(index.name == "PRIMARY" for index in table.indexes):
        return (), ("without its primary key at both targets: the tables that it merges hold one twice",)
    if not all(name in names for name in table.primary_key):
        return (), ("without a primary key at the warehouse: a column of it is excluded",)
    dates = {field.column.name for field in fields if mapping.is_a_date(field)}
    if become_null & dates & set(table.primary_key):
        return (), (_WITHOUT_KEY,)
    return tuple(names[name] for name in table.primary_key), ()


_WITHOUT_KEY = (
    "without its primary key at the warehouse, which cannot hold all of its values "
    "(type: text for its dates, or bytea for its texts, would)"
)


def warehouse_key_dropped(plan: TablePlan) -> TablePlan:
    """
    The same plan for a table whose primary key the warehouse turned out not to hold.

    Raises:
        DataError: the warehouse's table cannot follow.
    """
    keyless = replace(
        plan, key_postgres=(), warehouse_key_dropped=True, drift=SchemaChange(), notes=(*plan.notes, _WITHOUT_KEY)
    )
    return _with_cutover(keyless, {})


def values_to_check(table: Table, settings: TableSettings, published: PublishedTable | None) -> dict[str, str]:
    """
    What the source is asked before a table that arrowetl did not make is adopted.

    Returns:
        column → SQL (`{c}` is its quoted name) true of the values that its type at the warehouse cannot hold.
    """
    columns = _columns(table, settings)
    existing = _adoptable(columns, settings, published)
    questions = {c.name: mapping.refused_values(c, existing[c.name]) for c in columns if c.name in existing}
    return {name: question for name, question in questions.items() if question}


def without_absent(settings: TableSettings, replica: Table, published: PublishedTable | None = None) -> TableSettings:
    """What is chosen of a table that is read from the replica, which has none of the columns that are left out."""
    there = {column.name for column in replica.columns}
    columns = settings.get("columns", {})
    kept = {name: entry for name, entry in columns.items() if name in there or not entry.get("exclude")}
    # A type that the replica's server lacks is another one there, and is to be what the source's became.
    existing = _existing_types(published) if published else {}
    for column in replica.columns:
        was = existing.get(mapping.postgres_name(column.name))
        if was in LOST_AT_REPLICAS and column.data_type in LETTERS and "type" not in kept.get(column.name, {}):
            kept = {**kept, column.name: {**kept.get(column.name, {}), "type": was}}
    # Nothing is read by a watermark there.
    overrides = {**(settings.get("overrides") or {}), "primary_incremental_column": None}
    return TableSettings({**settings.values, "columns": kept, "overrides": overrides}) if kept or columns else settings


def _columns(table: Table, settings: TableSettings) -> list[Column]:
    excluded = settings.excluded_columns()
    return [column for column in table.columns if column.name not in excluded]


def _existing_types(published: PublishedTable) -> dict[str, str]:
    """The types at the warehouse, in the spelling of ours."""
    return {name: postgres_types.spelled(type_) for name, type_ in published.columns}


def _adoptable(columns: Iterable[Column], settings: TableSettings, published: PublishedTable | None) -> dict[str, str]:
    """Columns that have another type at the warehouse than ours, which some rule can give: and that type."""
    if published is None:
        return {}
    existing, found = _existing_types(published), {}
    for column in columns:
        there = existing.get(mapping.postgres_name(column.name))
        rule = mapping.rule_for(column, there) if there and column.name not in settings.column_types() else None
        if there and rule and rule.only_on_request and rule.can_adopt:
            found[column.name] = there
    return found


def _renamings(table: str, name_postgres: str, fields: Iterable[Field]) -> Iterable[str]:
    if name_postgres != table:
        yield f"is {name_postgres} at the warehouse"
    for field in fields:
        if field.name_postgres != field.column.name:
            yield f"column {field.column.name} is {field.name_postgres} at the warehouse"


def _with_cutover(plan: TablePlan, unrepresentable: Mapping[str, int], rebuild_views: bool = False) -> TablePlan:
    """
    The plan with how staged rows become published ones, and how the published table follows before that.
    """
    published, name = plan.published, plan.name
    if published is None:
        return replace(plan, cutover=Cutover.SWAP)
    existing = _existing_types(published)
    fields = {field.name_postgres: field for field in plan.fields}
    retyped = tuple(f for n, f in fields.items() if n in existing and existing[n] != f.type_postgres)
    widened = tuple(f for f in retyped if postgres_types.widens(existing[f.name_postgres], f.type_postgres))
    bent = [f for f in retyped if f not in widened]
    dropped = tuple(column for column in existing if column not in fields)
    key_stays = plan.key_postgres == published.primary_key and not any(
        f.name_postgres in plan.key_postgres for f in bent
    )
    added = tuple(field for column, field in fields.items() if column not in existing)
    recreates_table = bool(dropped or len(existing) < published.columns_ever) and (
        published.columns_ever + len(added) > limits.postgres_columns_max
    )
    drift = SchemaChange(
        added=added,
        retyped=retyped,
        widened=widened,
        dropped=dropped,
        adds_key=bool(plan.key_postgres) and not key_stays,
        drops_key=bool(published.primary_key) and not key_stays,
        views=published.dependents
        if recreates_table
        else _views_on(published, [*(f.name_postgres for f in retyped), *dropped]),
        recreates_table=recreates_table,
    )
    # A view that names a dropped column cannot be recreated.
    blocking = _views_on(published, [*(f.name_postgres for f in bent if not rebuild_views), *dropped])
    blocking = tuple(view for view in blocking if view not in published.united)
    if blocking:
        changes = [_retyping(field, existing[field.name_postgres], unrepresentable) for field in bent]
        changes += [_only_there(column, fields) for column in dropped]
        keepable = {
            f.column.name: existing[f.name_postgres] for f in bent if _can_be_kept(f, existing, unrepresentable)
        }
        keep = ", ".join(f"{column}: {{type: {type_}}}" for column, type_ in keepable.items())
        raise DataError(
            f"{name}: the source's columns changed ({'; '.join(changes)}), and views on the warehouse's table block "
            f"the same change there: {', '.join(blocking)}",
            "drop the views, run again, and recreate them"
            + (
                f". If only types changed, set tables.{name}: {{views: rebuild}} in arrowetl.yml: arrowetl then does "
                "this in the cutover's transaction, and readers of the views wait for it"
                if bent
                else ""
            )
            + (f". Or keep the warehouse's types with tables.{name}.columns: {keep}" if keep else ""),
            slug="views_block_change",
        )
    cutover = Cutover.MERGE if plan.key_postgres and not drift.adds_key else Cutover.MATCH
    notes = [_retyping(field, existing[field.name_postgres], unrepresentable) for field in retyped]
    notes += [f"column {field.name_postgres} is added at the warehouse" for field in drift.added]
    notes += [f"column {column} is dropped at the warehouse" for column in dropped]
    notes += [_RECREATED] if recreates_table else []
    notes += [f"views are recreated: {', '.join(drift.views)}"] if drift.views else []
    return replace(plan, cutover=cutover, drift=drift, notes=(*plan.notes, *notes))


_RECREATED = "recreated at the warehouse: dropped columns count against PostgreSQL's limit, and no more fit"


def _views_on(published: PublishedTable, columns: Iterable[str]) -> tuple[str, ...]:
    """The views that name one of the columns."""
    return tuple(sorted({view for column in columns for view in published.used.get(column, ())}))


def _can_be_kept(field: Field, existing: Mapping[str, str], unrepresentable: Mapping[str, int]) -> bool:
    rule = mapping.rule_for(field.column, existing[field.name_postgres])
    return rule is not None and rule.only_on_request and not unrepresentable.get(field.column.name)


def _only_there(column: str, fields: Iterable[str]) -> str:
    other = next((name for name in fields if name.lower() == column.lower()), None)
    hint = f", which the source spells {other}" if other else " and not in the source's, or excluded"
    return f"{column} is in the warehouse's table{hint}"


def _retyping(field: Field, existing: str, unrepresentable: Mapping[str, int]) -> str:
    count = unrepresentable.get(field.column.name, 0)
    why = f", which cannot hold {count:,} value{'s' if count > 1 else ''}" if count else ""
    return f"{field.name_postgres} becomes {field.type_postgres} instead of {existing}{why}"


def ordered(plans: Iterable[TablePlan]) -> list[TablePlan]:
    """The order of work: high priority first, the largest first within, so that the longest does not end last."""
    return sorted(plans, key=lambda plan: (plan.priority, -plan.table.data_bytes, plan.name))


def unlisted(catalog: Mapping[str, Table], known: Iterable[str]) -> tuple[list[str], list[str]]:
    """The source's tables that tables.yml does not have, and those of tables.yml that the source no longer has."""
    listed = set(known)
    return sorted(catalog.keys() - listed), sorted(listed - catalog.keys())
