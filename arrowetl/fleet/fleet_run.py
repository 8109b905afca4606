"""
Many clinics, each with a run of its own, and workers that they share.

A clinic is a run like any other, with its servers, its locks, its history and
its exit code; here is only which of them are at work at once, and what came
of all. One that is down costs the seconds in which that is found out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from arrowetl import drivers, limits, sql
from arrowetl.api import Etl, Validation
from arrowetl.config.env import Settings
from arrowetl.config.fleet_yml import Clinic, Fleet
from arrowetl.config.table_names import chosen_names
from arrowetl.errors import ArrowetlError, Interrupted, as_arrowetl_error
from arrowetl.fleet import schema_diff
from arrowetl.fleet.fleet_settings import Sources, make_database, settings_of, with_what_is_made_later
from arrowetl.model.document import Identity, document
from arrowetl.model.events import Event
from arrowetl.model.result import Failure, Status, Summary
from arrowetl.model.run_options import RunOptions
from arrowetl.monitoring.run_history import RunReport
from arrowetl.monitoring.status import Status as WarehouseStatus
from arrowetl.pipeline.plan_run import Planned
from arrowetl.state.ledger import OURS
from arrowetl.warehouse import union_views
from arrowetl.warehouse.loader import Warehouse
from arrowetl.workers.pool import ByteBudget, WorkerShare

T = TypeVar("T")
Columns = dict[str, dict[str, str]]
"""Table → column → type."""


@dataclass(frozen=True)
class OfClinic(Generic[T]):
    """What came of one clinic: an answer, or why there is none."""

    clinic: str
    seconds: float
    answer: T | None = None
    error: ArrowetlError | None = None

    @property
    def failure(self) -> Failure | None:
        return Failure.of(self.error) if self.error else None

    def exit_code(self, of: Callable[[T], int]) -> int:
        """That of the answer, or of the error."""
        if self.error is not None:
            return self.error.exit_code
        assert self.answer is not None
        return of(self.answer)


def together(codes: Iterable[int]) -> int:
    """
    The exit code of many clinics: 0 where all are good, what all have, or 1; 130 where it was interrupted.

    >>> together([0, 0]), together([4, 4]), together([0, 4]), together([1, 130])
    (0, 4, 1, 130)
    """
    there = set(codes)
    if Interrupted.exit_code in there:
        return Interrupted.exit_code
    return there.pop() if len(there) == 1 else 1


@dataclass(frozen=True)
class FleetSummary:
    """The result of a run of all clinics."""

    environment: str
    started_at: datetime
    ended_at: datetime
    clinics: tuple[OfClinic[Summary], ...]
    differing: tuple[Mapping[str, Any], ...] = ()
    """Tables and columns that differ between clinics."""
    united: tuple[str, ...] = ()
    """The union views that exist."""
    warnings: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return (self.ended_at - self.started_at).total_seconds()

    def exit_code_of(self, one: OfClinic[Summary]) -> int:
        return one.exit_code(lambda run: run.exit_code)

    @property
    def exit_code(self) -> int:
        return together(self.exit_code_of(one) for one in self.clinics)

    def as_json(self) -> dict[str, Any]:
        """The document `fleet run --json` prints: each clinic's run as `run --json` has it."""
        runs = [one.answer for one in self.clinics if one.answer]
        more: dict[str, Any] = {
            "started_at": self.started_at.isoformat(),
            "ended_at": self.ended_at.isoformat(),
            "seconds": round(self.seconds, 3),
            "totals": {
                "clinics": len(self.clinics),
                "good": sum(self.exit_code_of(one) == 0 for one in self.clinics),
                "not_run": sum(one.answer is None for one in self.clinics),
                "tables": sum(len(run.outcomes) for run in runs),
                "failed": sum(len(run.of(Status.FAILED)) for run in runs),
                "rows_extracted": sum(outcome.rows_extracted for run in runs for outcome in run.outcomes),
            },
            "clinics": [
                {
                    "clinic": one.clinic,
                    "exit_code": self.exit_code_of(one),
                    "seconds": round(one.seconds, 3),
                    "error": one.failure and one.failure.as_json(),
                    "run": one.answer and one.answer.as_json(),
                }
                for one in self.clinics
            ],
            "differing": [dict(one) for one in self.differing],
            "union_views": list(self.united),
            "warnings": list(self.warnings),
        }
        return document("fleet run", self.exit_code, Identity(self.environment), **more)


class FleetRun:
    """
    The clinics of a fleet, with the settings of each.
    """

    def __init__(
        self,
        fleet: Fleet,
        tables_file: Path | None = None,
        only: Sequence[str] = (),
        needs: tuple[str, ...] = (),
    ) -> None:
        """
        Args:
            tables_file: that all share.
            only: names of clinics; all, where none is named.
            needs: the servers that are going to be used; all that are configured, where none is named.

        Raises:
            UsageError: a clinic that was named is not there.
            ConfigurationError: settings of some are missing or wrong, or two would read the same source.
        """
        self.fleet = fleet
        known = {clinic.name: clinic for clinic in fleet.clinics}
        names = chosen_names(tuple(only), known, "fleet.yml lists the clinics", "clinic")
        self.clinics = tuple(known[name] for name in names) or fleet.clinics
        self.settings = settings_of(fleet, self.clinics, tables_file, needs)

    def run(
        self,
        options: RunOptions,
        unite: bool = False,
        on_event: Callable[[str, Event], None] = lambda clinic, event: None,
        ended: Callable[[OfClinic[Summary]], None] = lambda one: None,
    ) -> FleetSummary:
        """
        Load all clinics, so many partitions at a time as there are workers, of which each clinic has its share.

        Args:
            options: of each clinic's run; its workers are of all together.
            unite: make the union views of all clinics, or update them.
            on_event, ended: are called, from several threads, with a clinic's events, and when it has ended.
        """
        started_at, shares = datetime.now(UTC), _WorkerShares(options.max_workers)
        options = replace(options, executor=options.executor or self.fleet.executor)
        sources = Sources()

        def load(clinic: str) -> Summary:
            settings = self.settings[clinic]
            sources.refuse_another(clinic, settings.endpoint("source"))
            if "replica" in settings.endpoints:
                make_database(settings.endpoint("replica"))
            with shares.of(clinic) as share:
                return Etl(settings).run(
                    on_event=partial(on_event, clinic), share=share, **self._asked(clinic, options)
                )

        found = self._each(load, options.max_workers, ended, shares.stop)
        schemas, warnings = self._schemas([one.clinic for one in found if one.answer])
        views: list[str] = []
        if unite and self.fleet.unite and not shares.stopped and any(one.answer for one in found):
            views, wrong = self._unite(self.fleet.unite, schemas)
            warnings = [*warnings, *wrong]
        environment = next(iter(self.settings.values())).environment
        return FleetSummary(
            environment=environment,
            started_at=started_at,
            ended_at=datetime.now(UTC),
            clinics=tuple(found),
            differing=tuple(schema_diff.differing(schemas)),
            united=tuple(views),
            warnings=tuple(warnings),
        )

    def _asked(self, clinic: str, options: RunOptions) -> dict[str, Any]:
        """Of a clinic without a replica both targets are the one that it has."""
        return vars(options) | ({"to": self.settings[clinic].targets} if options.to == "both" else {})

    def plan(self, options: RunOptions) -> list[OfClinic[Planned]]:
        """What `run` would do in each clinic."""
        return self._each(
            lambda clinic: Etl(with_what_is_made_later(self.settings[clinic])).plan(**self._asked(clinic, options)),
            options.max_workers,
        )

    def status(self) -> list[OfClinic[WarehouseStatus]]:
        """What the warehouse has of each clinic."""
        return self._each(lambda clinic: Etl(self.settings[clinic]).status(), limits.workers_default)

    def run_reports(self) -> list[OfClinic[RunReport]]:
        """The document of each clinic's last run."""
        return self._each(lambda clinic: Etl(self.settings[clinic]).run_report(), limits.workers_default)

    def validate(self, offline: bool, max_workers: int) -> list[OfClinic[Validation]]:
        """Of each clinic every problem, and what is to be known."""

        def validate(clinic: str) -> Validation:
            settings = self.settings[clinic] if offline else with_what_is_made_later(self.settings[clinic])
            found = Etl(settings).validate(offline)
            replica = settings.endpoints.get("replica")
            later = [f"{replica}: the database will be made"] if replica and replica.is_made_later else []
            return replace(found, notes=(*later, *found.notes))

        return self._each(validate, max_workers)

    def differing(self) -> list[dict[str, Any]]:
        """Tables and columns that differ between clinics, in the warehouse."""
        return schema_diff.differing(self._schemas(list(self.settings))[0])

    def _each(
        self,
        act: Callable[[str], T],
        at_once: int,
        ended: Callable[[OfClinic[T]], None] = lambda one: None,
        stop: Callable[[], None] = lambda: None,
    ) -> list[OfClinic[T]]:
        stopped = threading.Event()

        def one(clinic: Clinic) -> OfClinic[T]:
            began = time.monotonic()
            try:
                if stopped.is_set():
                    raise Interrupted("the run was stopped before it began with this clinic", "run again")
                found = OfClinic(clinic.name, 0.0, act(clinic.name))
            except Exception as error:
                found = OfClinic(clinic.name, 0.0, error=as_arrowetl_error(clinic.name, error))
            found = replace(found, seconds=time.monotonic() - began)
            ended(found)
            return found

        with ThreadPoolExecutor(max(1, min(at_once, len(self.clinics))), "clinic") as threads:
            pending = [threads.submit(one, clinic) for clinic in self.clinics]
            while True:
                try:
                    return [future.result() for future in pending]
                except KeyboardInterrupt:
                    stopped.set()
                    stop()

    def _schemas(self, clinics: Iterable[str]) -> tuple[dict[str, Columns], list[str]]:
        """Clinic → what the warehouse has of it, and what prevented others."""
        schemas, warnings = dict[str, Columns](), list[str]()
        for clinic in clinics:
            try:
                schemas[clinic] = _columns(self.settings[clinic])
            except ArrowetlError as error:
                warnings.append(f"{clinic}: {error.message}")
        return schemas, warnings

    def _unite(self, schema: str, known_columns: Mapping[str, Columns]) -> tuple[list[str], list[str]]:
        """In each warehouse that has some of the clinics."""
        made, wrong = list[str](), list[str]()
        by_place: dict[tuple[str, int, str], list[str]] = {}
        for clinic, settings in self.settings.items():
            endpoint = settings.endpoint("warehouse")
            by_place.setdefault((endpoint.host, endpoint.port, endpoint.database), []).append(clinic)
        for clinics in by_place.values():
            endpoint = self.settings[clinics[0]].endpoint("warehouse")
            schemas = {clinic: self.settings[clinic].endpoint("warehouse").namespace for clinic in clinics}
            known = [clinic.name for clinic in self.fleet.clinics]
            try:
                there = [known_columns.get(clinic) or _columns(self.settings[clinic]) for clinic in clinics]
                tables = sorted({table for columns in there for table in columns})
                with closing(drivers.Postgres(endpoint)) as session:
                    views, problems = union_views.unite(session, schema, tables, schemas, known)
            except ArrowetlError as error:
                views, problems = [], [f"{schema}: {error.message}"]
            made += [f"{schema}.{view}" for view in views]
            wrong += problems
        return made, wrong


@dataclass
class _WorkerShares:
    """Which clinics are at work, and how many of the workers each has: as many as any other, and one at least."""

    workers: int
    at_work: dict[str, WorkerShare] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopped: bool = False
    budget: ByteBudget = field(default_factory=lambda: ByteBudget(limits.bytes_in_flight_max))

    @contextmanager
    def of(self, clinic: str) -> Iterator[WorkerShare]:
        share = WorkerShare(1, self.budget)
        with self.lock:
            self.at_work[clinic] = share
            if self.stopped:
                share.stopping.set()
            self._share_out()
        try:
            yield share
        finally:
            with self.lock:
                del self.at_work[clinic]
                self._share_out()

    def stop(self) -> None:
        with self.lock:
            self.stopped = True
            for share in self.at_work.values():
                share.stopping.set()

    def _share_out(self) -> None:
        for number, share in enumerate(self.at_work.values()):
            share.allow(share_of(number, len(self.at_work), self.workers))


def share_of(number: int, clinics: int, workers: int) -> int:
    """
    How many workers one of some clinics has; those that came first have what does not go even.

    >>> [share_of(number, 3, 8) for number in range(3)], share_of(0, 9, 8)
    ([3, 3, 2], 1)
    """
    even, rest = divmod(workers, clinics)
    return max(1, even + (number < rest))


def _columns(settings: Settings) -> Columns:
    """As the warehouse has a clinic's."""
    with closing(Warehouse(settings.endpoint("warehouse"))) as warehouse:
        return {
            table: dict(there.columns)
            for table, there in warehouse.published().items()
            if there.kind == "table" and table not in OURS and not table.startswith(sql.OURS)
        }
