"""
One run over many tables: plan them, order them, load them, gather the results.

One table's failure is its own; the others go on. What happens to a table is
in `load_table`; `cli` and `pages` show it, from
events and from the summary returned here.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from arrowetl import drivers, preflight
from arrowetl.config import env
from arrowetl.config.env import WEBHOOK_VARIABLE, Settings
from arrowetl.config.tables_yml import TablesFile, read_tables
from arrowetl.errors import ArrowetlError, ConfigurationError, DatabaseError
from arrowetl.model import document as documents
from arrowetl.model.connection import Route
from arrowetl.model.events import Event, RunBegan, RunEnded, RunPlanned, Step, StepBegan, TableEnded
from arrowetl.model.judgement import Facts, judge
from arrowetl.model.plan import Mode, TablePlan
from arrowetl.model.result import ConnectionCount, Failure, Flag, Outcome, Published, Status, Summary
from arrowetl.model.run_options import RunOptions
from arrowetl.model.state import TableState
from arrowetl.monitoring import flags, webhook
from arrowetl.pipeline import plan_run
from arrowetl.pipeline.load_table import stage_for_warehouse
from arrowetl.pipeline.load_tables import TableRunner, is_up_to_date, load_tables, skipped
from arrowetl.pipeline.plan_run import Planned, refuse_unknown_tables
from arrowetl.pipeline.publish_together import publish
from arrowetl.pipeline.retry import Retries
from arrowetl.planning import estimate
from arrowetl.planning.connection_budget import share_connections
from arrowetl.replica.spill import run_directory
from arrowetl.state import history_sql, receipt
from arrowetl.state.ledger import Ledger, is_there
from arrowetl.state.receipt_store import Archive, versions
from arrowetl.workers import jobs
from arrowetl.workers.jobs import Servers
from arrowetl.workers.pool import RunContext, Workers, WorkerShare


def run(
    settings: Settings, options: RunOptions, on_event: Callable[[Event], None], share: WorkerShare | None = None
) -> Summary:
    """
    Load the tables asked for.

    Args:
        share: of the workers, where others run at the same time.

    Raises:
        UsageError, ConfigurationError, DatabaseError: nothing was done.
    """
    started_at = datetime.now(UTC)
    run_id = _run_id(started_at)
    tables_file = read_tables(settings.tables_file, settings.chosen)
    on_event(RunBegan(run_id))
    with ExitStack() as held:
        on_event(StepBegan(Step.REACH))
        route = held.enter_context(opened_route(settings, options, tables_file, run_id))
        servers = jobs.servers_of(route)
        ledger = ledger_of(route)
        held.callback(ledger.close)
        on_event(StepBegan(Step.LOCK))
        held.enter_context(_alone(options, servers, ledger, run_id))
        on_event(StepBegan(Step.PLAN))
        planned = plan_run.planned(options, tables_file, route, ledger)
        workers = Workers.of(route, options.max_workers, planned.pace, share)
        held.callback(workers.close)
        if not settings.chosen:
            _adopt(settings.tables_file, planned.plans)
        on_event(StepBegan(Step.PREPARE))
        _prepare(planned, servers, ledger)
        ledger.begin(run_id, settings.environment, started_at, len(planned.plans) + len(planned.failed))
        on_event(RunPlanned(planned.plans))
        unplanned, current = _ended_at_once(planned, ledger, run_id, started_at, options.read_from == "source")
        for outcome in (*unplanned, *current):
            on_event(TableEnded(outcome))
        context = RunContext(
            route=route,
            servers=servers,
            ledger=ledger,
            states=planned.states,
            known_coercions=planned.known_coercions,
            workers=workers,
            on_event=on_event,
            compared=options.compared,
        )
        work = tuple(plan for plan in planned.plans if not is_up_to_date(plan))
        runner = _runner(context, tables_file, settings, options)
        outcomes, published = _load_all(work, runner, options, [outcome.table for outcome in unplanned])
        connections = chain(jobs.connections_of(route), ledger.connections(), *workers.connections.values())
        everything = [_flagged(one, planned, tables_file) for one in (*unplanned, *current, *outcomes)]
        interrupted, now = workers.stopping.is_set(), datetime.now(UTC)
        begun = Summary(run_id, settings.environment, started_at, now, interrupted=interrupted, about=settings.identity)
        summary = _judged(begun, planned, options, everything, _left_behind(planned, everything, tables_file))
        warnings = (*summary.warnings, *workers.warnings)
        summary = replace(summary, warnings=warnings, connections=_together(connections), published=published)
        on_event(StepBegan(Step.RECORD))
        # If the warehouse was lost in between, its tables report it; the summary is worth more than this line of it.
        with suppress(ArrowetlError):
            ledger.finish(summary, workers.learned, options.route_label, _makespan(work, outcomes, options.max_workers))
        on_event(StepBegan(Step.SIGN))
        summary = _signed(summary, ledger, route)
    on_event(StepBegan(Step.NOTIFY))
    summary = _notified(settings, summary, tables_file)
    on_event(RunEnded(summary.exit_code, summary.seconds))
    return summary


def _runner(context: RunContext, tables_file: TablesFile, settings: Settings, options: RunOptions) -> TableRunner:
    def planned_again(name: str) -> Planned:
        only = replace(options, tables=(name,), category=None, all=False, exclude=())
        return plan_run.planned(only, tables_file, context.route, context.ledger)

    return TableRunner(context, tables_file.choices, Retries(settings.retries, settings.retry_seconds), planned_again)


@contextmanager
def _alone(options: RunOptions, servers: Servers, ledger: Ledger, run_id: str) -> Iterator[None]:
    """With the run's locks, and alone in switching tables: before anything is read that another run may change."""
    with ledger.locks.lock(run_id):
        refuse_unknown_tables(options, servers.source)
        ledger.open()
        ledger.locks.take(run_id)
        yield


def _prepare(planned: Planned, servers: Servers, ledger: Ledger) -> None:
    """Open the targets for what is planned, without leftovers of a killed run."""
    # Else what is staged there may be the work of the run that has the lock now.
    ledger.locks.require_lock()
    full = [plan.name for plan in planned.plans if plan.stages_all_rows]
    for target in servers.targets:
        target.open(full)


def _load_all(
    work: Sequence[TablePlan], runner: TableRunner, options: RunOptions, unplanned: Sequence[str]
) -> tuple[list[Outcome], Published | None]:
    """What came of all tables that something was to be done with; and what was published together, if that was."""
    on_event = runner.context.on_event
    on_event(StepBegan(Step.LOAD))
    if options.publish == "each":
        results = load_tables(work, runner, options.max_workers)
        return [one for one in results if isinstance(one, Outcome)], None
    staging = replace(runner, load=stage_for_warehouse)
    staged = load_tables(work, staging, options.max_workers)
    on_event(StepBegan(Step.PUBLISH))
    return publish(staged, staging, options.max_workers, options.strict, unplanned)


def _ended_at_once(
    planned: Planned, ledger: Ledger, run_id: str, started_at: datetime, from_source: bool
) -> tuple[list[Outcome], list[Outcome]]:
    """Tables that cannot be planned, and those that are proven current, both written down as what they are."""
    unplanned = [replace(outcome, started_at=started_at) for outcome in planned.failed]
    for outcome in unplanned:
        ledger.failed(run_id, outcome)
    current = [skipped(one, planned, started_at) for one in planned.plans if is_up_to_date(one)]
    ledger.skipped(run_id, current, from_source)
    return unplanned, current


def _signed(summary: Summary, ledger: Ledger, route: Route) -> Summary:
    """The summary, once a receipt of it is kept at the warehouse, where that can be done."""
    try:
        _sign(summary, ledger, route)
    except ArrowetlError as error:
        return replace(summary, warnings=(*summary.warnings, f"no receipt could be kept: {error.message}"))
    return summary


def _sign(summary: Summary, ledger: Ledger, route: Route) -> None:
    servers = jobs.servers_of(route)
    there = {servers.source.name: servers.source.version, **{target.name: target.version for target in servers.targets}}
    at_replica, at_warehouse = ledger.records()
    everything = {**versions(), **there}
    archive = Archive(ledger.warehouse)
    known = archive.last_verifications()
    archive.keep(
        summary.run_id,
        lambda previous: receipt.of_run(summary, {**at_replica, **at_warehouse}, known, everything, previous),
        repaired_rows=[one.table for one in summary.of(Status.SUCCEEDED) if one.mode is Mode.FULL],
    )


def _makespan(work: Sequence[TablePlan], outcomes: Iterable[Outcome], workers: int) -> float:
    took = {outcome.table: outcome.seconds for outcome in outcomes}
    return estimate.schedule([took.get(plan.name, 0.0) for plan in work], workers)[0]


def _flagged(outcome: Outcome, planned: Planned, tables_file: TablesFile) -> Outcome:
    state = planned.states.get(outcome.table, TableState())
    before = state.warehouse if state.warehouse.rows is not None else state.replica
    raised = flags.flags(outcome, tables_file.of(outcome.table), before, datetime.now(UTC))
    return replace(outcome, flags=raised) if raised else outcome


def _left_behind(planned: Planned, outcomes: Iterable[Outcome], tables_file: TablesFile) -> dict[str, Flag]:
    """Tables that the run was not asked for, and that no run has loaded for too long."""
    asked, now = {outcome.table for outcome in outcomes}, datetime.now(UTC)
    return {
        name: flag
        for name, state in planned.states.items()
        if name not in asked
        for flag in flags.overdue(name, state.warehouse.checked_at, tables_file.of(name), now)
    }


def _notified(settings: Settings, summary: Summary, tables_file: TablesFile) -> Summary:
    """The summary, once the webhook was notified of failures."""
    alerts = flags.alerts(summary, tables_file.tables) if settings.webhook else []
    if not alerts:
        return summary
    sent = webhook.document(summary.environment, settings.clinic, summary.run_id, summary.exit_code, alerts)
    wrong = webhook.post(settings.webhook, sent)
    words = f"{len(alerts)} alerts could not be sent to {WEBHOOK_VARIABLE}: {wrong}"
    return replace(summary, warnings=(*summary.warnings, words)) if wrong else summary


def report_not_started(settings: Settings, options: RunOptions, started_at: datetime, error: ArrowetlError) -> None:
    """
    Nothing was done: record that where the warehouse can be reached, or status and report would speak of an older run;
    and notify the webhook. Neither changes anything where it fails.
    """
    if error.exit_code in (ConfigurationError.exit_code, DatabaseError.exit_code):
        with suppress(ArrowetlError):
            _record_not_started(settings, options, started_at, error)
    if settings.webhook:
        alert = {"table": None, "kind": "not started", "message": error.message, "remedy": error.remedy}
        sent = webhook.document(settings.environment, settings.clinic, None, error.exit_code, [alert])
        webhook.post(settings.webhook, sent)


def _record_not_started(settings: Settings, options: RunOptions, started_at: datetime, error: ArrowetlError) -> None:
    endpoint, ended_at = settings.endpoint("warehouse"), datetime.now(UTC)
    if str(endpoint) in error.message:
        # It is what could not be reached: nobody waits for it twice.
        return
    about = documents.document(
        "run", error.exit_code, settings.identity, Failure.of(error).as_json(), run_id=_run_id(started_at),
        started_at=started_at.isoformat(), ended_at=ended_at.isoformat(),
        seconds=round((ended_at - started_at).total_seconds(), 3), totals={"tables": 0}, tables=[],
        **{"from": options.read_from, "to": options.to},
    )  # fmt: skip
    preflight.reach(endpoint)
    with closing(drivers.Postgres(endpoint)) as session:
        if is_there(session, "etl_run_history"):
            session.execute(history_sql.not_begun(endpoint.namespace, about))


def _run_id(started_at: datetime) -> str:
    return f"{started_at:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def dry_run(settings: Settings, options: RunOptions, examined: TablesFile | None = None) -> Planned:
    """
    What `run` would do; nothing is written anywhere.

    Args:
        examined: tables.yml, where it was examined, and the servers: their problems have been reported.
    """
    tables_file = examined or read_tables(settings.tables_file, settings.chosen)
    with (
        opened_route(settings, options, tables_file, "dry run", writes=examined is None) as there,
        closing(ledger_of(there)) as ledger,
    ):
        return plan_run.planned(options, tables_file, there, ledger)


def ledger_of(route: Route) -> Ledger:
    """The records at the targets of a route."""
    reads_replica = route.source.name == "replica"
    bounded = route.choices.warehouse_connections is not None or route.choices.replica_connections is not None
    return Ledger(route.source if reads_replica else route.replica, route.warehouse, route.targets, bounded)


@contextmanager
def opened_route(
    settings: Settings, options: RunOptions, tables_file: TablesFile, run_id: str, writes: bool = True
) -> Iterator[Route]:
    """
    The servers of a run, for the length of the block.

    Args:
        writes: whether the replica must take what it is sent.

    Raises:
        ConfigurationError, DatabaseError: some server cannot be reached, or is not one to write to; nothing was done.
    """
    read, warehouse = settings.endpoint(options.read_from), settings.endpoint("warehouse")
    has_replica = options.read_from == "source" and options.to != "warehouse"
    if options.read_from == "source" and (hashed := tables_file.hashed()):
        env.require_mask_key(settings, hashed)
    replica = settings.endpoint("replica") if has_replica else None
    preflight.reach(*(endpoint for endpoint in (read, replica, warehouse) if endpoint))
    with ExitStack() as held:
        spills = None
        if replica:
            preflight.refuse_same_server(read, replica)
            if writes:
                preflight.require_a_writable_replica(replica)
            spills = held.enter_context(run_directory(settings.spill_directory))
        choices = tables_file.choices
        if options.max_source_connections:
            choices = replace(choices, source_connections=options.max_source_connections)
        choices = replace(choices, executor=options.executor or choices.executor)
        shares = share_connections(choices, options.max_workers)
        # The replica's rows are masked already.
        mask_key = settings.mask_key if options.read_from == "source" else None
        found = Route(
            run_id=run_id,
            source=read,
            replica=replica,
            warehouse=warehouse,
            spill_directory=spills,
            choices=shares.choices,
            to=options.to,
            mask_key=mask_key,
            jobs_elsewhere=shares.jobs,
            credentials=settings.credentials,
        )
        held.callback(jobs.close_sessions, found)
        yield found


def _adopt(path: Path, plans: Iterable[TablePlan]) -> None:
    """
    Record in arrowetl.yml what is kept of tables that arrowetl did not make.

    Raises:
        ConfigurationError: it cannot be written; nothing was done.
    """
    adopted = {plan.name: plan.adopted for plan in plans if plan.adopted}
    if adopted:
        from arrowetl.config import arrowetl_yml, arrowetl_yml_edit

        arrowetl_yml_edit.record_types(arrowetl_yml.path_of(path), adopted)


def _judged(
    begun: Summary, planned: Planned, options: RunOptions, outcomes: Sequence[Outcome], overdue: Mapping[str, Flag]
) -> Summary:
    """The summary with what came of the tables, what was planned and asked, and the exit code of all that."""
    judgement = judge(
        Facts(
            interrupted=begun.interrupted,
            tables=len(outcomes),
            failed=sum(outcome.status is Status.FAILED for outcome in outcomes),
            missing=len(planned.missing),
            shows_nothing=planned.shows_nothing,
            flagged=options.strict and bool(overdue or not outcomes or any(one.flags for one in outcomes)),
        )
    )
    return replace(
        begun,
        outcomes=tuple(sorted(outcomes, key=lambda outcome: outcome.table)),
        overdue=overdue,
        warnings=planned.warnings,
        exit_code=judgement.exit_code,
        estimate=planned.estimate.as_json() if planned.estimate else {},
        read_from=options.read_from,
        to=options.to,
        vanished=planned.vanished,
        missing=planned.missing,
        shows_nothing=planned.shows_nothing,
    )


def _together(counts: Iterable[ConnectionCount]) -> Mapping[str, Mapping[str, int]]:
    """Server's name → connections of all pools and processes; their peaks may not have been simultaneous."""
    sums = {name: {"opened": 0, "peak": 0} for name in ("source", "replica", "warehouse")}
    for one in counts:
        sums[one.endpoint]["opened"] += one.opened
        sums[one.endpoint]["peak"] += one.peak
    return sums
