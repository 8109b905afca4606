"""
A run as it goes: bars on a terminal, lines elsewhere, JSON for a collector.

The partner of `render_run`, which shows the result. A listener gets
a run's events, from several threads; what they add up to is computed once, in
`Tally`, for all of them.
"""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from arrowetl import limits
from arrowetl.errors import ArrowetlError
from arrowetl.humanize import count, duration, size
from arrowetl.model.events import (
    Event,
    PartitionLoaded,
    RunEnded,
    RunPlanned,
    Step,
    StepBegan,
    TableEnded,
    TableRetried,
    TableStaged,
    TableStarted,
)
from arrowetl.model.result import Outcome, Status
from arrowetl.pages.printable import printable_name

_BUSY_SHOWN = 6


class Watch(Protocol):
    """A listener to a run's events; called from several threads."""

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
        """Table at work → partitions done, of all."""

    def add(self, event: Event) -> None:
        match event:
            case RunPlanned(plans):
                self.tables += len(plans)
                self.rows_expected = sum(plan.expected.rows for plan in plans)
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
        words = [
            f"{count(self.rows)} rows",
            f"{count(self.rows / elapsed)} rows/s",
            size(self.bytes),
        ]
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
        return elapsed * (1 / share - 1) if share > 0.02 and share < 1 else None

    def busy_words(self) -> str:
        shown = [f"{table} {done}/{expected}" for table, (done, expected) in list(self.busy.items())[:_BUSY_SHOWN]]
        return ", ".join(shown)


class Bars:
    """Progress on a terminal."""

    def __init__(self, console: Console) -> None:
        self._tally, self._lock = Tally(), threading.Lock()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._tables = self._progress.add_task("tables", total=None, words="")
        self._busy: TaskID = self._progress.add_task("at work", total=None, words="", visible=False)
        self._progress.start()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._tally.add(event)
            tally = self._tally
            self._progress.update(self._tables, total=tally.tables, completed=tally.tables_done, words=tally.words())
            done = [sum(parts[i] for parts in tally.busy.values()) for i in (0, 1)]
            self._progress.update(
                self._busy,
                total=done[1],
                completed=done[0],
                words=tally.busy_words(),
                visible=bool(tally.busy),
            )

    def close(self) -> None:
        self._progress.stop()


class Lines:
    """Progress where there is no terminal: one line every so often, and one for each failure."""

    def __init__(self, console: Console, verbose: bool) -> None:
        self._console, self._verbose = console, verbose
        self._tally, self._lock = Tally(), threading.Lock()
        self._reported_at = time.monotonic()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._tally.add(event)
            if isinstance(event, StepBegan) and self._verbose:
                words = f"{event.step}/{len(Step)} {event.step.words}"
                self._print(words)
            if isinstance(event, TableEnded) and (self._verbose or is_reportable(event.outcome)):
                self._print(_table_line(event.outcome))
            if isinstance(event, TableRetried):
                words = f"{event.message}; again in {duration(event.seconds)}"
                self._print(words)
            if time.monotonic() - self._reported_at >= limits.progress_line_seconds:
                self._reported_at = time.monotonic()
                tally = self._tally
                words = f"{tally.tables_done}/{tally.tables} tables, {tally.words()}; at work: {tally.busy_words()}"
                self._print(words)

    def _print(self, words: str) -> None:
        # One line for one event, whatever a name holds.
        self._console.print(printable_name(words), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        pass


class JsonLines:
    """Progress for a log collector: one JSON document a line."""

    def __init__(self, console: Console, verbose: bool) -> None:
        self._console, self._verbose, self._lock = console, verbose, threading.Lock()
        self._run_id: str | None = None

    def __call__(self, event: Event) -> None:
        match event:
            case StepBegan(step):
                self._write("step began", step=int(step), about=step.words)
            case RunPlanned(plans, run_id):
                self._run_id = run_id or None
                self._write("run planned", tables=len(plans))
            case RunEnded(exit_code, seconds):
                self._write("run ended", exit_code=exit_code, seconds=round(seconds, 3))
            case TableStarted(table, partitions) if self._verbose:
                self._write("table started", table=table, partitions=partitions)
            case TableRetried(table, attempt, seconds, message):
                self._write("table retried", table=table, attempt=attempt, seconds=round(seconds, 3), error=message)
            case TableStaged(table) if self._verbose:
                self._write("table staged", table=table)
            case TableEnded(outcome):
                error = outcome.failure.message if outcome.failure else None
                self._write(
                    "table ended", table=outcome.table, status=outcome.status.value, rows=outcome.rows_extracted,
                    seconds=round(outcome.seconds, 3), error=error,
                )  # fmt: skip

    def failed(self, problem: ArrowetlError) -> None:
        """A command that did nothing, and why."""
        self._write("failed", kind=problem.kind, error=problem.message, remedy=problem.remedy)

    def _write(self, event: str, **fields: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "run_id": self._run_id, "event": event, **fields})
        with self._lock:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        pass


def is_reportable(outcome: Outcome) -> bool:
    """Whether a table failed by itself."""
    return outcome.failure is not None and not outcome.failure.is_collateral


def _table_line(outcome: Outcome) -> str:
    if outcome.failure:
        return f"{outcome.failure.message}"
    return f"{outcome.table}: {count(outcome.rows_extracted)} rows in {duration(outcome.seconds)}"
