"""
Union views of a table of many schemas, with a column that names the clinic of each row.

Pure. Such a view has a comment by which it is known, and by which it can be
recreated: the clinics and their schemas. A column that some do not have is
NULL there; one that has several types gets the one that holds them all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from arrowetl.sql import postgres_literal, postgres_name, postgres_table
from arrowetl.types.postgres_types import common_type

MARK = "arrowetl fleet: "
"""What the comment of such a view begins with."""
CLINIC = "clinic"


def columns_of(schemas: Iterable[str], table: str) -> str:
    """Schema, column and type of a table, in order."""
    named = ", ".join(map(postgres_literal, schemas))
    return (
        "SELECT n.nspname::text, a.attname::text, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a "
        "JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE n.nspname IN ({named}) AND c.relname = {postgres_literal(table)} AND c.relkind = 'r' "
        "AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, a.attnum"
    )


def definition(
    table: str, clinics: Mapping[str, str], columns: Mapping[str, Mapping[str, str]], order: Sequence[str] = ()
) -> str | None:
    """
    The query of such a view; None where no schema has the table.

    Args:
        clinics: clinic → schema.
        columns: schema → column → type.
        order: of the columns as the view has them: new ones come last.
    """
    there = {clinic: schema for clinic, schema in clinics.items() if columns.get(schema)}
    types: dict[str, list[str]] = {name: [] for name in order}
    # The one that has most gives the order.
    for schema in sorted(there.values(), key=lambda one: -len(columns[one])):
        for column, type_ in columns[schema].items():
            types.setdefault(column, []).append(type_)
    wanted = {column: common_type(found) for column, found in types.items() if found}
    arms = []
    for clinic, schema in there.items():
        values = [
            f"{_value(columns[schema], column, type_)} AS {postgres_name(column)}" for column, type_ in wanted.items()
        ]
        said = ", ".join([f"{postgres_literal(clinic)}::text AS {postgres_name(_clinic_column(wanted))}", *values])
        arms.append(f"SELECT {said} FROM {postgres_table(schema, table)}")
    return " UNION ALL ".join(arms) if arms else None


def _value(existing: Mapping[str, str], column: str, type_: str) -> str:
    if column not in existing:
        return f"NULL::{type_}"
    return postgres_name(column) if existing[column] == type_ else f"{postgres_name(column)}::{type_}"


def _clinic_column(columns: Iterable[str]) -> str:
    """`clinic`, or where a table has such a column itself, `_clinic`."""
    return f"_{CLINIC}" if CLINIC in columns else CLINIC


def comment(clinics: Mapping[str, str], query: str) -> str:
    """By which a view is known, and whether it still says what it should."""
    digest = hashlib.sha256(query.encode()).hexdigest()[:16]
    return MARK + json.dumps({"clinics": dict(clinics), "digest": digest})


def clinics_from(comment_: str | None) -> dict[str, str] | None:
    """Clinic → schema, of such a view's comment; None of another's."""
    if not comment_ or not comment_.startswith(MARK):
        return None
    try:
        return {
            str(clinic): str(schema) for clinic, schema in json.loads(comment_.removeprefix(MARK))["clinics"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def existing(schema: str) -> str:
    """Name, comment and columns of the views there."""
    return (
        "SELECT c.relname::text, obj_description(c.oid, 'pg_class'), "
        "(SELECT json_agg(a.attname ORDER BY a.attnum)::text FROM pg_attribute a "
        "WHERE a.attrelid = c.oid AND a.attnum > 0) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE n.nspname = {postgres_literal(schema)} AND c.relkind = 'v'"
    )
