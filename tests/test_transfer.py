"""
The journey of one table, with ends that write down what they are asked: the order, and what is left when a step fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from nouns import PATIENT, planned

from arrowetl import jobs, limits
from arrowetl.errors import DataLoadingError, LockLostError, VerificationError
from arrowetl.jobs import Servers
from arrowetl.model import Comparison, Mode, Partition
from arrowetl.outcome import Changes, ConnectionCount, Outcome, Status, Taken
from arrowetl.record import Reading, Standing
from arrowetl.route import Endpoint, Route
from arrowetl.transfer import Shared, rows_of_the_next, stage, switch_or_discard
from arrowetl.workers import Workers

PLAN = planned(PATIENT)
NOON = datetime(2026, 1, 2, 12)
ROUTE = Route("run", *(Endpoint(name, "h", 1, "d", "u", "p") for name in ("source", "replica", "warehouse")), None)
ORDER = [
    "source reading", "replica prepare", "warehouse prepare", "source partitions",
    "source extract", "replica take", "warehouse take", "source extract", "replica take", "warehouse take",
    "replica finish", "replica count", "warehouse finish", "warehouse count", "source reading",
    "warehouse cutover", "replica cutover",
]  # fmt: skip
# The ends finish and count at the same time, each in this order.
SIDE_BY_SIDE = slice(10, 14)


@dataclass
class World:
    """Two ends, a source of two partitions and a ledger; each notes what it is asked, and may refuse one thing."""

    refuses: str = ""
    counts: dict[str, int] = field(default_factory=lambda: {"source": 4, "replica": 4, "warehouse": 4})
    changes_while_read: bool = False
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
    """Stands for the replica, the warehouse."""

    pool = arrow = FakePool()

    def __init__(self, name: str, world: World) -> None:
        self.name, self.world = name, world

    def done(self, plan: Any) -> dict[str, Any]:
        return {}

    def prepare(self, plan: Any, keep: Any, attempt: Any) -> tuple[str, ...]:
        self.world.note(f"{self.name} prepare")
        return ()

    def take(self, plan: Any, part: Any, pieces: Any, gone: Any) -> Taken:
        self.world.note(f"{self.name} take")
        return Taken()

    def finish(self, plan: Any) -> None:
        self.world.note(f"{self.name} finish")

    def count(self, plan: Any) -> int:
        self.world.note(f"{self.name} count")
        return self.world.counts[self.name]

    def cutover(self, plan: Any, staged: Any, comments: Any, recorded: Any) -> Changes:
        self.world.note(f"{self.name} cutover")
        recorded(Changes(inserted=staged.rows))
        return Changes(inserted=staged.rows)

    def discard(self, plan: Any) -> None:
        self.world.note(f"{self.name} discard")


class FakeSource:
    def __init__(self, world: World) -> None:
        self.world, self.readings = world, 0

    place = "h:1/d"

    def high(self, plan: Any, before: Reading) -> None:
        return None

    def reading(self, plan: Any) -> Reading:
        self.world.note("source reading")
        self.readings += 1
        moved = timedelta(minutes=self.readings if self.world.changes_while_read else 0)
        each = self.world.server_changes_each
        changes = None if each is None else 100 + each * self.readings
        return Reading(self.world.counts["source"], NOON + moved, NOON + timedelta(hours=1), server_changes=changes)

    def partitions(self, plan: Any, done: Any, rows: Any) -> tuple[Partition, ...]:
        self.world.note("source partitions")
        return (Partition(0, None, 5), Partition(1, 5, None))

    def extract(self, plan: Any, part: Any) -> tuple[Any, pa.Table]:
        self.world.note("source extract")
        return plan, pa.table({"PatNum": [1, 2]})


class FakeServers(Servers):
    @property
    def ends(self) -> tuple[Any, ...]:
        return (self.replica, self.warehouse)

    def pools(self) -> list[Any]:
        return []


class FakeLedger:
    def __init__(self, world: World) -> None:
        self.world, self.locks = world, self

    def require_lock(self) -> None:
        self.world.locks += 1
        if self.world.lock_is_lost:
            raise LockLostError("the run's lock was lost")

    def recording(self, end: str, entry: Any) -> Callable[[Changes], str]:
        return lambda changes: self.world.recorded.append((end, entry)) or ""


def carried(world: World, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    servers = FakeServers(FakeSource(world), FakeEnd("replica", world), FakeEnd("warehouse", world))  # type: ignore[arg-type]
    monkeypatch.setitem(jobs._SERVERS, ROUTE, servers)
    hands = Workers("thread", 1)
    try:
        standings = {PLAN.name: Standing()}
        shared = Shared(ROUTE, servers, FakeLedger(world), standings, {}, hands, lambda event: None)  # type: ignore[arg-type]
        return switch_or_discard(stage(PLAN, shared))
    finally:
        hands.close()


def test_the_order_of_the_conversations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Staged and compared before anybody can see it; recorded last."""
    world = World()
    outcome = carried(world, monkeypatch)

    world.said[SIDE_BY_SIDE] = sorted(world.said[SIDE_BY_SIDE], key=lambda said: said.split()[0])
    assert world.said == ORDER
    assert (outcome.status, outcome.rows_extracted, outcome.partitions) == (Status.SUCCEEDED, 4, 2)
    assert (outcome.verdict, outcome.settled) == ("equal", True)
    assert [end for end, _ in world.recorded] == ["warehouse", "replica"]
    assert {
        (version.partition("-")[0], rows)
        for version, rows in {(entry.version, entry.rows) for _, entry in world.recorded}
    } == {("run", 4)}


@pytest.mark.parametrize("step", dict.fromkeys(ORDER))
def test_a_step_that_fails(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing after it happens but that staging goes; nothing is recorded."""
    world = World(refuses=step)
    with pytest.raises(DataLoadingError, match=step):
        carried(world, monkeypatch)

    after = world.said[world.said.index(step) + 1 :]
    assert after[-2:] == ["replica discard", "warehouse discard"]
    if "cutover" not in step:
        assert [said for said in world.said if "cutover" in said] == []
    # What one end holds is recorded there, where the other one refuses.
    assert [end for end, _ in world.recorded] == (["warehouse"] if step == "replica cutover" else [])


@pytest.mark.parametrize("step", ["replica take", "warehouse finish", "source reading"])
def test_a_step_that_fails_since_another_run_swept_up(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the lock was lost is what is told, and not what was missing then."""
    world = World(refuses=step, lock_is_lost=True)
    with pytest.raises(LockLostError):
        carried(world, monkeypatch)

    assert world.said[-2:] == ["replica discard", "warehouse discard"]


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"source": 4, "replica": 3, "warehouse": 4}, "4 rows were read, staged were: replica 3"),
        ({"source": 4, "replica": 4, "warehouse": 5}, "4 rows were read, staged were: warehouse 5"),
        ({"source": 5, "replica": 4, "warehouse": 4}, "the source counts 5 rows, 4 were found"),
    ],
)
def test_rows_that_are_missing(counts: dict[str, int], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not cut over: the predecessor said success with 484,831 rows missing."""
    world = World(counts=counts)
    with pytest.raises(VerificationError, match=told):
        carried(world, monkeypatch)

    assert [said for said in world.said if "cutover" in said] == []
    assert world.recorded == []


def test_a_table_that_is_written_to_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """It arrives as it was read, and is told as not settled; its rows need not be as many as before."""
    world = World(counts={"source": 7, "replica": 4, "warehouse": 4}, changes_while_read=True)

    assert carried(world, monkeypatch).settled is False


@pytest.mark.parametrize(("rows", "changes", "settled"), [(5, 1, False), (3, 9, False), (5, 0, None), (6, 1, None)])
def test_as_many_rows_come_as_go(
    rows: int, changes: int, settled: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told as not settled, where the server wrote and removed as many rows; otherwise the table fails."""
    world = World(counts={"source": rows, "replica": 4, "warehouse": 4}, server_changes_each=changes)
    if settled is None:
        with pytest.raises(VerificationError, match=f"the source counts {rows} rows, 4 were found"):
            carried(world, monkeypatch)
    else:
        assert carried(world, monkeypatch).settled is settled


@pytest.mark.parametrize(
    ("more", "bytes_"),
    [
        ({}, 4 * limits.MIB),
        ({"scans": True, "rows_per_partition": 10_240}, 10 * limits.MIB),
        ({"scans": True, "rows_per_partition": 10_240, "mode": Mode.RECONCILE}, 5 * limits.MIB),
        ({"scans": True, "rows_per_partition": 10_240, "proves": True}, 5 * limits.MIB),
        ({"mode": Mode.RECONCILE}, 4 * limits.MIB),
        ({"mode": Mode.RECONCILE, "comparison": Comparison.CHECKSUM}, limits.compared_bytes),
        ({"mode": Mode.INCREMENTAL, "comparison": Comparison.CHECKSUM}, limits.compared_bytes),
        ({"mode": Mode.INCREMENTAL, "comparison": Comparison.CHECKSUM, "partition_bytes": limits.MIB}, limits.MIB),
        ({"mode": Mode.INCREMENTAL, "comparison": Comparison.CHECKSUM, "batch_size": 1_000}, 1_000 * 1024),
    ],
    ids=[
        "as the run has learned", "scanned", "scanned at two ends", "proven", "read at two ends", "by checksums",
        "by a watermark", "as tables.yml chooses", "rows that tables.yml caps",
    ],
)  # fmt: skip
def test_how_much_the_next_partition_holds(more: dict[str, Any], bytes_: int) -> None:
    """Ranges are large where little of them travels, and halved where two ends' rows are held."""
    learned: Any = SimpleNamespace(workers=SimpleNamespace(pace=SimpleNamespace(partition_bytes=4 * limits.MIB)))
    plan = replace(planned(replace(PATIENT, row_bytes=1024, rows=10**6)), **more)

    assert rows_of_the_next(plan, learned) * 1024 == bytes_ // 1024 * 1024
