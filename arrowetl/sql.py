"""
Names and values as either language writes them, and what a run calls the tables it makes for itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from arrowetl import limits
from arrowetl.model.plan import Partition
from arrowetl.types.mapping import shortened

STAGING = "arrowetl_staging_"
"""What the names of staging tables begin with, at both targets."""
DELETED_KEYS = "arrowetl_deleted_"
"""What the names of staging tables for keys to be deleted begin with."""
RETIRED = "arrowetl_retired_"
"""What a table is called between being swapped out and being dropped."""

DIFF = "arrowetl_diff_"
"""What the names of tables of differing rows begin with, which no transaction but their own sees."""
OURS = (STAGING, DELETED_KEYS, RETIRED, DIFF)
KEY_OF = {STAGING: "arrowetl_key_", DELETED_KEYS: "arrowetl_deleted_key_"}
"""What the names of staging tables' keys begin with: PostgreSQL would call them as some other table may be called."""


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


def mysql_ascii_literal(value: object) -> str:
    """
    The same of letters of ASCII alone: for a session that has not said yet which character set it speaks.

    >>> mysql_ascii_literal("a'b"), mysql_ascii_literal("ö")
    ("'a''b'", "_utf8mb4 X'c3b6'")
    """
    text = str(value)
    return mysql_literal(value) if text.isascii() else f"_utf8mb4 X'{text.encode().hex()}'"


def postgres_literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool | int):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"


def run_mark(run_id: str) -> str:
    """By which a run's staging tables are known to be its own."""
    return hashlib.sha256(run_id.encode()).hexdigest()[:_MARK_CHARACTERS]


_MARK_CHARACTERS = 8


def staging_name(table: str, run: str) -> str:
    """
    Where a run's rows land before anyone looks at them: no other run writes there, or takes what is there for its own.

    Args:
        run: the mark of the run.
    """
    return f"{STAGING}{run}_{_short(table)}"


def staged_names(table: str, run: str, stages_changes_only: bool) -> tuple[str, ...]:
    """The tables in which a run stages rows, and keys that were deleted."""
    return (staging_name(table, run), *([deleted_keys_name(table, run)] if stages_changes_only else []))


def deleted_keys_name(table: str, run: str) -> str:
    """Where the keys of rows land that are to be deleted."""
    return f"{DELETED_KEYS}{run}_{_short(table)}"


def diff_name(table: str, run: str) -> str:
    return f"{DIFF}{run}_{_short(table)}"


def key_of(name: str) -> str:
    """
    What the key of a staging table is called.

    >>> key_of("arrowetl_deleted_0123abcd_patient")
    'arrowetl_deleted_key_0123abcd_patient'
    """
    prefix = next(one for one in KEY_OF if name.startswith(one))
    return KEY_OF[prefix] + name.removeprefix(prefix)


def retired_name(table: str, run: str) -> str:
    return f"{RETIRED}{run}_{_short(table)}"


def is_staging_of(name: str, table: str) -> bool:
    """Whether a table is what some run stages a table in, whichever run it was."""
    return name.startswith(STAGING) and name[len(STAGING) + _MARK_CHARACTERS + 1 :] == _short(table)


def _short(table: str) -> str:
    """The table's name, cut to fit behind the longest of our own words and a mark."""
    bytes_max = limits.postgres_name_bytes - _LONGEST - _MARK_CHARACTERS - 1
    return table if len(table.encode()) <= bytes_max else shortened(table, bytes_max)


_LONGEST = max(map(len, (*OURS, *KEY_OF.values())))


def is_ours(name: str) -> str:
    """A condition on names, in either language: tables that a run makes for itself."""
    return "(" + " OR ".join(f"left({name}, {len(prefix)}) = '{prefix}'" for prefix in OURS) + ")"


def folded(name: str, folds: bool) -> str:
    """A name as a server of MySQL's compares it, which may take two for one that differ in capitals alone."""
    return name.lower() if folds else name


def lock_number(text: str) -> int:
    """A 63-bit number for PostgreSQL's advisory locks."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def within(key: str, part: Partition) -> list[str]:
    """The conditions that hold for the keys of a partition; the key as SQL has it."""
    conditions = []
    if part.lower is not None:
        conditions.append(f"{key} >= {part.lower}")
    if part.upper is not None:
        conditions.append(f"{key} < {part.upper}")
    if part.keys is not None:
        conditions.append(f"{key} IN ({', '.join(map(str, part.keys))})")
    return conditions


def inside(key: str, part: Partition) -> str:
    """WHERE: the key, as SQL has it, is in the partition."""
    conditions = within(key, part)
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def outside(key: str, parts: Iterable[Partition]) -> str:
    """WHERE: the key is in none of the partitions."""
    ranges = [" AND ".join(within(key, part)) or "TRUE" for part in parts]
    return " WHERE " + " AND ".join(f"NOT ({conditions})" for conditions in ranges)
