"""
What a person sees of what is there: the verdicts of a verification, the last word on each table.

Like `render_run`, it asks no server and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from arrowetl import limits
from arrowetl.cli.render_run import grid
from arrowetl.errors import indented
from arrowetl.model.humanize import count, duration, number_of, size
from arrowetl.model.verdict import RowDifference, Verdict

if TYPE_CHECKING:
    from arrowetl.model.verdict import VerifyResult
    from arrowetl.monitoring.status import Status


def verdicts(verified: VerifyResult) -> RenderableType:
    """The comparison of the servers; what is not equal last."""
    found = verified.tables
    equal = [verdict for verdict in found if verdict.verdict == "equal"]
    rows = sum(verdict.rows.get("source") or 0 for verdict in equal)
    where = "at source and warehouse" if not verified.has_replica else "at all three servers"
    words = f"{count(len(equal))} of {count(len(found))} tables equal {where}, {count(rows)} rows"
    if unseen := sum(len(verdict.left_out) for verdict in equal):
        words += f", but for {number_of(unseen, 'column')} that no checksum covers"
    reused = [verdict for verdict in equal if verdict.recalled]
    if reused:
        unread = sum(not verdict.rows_read for verdict in reused)
        words += f"; {count(unread)} of them as they were found before: counted, and not read again"
    parts: list[RenderableType] = [Text(words, style="bold")]
    for verdict in found:
        if verdict.repaired:
            words = "1 row" if verdict.repaired == 1 else f"{count(verdict.repaired)} rows"
            parts.append(Text(f"{verdict.table}: {words} differed, and {_were(verdict.repaired)} repaired"))
            parts += _rows(verdict.repaired_rows, verdict.repaired)
    left_out = {verdict.table: verdict.left_out for verdict in found if verdict.left_out}
    for table, columns in left_out.items():
        parts.append(Text(f"note: {table}: not compared: {', '.join(columns)}"))
    for verdict in found:
        if verdict.note and (verdict.rows_read or verdict.verdict != "equal"):
            parts.append(Text(f"note: {verdict.table}: {verdict.note}"))
        if verdict.failure:
            parts.append(Text(f"✗ could not be compared: {verdict.failure.message}", style="red"))
            parts.append(Text(f"  {verdict.failure.remedy}") if verdict.failure.remedy else Text())
        elif verdict.verdict == "differs":
            parts += _differences(verdict)
    parts += [Text(f"note: {warning}") for warning in verified.warnings]
    if verified.receipt:
        parts.append(Text(f"receipt {verified.run_id}, sha256 {verified.receipt[:16]}…"))
    return Group(*parts)


def _differences(verdict: Verdict) -> list[RenderableType]:
    rows = ", ".join(f"{target} {count(rows)}" for target, rows in verdict.rows.items() if rows is not None)
    words = "1 row differs" if verdict.differences == 1 else f"{count(verdict.differences)} rows differ"
    return [
        Text(f"✗ {verdict.table}: {words}; rows: {rows}", style="red"),
        *_rows(verdict.differing, verdict.differences),
    ]


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _rows(differing: Sequence[RowDifference], differences: int) -> list[RenderableType]:
    """Which rows differ, and in which columns."""
    if not differing:
        return []
    table = grid("target", "row", "key", "column", "source", "there", folds=(2, 4, 5))
    for one in differing[:_DIFFERENCES_SHOWN]:
        key = ", ".join(f"{name} {value}" for name, value in one.key.items()) or "(no key)"
        shown = one.digests if one.values is None else one.values
        for number, (column, (ours, theirs)) in enumerate(shown.items() or [("", ("", ""))]):
            place = (one.target, one.kind, key) if number == 0 else ("", "", "")
            said = (ours, theirs) if one.values is None else (_quoted(ours), _quoted(theirs))
            table.add_row(*place, column, *(Text(text) for text in said if column))
    more = differences - len(differing[:_DIFFERENCES_SHOWN])
    remainder = Text(f"  and {count(more)} more; --json has the first {limits.differences_shown}")
    return [table, remainder] if more > 0 else [table]


def _quoted(value: Any) -> str:
    """
    >>> _quoted("NULL "), _quoted(None)
    ("'NULL '", 'NULL')
    """
    return "NULL" if value is None else f"'{value}'"


_DIFFERENCES_SHOWN = 10


def snapshot(found: Mapping[str, Any]) -> RenderableType:
    """What was written where."""
    table = grid("table", "rows", "files", "size", "coerced", right=(1, 2, 3), folds=(4,))
    for name, entry in found["tables"].items():
        bytes_ = sum(part["bytes"] for part in entry["files"])
        coerced = ", ".join(f"{one['column']} {count(one['count'])}" for one in entry["coercions"])
        table.add_row(name, count(entry["rows"]), count(len(entry["files"])), size(bytes_), coerced)
    left_out = [
        Text(f"note: {name}: left out: {', '.join(entry['columns_left_out'])}")
        for name, entry in found["tables"].items()
        if entry["columns_left_out"]
    ]
    return Group(table, *left_out, Text(f"in {found['directory']}, with manifest.json", style="bold"))


def status(found: Status, shows_all: bool = True) -> RenderableType:
    """
    The last run, then the ledger's last word on each table, those with a problem first, and what is wrong beneath.

    Args:
        shows_all: tables of which nothing is to be said as well.
    """
    if not found.tables:
        return Text("no runs yet. Start with: arrowetl run --all")
    shown = [row for row in found.tables if shows_all or _is_of_interest(row)]
    rows = [
        (
            row["table"],
            row["load_status"],
            "" if row["rows"] is None else count(row["rows"]),
            f"{row['rows_changed']:+,}" if row["rows_changed"] else "",
            "" if row["lag_seconds"] is None else _lag(row["lag_seconds"]),
            "" if row["seconds_usual"] is None else duration(row["seconds_usual"]),
            f"differs, {_timestamp(row['differed_at'])}" if row["differed_at"] else _timestamp(row["verified_at"]),
            _timestamp(row["expected_at"]),
            _flags(row),
        )
        for row in shown
    ]
    parts: list[RenderableType] = [Text(_last_run(found), style="bold")]
    if rows:
        parts.append(_without_empty_columns(_STATUS, rows, right=(2, 3, 4, 5)))
    for row in shown:
        if row["error"]:
            # The record has the error's class before its words, which name the table.
            words = row["error"].partition(": ")[2] or row["error"]
            parts.append(Text(f"✗ {indented(words)}", style="red"))
            parts.append(Text(f"  try again with: arrowetl run {row['table']}"))
    parts += [Text(f"✗ {found.missed}", style="red")] if found.missed else []
    number = len(found.tables)
    failed = sum(row["load_status"] != "success" for row in found.tables)
    counts = {
        "found to differ": sum(row["differed_at"] is not None for row in found.tables),
        "overdue": sum(bool(row["overdue"]) for row in found.tables),
    }
    wrong = "".join(f", {many} {what}" for what, many in counts.items() if many)
    more = "" if len(shown) == number else f"; --all lists the other {count(number - len(shown))}"
    words = f"{number_of(number, 'table')}, {failed} failed{wrong}{more}"
    parts.append(Text(f"{words}; times are UTC" if rows else words, style="bold"))
    return Group(*parts)


_STATUS = ("table", "last", "rows", "change", "lag", "usual", "verified", "expected", "flags")


def _is_of_interest(row: Mapping[str, Any]) -> bool:
    """Whether a table failed, differs, is overdue or flagged, or changed in the last run."""
    return bool(
        row["load_status"] != "success" or row["differed_at"] or row["overdue"] or row["flags"] or row["rows_changed"]
    )


def _without_empty_columns(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Iterable[int]) -> Table:
    kept = [index for index in range(len(headings)) if index == 0 or any(row[index] for row in rows)]
    table = grid(*(headings[index] for index in kept), right=(kept.index(index) for index in right if index in kept))
    for row in rows:
        table.add_row(*(row[index] for index in kept))
    return table


def runs(found: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Past runs, newest first."""
    if not found:
        return Text("no runs yet. Start with: arrowetl run --all")
    table = grid("run", "began (UTC)", "took", "tables", "failed", "rows read", "result", "route", right=(2, 3, 4, 5))
    for one in found:
        ended = one["exit_code"] is not None
        table.add_row(
            one["run_id"],
            f"{one['started_at'].astimezone(UTC):%Y-%m-%d %H:%M}",
            duration(one["seconds"]) if ended and one["seconds"] is not None else "",
            *("" if one[name] is None else count(one[name]) for name in ("tables", "failed", "rows_extracted")),
            "not ended" if not ended else "good" if one["exit_code"] == 0 else f"exit code {one['exit_code']}",
            one["route"] or "",
        )
    # What they are listed for: `arrowetl report` is given one.
    table.columns[0].min_width = max(len(one["run_id"]) for one in found)
    return table


def _last_run(found: Status) -> str:
    if not (run := found.run):
        return "no run is recorded"
    began = f"{run['started_at'].astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    if run["ended_at"] is None:
        words = "is at work" if found.at_work else "was killed, or lost its lock: run again"
        return f"last run {run['run_id']}: began {began}, has not ended, and {words}"
    took = duration((run["ended_at"] - run["started_at"]).total_seconds())
    if run["error"]:
        return f"last run {run['run_id']}: {began}, did not begin, exit code {run['exit_code']}: {run['error']}"
    words = "all good" if found.good else found.judgement.word
    words += f", exit code {run['exit_code']}" if run["exit_code"] else ""
    return f"last run {run['run_id']}: {began}, {took}, {count(run['tables'])} tables, {words}"


def _timestamp(timestamp: datetime | None) -> str:
    return f"{timestamp.astimezone(UTC):%m-%d %H:%M}" if timestamp else ""


def _lag(seconds: float) -> str:
    """
    >>> _lag(90), _lag(7_300), _lag(200_000)
    ('2 min', '2 h', '2 days')
    """
    for size_, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 1.5 * size_ or unit == "min":
            return f"{round(seconds / size_)} {unit}"
    raise AssertionError("the last unit fits all")


def _flags(row: Mapping[str, Any]) -> str:
    return ", ".join([flag["kind"] for flag in row["flags"]] + ["overdue"] * row["overdue"])
