"""
What a page says of a document: the verdict in a sentence, what changed, what it waited for.

Pure: values from the documents that programs read (docs/reference/documents.md), so that
page and JSON cannot differ. How it looks is the templates' business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from arrowetl.errors import WITHHELD, Interrupted
from arrowetl.model.humanize import count, duration, listed, number_of, size
from arrowetl.model.judgement import Facts, judge

__all__ = ["count", "duration", "number_of", "size"]

Table = Mapping[str, Any]
SHOWN = 12
"""Tables of a chart, and lines of a list, at most: the page's table has all."""

PHASES = {
    "extract": "extract (read)",
    "compare": "compare (source and targets)",
    "spill": "spill (write text)",
    "load": "load (LOAD DATA)",
    "coerce": "coerce (convert)",
    "ingest": "ingest (COPY)",
    "finish": "finish (indexes)",
    "cutover": "cutover (switch)",
}
"""A phase, in a few words more."""
_WAITS_FOR = {
    "extract": "the source, from which rows are read",
    "compare": "the comparison of the source's rows with the targets'",
    "spill": "this machine, which writes rows as text for the replica",
    "load": "the replica, which loads rows",
    "coerce": "this machine, which converts values to the warehouse's types",
    "ingest": "the warehouse, which takes rows in",
    "finish": "the targets, which index what was staged",
    "cutover": "the targets, where staged rows became the published ones",
}


GOOD, WARNING, BAD = "good", "warning", "bad"
"""What a verdict amounts to, by which it has its colour."""
SIGNS = {GOOD: "✓", WARNING: "⚠", BAD: "✗"}
"""For who sees no colours."""
_LABELS = {
    "good": "Succeeded", "flagged": "Succeeded with warnings", "not ended": "In progress, or killed",
    "interrupted": "Interrupted", "failed": "Failed", "missing": "Tables are missing", "nothing": "Nothing to load",
    "not all good": "Not all succeeded", "not begun": "Did not run",
}  # fmt: skip
_WARNINGS = ("flagged", "not ended")


@dataclass(frozen=True)
class Verdict:
    """Whether it was good, and how that is said."""

    good: bool
    word: str
    """As every command has it."""
    sentence: str

    @property
    def level(self) -> str:
        if self.good:
            return GOOD
        return WARNING if self.word in _WARNINGS else BAD

    @property
    def label(self) -> str:
        """As a person reads it."""
        return _LABELS[self.word]


_RUN: Mapping[str, Any] = {
    "from": "source", "to": "both", "totals": {}, "vanished": (), "missing": (),
    "ended_at": None, "exit_code": None, "seconds": None,
    "published": None, "estimate": None, "overdue": (), "warnings": (), "shows_nothing": False,
    "servers": {}, "clinic": None, "environment": None, "arrowetl_version": None,
}  # fmt: skip
_TABLE: Mapping[str, Any] = {
    "reason": "", "rows_extracted": 0, "rows_replica": None, "rows_warehouse": None, "rows_inserted": 0,
    "rows_updated": 0, "rows_deleted": 0, "bytes_extracted": 0, "seconds": 0.0, "seconds_expected": 0.0, "coerced": {},
    "coercions": (), "attempts": 1, "started_at": None, "worker": None, "phases": {}, "notes": (), "flags": (),
    "settled": None, "error": None,
}  # fmt: skip


def complete(document: Mapping[str, Any]) -> dict[str, Any]:
    """A run's document with all that a page asks of it: a run that was killed recorded less."""

    def filled(defaults: Mapping[str, Any], what: Mapping[str, Any]) -> dict[str, Any]:
        return {**defaults, **{key: value for key, value in what.items() if value is not None}}

    run = {_NAMED.get(key, key): value for key, value in document.items()}
    tables = [{_NAMED.get(key, key): value for key, value in one.items()} for one in document["tables"]]
    return {**filled(_RUN, run), "tables": [filled(_TABLE, one) for one in tables]}


# What documents of earlier runs, which the warehouse keeps, call them.
_NAMED = {"planned": "estimate", "legs": "phases"}


def timestamp(text: str | datetime | None) -> str:
    """
    In UTC, to the minute.

    >>> timestamp("2026-11-26T02:03:04+00:00")
    '2026-11-26 02:03'
    """
    if text is None:
        return ""
    when = text if isinstance(text, datetime) else datetime.fromisoformat(text)
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M}"


def day(text: str | datetime) -> str:
    """The date alone."""
    return timestamp(text).partition(" ")[0]


def verdict(run: Mapping[str, Any]) -> Verdict:
    """Whether the run was good, in one sentence."""
    tables, code = run["tables"], run["exit_code"]
    failed, withheld = causes(tables), sum(is_withheld(one) for one in tables)
    # Of a run that was killed, or lost its warehouse, not all of them are known.
    number = max(len(tables), run["totals"].get("tables") or 0)
    read = sum(one["rows_extracted"] for one in tables)
    took = f"in {duration(run['seconds'])}" if run["seconds"] is not None else ""
    done = f"{count(len(tables) - len(failed) - withheld)} of {count(number)} tables"
    found = judge(
        Facts(
            ended=run["ended_at"] is not None, interrupted=code == Interrupted.exit_code, tables=number,
            failed=max(len(failed), 0 if withheld else number - len(tables)), withheld=withheld,
            missing=len(run["missing"]), shows_nothing=bool(run["shows_nothing"]), exit_code=code or 0,
        )
    )  # fmt: skip
    if found.word == "not ended":
        words = f"Started {timestamp(run['started_at'])}, no end recorded: still running, or killed."
        return Verdict(False, found.word, f"{words} At least {done} are done. Another run loads the others.")
    if found.word == "interrupted":
        return Verdict(False, found.word, f"It was stopped: {done} are done. The others are as they were before.")
    if withheld:
        words = f"{count(len(failed))} tables failed, so nothing was published: {count(withheld)} others are withheld."
        return Verdict(False, found.word, words)
    if found.word == "failed":
        failures = count(max(len(failed), number - len(tables)))
        return Verdict(
            False,
            found.word,
            f"{failures} of {count(number)} tables failed. The others are as the {run['from']} has them.",
        )
    names = count(len(run["missing"]))
    missing_words = f" {names} tables are missing at the {run['from']}, or not shown to us." if run["missing"] else ""
    if found.word == "nothing" or not tables:
        return Verdict(found.good, found.word, f"There was nothing to load.{missing_words}")
    if found.word == "missing":
        return Verdict(False, found.word, f"{missing_words.strip()} What is seen arrived: {done} {took}.")
    if found.good:
        moved = sum(one["settled"] is False for one in tables)
        unsettled = f" {count(moved)} tables were written to while they were read." if moved else ""
        words = f"{_END[run['to']]} what the {run['from']} has: {done}, {count(read)} rows read {took}."
        return Verdict(True, found.word, words + unsettled)
    where = "the warnings" if flags(tables) else "the coerced values"
    return Verdict(False, found.word, f"Every table arrived: {done} {took}. Look at {where} below.{missing_words}")


_END = {"both": "Both targets have", "warehouse": "The warehouse has", "replica": "The replica has"}


def is_withheld(table: Table) -> bool:
    """Whether nothing is wrong with a table, but that another failed."""
    return bool(table["error"]) and table["error"]["kind"] == WITHHELD


def causes(tables: Iterable[Table]) -> list[Table]:
    """Tables that failed by themselves."""
    return [one for one in tables if one["status"] == "failed" and not is_withheld(one)]


def totals(tables: Sequence[Table]) -> dict[str, int]:
    """Of all tables together."""
    names = ("rows_extracted", "rows_inserted", "rows_updated", "rows_deleted", "bytes_extracted")
    return {name: sum(one[name] for one in tables) for name in names} | {
        "tables": len(tables),
        "skipped": sum(one["status"] == "skipped" for one in tables),
        "changed": sum(bool(_moved(one)) for one in tables),
        "coerced": sum(sum(one["coerced"].values()) for one in tables),
        "rows": sum(rows(one) or 0 for one in tables),
    }


def rows(table: Table) -> int | None:
    """That it has now: in the warehouse, or in a replica that is all that was written; None where it is not known."""
    found: int | None = table["rows_replica"] if table["rows_warehouse"] is None else table["rows_warehouse"]
    return found


def _moved(table: Table) -> int:
    return sum(table[f"rows_{kind}"] for kind in ("inserted", "updated", "deleted"))


def most_changed(tables: Sequence[Table]) -> list[Table]:
    """Those of which most rows changed."""
    return [one for one in sorted(tables, key=_moved, reverse=True) if _moved(one)][:SHOWN]


def slowest(tables: Sequence[Table]) -> list[Table]:
    """Those that took longest."""
    took = [one for one in tables if one["status"] != "skipped" and one["seconds"]]
    return sorted(took, key=lambda one: -one["seconds"])[:SHOWN]


def largest(tables: Sequence[Table]) -> list[Table]:
    """Those with most rows."""
    return [one for one in sorted(tables, key=lambda one: -(rows(one) or 0)) if rows(one)][:SHOWN]


def phases(tables: Iterable[Table]) -> dict[str, float]:
    """Phase → seconds, of all tables and their workers together."""
    found: dict[str, float] = {}
    for one in tables:
        for phase, seconds in one["phases"].items():
            found[phase] = found.get(phase, 0.0) + seconds
    return {phase: round(found[phase], 3) for phase in PHASES if phase in found}


def bottleneck(seconds: Mapping[str, float]) -> str:
    """What most of the time was spent with, in words; nothing where nothing was loaded."""
    if not (whole := sum(seconds.values())):
        return ""
    phase = max(seconds, key=lambda phase: seconds[phase])
    return f"{seconds[phase] / whole:.0%} of the work waited for {_WAITS_FOR[phase]} ({phase})."


def planned(run: Mapping[str, Any]) -> str:
    """What was expected of the run, and what came of it."""
    one = run["estimate"]
    if not one or run["seconds"] is None:
        return ""
    words = f"{duration(run['seconds'])}; {duration(one['seconds'])} were expected"
    words += f", {duration(one['low'])} to {duration(one['high'])} ({one['basis']})."
    chain = " → ".join(one.get("critical_path", [])[:4])
    return words + (f" It was to end with {chain}." if chain else "")


def coercions(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """All coercions, new ones first, then those of most values."""
    found = [
        {"table": table["table"], "is_new": bool(coercion.get("news")), **coercion}
        for table in tables
        for coercion in table["coercions"]
    ]
    return sorted(found, key=lambda one: (not one["is_new"], -one["count"], one["table"], one["column"]))


def title(run: Mapping[str, Any]) -> str:
    """
    Which database went where; the clinic's name before it, where there are many.

    >>> title({"servers": {"source": {"database": "opendental"}, "warehouse": {"database": "dw", "schema": "raw"}},
    ...        "to": "both", "from": "source", "clinic": "north"})
    'north: opendental → dw.raw'
    """
    source = run["servers"].get(run["from"], {}).get("database") or run["from"]
    found = run["servers"].get("replica" if run["to"] == "replica" else "warehouse", {})
    target = ".".join(filter(None, (found.get("database"), found.get("schema")))) or _TARGETS[run["to"]]
    return f"{run['clinic']}: {source} → {target}" if run["clinic"] else f"{source} → {target}"


_TARGETS = {"both": "warehouse", "warehouse": "warehouse", "replica": "replica"}


def sorted_tables(tables: Iterable[Table]) -> list[Table]:
    """Those that failed, then those with warnings, then those that changed, then the others; slowest first."""
    return sorted(
        tables,
        key=lambda one: (one["status"] != "failed", not one["flags"], not _moved(one), -one["seconds"], one["table"]),
    )


def states(status: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """Table → what the warehouse has of it now, as `status --json` says."""
    return {row["table"]: row for row in (status or {}).get("tables", ())}


@dataclass(frozen=True)
class Proof:
    """What `verify` last found of what is in the warehouse now."""

    sentence: str
    equal: int
    differing: tuple[str, ...]
    oldest: str | None
    """When the first of those that are equal was verified."""
    latest: str | None


def proof(status: Mapping[str, Any] | None) -> Proof | None:
    """Of all tables that are there; None where that could not be asked."""
    if status is None:
        return None
    rows = status["tables"]
    differing = tuple(row["table"] for row in rows if row["differed_at"])
    times = sorted(row["verified_at"] for row in rows if row["verified_at"])
    number, all_ = count(len(times)), count(len(rows))
    words = f"{number} of {all_} tables were verified since they last changed, and are equal."
    if not times:
        words = f"None of {all_} tables was verified since it last changed. `arrowetl verify --all` compares them."
    if differing:
        words += f" {number_of(len(differing), 'table')} found to differ: {listed(list(differing), SHOWN)}."
    oldest, latest = (times[0], times[-1]) if times else (None, None)
    return Proof(sentence=words, equal=len(times), differing=differing, oldest=oldest, latest=latest)


def grouped(said: Iterable[tuple[str, str]]) -> list[str]:
    """
    What is said of tables, once for those of which the same is said.

    >>> grouped([("a", "column X was added"), ("b", "column X was added"), ("c", "small")])
    ['2 tables: column X was added (a, b)', 'c: small']
    """
    by_words: dict[str, list[str]] = {}
    for table, words in said:
        by_words.setdefault(words, []).append(table)
    return [
        f"{tables[0]}: {words}"
        if len(tables) == 1
        else f"{count(len(tables))} tables: {words} ({listed(tables, SHOWN)})"
        for words, tables in by_words.items()
    ]


def notes(run: Mapping[str, Any]) -> list[str]:
    """Notes, in words: on the run, on tables that no run loads, on what followed the source."""
    late = [one["message"] for one in run["overdue"]]
    return [
        *run["warnings"],
        *late,
        *grouped((one["table"], note) for one in run["tables"] for note in one["notes"]),
    ]


def flags(tables: Sequence[Table]) -> list[str]:
    """What a person should look at; coercions have a section of their own."""
    return [flag["message"] for one in tables for flag in one["flags"] if flag["kind"] != "coerced"]


def clinic(one: Mapping[str, Any]) -> dict[str, Any]:
    """A clinic's line of the fleet's page."""
    run = complete(one["run"]) if one["run"] else None
    head = {"clinic": one["clinic"], "page": one["page"], "seconds": run["seconds"] if run else None}
    if run is None:
        error = one["error"] or {"message": "it has never run", "remedy": None}
        return {
            **head,
            "good": False,
            "words": "not run",
            "error": error,
            "totals": None,
            "failed": 0,
            "ended_at": None,
            "level": BAD,
        }
    found = verdict(run)
    failed = sum(table["status"] == "failed" for table in run["tables"])
    return {
        **head, "good": found.good, "words": found.label.lower(), "error": None, "totals": totals(run["tables"]),
        "failed": failed, "ended_at": run["ended_at"], "level": found.level,
    }  # fmt: skip


def fleet_verdict(rows: Sequence[Mapping[str, Any]]) -> Verdict:
    """Whether all clinics are good, in one sentence."""
    good = sum(row["good"] for row in rows)
    words = f"{count(good)} of {count(len(rows))} clinics have what their sources have."
    others = [row["clinic"] for row in rows if not row["good"]]
    if not others:
        return Verdict(True, "good", words)
    worst = "flagged" if all(row["level"] != BAD for row in rows) else "not all good"
    return Verdict(False, worst, f"{words} Look at {listed(others, SHOWN)}.")


def trials(bench: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each trial, by the median of its repetitions."""
    found: dict[tuple[int, int], list[float]] = {}
    for one in bench["trials"]:
        found.setdefault((one["workers"], one["partition_bytes"]), []).append(one["rows_per_second"])
    best = (bench["recommended"]["workers"], bench["recommended"]["partition_bytes"])
    return [
        {
            "trial": f"{workers} × {size(bytes_)}",
            "rate": sorted(rates)[len(rates) // 2],
            "best": (workers, bytes_) == best,
        }
        for (workers, bytes_), rates in sorted(found.items())
    ]
