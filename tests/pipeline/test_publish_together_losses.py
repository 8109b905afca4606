"""
What may be lost between staging and publishing together: staged rows, connections, the answer to COMMIT.

Each is loaded about in this process, where the time can be chosen; what the targets hold afterwards is read by
`independent`.
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from support.clinic import Clinic, configure, settle
from support.practice import FULL_TABLES, PRACTICE, SETTLE, different, work

import arrowetl
from arrowetl.api import Etl
from arrowetl.errors import DatabaseConnectionError
from arrowetl.model.events import Event, Step, StepBegan
from arrowetl.pipeline import publish_together
from arrowetl.state.ledger import Ledger
from arrowetl.warehouse.loader import Warehouse


@contextlib.contextmanager
def opened(clinic: Clinic, **more: str) -> Iterator[Etl]:
    with arrowetl.open({**clinic.environment, **more}, clinic.tables_file) as etl:
        yield etl


def at_publish(act: Callable[[], Any]) -> Callable[[Event], None]:
    """What is done when all is staged, once."""
    done: list[bool] = []

    def on_event(event: Event) -> None:
        if isinstance(event, StepBegan) and event.step is Step.PUBLISH and not done:
            done.append(True)
            act()

    return on_event


def crash(clinic: Clinic) -> None:
    """One process of PostgreSQL is killed: the server recovers by itself, and empties what is unlogged."""
    state = json.loads((clinic.sandbox.directory / "sandbox.json").read_text())
    server = psutil.Process(state["processes"]["warehouse"]["pid"])
    server.children(recursive=True)[0].send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(Exception):
            clinic.warehouse("SELECT 1")
            time.sleep(0.5)
            clinic.warehouse("SELECT 1")
            return
        time.sleep(0.2)


@pytest.mark.parametrize("strict", [False, True])
def test_staging_emptied_by_a_crash_is_staged_again(hospital: Clinic, strict: bool) -> None:
    """Edits alone, which leave every count as it is: the crash took the run's lock, and the next one loads them."""
    configure(hospital, **FULL_TABLES)
    hospital.create(PRACTICE)
    hospital.create(SETTLE)
    assert hospital.run("--all")["exit_code"] == 0
    settle()
    hospital.create("UPDATE procedurelog SET Fee = Fee + 1000 WHERE ProcNum MOD 50 = 0")
    hospital.create(SETTLE)
    with opened(hospital, ARROWETL_RETRY_SECONDS="1") as etl:
        summary = etl.run(all=True, publish="together", strict=strict, on_event=at_publish(lambda: crash(hospital)))

    assert {one.failure.kind for one in summary.outcomes if one.failure} == {"LockLostError"}
    assert hospital.run("--all")["exit_code"] == 0
    assert different(hospital) == []


def test_columns_follow_once_when_the_transaction_is_repeated(practice: Clinic) -> None:
    """A table has a new column, and another turns out to be behind: the transaction is made twice."""
    practice.create(
        "ALTER TABLE payment ADD Extra varchar(50) NULL;\nUPDATE patient SET Owes = Owes + 1 WHERE PatNum = 5"
    )
    practice.warehouse_execute('DELETE FROM raw.patient WHERE "PatNum" BETWEEN 100 AND 120')
    run = practice.run("--all", "--publish", "together")

    assert (run["exit_code"], [t["error"] for t in run["tables"] if t["error"]]) == (0, [])
    assert different(practice) == []


def test_an_equal_version_is_no_proof_of_publication(practice: Clinic) -> None:
    """From the replica the warehouse gets the version it has: whether it was published is reported by a token."""
    practice.warehouse_execute('UPDATE raw.payment SET "Amount" = 999999 WHERE "PayNum" < 100')

    def cut() -> None:
        practice.warehouse(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND query NOT LIKE '%advisory%' AND backend_type = 'client backend'"
        )

    with opened(practice, ARROWETL_RETRY_SECONDS="0.1") as etl:
        etl.run(all=True, read_from="replica", force_full=True, publish="together", on_event=at_publish(cut))

    assert different(practice) == []


pytestmark = pytest.mark.server


@pytest.fixture
def answer_lost(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The first COMMIT of a publishing is done, and its answer never heard."""
    lost: list[int] = []
    real = Warehouse.cutover_together

    def cut(self: Warehouse, switches: Any, found: Any, accepts: Any) -> None:
        real(self, switches, found, accepts)
        if found.published and not lost:
            lost.append(1)
            found.published = False
            raise DatabaseConnectionError("the answer to COMMIT was lost")

    monkeypatch.setattr(Warehouse, "cutover_together", cut)
    return lost


@pytest.fixture
def stopped(practice: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody stops the run in the time in which the warehouse has all."""
    real = Warehouse.cutover_together

    def interrupted(self: Warehouse, switches: Any, found: Any, accepts: Any) -> None:
        real(self, switches, found, accepts)
        raise KeyboardInterrupt

    monkeypatch.setattr(Warehouse, "cutover_together", interrupted)


@pytest.mark.parametrize("retries", ["4", "0"])
def test_a_lost_commit_answer_is_resolved_by_the_token(practice: Clinic, answer_lost: list[int], retries: str) -> None:
    """Also where it is the last try: what was committed is reported as published, with what changed."""
    work(practice, 1, random.Random(3))
    with opened(practice, ARROWETL_RETRIES=retries) as etl:
        summary = etl.run(all=True, publish="together")

    assert answer_lost
    assert (summary.exit_code, summary.published and summary.published.tables) == (0, 3)
    assert all(one.changes for one in summary.outcomes)
    assert practice.warehouse("SELECT DISTINCT load_status::text FROM raw.etl_load_status") == [("success",)]
    assert different(practice) == []


def test_the_token_is_kept_until_the_warehouse_answers(
    practice: Clinic,
    answer_lost: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The token is kept until the warehouse answers."""
    work(practice, 1, random.Random(3))
    real, asked = Ledger.has_published, list[int]()

    def away(self: Ledger, run_id: str, token: str) -> bool:
        asked.append(1)
        if len(asked) < 3:
            raise DatabaseConnectionError("it recovers")
        return real(self, run_id, token)

    monkeypatch.setattr(Ledger, "has_published", away)
    with opened(practice) as etl:
        summary = etl.run(all=True, publish="together", strict=True)

    assert (summary.exit_code, summary.published and summary.published.tables) == (0, 3)
    assert all(one.changes for one in summary.outcomes)
    assert different(practice) == []


def test_failed_restaging_is_retried(practice: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was given up is not switched: it is staged again before, once more."""
    work(practice, 1, random.Random(3))
    practice.warehouse_execute('DELETE FROM raw.patient WHERE "PatNum" BETWEEN 100 AND 120')
    real, failed = publish_together.staged_from_replica, list[int]()

    def refused(*given: Any) -> Any:
        if not failed:
            failed.append(1)
            raise DatabaseConnectionError("reset")
        return real(*given)

    monkeypatch.setattr(publish_together, "staged_from_replica", refused)
    with opened(practice) as etl:
        summary = etl.run(all=True, publish="together", strict=True)

    assert failed
    assert [one.failure for one in summary.outcomes if one.failure] == []
    assert summary.published is not None
    assert different(practice) == []


def test_a_bug_while_restaging_fails_its_table_alone(practice: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is that table's failure, and not the run's."""
    work(practice, 1, random.Random(3))
    practice.warehouse_execute('DELETE FROM raw.patient WHERE "PatNum" BETWEEN 100 AND 120')
    monkeypatch.setattr(publish_together, "staged_from_replica", lambda *given: {}["nothing"])
    with opened(practice) as etl:
        summary = etl.run(all=True, publish="together")

    assert {one.table: one.status.value for one in summary.outcomes}["patient"] == "failed"
    assert summary.published is not None
    assert summary.published.tables == 2


@pytest.mark.usefixtures("stopped")
def test_an_interrupt_between_the_targets_completes_the_replica(practice: Clinic) -> None:
    """What is published is switched at the replica as well: a run is not left between them."""
    work(practice, 1, random.Random(3))
    with opened(practice) as etl:
        summary = etl.run(all=True, publish="together")

    assert [one.failure for one in summary.outcomes if one.failure] == []
    assert summary.exit_code == 130
    assert different(practice) == []


def test_a_lost_answer_reports_published_and_failed_tables_correctly(clinic: Clinic, answer_lost: list[int]) -> None:
    """The two that were published are reported as such, the third as failed."""
    configure(clinic, **FULL_TABLES)
    clinic.create(PRACTICE)
    clinic.run("--table", "payment")
    clinic.create("UPDATE payment SET Amount = Amount + 1")
    clinic.warehouse_execute('ALTER TABLE raw.payment ADD CONSTRAINT small CHECK ("Amount" < 0) NOT VALID')
    with opened(clinic) as etl:
        summary = etl.run(all=True, publish="together")

    assert answer_lost
    reported = {one.table: one.status.value for one in summary.outcomes}
    assert reported == {"patient": "succeeded", "payment": "failed", "procedurelog": "succeeded"}
    assert summary.published is not None
    assert summary.published.tables == 2


@pytest.mark.usefixtures("stopped")
def test_an_interrupt_after_publication_fails_nothing(practice: Clinic) -> None:
    """The warehouse alone: nothing is left to be done, and nothing failed."""
    work(practice, 1, random.Random(3))
    with opened(practice) as etl:
        summary = etl.run(all=True, publish="together", to="warehouse")

    assert [one.failure for one in summary.outcomes if one.failure] == []
    assert summary.published is not None
    assert practice.warehouse("SELECT DISTINCT load_status::text FROM raw.etl_load_status") == [("success",)]


def test_a_replica_that_refuses_briefly_is_retried(practice: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the warehouse has all: what is staged is switched there, and the source is not asked again."""
    work(practice, 1, random.Random(3))
    refused: list[str] = []
    from arrowetl.replica.loader import Replica

    real = Replica.cutover

    def cut(self: Replica, plan: Any, *rest: Any) -> Any:
        if plan.name not in refused:
            refused.append(plan.name)
            raise DatabaseConnectionError("lost for a while")
        return real(self, plan, *rest)

    monkeypatch.setattr(Replica, "cutover", cut)
    with opened(practice) as etl:
        summary = etl.run(all=True, publish="together")

    assert len(refused) == 3
    assert (summary.exit_code, [one.attempts for one in summary.outcomes]) == (0, [2, 2, 2])
    assert different(practice) == []


def test_key_changes_come_last_in_the_transaction(practice: Clinic) -> None:
    """What takes a reader's place comes last in the transaction."""
    practice.create("ALTER TABLE patient DROP PRIMARY KEY, ADD PRIMARY KEY (PatNum, Owes)")
    run = practice.run("--all", "--publish", "together")

    assert run["exit_code"] == 0
    assert different(practice) == []


def test_nothing_is_published_without_changes(practice: Clinic) -> None:
    settle()
    practice.run("--all", "--publish", "together")
    assert practice.run("--all", "--publish", "together")["published"] is None


def test_emptied_staging_is_not_switched_one_by_one_either(hospital: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Staged rows that a crash emptied, as it took the lock, are switched by nobody; the next run stages them again."""
    configure(hospital, **FULL_TABLES)
    hospital.create(PRACTICE)
    assert hospital.run("--all")["exit_code"] == 0
    settle()
    hospital.create("UPDATE procedurelog SET Fee = Fee + 1000 WHERE ProcNum MOD 50 = 0")
    real, crashed = Warehouse.cutover, list[int]()

    def cut(self: Warehouse, *given: Any) -> Any:
        if not crashed:
            crashed.append(1)
            crash(hospital)
            # As after a long silence: those that are dead are not given out any more.
            self.pool.close()
        return real(self, *given)

    monkeypatch.setattr(Warehouse, "cutover", cut)
    with opened(hospital, ARROWETL_RETRY_SECONDS="1") as etl:
        summary = etl.run(all=True)

    assert crashed
    assert {one.failure.kind for one in summary.outcomes if one.failure} == {"LockLostError"}
    assert hospital.run("--all")["exit_code"] == 0
    assert different(hospital) == []
