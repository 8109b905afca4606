"""
Names and values as either language writes them, and what a run calls the tables it makes for itself.
"""

from __future__ import annotations

import hashlib

from arrowetl import limits
from arrowetl.schema import shortened

STAGING = "arrowetl_staging_"
"""What the names of staging tables begin with, at both ends."""
GONE = "arrowetl_gone_"
"""What the names of staging tables for keys to be deleted begin with."""
RETIRED = "arrowetl_retired_"
"""What a table is called between being swapped out and being dropped."""

DIFF = "arrowetl_diff_"
"""What the names of tables of differing rows begin with, which no transaction but their own sees."""
OURS = (STAGING, GONE, RETIRED, DIFF)


def mysql_name(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def mysql_table(database: str, table: str) -> str:
    return f"{mysql_name(database)}.{mysql_name(table)}"


def postgres_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def postgres_table(namespace: str, table: str) -> str:
    return f"{postgres_name(namespace)}.{postgres_name(table)}"


def mysql_literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(int(value))
    return "'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"


def postgres_literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool | int):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"


def staging_name(table: str) -> str:
    """Where a run's rows land before anyone looks at them."""
    return _prefixed(STAGING, table)


def staged_names(table: str, is_delta: bool) -> tuple[str, ...]:
    """The tables in which a run's rows, and keys that are gone, land."""
    return (staging_name(table), *([gone_name(table)] if is_delta else []))


def gone_name(table: str) -> str:
    """Where the keys of rows land that are to be deleted."""
    return _prefixed(GONE, table)


def diff_name(table: str) -> str:
    return _prefixed(DIFF, table)


def retired_name(table: str) -> str:
    return _prefixed(RETIRED, table)


def _prefixed(prefix: str, table: str) -> str:
    name = prefix + table
    return name if len(name.encode()) <= limits.postgres_name_bytes else shortened(name, limits.postgres_name_bytes)


def is_ours(name: str) -> str:
    """A condition upon names, in either language: tables that a run makes for itself."""
    return "(" + " OR ".join(f"left({name}, {len(prefix)}) = '{prefix}'" for prefix in OURS) + ")"


def lock_number(text: str) -> int:
    """A 63-bit number for PostgreSQL's advisory locks."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def holder_of(number: int) -> str:
    """Who holds one of PostgreSQL's advisory locks, and since when."""
    return (
        "SELECT a.application_name, a.backend_start AT TIME ZONE 'UTC' FROM pg_locks l "
        "JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted "
        f"AND l.classid = {number >> 32} AND l.objid = {number & 0xFFFFFFFF}"
    )


def mysql_holder_of(lock: str) -> str:
    """The same of one of MySQL's locks; its name as a literal."""
    return (
        "SELECT CONCAT(USER, ' from ', HOST), NOW() - INTERVAL TIME SECOND FROM information_schema.PROCESSLIST "
        f"WHERE ID = IS_USED_LOCK({lock})"
    )
