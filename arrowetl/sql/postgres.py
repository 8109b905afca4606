"""
What is said to PostgreSQL: staging, cutover, and questions about what stands there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from arrowetl import limits
from arrowetl.model import Cutover, Field, TablePlan
from arrowetl.schema import shortened
from arrowetl.sql.names import is_ours, postgres_literal, postgres_name, postgres_table, staging_name


def create_warehouse(namespace: str, plan: TablePlan) -> str:
    """
    The staging table: logged where it will be renamed into place, unlogged where it only feeds a merge.
    """
    unlogged = "" if plan.cutover is Cutover.SWAP else "UNLOGGED "
    lines = [f"{postgres_name(field.name_postgres)} {field.type_postgres}" for field in plan.fields]
    if plan.key_postgres:
        lines.append(f"PRIMARY KEY ({', '.join(map(postgres_name, plan.key_postgres))})")
    return f"CREATE {unlogged}TABLE {postgres_table(namespace, staging_name(plan.name_postgres))} ({', '.join(lines)})"


def drop_postgres(namespace: str, name: str) -> str:
    return f"DROP TABLE IF EXISTS {postgres_table(namespace, name)}"


def add_columns(namespace: str, table: str, fields: Sequence[Field]) -> str:
    added = ", ".join(f"ADD COLUMN {postgres_name(f.name_postgres)} {f.type_postgres}" for f in fields)
    return f"ALTER TABLE {postgres_table(namespace, table)} {added}"


def swap_warehouse(namespace: str, table: str, exists: bool) -> tuple[str, ...]:
    """
    Staging into place, for one transaction; the old table goes first and takes nothing with it.
    """
    statements = [f"DROP TABLE {postgres_table(namespace, table)}"] if exists else []
    staging = postgres_table(namespace, staging_name(table))
    return (*statements, f"ALTER TABLE {staging} RENAME TO {postgres_name(table)}")


def key_name(namespace: str, table: str) -> str:
    """What the primary key of a table is called: PostgreSQL named it after the staging table."""
    target = postgres_literal(postgres_table(namespace, table))
    return f"SELECT conname::text FROM pg_constraint WHERE contype = 'p' AND conrelid = {target}::regclass"


def rename_key(namespace: str, table: str, key: str) -> str:
    """The key as a reader of \\d expects it."""
    names = f"{postgres_name(key)} TO {postgres_name(shortened_key(table))}"
    return f"ALTER TABLE {postgres_table(namespace, table)} RENAME CONSTRAINT {names}"


def shortened_key(table: str) -> str:
    """What PostgreSQL would have called the primary key."""
    name = f"{table}_pkey"
    return name if len(name.encode()) <= limits.postgres_name_bytes else shortened(name, limits.postgres_name_bytes)


def merge(namespace: str, plan: TablePlan) -> Mapping[str, str]:
    """
    Make the published table equal to staging by writing only what differs, for one transaction.

    `*<>` compares the stored images: it sees -0.0 and 1.10 against 1.1, and
    rows that are equal are not even locked (ON CONFLICT … WHERE locks them all).
    """
    target = postgres_table(namespace, plan.name_postgres)
    staging = postgres_table(namespace, staging_name(plan.name_postgres))
    names = [postgres_name(field.name_postgres) for field in plan.fields]
    key = [postgres_name(name) for name in plan.key_postgres]
    columns = ", ".join(names)
    image = {side: f"ROW({', '.join(f'{side}.{name}' for name in names)})::record" for side in "ts"}
    matching = " AND ".join(f"t.{name} = s.{name}" for name in key)
    updates = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
    resolve = f"DO UPDATE SET {updates}" if updates else "DO NOTHING"
    return {
        "deleted": f"DELETE FROM {target} t WHERE NOT EXISTS (SELECT FROM {staging} s WHERE {matching})",
        "written": (
            f"INSERT INTO {target} ({columns}) SELECT {', '.join(f's.{name}' for name in names)} "
            f"FROM {staging} s LEFT JOIN {target} t ON {matching} "
            f"WHERE t.{key[0]} IS NULL OR {image['t']} *<> {image['s']} "
            f"ON CONFLICT ({', '.join(key)}) {resolve}"
        ),
    }


def counting(statement: str) -> str:
    """The same DML, answering with how many rows it touched, and how many of them are new (no earlier version)."""
    return (
        f"WITH changed AS ({statement} RETURNING (xmax = 0) AS fresh) "
        "SELECT count(*), count(*) FILTER (WHERE fresh) FROM changed"
    )


def add_key(namespace: str, plan: TablePlan) -> str:
    key = ", ".join(map(postgres_name, plan.key_postgres))
    return f"ALTER TABLE {postgres_table(namespace, plan.name_postgres)} ADD PRIMARY KEY ({key})"


def comment_of(namespace: str, table: str, column: str) -> str:
    return (
        "SELECT col_description(attrelid, attnum) FROM pg_attribute "
        f"WHERE attrelid = {postgres_literal(postgres_table(namespace, table))}::regclass "
        f"AND attname = {postgres_literal(column)}"
    )


def allow_null(namespace: str, table: str, columns: Sequence[str]) -> str:
    changes = ", ".join(f"ALTER COLUMN {postgres_name(column)} DROP NOT NULL" for column in columns)
    return f"ALTER TABLE {postgres_table(namespace, table)} {changes}"


def drop_key(namespace: str, table: str, key: str, columns: Sequence[str]) -> str:
    """Take its key from a table, and what the key left of itself: that its columns are never NULL."""
    nullable = [f"ALTER COLUMN {postgres_name(column)} DROP NOT NULL" for column in columns]
    changes = ", ".join([f"DROP CONSTRAINT {postgres_name(key)}", *nullable])
    return f"ALTER TABLE {postgres_table(namespace, table)} {changes}"


def comment(namespace: str, table: str, column: str, text: str | None) -> str:
    target = f"{postgres_table(namespace, table)}.{postgres_name(column)}"
    return f"COMMENT ON COLUMN {target} IS {postgres_literal(text)}"


def replace_all(namespace: str, plan: TablePlan) -> tuple[str, str]:
    """Everything out, everything in: for one transaction, in which readers see the old rows until the end."""
    target = postgres_table(namespace, plan.name_postgres)
    staging = postgres_table(namespace, staging_name(plan.name_postgres))
    columns = ", ".join(postgres_name(field.name_postgres) for field in plan.fields)
    return f"DELETE FROM {target}", f"INSERT INTO {target} ({columns}) SELECT {columns} FROM {staging}"


def published(namespace: str) -> Mapping[str, str]:
    """What stands in the warehouse's namespace: columns, primary keys, and the views upon its tables."""
    schema = postgres_literal(namespace)
    return {
        "columns": (
            "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), CASE c.relkind "
            "WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view' "
            "WHEN 'm' THEN 'materialized view' ELSE 'foreign table' END, a.attnotnull FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid "
            f"WHERE n.nspname = {schema} AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 "
            "AND NOT a.attisdropped "
            "ORDER BY c.relname, a.attnum"
        ),
        "keys": (
            "SELECT c.relname::text, a.attname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace "
            "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey) "
            f"WHERE n.nspname = {schema} AND i.indisprimary ORDER BY c.relname, array_position(i.indkey, a.attnum)"
        ),
        "dependents": (
            "SELECT DISTINCT t.relname::text, vn.nspname::text || '.' || v.relname::text FROM pg_depend d "
            "JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class "
            "JOIN pg_namespace vn ON vn.oid = v.relnamespace JOIN pg_class t ON t.oid = d.refobjid "
            "JOIN pg_namespace n ON n.oid = t.relnamespace WHERE d.classid = 'pg_rewrite'::regclass "
            f"AND d.refclassid = 'pg_class'::regclass AND n.nspname = {schema} AND v.oid <> t.oid ORDER BY 1, 2"
        ),
    }


def leftovers_postgres(namespace: str) -> str:
    """The staging tables an earlier run left."""
    return (
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE n.nspname = {postgres_literal(namespace)} AND c.relkind = 'r' AND {is_ours('c.relname::text')}"
    )
