"""
How long a run will take: what is remembered, what is guessed, and that the interval holds what then happens.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.catalog_values import PATIENT, planned
from support.clinic import Clinic

from arrowetl.model.plan import LoadKind, TableEstimate, TablePlan
from arrowetl.planning import estimate
from arrowetl.planning.estimate import History, Past, PastRun


def plan(name: str = "patient", rows: int = 20_000, **more: Any) -> TablePlan:
    return replace(planned(replace(PATIENT, name=name, rows=rows)), **{"kind": LoadKind.FIRST_LOAD, **more})


FIRST = LoadKind.FIRST_LOAD


@pytest.mark.parametrize(
    ("past", "expected"),
    [
        ([Past(2.0, 20_000)], TableEstimate(20_000, 2.0, 0.0, 1)),
        ([Past(2.0, 20_000), Past(4.0, 20_000), Past(3.0, 20_000)], TableEstimate(20_000, 3.0, 1.0, 3)),
        ([Past(1.0, 10_000)], TableEstimate(20_000, 2.0, 0.0, 1)),
        ([Past(1.0, 0)], TableEstimate(20_000, 1.0, 0.0, 1)),
    ],
)
def test_estimates_are_the_median_scaled_by_rows(past: list[Past], expected: TableEstimate) -> None:
    """The median, by rows where all of them are read."""
    assert estimate.of_tables([plan()], History({("patient", FIRST): past})) == [expected]


def test_small_tables_are_not_scaled() -> None:
    small = plan(rows=900)

    assert estimate.of_tables([small], History({("patient", FIRST): [Past(0.1, 90)]}))[0].seconds == 0.1


def test_another_load_kind_gives_a_guess() -> None:
    """What a comparison took is not what a first load takes: it is a guess, as fast as the tables that are known."""
    history = History({("patient", LoadKind.BY_CHECKSUMS): [Past(9.0, 0)]})
    guess = estimate.usual(plan())
    known = estimate.usual(plan("fast")).seconds
    faster = History({("fast", FIRST): [Past(known / 2, 20_000)]})

    assert estimate.of_tables([plan()], history) == [guess]
    assert estimate.of_tables([plan("fast"), plan()], faster)[1] == replace(guess, seconds=guess.seconds / 2)


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"kind": LoadKind.FIRST_LOAD}, "first load"),
        ({"kind": LoadKind.FULL}, "full"),
        ({"kind": LoadKind.COMPARE_THEN_FULL}, "compared whole"),
        ({"kind": LoadKind.PROOF}, "proof"),
        ({"kind": LoadKind.FROM_REPLICA}, "from replica"),
        ({"kind": LoadKind.INCREMENTAL}, "incremental"),
        ({"kind": LoadKind.BY_READING}, "compared by reading"),
        ({"kind": LoadKind.BY_CHECKSUMS}, "compared by checksums"),
        ({"kind": LoadKind.SKIPPED}, "skipped"),
        ({"kind": LoadKind.CATCHING_UP, "reload_warehouse_from_replica": True}, "catching up"),
    ],
)
def test_history_is_kept_per_load_kind(more: dict[str, Any], kind: str) -> None:
    assert plan(**more).kind == kind


@given(st.lists(st.floats(0, 100), max_size=30), st.integers(1, 8))
def test_the_schedule_is_within_its_bounds(seconds: list[float], workers: int) -> None:
    """No sooner than the longest table or an even share, no later than one after another; the chain is its worker's."""
    makespan, chain = estimate.schedule(seconds, workers)

    assert makespan <= sum(seconds) + 1e-6
    assert makespan + 1e-6 >= max([*seconds, sum(seconds) / workers])
    assert sum(seconds[number] for number in chain) == pytest.approx(makespan)


def with_seconds(seconds: float, runs: int, spread: float = 0.0) -> TablePlan:
    return plan(expected=TableEstimate(1, seconds, spread, runs))


@pytest.mark.parametrize(
    ("one", "runs", "interval", "basis"),
    [
        (with_seconds(8.0, 0), [], (9.5 / 3, 28.5), "a guess: nothing like it is remembered"),
        (with_seconds(8.0, 1), [PastRun(10.0, 8.0)], (5.0, 15.0), "by 1 run like it"),
        (with_seconds(8.0, 3), [PastRun(10.0, 8.0)] * 3, (7.5, 12.5), "by 3 runs like it"),
        (with_seconds(8.0, 3, 1.6), [PastRun(10.0, 8.0)] * 3, (6.0, 14.0), "by 3 runs like it"),
        (with_seconds(8.0, 3, 8.0), [PastRun(10.0, 8.0)] * 3, (5.0, 15.0), "by 3 runs like it"),
    ],
)
def test_intervals_narrow_with_history(
    one: TablePlan, runs: list[PastRun], interval: tuple[float, float], basis: str
) -> None:
    """A guess is wide; what is remembered is as wide as it varied, a quarter at least and a half at most."""
    found = estimate.of_run([one], 2, History({}, runs))

    assert (found.low, found.high) == pytest.approx(interval)
    assert found.basis == basis
    assert found.critical == ("patient",)


def test_the_interval_holds_three_runs_of_four() -> None:
    """Of runs whose tables take a quarter more or less by chance, as they do on a machine that others use as well."""
    noise = random.Random(7)
    usual = {"patient": 9.0, "procedurelog": 6.0, "claim": 4.0, "adjustment": 0.8, "provider": 0.1}

    def run_once() -> tuple[dict[str, float], PastRun]:
        took = {name: seconds * noise.lognormvariate(0, 0.12) for name, seconds in usual.items()}
        makespan, _ = estimate.schedule(list(took.values()), 2)
        return took, PastRun(makespan + 1.5 * noise.lognormvariate(0, 0.2), makespan)

    runs = [run_once() for _ in range(400)]
    held = []
    for number in range(3, len(runs)):
        past = runs[max(0, number - 5) : number]
        history = History(
            {(name, FIRST): [Past(took[name], 20_000) for took, _ in past] for name in usual}, [run for _, run in past]
        )
        plans = [plan(name) for name in usual]
        known = zip(plans, estimate.of_tables(plans, history), strict=True)
        found = estimate.of_run([replace(one, expected=expected) for one, expected in known], 2, history)
        held.append(found.low <= runs[number][1].seconds <= found.high)

    assert sum(held) / len(held) >= 0.75


# --- on real servers ----------------------------------------------------------------------------

VISITS = """
CREATE TABLE visit (Num bigint NOT NULL, Note varchar(200), Seen datetime, PRIMARY KEY (Num)) ENGINE=MyISAM;
CREATE TABLE bill (Num bigint NOT NULL, Amount double, PRIMARY KEY (Num)) ENGINE=MyISAM;
INSERT INTO visit SELECT seq, REPEAT(seq, 20), '2024-01-01' FROM seq_1_to_200000;
INSERT INTO bill SELECT seq, seq / 7 FROM seq_1_to_100000
"""


def test_after_three_runs_the_interval_is_narrow(clinic: Clinic) -> None:
    """No wider than half to either side; a run's document has what was planned next to what it took."""
    clinic.create(VISITS)
    first = json.loads(clinic.arrowetl("run", "--all", "--dry-run", "--json").stdout)
    clinic.run()
    for _ in range(3):
        clinic.run("--all", "--force-full")

    for number in range(3, 7):
        before = json.loads(clinic.arrowetl("run", "--all", "--force-full", "--dry-run", "--json").stdout)["estimate"]
        run = clinic.run("--all", "--force-full")
        assert run["estimate"]["basis"] == before["basis"] == f"by {min(number, 5)} runs like it"
        # All three are rounded to milliseconds: half of one, and one and a half times half of one.
        assert before["low"] >= before["seconds"] * 0.5 - 0.002
        assert before["high"] <= before["seconds"] * 1.5 + 0.002

    assert first["estimate"]["basis"] == "a guess: nothing like it is remembered"
    assert all(table["seconds_expected"] > 0 for table in run["tables"])


def test_a_dry_run_shows_duration_and_basis(clinic: Clinic) -> None:
    """The last line: seconds, from when to when, what is read, and which tables the end waits for."""
    clinic.create(VISITS)

    reported = clinic.arrowetl("run", "--all", "--dry-run").stdout.splitlines()[-1]

    assert reported.startswith("about ")
    assert "(a guess: nothing like it is remembered)" in reported
    assert reported.endswith("; ends with: visit")
