"""
How one table is loaded, with targets that note what they are asked: the order, and what a failed step leaves.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from support.catalog_values import PATIENT, planned

from arrowetl import limits
from arrowetl.errors import (
    DatabaseConnectionError,
    DataExtractionError,
    DataLoadingError,
    Interrupted,
    LockLostError,
    OutOfStepError,
    VerificationError,
)
from arrowetl.model.connection import Endpoint, Route
from arrowetl.model.events import PartitionLoaded, TableStarted
from arrowetl.model.plan import Index, LoadKind, Mode, Partition, TablePlan
from arrowetl.model.result import (
    ConnectionCount,
    DeferredIngest,
    LoadResult,
    Outcome,
    PartitionOutcome,
    RowCounts,
    StagedCounts,
    Status,
)
from arrowetl.model.state import RangesToRepair, SourceStats, TableState
from arrowetl.pipeline import load_table, strategies
from arrowetl.pipeline.load_table import RunContext, stage, switch_or_discard
from arrowetl.pipeline.strategies import next_partition_rows
from arrowetl.state.state_sql import Entry
from arrowetl.workers import jobs
from arrowetl.workers.jobs import Job, Servers
from arrowetl.workers.pool import Workers

PLAN = planned(PATIENT)
NOON = datetime(2026, 1, 2, 12)
ROUTE = Route("run", *(Endpoint(name, "h", 1, "d", "u", "p") for name in ("source", "replica", "warehouse")), None)
ORDER = [
    "source reading", "replica prepare", "warehouse prepare", "source partitions",
    "source extract", "replica take", "warehouse take", "source extract", "replica take", "warehouse take",
    "replica finish", "replica count", "warehouse finish", "warehouse count", "source reading",
    "warehouse cutover", "replica cutover",
]  # fmt: skip
# The targets finish and count at the same time, each in this order.
SIDE_BY_SIDE = slice(10, 14)


@dataclass
class World:
    """Two targets, a source of two partitions and a ledger; each notes what it is asked, and may refuse one thing."""

    refuses: str = ""
    counts: dict[str, int] = field(default_factory=lambda: {"source": 4, "replica": 4, "warehouse": 4})
    changes_while_read: bool = False
    made: datetime | None = None
    """When the source's table was made, as the readings say."""
    server_changes_each: int | None = None
    """How many rows the server writes and removes between two readings."""
    said: list[str] = field(default_factory=list)
    recorded: list[tuple[str, Any]] = field(default_factory=list)
    locks: int = 0
    """How often it was made sure that the run still has its locks."""
    lock_is_lost: bool = False

    def note(self, what: str) -> None:
        self.said.append(what)
        if what == self.refuses:
            raise DataLoadingError(f"{what}: refused")


class FakePool:
    count = ConnectionCount("replica", 0, 0)


class FakeEnd:
    """A replica or a warehouse."""

    pool = arrow = FakePool()

    def __init__(self, name: str, world: World) -> None:
        self.name, self.world = name, world

    def done(self, plan: Any) -> dict[str, Any]:
        return {}

    def prepare(self, plan: Any, keep: Any, attempt: Any) -> tuple[str, ...]:
        self.world.note(f"{self.name} prepare")
        return ()

    def load(self, plan: Any, part: Any, changed_rows: Any, deleted_keys: Any) -> LoadResult:
        self.world.note(f"{self.name} take")
        return LoadResult()

    def build_indexes(self, plan: Any) -> None:
        self.world.note(f"{self.name} finish")

    def count(self, plan: Any) -> int:
        self.world.note(f"{self.name} count")
        return self.world.counts[self.name]

    def cutover(self, plan: Any, staged: Any, comments: Any, recorded: Any) -> RowCounts:
        self.world.note(f"{self.name} cutover")
        recorded(RowCounts(inserted=staged.rows))
        return RowCounts(inserted=staged.rows)

    def discard(self, plan: Any) -> None:
        self.world.note(f"{self.name} discard")


class FakeSource:
    def __init__(self, world: World) -> None:
        self.world, self.readings = world, 0

    identity = "h:1/d"

    def max_watermark(self, plan: Any, before: SourceStats) -> None:
        return None

    def reading(self, plan: Any) -> SourceStats:
        self.world.note("source reading")
        self.readings += 1
        moved = timedelta(minutes=self.readings if self.world.changes_while_read else 0)
        each = self.world.server_changes_each
        changes = None if each is None else 100 + each * self.readings
        return SourceStats(
            self.world.counts["source"], NOON + moved, NOON + timedelta(hours=1), None, self.world.made, True, changes
        )

    def partitions(self, plan: Any, done: Any, rows: Any) -> tuple[Partition, ...]:
        self.world.note("source partitions")
        return (Partition(0, None, 5), Partition(1, 5, None))

    def extract(self, plan: Any, part: Any) -> tuple[Any, pa.Table]:
        self.world.note("source extract")
        return plan, pa.table({"PatNum": [1, 2]})


class FakeServers(Servers):
    @property
    def targets(self) -> tuple[Any, ...]:
        return (self.replica, self.warehouse)

    def pools(self) -> list[Any]:
        return []


class FakeLedger:
    def __init__(self, world: World) -> None:
        self.world, self.locks = world, self

    def require_lock(self, trusted_seconds: float = 0.0) -> None:
        self.world.locks += 1
        if self.world.lock_is_lost:
            raise LockLostError("the run's lock was lost")

    def recording(self, target: str, entry: Any) -> Callable[[RowCounts], str]:
        return lambda changes: self.world.recorded.append((target, entry)) or ""


def load(world: World, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    servers = FakeServers(FakeSource(world), FakeEnd("replica", world), FakeEnd("warehouse", world))  # type: ignore[arg-type]
    monkeypatch.setitem(jobs._SERVERS, ROUTE, servers)
    workers = Workers("thread", 1)
    monkeypatch.setattr(load_table.replica_state, "shape_at_replica", lambda plan, targets: "")
    try:
        states = {PLAN.name: TableState()}
        context = RunContext(ROUTE, servers, FakeLedger(world), states, {}, workers, lambda event: None)  # type: ignore[arg-type]
        return switch_or_discard(stage(PLAN, context))
    finally:
        workers.close()


def test_staging_and_comparison_precede_cutover_and_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Staged and compared before anybody can see it; recorded last."""
    world = World()
    outcome = load(world, monkeypatch)

    world.said[SIDE_BY_SIDE] = sorted(world.said[SIDE_BY_SIDE], key=lambda said: said.split()[0])
    assert world.said == ORDER
    assert (outcome.status, outcome.rows_extracted, outcome.partitions) == (Status.SUCCEEDED, 4, 2)
    assert (outcome.verdict, outcome.settled) == ("equal", True)
    assert [target for target, _ in world.recorded] == ["warehouse", "replica"]
    assert {
        (version.partition("-")[0], rows)
        for version, rows in {(entry.version, entry.rows) for _, entry in world.recorded}
    } == {("run", 4)}


@pytest.mark.parametrize("step", dict.fromkeys(ORDER))
def test_failure_at_any_step_leaves_published_tables_untouched(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing after it happens but that staging goes; nothing is recorded."""
    world = World(refuses=step)
    with pytest.raises(DataLoadingError, match=step):
        load(world, monkeypatch)

    after = world.said[world.said.index(step) + 1 :]
    assert after[-2:] == ["replica discard", "warehouse discard"]
    if "cutover" not in step:
        assert [said for said in world.said if "cutover" in said] == []
    # What one target holds is recorded there, where the other one refuses.
    assert [target for target, _ in world.recorded] == (["warehouse"] if step == "replica cutover" else [])


@pytest.mark.parametrize("step", ["replica take", "warehouse finish", "source reading"])
def test_a_lost_lock_is_reported_instead_of_its_consequence(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the lock was lost is what is reported, and not what was missing then."""
    world = World(refuses=step, lock_is_lost=True)
    with pytest.raises(LockLostError):
        load(world, monkeypatch)

    assert world.said[-2:] == ["replica discard", "warehouse discard"]


@pytest.mark.parametrize(
    ("counts", "reported"),
    [
        ({"source": 4, "replica": 3, "warehouse": 4}, "4 rows were read, staged were: replica 3"),
        ({"source": 4, "replica": 4, "warehouse": 5}, "4 rows were read, staged were: warehouse 5"),
        ({"source": 5, "replica": 4, "warehouse": 4}, "the source counts 5 rows, 4 were found"),
    ],
)
def test_missing_rows_block_the_cutover(counts: dict[str, int], reported: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not cut over: the predecessor said success with 484,831 rows missing."""
    world = World(counts=counts)
    with pytest.raises(VerificationError, match=reported):
        load(world, monkeypatch)

    assert [said for said in world.said if "cutover" in said] == []
    assert world.recorded == []


def test_concurrent_writes_are_reported_as_unsettled(monkeypatch: pytest.MonkeyPatch) -> None:
    """It arrives as it was read, and is reported as not settled; its rows need not be as many as before."""
    world = World(counts={"source": 7, "replica": 4, "warehouse": 4}, changes_while_read=True)

    assert load(world, monkeypatch).settled is False


def test_a_table_altered_since_planning_is_not_staged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is staged by a plan that is of another table; the run tries it again."""
    monkeypatch.setattr("test_load_table.PLAN", planned(replace(PATIENT, create_time=NOON)))
    world = World(made=NOON + timedelta(seconds=1))
    with pytest.raises(DataExtractionError, match="was altered, or recreated, at the source") as refusal:
        load(world, monkeypatch)

    assert refusal.value.transient
    assert world.said == ["source reading", "replica discard", "warehouse discard"]
    assert load(World(made=NOON), monkeypatch).status is Status.SUCCEEDED


@pytest.mark.parametrize(("rows", "changes", "settled"), [(5, 1, False), (3, 9, False), (5, 0, None), (6, 1, None)])
def test_balanced_inserts_and_deletes_are_reported_as_unsettled(
    rows: int, changes: int, settled: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reported as not settled, where the server wrote and removed as many rows; otherwise the table fails."""
    world = World(counts={"source": rows, "replica": 4, "warehouse": 4}, server_changes_each=changes)
    if settled is None:
        with pytest.raises(VerificationError, match=f"the source counts {rows} rows, 4 were found"):
            load(world, monkeypatch)
    else:
        assert load(world, monkeypatch).settled is settled


@pytest.mark.parametrize(
    ("more", "bytes_"),
    [
        ({}, 4 * limits.MIB),
        ({"full_scan_per_partition": True, "rows_per_partition": 10_240}, 10 * limits.MIB),
        ({"full_scan_per_partition": True, "rows_per_partition": 10_240, "kind": LoadKind.BY_READING}, 5 * limits.MIB),
        ({"full_scan_per_partition": True, "rows_per_partition": 10_240, "kind": LoadKind.PROOF}, 5 * limits.MIB),
        ({"kind": LoadKind.BY_READING}, 4 * limits.MIB),
        ({"kind": LoadKind.BY_CHECKSUMS}, limits.compared_bytes),
        ({"kind": LoadKind.INCREMENTAL}, limits.compared_bytes),
        ({"kind": LoadKind.INCREMENTAL, "partition_bytes": limits.MIB}, limits.MIB),
        ({"kind": LoadKind.INCREMENTAL, "batch_size": 1_000}, 1_000 * 1024),
        ({"batch_size": 1_000}, 1_000 * 1024),
        ({"full_scan_per_partition": True, "rows_per_partition": 10_241, "kind": LoadKind.BY_READING}, 5_121 * 1024),
    ],
    ids=[
        "as the run has learned", "scanned", "scanned at two servers", "proven", "read at two servers", "by checksums",
        "by a watermark", "as tables.yml chooses", "rows that tables.yml caps", "the same of all rows", "by halves",
    ],
)  # fmt: skip
def test_partition_sizes_follow_the_load_kind(more: dict[str, Any], bytes_: int) -> None:
    """Ranges are large where little of them travels, and halved where two targets' rows are held."""
    learned: Any = SimpleNamespace(workers=SimpleNamespace(pace=SimpleNamespace(partition_bytes=4 * limits.MIB)))
    plan = replace(planned(replace(PATIENT, row_bytes=1024, rows=10**6)), **more)

    assert next_partition_rows(plan, learned) * 1024 == bytes_ // 1024 * 1024


# --- which target is given what, and from where ------------------------------------------------------

WAREHOUSE, REPLICA = (SimpleNamespace(name=name) for name in ("warehouse", "replica"))
ENTRY: Any = SimpleNamespace(rows=7, version="run0")


@dataclass
class Staging:
    """Staging and switching: what is staged when, and what of it is switched."""

    said: list[str] = field(default_factory=list)
    targets: tuple[Any, ...] = (REPLICA, WAREHOUSE)
    rows_warehouse: int | None = 4

    def stage(self, plan: TablePlan, context: Any, known: Any = None) -> Any:
        assert context is not None
        of = "replica" if plan.reads_replica else "source"
        self.said.append(f"stage from {of}")
        self.plan, self.context, self.known = plan, context, known
        outcome = replace(OUTCOME, rows_warehouse=9 if plan.reads_replica else self.rows_warehouse)
        return load_table.StagedTable(plan, context, StagedCounts(1, 0, 0), known or ENTRY, {}, self.targets, outcome)

    def switch_or_discard(self, ready: Any) -> Outcome:
        self.said.append("switch")
        self.switched = replace(ready.outcome)
        return self.switched


OUTCOME = Outcome("patient", "small", Mode.FULL, "", Status.SUCCEEDED, seconds=1.0)


@pytest.fixture
def staging(monkeypatch: pytest.MonkeyPatch) -> Staging:
    there = Staging()
    monkeypatch.setattr(load_table, "stage", there.stage)
    monkeypatch.setattr(load_table, "switch_or_discard", there.switch_or_discard)
    monkeypatch.setattr(load_table, "servers_of", lambda route: f"servers of {route.source.name}")
    monkeypatch.setattr(load_table, "recorded_entry", lambda plan, context: plan and context and ENTRY)
    return there


@dataclass(frozen=True)
class AnyShared:
    route: Route
    servers: Any = None


BOTH = AnyShared(replace(ROUTE, spill_directory=Path("spills")))
ALONE = AnyShared(replace(ROUTE, spill_directory=Path("spills"), to="replica"))


@pytest.mark.parametrize(
    ("plan", "targets", "context", "rows_warehouse", "said"),
    [
        (PLAN, (REPLICA, WAREHOUSE), BOTH, 4, ["stage from source", "switch"]),
        # The warehouse is to catch up: with the replica, as soon as that is switched.
        (PLAN, (REPLICA,), BOTH, None, ["stage from source", "switch", "stage from replica", "switch"]),
        (PLAN, (REPLICA,), ALONE, None, ["stage from source", "switch"]),
        (replace(PLAN, only="replica"), (REPLICA,), BOTH, None, ["stage from source", "switch"]),
        (replace(PLAN, kind=LoadKind.FROM_REPLICA), (WAREHOUSE,), BOTH, 4, ["stage from replica", "switch"]),
        (replace(PLAN, kind=LoadKind.CATCHING_UP, reload_warehouse_from_replica=True), (WAREHOUSE,), BOTH, 4,
         ["stage from replica", "switch"]),
        # It turned out only at the switch that the warehouse needs all of it.
        (PLAN, (REPLICA, WAREHOUSE), BOTH, None,
         ["stage from source", "switch", "stage from replica", "switch"]),
    ],
)  # fmt: skip
def test_each_load_kind_takes_its_route(
    plan: TablePlan,
    targets: tuple[Any, ...],
    context: Any,
    rows_warehouse: int | None,
    said: list[str],
    staging: Staging,
) -> None:
    staging.targets, staging.rows_warehouse = targets, rows_warehouse
    outcome = load_table.load_table(plan, context)

    assert staging.said == said
    assert outcome.rows_warehouse == (9 if said[-2] == "stage from replica" else rows_warehouse)
    if said[-2] == "stage from replica":
        # By what is recorded of the replica, or was staged there just now; and reported together with that.
        assert staging.known is ENTRY
        assert outcome.seconds == (1.0 if said[0] == "stage from replica" else 2.0)


def test_a_reload_from_the_replica_takes_all_rows(staging: Staging) -> None:
    """All of it, whatever was to be read of the source; and what came of both is reported as one."""
    plan = replace(
        PLAN,
        kind=LoadKind.INCREMENTAL,
        incremental_from="x",
        full_scan_per_partition=True,
        reload_warehouse_from_replica=True,
    )
    first = replace(OUTCOME, rows_replica=3, notes=("first",))
    ready = load_table.staged_from_replica(plan, BOTH, ENTRY, first)  # type: ignore[arg-type]

    later = staging.plan
    assert (later.mode, later.kind, later.reload_warehouse_from_replica) == (Mode.FULL, LoadKind.FROM_REPLICA, False)
    assert (later.incremental_from, later.full_scan_per_partition) == (None, False)
    assert staging.known is ENTRY
    assert staging.context.route == ROUTE.from_replica
    assert staging.context.servers == f"servers of {ROUTE.from_replica.source.name}"
    assert (ready.outcome.rows_replica, ready.outcome.rows_warehouse, ready.outcome.seconds) == (3, 9, 2.0)
    assert ready.outcome.notes == ("first",)
    alone = load_table.staged_from_replica(plan, BOTH, ENTRY)  # type: ignore[arg-type]
    assert (alone.outcome.rows_replica, alone.outcome.rows_warehouse) == (None, 9)


def test_the_other_targets_are_those_besides_the_warehouse(staging: Staging) -> None:
    assert staging.stage(PLAN, BOTH).others == (REPLICA,)


# --- its parts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "keyed", "attempt", "kind", "parts"),
    [
        (9, True, None, LoadKind.FULL, ["asked"]),
        (0, True, None, LoadKind.FULL, []),
        (0, True, None, LoadKind.BY_READING, ["asked"]),
        (9, False, None, LoadKind.FULL, ["asked"]),
        (9, True, "a1", LoadKind.FULL, ["asked"]),
        # A piece has no range, by which it could be taken out again.
        (9, False, "a1", LoadKind.FULL, [Partition(0, None, None, rows=9)]),
        (0, False, "a1", LoadKind.BY_READING, [Partition(0, None, None, rows=0)]),
    ],
)
def test_partitions_cover_what_is_left(
    rows: int, keyed: bool, attempt: str | None, kind: LoadKind, parts: list[Any]
) -> None:
    plan = replace(planned(PATIENT if keyed else replace(PATIENT, primary_key=())), kind=kind)
    asked: list[Any] = []

    def partitions(of: TablePlan, left: Any, each: Any) -> list[str]:
        asked.append((of, left))
        assert (each.func, each.args) == (strategies.next_partition_rows, (plan, context))
        return ["asked"]

    context: Any = SimpleNamespace(servers=SimpleNamespace(source=SimpleNamespace(partitions=partitions)))
    left = [(1, None)]

    assert list(load_table.partitions_of(plan, context, left, rows, attempt)) == parts
    assert asked == ([(plan, left)] if parts == ["asked"] else [])


class FakeWorkers:
    """It notes the jobs, and lets each be done at once."""

    def __init__(self) -> None:
        self.jobs: list[Any] = []
        self.plans: list[TablePlan] = []
        self.acts: list[Any] = []

    pace = SimpleNamespace(partition_bytes=4 * limits.MIB)

    def each(self, load: Any, plan: TablePlan, jobs: Any) -> Any:
        self.plans.append(plan)
        self.acts.append(load)
        for job in jobs:
            self.jobs.append(job)
            yield outcome_of(rows=len(self.jobs), bytes=10, part=job.part)


def outcome_of(**more: Any) -> PartitionOutcome:
    given = {
        "rows": 0,
        "bytes": 0,
        "staged": 0,
        "rows_deleted": 0,
        "rows_in_source": 0,
        "coercions": (),
        "process": 1,
    } | more
    return PartitionOutcome(connections=(), **given)


@pytest.mark.parametrize(
    ("split", "kind", "attempt", "resume_token"),
    [
        (True, LoadKind.FULL, None, True),
        (False, LoadKind.FULL, None, False),
        (True, LoadKind.BY_READING, None, False),
        (True, LoadKind.BY_READING, "a1", True),
        (False, LoadKind.FULL, "a1", True),
    ],
)
def test_resumable_partitions_have_tokens(split: bool, kind: LoadKind, attempt: str | None, resume_token: bool) -> None:
    """Have a token each, by which both targets note that they have it."""
    workers, reported = FakeWorkers(), list[Any]()
    context: Any = SimpleNamespace(
        workers=workers,
        route=ROUTE,
        on_event=reported.append,
        servers=FakeServers(None, REPLICA, WAREHOUSE),  # type: ignore[arg-type]
    )
    rows = 10**6 if split else 3
    plan = replace(planned(replace(PATIENT, rows=rows)), kind=kind)
    parts = [Partition(0, None, 5), Partition(1, 5, None)]
    loaded_ = load_table.load_partitions(plan, parts, context, attempt)

    tokens = [job.part.resume_token for job in workers.jobs]
    assert [bool(one) for one in tokens] == [resume_token, resume_token]
    assert len(set(tokens)) == (2 if resume_token else 1)
    assert [job.part.attempt for job in workers.jobs] == [attempt, attempt]
    assert [(job.part.lower, job.part.upper) for job in workers.jobs] == [(None, 5), (5, None)]
    assert {job.part.may_defer_ingest for job in workers.jobs} == {False}
    assert all((job.route, job.plan) == (ROUTE, plan) for job in workers.jobs)
    assert [one.rows for one in loaded_] == [1, 2]
    each = strategies.next_partition_rows(plan, context)
    assert reported[0] == TableStarted("patient", max(1, -(-rows // each)))
    assert reported[1:] == [PartitionLoaded("patient", 1, 10), PartitionLoaded("patient", 2, 10)]


INDEXED = replace(PATIENT, rows=10**6, indexes=(Index("i", (("LName", None),), False),))


@pytest.mark.parametrize(
    ("of", "more", "targets", "attempt", "may_defer_ingest"),
    [
        (INDEXED, {}, ("replica", "warehouse"), None, True),
        (INDEXED, {}, ("replica", "warehouse"), "a1", False),
        (INDEXED, {}, ("warehouse",), None, False),
        (INDEXED, {"kind": LoadKind.BY_READING}, ("replica", "warehouse"), None, False),
        (INDEXED, {"reload_warehouse_from_replica": True}, ("replica", "warehouse"), None, False),
        (replace(INDEXED, rows=3), {}, ("replica", "warehouse"), None, False),
        (replace(INDEXED, indexes=()), {}, ("replica", "warehouse"), None, False),
    ],
)
def test_ingest_is_deferred_only_while_the_replica_builds_indexes(
    of: Any, more: dict[str, Any], targets: tuple[str, ...], attempt: str | None, may_defer_ingest: bool
) -> None:
    """While the replica builds its indexes: only where it builds some, and both are given all of the table."""
    workers = FakeWorkers()
    servers = FakeServers(None, REPLICA, WAREHOUSE)  # type: ignore[arg-type]
    there = [target for target in (REPLICA, WAREHOUSE) if target.name in targets]
    servers = SimpleNamespace(targets=tuple(there)) if len(there) < 2 else servers  # type: ignore[assignment]
    context: Any = SimpleNamespace(workers=workers, route=ROUTE, on_event=lambda _: None, servers=servers)
    load_table.load_partitions(replace(planned(of), **more), [Partition(0, None, None)], context, attempt)

    assert [job.part.may_defer_ingest for job in workers.jobs] == [may_defer_ingest]


@pytest.mark.parametrize(
    ("there", "others"),
    [
        ({"a": "1", "b": "2"}, 0),
        ({"a": "1"}, 1),
        ({"a": "1", "b": "other"}, 1),
        ({}, 2),
    ],
)
def test_partitions_of_abandoned_jobs_block_the_cutover(there: dict[str, str], others: int) -> None:
    """Where jobs can be lost and go on unseen, what is there is what those loaded that are known of."""
    sealed: list[Any] = []
    target: Any = SimpleNamespace(
        name="warehouse", close_attempt=lambda plan, attempt: sealed.append((plan.name, attempt)) or there
    )
    known = [
        outcome_of(part=Partition(0, None, 5, resume_token="a", execution="1")),
        outcome_of(part=Partition(1, 5, None, resume_token="b", execution="2")),
        outcome_of(part=None),
    ]

    load_table.close_attempt(PLAN, [target], known, None)
    assert sealed == []
    if not others:
        load_table.close_attempt(PLAN, [target], known, "a1")
    else:
        with pytest.raises(DataLoadingError) as refusal:
            load_table.close_attempt(PLAN, [target], known, "a1")
        assert refusal.value.message == (
            f"patient: a job that had been given up loaded {others} partitions at the warehouse; nothing was cut over"
        )
        assert (refusal.value.remedy, refusal.value.transient) == ("run again", True)
    assert sealed == [("patient", "a1")]


def test_targets_complete_in_parallel_and_the_warehouse_gets_deferred_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every target at the same time; the warehouse last, once it has the rows that waited for it."""
    said: list[str] = []

    def target(name: str, rows: int) -> Any:
        return SimpleNamespace(
            name=name,
            build_indexes=lambda plan: said.append(f"{plan.name} {name} finish"),
            count=lambda plan: rows * plan.workers,
        )

    workers = FakeWorkers()
    context: Any = SimpleNamespace(workers=workers, route=ROUTE)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    plan = replace(PLAN, workers=9)
    deferred = DeferredIngest(plan, Partition(3, 5, None), Path("rows"))
    known = [outcome_of(rows=2), outcome_of(rows=3, deferred=deferred)]
    loaded_, counts, seconds = load_table.complete_staging(
        plan, (target("replica", 5), target("warehouse", 6)), known, context
    )

    assert counts == {"replica": 45, "warehouse": 54}
    assert sorted(said) == ["patient replica finish", "patient warehouse finish"]
    assert workers.jobs == [Job(ROUTE, plan, Partition(3, 5, None), Path("rows"))]
    assert workers.acts == [load_table.ingest]
    assert [one.rows for one in loaded_] == [2, 3, 1]
    assert [one.deferred for one in loaded_] == [None, None, None]
    # One core is left to the indexes, however many the table may have.
    assert workers.plans[0].workers == 3
    assert 0 <= seconds < 60
    for cores, most in ((None, 1), (1, 1), (2, 1), (12, 9)):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        load_table.complete_staging(plan, (target("replica", 5),), [], context)
        assert workers.plans[-1].workers == most
    load_table.complete_staging(
        replace(plan, kind=LoadKind.BY_READING, workers=None), (target("replica", 5),), [], context
    )
    assert workers.plans[-1].workers == 11

    # Of what changed alone nobody knows how many rows there are to be.
    assert (
        load_table.complete_staging(replace(plan, kind=LoadKind.BY_READING), (target("replica", 5),), [], context)[1]
        == {}
    )


def test_partition_outcomes_are_summed() -> None:
    known = [
        outcome_of(staged=2, rows_deleted=1, rows_in_source=5),
        outcome_of(staged=3, rows_deleted=0, rows_in_source=7),
    ]

    assert load_table.sum_partitions(known, 0) == StagedCounts(5, 1, 12)
    assert load_table.sum_partitions(known, 100) == StagedCounts(5, 1, 112)
    assert load_table.sum_partitions([], 0) == StagedCounts(0, 0, 0)


@pytest.mark.parametrize(
    ("of", "error", "kept"),
    [
        (INDEXED, Interrupted("stopped"), True),
        (INDEXED, DatabaseConnectionError("lost"), True),
        (INDEXED, KeyboardInterrupt(), True),
        (INDEXED, DataLoadingError("refused"), False),
        (PATIENT, DatabaseConnectionError("lost"), False),
    ],
)
def test_staging_is_discarded_unless_it_can_be_resumed(
    of: Any, error: BaseException, kept: bool, tmp_path: Path
) -> None:
    """Nothing; but of a large one what the next run can go on with, where somebody stopped this one."""
    said, locks = list[str](), list[int]()

    def discard(name: str) -> Any:
        def act(plan: TablePlan) -> None:
            said.append(f"{plan.name} {name}")
            raise DataLoadingError("it cannot be dropped now, and the next run does it")

        return SimpleNamespace(name=name, discard=act)

    spilled = tmp_path / "spills"
    context: Any = SimpleNamespace(
        servers=SimpleNamespace(targets=(discard("replica"), discard("warehouse"))),
        route=SimpleNamespace(spill_directory=spilled),
        ledger=SimpleNamespace(locks=SimpleNamespace(require_lock=lambda: locks.append(1))),
    )
    with pytest.raises(type(error)), load_table._staging_discarded_on_failure(planned(of), context):
        raise error

    assert said == ([] if kept else ["patient replica", "patient warehouse"])
    assert len(locks) == isinstance(error, DataLoadingError)


@dataclass
class Switched:
    """A target that may refuse to be switched."""

    name: str
    said: list[str]
    refuses: bool = False

    def cutover(self, plan: Any, staged: Any, comments: Any, recorded: Any) -> RowCounts:
        self.said.append(f"{self.name} cutover")
        assert (plan.name, staged, comments, recorded(RowCounts())) == (
            "patient",
            StagedCounts(2, 0, 9),
            {"c": "said"},
            "",
        )
        if self.refuses:
            raise OutOfStepError("the warehouse would have other rows")
        return RowCounts(inserted=1 if self.name == "warehouse" else 5)

    def discard(self, plan: Any) -> None:
        assert plan.name == "patient"
        self.said.append(f"{self.name} discard")


def ready(plan: TablePlan, said: list[str], refuses: bool = False) -> Any:
    targets = (Switched("replica", said), Switched("warehouse", said, refuses))
    recording = lambda target, entry: said.append(f"{target} recording") or (lambda changes: "")  # noqa: E731
    locks = SimpleNamespace(require_lock=lambda trusted_seconds: said.append("lock"))
    context: Any = SimpleNamespace(ledger=SimpleNamespace(recording=recording, locks=locks))
    return load_table.StagedTable(plan, context, StagedCounts(2, 0, 9), ENTRY, {"c": "said"}, targets, OUTCOME)


def test_the_warehouse_switches_first_after_a_lock_check() -> None:
    """The warehouse first, where others have a say; before each the run makes sure of its lock."""
    said: list[str] = []
    outcome = load_table.switch(ready(PLAN, said))

    assert said == [
        "warehouse recording", "lock", "warehouse cutover", "replica recording", "lock", "replica cutover",
    ]  # fmt: skip
    assert (outcome.rows_replica, outcome.rows_warehouse, outcome.changes) == (9, 9, RowCounts(inserted=1))
    assert 1.0 <= outcome.seconds < 60
    said.clear()
    assert load_table.switch(ready(PLAN, said), targets=()).rows_warehouse is None
    assert said == []


@pytest.mark.parametrize("kind", [LoadKind.BY_READING, LoadKind.FULL])
def test_a_warehouse_out_of_sync_is_reloaded_from_the_replica(kind: LoadKind) -> None:
    """Where only what changed is staged, it is loaded from the replica afterwards; else that is a failure."""
    said: list[str] = []
    one = ready(replace(PLAN, kind=kind), said, refuses=True)
    if kind is LoadKind.FULL:
        with pytest.raises(OutOfStepError):
            load_table.switch(one)
        return
    outcome = load_table.switch(one)

    assert said[2:4] == ["warehouse cutover", "warehouse discard"]
    assert (outcome.rows_replica, outcome.rows_warehouse) == (9, None)


MOVED_ON = SourceStats(4, NOON + timedelta(minutes=1), NOON + timedelta(hours=1))
WAS = SourceStats(4, NOON, NOON + timedelta(hours=1))


@pytest.mark.parametrize(
    ("staged", "counts", "after", "found"),
    [
        (StagedCounts(4, 0, 4), {"replica": 4, "warehouse": 4}, WAS, True),
        (StagedCounts(2, 1, 4), {}, WAS, True),
        (StagedCounts(9, 0, 9), {"replica": 9}, MOVED_ON, False),
        (StagedCounts(4, 0, 4), {}, replace(WAS, rows=5), False),
        (StagedCounts(4, 0, 5), {"replica": 4}, WAS,
         "patient: the source counts 4 rows, 5 were found; nothing was cut over"),
        (StagedCounts(4, 0, 4), {"replica": 3}, MOVED_ON,
         "patient: 4 rows were read, staged were: replica 3; nothing was cut over"),
    ],
)  # fmt: skip
def test_rows_read_staged_and_counted_are_compared(
    staged: StagedCounts, counts: dict[str, int], after: SourceStats, found: bool | str
) -> None:
    if isinstance(found, bool):
        assert load_table.compare(PLAN, staged, counts, WAS, after) is found
        return
    with pytest.raises(VerificationError) as refusal:
        load_table.compare(PLAN, staged, counts, WAS, after)
    assert refusal.value.message == found
    remedy = "run again; if it stays, check the table at the source (CHECK TABLE)" if "found" in found else "run again"
    assert refusal.value.remedy == remedy


def test_a_replica_changed_while_read_is_refused() -> None:
    """What the warehouse would be reported to have is not what was read."""
    plan = replace(PLAN, kind=LoadKind.FROM_REPLICA)

    assert load_table.compare(plan, StagedCounts(4, 0, 4), {}, WAS, WAS) is True
    with pytest.raises(VerificationError, match="patient: somebody changed the replica's table while it was read"):
        load_table.compare(plan, StagedCounts(4, 0, 4), {}, WAS, MOVED_ON)


@pytest.mark.parametrize(
    ("from_replica", "version", "rows", "reported"),
    [
        (True, "run-1", 4, None),
        (True, "run-1", 5, "patient: the replica has 4 rows, and 5 are recorded: somebody changed it there"),
        # Of what no run is known to have loaded, nothing is recorded.
        (True, None, 5, None),
        (False, "run-1", 5, None),
    ],
)
def test_a_replica_that_differs_from_its_record_is_not_copied(
    from_replica: bool, version: str | None, rows: int, reported: str | None
) -> None:
    """It is copied to nobody."""
    plan, known = (
        replace(PLAN, kind=LoadKind.FROM_REPLICA if from_replica else LoadKind.FULL),
        replace(ENTRY_OF, version=version, rows=rows),
    )
    if reported is None:
        load_table.adjust_plan.refuse_another(plan, WAS, known)
        load_table.adjust_plan.refuse_another(plan, WAS, None)
        return
    with pytest.raises(DataExtractionError) as refusal:
        load_table.adjust_plan.refuse_another(plan, WAS, known)
    assert refusal.value.message.startswith(reported)
    assert refusal.value.remedy == "run again from the source, without --from replica"


def test_a_read_within_the_update_times_second_is_unknown() -> None:
    """Read within the timestamp's own second: nobody knows whether it moved."""
    now = replace(WAS, now=NOON)

    assert load_table.compare(PLAN, StagedCounts(4, 0, 4), {}, now, now) is None


# --- what is asked of whom, when a table is staged --------------------------------------------------

BEFORE, AFTER = replace(WAS, rows=40), replace(WAS, rows=41)
HELD = Partition(7, 10, 20, resume_token="held")
DIFFERS = Partition(8, 20, 30)
COMPARED = RangesToRepair((DIFFERS,), 12, replace(WAS, rows=50), NOON.replace(tzinfo=UTC), "compared high")


STAGED = StagedCounts(3, 1, 40)


@dataclass
class Asked:
    """Each of those that staging asks, and what it was asked with; they answer with words."""

    monkeypatch: pytest.MonkeyPatch
    adjusted: TablePlan
    loaded: list[Any] = field(default_factory=list)
    settled: bool | None = True
    staged: StagedCounts = STAGED
    may_be_lost: bool = False
    compared: RangesToRepair | None = None
    of: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)

    def answering(self, name: str, *answers: Any) -> Any:
        left = list(answers)

        def ask(*arguments: Any, **named: Any) -> Any:
            self.of.setdefault(name, []).append((*arguments, *named.values()))
            return left.pop(0) if len(left) > 1 else left[0]

        return ask

    def stage(self, plan: TablePlan, known: Any = None) -> Any:
        targets = tuple(
            SimpleNamespace(name=name, prepare=self.answering(f"{name} prepare", (f"{name} notes",)))
            for name in ("replica", "warehouse")
        )
        source = SimpleNamespace(
            reading=self.answering("reading", *([] if self.compared else [BEFORE]), AFTER),
            max_watermark=self.answering("high", "source's high"),
            ranges=self.answering("ranges", "ranges"),
        )
        self.targets, self.source = targets, source
        # Of another target nothing is staged; it is reported all the same.
        self.all_targets = (*targets, SimpleNamespace(name="elsewhere"))
        self.context: Any = SimpleNamespace(
            servers=SimpleNamespace(source=source, targets=self.all_targets),
            workers=SimpleNamespace(may_be_lost=self.may_be_lost),
            compared={plan.name: self.compared} if self.compared else {"another": COMPARED},
            route=replace(ROUTE, spill_directory=None),
        )
        answers: dict[str, tuple[Any, Any]] = {
            "refuse_another": (load_table.adjust_plan, None),
            "adjusted": (load_table.adjust_plan, (self.adjusted, self.loaded)),
            "held": (load_table.resume, [(HELD, ())]),
            "outcomes": (load_table.resume, ["held"]),
            "targets_of": (load_table, targets),
            "servers_of": (load_table, SimpleNamespace(source="replica's source")),
            "partitions_of": (load_table, "partitions"),
            "load_partitions": (load_table, ["loaded"]),
            "close_attempt": (load_table, None),
            "shape_at_replica": (load_table.replica_state, "as it was made"),
            "complete_staging": (load_table, (["finished"], {"replica": 3}, 2.5)),
            "sum_partitions": (load_table, self.staged),
            "compare": (load_table, self.settled),
            "coerced": (load_table, (("coercions",), {"c": "comment"})),
            "entry_of": (load_table, ENTRY_OF),
            "all_coercions": (load_table, ("remembered",)),
            "staged_outcome": (load_table, OUTCOME),
        }
        for name, (place, answer) in answers.items():
            self.monkeypatch.setattr(place, name, self.answering(name, answer))
        return stage(plan, self.context, known)


ENTRY_OF = Entry("patient", "run", 0, "run-1", None)
FIRST = replace(PLAN, reason="as it was planned")
ADJUSTED = replace(PLAN, reason="adjusted")
NOTED = replace(ADJUSTED, notes=("replica notes", "warehouse notes"))
DONE = replace(NOTED, at_replica="as it was made")


def test_staging_runs_its_steps_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """In order: looked at, prepared, loaded but for what is held, finished, compared, and accounted for."""
    asked = Asked(monkeypatch, ADJUSTED)
    began = datetime.now(UTC)
    found = asked.stage(FIRST)
    context, targets = asked.context, asked.targets

    assert asked.of["reading"] == [(FIRST,), (DONE,)]
    assert asked.of["shape_at_replica"] == [(NOTED, targets)]
    assert asked.of["refuse_another"] == [(FIRST, BEFORE, None)]
    assert asked.of["high"] == [(FIRST, BEFORE)]
    (((*adjusted, max_watermark),)) = asked.of["adjusted"]
    assert (adjusted, max_watermark()) == ([FIRST, context, BEFORE], "source's high")
    assert asked.of["targets_of"] == [(ADJUSTED, context.servers)]
    assert asked.of["held"] == [(ADJUSTED, targets, asked.source, "replica's source")]
    assert asked.of["servers_of"] == [(context.route.from_replica,)]
    assert asked.of["replica prepare"] == [(ADJUSTED, [HELD], None)]
    assert asked.of["warehouse prepare"] == [(replace(ADJUSTED, notes=("replica notes",)), [HELD], None)]
    assert asked.of["partitions_of"] == [(NOTED, context, ((None, 10), (20, None)), 40, None)]
    assert asked.of["load_partitions"] == [(NOTED, "partitions", context, None)]
    assert "ranges" not in asked.of
    assert asked.of["close_attempt"] == [(NOTED, targets, ["held", "loaded"], None)]
    assert asked.of["complete_staging"] == [(NOTED, targets, ["held", "loaded"], context)]
    assert asked.of["sum_partitions"] == [(["finished"], 0)]
    assert asked.of["compare"] == [(DONE, asked.staged, {"replica": 3}, BEFORE, AFTER)]
    assert asked.of["coerced"] == [(DONE, ["finished"], context)]
    assert asked.of["all_coercions"] == [(DONE, ("coercions",), context)]
    ((*entry, when),) = asked.of["entry_of"]
    assert entry == [DONE, asked.staged, context, "source's high", BEFORE]
    assert began <= when <= datetime.now(UTC)
    ((*reported, started_at, seconds, finishing),) = asked.of["staged_outcome"]
    assert reported == [DONE, ["finished"], ("coercions",), True]
    assert (started_at, finishing) == (when, 2.5)
    assert 0 <= seconds < 60
    recorded = replace(ENTRY_OF, rows=40, coerced=("remembered",))
    assert found == load_table.StagedTable(DONE, context, asked.staged, recorded, {"c": "comment"}, targets, OUTCOME)


@pytest.mark.parametrize("settled", [None, False])
def test_an_unsettled_reading_is_not_recorded(settled: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch, ADJUSTED, settled=settled)
    asked.stage(FIRST)

    assert asked.of["entry_of"][0][4] is None
    assert asked.of["staged_outcome"][0][3] is settled


@pytest.mark.parametrize(
    ("rows", "watermark", "waits"),
    [
        (limits.watermark_meanwhile_rows_min, "DateTStamp", False),
        (limits.watermark_meanwhile_rows_min - 1, "DateTStamp", True),
        (limits.watermark_meanwhile_rows_min, None, True),
    ],
)
def test_a_large_table_is_loaded_while_the_source_looks_for_its_watermark(
    rows: int, watermark: str | None, waits: bool
) -> None:
    """It is asked before the first row is read; where the answer takes long, it is waited for when it is needed."""
    plan, before = replace(PLAN, watermark=watermark), replace(BEFORE, rows=rows)
    asked, may_answer = threading.Event(), threading.Event()

    def answer(of: TablePlan, stats: SourceStats) -> str:
        assert (of, stats) == (plan, before)
        asked.set()
        assert waits or may_answer.wait(60)
        return "high"

    with load_table._max_watermark(plan, SimpleNamespace(max_watermark=answer), before, None) as max_watermark:  # type: ignore[arg-type]
        assert asked.wait(0 if waits else 60)
        may_answer.set()
        assert max_watermark() == "high"


def test_staging_after_a_comparison_reads_only_differing_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it found just now is neither asked nor read once more, and is as of then."""
    plan = replace(FIRST, kind=LoadKind.PROOF)
    asked = Asked(monkeypatch, ADJUSTED, compared=COMPARED)
    asked.stage(plan)

    assert asked.of["reading"] == [(DONE,)]
    assert "high" not in asked.of
    (((*adjusted, max_watermark),)) = asked.of["adjusted"]
    assert (adjusted, max_watermark()) == ([plan, asked.context, COMPARED.reading], "compared high")
    assert asked.of["partitions_of"] == [(NOTED, asked.context, [(20, 30)], 50, None)]
    assert asked.of["sum_partitions"] == [(["finished"], 12)]
    assert asked.of["entry_of"][0][3:] == ("compared high", COMPARED.reading, COMPARED.began)


def test_a_comparison_is_used_for_proofs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch, ADJUSTED, compared=COMPARED)
    asked.stage(FIRST)

    # The one answer there is: it was asked twice.
    assert asked.of["reading"] == [(FIRST,), (DONE,)]
    assert asked.of["sum_partitions"] == [(["finished"], 0)]


def test_an_incremental_load_makes_two_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ranges from the watermark on, and the rest by what differs in it."""
    asked = Asked(monkeypatch, replace(ADJUSTED, kind=LoadKind.INCREMENTAL))
    asked.stage(FIRST)
    noted = replace(NOTED, kind=LoadKind.INCREMENTAL)

    assert asked.of["load_partitions"] == [
        (noted, "partitions", asked.context, None),
        (noted, "ranges", asked.context, None),
    ]
    ((plan, rows),) = asked.of["ranges"]
    assert plan == noted
    assert (rows.func, rows.args) == (strategies.next_partition_rows, (noted, asked.context))
    assert asked.of["close_attempt"][0][2] == ["held", "loaded", "loaded"]


def test_one_attempt_identifies_all_partitions_of_a_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """One attempt, by which partitions are loaded; whoever asks is reported the same."""
    asked = Asked(monkeypatch, replace(ADJUSTED, kind=LoadKind.INCREMENTAL), may_be_lost=True)
    asked.stage(FIRST)
    attempts = {
        asked.of[name][0][-1] for name in ("replica prepare", "warehouse prepare", "partitions_of", "close_attempt")
    }
    attempts |= {one[-1] for one in asked.of["load_partitions"]}

    assert len(attempts) == 1
    assert len(attempts.pop()) == 32


def test_equal_tables_are_not_staged(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read of it to see that is reported; nothing is prepared, sealed or finished."""
    asked = Asked(monkeypatch, ADJUSTED, loaded=["read"], staged=StagedCounts(0, 0, 40))
    found = asked.stage(FIRST)

    assert not asked.of.keys() & {
        "held",
        "replica prepare",
        "partitions_of",
        "load_partitions",
        "close_attempt",
        "complete_staging",
    }
    assert asked.of["sum_partitions"] == [(["read"], 0)]
    done = replace(ADJUSTED, at_replica="as it was made")
    assert asked.of["compare"] == [(done, asked.staged, {}, BEFORE, AFTER)]
    assert asked.of["staged_outcome"][0][-1] == 0.0
    # Every target has what it is to have, and is reported so.
    assert found.targets == asked.all_targets


@pytest.mark.parametrize(
    ("more", "staged", "targets"),
    [
        ({}, StagedCounts(0, 0, 40), ("replica", "warehouse", "elsewhere")),
        ({"only": "warehouse"}, StagedCounts(0, 0, 40), ("warehouse",)),
        ({"reload_warehouse_from_replica": True}, StagedCounts(0, 0, 40), ("replica", "warehouse")),
        ({}, StagedCounts(1, 0, 40), ("replica", "warehouse")),
        ({}, StagedCounts(0, 1, 40), ("replica", "warehouse")),
    ],
)
def test_records_are_written_at_every_chosen_target(
    more: dict[str, Any], staged: StagedCounts, targets: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(monkeypatch, replace(ADJUSTED, **more), staged=staged)

    assert tuple(target.name for target in asked.stage(FIRST).targets) == targets


def test_a_replica_record_is_reused_when_reading_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch, ADJUSTED)
    known = replace(ENTRY_OF, version="known")
    found = asked.stage(FIRST, known)

    assert "entry_of" not in asked.of
    assert asked.of["refuse_another"] == [(FIRST, BEFORE, known)]
    assert found.entry == replace(known, rows=40, coerced=("remembered",))


@pytest.mark.parametrize("what", ["prepare", "finish", "cutover"])
@pytest.mark.parametrize("target", ["replica", "warehouse"])
def test_errors_name_the_target_that_failed(what: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(refuses=f"{target} {what}")
    with pytest.raises(DataLoadingError) as refusal:
        load(world, monkeypatch)

    assert refusal.value.target == target
