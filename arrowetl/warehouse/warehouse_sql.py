"""
The SQL for PostgreSQL: staging, cutover, and questions about what exists there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from arrowetl import limits
from arrowetl.model.plan import Cutover, Field, Partition, TablePlan
from arrowetl.sql import (
    deleted_keys_name,
    diff_name,
    inside,
    is_ours,
    key_of,
    postgres_literal,
    postgres_name,
    postgres_table,
    staging_name,
)
from arrowetl.types.from_postgres import read_back
from arrowetl.types.mapping import shortened
from arrowetl.warehouse import union_views_sql


def create_warehouse(namespace: str, plan: TablePlan) -> list[str]:
    """
    The staging tables: logged where one will be renamed into place, unlogged where they only feed a merge.

    The server's own ANALYZE keeps off them: a cutover that meets it waits for a second. A large table that will be
    renamed is given its key when all rows are there: COPY, key and count of a million rows of procedurelog take 0.5 s
    less of the server's core (`staging_key`).
    """
    name, key = staging_name(plan.name_postgres, plan.run), plan.key_postgres
    if plan.cutover is Cutover.SWAP and plan.is_partitioned:
        return [_create("TABLE", namespace, name, plan.fields, (), not_null=key) + _UNWATCHED]
    if plan.cutover is Cutover.SWAP:
        return [_create("TABLE", namespace, name, plan.fields, key)]
    staging = _create("UNLOGGED TABLE", namespace, name, plan.fields, key) + _UNWATCHED
    if not plan.stages_changes_only:
        return [staging]
    deleted_keys = deleted_keys_name(plan.name_postgres, plan.run)
    return [staging, _create("UNLOGGED TABLE", namespace, deleted_keys, plan.key_fields, key)]


_UNWATCHED = " WITH (autovacuum_enabled = false)"


def staging_key(namespace: str, plan: TablePlan) -> tuple[str, str]:
    """Whether staging has its key, and the statement that gives it one."""
    staging, key = _staging(namespace, plan), ", ".join(map(postgres_name, plan.key_postgres))
    own = postgres_name(key_of(staging_name(plan.name_postgres, plan.run)))
    return (
        f"SELECT EXISTS (SELECT FROM pg_index WHERE indrelid = {postgres_literal(staging)}::regclass AND indisprimary)",
        f"ALTER TABLE {staging} ADD CONSTRAINT {own} PRIMARY KEY ({key})",
    )


def _create(
    kind: str, namespace: str, name: str, fields: Sequence[Field], key: Sequence[str], not_null: Sequence[str] = ()
) -> str:
    lines = [
        f"{postgres_name(field.name_postgres)} {field.type_postgres}"
        + (" NOT NULL" if field.name_postgres in not_null else "")
        for field in fields
    ]
    if key:
        lines.append(f"CONSTRAINT {postgres_name(key_of(name))} PRIMARY KEY ({', '.join(map(postgres_name, key))})")
    return f"CREATE {kind} {postgres_table(namespace, name)} ({', '.join(lines)})"


def drop_postgres(namespace: str, name: str) -> str:
    return f"DROP TABLE IF EXISTS {postgres_table(namespace, name)}"


def rows_back(namespace: str, plan: TablePlan, part: Partition) -> str:
    """The published rows of a partition, each column as it can be compared."""
    columns = []
    for field in plan.fields:
        (select, _), name = read_back(field), postgres_name(field.name_postgres)
        columns.append(f"{select.replace('{c}', name)} AS {name}")
    where = inside(postgres_name(plan.key_fields[0].name_postgres), part) if plan.key_fields else ""
    return f"SELECT {', '.join(columns)} FROM ONLY {_target(namespace, plan)}{where}"


def swap_warehouse(namespace: str, plan: TablePlan, key: str | None, wanted: str) -> list[str]:
    """
    Staging becomes the published table that there was none of.

    Args:
        key: what its primary key is called; None where it has none.
        wanted: what that is to be called.
    """
    target = _target(namespace, plan)
    statements = [f"ALTER TABLE {_staging(namespace, plan)} RENAME TO {postgres_name(plan.name_postgres)}"]
    if plan.is_partitioned:
        statements.append(f"ALTER TABLE {target} RESET (autovacuum_enabled)")
    if key not in (None, wanted):
        statements.append(f"ALTER TABLE {target} RENAME CONSTRAINT {postgres_name(key)} TO {postgres_name(wanted)}")
    return statements


def key_name(namespace: str, table: str) -> str:
    """The name of a table's primary key: whoever made it had the choice."""
    target = postgres_literal(postgres_table(namespace, table))
    return f"SELECT conname::text FROM pg_constraint WHERE contype = 'p' AND conrelid = {target}::regclass"


def taken_by(namespace: str, names: Iterable[str]) -> str:
    """
    What exists by names that a table, an index or a type is to have: the name, its kind, as pg_class has it, or `type`;
    and of an index its table.
    """
    schema, among = postgres_literal(namespace), ", ".join(map(postgres_literal, names))
    return (
        "SELECT c.relname::text, c.relkind::text, (SELECT t.relname::text FROM pg_index i "
        "JOIN pg_class t ON t.oid = i.indrelid WHERE i.indexrelid = c.oid) "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE n.nspname = {schema} AND c.relname IN ({among}) "
        "UNION ALL SELECT y.typname::text, 'type', NULL FROM pg_type y JOIN pg_namespace n ON n.oid = y.typnamespace "
        f"WHERE n.nspname = {schema} AND y.typname IN ({among}) AND y.typrelid = 0 AND y.typelem = 0"
    )


def met_by_swap(namespace: str, plan: TablePlan) -> str:
    """
    The same of the names that a staging table and its key are to have; the key's name now, of kind `key`; and, of kind
    `rows`, how many are staged.
    """
    wanted, staging = (plan.name_postgres, shortened_key(plan.name_postgres)), _staging(namespace, plan)
    return (
        f"{taken_by(namespace, wanted)} UNION ALL SELECT conname::text, 'key', NULL FROM pg_constraint "
        f"WHERE contype = 'p' AND conrelid = {postgres_literal(staging)}::regclass "
        f"UNION ALL SELECT count(*)::text, 'rows', NULL FROM ONLY {staging}"
    )


def rename_index(namespace: str, name: str, wanted: str) -> str:
    return f"ALTER INDEX {postgres_table(namespace, name)} RENAME TO {postgres_name(wanted)}"


def shortened_key(table: str) -> str:
    """What PostgreSQL would have called the primary key."""
    name = f"{table}_pkey"
    return name if len(name.encode()) <= limits.postgres_name_bytes else shortened(name, limits.postgres_name_bytes)


def differing(namespace: str, plan: TablePlan) -> str:
    """
    The table of staged rows that the published table is missing, or that differ there: for one transaction, to be
    dropped in it.

    Logged, as it is made in a transaction that may be rolled back: where PostgreSQL crashes in the fifth of a second
    before that is written, it finds an unlogged table's remains and does not start any more (18.4: "could not create
    file …: File exists").

    `*<>` compares the stored images: it sees -0.0 and 1.10 against 1.1, and
    rows that are equal are not even locked (ON CONFLICT … WHERE locks them all).
    """
    target, staging, names = _target(namespace, plan), _staging(namespace, plan), _names(plan)
    diff = postgres_table(namespace, diff_name(plan.name_postgres, plan.run))
    if plan.cutover is Cutover.MATCH:
        rows = f"{_numbered(staging, names)} WHERE NOT EXISTS ({_numbered(target, names, 't')} WHERE {_same(names)})"
        return f"CREATE TABLE {diff} AS SELECT {', '.join(names)} FROM {rows}"
    key = [postgres_name(name) for name in plan.key_postgres]
    image = {side: f"ROW({', '.join(f'{side}.{name}' for name in names)})::record" for side in "ts"}
    return (
        f"CREATE TABLE {diff} AS SELECT {', '.join(f's.{name}' for name in names)} "
        f"FROM {staging} s LEFT JOIN ONLY {target} t ON {_matching(key, 's')} "
        f"WHERE t.{key[0]} IS NULL OR {image['t']} *<> {image['s']}"
    )


def merge(namespace: str, plan: TablePlan) -> Mapping[str, str]:
    """Make the published table equal to what was staged, by what differs."""
    target, names = _target(namespace, plan), _names(plan)
    diff = postgres_table(namespace, diff_name(plan.name_postgres, plan.run))
    columns = ", ".join(names)
    insert = f"INSERT INTO {target} ({columns}) SELECT {columns} FROM {diff}"
    if plan.cutover is Cutover.MATCH:
        found = f"{_numbered(target, names)} WHERE NOT EXISTS ({_numbered(_staging(namespace, plan), names, 't')}"
        deleted_keys = f"SELECT s.{own_names(names)[2]} FROM {found} WHERE {_same(names)})"
        return {"deleted": f"DELETE FROM ONLY {target} WHERE ctid = ANY (ARRAY({deleted_keys}))", "written": insert}
    key = [postgres_name(name) for name in plan.key_postgres]
    updates = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
    if plan.stages_changes_only:
        deleted_keys = postgres_table(namespace, deleted_keys_name(plan.name_postgres, plan.run))
        deleted = f"DELETE FROM ONLY {target} t WHERE EXISTS (SELECT FROM {deleted_keys} g WHERE {_matching(key, 'g')})"
    else:
        staging = _staging(namespace, plan)
        deleted = f"DELETE FROM ONLY {target} t WHERE NOT EXISTS (SELECT FROM {staging} s WHERE {_matching(key, 's')})"
    resolve = f"DO UPDATE SET {updates}" if updates else "DO NOTHING"
    return {"deleted": deleted, "written": f"{insert} ON CONFLICT ({', '.join(key)}) {resolve}"}


def count_new(namespace: str, plan: TablePlan) -> str:
    """How many of the rows that differ are of keys that the published table has not."""
    diff = postgres_table(namespace, diff_name(plan.name_postgres, plan.run))
    matching = _matching([postgres_name(name) for name in plan.key_postgres], "d")
    there = f"SELECT FROM ONLY {_target(namespace, plan)} t WHERE {matching}"
    return f"SELECT count(*) FROM {diff} d WHERE NOT EXISTS ({there})"


def unstage(namespace: str, plan: TablePlan) -> str:
    """Of what was staged, without the rows whose keys were deleted."""
    deleted_keys = postgres_table(namespace, deleted_keys_name(plan.name_postgres, plan.run))
    matching = _matching([postgres_name(name) for name in plan.key_postgres], "g")
    return f"DELETE FROM {_staging(namespace, plan)} t WHERE EXISTS (SELECT FROM {deleted_keys} g WHERE {matching})"


def stage_again(namespace: str, plan: TablePlan, keys: Sequence[int]) -> str:
    """Delete rows of these keys, which may have been staged before."""
    (key,) = plan.key_postgres
    named = ", ".join(map(str, keys))
    return f"DELETE FROM {_staging(namespace, plan)} WHERE {postgres_name(key)} IN ({named})"


def replace_all(namespace: str, plan: TablePlan) -> tuple[str, str]:
    """Delete everything, insert everything: readers see the old rows until the transaction ends."""
    target, columns = _target(namespace, plan), ", ".join(_names(plan))
    return (
        f"DELETE FROM ONLY {target}",
        f"INSERT INTO {target} ({columns}) SELECT {columns} FROM {_staging(namespace, plan)}",
    )


def _target(namespace: str, plan: TablePlan) -> str:
    return postgres_table(namespace, plan.name_postgres)


def _staging(namespace: str, plan: TablePlan) -> str:
    return postgres_table(namespace, staging_name(plan.name_postgres, plan.run))


def _names(plan: TablePlan) -> list[str]:
    return [postgres_name(field.name_postgres) for field in plan.fields]


def _matching(key: Sequence[str], right: str) -> str:
    return " AND ".join(f"t.{name} = {right}.{name}" for name in key)


def own_names(names: Collection[str]) -> tuple[str, str, str]:
    """
    What a row's digest, its number among those of the same one, and its place are called: no column has the name.

    >>> own_names(['"a"']), own_names(['"image"', '"image_"'])
    (('image', 'number', 'place'), ('image__', 'number__', 'place__'))
    """
    own = ("image", "number", "place")
    while any(postgres_name(name) in names for name in own):
        own = (f"{own[0]}_", f"{own[1]}_", f"{own[2]}_")
    return own


def _same(names: Sequence[str]) -> str:
    """Equal rows are distinguished by their number among themselves."""
    image, number, _ = own_names(names)
    return f"t.{image} = s.{image} AND t.{number} = s.{number}"


def _numbered(table: str, names: Sequence[str], alias: str = "s") -> str:
    """A table's rows with a digest of their text, and their number among those of the same one."""
    image, number, place = own_names(names)
    digest = f"sha256(convert_to(ROW({', '.join(names)})::text, 'UTF8'))"
    rows = (
        f"(SELECT *, row_number() OVER (PARTITION BY {image}) AS {number} FROM "
        f"(SELECT *, ctid AS {place}, {digest} AS {image} FROM ONLY {table}) imaged) {alias}"
    )
    return rows if alias == "s" else f"SELECT FROM {rows}"


def counting(statement: str) -> str:
    """The same DML, answering with how many rows it touched, and how many of them are new (no earlier version)."""
    return (
        f"WITH changed AS ({statement} RETURNING (xmax = 0) AS fresh) "
        "SELECT count(*), count(*) FILTER (WHERE fresh) FROM changed"
    )


def acting_keys(namespace: str, table: str) -> str:
    """Foreign keys that point at a table, and whose own rows are changed where its rows are: table, and key."""
    return (
        "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype = 'f' "
        f"AND confrelid = {postgres_literal(postgres_table(namespace, table))}::regclass "
        "AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd'))"
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


def comment(namespace: str, table: str, column: str, text: str | None) -> str:
    target = f"{postgres_table(namespace, table)}.{postgres_name(column)}"
    return f"COMMENT ON COLUMN {target} IS {postgres_literal(text)}"


def published(namespace: str) -> Mapping[str, str]:
    """The warehouse's namespace: columns, primary keys, and the views on its tables."""
    schema = postgres_literal(namespace)
    return {
        "columns": (
            "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), CASE c.relkind "
            "WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view' "
            "WHEN 'm' THEN 'materialized view' ELSE 'foreign table' END, a.attnotnull, "
            "c.relkind = 'r' AND pg_relation_size(c.oid) = 0, c.relnatts FROM pg_class c "
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
            "SELECT DISTINCT t.relname::text, vn.nspname::text || '.' || v.relname::text, a.attname::text, "
            f"COALESCE(obj_description(v.oid, 'pg_class') LIKE {postgres_literal(union_views_sql.MARK + '%')}, false) "
            "FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class "
            "JOIN pg_namespace vn ON vn.oid = v.relnamespace JOIN pg_class t ON t.oid = d.refobjid "
            "JOIN pg_namespace n ON n.oid = t.relnamespace "
            "LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid AND a.attnum > 0 "
            "WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass "
            f"AND n.nspname = {schema} AND v.oid <> t.oid ORDER BY 1, 2, 3"
        ),
    }


def leftovers_postgres(namespace: str) -> str:
    """The staging tables an earlier run left."""
    return (
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE n.nspname = {postgres_literal(namespace)} AND c.relkind = 'r' AND {is_ours('c.relname::text')}"
    )
