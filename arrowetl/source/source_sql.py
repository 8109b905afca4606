"""
The SQL that reads from MySQL and MariaDB. What only a replica is sent is in `replica_sql`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from arrowetl.model.dialect import INTEGERS, Flavour
from arrowetl.model.plan import Column, Field, Partition, Table
from arrowetl.sql import mysql_literal, mysql_name, mysql_table, within
from arrowetl.types.checksum_text import stored_text
from arrowetl.types.mapping import expression
from arrowetl.types.mysql_types import may_be_large


def catalog(database: str) -> Mapping[str, str]:
    """The three questions whose answers are the catalog of a database."""
    schema = mysql_literal(database)
    return {
        "tables": (
            "SELECT TABLE_NAME, ENGINE, TABLE_COLLATION, TABLE_ROWS, DATA_LENGTH, AVG_ROW_LENGTH, UPDATE_TIME, "
            "CREATE_TIME, COALESCE(CREATE_OPTIONS, '') LIKE '%partitioned%' "
            f"FROM information_schema.TABLES WHERE TABLE_SCHEMA = {schema} "
            "AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY TABLE_NAME"
        ),
        "columns": (
            "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, CHARACTER_SET_NAME, "
            "COLLATION_NAME, COALESCE(NUMERIC_PRECISION, DATETIME_PRECISION), NUMERIC_SCALE, EXTRA "
            # Older servers have no such column, here or in a table.
            "/*!50706 , GENERATION_EXPRESSION */ /*M!100205 , GENERATION_EXPRESSION */ "
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
        "UPDATE_TIME, NOW(), CREATE_TIME FROM information_schema.TABLES "
        f"WHERE TABLE_SCHEMA = {mysql_literal(database)} AND TABLE_NAME = {mysql_literal(table)}"
    )


def server_changes(flavour: Flavour) -> str:
    """How many rows were written, changed and removed since the server started, of whatever table: name and number."""
    # MySQL's handlers count the rows of its own temporary tables as well; MariaDB's InnoDB counts none any more.
    kinds = ("inserted", "updated", "deleted") if flavour is Flavour.MYSQL else ("write", "update", "delete")
    of = "Innodb_rows_" if flavour is Flavour.MYSQL else "Handler_"
    return f"SHOW GLOBAL STATUS WHERE Variable_name IN ({', '.join(mysql_literal(of + kind) for kind in kinds)})"


def habits() -> str:
    """Name and value of the variables that decide how a server sets UPDATE_TIME, of those that it knows."""
    names = "'version_compile_os', 'myisam_use_mmap'"
    return f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})"


def all_columns(database: str, table: str) -> str:
    """A question that is refused where some column is hidden from the account."""
    return f"SELECT * FROM {mysql_table(database, table)} LIMIT 0"


def granted_by_column(database: str) -> str:
    """Tables on some columns of which the account has privileges, as often as it has one."""
    return f"SELECT TABLE_NAME FROM information_schema.COLUMN_PRIVILEGES WHERE TABLE_SCHEMA = {mysql_literal(database)}"


def definition(database: str, table: str) -> str:
    """How the table was made: name, and statement."""
    return f"SHOW CREATE TABLE {mysql_table(database, table)}"


_CASCADE = re.compile(
    r"CONSTRAINT `((?:[^`]|``)+)` FOREIGN KEY [^\n]* ON (?:DELETE|UPDATE) (?:CASCADE|SET NULL|SET DEFAULT)"
)


def cascades_of(definition_: str) -> tuple[str, ...]:
    """
    The foreign keys by which other tables change the rows of this one.

    >>> cascades_of("CONSTRAINT `to` FOREIGN KEY (`a`) REFERENCES `b` (`c`) ON DELETE SET NULL")
    ('to',)
    >>> cascades_of("CONSTRAINT `to` FOREIGN KEY (`a`) REFERENCES `b` (`c`)")
    ()
    """
    return tuple(_CASCADE.findall(definition_))


def statements_with(mark: str) -> str:
    """The connections whose statement has a mark in it, but for the one that asks."""
    return (
        "SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() "
        f"AND LOCATE({mysql_literal(mark)}, INFO) > 0"
    )


def highest(database: str, table: str, column: Column) -> str:
    """The highest value of a watermark, by the server's own clock at the most: a workstation's may be ahead of it."""
    name = mysql_name(column.name)
    not_ahead = ""
    if column.data_type == "timestamp":
        not_ahead = f" WHERE {name} <= NOW()"
    elif column.data_type not in INTEGERS:
        not_ahead = f" WHERE {name} <= CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', @@global.time_zone)"
    return f"SELECT CAST(MAX({name}) AS CHAR) FROM {mysql_table(database, table)}{not_ahead}"


def key_after(database: str, table: str, key: str, lower: int | None, rows: int) -> str:
    """
    The key that is `rows` rows above `lower` in the primary key's own order.

    It walks the index alone, from where the last answer left off: a bounded
    read, and right for keys with gaps or at random.
    """
    name = mysql_name(key)
    above = f"WHERE {name} >= {lower} " if lower is not None else ""
    return f"SELECT {name} FROM {mysql_table(database, table)} {above}ORDER BY {name} LIMIT {rows}, 1"


def long_bytes(table: Table) -> str:
    """How many bytes a row has of what may be long."""
    long = [f"COALESCE(LENGTH({mysql_name(c.name)}), 0)" for c in table.columns if may_be_large(c)]
    return " + ".join(long) or str(table.row_bytes)


def bytes_of(database: str, table: Table, key: str | None, part: Partition) -> str:
    """How many bytes the rows of a range have of what may be long, all of them together."""
    return f"SELECT COALESCE(SUM({long_bytes(table)}), 0) FROM {mysql_table(database, table.name)}{_where(key, part)}"


def slice_condition(fields: Sequence[Field], number: int, count: int) -> str:
    """
    A condition that is true of every so many-th row, by a hash of what the fields hold: the same rows at source and
    replica, whatever order either has them in.
    """
    images = [stored_text(field).replace("{c}", mysql_name(field.column.name)) for field in fields]
    said = ", ".join(f"COALESCE({one}, '')" for one in images)
    return f"CRC32(CONCAT_WS('#', {said})) MOD {count} = {number}"


def widths_after(database: str, table: Table, key: str, lower: int | None, rows: int) -> str:
    """Keys from `lower` on, and how many bytes each row has of what may be long; at most so many rows."""
    name = mysql_name(key)
    above = f"WHERE {name} >= {lower} " if lower is not None else ""
    place = mysql_table(database, table.name)
    return f"SELECT {name}, {long_bytes(table)} FROM {place} {above}ORDER BY {name} LIMIT {rows}"


def extract(database: str, table: str, fields: Sequence[Field], key: str | None, part: Partition,
            watermark: str | None = None, full_scan_per_partition: bool = False) -> str:  # fmt: skip
    """
    The rows of one partition, each column as its rule reads it.

    Args:
        scans: whether the server is to look through the table, and not go by its key.
    """
    columns = []
    for field in fields:
        name = mysql_name(field.column.name)
        columns.append(f"{expression(field).replace('{c}', name)} AS {name}")
    hint = " IGNORE INDEX (PRIMARY)" if full_scan_per_partition else ""
    return f"SELECT {', '.join(columns)} FROM {mysql_table(database, table)}{hint}{_where(key, part, watermark)}"


def changed_keys(database: str, table: str, key: str, watermark: str | None, incremental_from: str) -> str:
    """The keys of rows whose watermark is at a value or past it."""
    assert watermark is not None, "asked of tables that have one"
    return (
        f"SELECT {mysql_name(key)} FROM {mysql_table(database, table)} "
        f"WHERE {mysql_name(watermark)} >= {mysql_literal(incremental_from)}"
    )


def _where(key: str | None, part: Partition, watermark: str | None = None) -> str:
    conditions = within(mysql_name(key), part) if key is not None else []
    if watermark is not None and part.incremental_from is not None:
        conditions.append(f"{mysql_name(watermark)} >= {mysql_literal(part.incremental_from)}")
    if part.condition:
        conditions.append(f"({part.condition})")
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def count_unrepresentable(database: str, table: Table, conditions: Mapping[str, str], part: Partition) -> str:
    """How many values of each column, in a range, its condition (`{c}` is the quoted column) is true of."""
    key = table.primary_key[0] if table.primary_key else None
    counts = [f"COALESCE(SUM({cond.replace('{c}', mysql_name(name))}), 0)" for name, cond in conditions.items()]
    return f"SELECT {', '.join(counts)} FROM {mysql_table(database, table.name)}{_where(key, part)}"


def mysql_counts(database: str, tables: Sequence[str]) -> str:
    """The number of each table among them, and how many rows it has."""
    return " UNION ALL ".join(
        f"SELECT {number}, COUNT(*) FROM {mysql_table(database, name)}" for number, name in enumerate(tables)
    )


def key_twice(database: str, table: Table) -> str:
    """A row where a table that claims a primary key holds one twice."""
    # Of its columns unchanged, a server that trusts the key would not even look.
    key = ", ".join(f"CONCAT({mysql_name(name)}, '')" for name in table.primary_key)
    return f"SELECT 1 FROM {mysql_table(database, table.name)} GROUP BY {key} HAVING COUNT(*) > 1 LIMIT 1"


def update_times(database: str) -> str:
    """When each table was last written, as its engine remembers; about how many rows it has; and the engine."""
    schema = mysql_literal(database)
    return (
        "SELECT TABLE_NAME, UPDATE_TIME, COALESCE(TABLE_ROWS, 0), ENGINE FROM information_schema.TABLES "
        f"WHERE TABLE_SCHEMA = {schema}"
    )
