"""
What else is known of the tables before their modes are chosen: of the replica, by which what is recorded of it is
believed or not.

It asks, and concludes nothing: `evidence` says what an answer is worth, `modes`
what follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from arrowetl import drivers, evidence, jobs, sql
from arrowetl.model import TablePlan
from arrowetl.modes import Seen
from arrowetl.record import Standing
from arrowetl.source import Source


def seen(
    standings: Mapping[str, Standing], servers: jobs.Servers, replica: Source | None, from_replica: bool, counts: bool
) -> dict[str, Seen]:
    """
    Table → of which others it may have the name, how many rows the replica has, and of what shape it is there.

    Args:
        replica: as a source; None where nobody asks about it.
        from_replica: whether the replica is read in the source's stead.
        counts: whether its rows are to be counted: not where all are read anyway.
    """
    of_warehouse = replica is None and not from_replica
    records = {name: one.warehouse if of_warehouse else one.replica for name, one in standings.items()}
    readings = {
        name: (record.as_of.structure, record.as_of.reading)
        for name, record in records.items() if record.as_of and record.as_of.reading
    }  # fmt: skip
    alike = evidence.alike(readings)
    counted, others, silent = replica.rows_of(records) if replica and counts else ({}, frozenset(), frozenset())
    looked_at = replica or (servers.source if from_replica else None)
    folds = bool(servers.replica and servers.replica.folds_names)
    shapes = _by_name(standings, _shapes(looked_at.pool) if looked_at else {}, folds)
    return {
        name: Seen(
            alike.get(name, ()),
            counted.get(name),
            name not in others,
            shape=shapes.get(name, ""),
            unanswered=name in silent,
        )
        for name in alike.keys() | counted.keys() | others | silent | shapes.keys()
    }


def _by_name(names: Iterable[str], shapes: Mapping[str, str], folds: bool) -> dict[str, str]:
    """The same by the source's names, where the replica has its own way with capitals."""
    there = {(name.lower() if folds else name): shape for name, shape in shapes.items()}
    return {name: shape for name in names if (shape := there.get(name.lower() if folds else name))}


def partly_shown(source: Source, among: Iterable[str]) -> list[str]:
    """Tables of which the account was granted some columns, and is not shown the others."""
    with source.pool.session() as session:
        granted = {name for (name,) in session.rows(sql.granted_by_column(source.endpoint.database))}
    return [name for name in sorted(granted & set(among)) if not source.shows_all_columns(name)]


def shape_at_replica(plan: TablePlan, ends: Iterable[jobs.End]) -> str:
    """Of the replica's table, once what is staged has taken its place, or gone into it."""
    replica = next((end for end in ends if end.name == "replica"), None)
    if replica is None or not plan.is_whole:
        return plan.at_replica
    name = sql.staging_name(plan.name, plan.run)
    return _shapes(replica.pool, name).get(name, "")


def _shapes(pool: drivers.Pool[Any], table: str | None = None) -> dict[str, str]:
    """Table → what is another once a column, the key or a trigger of it is."""
    with pool.session() as session:
        return dict(session.rows(sql.shapes(session.endpoint.database, table)))
