"""
The union views of all clinics: made where they are wanted, recreated where a table beneath them changes.

`union_views_sql` phrases such a view; its tables are listed
in its comment. `merge` asks when it must drop one, `fleet_run` when
its clinics have run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from arrowetl import drivers, limits, sql
from arrowetl.errors import DatabaseQueryError
from arrowetl.warehouse import schema_changes_sql, union_views_sql
from arrowetl.warehouse.schema_changes_sql import View


def definition(
    session: drivers.Postgres, table: str, clinics: Mapping[str, str], order: Sequence[str] = ()
) -> str | None:
    """The query of a view over a table of all clinics, as it is now; None where none has it."""
    columns: dict[str, dict[str, str]] = {}
    for schema, column, type_ in session.rows(union_views_sql.columns_of(clinics.values(), table)):
        columns.setdefault(schema, {})[column] = type_
    return union_views_sql.definition(table, clinics, columns, order)


def unite(
    session: drivers.Postgres, schema: str, tables: Iterable[str], clinics: Mapping[str, str], known: Iterable[str]
) -> tuple[list[str], list[str]]:
    """
    Make a view of each table, or update it; one that is as it should be is left alone.

    Args:
        clinics: clinic → the schema that has its tables, of those that were run.
        known: all that the fleet has: a view keeps those of them that it has.

    Returns:
        The views that exist then, and what prevented others, in words.
    """
    if not session.rows(f"SELECT 1 FROM pg_namespace WHERE nspname = {sql.postgres_literal(schema)}"):
        session.execute(f"CREATE SCHEMA IF NOT EXISTS {sql.postgres_name(schema)}")
    existing = session.rows(union_views_sql.existing(schema))
    there = {name: (comment, json.loads(columns)) for name, comment, columns in existing}
    made, wrong, known = [], [], set(known)
    for table in tables:
        comment, columns = there.get(table, (None, []))
        before = union_views_sql.clinics_from(comment)
        if columns and before is None:
            wrong.append(f"{schema}.{table} is a view that arrowetl did not make, and stays as it is")
            continue
        wanted = {clinic: place for clinic, place in (before or {}).items() if clinic in known} | dict(clinics)
        try:
            if _updated(session, schema, table, wanted, comment, columns):
                made.append(table)
        except DatabaseQueryError as error:
            wrong.append(f"{schema}.{table} cannot be recreated: {error.said or error.message}")
    return made, wrong


def _updated(
    session: drivers.Postgres, schema: str, table: str, clinics: Mapping[str, str], comment: str | None,
    columns: Sequence[str],
) -> bool:  # fmt: skip
    # The first column names the clinic of a row.
    query = definition(session, table, clinics, columns[1:])
    if query is None:
        return False
    said = union_views_sql.comment(clinics, query)
    if said != comment:
        patiently(session, lambda: _replaced(session, schema, table, query, said))
    return True


def _replaced(session: drivers.Postgres, schema: str, table: str, query: str, comment: str) -> None:
    """In place of the existing one, as long as its columns stay what they are; else recreated, as it was."""
    lock(session)
    name = sql.postgres_table(schema, table)
    try:
        with session.transaction():
            session.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")
            session.execute(f"COMMENT ON VIEW {name} IS {sql.postgres_literal(comment)}")
    except DatabaseQueryError as error:
        if error.code != _OTHER_COLUMNS:
            raise
        kept = Kept(session, [f"{schema}.{table}"])
        kept.take_away()
        # No such view depends on another.
        for statement in kept.creations(
            lambda said: (query, comment) if union_views_sql.clinics_from(said) is not None else None
        ):
            session.execute(statement)


_OTHER_COLUMNS = "42P16"


def lock(session: drivers.Postgres) -> None:
    """Until the transaction ends, no other session drops views that this one is about to drop."""
    number = sql.lock_number("arrowetl views " + session.endpoint.database)
    session.execute(f"SELECT pg_advisory_xact_lock({number})")


class Kept:
    """Views, and those on them, as they were before they were dropped: definition, privileges, comments, owner."""

    def __init__(self, session: drivers.Postgres, views: Sequence[str]) -> None:
        """
        Args:
            views: their names, with their schemas, not quoted.
        """
        self._session = session
        found = (View(*row) for row in session.rows(schema_changes_sql.dependents(views)))
        self._views = [
            replace(
                view,
                grants=session.rows(schema_changes_sql.grants_of(view.oid)),
                comments=session.rows(schema_changes_sql.comments_of(view.oid)),
                indexes=[index for (index,) in session.rows(schema_changes_sql.indexes_of(view.oid))],
            )
            for view in found
        ]

    @property
    def lost(self) -> list[str]:
        """What was given to them, and would be lost with them, in words."""
        return [
            f"{what} of {view.name}"
            for view in self._views
            for (what,) in self._session.rows(schema_changes_sql.lost_with(view.oid))
        ]

    @property
    def names(self) -> list[str]:
        return [view.name for view in self._views]

    def take_away(self) -> None:
        for view in reversed(self._views):
            self._session.execute(schema_changes_sql.drop_view(view.name, view.kind))

    def creations(self, recreated: Callable[[str | None], tuple[str, str | None] | None]) -> list[str]:
        """
        The statements that make them again.

        Args:
            recreated: comment of one → its definition and comment, where they are different now.
        """
        statements = []
        for view in self._views:
            definition, comment = recreated(view.comment) or (view.definition, view.comment)
            statements += schema_changes_sql.create_view(replace(view, definition=definition, comment=comment))
        return statements


def patiently(session: drivers.Postgres, act: Callable[[], None]) -> None:
    """
    In a transaction what waits for readers, and others for it: it gives up at once, and tries again.
    """
    deadline = time.monotonic() + limits.cutover_lock_seconds
    while True:
        try:
            with session.transaction():
                session.execute(f"SET LOCAL lock_timeout = '{limits.alter_lock_milliseconds}ms'")
                act()
            return
        except DatabaseQueryError as error:
            if error.code != _LOCK_NOT_AVAILABLE or time.monotonic() > deadline:
                raise
        time.sleep(limits.alter_pause_seconds)


_LOCK_NOT_AVAILABLE = "55P03"
