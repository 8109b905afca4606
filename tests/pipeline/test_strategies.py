"""
Every kind of load that reads something has its strategy.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from support.catalog_values import PATIENT, planned

from arrowetl.model.plan import LoadKind, Mode, Stages
from arrowetl.pipeline import load_partition, strategies
from arrowetl.pipeline.strategies import STRATEGIES

PLAN = planned(PATIENT)


def test_every_reading_kind_has_a_strategy() -> None:
    assert STRATEGIES.keys() == {kind for kind in LoadKind if kind.stages is not Stages.NOTHING}


@pytest.mark.parametrize("kind", LoadKind)
def test_kinds_and_strategies_agree(kind: LoadKind) -> None:
    """Nothing is read of what is skipped; what goes by checksums holds no rows."""
    assert (kind.mode is Mode.SKIPPED) is (kind.stages is Stages.NOTHING)
    assert kind.goes_by_checksums is (kind.stages is Stages.CHANGES and kind.copies == 0)
    assert kind.reads_all is (kind.copies > 0)
    assert LoadKind(kind.value) is kind


@pytest.mark.parametrize(
    ("kind", "asked"),
    [(LoadKind.BY_READING, "partitions"), (LoadKind.INCREMENTAL, "partitions"), (LoadKind.COMPARE_THEN_FULL, "slices")],
)
def test_each_kind_cuts_its_table(kind: LoadKind, asked: str) -> None:
    source: Any = SimpleNamespace(
        partitions=lambda plan, left, rows: ["partitions", left], slices=lambda plan: ["slices", plan]
    )
    context: Any = SimpleNamespace(servers=SimpleNamespace(source=source))
    plan = replace(PLAN, kind=kind)

    assert next(iter(STRATEGIES[kind].partitions(plan, context, [(1, 2)]))) == asked


def test_only_incremental_loads_have_two_passes() -> None:
    """What was updated, and then what differs in the rest."""
    assert [kind for kind, strategy in STRATEGIES.items() if strategy.then] == [LoadKind.INCREMENTAL]
    source: Any = SimpleNamespace(ranges=lambda plan, rows: [plan, rows.func, rows.args])
    context: Any = SimpleNamespace(servers=SimpleNamespace(source=source))
    plan = replace(PLAN, kind=LoadKind.INCREMENTAL)
    then = STRATEGIES[LoadKind.INCREMENTAL].then

    assert then is not None
    assert list(then(plan, context)) == [plan, strategies.next_partition_rows, (plan, context)]


def test_partition_functions_can_be_pickled() -> None:
    """By its name in its module."""
    for strategy in STRATEGIES.values():
        assert getattr(load_partition, strategy.load_partition.__name__) is strategy.load_partition
