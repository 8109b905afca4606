"""
Which run may switch tables: one row at each target, in both languages.

The lock that keeps a second run out is held by a session, and a session can be
ended while its run goes on. So a run also writes its mark here, once it has
the lock; whatever switches a table holds the row, and finds its own mark in
it. A run that would write another mark waits for that. `namespace` is None at the
replica, where RENAME ends a transaction: there a switch holds one of a few locks
from before it reads the mark until it has ended, and a run that has written
its mark waits for each of them once.
"""

from __future__ import annotations

from arrowetl import limits
from arrowetl.sql import lock_number, mysql_literal, mysql_table, postgres_literal, postgres_name, postgres_table


def taken(namespace: str | None, run: str, run_id: str) -> str:
    """From now on a run may switch, and no other."""
    if namespace is None:
        return (
            f"REPLACE INTO etl_run_lock (number, run, run_id) VALUES (1, {mysql_literal(run)}, {mysql_literal(run_id)})"
        )
    return (
        f"INSERT INTO {_place(namespace)} (number, run, run_id) "
        f"VALUES (1, {postgres_literal(run)}, {postgres_literal(run_id)}) "
        "ON CONFLICT (number) DO UPDATE SET run = excluded.run, run_id = excluded.run_id, taken_at = now()"
    )


def holder(namespace: str | None) -> str:
    """The mark of the run that may switch, and its name; they stay so until the transaction ends."""
    locks = " LOCK IN SHARE MODE" if namespace is None else " FOR SHARE"
    return f"SELECT run, run_id FROM {_place(namespace)}{locks}"


def may_swap(namespace: str, staging: str) -> str:
    """The same at the warehouse, and how many rows are staged."""
    rows = f"SELECT count(*) FROM ONLY {postgres_table(namespace, staging)}"
    return f"SELECT run, run_id, ({rows}) FROM {_place(namespace)} FOR SHARE"


def waits_to_switch(database: str, table: str) -> str:
    """
    At the replica: take the lock of a table's switch, and wait for readers of the table no longer than they may wait
    for us; the server's own default is a day, in which every other reader would queue behind.
    """
    got = f"GET_LOCK({switch_lock(database, table)}, {limits.lock_seconds})"
    return f"SET SESSION lock_wait_timeout = {limits.cutover_lock_seconds}, {_GOT} = {got}"


def may_switch(database: str, table: str, staging: str) -> str:
    """
    The mark of the run that may switch, and its name; whether this session has the lock; the staged rows; and the
    records of the table.
    """
    rows = f"SELECT COUNT(*) FROM {mysql_table(database, staging)}"
    records = f"SELECT COUNT(*) FROM etl_copy_status WHERE table_name = {mysql_literal(table)}"
    return f"SELECT run, run_id, {_GOT}, ({rows}), ({records}) FROM {_place(None)} LOCK IN SHARE MODE"


_GOT = "@arrowetl_switches"


def switch_lock(database: str, table: str) -> str:
    """The name of the lock that a session of the replica holds while it renames a table, as a literal."""
    return switch_locks(database)[lock_number(table) % limits.switch_locks]


def switch_locks(database: str) -> list[str]:
    """All names that such a lock can have."""
    return [mysql_literal(f"arrowetl switch {lock_number(database)} {n}") for n in range(limits.switch_locks)]


def switch_has_ended(lock: str) -> str:
    """Whether nobody holds such a lock any more, within some seconds: it is taken, and given back."""
    return f"SELECT GET_LOCK({lock}, {limits.lock_seconds}), RELEASE_LOCK({lock})"


def _place(namespace: str | None) -> str:
    return "etl_run_lock" if namespace is None else f"{postgres_name(namespace)}.etl_run_lock"
