"""
How a run's connections are divided: among the pools of this process, its worker processes, a cluster's jobs.

Pure. A process has one pool at the source and two at each target (the rows', and
those of the route from the replica, or of Arrow); a run's records need two at
either target for themselves. `run` asks, `drivers.Pool` and the cluster's leases
keep to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from arrowetl import limits
from arrowetl.errors import UsageError
from arrowetl.model.connection import RunSettings

_RECORDS = limits.records_connections
_POOLS = 2


@dataclass(frozen=True, slots=True)
class ConnectionBudget:
    """What each may have at once."""

    choices: RunSettings
    """Those of a process: its connections are those of one pool."""
    jobs: int
    """So many of them at once, at other machines; 0 where nothing is limited."""


def share_connections(choices: RunSettings, workers: int) -> ConnectionBudget:
    """
    Connections as tables.yml and the command line allow them → as each process may have them.

    Raises:
        UsageError: they do not suffice; the message says how many do.

    >>> share_connections(RunSettings(source_connections=4, warehouse_connections=10), 8).choices.warehouse_connections
    4
    >>> of_a_cluster = RunSettings(source_connections=6, replica_connections=14, executor="dask:tcp://host:8786")
    >>> share_connections(of_a_cluster, 8).jobs
    3
    """
    kind = choices.executor.partition(":")[0]
    if kind == "dask":
        return _with_a_cluster(choices, workers)
    processes = 1 if kind == "thread" else workers + 1
    instead = "lower --max-workers, or use --executor thread, whose workers share them"
    source = _each("source", choices.source_connections, 0, processes, instead)
    replica = _each("replica", choices.replica_connections, _RECORDS, _POOLS * processes, instead)
    warehouse = _each("warehouse", choices.warehouse_connections, _RECORDS, _POOLS * processes, instead)
    mine = replace(choices, source_connections=source, replica_connections=replica, warehouse_connections=warehouse)
    return ConnectionBudget(mine, 0)


def _each(server: str, most: int | None, taken: int, pools: int, instead: str) -> int | None:
    if most is None:
        return None
    if most < taken + pools:
        raise UsageError(
            f"a run like this needs {taken + pools} connections to the {server}, {most} are allowed", instead
        )
    return (most - taken) // pools


def _with_a_cluster(choices: RunSettings, workers: int) -> ConnectionBudget:
    """Half for this process, half for the jobs; what does not go even is this process's."""
    source, replica, warehouse = choices.source_connections, choices.replica_connections, choices.warehouse_connections
    possible = [source // 2] if source is not None else []
    possible += [(most - _RECORDS) // (2 * _POOLS) for most in (replica, warehouse) if most is not None]
    jobs = min([workers, *possible]) if possible else 0
    if possible and jobs < 1:
        raise UsageError(
            f"a cluster's workers need 2 connections to the source and {_RECORDS + 2 * _POOLS} to each target, "
            f"{source or 'any'}, {replica or 'any'} and {warehouse or 'any'} are allowed",
            "allow more in settings of arrowetl.yml, or use --executor thread",
        )
    mine = replace(
        choices,
        source_connections=None if source is None else source - jobs,
        replica_connections=None if replica is None else (replica - _RECORDS) // _POOLS - jobs,
        warehouse_connections=None if warehouse is None else (warehouse - _RECORDS) // _POOLS - jobs,
    )
    return ConnectionBudget(mine, jobs)


ELSEWHERE = limits.workers_max
"""Of a pool at a cluster's worker: as many as jobs are let in, each of which has one."""
