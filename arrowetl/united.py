"""
The views upon all clinics: made where they are wanted, made anew where a table beneath them changes.

What such a view says is `sql.united`'s business; whose tables it stands upon
is in its comment. `cutover` asks when it must take one away, the fleet when
all clinics have run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from arrowetl import drivers, sql
from arrowetl.errors import DatabaseQueryError
from arrowetl.sql import united


def definition(
    session: drivers.Postgres, table: str, clinics: Mapping[str, str], order: Iterable[str] = ()
) -> str | None:
    """The query of a view upon a table of all clinics, as it is now."""
    columns: dict[str, dict[str, str]] = {}
    for schema, column, type_ in session.rows(united.columns_of(clinics.values(), table)):
        columns.setdefault(schema, {})[column] = type_
    return united.definition(table, clinics, columns, list(order))


def unite(
    session: drivers.Postgres, schema: str, tables: Iterable[str], clinics: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """
    Make a view of each table, or bring it up to date; those that say what they should stay as they are.

    Args:
        clinics: clinic → the schema that has its tables.

    Returns:
        The views that were made, and what stood in the way of others, in words.
    """
    session.execute(f"CREATE SCHEMA IF NOT EXISTS {sql.postgres_name(schema)}")
    there = {name: (comment, json.loads(columns)) for name, comment, columns in session.rows(united.standing(schema))}
    made, wrong = [], []
    for table in tables:
        comment, columns = there.get(table, (united.comment({}), []))
        if united.clinics_from(comment) is None:
            wrong.append(f"{schema}.{table} is a view that somebody else made, and stays as it is")
            continue
        try:
            if _made(session, schema, table, clinics, columns):
                made.append(table)
        except DatabaseQueryError as error:
            wrong.append(f"{schema}.{table} cannot be made anew: {error.said or error.message}")
    return made, wrong


def _made(session: drivers.Postgres, schema: str, table: str, clinics: Mapping[str, str], columns: list[str]) -> bool:
    name = sql.postgres_table(schema, table)
    wanted = definition(session, table, clinics, [column for column in columns if column.strip("_") != united.CLINIC])
    if wanted is None:
        return False
    try:
        with session.transaction():
            # In the place of the one that stands, as long as its columns stay what they are.
            session.execute(f"CREATE OR REPLACE VIEW {name} AS {wanted}")
            _comment(session, name, clinics)
    except DatabaseQueryError as error:
        if error.code != _OTHER_COLUMNS:
            raise
        with session.transaction():
            session.execute(f"DROP VIEW {name}")
            session.execute(f"CREATE VIEW {name} AS {wanted}")
            _comment(session, name, clinics)
    return True


def _comment(session: drivers.Postgres, name: str, clinics: Mapping[str, str]) -> None:
    session.execute(f"COMMENT ON VIEW {name} IS {sql.postgres_literal(united.comment(clinics))}")


_OTHER_COLUMNS = "42P16"
