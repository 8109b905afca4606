"""
The journey of many tables: plan them, order them, carry them, gather what came of it.

One table's failure is its own; the others go on. What happens to a table is
in `transfer`; what a person sees of it is `report`'s business, which is told
by events and by the summary returned here.
"""

from __future__ import annotations

import secrets
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from arrowetl import config, ledger, limits, plan, preflight, schema
from arrowetl.config import Settings, TablesFile
from arrowetl.errors import ArrowetlError, DataError, Interrupted
from arrowetl.ledger import Ledger
from arrowetl.model import (
    Event,
    Failure,
    Mode,
    Outcome,
    PublishedTable,
    RunPlanned,
    Status,
    Summary,
    Table,
    TableEnded,
    TablePlan,
    TableSettings,
)
from arrowetl.replica import Replica
from arrowetl.source import Source
from arrowetl.spill import Spill
from arrowetl.transfer import Servers, transfer
from arrowetl.warehouse import Warehouse


@dataclass(frozen=True)
class Request:
    """What a person asked for."""

    tables: tuple[str, ...] = ()
    category: str | None = None
    all: bool = False
    force_full: bool = False
    read_from: str = "source"
    max_workers: int = limits.workers_default


@dataclass(frozen=True)
class Planned:
    """The plans of a run in their order, and what cannot be planned."""

    plans: tuple[TablePlan, ...]
    failed: tuple[Outcome, ...]
    warnings: tuple[str, ...]


def run(settings: Settings, request: Request, tell: Callable[[Event], None]) -> Summary:
    """
    Carry the tables asked for.

    Raises:
        UsageError, ConfigurationError, DatabaseError: nothing was done.
    """
    started_at = datetime.now(UTC)
    run_id = f"{started_at:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    tables_file = config.read_tables(settings.tables_file)
    with ExitStack() as closing:
        source, replica, warehouse, book = _open(settings, request, closing)
        closing.enter_context(book.lock())
        planned = planned_tables(request, tables_file, source.catalog(), warehouse.published())
        ends = tuple(end for end in (replica, warehouse) if end is not None)
        for end in ends:
            end.open()
        book.open()
        book.begin(run_id, settings.environment, started_at)
        tell(RunPlanned(planned.plans))
        for outcome in planned.failed:
            book.record(run_id, outcome, started_at)
            tell(TableEnded(outcome))
        workers = closing.enter_context(ThreadPoolExecutor(request.max_workers, "partition"))
        servers = Servers(
            run_id,
            source,
            ends,
            book,
            workers,
            threading.Semaphore(request.max_workers),
            threading.Event(),
            tell,
        )
        outcomes, interrupted = _carry(planned.plans, servers, request.max_workers)
        summary = _summary(settings, run_id, started_at, planned, outcomes, interrupted)
        pools = [source.pool, *(end.pool for end in ends), *book.pools]
        summary = replace(summary, connections=_connections(pools))
        book.end(summary)
    return summary


def dry_run(settings: Settings, request: Request) -> Planned:
    """
    What `run` would do; nothing is written anywhere.
    """
    tables_file = config.read_tables(settings.tables_file)
    with ExitStack() as closing:
        source, _, warehouse, _ = _open(settings, request, closing)
        return planned_tables(request, tables_file, source.catalog(), warehouse.published())


def _open(settings: Settings, request: Request, closing: ExitStack) -> tuple[Source, Replica | None, Warehouse, Ledger]:
    """Reach every server the run needs, or fail before anything is done."""
    writes_replica = request.read_from == "source"
    needed = ("source", "replica", "warehouse") if writes_replica else ("replica", "warehouse")
    preflight.reach(*(settings.endpoint(name) for name in needed))
    source = Source(settings.endpoint(request.read_from))
    closing.callback(source.close)
    warehouse = Warehouse(settings.endpoint("warehouse"))
    closing.callback(warehouse.close)
    replica = None
    if writes_replica:
        preflight.refuse_same_server(settings.endpoint("source"), settings.endpoint("replica"))
        preflight.require_local_infile(settings.endpoint("replica"))
        spill = Spill(settings.spill_directory)
        closing.callback(spill.close)
        replica = Replica(settings.endpoint("replica"), spill, source.flavour())
        closing.callback(replica.close)
    book = Ledger(settings.endpoint("replica") if writes_replica else None, settings.endpoint("warehouse"))
    closing.callback(book.close)
    return source, replica, warehouse, book


def planned_tables(
    request: Request,
    tables_file: TablesFile,
    catalog: Mapping[str, Table],
    published: Mapping[str, PublishedTable],
) -> Planned:
    """
    Choose the tables, and plan each; what cannot be planned fails now, alone.

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
            plans.append(_plan(request, catalog[name], settings, published))
        except ArrowetlError as error:
            failed.append(_failed(name, category, error))
    return Planned(tuple(plan.ordered(plans)), tuple(failed), tuple(warnings))


def _plan(
    request: Request, table: Table, settings: TableSettings, published: Mapping[str, PublishedTable]
) -> TablePlan:
    if table.name in ledger.TRACKING:
        raise DataError(
            f"{table.name}: arrowetl keeps its own records under this name",
            f"exclude it: tables.{table.name}.overrides: {{exclude: true}}",
        )
    reason = "--force-full" if request.force_full else None
    return plan.table_plan(table, settings, published.get(schema.postgres_name(table.name)), reason)


def _carry(plans: tuple[TablePlan, ...], servers: Servers, max_workers: int) -> tuple[list[Outcome], bool]:
    """
    Every table through `transfer`, several at a time; Ctrl-C lets those at work end their partitions.
    """
    outcomes: list[Outcome] = []
    with _table_workers(max_workers, servers.stopping) as tables:
        pending: dict[Future[Outcome], TablePlan] = {tables.submit(_one, one, servers): one for one in plans}
        try:
            while pending:
                # A wait without end would not let a Ctrl-C through everywhere.
                done, _ = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    outcomes.append(future.result())
                    servers.tell(TableEnded(outcomes[-1]))
                    del pending[future]
        except KeyboardInterrupt:
            servers.stopping.set()
            begun = {future: one for future, one in pending.items() if not future.cancel()}
            outcomes += [future.result() for future in begun]
            stopped = Interrupted("the run was stopped before it began with this table", "run again")
            outcomes += [
                _failed(one.name, one.category, stopped) for future, one in pending.items() if future not in begun
            ]
    return outcomes, servers.stopping.is_set()


@contextmanager
def _table_workers(max_workers: int, stopping: threading.Event) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers, "table") as tables:
        try:
            yield tables
        except BaseException:
            stopping.set()
            tables.shutdown(wait=False, cancel_futures=True)
            raise


def _one(one: TablePlan, servers: Servers) -> Outcome:
    """One table, and if it fails, its failure."""
    started_at, clock = datetime.now(UTC), time.monotonic()
    try:
        if servers.stopping.is_set():
            raise Interrupted(f"{one.name}: the run was stopped", "run again")
        return transfer(one, servers)
    except ArrowetlError as error:
        outcome = _failed(one.name, one.category, error, one.reason, time.monotonic() - clock)
    except Exception as error:  # a fault of ours is a table's failure too, not the night's
        unexpected = DataError(
            f"{one.name}: unexpected {_where(error)}", "this is a fault in arrowetl; please report it"
        )
        outcome = _failed(one.name, one.category, unexpected, one.reason, time.monotonic() - clock)
    # The end that cannot be told of a failure is most likely the cause of it.
    with suppress(ArrowetlError):
        servers.ledger.record(servers.run_id, outcome, started_at)
    return outcome


def _where(error: Exception) -> str:
    """What was raised, and the line that did; not its text, which might hold a row's values."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"


def _failed(table: str, category: str, error: ArrowetlError, reason: str = "", seconds: float = 0.0) -> Outcome:
    message = error.message if error.message.startswith(table) else f"{table}: {error.message}"
    return Outcome(
        table=table,
        category=category,
        mode=Mode.FULL,
        reason=reason,
        status=Status.FAILED,
        seconds=seconds,
        failure=Failure(error.kind, message, error.remedy),
    )


def _summary(
    settings: Settings,
    run_id: str,
    started_at: datetime,
    planned: Planned,
    outcomes: list[Outcome],
    interrupted: bool,
) -> Summary:
    everything = sorted([*planned.failed, *outcomes], key=lambda outcome: outcome.table)
    failed = any(outcome.status is Status.FAILED for outcome in everything)
    return Summary(
        run_id=run_id,
        environment=settings.environment,
        started_at=started_at,
        ended_at=datetime.now(UTC),
        outcomes=tuple(everything),
        connections={},
        exit_code=Interrupted.exit_code if interrupted else int(failed),
        warnings=planned.warnings,
        interrupted=interrupted,
    )


def _connections(pools: list[Any]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {name: {"opened": 0, "peak": 0} for name in ("source", "replica", "warehouse")}
    for pool in pools:
        counts[pool.endpoint.name]["opened"] += pool.opened
        counts[pool.endpoint.name]["peak"] += pool.peak
    return counts
