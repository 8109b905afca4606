"""
arrowetl from Python: one object whose methods are the commands.

The command line calls nothing else.

    with arrowetl.open() as etl:
        summary = etl.run(all=True)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from arrowetl import limits, preflight
from arrowetl.config import arrowetl_yml, env
from arrowetl.config.env import Settings
from arrowetl.config.tables_yml import TablesFile
from arrowetl.errors import ArrowetlError, ValidationError
from arrowetl.model.events import Event
from arrowetl.model.result import Summary
from arrowetl.model.run_options import RunOptions, VerifyOptions, refuse_unknown_destination
from arrowetl.model.verdict import VerifyResult
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


T = TypeVar("T")
Place = str | os.PathLike[str]
"""Of a file or a directory."""


def _ignore(event: Event) -> None:
    """A listener who shows nothing."""


@dataclass(frozen=True)
class Validation:
    """What `validate` found."""

    problems: tuple[str, ...] = ()
    """In words, each with what to do about it; none is good."""
    notes: tuple[str, ...] = ()
    """What a run would keep of tables that arrowetl did not make, and other things worth knowing."""
    exit_code: int = 0


class Etl:
    """
    What `open` returns: a method for each command, with settings already read.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(
        self, on_event: Callable[[Event], None] = _ignore, share: WorkerShare | None = None, **options: Any
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
        asked, started_at = _options(self.settings, options), datetime.now(UTC)
        try:
            summary = running.run(self.settings, asked, on_event, share)
        except ArrowetlError as error:
            running.report_not_started(self.settings, asked, started_at, error)
            raise
        if self.settings.metrics_file:
            # If the warehouse was lost, the run's tables say so.
            with suppress(ArrowetlError):
                if wrong := monitoring_status.measured(self.settings, monitoring_status.status(self.settings)):
                    summary = replace(summary, warnings=(*summary.warnings, wrong))
        return summary

    def plan(self, **options: Any) -> plan_run.Planned:
        """What `run` would do with the same options; nothing is written anywhere."""
        return running.dry_run(self.settings, _options(self.settings, options))

    def analyze(
        self, output: Place | None = None, on_event: Callable[[Event], None] = _ignore
    ) -> analyze_tables.Analysis:
        """Write tables.yml from the source's catalog."""
        from arrowetl.analyze import analyze_tables

        return analyze_tables.analyze(self.settings, None if output is None else Path(output), on_event)

    def suggest_phi(self) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """
        A policy to begin with for OpenDental's personal columns, as arrowetl.yml would have it, and table → other
        columns that may be personal by their names; nothing is written.
        """
        from arrowetl.analyze import analyze_tables

        return analyze_tables.suggested_policy(self.settings)

    def verify(
        self, tables: Sequence[str] = (), on_event: Callable[[Event], None] = _ignore, **options: Any
    ) -> VerifyResult:
        """
        Compare the servers, table by table.

        Args:
            tables: their names, or globs; all, where none is named.
            options: as `VerifyOptions` has them: `deep=True`, `repairs=True` …

        Raises:
            UsageError, ConfigurationError, DatabaseError: nothing was compared.
        """
        from arrowetl.verify import repair, verify_tables

        asked = _made(VerifyOptions, {"tables": tuple(tables), **options}, "a verification")
        found = verify_tables.verify(self.settings, asked, on_event)
        return repair.repair(self.settings, asked, found, on_event) if asked.repairs else found

    def snapshot(
        self, tables: Sequence[str], directory: Place, on_event: Callable[[Event], None] = _ignore, **options: Any
    ) -> dict[str, Any]:
        """
        Write tables as Parquet files, with a manifest.

        Args:
            tables: their names, or globs; all, where none is named.
            directory: gets a directory for each table; what an earlier snapshot wrote of it is replaced.
            options: as `readers.Request` has them: `columns=["PatNum"]`, `read_from="replica"` …

        Raises:
            UsageError, ConfigurationError, DatabaseError, DataError: nothing that was there has been replaced.
        """
        from arrowetl.export import readers
        from arrowetl.export import snapshot as snapshots

        given = {"tables": tuple(tables), "directory": Path(directory), **options}
        return snapshots.snapshot(self.settings, _made(readers.Request, given, "a snapshot"), on_event=on_event)

    def bench(
        self,
        table: str,
        to: str | None = None,
        seconds: float = limits.bench_seconds,
        save: bool = False,
        on_trial: Callable[[benching.Trial], None] = lambda trial: None,
    ) -> benching.Benched:
        """
        Try a table's partition sizes and numbers of workers on the real servers; nothing that is published is touched.

        Args:
            seconds: about how long it may take.
            save: write what was better than the default into arrowetl.yml.

        Raises:
            UsageError, ConfigurationError, DatabaseError, DataError: it could not be tried; nothing is left of it.
        """
        from arrowetl import bench as benching
        from arrowetl.config import arrowetl_yml_edit

        to = to or self.settings.targets
        refuse_unknown_destination(to)
        found = benching.bench(self.settings, table, to, seconds, on_trial)
        if save and found.chosen:
            by_hand = f"add below tables.{table}: {found.chosen}"
            arrowetl_yml_edit.record(arrowetl_yml.path_of(self.settings.tables_file), {table: found.chosen}, by_hand)
        return found

    def test_connections(self) -> list[preflight.Examined]:
        """Examine the three servers; what is wrong with one is part of its result."""
        return preflight.test_connections(self.settings)

    def validate(self, offline: bool = False) -> Validation:
        """
        Every problem of tables.yml, of the servers, and of the tables as a run would find them.

        The exit code is 4 where servers alone are the problem.
        """
        file, problems = preflight.validate_tables(self.settings)
        ours = len(problems)
        if not offline:
            problems += preflight.validate_servers(self.settings)
        of_servers = len(problems) - ours
        notes = list(file.notes) if file else []
        if file and offline and file.listed:
            try:
                notes += file.unmatched_choices(())
            except ValidationError as error:
                problems.append(str(error))
        if file and not file.tables:
            notes.append(f"{self.settings.tables_file} names no table: all of the source are loaded, with defaults")
        if file and not offline:
            of_tables, more = self._validate_tables(file, bool(problems))
            problems += of_tables
            notes += [note for note in more if note not in notes]
        code = 0 if not problems else 4 if of_servers == len(problems) else 3
        return Validation(tuple(problems), (*preflight.open_files(self.settings), *notes), code)

    def _validate_tables(self, file: TablesFile, is_known: bool) -> tuple[list[str], list[str]]:
        """The problems of the tables, and notes; none of servers, where some are known."""
        # A missing key of masks was reported above; this finds what else is wrong.
        settings = replace(self.settings, mask_key=self.settings.mask_key or b"nobody's")
        try:
            planned = running.dry_run(settings, RunOptions(all=True, to=settings.targets), file)
        except ArrowetlError as error:
            # What prevents planning was reported, or is the one problem to report.
            return [] if is_known else [str(error)], []
        failures = [outcome.failure for outcome in planned.failed if outcome.failure]
        problems = [f"{failure.message}\n  {failure.remedy or 'see the server'}" for failure in failures]
        notes = [f"{plan.name}: {note}" for plan in planned.plans for note in plan.notes]
        notes += [
            f"{name}: is left out, and the warehouse keeps what it has of it: drop it there where nobody needs it"
            for name, state in planned.states.items()
            if state.published is not None and file.of(name).excluded
        ]
        return problems, [*planned.warnings, *notes]

    def status(self, alert: bool = False, tables: Sequence[str] = ()) -> Status:
        """
        What is in the warehouse, as of when, from which run; also writes metrics, where a file for them is set.

        Args:
            alert: notify the webhook of what failed or is overdue.
            tables: their names, or globs; all, where none is named.

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

    def runs(self, last: int = limits.runs_listed) -> list[dict[str, Any]]:
        """The last runs, newest first: id, times, exit code, tables, rows."""
        from arrowetl.monitoring import run_history

        return run_history.runs(self.settings, last)

    def dbt_sources(self, path: Place | None = None) -> tuple[str, list[str]]:
        """
        dbt's sources.yml of the warehouse's tables, as text; where there is a path, the file there is updated.

        Returns:
            The text; and notes on entries of tables that no longer exist, which are kept.
        """
        from arrowetl.export import dbt_sources

        return dbt_sources.dbt_sources(self.settings, None if path is None else Path(path))


def _options(settings: Settings, options: Mapping[str, Any]) -> RunOptions:
    return _made(RunOptions, {"to": settings.targets, **options}, "a run")


def _made(kind: type[T], options: Mapping[str, Any], what: str) -> T:
    """A dataclass of options; one it does not have is a mistake of the caller's, said in words."""
    if unknown := options.keys() - {one.name for one in fields(kind)}:  # type: ignore[arg-type]
        raise TypeError(f"{what} has no option {', '.join(sorted(unknown))}")
    return kind(**options)


@contextmanager
def open(
    settings: Settings | Mapping[str, str] | None = None,
    tables_file: Place | None = None,
    env_file: Place | None = None,
    needs: tuple[str, ...] = (),
    wants: tuple[str, ...] = (),
) -> Iterator[Etl]:
    """
    arrowetl with its settings read.

    Args:
        settings: default from the environment; or a mapping of the same names; or a `Settings`.
        tables_file: default conf/tables.yml.
        env_file: default `.env_<environment>` next to it.
        needs: the servers that will be used; the others need no settings. By default all: but a replica need not be
            configured, and then nothing is about it.
        wants: those that will be used where there are settings of them.

    Raises:
        EnvironmentError: every problem of the settings, at once.
    """
    if not isinstance(settings, Settings):
        tables_path, env_path = (None if place is None else Path(place) for place in (tables_file, env_file))
        settings = env.settings_from_environment(settings, tables_path, env_path, needs, wants)
    yield Etl(settings)
