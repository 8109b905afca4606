"""
What arrived: each contender's table compared, value by value, with arrowetl's own, which `arrowetl verify` has proven.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from rivals import NAMESPACE

from arrowetl import drivers
from arrowetl.errors import ArrowetlError
from arrowetl.sandbox.servers import Sandbox
from arrowetl.sql import postgres_literal, postgres_name


def execute(sandbox: Sandbox, statement: str) -> None:
    """As the warehouse's administrator."""
    session = drivers.Postgres(sandbox.admin("warehouse"))
    session.execute(statement)
    session.close()


def untyped(sandbox: Sandbox, table: str) -> str:
    """A table of texts for what makes none."""
    session = drivers.Postgres(sandbox.admin("warehouse"))
    columns = ", ".join(f"{postgres_name(name)} text" for name in _columns(session, "raw", table))
    session.close()
    return f"CREATE TABLE {NAMESPACE}.{table} ({columns})"


def proven(sandbox: Sandbox, config: Path, table: str) -> dict[str, Any]:
    """Whether the three servers agree, by `arrowetl verify`."""
    chosen = ["--all"] if table == "*" else ["--table", table]
    command = [sys.executable, "-m", "arrowetl", "--config", str(config), "verify", *chosen]
    done = subprocess.run(command, env={**os.environ, **sandbox.environment()}, capture_output=True, check=False)
    return {"equal": done.returncode == 0, "wrong": {}}


def at_replica(sandbox: Sandbox, table: str, key: str) -> dict[str, Any]:
    """By the servers' own CHECKSUM TABLE."""
    sums = []
    for name in ("source", "replica"):
        session = drivers.MySQL(sandbox.admin(name))
        try:
            sums.append(session.rows(f"CHECKSUM TABLE {table}")[0][1])
        finally:
            session.close()
    return {"equal": sums[0] is not None and sums[0] == sums[1], "wrong": {}}


def at_warehouse(sandbox: Sandbox, table: str, key: str) -> dict[str, Any]:
    """Rows missing, and column → values that are others, or that have a type which cannot be compared."""
    session = drivers.Postgres(sandbox.admin("warehouse"))
    try:
        ours, theirs = _columns(session, "raw", table), _columns(session, NAMESPACE, table)
        if not theirs:
            return {"equal": False, "wrong": {}, "missing": "no table"}
        # Some spell names their own way: proc_num for ProcNum.
        names = {name.lower().replace("_", ""): name for name in theirs}
        on = f"a.{postgres_name(key)} = b.{postgres_name(names[key.lower()])}::bigint"
        source = f"raw.{postgres_name(table)} a FULL JOIN {NAMESPACE}.{postgres_name(table)} b ON {on}"
        lost = f"a.{postgres_name(key)} IS NULL OR b IS NULL"
        there = {name: names.get(name.lower().replace("_", "")) for name in ours}
        wrong = {name: "missing" for name, their in there.items() if their is None}
        pairs = {name: (their, ours[name], theirs[their]) for name, their in there.items() if their is not None}
        counts = _counts(session, source, [lost, *(_differs(name, *pair) for name, pair in pairs.items())])
        if counts is None:
            # Some value of some column is none of our type: which, is found one by one.
            counts = [_counts(session, source, [lost])[0]]
            for name, pair in pairs.items():
                found = _counts(session, source, [_differs(name, *pair)])
                counts.append(found[0] if found else f"{pair[2]}, of which some are no {pair[1]}")
        wrong |= {name: count for name, count in zip(pairs, counts[1:], strict=True) if count}
    finally:
        session.close()
    return {"equal": not wrong and not counts[0], "wrong": wrong, "rows": counts[0]}


def _differs(ours: str, theirs: str, type_: str, their_type: str) -> str:
    value = f"b.{postgres_name(theirs)}" + ("::int" if their_type == "boolean" else "")
    return f"a.{postgres_name(ours)} IS DISTINCT FROM {value}::{type_}"


def _counts(session: drivers.Postgres, source: str, conditions: list[str]) -> list[Any] | None:
    """Of how many rows each condition holds; None where some value cannot be compared."""
    counts = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in conditions)
    try:
        return [int(count) for count in session.rows(f"SELECT {counts} FROM {source}")[0]]
    except ArrowetlError:
        return None


def _columns(session: drivers.Postgres, namespace: str, table: str) -> dict[str, str]:
    rows = session.rows(
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a "
        "JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE n.nspname = {postgres_literal(namespace)} AND lower(c.relname) = {postgres_literal(table.lower())} "
        "AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    )
    return dict(rows)
