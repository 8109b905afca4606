"""
What a person sees of what is there: the verdicts of a verification, the last word on each table.

Like `report`, it asks no server and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from arrowetl import limits
from arrowetl.report import count, grid, size
from arrowetl.verdict import Verdict
from arrowetl.verify import Verified


def verdicts(verified: Verified) -> RenderableType:
    """The comparison of the three ends; what is not equal last."""
    found = verified.tables
    equal = [verdict for verdict in found if verdict.verdict == "equal"]
    rows = sum(verdict.rows.get("source") or 0 for verdict in equal)
    parts: list[RenderableType] = [
        Text(
            f"{count(len(equal))} of {count(len(found))} tables equal at all three ends, {count(rows)} rows",
            style="bold",
        )
    ]
    for verdict in found:
        if verdict.repaired:
            parts.append(Text(f"{verdict.table}: {count(verdict.repaired)} rows differed, and were repaired"))
    left_out = {verdict.table: verdict.left_out for verdict in found if verdict.left_out}
    for table, columns in left_out.items():
        parts.append(Text(f"note: {table}: not compared: {', '.join(columns)}"))
    for verdict in found:
        if verdict.note:
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
    rows = ", ".join(f"{end} {count(rows)}" for end, rows in verdict.rows.items() if rows is not None)
    words = "1 row differs" if verdict.differences == 1 else f"{count(verdict.differences)} rows differ"
    parts: list[RenderableType] = [Text(f"✗ {verdict.table}: {words}; rows: {rows}", style="red")]
    if not verdict.differing:
        return parts
    table = grid("end", "row", "key", "column", "source", "there")
    for one in verdict.differing[:_DIFFERENCES_SHOWN]:
        key = ", ".join(f"{name} {value}" for name, value in one.key.items()) or "(no key)"
        shown = one.digests if one.values is None else one.values
        for number, (column, (ours, theirs)) in enumerate(shown.items() or [("", ("", ""))]):
            place = (one.end, one.kind, key) if number == 0 else ("", "", "")
            table.add_row(*place, column, *(Text("NULL" if value is None else str(value)) for value in (ours, theirs)))
    parts.append(table)
    if verdict.differences > len(verdict.differing[:_DIFFERENCES_SHOWN]):
        more = verdict.differences - len(verdict.differing[:_DIFFERENCES_SHOWN])
        parts.append(Text(f"  and {count(more)} more; --json tells of the first {limits.differences_shown}"))
    return parts


_DIFFERENCES_SHOWN = 10


def snapshot(found: Mapping[str, Any]) -> RenderableType:
    """What was written where."""
    table = grid("table", "rows", "files", "size", "coerced", right=(1, 2, 3))
    for name, entry in found["tables"].items():
        bytes_ = sum(part["bytes"] for part in entry["files"])
        coerced = ", ".join(f"{one['column']} {count(one['count'])}" for one in entry["coercions"])
        table.add_row(name, count(entry["rows"]), count(len(entry["files"])), size(bytes_), coerced)
    return Group(table, Text(f"in {found['directory']}, with manifest.json", style="bold"))


def status(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """The ledger's last word on each table; failures last."""
    if not rows:
        return Text("nothing has been loaded yet: arrowetl run --all")
    table = grid("table", "last", "rows", "data of", "checked", "error, or flags", right=(2,))
    for row in sorted(rows, key=lambda row: (row["load_status"] != "success", row["table"])):
        moments = [
            moment.strftime("%Y-%m-%d %H:%M:%S") if (moment := row[key]) else "" for key in ("loaded_at", "checked_at")
        ]
        known = "" if row["rows"] is None else count(row["rows"])
        table.add_row(row["table"], row["load_status"], known, *moments, row["error"] or _flags(row))
    failed = sum(row["load_status"] != "success" for row in rows)
    overdue = sum(row["overdue"] for row in rows)
    words = f"{count(len(rows))} tables, {failed} failed" + (f", {overdue} overdue" if overdue else "")
    return Group(table, Text(f"{words}; times are UTC", style="bold"))


def _flags(row: Mapping[str, Any]) -> str:
    return ", ".join([flag["kind"] for flag in row["flags"]] + ["overdue"] * row["overdue"])
