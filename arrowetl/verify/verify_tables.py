"""
Source = replica = warehouse, or which rows and columns differ.

Many tables through `verify_table`, and the receipt of what was found.
No table is changed; `repair` reloads what differs.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from arrowetl import preflight
from arrowetl.config.env import Settings
from arrowetl.config.table_names import chosen_tables
from arrowetl.config.tables_yml import read_tables
from arrowetl.errors import ArrowetlError, unexpected
from arrowetl.model.connection import SERVERS
from arrowetl.model.events import Event, TableDone, TablesChosen
from arrowetl.model.humanize import number_of
from arrowetl.model.plan import Table
from arrowetl.model.result import Failure
from arrowetl.model.run_options import VerifyOptions
from arrowetl.model.state import NO_STATE, TableState
from arrowetl.model.verdict import Verdict, VerifyResult
from arrowetl.pipeline import plan_run
from arrowetl.source.reader import Source
from arrowetl.state import receipt
from arrowetl.state.ledger import TRACKING, Ledger
from arrowetl.state.receipt_store import Archive, versions
from arrowetl.verify import since_last
from arrowetl.verify.verify_table import VerifyContext, audit
from arrowetl.warehouse.loader import Warehouse


def verify(
    settings: Settings,
    options: VerifyOptions,
    on_event: Callable[[Event], None] = lambda event: None,
) -> VerifyResult:
    """
    Compare the tables asked for, several at a time; what was found is written down at the warehouse, with a receipt.

    Raises:
        UsageError: a table that was named is not there.
        DatabaseConnectionError: one of the servers cannot be reached.
    """
    started_at = datetime.now(UTC)
    run_id = f"verify-{started_at:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    with _open_context(settings, options) as context, ThreadPoolExecutor(options.max_workers) as pool:
        catalog = {name: table for name, table in context.source.catalog().items() if name not in TRACKING}
        chosen = tuple(
            name
            for name in chosen_tables(options.tables, catalog, exclude=options.exclude)
            if name in options.tables or not context.tables_file.of_table(catalog[name]).excluded
        )
        on_event(TablesChosen(len(chosen), sum(catalog[name].rows for name in chosen)))

        def one(name: str) -> Verdict:
            verdict = _one(catalog[name], context, options)
            on_event(TableDone(name, verdict.rows.get("source") or 0, _problem(verdict)))
            return verdict

        # The largest first, so that none is the last one alone.
        largest_first = sorted(chosen, key=lambda name: -catalog[name].data_bytes)
        found = {verdict.table: verdict for verdict in pool.map(one, largest_first)}
        verdicts = _still(tuple(found[name] for name in chosen), context)
        missing = () if options.tables else _missing(settings, context, catalog)
        warnings = (plan_run.missing_words("source", missing, len(catalog)),) if missing else ()
        result = VerifyResult(
            run_id,
            verdicts,
            warnings=warnings,
            missing=missing,
            has_replica=context.replica is not None,
            about=settings.identity,
            started_at=started_at,
            ended_at=datetime.now(UTC),
        )
        return _signed(settings, result, context, started_at)


def _problem(verdict: Verdict) -> str:
    if verdict.failure:
        return verdict.failure.message
    return "" if verdict.verdict == "equal" else f"{verdict.table}: {number_of(verdict.differences, 'difference')}"


def _still(verdicts: tuple[Verdict, ...], context: VerifyContext) -> tuple[Verdict, ...]:
    """The verdicts, but for tables that a run changed meanwhile: of these nothing is known."""
    after = _states(context.ledger)
    return tuple(
        verdict
        if _versions(context.states, verdict.table) == _versions(after, verdict.table)
        else Verdict(
            verdict.table, "failed", failure=Failure("VerificationError", f"{verdict.table}: a run changed it while it "
            "was compared", "wait for the run to end, and verify again"),
        )
        for verdict in verdicts
    )  # fmt: skip


def _versions(states: Mapping[str, TableState], table: str) -> tuple[str | None, str | None]:
    state = states.get(table, TableState())
    return state.replica.version, state.warehouse.version


def _states(ledger: Ledger) -> dict[str, TableState]:
    """What is recorded of each table at both targets."""
    at_replica, at_warehouse = ledger.records()
    return {
        name: TableState(at_replica.get(name, NO_STATE), at_warehouse.get(name, NO_STATE))
        for name in at_replica.keys() | at_warehouse.keys()
    }


def _missing(settings: Settings, context: VerifyContext, catalog: Mapping[str, Table]) -> tuple[str, ...]:
    """The tables that were there, and cannot be compared with what the source shows now."""
    return tuple(
        plan_run.missing(context.ledger.records(), context.tables_file, catalog, settings.endpoints["source"].namespace)
    )


def _signed(settings: Settings, found: VerifyResult, context: VerifyContext, started_at: datetime) -> VerifyResult:
    """With a receipt kept at the warehouse; where that cannot be, the verdicts are returned all the same."""
    ended_at = datetime.now(UTC)
    records = {name: state.warehouse for name, state in context.states.items()}
    known = since_last.known_of(found.tables, context.states, context.replica is not None, found.run_id, ended_at)
    differing = {v.table: _versions(context.states, v.table)[1] for v in found.tables if v.verdict != "equal"}

    def said(previous: str | None) -> dict[str, Any]:
        return receipt.of_verification(
            found, settings.environment, (started_at, ended_at), records, versions_of, previous
        )

    archive = Archive(context.ledger.warehouse)
    try:
        if run_id := archive.broken():
            words = f"receipt {run_id} was altered since it was written, or the one before it is missing"
            found = replace(found, warnings=(*found.warnings, words))
        versions_of = _versions_of(context)
        return replace(found, receipt=archive.keep(found.run_id, said, known, differing))
    except ArrowetlError as error:
        return replace(found, warnings=(*found.warnings, f"no receipt could be kept: {error.message}"))


def _versions_of(context: VerifyContext) -> dict[str, str]:
    servers = {one.name: one.version for one in (context.source, context.replica, context.warehouse) if one}
    return {**versions(), **servers}


@contextmanager
def _open_context(settings: Settings, options: VerifyOptions) -> Iterator[VerifyContext]:
    tables_file = read_tables(settings.tables_file, settings.chosen)
    at_replica = settings.endpoint("replica") if settings.has_replica else None
    preflight.reach(*filter(None, (settings.endpoint("source"), at_replica, settings.endpoint("warehouse"))))
    with ExitStack() as held:
        source = Source(settings.endpoint("source"), tables_file.choices)
        replica = Source(at_replica, mask_key=None) if at_replica else None
        warehouse = Warehouse(settings.endpoint("warehouse"))
        held.callback(source.close)
        held.callback(warehouse.close)
        if replica:
            held.callback(replica.close)
        asking = held.enter_context(ThreadPoolExecutor(len(SERVERS) * options.max_workers, "asking"))
        ledger = held.enter_context(closing(Ledger(at_replica, settings.endpoint("warehouse"))))
        known = Archive(ledger.warehouse).last_verifications() if options.changed else {}
        yield VerifyContext(
            source=source,
            replica=replica,
            warehouse=warehouse,
            at_replica=replica.catalog() if replica else {},
            published=warehouse.published(),
            tables_file=tables_file,
            asking=asking,
            ledger=ledger,
            states=_states(ledger),
            known=known,
        )


def _one(table: Table, context: VerifyContext, options: VerifyOptions) -> Verdict:
    """One table, and if it cannot be compared, why."""
    began = time.monotonic()
    try:
        verdict = audit(table, context, options)
    except ArrowetlError as error:
        verdict = Verdict(table.name, "failed", failure=Failure.of(error, table.name))
    except Exception as error:  # a bug fails this table, not all of them
        verdict = Verdict(table.name, "failed", failure=Failure.of(unexpected(table.name, error)))
    return replace(verdict, seconds=time.monotonic() - began)
