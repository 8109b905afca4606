"""
How staged rows become the warehouse's published ones: columns follow, then rows, and readers see both at once.

It gets a session and a plan, and decides nothing about the table but how
many changes are too many to be made one by one. `loader` staged the rows;
the SQL is in `warehouse_sql`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from uuid import uuid4

from arrowetl import drivers, limits, sql
from arrowetl.errors import (
    ArrowetlError,
    DatabaseConnectionError,
    DatabaseQueryError,
    DataLoadingError,
    OutOfStepError,
    StagingLostError,
    as_arrowetl_error,
)
from arrowetl.model.plan import Cutover, LoadKind, SchemaChange, TablePlan
from arrowetl.model.result import RowCounts, StagedCounts, StateStatement
from arrowetl.state import state_sql
from arrowetl.state.fence import begin_swap, miscounted, require_own
from arrowetl.state.history_sql import mark_published
from arrowetl.state.state_sql import is_prepared
from arrowetl.warehouse import schema_changes_sql, union_views, union_views_sql, warehouse_sql


@dataclass(frozen=True)
class TableCutover:
    """A table that is staged, and what is recorded once it is switched."""

    plan: TablePlan
    staged: StagedCounts
    comments: Mapping[str, str]
    recorded: StateStatement


def cutover(session: drivers.Postgres, one: TableCutover) -> RowCounts:
    """
    One transaction, or two where the table can follow beforehand: a short lock, where the rows' would last.

    Raises:
        OutOfStepError: the published table would not have the rows it must.
    """
    one = replace(one, plan=follow(session, one.plan))
    namespace = session.endpoint.namespace
    if one.plan.cutover is Cutover.SWAP:
        with suppress(_NameTakenError), session.transaction():
            return _swap_unlooked(session, namespace, one)
    with session.transaction():
        require_own(session, namespace, one.plan, after=_waits(namespace, one.plan))
        return _switch(session, one)


def follow(session: drivers.Postgres, plan: TablePlan) -> TablePlan:
    """
    Give a table the columns and types that its rows will need, under a short lock; a table whose values change waits
    for its rows.

    Returns:
        The plan, with nothing left to follow but the key.
    """
    published = plan.published
    if plan.drift.changes_values or not (plan.drift or (published and published.not_null)):
        return plan
    namespace = session.endpoint.namespace

    def act() -> None:
        require_own(session, namespace, plan)
        _change_columns_before_rows(session, namespace, plan)

    union_views.patiently(session, act)
    followed = replace(published, not_null=()) if published else None
    return replace(plan, drift=SchemaChange(adds_key=plan.drift.adds_key), published=followed)


@dataclass
class JointCutover:
    """What has come of many tables until now; an interrupted caller still has it."""

    run_id: str
    token: str = field(default_factory=lambda: uuid4().hex)
    """By which the transaction is known at the warehouse, once it is committed."""
    changes: dict[str, RowCounts] = field(default_factory=dict)
    errors: dict[str, ArrowetlError] = field(default_factory=dict)
    """Of those that stay as they were."""
    published: bool = False
    """Whether the others are switched: all of them, or none."""
    seconds: float = 0.0
    """That the transaction took."""


class _RefusedError(Exception):
    """The caller did not accept the errors; nothing was committed."""


def cutover_together(
    session: drivers.Postgres,
    switches: Sequence[TableCutover],
    found: JointCutover,
    accepts: Callable[[Mapping[str, ArrowetlError]], bool],
) -> None:
    """
    Many tables in one transaction; each that fails stays as it was. They have followed before (`follow`).

    Args:
        found: is filled with the results.
        accepts: whether the others are to be switched without those that failed.

    Raises:
        DatabaseError: the server was lost, or refused the transaction; whether it was committed, its token shows.
    """
    began = time.monotonic()
    try:
        with session.transaction():
            require_own(session, session.endpoint.namespace, switches[0].plan)
            # What takes a reader's place comes last: it holds that until all are done.
            for one in sorted(switches, key=lambda one: one.plan.drift.changes_values or one.plan.drift.adds_key):
                _switch_or_explain(session, one, found)
            if found.errors and not accepts(found.errors):
                raise _RefusedError
            session.execute(mark_published(session.endpoint.namespace, found.run_id, found.token))
    except _RefusedError:
        return
    found.published, found.seconds = True, time.monotonic() - began


def _switch_or_explain(session: drivers.Postgres, one: TableCutover, found: JointCutover) -> None:
    name = one.plan.name
    try:
        # Part of the caller's transaction: all of it, or nothing.
        with session.transaction():
            session.execute("; ".join(_waits(session.endpoint.namespace, one.plan)))
            found.changes[name] = _switch(session, one)
    except DatabaseConnectionError:
        raise
    except Exception as error:
        found.errors[name] = as_arrowetl_error(name, error)


def _waits(namespace: str, plan: TablePlan) -> list[str]:
    """What a switch waits for, and for how long: readers of the table, and whoever names tables as well."""
    waits = [_lock_timeout()]
    if plan.cutover is Cutover.SWAP:
        # What another one is about to call its key may be this one's name.
        waits.append(f"SELECT pg_advisory_xact_lock({_names_lock(namespace)})")
    return waits


def _lock_timeout() -> str:
    return f"SET LOCAL lock_timeout = '{limits.cutover_lock_seconds}s'"


def _names_lock(namespace: str) -> int:
    """The lock of whoever gives tables and keys their names: shared by those that take a name if it is free."""
    return sql.lock_number(f"arrowetl names {namespace}")


def _switch(session: drivers.Postgres, one: TableCutover) -> RowCounts:
    namespace, plan = session.endpoint.namespace, one.plan
    if plan.drift.changes_values:
        # Readers may not look in between.
        with _views_recreated(session, plan):
            _change_columns(session, namespace, plan)
            changes = _write(session, namespace, plan, one.staged)
    else:
        changes = _write(session, namespace, plan, one.staged)
    session.execute(one.recorded(changes))
    _comment_columns(session, one)
    return changes


def _comment_columns(session: drivers.Postgres, one: TableCutover) -> None:
    for column, text in one.comments.items():
        _comment(session, session.endpoint.namespace, one.plan.name_postgres, column, text)


def _change_columns_before_rows(session: drivers.Postgres, namespace: str, plan: TablePlan) -> None:
    """The table follows before its rows do: until they have, its content is in doubt."""
    with _views_recreated(session, plan):
        _change_columns(session, namespace, plan)
    session.execute(state_sql.load_in_doubt(namespace, plan.name))


def _write(session: drivers.Postgres, namespace: str, plan: TablePlan, staged: StagedCounts) -> RowCounts:
    if plan.cutover is Cutover.SWAP:
        return _swap(session, namespace, plan, staged)
    if staged and not session.rows(is_prepared(namespace, plan.name))[0][0]:
        raise StagingLostError(
            f"{plan.name}: the warehouse crashed after rows were staged, and lost them; nothing was changed",
            "run again",
        )
    changes = _merge(session, namespace, plan, staged) if staged or not plan.stages_changes_only else RowCounts()
    if plan.drift.adds_key:
        session.execute(warehouse_sql.add_key(namespace, plan))
    rows = session.count(namespace, plan.name_postgres)
    if rows != staged.expected:
        raise OutOfStepError(
            f"{plan.name}: the warehouse would have {rows:,} rows, and must have {staged.expected:,}",
            "run again with --force-full",
        )
    return changes


class _NameTakenError(Exception):
    """Something has a name that a table, or its key, was to have; nothing was changed."""


# A table, an index, a type or a constraint of that name; none of the old one; two that take it at once.
_NAME_TAKEN = {"42P07", "42710", "42704", "23505", "40P01"}


def _swap_unlooked(session: drivers.Postgres, namespace: str, one: TableCutover) -> RowCounts:
    """
    As `_swap`, where nothing has the names, as nearly always: many at once, and without the millisecond that it takes
    to look at each. Of 381 tables' first load that were 0.4 s of the server's 2.

    Raises:
        _NameTakenError: something has.
    """
    plan = one.plan
    shared = f"SELECT pg_advisory_xact_lock_shared({_names_lock(namespace)})"
    rows = begin_swap(session, namespace, plan, after=[_lock_timeout(), shared])
    if rows != one.staged.expected:
        raise miscounted(plan, "warehouse", rows, one.staged.expected)
    changes = RowCounts(inserted=rows)
    now = sql.key_of(sql.staging_name(plan.name_postgres, plan.run)) if plan.key_postgres else None
    renamed = warehouse_sql.swap_warehouse(namespace, plan, now, warehouse_sql.shortened_key(plan.name_postgres))
    try:
        session.execute("; ".join([*renamed, one.recorded(changes)]))
    except DatabaseQueryError as error:
        if error.code in _NAME_TAKEN:
            raise _NameTakenError from error
        raise
    _comment_columns(session, one)
    return changes


def _swap(session: drivers.Postgres, namespace: str, plan: TablePlan, staged: StagedCounts) -> RowCounts:
    met = session.rows(warehouse_sql.met_by_swap(namespace, plan))
    rows = next(int(number) for number, kind, _ in met if kind == "rows")
    if rows != staged.expected:
        raise miscounted(plan, "warehouse", rows, staged.expected)
    met = [one for one in met if one[1] != "rows"]
    _free_names(session, namespace, plan, [(kind, of) for name, kind, of in met if name == plan.name_postgres])
    now, wanted = _key_names(session, namespace, plan, {name: kind for name, kind, _ in met})
    session.execute("; ".join(warehouse_sql.swap_warehouse(namespace, plan, now, wanted)))
    return RowCounts(inserted=rows)


def _free_names(
    session: drivers.Postgres, namespace: str, plan: TablePlan, met: Iterable[tuple[str, str | None]]
) -> None:
    """
    Tables, indexes and types of a namespace share their names: an index that has the table's gets another.

    Args:
        met: what has the table's name: its kind, and of an index its table.

    Raises:
        DataLoadingError: something else has it, which arrowetl may not rename.
    """
    for kind, of in met:
        if kind not in ("i", "I"):
            what = _TAKEN.get(kind, f"something of kind {kind}")
            raise DataLoadingError(
                f"{plan.name}: {what} of that name exists in {namespace} at the warehouse, where the table is to be",
                f"rename or drop it there, or exclude the table in arrowetl.yml: tables.{plan.name}: {{exclude: true}}",
            )
        session.execute(
            warehouse_sql.rename_index(namespace, plan.name_postgres, _free(session, namespace, f"{of}_pkey"))
        )


_TAKEN = {"type": "a type", "S": "a sequence", "c": "a composite type", "v": "a view", "r": "a table"}


def _key_names(
    session: drivers.Postgres, namespace: str, plan: TablePlan, met: Mapping[str, str]
) -> tuple[str | None, str]:
    """
    What the key is called, and what it is to be: as a reader of \\d expects, unless something else is called so.

    Args:
        met: names that are there, and of what kind: the key's own is a `key`.
    """
    wanted = warehouse_sql.shortened_key(plan.name_postgres)
    now = next((name for name, kind in met.items() if kind == "key"), None)
    return now, _free(session, namespace, wanted) if wanted in met and now != wanted else wanted


def _free(session: drivers.Postgres, namespace: str, name: str) -> str:
    """A name that nothing has: this one, or with a number behind it, as PostgreSQL itself would choose."""
    bytes_max = limits.postgres_name_bytes - 4
    names = (name, *(f"{name.encode()[:bytes_max].decode(errors='ignore')}{number}" for number in range(1, 1000)))
    return next(one for one in names if not session.rows(warehouse_sql.taken_by(namespace, [one])))


def _merge(session: drivers.Postgres, namespace: str, plan: TablePlan, staged: StagedCounts) -> RowCounts:
    """The difference first, then only that; or all out and all in, where the difference is most of it."""
    _refuse_acting_keys(session, namespace, plan)
    if plan.kind is LoadKind.INCREMENTAL:
        # Rows that were staged, and went while the rest was compared.
        session.execute(warehouse_sql.unstage(namespace, plan))
    session.execute(warehouse_sql.differing(namespace, plan))
    differing = session.count(namespace, sql.diff_name(plan.name_postgres, plan.run))
    if not plan.stages_changes_only and differing > limits.replace_share * max(staged.rows, 1) and differing > 1:
        new = (
            session.rows(warehouse_sql.count_new(namespace, plan))[0][0] if plan.cutover is Cutover.MERGE else differing
        )
        delete, insert = warehouse_sql.replace_all(namespace, plan)
        before, _ = session.rows(warehouse_sql.counting(delete))[0]
        _require_written(plan, session.rows(warehouse_sql.counting(insert))[0][0], staged.rows)
        how = f"all rows again, since {differing:,} of {staged.rows:,} differ"
        changes = RowCounts(new, differing - new, before - (staged.rows - new), how)
    else:
        statements = warehouse_sql.merge(namespace, plan)
        deleted, _ = session.rows(warehouse_sql.counting(statements["deleted"]))[0]
        written, inserted = session.rows(warehouse_sql.counting(statements["written"]))[0]
        _require_written(plan, written, differing)
        changes = RowCounts(inserted, written - inserted, deleted)
        if plan.cutover is Cutover.MATCH:
            # Without a key, an edit cannot be distinguished from a deleted and an inserted row.
            changes = replace(changes, inserted=written, updated=0)
    session.execute(warehouse_sql.drop_postgres(namespace, sql.diff_name(plan.name_postgres, plan.run)))
    return changes


def _refuse_acting_keys(warehouse: drivers.Postgres, namespace: str, plan: TablePlan) -> None:
    """
    Raises:
        DataLoadingError: rows that are removed or changed would take other tables' rows with them.
    """
    if acting := warehouse.rows(warehouse_sql.acting_keys(namespace, plan.name_postgres)):
        keys = ", ".join(f"{key} of {table}" for table, key in acting)
        raise DataLoadingError(
            f"{plan.name}: foreign keys at the warehouse would remove or change rows of other tables with its own "
            f"({keys}); nothing was changed there",
            "drop them there, or recreate them without ON DELETE and ON UPDATE: nothing would show what they did",
        )


def _require_written(plan: TablePlan, written: int, wanted: int) -> None:
    """
    Raises:
        DataLoadingError: fewer rows were written than were to be; nothing is changed.
    """
    if written != wanted:
        raise DataLoadingError(
            f"{plan.name}: {wanted:,} rows were to be written at the warehouse, and {written:,} were: a trigger or a "
            "rule of its own keeps the others out, and nothing was changed",
            f"take it off {plan.name_postgres} there; psql's \\d shows which there are",
        )


def _change_columns(session: drivers.Postgres, namespace: str, plan: TablePlan) -> None:
    """Give the published table the columns, types and the freedom that the rows need."""
    named = session.rows(warehouse_sql.key_name(namespace, plan.name_postgres)) if plan.drift.drops_key else []
    for statement in schema_changes_sql.changes(namespace, plan, named[0][0] if named else None):
        session.execute(statement)


@contextmanager
def _views_recreated(session: drivers.Postgres, plan: TablePlan) -> Iterator[None]:
    """Without the views that block the change; afterwards they are as they were, privileges and comments too."""
    if not plan.drift.views:
        yield
        return
    union_views.lock(session)
    kept = union_views.Kept(session, plan.drift.views)
    if lost := kept.lost:
        raise DataLoadingError(
            f"{plan.name}: views that block the change have what would be lost with them ({', '.join(lost)}); nothing "
            "was changed",
            "drop that, or the views, run again, and recreate it",
        )
    kept.take_away()
    yield

    def recreated(comment: str | None) -> tuple[str, str | None] | None:
        """Of a view over many clinics: what they have now."""
        clinics = union_views_sql.clinics_from(comment)
        query = union_views.definition(session, plan.name_postgres, clinics) if clinics else None
        return (query, union_views_sql.comment(clinics or {}, query)) if query else None

    for statement in kept.creations(recreated):
        try:
            session.execute(statement)
        except DatabaseQueryError as error:
            if error.transient:
                raise
            raise DataLoadingError(
                f"{plan.name}: a view cannot be recreated on what the source has now "
                f"({error.said or error.message}), and nothing was changed: one of {', '.join(kept.names)}",
                "drop it, run again, and recreate it by hand",
            ) from error


def _comment(session: drivers.Postgres, namespace: str, table: str, column: str, text: str) -> None:
    """Put the SRID of a column, or none, into its comment; the rest of the comment stays."""
    said = session.rows(warehouse_sql.comment_of(namespace, table, column))[0][0] or ""
    others = re.sub(r"^SRID \d+$| \(SRID \d+\)$", "", said)
    wanted = f"{others} ({text})" if others and text else others or text
    if wanted != said:
        session.execute(warehouse_sql.comment(namespace, table, column, wanted or None))
