"""
A table that is tried again, or by one target alone: what is asked before, and what is left to the other.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from support.catalog_values import PATIENT, planned

from arrowetl.errors import ArrowetlError, DataLoadingError, LockLostError
from arrowetl.model.plan import LoadKind, Mode, TablePlan
from arrowetl.pipeline import load_tables

PLAN = planned(PATIENT)


def context(said: list[str], targets: tuple[str, ...] = ("replica", "warehouse"), lost: bool = False) -> Any:
    def require_lock() -> None:
        said.append("lock")
        if lost:
            raise LockLostError("the run's lock was lost")

    return SimpleNamespace(
        ledger=SimpleNamespace(locks=SimpleNamespace(require_lock=require_lock)),
        servers=SimpleNamespace(
            targets=[
                SimpleNamespace(name=name, refresh=lambda name=name: said.append(f"{name} looks")) for name in targets
            ]
        ),
    )


def test_a_run_without_its_lock_does_not_retry() -> None:
    """What it would find staged is another run's by now, and to be swept up by nobody."""
    said: list[str] = []
    there: Any = SimpleNamespace(context=context(said, lost=True))
    with pytest.raises(LockLostError):
        load_tables.replan_and_retry(PLAN, there)

    assert said == ["lock"]


@pytest.mark.parametrize(
    ("plan", "target", "rest"),
    [
        # What the replica refuses, the warehouse is given whole: nobody can show what it lacks.
        (
            replace(PLAN, kind=LoadKind.INCREMENTAL, incremental_from="x"),
            "replica",
            {"only": "warehouse", "mode": Mode.FULL},
        ),
        (replace(PLAN, kind=LoadKind.PROOF), "replica", {"only": "warehouse", "kind": LoadKind.FIRST_LOAD}),
        (
            replace(PLAN, reload_warehouse_from_replica=True),
            "replica",
            {"only": "warehouse", "reload_warehouse_from_replica": False},
        ),
        (replace(PLAN, kind=LoadKind.BY_READING), "warehouse", {"only": "replica", "kind": LoadKind.BY_READING}),
        (replace(PLAN, reload_warehouse_from_replica=True), "warehouse", None),
        (replace(PLAN, kind=LoadKind.FROM_REPLICA), "warehouse", None),
    ],
)
def test_a_target_that_refuses_leaves_the_other_loaded(
    plan: TablePlan, target: str, rest: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other has it all the same, and the failure says so."""
    loaded: list[TablePlan] = []
    monkeypatch.setattr(load_tables, "load_table", lambda one, context: loaded.append(one))

    def refuse(one: TablePlan) -> Any:
        error = DataLoadingError("patient: refused")
        error.target = target
        raise error

    there: Any = SimpleNamespace(context=context([]), load=load_tables.load_table)
    with pytest.raises(ArrowetlError) as refusal:
        load_tables.where_it_can_be(refuse, plan, there)

    if rest is None:
        assert loaded == []
        assert refusal.value.message == "patient: refused"
    else:
        (one,) = loaded
        assert {name: getattr(one, name) for name in rest} == rest
        assert refusal.value.message.endswith(f"; the {rest['only']} has the table as it is now")
