"""
Finds out how fast a table can be loaded, and by how many workers in partitions of which size.

Real servers, real rows, the same `load_partition` as a run's; staging is filled and
dropped again, and no published table is touched. Sizes are tried first, then numbers of
workers at the best size. The best is then measured against the default, in turn.
`render_run` shows the result; `arrowetl_yml_edit` keeps it.
"""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from arrowetl import limits
from arrowetl.config.env import Settings
from arrowetl.config.tables_yml import read_tables, refuse_business_hours
from arrowetl.errors import ArrowetlError, DataError
from arrowetl.model.connection import Route
from arrowetl.model.plan import Cutover, LoadKind, Partition, SchemaChange, TablePlan
from arrowetl.model.result import PHASES, PartitionOutcome
from arrowetl.model.run_options import RunOptions
from arrowetl.pipeline import plan_run
from arrowetl.pipeline import run as running
from arrowetl.pipeline.load_partition import load_rows, targets_of
from arrowetl.planning import partitioning
from arrowetl.planning.pacing import Pace
from arrowetl.state.ledger import Ledger
from arrowetl.types import mapping
from arrowetl.workers.jobs import Job, servers_of
from arrowetl.workers.pool import Workers


@dataclass(frozen=True, slots=True)
class Trial:
    """Part of a table, loaded by so many workers in partitions of one size."""

    workers: int
    partition_bytes: int
    partitions: int
    rows: int
    bytes: int
    """Of Arrow."""
    seconds: float
    """From the first statement to the last."""
    phases: Mapping[str, float]
    """Phase → seconds of all partitions together."""

    @property
    def rows_per_second(self) -> float:
        """While all workers are busy: what the last partitions take alone is not counted against large ones."""
        busy = sum(self.phases.values())
        return min(self.workers, self.partitions) * self.rows / busy if busy else 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "workers": self.workers, "partition_bytes": self.partition_bytes, "partitions": self.partitions,
            "rows": self.rows, "bytes": self.bytes, "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.rows_per_second),
            "phases": {phase: round(seconds, 3) for phase, seconds in self.phases.items()},
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Benched:
    """What was found out."""

    table: str
    to: str
    rows: int
    trials: tuple[Trial, ...]
    default: Trial
    """The median of those by the default."""
    best: Trial
    """The median of those that are recommended; the default's, where nothing was better."""
    index_seconds: float
    """What the replica took to index the rows of a trial."""
    notes: tuple[str, ...]

    @property
    def chosen(self) -> dict[str, int]:
        """The choices that make what is recommended of the default."""
        pairs = {
            name: (getattr(self.best, name), getattr(self.default, name)) for name in ("partition_bytes", "workers")
        }
        return {name: best for name, (best, default) in pairs.items() if best != default}

    def as_json(self) -> dict[str, Any]:
        return {
            "table": self.table, "to": self.to, "rows": self.rows, "trials": [one.as_json() for one in self.trials],
            "default": self.default.as_json(), "recommended": self.best.as_json(),
            "gain": round(self.best.rows_per_second / max(self.default.rows_per_second, 1e-9), 3),
            "index_seconds": round(self.index_seconds, 3), "notes": list(self.notes),
        }  # fmt: skip


def bench(settings: Settings, table: str, to: str, seconds: float, on_trial: Callable[[Trial], None]) -> Benched:
    """
    Try sizes and numbers of workers on the real servers, for about so many seconds.

    Raises:
        UsageError, ConfigurationError, DatabaseError, DataError: it could not be tried; staging is dropped.
    """
    with trials(settings, table, to, time.monotonic() + seconds, on_trial) as at:
        return _tried(at, to)


@contextmanager
def trials(
    settings: Settings, table: str, to: str, deadline: float, on_trial: Callable[[Trial], None]
) -> Iterator[Trials]:
    """
    Where trials of a table can run.

    Args:
        deadline: of `time.monotonic`; trials share the time until then.

    Raises:
        As `bench` does.
    """
    tables_file = read_tables(settings.tables_file, settings.chosen)
    options = RunOptions(tables=(table,), force_full=True, to=to)
    with (
        running.opened_route(settings, options, tables_file, "bench") as route,
        closing(running.ledger_of(route)) as ledger,
    ):
        refuse_business_hours(tables_file.choices, table, DataError)
        with ledger.locks.lock("bench"):
            plan = _to_be_tried(options, tables_file, route, ledger)
            kept = tables_file.tables.keys() | {plan.name}
            for target in servers_of(route).targets:
                # What a run that was stopped has staged of other tables is not bench's to drop.
                target.open(kept)
            # As a run does: a partition of a large table is noted where it is staged.
            ledger.open()
            yield Trials(plan, route, deadline, on_trial)


def _tried(at: Trials, to: str) -> Benched:
    begin = at.begin
    at.trial(begin)  # the first one finds cold caches, and is not counted
    first = at.trial(begin, indexes=True)
    notes = []
    if not partitioning.can_be_split(at.plan.table):
        notes.append("its primary key is no integer: it is loaded in one partition, whatever is chosen")
    sizes = [size for size in at.sizes() if size != begin.partition_bytes]
    if at.plan.full_scan_per_partition:
        notes.append(f"in partitions of {first.partition_bytes / 2**20:.1f} MiB the source scans it for each of them")
    if not sizes and not notes:
        notes.append(f"one partition holds it all, in {first.seconds * 1000:.0f} ms: sizes and workers change nothing")
    trials = [first]
    for size in sizes:
        trials += at.trial_in_time(Pace(size, begin.at_a_time), len(sizes) + 8)
    best = max(trials, key=lambda one: one.rows_per_second)
    counts = at.counts(best.partition_bytes) if len(trials) > 1 else []
    for count in (count for count in counts if count != begin.at_a_time):
        trials += at.trial_in_time(Pace(best.partition_bytes, count), 8)
    best = max(trials, key=lambda one: one.rows_per_second)
    default, recommended = at.compared(begin, _setting(best), first)
    return Benched(
        table=at.plan.name,
        to=to,
        rows=at.plan.table.rows,
        trials=tuple(at.trials),
        default=default,
        best=recommended,
        index_seconds=at.index_seconds,
        notes=tuple(notes),
    )


class Trials:
    """What the trials of one table share, and how one is made."""

    def __init__(self, plan: TablePlan, route: Route, deadline: float, on_trial: Callable[[Trial], None]) -> None:
        self.plan, self._route, self.deadline, self._on_trial = plan, route, deadline, on_trial
        cores = max(limits.partitions_at_a_time_min, os.cpu_count() or 1)
        chosen = plan.partition_bytes or plan.rows_per_partition * max(plan.table.row_bytes, 1)
        self.begin = Pace(chosen, plan.workers or min(cores, self._most))
        self.trials: list[Trial] = []
        self.index_seconds = 0.0

    @property
    def _most(self) -> int:
        return min(limits.bench_workers_max, self._route.choices.source_connections or limits.bench_workers_max)

    def sizes(self) -> list[int]:
        """Sizes worth trying: those that give the table several partitions, and that tables.yml allows."""
        table = self.plan.table
        if not partitioning.can_be_split(table):
            return []
        most = min(table.rows, (self.plan.batch_size or table.rows) + 1) * max(table.row_bytes, 1)
        return [size for size in limits.bench_partition_bytes if size < most]

    def counts(self, partition_bytes: int) -> list[int]:
        """Numbers of workers worth trying with partitions of a size."""
        return list(range(1, 1 + min(self._most, max(1, limits.bytes_in_flight_max // partition_bytes))))

    def trial_in_time(self, pace: Pace, left: int) -> list[Trial]:
        """One more trial, if there is time for it; `left` are still to run."""
        return [self.trial(pace, left)] if time.monotonic() < self.deadline - limits.bench_trial_seconds else []

    def compared(self, begin: Pace, found: Pace, first: Trial) -> tuple[Trial, Trial]:
        """Both once more in turn, as often as there is time for; the default's median, and that of the better one."""
        if found == begin:
            return first, first
        pairs = [(self.trial(begin), self.trial(found))]
        while len(pairs) < limits.bench_pairs and time.monotonic() < self.deadline:
            pairs.append((self.trial(begin), self.trial(found)))
        default, other = (_median([pair[side] for pair in pairs]) for side in (0, 1))
        gain = statistics.median(b.rows_per_second / max(a.rows_per_second, 1e-9) for a, b in pairs)
        # Where the machine wavers, pairs may say the one and medians the other: then nothing is known to be better.
        better = gain >= limits.bench_gain_min and other.rows_per_second >= default.rows_per_second
        return default, other if better else default

    def trial(self, pace: Pace, left: int = 8, indexes: bool = False) -> Trial:
        """Stage what can be loaded in a share of the remaining time."""
        share = max((self.deadline - time.monotonic()) / left, limits.bench_trial_seconds)
        until, targets = time.monotonic() + share, targets_of(self.plan, servers_of(self._route))
        rows = partitioning.rows_per_partition(self.plan.table, self.plan.batch_size, pace.partition_bytes)
        full_scan_per_partition = (
            self.plan.full_scan_per_partition and pace.partition_bytes == self.begin.partition_bytes
        )
        plan = replace(
            self.plan,
            partition_bytes=pace.partition_bytes,
            full_scan_per_partition=full_scan_per_partition,
            rows_per_partition=rows,
        )
        workers = Workers("thread", pace.at_a_time, pace, learns=False)
        try:
            for target in targets:
                target.prepare(plan)
            began = time.monotonic()
            jobs = (Job(self._route, plan, part) for part in _until(until, self._parts(plan), pace.at_a_time))
            results = list(workers.each(load_rows, plan, jobs))
            seconds = time.monotonic() - began
            if indexes:
                began = time.monotonic()
                targets[0].build_indexes(plan)
                self.index_seconds = time.monotonic() - began if targets[0].name == "replica" else 0.0
        finally:
            workers.close()
            for target in targets:
                # The first error is the one to report.
                with suppress(ArrowetlError):
                    target.discard(plan)
        self.trials.append(_trial(pace, results, seconds))
        self._on_trial(self.trials[-1])
        return self.trials[-1]

    def _parts(self, plan: TablePlan) -> Iterator[Partition]:
        return servers_of(self._route).source.partitions(plan)


def _to_be_tried(options: RunOptions, tables_file: Any, route: Route, ledger: Ledger) -> TablePlan:
    """As if the table had never been loaded: the targets' tables are left alone."""
    planned = plan_run.planned(options, tables_file, route, ledger)
    for outcome in planned.failed:
        raise DataError(outcome.failure.message if outcome.failure else outcome.table, None)
    if not planned.plans:
        raise DataError(f"{options.tables[0]}: excluded in arrowetl.yml", "take `exclude` out of its choices")
    one = planned.plans[0]
    # Under a name of its own: that of the published table's key is taken.
    return replace(
        one,
        kind=LoadKind.FIRST_LOAD,
        cutover=Cutover.SWAP,
        published=None,
        drift=SchemaChange(),
        reload_warehouse_from_replica=False,
        name_postgres=mapping.postgres_name(f"{_PREFIX}{one.name_postgres}"),
    )


_PREFIX = "bench_"


def _until(deadline: float, parts: Iterator[Partition], least: int) -> Iterator[Partition]:
    """Partitions until the deadline, but at least so many."""
    for number, part in enumerate(parts):
        if number >= least and time.monotonic() >= deadline:
            return
        yield part


def _trial(pace: Pace, results: Sequence[PartitionOutcome], seconds: float) -> Trial:
    phases: Counter[str] = Counter()
    for outcome in results:
        phases.update(outcome.seconds)
    return Trial(
        workers=pace.at_a_time,
        partition_bytes=pace.partition_bytes,
        partitions=len(results),
        rows=sum(one.rows for one in results),
        bytes=sum(one.bytes for one in results),
        seconds=seconds,
        phases={phase: phases[phase] for phase in PHASES if phase in phases},
    )


def _setting(trial: Trial) -> Pace:
    return Pace(trial.partition_bytes, trial.workers)


def _median(trials: Sequence[Trial]) -> Trial:
    return sorted(trials, key=lambda one: one.rows_per_second)[len(trials) // 2]
