"""
The journey of many tables: plan them, order them, carry them, gather what came of it.

One table's failure is its own; the others go on. What happens to a table is
in `transfer`; what a person sees of it is `report`'s business, which is told
by events and by the summary returned here.
"""

from __future__ import annotations

import secrets
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from arrowetl import config, ledger, limits, overrides, plan, preflight, schema, workers
from arrowetl.config import Settings, TablesFile
from arrowetl.errors import ArrowetlError, DataError, Interrupted, KeyNotHeldError
from arrowetl.ledger import Ledger
from arrowetl.model import Mode, PublishedTable, Route, Table, TablePlan
from arrowetl.outcome import (
    Coercion,
    ConnectionCount,
    Event,
    Failure,
    Outcome,
    RunPlanned,
    Status,
    Summary,
    TableEnded,
)
from arrowetl.spill import run_directory
from arrowetl.transfer import Shared, transfer
from arrowetl.workers import Workers


@dataclass(frozen=True)
class Request:
    """What a person asked for."""

    tables: tuple[str, ...] = ()
    category: str | None = None
    all: bool = False
    force_full: bool = False
    read_from: str = "source"
    max_workers: int = limits.workers_default
    executor: str = "thread"


@dataclass(frozen=True)
class Planned:
    """The plans of a run in their order, and what cannot be planned."""

    plans: tuple[TablePlan, ...]
    failed: tuple[Outcome, ...]
    warnings: tuple[str, ...]
    remembered: Mapping[str, tuple[Coercion, ...]] = field(default_factory=dict)
    """Table → what the last run of it that succeeded had to coerce."""


def run(settings: Settings, request: Request, tell: Callable[[Event], None]) -> Summary:
    """
    Carry the tables asked for.

    Raises:
        UsageError, ConfigurationError, DatabaseError: nothing was done.
    """
    started_at = datetime.now(UTC)
    run_id = f"{started_at:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    tables_file = config.read_tables(settings.tables_file)
    with ExitStack() as held:
        route = held.enter_context(_route(settings, request, run_id))
        servers = workers.servers_of(route)
        book = Ledger(route.replica, route.warehouse)
        held.callback(book.close)
        held.enter_context(book.lock())
        planned = _planned(request, tables_file, route, book)
        _adopt(settings.tables_file, planned.plans)
        for end in servers.ends:
            end.open()
        book.open()
        book.begin(run_id, settings.environment, started_at)
        tell(RunPlanned(planned.plans))
        for outcome in planned.failed:
            book.record(run_id, outcome, started_at)
            tell(TableEnded(outcome))
        hands = Workers(request.executor, request.max_workers)
        held.callback(hands.close)
        shared = Shared(route, servers, book, planned.remembered, hands, tell)
        outcomes = _carry(planned.plans, shared, request.max_workers)
        connections = chain(servers.connections(), book.connections(), *hands.connections.values())
        summary = _summary(
            settings, run_id, started_at, [*planned.failed, *outcomes], planned.warnings, _together(connections),
            hands.stopping.is_set(),
        )  # fmt: skip
        # A warehouse that was lost in the middle is told by its tables; the summary is worth more than this line of it.
        with suppress(ArrowetlError):
            book.end(summary)
    return summary


def dry_run(settings: Settings, request: Request) -> Planned:
    """
    What `run` would do; nothing is written anywhere.
    """
    tables_file = config.read_tables(settings.tables_file)
    with _route(settings, request, "dry run") as route, closing(Ledger(None, route.warehouse)) as book:
        return _planned(request, tables_file, route, book)


@contextmanager
def _route(settings: Settings, request: Request, run_id: str) -> Iterator[Route]:
    """
    The way from server to server, for as long as it is used.

    Raises:
        ConfigurationError, DatabaseError: some server cannot be reached, or is not one to write to; nothing was done.
    """
    read, warehouse = settings.endpoint(request.read_from), settings.endpoint("warehouse")
    replica = settings.endpoint("replica") if request.read_from == "source" else None
    preflight.reach(*(endpoint for endpoint in (read, replica, warehouse) if endpoint))
    with ExitStack() as held:
        spills = None
        if replica:
            preflight.refuse_same_server(read, replica)
            preflight.require_local_infile(replica)
            spills = held.enter_context(run_directory(settings.spill_directory))
        route = Route(run_id, read, replica, warehouse, spills)
        held.callback(workers.leave, route)
        yield route


def _planned(request: Request, tables_file: TablesFile, route: Route, book: Ledger) -> Planned:
    servers = workers.servers_of(route)
    return planned_tables(
        request, tables_file, servers.source.catalog(), servers.warehouse.published(), book.remembered(),
        servers.source.misfits,
    )  # fmt: skip


def planned_tables(
    request: Request,
    tables_file: TablesFile,
    catalog: Mapping[str, Table],
    published: Mapping[str, PublishedTable],
    remembered: Mapping[str, tuple[Coercion, ...]],
    misfits: Callable[[Table, Mapping[str, str]], dict[str, int]],
) -> Planned:
    """
    Choose the tables, and plan each; what cannot be planned fails now, alone.

    Args:
        misfits: asks the source how many values of a table's columns some conditions are true of.

    Raises:
        UsageError: a table that was named is not there.
    """
    if request.read_from == "replica":
        catalog = {name: table for name, table in catalog.items() if name not in ledger.TRACKING}
    unlisted, vanished = plan.unlisted(catalog, tables_file.tables)
    warnings = []
    if unlisted:
        warnings.append(f"not in tables.yml, carried in full: {', '.join(unlisted)}; `arrowetl analyze` adds them")
    if vanished:
        warnings.append(
            f"in tables.yml, but no more at the {request.read_from}: {', '.join(vanished)}; left as they are"
        )
    chosen = config.chosen_tables(request.tables, catalog) if request.tables else tuple(catalog)
    plans, failed = [], []
    for name in chosen:
        settings = tables_file.of(name)
        if settings.excluded:
            if request.tables:
                warnings.append(f"{name}: excluded in tables.yml")
            continue
        category = settings.get("performance_category") or plan.category_of(catalog[name].rows)
        if request.category and category != request.category:
            continue
        try:
            _refuse_tracking(name)
            there = published.get(schema.postgres_name(name))
            known = remembered.get(name)
            doubts = plan.doubts(catalog[name], settings, there) if known is None else {}
            counts = misfits(catalog[name], doubts) if doubts else {}
            reason = "--force-full" if request.force_full else None
            plans.append(plan.table_plan(catalog[name], settings, there, reason, known, counts))
        except ArrowetlError as error:
            failed.append(_failed(name, category, error))
    return Planned(tuple(plan.ordered(plans)), tuple(failed), tuple(warnings), remembered)


def _refuse_tracking(table: str) -> None:
    if table in ledger.TRACKING:
        raise DataError(
            f"{table}: arrowetl keeps its own records under this name",
            f"exclude it: tables.{table}.overrides: {{exclude: true}}",
        )


def _adopt(path: Path, plans: Iterable[TablePlan]) -> None:
    """
    Record as overrides what is kept of tables that somebody else made.

    Raises:
        ConfigurationError: tables.yml cannot be written; nothing was done.
    """
    adopted = {plan.name: plan.adopted for plan in plans if plan.adopted}
    if adopted:
        overrides.record_types(path, adopted)


def _carry(plans: tuple[TablePlan, ...], shared: Shared, max_workers: int) -> list[Outcome]:
    """
    Every table through `transfer`, several at a time; Ctrl-C lets those at work end their partitions.
    """
    outcomes: list[Outcome] = []
    with _table_threads(max_workers, shared.workers) as threads:
        pending: dict[Future[Outcome], TablePlan] = {threads.submit(_one, one, shared): one for one in plans}
        try:
            while pending:
                # A wait without end would not let a Ctrl-C through everywhere.
                done, _ = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    del pending[future]
                    outcomes.append(future.result())
                    shared.tell(TableEnded(outcomes[-1]))
        except KeyboardInterrupt:
            shared.workers.stopping.set()
            begun = {future: one for future, one in pending.items() if not future.cancel()}
            outcomes += [future.result() for future in begun]
            stopped = Interrupted("the run was stopped before it began with this table", "run again")
            outcomes += [
                _failed(one.name, one.category, stopped) for future, one in pending.items() if future not in begun
            ]
    return outcomes


@contextmanager
def _table_threads(max_workers: int, hands: Workers) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers, "table") as threads:
        try:
            yield threads
        except BaseException:
            hands.stopping.set()
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _one(one: TablePlan, shared: Shared) -> Outcome:
    """One table, and if it fails, its failure."""
    started_at, clock = datetime.now(UTC), time.monotonic()
    try:
        if shared.workers.stopping.is_set():
            raise Interrupted(f"{one.name}: the run was stopped", "run again")
        try:
            return transfer(one, shared)
        except KeyNotHeldError:
            return transfer(plan.without_key(one), shared)
    except ArrowetlError as error:
        outcome = _failed(one.name, one.category, error, one.reason, time.monotonic() - clock)
    except Exception as error:  # a fault of ours is a table's failure too, not the night's
        unexpected = DataError(
            f"{one.name}: unexpected {_where(error)}", "this is a fault in arrowetl; please report it"
        )
        outcome = _failed(one.name, one.category, unexpected, one.reason, time.monotonic() - clock)
    # The end that cannot be told of a failure is most likely the cause of it.
    with suppress(ArrowetlError):
        shared.ledger.record(shared.route.run_id, outcome, started_at)
    return outcome


def _where(error: Exception) -> str:
    """What was raised, and the line that did; not its text, which might hold a row's values."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"


def _failed(table: str, category: str, error: ArrowetlError, reason: str = "", seconds: float = 0.0) -> Outcome:
    return Outcome(
        table=table,
        category=category,
        mode=Mode.FULL,
        reason=reason,
        status=Status.FAILED,
        seconds=seconds,
        failure=Failure.of(error, table),
    )


def _summary(
    settings: Settings,
    run_id: str,
    started_at: datetime,
    outcomes: Iterable[Outcome],
    warnings: tuple[str, ...],
    connections: Mapping[str, Mapping[str, int]],
    interrupted: bool,
) -> Summary:
    everything = sorted(outcomes, key=lambda outcome: outcome.table)
    failed = any(outcome.status is Status.FAILED for outcome in everything)
    return Summary(
        run_id=run_id,
        environment=settings.environment,
        started_at=started_at,
        ended_at=datetime.now(UTC),
        outcomes=tuple(everything),
        exit_code=Interrupted.exit_code if interrupted else int(failed),
        connections=connections,
        warnings=warnings,
        interrupted=interrupted,
    )


def _together(counts: Iterable[ConnectionCount]) -> Mapping[str, Mapping[str, int]]:
    """Server's name → connections of all pools and processes; their peaks may not have been at the same moment."""
    sums = {name: {"opened": 0, "peak": 0} for name in ("source", "replica", "warehouse")}
    for one in counts:
        sums[one.endpoint]["opened"] += one.opened
        sums[one.endpoint]["peak"] += one.peak
    return sums
