"""
Every sentence arrowetl says to a server, as functions of model values.

Pure: text in, text out. Names are always quoted, values always literals made
here; the edge adds nothing to what it is given. What a column's type or
select expression is comes from `schema`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from arrowetl import limits
from arrowetl.infile import DIALECT
from arrowetl.model import Cutover, Field, Flavour, Index, Partition, Table, TablePlan
from arrowetl.schema import expression, replica_type, rule_of, shortened

STAGING = "arrowetl_staging_"
"""What the names of staging tables begin with, at both ends."""
RETIRED = "arrowetl_retired_"
"""What a table is called between being swapped out and being dropped."""


# --- names and literals -------------------------------------------------------------------------


def mysql_name(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def mysql_table(database: str, table: str) -> str:
    return f"{mysql_name(database)}.{mysql_name(table)}"


def postgres_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def postgres_table(namespace: str, table: str) -> str:
    return f"{postgres_name(namespace)}.{postgres_name(table)}"


def mysql_literal(value: str | int | datetime | None) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(int(value))
    return "'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"


def postgres_literal(value: str | int | bool | datetime | None) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool | int):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"


def staging_name(table: str) -> str:
    """Where a run's rows land before anyone looks at them."""
    return _prefixed(STAGING, table)


def retired_name(table: str) -> str:
    return _prefixed(RETIRED, table)


def _prefixed(prefix: str, table: str) -> str:
    name = prefix + table
    return name if len(name.encode()) <= limits.postgres_name_bytes else shortened(name, limits.postgres_name_bytes)


# --- the source ---------------------------------------------------------------------------------


def catalog(database: str) -> Mapping[str, str]:
    """The three questions whose answers are the catalog of a database."""
    schema = mysql_literal(database)
    return {
        "tables": (
            "SELECT TABLE_NAME, ENGINE, TABLE_COLLATION, TABLE_ROWS, DATA_LENGTH, AVG_ROW_LENGTH "
            f"FROM information_schema.TABLES WHERE TABLE_SCHEMA = {schema} "
            "AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY TABLE_NAME"
        ),
        "columns": (
            "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, CHARACTER_SET_NAME, "
            "COLLATION_NAME, COALESCE(NUMERIC_PRECISION, DATETIME_PRECISION), NUMERIC_SCALE, EXTRA "
            f"FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {schema} ORDER BY TABLE_NAME, ORDINAL_POSITION"
        ),
        "indexes": (
            "SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART, NON_UNIQUE, INDEX_TYPE "
            f"FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = {schema} "
            "ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"
        ),
    }


def reading(database: str, table: str) -> str:
    """Rows, last change and clock of a table, in one statement."""
    return (
        f"SELECT (SELECT COUNT(*) FROM {mysql_table(database, table)}), "
        "(SELECT UPDATE_TIME FROM information_schema.TABLES "
        f"WHERE TABLE_SCHEMA = {mysql_literal(database)} AND TABLE_NAME = {mysql_literal(table)}), NOW()"
    )


def key_after(database: str, table: str, key: str, lower: int | None, rows: int) -> str:
    """
    The key that stands `rows` rows above `lower` in the primary key's own order.

    It walks the index alone, from where the last answer left off: a bounded
    read, and right for keys with gaps or at random.
    """
    name = mysql_name(key)
    above = f"WHERE {name} >= {lower} " if lower is not None else ""
    return f"SELECT {name} FROM {mysql_table(database, table)} {above}ORDER BY {name} LIMIT {rows}, 1"


def extract(database: str, table: str, fields: Sequence[Field], key: str | None, part: Partition) -> str:
    """The rows of one partition, each column as its rule reads it."""
    columns = []
    for field in fields:
        name = mysql_name(field.column.name)
        columns.append(f"{expression(field).replace('{c}', name)} AS {name}")
    ranges = []
    if key is not None and part.lower is not None:
        ranges.append(f"{mysql_name(key)} >= {part.lower}")
    if key is not None and part.upper is not None:
        ranges.append(f"{mysql_name(key)} < {part.upper}")
    where = f" WHERE {' AND '.join(ranges)}" if ranges else ""
    return f"SELECT {', '.join(columns)} FROM {mysql_table(database, table)}{where}"


def misfits(database: str, table: str, conditions: Mapping[str, str]) -> str:
    """How many values of each column its condition (`{c}` is the quoted column) is true of; in one reading."""
    counts = [f"COALESCE(SUM({cond.replace('{c}', mysql_name(name))}), 0)" for name, cond in conditions.items()]
    return f"SELECT {', '.join(counts)} FROM {mysql_table(database, table)}"


def mysql_count(database: str, table: str) -> str:
    return f"SELECT COUNT(*) FROM {mysql_table(database, table)}"


# --- the replica --------------------------------------------------------------------------------


def create_replica(database: str, name: str, plan: TablePlan, replica: Flavour, collations: Mapping[str, str]) -> str:
    """
    The replica's table, with its primary key and no other index yet.

    Args:
        collations: every collation the replica knows → its character set.
    """
    lines = []
    for field in plan.fields:
        column = field.column
        type_ = replica_type(field, plan.table.flavour, replica)
        text = _charset(column.charset, column.collation, collations) if column.charset else ""
        # Without a default of its own, an old server gives a timestamp ON UPDATE CURRENT_TIMESTAMP.
        null = " NULL" if column.nullable else " NOT NULL"
        default = " DEFAULT '1970-01-01 00:00:01'" if column.data_type == "timestamp" and not column.nullable else ""
        lines.append(f"{mysql_name(column.name)} {type_}{text}{null}{default}")
    kept = {field.column.name for field in plan.fields}
    key = plan.table.primary_key
    if key and kept.issuperset(key):
        prefixes = dict(_primary_prefixes(plan.table))
        lines.append(f"PRIMARY KEY ({', '.join(_index_column(name, prefixes.get(name)) for name in key)})")
    text = _charset(plan.table.charset, plan.table.collation, collations)
    return f"CREATE TABLE {mysql_table(database, name)} ({', '.join(lines)}) ENGINE=InnoDB{text}"


def _primary_prefixes(table: Table) -> Iterable[tuple[str, int | None]]:
    return next((index.columns for index in table.indexes if index.name == "PRIMARY"), ())


def _index_column(name: str, prefix: int | None) -> str:
    return mysql_name(name) + (f"({prefix})" if prefix else "")


def _charset(charset: str | None, collation: str | None, known: Mapping[str, str]) -> str:
    """
    CHARACTER SET and COLLATE clauses that the replica understands.

    `utf8` became `utf8mb3`; a collation the replica lacks becomes the nearest
    that it has, binary where the source tells more letters apart.
    """
    if not charset:
        return ""
    charset = next((c for c in (charset, {"utf8": "utf8mb3", "utf8mb3": "utf8"}.get(charset)) if c in known.values()),
                   "utf8mb4")  # fmt: skip
    ending = (collation or "").partition("_")[2]
    exact = f"{charset}_{ending}"
    if exact not in known:
        exact = f"{charset}_general_ci" if ending.endswith("_ci") else f"{charset}_bin"
    return f" CHARACTER SET {charset}" + (f" COLLATE {exact}" if exact in known else "")


def add_indexes(database: str, name: str, plan: TablePlan) -> str | None:
    """All secondary indexes in one statement, after the data; None where there are none."""
    kept = {field.column.name for field in plan.fields}
    clauses = [_index_clause(i) for i in plan.table.indexes if i.name != "PRIMARY" and kept.issuperset(dict(i.columns))]
    clauses = [clause for clause in clauses if clause]
    return f"ALTER TABLE {mysql_table(database, name)} {', '.join(clauses)}" if clauses else None


def _index_clause(index: Index) -> str:
    if index.kind not in ("BTREE", "HASH", "FULLTEXT"):
        return ""  # a spatial index needs what a replica's column does not promise
    word = "FULLTEXT INDEX" if index.kind == "FULLTEXT" else "UNIQUE INDEX" if index.unique else "INDEX"
    columns = ", ".join(_index_column(n, p if index.kind != "FULLTEXT" else None) for n, p in index.columns)
    return f"ADD {word} {mysql_name(index.name)} ({columns})"


def load_data(database: str, name: str, fields: Sequence[Field], path: str) -> str:
    """
    LOAD DATA of one spill.

    REPLACE is what makes the server refuse a bad value: without it, LOCAL
    turns every error into a warning, whatever the SQL mode.
    """
    columns, assignments = [], []
    for index, field in enumerate(fields):
        load = rule_of(field).load
        if load == "{v}":
            columns.append(mysql_name(field.column.name))
        else:
            columns.append(f"@c{index}")
            assignments.append(f"{mysql_name(field.column.name)} = {load.format(v=f'@c{index}')}")
    setting = f" SET {', '.join(assignments)}" if assignments else ""
    return (
        f"LOAD DATA LOCAL INFILE {mysql_literal(path)} REPLACE INTO TABLE {mysql_table(database, name)} "
        f"CHARACTER SET utf8mb4 {DIALECT} ({', '.join(columns)}){setting}"
    )


def swap_replica(database: str, table: str, exists: bool) -> str:
    """Staging into place, in one atomic RENAME."""
    published = mysql_table(database, table)
    pairs = [f"{published} TO {mysql_table(database, retired_name(table))}"] if exists else []
    pairs.append(f"{mysql_table(database, staging_name(table))} TO {published}")
    return f"RENAME TABLE {', '.join(pairs)}"


def drop_mysql(database: str, name: str) -> str:
    return f"DROP TABLE IF EXISTS {mysql_table(database, name)}"


# --- the warehouse ------------------------------------------------------------------------------


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


def comment(namespace: str, table: str, column: str, text: str) -> str:
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
            "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod) FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid "
            f"WHERE n.nspname = {schema} AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped "
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
        f"WHERE n.nspname = {postgres_literal(namespace)} AND c.relkind = 'r' AND {_starts('c.relname::text')}"
    )


def leftovers_mysql(database: str) -> str:
    return (
        "SELECT TABLE_NAME FROM information_schema.TABLES "
        f"WHERE TABLE_SCHEMA = {mysql_literal(database)} AND {_starts('TABLE_NAME')}"
    )


def _starts(name: str) -> str:
    return "(" + " OR ".join(f"left({name}, {len(prefix)}) = '{prefix}'" for prefix in (STAGING, RETIRED)) + ")"


def lock_number(text: str) -> int:
    """A 63-bit number for PostgreSQL's advisory locks."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
