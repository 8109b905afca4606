"""
A run as it goes, and whatever else takes a while: bars on a terminal, lines elsewhere, JSON for a collector.

The partner of `render_run`, which shows the result. A listener gets events, from several threads; what they add up to
is computed once, in `Tally`, for all of them.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from arrowetl import limits
from arrowetl.errors import ArrowetlError
from arrowetl.model.events import (
    Event,
    PartitionLoaded,
    RunBegan,
    RunEnded,
    RunPlanned,
    Step,
    StepBegan,
    TableDone,
    TableEnded,
    TableRetried,
    TablesChosen,
    TableStaged,
    TableStarted,
)
from arrowetl.model.humanize import count, duration, size
from arrowetl.model.result import Outcome, Status
from arrowetl.pages.printable import printable_name

_BUSY_SHOWN = 6
# An estimate by less than a fifth of the work is a guess: the quick tables are first, or the slow ones.
_SHARE_MIN = 0.2


class Watch(Protocol):
    """A listener to events; called from several threads."""

    def __call__(self, event: Event) -> None: ...
    def close(self) -> None: ...


class Tally:
    """The state of a run, computed once per event, for all listeners."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.tables = self.tables_ended = self.failed = 0
        self.staged = set[str]()
        """Tables that wait for the others, to be published with them."""
        self.rows_expected = self.rows = self.bytes = 0
        self.busy: dict[str, list[int]] = {}
        """Table in progress → partitions done, of all."""

    def add(self, event: Event) -> None:
        match event:
            case RunPlanned(plans):
                self.tables += len(plans)
                self.rows_expected = sum(plan.expected.rows for plan in plans)
            case TablesChosen(tables, rows):
                self.tables, self.rows_expected = self.tables + tables, self.rows_expected + rows
            case TableDone(_, rows, problem):
                self.tables_ended += 1
                self.rows += rows
                self.failed += bool(problem)
            case TableStarted(table, partitions):
                self.busy[table] = [0, partitions]
            case PartitionLoaded(table, rows, bytes_):
                self.rows += rows
                self.bytes += bytes_
                if table in self.busy:
                    # How many there will be is an estimate.
                    done, expected = self.busy[table]
                    self.busy[table] = [done + 1, max(done + 1, expected)]
            case TableStaged(table):
                self.staged.add(table)
                self.busy.pop(table, None)
            case TableEnded(outcome):
                self.tables_ended += 1
                self.staged.discard(outcome.table)
                self.tables = max(self.tables, self.tables_ended)
                self.failed += outcome.status is Status.FAILED
                self.busy.pop(outcome.table, None)

    @property
    def tables_done(self) -> int:
        """Those with which nothing is left to do, or nothing but to publish them."""
        return self.tables_ended + len(self.staged)

    def words(self) -> str:
        elapsed = max(time.monotonic() - self.began, 0.001)
        words = [f"{count(self.rows)} rows", f"{count(self.rows / elapsed)} rows/s"] if self.rows else []
        if self.bytes:
            words.append(size(self.bytes))
        if self.failed:
            words.append(f"{self.failed} failed")
        if (left := self.seconds_left(elapsed)) is not None:
            words.append(f"about {duration(left)} left")
        return ", ".join(words)

    def seconds_left(self, elapsed: float) -> float | None:
        """By rows, or by tables where most have none, whichever is further behind; None while it is a guess."""
        done = [
            ended / expected
            for ended, expected in ((self.rows, self.rows_expected), (self.tables_done, self.tables))
            if expected
        ]
        share = min(done, default=0.0)
        return elapsed * (1 / share - 1) if _SHARE_MIN < share < 1 else None

    def busy_words(self) -> str:
        shown = [
            f"{table} {done}/{expected}" if done < expected else f"{table} finishing"
            for table, (done, expected) in list(self.busy.items())[:_BUSY_SHOWN]
        ]
        return ", ".join(shown)


def lines_of(event: Event, verbose: bool) -> Iterator[str]:
    """What is said of an event in a line of its own."""
    match event:
        case StepBegan(step) if verbose:
            yield f"{step}/{len(Step)} {step.words}"
        case TableEnded(outcome) if verbose or is_reportable(outcome):
            yield _table_line(outcome)
        case TableDone(table, rows, problem) if verbose or problem:
            yield problem or f"{table}: {count(rows)} rows"
        case TableRetried(_, _, seconds, message):
            yield f"{message}; again in {duration(seconds)}"


class Bars:
    """Progress on a terminal: a bar, what it adds up to, and which tables are in progress; failures above it."""

    def __init__(self, console: Console, verbose: bool = False, unit: str = "tables") -> None:
        self._tally, self._lock, self._verbose, self._unit = Tally(), threading.Lock(), verbose, unit
        # Drawn by the clock, and not by events alone: rates and what is left move while one table takes long.
        self._live = Live(
            get_renderable=self._drawn, console=console, refresh_per_second=2, transient=True, redirect_stdout=False
        )
        self._live.start()

    def _drawn(self) -> RenderableType:
        with self._lock:
            tally, elapsed = self._tally, time.monotonic() - self._tally.began
            head = Table.grid(padding=(0, 1))
            done = f"{tally.tables_done}/{tally.tables}" if tally.tables else ""
            bar = ProgressBar(total=tally.tables or None, completed=tally.tables_done, width=30, pulse=not tally.tables)
            head.add_row(self._unit, bar, done, duration(elapsed))
            words = [tally.words(), f"in progress: {tally.busy_words()}" if tally.busy else ""]
        return Group(
            head, *(Text(printable_name(one), no_wrap=True, overflow="ellipsis", style="dim") for one in words if one)
        )

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._tally.add(event)
        for line in lines_of(event, self._verbose):
            self._live.console.print(printable_name(line), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._live.stop()


class Lines:
    """Progress where there is no terminal: one line every so often, and one for each failure."""

    def __init__(self, console: Console, verbose: bool) -> None:
        self._console, self._verbose = console, verbose
        self._tally, self._lock = Tally(), threading.Lock()
        self._reported_at = time.monotonic()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._tally.add(event)
            for line in lines_of(event, self._verbose):
                self._print(line)
            if time.monotonic() - self._reported_at >= limits.progress_line_seconds:
                self._reported_at = time.monotonic()
                tally = self._tally
                words = [f"{tally.tables_done}/{tally.tables} tables", tally.words()]
                words += [f"in progress: {tally.busy_words()}"] if tally.busy else []
                self._print("; ".join(filter(None, words)))

    def _print(self, words: str) -> None:
        # One line for one event, whatever a name holds.
        self._console.print(printable_name(words), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        pass


class Silent:
    """No progress at all."""

    def __call__(self, event: Event) -> None:
        pass

    def close(self) -> None:
        pass


class JsonLines:
    """Progress for a log collector: one JSON document a line."""

    def __init__(self, console: Console, verbose: bool) -> None:
        self._console, self._verbose, self._lock = console, verbose, threading.Lock()
        self._run_id: str | None = None

    def __call__(self, event: Event) -> None:
        match event:
            case RunBegan(run_id):
                self._run_id = run_id
                self._write("info", "run_started", "the run begins")
            case StepBegan(step):
                self._write("info", "step_started", step.words, step=int(step))
            case RunPlanned(plans):
                self._write("info", "run_planned", f"{count(len(plans))} tables are planned", tables=len(plans))
            case RunEnded(exit_code, seconds):
                words = f"the run ended after {duration(seconds)}, exit code {exit_code}"
                level = "info" if exit_code == 0 else "error"
                self._write(level, "run_ended", words, exit_code=exit_code, seconds=round(seconds, 3))
            case TableStarted(table, partitions) if self._verbose:
                self._write("debug", "table_started", f"{table} begins", table=table, partitions=partitions)
            case TableRetried(table, attempt, seconds, message):
                words = f"{message}; again in {duration(seconds)}"
                self._write("warning", "table_retried", words, table=table, attempt=attempt, seconds=round(seconds, 3))
            case TableStaged(table) if self._verbose:
                self._write("debug", "table_staged", f"{table} waits to be published", table=table)
            case TableEnded(outcome):
                self._write(
                    "error" if is_reportable(outcome) else "info", "table_ended", _table_line(outcome),
                    table=outcome.table, status=outcome.status.value, rows=outcome.rows_extracted,
                    seconds=round(outcome.seconds, 3),
                )  # fmt: skip
            case TableDone(table, rows, problem) if self._verbose or problem:
                words = problem or f"{table}: {count(rows)} rows"
                self._write("error" if problem else "debug", "table_done", words, table=table, rows=rows)

    def failed(self, problem: ArrowetlError) -> None:
        """A command that did nothing, and why."""
        self._write("error", "failed", problem.message, kind=problem.kind, code=problem.slug, remedy=problem.remedy)

    def _write(self, level: str, event: str, message: str, **fields: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        document = {"time": now, "level": level, "event": event, "message": message, "run_id": self._run_id, **fields}
        with self._lock:
            self._console.print(json.dumps(document), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        pass


def is_reportable(outcome: Outcome) -> bool:
    """Whether a table failed by itself."""
    return outcome.failure is not None and not outcome.failure.is_collateral


def _table_line(outcome: Outcome) -> str:
    if outcome.failure:
        return f"{outcome.failure.message}"
    return f"{outcome.table}: {count(outcome.rows_extracted)} rows in {duration(outcome.seconds)}"
