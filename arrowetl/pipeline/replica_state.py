"""
What else is known of the replica's tables before load kinds are chosen, by which the replica's record is
trusted or not.

It asks, and concludes nothing: `evidence` says what an answer is worth, `sync_mode`
what follows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from arrowetl import drivers, limits, sql
from arrowetl.model.plan import TablePlan
from arrowetl.model.state import TableState
from arrowetl.planning.sync_mode import ReplicaFacts
from arrowetl.replica import replica_sql
from arrowetl.source import source_sql
from arrowetl.source.reader import Source
from arrowetl.workers import jobs


def seen(
    states: Mapping[str, TableState], shapes: Mapping[str, str], replica: Source | None, to: str, counts: bool
) -> dict[str, ReplicaFacts]:
    """
    Table → how many rows the replica has, and of what shape it is there.

    Args:
        shapes: as `shapes_at_replica` found them.
        replica: as a source; None where its rows are not counted.
        to: one of `connection.DESTINATIONS`.
        counts: whether its rows are to be counted: not where all are read anyway.
    """
    records = {name: one.warehouse if to == "warehouse" else one.replica for name, one in states.items()}
    counted, others, silent = replica.rows_of(records) if replica and counts else ({}, frozenset(), frozenset())
    return {
        name: ReplicaFacts(
            counted.get(name),
            name not in others,
            shape=shapes.get(name, ""),
            unanswered=name in silent,
        )
        for name in counted.keys() | others | silent | shapes.keys()
    }


def shapes_at_replica(servers: jobs.Servers, from_replica: bool, to: str) -> dict[str, str]:
    """Table → the shape of the replica's table; nothing where the replica is not used."""
    if from_replica:
        return _shapes(servers.source.pool)
    return _shapes(servers.replica.pool) if servers.replica and to != "warehouse" else {}


def by_name(names: Iterable[str], shapes: Mapping[str, str], folds: bool) -> dict[str, str]:
    """The same by the source's names, where the replica treats capitals in its own manner."""
    there = {sql.folded(name, folds): shape for name, shape in shapes.items()}
    return {name: shape for name in names if (shape := there.get(sql.folded(name, folds)))}


def partly_shown(source: Source, among: Iterable[str]) -> list[str]:
    """Tables of which the account was granted some columns, and is not shown the others."""
    with source.pool.session() as session:
        granted = {name for (name,) in session.rows(source_sql.granted_by_column(source.endpoint.database))}
    return [name for name in sorted(granted & set(among)) if not source.shows_all_columns(name)]


def shape_at_replica(plan: TablePlan, targets: Iterable[jobs.Target]) -> str:
    """Of the replica's table, once what is staged has replaced it, or was merged into it."""
    replica = next((target for target in targets if target.name == "replica"), None)
    if replica is None or not plan.stages_all_rows:
        return plan.at_replica
    with replica.pool.session() as session:
        definition = replica_sql.definition(session.endpoint.database, sql.staging_name(plan.name, plan.run))
        # Nobody gave staging a trigger.
        return replica_sql.shape(session.rows(definition)[0][1])


def _shapes(pool: drivers.Pool[drivers.MySQL]) -> dict[str, str]:
    """Table → what is another once a column, the key or a trigger of it is."""
    with pool.session() as session:
        database = session.endpoint.database
        names = [name for (name,) in session.rows(replica_sql.names(database))]
        triggers = defaultdict[str, list[str]](list)
        for table, trigger in session.rows(replica_sql.triggers(database)):
            triggers[table].append(trigger)
        questions = [replica_sql.definition(database, name) for name in names]
        answers = [
            answer
            for first in range(0, len(questions), limits.definitions_at_once)
            for answer in session.answers(questions[first : first + limits.definitions_at_once])
        ]
    # What cannot be shown is of no shape that a run gave it.
    return {
        name: replica_sql.shape(answer[0][1], triggers[name]) if answer else "unknown"
        for name, answer in zip(names, answers, strict=True)
    }
