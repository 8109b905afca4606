"""
arrowetl from Python: one object whose methods are the commands.

The command line calls nothing else.

    with arrowetl.open() as etl:
        summary = etl.run(all=True)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arrowetl import limits, preflight
from arrowetl.config import env
from arrowetl.config.env import Settings
from arrowetl.errors import ArrowetlError, UsageError
from arrowetl.model.connection import SERVERS
from arrowetl.model.events import Event
from arrowetl.model.result import Summary
from arrowetl.model.run_options import RunOptions, refuse_unknown_destination
from arrowetl.model.verdict import Verdict, VerifyResult
from arrowetl.monitoring import status as monitoring_status
from arrowetl.monitoring.status import Status
from arrowetl.pipeline import plan_run
from arrowetl.pipeline import run as running
from arrowetl.workers.pool import WorkerShare

# What few runs need is imported where it is used: a run that finds nothing changed takes half a second.
if TYPE_CHECKING:
    from arrowetl import bench as benching
    from arrowetl.analyze import analyze_tables
    from arrowetl.monitoring import run_history


class Etl:
    """
    What `open` returns: a method for each command, with settings already read.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(
        self, on_event: Callable[[Event], None] = lambda event: None, share: WorkerShare | None = None, **options: Any
    ) -> Summary:
        """
        Load tables from the source into the replica and the warehouse.

        Args:
            on_event: is called, from several threads, with each event of the run.
            share: of the workers, where other runs are active at the same time.
            options: as `RunOptions` has them: `all=True`, `tables=["patient"]`, `publish="together"` …

        Returns:
            The summary; a table that failed is in it, and does not raise.

        Raises:
            UsageError, ConfigurationError, DatabaseError: nothing was done.
        """
        asked = _options(options)
        try:
            summary = running.run(self.settings, asked, on_event, share)
        except ArrowetlError as error:
            running.notify_not_started(self.settings, error)
            raise
        if self.settings.metrics_file:
            # If the warehouse was lost, the run's tables say so.
            with suppress(ArrowetlError):
                if wrong := monitoring_status.measured(self.settings, monitoring_status.status(self.settings)):
                    summary = replace(summary, warnings=(*summary.warnings, wrong))
        return summary

    def plan(self, **options: Any) -> plan_run.Planned:
        """What `run` would do with the same options; nothing is written anywhere."""
        return running.dry_run(self.settings, _options(options))

    def analyze(self, output: Path | None = None) -> analyze_tables.Analysis:
        """Write tables.yml from the source's catalog."""
        from arrowetl.analyze import analyze_tables

        return analyze_tables.analyze(self.settings, output)

    def suggest_phi(self) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """
        A policy to begin with for OpenDental's personal columns, as tables.yml would have it, and table → other columns
        that may be personal by their names; nothing is written.
        """
        from arrowetl.analyze import analyze_tables

        return analyze_tables.suggested_policy(self.settings)

    def verify(
        self,
        tables: Sequence[str] = (),
        deep: bool = False,
        show_values: bool = False,
        repairs: bool = False,
        changed: bool = False,
        max_workers: int = limits.workers_default,
        on_verdict: Callable[[Verdict], None] = lambda verdict: None,
    ) -> VerifyResult:
        """
        Compare the three servers, table by table.

        Args:
            tables: their names; all, where none is named.
            deep: compare every value, instead of checksums.
            show_values: show the values that differ, and not their digests alone.
            repairs: reload what differs, and compare it again.
            changed: read only what changed since the last verification; trust its checksums for the rest.
        """
        from arrowetl.verify import repair, verify_tables
        from arrowetl.verify.verify_table import VerifyOptions

        if deep and changed:
            raise UsageError("--changed trusts checksums, and --deep asks for values", "leave out one of them")
        options = VerifyOptions(tuple(tables), deep, show_values, changed)
        found = verify_tables.verify(self.settings, options, max_workers, on_verdict)
        return repair.repair(self.settings, options, found, max_workers, lambda event: None) if repairs else found

    def snapshot(
        self,
        tables: Sequence[str],
        directory: Path,
        columns: Sequence[str] = (),
        where: str = "",
        since: str = "",
        read_from: str = "warehouse",
        namespace: str = "",
    ) -> dict[str, Any]:
        """
        Write tables as Parquet files, with a manifest.

        Args:
            directory: gets a directory for each table; what an earlier snapshot wrote of it is replaced.
            columns: all, where none is named.
            where: a condition in SQL, of comparisons alone.
            since: a watermark, as the last manifest has it under `until`; only later changes are written.
            read_from: `source`, `replica` or `warehouse`.
            namespace: of the warehouse, instead of the one that is loaded.

        Raises:
            UsageError, ConfigurationError, DatabaseError, DataError: nothing that was there has been replaced.
        """
        from arrowetl.export import readers
        from arrowetl.export import snapshot as snapshots

        if read_from not in SERVERS:
            raise UsageError(f"no snapshot from {read_from!r}", f"one of: {', '.join(SERVERS)}")
        if namespace and read_from != "warehouse":
            raise UsageError("--namespace is the warehouse's", "leave out --from, or --namespace")
        asked = readers.Request(
            tables=tuple(tables),
            directory=directory,
            columns=tuple(columns),
            where=where,
            since=since,
            read_from=read_from,
            namespace=namespace,
        )
        return snapshots.snapshot(self.settings, asked)

    def bench(
        self,
        table: str,
        to: str = "both",
        seconds: float = limits.bench_seconds,
        save: bool = False,
        on_trial: Callable[[benching.Trial], None] = lambda trial: None,
    ) -> benching.Benched:
        """
        Try a table's partition sizes and numbers of workers on the real servers; nothing that is published is touched.

        Args:
            seconds: about how long it may take.
            save: write what was better than the default into the table's overrides.

        Raises:
            UsageError, ConfigurationError, DatabaseError, DataError: it could not be tried; nothing is left of it.
        """
        from arrowetl import bench as benching
        from arrowetl.config import tables_yml_edit

        refuse_unknown_destination(to)
        found = benching.bench(self.settings, table, to, seconds, on_trial)
        if save and found.chosen:
            by_hand = f"add to the overrides of {table}: {found.chosen}"
            tables_yml_edit.record(self.settings.tables_file, {table: found.chosen}, by_hand)
        return found

    def test_connections(self) -> list[preflight.Examined]:
        """Examine the three servers; what is wrong with one is part of its result."""
        return preflight.test_connections(self.settings)

    def validate(self, offline: bool = False) -> tuple[list[str], list[str]]:
        """
        Every problem of tables.yml, of the servers, and of the tables as a run would find them.

        Returns:
            The problems, of which none is good; and what a run would keep of tables that arrowetl did not make.
        """
        file, problems = preflight.validate_tables(self.settings)
        if offline:
            return problems, list(file.notes) if file else []
        problems += preflight.validate_servers(self.settings)
        if file is None:
            return problems, []
        # A missing key of masks was reported above; this finds what else is wrong.
        settings = replace(self.settings, mask_key=self.settings.mask_key or b"nobody's")
        try:
            planned = running.dry_run(settings, RunOptions(all=True), file)
        except ArrowetlError as error:
            # What prevents planning was reported above, or is the one problem to report.
            return problems or [str(error)], []
        failures = [outcome.failure for outcome in planned.failed if outcome.failure]
        problems += [f"{failure.message}\n  {failure.remedy or 'see the server'}" for failure in failures]
        notes = [f"{plan.name}: {note}" for plan in planned.plans for note in plan.notes]
        return problems, [*planned.warnings, *notes]

    def status(self, alert: bool = False, tables: Sequence[str] = ()) -> Status:
        """
        What is in the warehouse, as of when, from which run; also writes metrics, where a file for them is set.

        Args:
            alert: notify the webhook of what failed or is overdue.
            tables: their names; all, where none is named.

        Raises:
            UsageError: a table that was named was never loaded there.
        """
        found = monitoring_status.status(self.settings, tables)
        wrong = [
            None if tables else monitoring_status.measured(self.settings, found),
            monitoring_status.alert(self.settings, found) if alert else None,
        ]
        return replace(found, warnings=tuple(words for words in wrong if words))

    def run_report(self, run_id: str = "") -> run_history.RunReport:
        """
        A run's document, the runs before it, and its receipt; as `pages.run_page` takes them.

        Args:
            run_id: or what it begins with; the last run, where it is empty.

        Raises:
            UsageError: there is no such run.
        """
        from arrowetl.monitoring import run_history

        return run_history.run_report(self.settings, run_id)

    def dbt_sources(self, path: Path | None = None) -> tuple[str, list[str]]:
        """
        dbt's sources.yml of the warehouse's tables, as text; where there is a path, the file there is updated.

        Returns:
            The text; and notes on entries of tables that no longer exist, which are kept.
        """
        from arrowetl.export import dbt_sources

        return dbt_sources.dbt_sources(self.settings, path)


def _options(options: Mapping[str, Any]) -> RunOptions:
    if unknown := options.keys() - {one.name for one in fields(RunOptions)}:
        raise TypeError(f"a run has no option {', '.join(sorted(unknown))}")
    return RunOptions(**options)


@contextmanager
def open(
    settings: Settings | Mapping[str, str] | None = None,
    tables_file: Path | None = None,
    env_file: Path | None = None,
    needs: tuple[str, ...] = ("source", "replica", "warehouse"),
    wants: tuple[str, ...] = (),
) -> Iterator[Etl]:
    """
    arrowetl with its settings read.

    Args:
        settings: default from the environment; or a mapping of the same names; or a `Settings`.
        tables_file: default conf/tables.yml.
        env_file: default `.env_<environment>` next to it.
        needs: the servers that will be used; the others need no settings.
        wants: those that will be used where there are settings of them.

    Raises:
        EnvironmentError: every problem of the settings, at once.
    """
    if not isinstance(settings, Settings):
        settings = env.settings_from_environment(settings, tables_file, env_file, needs, wants)
    yield Etl(settings)
