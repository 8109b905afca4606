"""
Which tables a run is about, and a plan for each: catalog, tables.yml, the targets' tables, what is recorded.

It asks the servers and writes nothing; what is decided about a table is
decided by `table_plan` and `sync_mode`, which are pure. `run` loads what is planned
here, and `run --dry-run` shows it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from arrowetl import limits, sql
from arrowetl.config.table_names import chosen_tables
from arrowetl.config.tables_yml import TablesFile
from arrowetl.errors import ArrowetlError
from arrowetl.model.connection import Route
from arrowetl.model.plan import LoadKind, Mode, PublishedTable, Table, TablePlan
from arrowetl.model.result import Coercion, Failure, Outcome, Status
from arrowetl.model.run_options import RunOptions
from arrowetl.model.state import NO_STATE, TableState, TargetState
from arrowetl.pipeline import replica_state
from arrowetl.planning import estimate, evidence, refusals, sync_mode, table_plan, validation
from arrowetl.planning.estimate import Estimate, History
from arrowetl.planning.pacing import Pace
from arrowetl.planning.sync_mode import NO_FACTS, RunConditions
from arrowetl.source.reader import Source
from arrowetl.state.ledger import TRACKING, Ledger
from arrowetl.state.receipt_store import Archive
from arrowetl.types import mapping, masking
from arrowetl.workers import jobs


@dataclass(frozen=True)
class Planned:
    """The plans of a run in their order, and what cannot be planned."""

    plans: tuple[TablePlan, ...]
    failed: tuple[Outcome, ...]
    warnings: tuple[str, ...]
    states: Mapping[str, TableState] = field(default_factory=dict)
    known_coercions: Mapping[str, tuple[Coercion, ...]] = field(default_factory=dict)
    """Table → what the last run of it that succeeded had to coerce."""
    pace: Pace | None = None
    """What the last run on the same route learned."""
    estimate: Estimate | None = None
    """How long it will take."""
    shows_nothing: bool = False
    """Whether the source shows no table."""
    vanished: tuple[str, ...] = ()
    """Tables that tables.yml or a record names, and what is read has not, or does not show to this account."""
    missing: tuple[str, ...] = ()
    """Those of them that were there."""


def refuse_unknown_tables(options: RunOptions, source: Source) -> None:
    """
    Before anything is written anywhere.

    Raises:
        UsageError: a table that was named is not there.
    """
    if options.tables or options.exclude:
        chosen_tables(options.tables, source.catalog(), exclude=options.exclude)


def planned(options: RunOptions, tables_file: TablesFile, route: Route, ledger: Ledger) -> Planned:
    """
    The plans of a run.

    Raises:
        UsageError: a table that was named is not there.
        DatabaseError: some server cannot be asked.
    """
    servers, from_replica = jobs.servers_of(route), options.read_from == "replica"
    with ThreadPoolExecutor(1) as background:
        # 40 ms of 400 tables' second, in which the other servers answer as well.
        asked = background.submit(replica_state.shapes_at_replica, servers, from_replica, options.to)
        catalog = servers.source.catalog()
        at_replica = servers.replica.published() if servers.replica else frozenset(catalog)
        records, differing = ledger.records(), Archive(ledger.warehouse).differing()
        shapes = asked.result()
    folds_names = bool(servers.replica and servers.replica.folds_names)
    states = states_of(catalog, at_replica, servers.warehouse.published(), *records, folds_names)
    replica = jobs.servers_of(route.from_replica).source if servers.replica and options.to != "warehouse" else None
    pace = ledger.pace(options.route_label)
    around = RunConditions(
        source=servers.source.identity,
        now=datetime.now(UTC),
        force_full=options.force_full,
        read_from=options.read_from,
        choices=tables_file.choices,
        to=options.to,
        differing=differing,
        replica_catalog=replica.catalog() if replica and _may_prove(options, differing) else {},
        seen=replica_state.seen(
            states, replica_state.by_name(catalog, shapes, folds_names), replica, options.to, not options.force_full
        ),
        folds_names=folds_names,
        partition_bytes=pace.partition_bytes if pace else limits.partition_bytes,
        mask_mark=masking.mark(route.mask_key or b""),
    )
    unmatched = tables_file.unmatched_choices({*catalog, *records[0], *records[1]}) if catalog else []
    found = planned_tables(options, tables_file, catalog, states, ledger.known_coercions(), servers.source, around)
    found = replace(found, pace=pace, warnings=(*unmatched, *found.warnings))
    found = _decided_with_measurements(found, tables_file, servers.source, replica, around)
    run = sql.run_mark(route.run_id)
    found = replace(found, plans=tuple(replace(one, run=run) for one in found.plans))
    found = _estimated(found, options.max_workers, ledger.past(options.route_label))
    if options.read_from == "source":
        now_missing = missing(records, tables_file, catalog, route.source.namespace)
        found = replace(found, missing=tuple(now_missing), vanished=tuple(sorted({*now_missing, *found.vanished})))
        if partly := replica_state.partly_shown(servers.source, [one.name for one in found.plans]):
            words = f"of {', '.join(partly)} this account is shown some columns alone: the others are not loaded"
            found = replace(found, warnings=(*found.warnings, words))
    if found.vanished:
        words = missing_words(options.read_from, found.vanished, len(catalog))
        found = replace(found, warnings=(*found.warnings, words))
    if not catalog:
        words = f"the {options.read_from} has no table that this account may read: is it the right database?"
        found = replace(found, warnings=(*found.warnings, words), shows_nothing=True)
    return found


def missing(
    records: tuple[Mapping[str, TargetState], Mapping[str, TargetState]],
    tables_file: TablesFile,
    catalog: Mapping[str, Table],
    database: str,
) -> list[str]:
    """
    Tables that existed, and that the source no longer has, or does not show: those that an analysis of it has listed,
    and those of which something is recorded, until a person has excluded them, or an analysis since has left them out.
    What somebody has only written into tables.yml, for this source or another, was never seen.
    """
    recorded = {**records[1], **records[0]}
    known = {
        name
        for name, record in recorded.items()
        if name not in TRACKING and record.version is not None and not tables_file.analyzed_since(record.checked_at)
    }
    known |= tables_file.analyzed_of(database)
    return evidence.missing((name for name in known if not tables_file.of(name).excluded), catalog)


def _estimated(found: Planned, workers: int, history: History) -> Planned:
    """The plans of a run, each with what it is expected to take."""
    each = zip(found.plans, estimate.of_tables(found.plans, history), strict=True)
    plans = tuple(replace(one, expected=expected) for one, expected in each)
    return replace(found, plans=plans, estimate=estimate.of_run(plans, workers, history))


def _may_prove(options: RunOptions, differing: Collection[str]) -> bool:
    """Whether every row of tables is to be read that may be equal at all servers."""
    return (options.force_full or bool(differing)) and options.read_from == "source" and options.to == "both"


def states_of(
    names: Mapping[str, Table],
    at_replica: frozenset[str],
    published: Mapping[str, PublishedTable],
    replica: Mapping[str, TargetState],
    warehouse: Mapping[str, TargetState],
    folds_names: bool = False,
) -> dict[str, TableState]:
    """
    Table → what exists at the targets, and what is recorded there.

    Args:
        folds_names: whether the replica takes two names for one that differ in capitals alone.
    """
    there = {sql.folded(name, folds_names) for name in at_replica}
    return {
        name: TableState(
            replica.get(name, NO_STATE),
            warehouse.get(name, NO_STATE),
            sql.folded(name, folds_names) in there,
            published.get(mapping.postgres_name(name)),
        )
        for name in names
    }


def _is_full_for_geometry(one: TablePlan) -> bool:
    """Whether it is read in full only because it cannot be compared by checksums of its rows."""
    return one.mode is Mode.FULL and any(mapping.is_geometry(field) for field in one.fields)


def _decided_with_measurements(
    found: Planned, tables_file: TablesFile, source: Source, replica: Source | None, around: RunConditions
) -> Planned:
    """The plans, once the servers were asked for the checksums of some tables, and the link was measured."""
    alone = around.to == "warehouse"
    asked = [
        one
        for one in found.plans
        if (one.stages_changes_only or alone or _is_full_for_geometry(one))
        and one.kind is not LoadKind.PROOF
        and evidence.is_checked_by_checksum(one)
    ]
    asked = [one for one in asked if _recorded_checksum(sync_mode.base(found.states[one.name], around)) is not None]
    checksums = source.checksums(asked)
    if replica and checksums:
        there = replica.checksums([one for one in asked if one.name in checksums])
        facts = {name: around.seen.get(name, NO_FACTS) for name in checksums}
        facts = {
            name: replace(one, replica_checksum=there.get(name), unanswered=one.unanswered or name not in there)
            for name, one in facts.items()
        }
        around = replace(around, seen={**around.seen, **facts})
    large_incremental = [
        one for one in found.plans if one.kind is LoadKind.INCREMENTAL and _is_large(one) and not alone
    ]
    cascades = source.cascades(one.name for one in large_incremental if one.table.engine == "InnoDB")
    large_incremental = [one for one in large_incremental if one.name not in cascades]
    around = replace(
        around, mostly_changed=source.mostly_changed(large_incremental) if large_incremental else frozenset()
    )
    found = replace(found, plans=tuple(_with_cascades(one, cascades) for one in found.plans))
    known = {*checksums, *cascades, *around.mostly_changed}
    found = replace(found, plans=_with_kinds(found, known, tables_file, around, checksums))
    if slow := [one.name for one in found.plans if _would_rather_know(one, around)]:
        around = replace(around, link=source.link())
        found = replace(found, plans=_with_kinds(found, slow, tables_file, around, checksums))
    return found


def _with_cascades(one: TablePlan, cascades: Mapping[str, tuple[str, ...]]) -> TablePlan:
    return replace(one, table=replace(one.table, cascades=cascades[one.name])) if one.name in cascades else one


def _with_kinds(
    found: Planned, names: Collection[str], tables_file: TablesFile, around: RunConditions, checksums: Mapping[str, int]
) -> tuple[TablePlan, ...]:
    """The plans, with the kinds of some tables' loads, of which more is known now, chosen again."""

    def again(one: TablePlan) -> TablePlan:
        one = replace(one, table=replace(one.table, checksum=checksums.get(one.name)))
        return sync_mode.with_kind(one, tables_file.of_table(one.table), found.states[one.name], around)

    return tuple(again(one) if one.name in names else one for one in found.plans)


def _is_large(one: TablePlan) -> bool:
    """Whether what its watermark does not show would be looked for by its keys alone."""
    return one.table.rows > limits.full_row_checksum_rows_max


def _recorded_checksum(record: TargetState) -> int | None:
    as_of = record.as_of
    return as_of.reading.checksum if as_of and as_of.reading else None


def _would_rather_know(one: TablePlan, around: RunConditions) -> bool:
    """Whether the plan depends on the speed of the connection to the source."""
    is_large = one.table.data_bytes > limits.reading_bytes_min
    return one.mode is Mode.RECONCILE and is_large and around.choices.reconcile_by == "auto"


def planned_tables(
    options: RunOptions,
    tables_file: TablesFile,
    catalog: Mapping[str, Table],
    states: Mapping[str, TableState],
    known_coercions: Mapping[str, tuple[Coercion, ...]],
    source: Source,
    around: RunConditions,
) -> Planned:
    """
    Choose the tables, and plan each; what cannot be planned fails now, alone.

    Raises:
        UsageError: a table that was named is not there.
    """
    if options.read_from == "replica":
        catalog = {name: table for name, table in catalog.items() if name not in TRACKING}
    unlisted, absent = table_plan.unlisted(catalog, tables_file.tables)
    warnings = _warnings(catalog, tables_file, unlisted)
    vanished = [name for name in absent if not tables_file.of(name).excluded and not tables_file.is_only_chosen(name)]
    held_back = [name for name in absent if tables_file.of(name).excluded or tables_file.of(name).get("columns")]
    chosen = chosen_tables(options.tables, catalog, exclude=options.exclude)
    plans, failed = [], []
    for name in chosen:
        settings = tables_file.of_table(catalog[name])
        if options.read_from == "replica":
            settings = table_plan.without_absent(settings, catalog[name], states[name].published)
        if settings.excluded:
            if name in options.tables:
                warnings += [] if tables_file.quarantined(catalog[name]) else [f"{name}: excluded in arrowetl.yml"]
            continue
        category = settings.get("performance_category") or table_plan.category_of(catalog[name].rows)
        if options.categories and category not in options.categories:
            continue
        try:
            refusals.refuse_ours(name, TRACKING)
            if around.folds_names:
                refusals.refuse_folded(name, catalog)
            refusals.refuse_other_spelling(name, held_back)
            if validation.unknown_columns(catalog[name], settings) and not source.shows_all_columns(name):
                catalog = {**catalog, name: replace(catalog[name], hides_columns=True)}
            there, known = states[name].published, known_coercions.get(name)
            values_to_check = table_plan.values_to_check(catalog[name], settings, there) if known is None else {}
            counts = source.count_unrepresentable(catalog[name], values_to_check) if values_to_check else {}
            one = table_plan.table_plan(
                catalog[name], settings, there, known, counts, around.partition_bytes, around.mask_mark
            )
            if (hidden := table_plan.not_shown(one, settings)) and not source.shows_all_columns(name):
                raise hidden
            as_of = states[name].warehouse.as_of
            if (
                as_of
                and as_of.warehouse_key_dropped
                and as_of.structure == sync_mode.structure(one)
                and one.key_postgres
            ):
                one = table_plan.warehouse_key_dropped(one)
            plans.append(sync_mode.with_kind(one, settings, states[name], around))
        except ArrowetlError as error:
            failed.append(failure_of(name, category, error))
    ordered = tuple(table_plan.ordered(plans))
    return Planned(
        plans=ordered,
        failed=tuple(failed),
        warnings=tuple(warnings),
        states=states,
        known_coercions=known_coercions,
        vanished=tuple(vanished),
    )


def _warnings(catalog: Mapping[str, Table], tables_file: TablesFile, unlisted: Sequence[str]) -> list[str]:
    """What a person should know of tables.yml, held against what is there."""
    warnings = [*tables_file.notes]
    if waiting := _quarantined(catalog, tables_file):
        warnings.append(waiting)
    unlisted_tables = [name for name in unlisted if not tables_file.of_table(catalog[name]).excluded]
    if unlisted_tables:
        warnings.append(
            f"not in tables.yml, loaded in full: {', '.join(unlisted_tables)}; `arrowetl analyze` adds them"
        )
    return warnings


def _quarantined(catalog: Mapping[str, Table], tables_file: TablesFile) -> str | None:
    """What is left out until a person has chosen."""
    places = []
    for name, table in catalog.items():
        columns = tables_file.quarantined(table)
        places += [name] if len(columns) == len(table.columns) else [f"{name}.{column}" for column in columns]
    if not places:
        return None
    return (
        f"in quarantine, and left out: {', '.join(places)}; choose of each under columns in arrowetl.yml, or remove it "
        "from the table's quarantined_columns, which `arrowetl analyze` lists"
    )


def missing_words(where: str, names: Sequence[str], seen: int) -> str:
    return (
        f"missing at the {where}: {', '.join(names)}; {len(names)} of {seen + len(names)} known tables were "
        "dropped, or are not shown to this account; the targets keep theirs. Where that is right, `arrowetl analyze` "
        "removes them from tables.yml, or {exclude: true} in arrowetl.yml does; else GRANT SELECT on them"
    )


def failure_of(table: str, category: str, error: ArrowetlError) -> Outcome:
    """The outcome of a table that failed."""
    return Outcome(
        table=table, category=category, mode=Mode.FULL, reason="", status=Status.FAILED,
        failure=Failure.of(error, table),
    )  # fmt: skip
