"""
The events of a run, and of whatever else takes a while, as frozen values; and the steps of a run by their numbers.

A listener shows them (`progress`), or ignores them. The result of a run is in `result`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from arrowetl.model.plan import TablePlan
from arrowetl.model.result import Outcome


class Step(IntEnum):
    """What a run does, in this order; the log has these numbers."""

    REACH = 1
    LOCK = 2
    PLAN = 3
    PREPARE = 4
    LOAD = 5
    PUBLISH = 6
    RECORD = 7
    SIGN = 8
    NOTIFY = 9

    @property
    def words(self) -> str:
        return _STEPS[self]


_STEPS = {
    Step.REACH: "connect to the servers, and refuse a replica that is the source",
    Step.LOCK: "lock out other runs at both targets",
    Step.PLAN: "decide what each table needs",
    Step.PREPARE: "remove leftovers of an interrupted run",
    Step.LOAD: "load the tables",
    Step.PUBLISH: "switch all tables together",
    Step.RECORD: "record the results",
    Step.SIGN: "keep a receipt",
    Step.NOTIFY: "send notifications",
}


@dataclass(frozen=True, slots=True)
class RunBegan:
    """The first of a run's."""

    run_id: str


@dataclass(frozen=True, slots=True)
class StepBegan:
    step: Step


@dataclass(frozen=True, slots=True)
class RunPlanned:
    plans: tuple[TablePlan, ...]


@dataclass(frozen=True, slots=True)
class TableStarted:
    table: str
    partitions: int


@dataclass(frozen=True, slots=True)
class PartitionLoaded:
    table: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class TableRetried:
    """A table failed, and will be tried again."""

    table: str
    attempt: int
    """Which one failed, from 1."""
    seconds: float
    """Until the next."""
    message: str


@dataclass(frozen=True, slots=True)
class TableStaged:
    """A table waits for all others, to be published with them."""

    table: str


@dataclass(frozen=True, slots=True)
class TableEnded:
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class RunEnded:
    exit_code: int
    seconds: float


@dataclass(frozen=True, slots=True)
class TablesChosen:
    """Of what is no run: how many tables there are to be analyzed, verified or written."""

    tables: int
    rows: int = 0
    """As the catalog has them; 0 where rows are not what it takes time for."""


@dataclass(frozen=True, slots=True)
class TableDone:
    """Of what is no run."""

    table: str
    rows: int = 0
    problem: str = ""
    """What is wrong with it, in words."""


Event = (
    RunBegan
    | StepBegan
    | RunPlanned
    | TableStarted
    | PartitionLoaded
    | TableRetried
    | TableStaged
    | TableEnded
    | RunEnded
    | TablesChosen
    | TableDone
)
