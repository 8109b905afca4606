"""
What a person sees: a plan, a summary, a verdict, a table of rules.

Every function returns something to look at, and is pure. Nothing here speaks
to a server or decides anything; `cli` chooses what is shown and where, and
`progress` shows a run while it goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from arrowetl.errors import ArrowetlError, indented
from arrowetl.model.humanize import count, duration, size
from arrowetl.model.plan import TablePlan
from arrowetl.model.result import Coercion, Failure, Status, Summary

if TYPE_CHECKING:
    from arrowetl.analyze.schema_changelog import Change
    from arrowetl.bench import Benched, Trial
    from arrowetl.pipeline.plan_run import Planned
    from arrowetl.planning.estimate import Estimate
    from arrowetl.preflight import Examined
    from arrowetl.types.rules import Rule

_SLOWEST_SHOWN = 5
_COERCIONS_SHOWN = 12
_CHANGES_SHOWN = 12
_CHAIN_SHOWN = 4


def grid(*headings: str, right: Iterable[int] = (), folds: Iterable[int] = ()) -> Table:
    """
    A table without lines. Neither a number nor a name is broken into two lines; sentences are.

    Args:
        right: the columns of numbers.
        folds: the columns of sentences.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    right, folds = set(right), set(folds)
    for index, heading in enumerate(headings):
        table.add_column(
            heading,
            justify="right" if index in right else "left",
            no_wrap=index not in folds,
            overflow="fold" if index in folds else "ellipsis",
        )
    return table


def summary(run: Summary) -> RenderableType:
    """What a person reads at a glance; failures last, where the eye rests."""
    done, failed = run.of(Status.SUCCEEDED), run.of(Status.FAILED)
    rows = sum(outcome.rows_extracted for outcome in run.outcomes)
    bytes_ = sum(outcome.bytes_extracted for outcome in run.outcomes)
    changes = {kind: sum(getattr(o.changes, kind) for o in done) for kind in ("inserted", "updated", "deleted")}
    parts: list[RenderableType] = []
    slowest = sorted(done, key=lambda outcome: -outcome.seconds)[:_SLOWEST_SHOWN]
    if slowest:
        table = grid(
            "slowest tables", "rows", "size", "partitions", "seconds", "expected", "rows/s", right=(1, 2, 3, 4, 5, 6)
        )
        for o in slowest:
            rate = count(o.rows_extracted / o.seconds) if o.seconds else ""
            table.add_row(
                o.table,
                count(o.rows_extracted),
                size(o.bytes_extracted),
                str(o.partitions),
                f"{o.seconds:.2f}",
                f"{o.expected.seconds:.2f}",
                rate,
            )
        parts += [table, Text()]
    coerced = [(o.table, coercion) for o in done for coercion in o.coercions]
    if coerced:
        parts += [_coercions(coerced), Text()]
    for note in [f"{o.table}: {note}" for o in done for note in o.notes] + list(run.warnings):
        parts.append(Text(f"note: {indented(note)}"))
    unsettled = [outcome.table for outcome in done if outcome.settled is False]
    if unsettled:
        parts.append(Text(f"note: written to while they were read, so not settled: {', '.join(unsettled)}"))
    for flag in (flag for outcome in done for flag in outcome.flags if flag.kind not in ("coerced", "unsettled")):
        parts.append(Text(f"note: {flag.kind}: {flag.message}"))
    for flag in run.overdue.values():
        parts.append(Text(f"note: overdue: {flag.message}"))
    skipped = run.of(Status.SKIPPED)
    words = (
        "interrupted"
        if run.interrupted
        else "failed"
        if failed
        else "incomplete"
        if run.missing
        # Of what is unchanged at the source, nothing was read at the targets.
        else "nothing to load"
        if not run.outcomes
        else "all current"
        if not run.exit_code and not done
        else "all equal" + (" to what was read" if unsettled else "") + (", but flagged" if run.exit_code else "")
    )
    counted = failed if words == "failed" else skipped if words == "all current" else done
    head = f"{words}: {count(len(counted))} of {count(len(run.outcomes))} tables"
    head += f" ({count(len(skipped))} unchanged at the {run.read_from})" if skipped else ""
    head += f", {count(len(run.missing))} missing at the {run.read_from}" if run.missing else ""
    facts = f"{count(rows)} rows, {size(bytes_)} in {duration(run.seconds)}{_expected(run)}"
    moved = ", ".join(f"{count(number)} {kind}" for kind, number in changes.items())
    parts.append(Text(f"{head}, {facts}; in the warehouse {moved} (run {run.run_id})", style="bold"))
    for failure in root_failures([outcome.failure for outcome in failed if outcome.failure]):
        parts.append(Text(f"✗ {indented(failure.message)}", style="red"))
        if failure.remedy:
            parts.append(Text("  " + indented(failure.remedy)))
    return Group(*parts)


def _expected(run: Summary) -> str:
    low, high = run.estimate.get("low", 0.0), run.estimate.get("high", 0.0)
    return "" if low <= run.seconds <= high else f" ({duration(low)} to {duration(high)} were expected)"


def root_failures(failures: Sequence[Failure]) -> list[Failure]:
    """The failures, of which those of tables that were merely not loaded, or withheld, are one of each kind."""
    type_in_words = [failure for failure in failures if not failure.is_collateral]
    others = [failure for failure in failures if failure.is_collateral]
    for kind in dict.fromkeys(failure.kind for failure in others):
        first, *more = (failure for failure in others if failure.kind == kind)
        words = f"{first.message}; and so {count(len(more))} more" if more else first.message
        type_in_words.append(Failure(kind, words, first.remedy))
    return type_in_words


def _coercions(coerced: Sequence[tuple[str, Coercion]]) -> Table:
    table = grid("coerced in the warehouse", "from", "to", "values", "for example", "", right=(3,), folds=(4,))
    for name, coercion in sorted(coerced, key=lambda pair: (not pair[1].is_new, -pair[1].count))[:_COERCIONS_SHOWN]:
        keys = ", ".join(map(str, coercion.example_keys))
        is_new = "new" if coercion.is_new else ""
        table.add_row(f"{name}.{coercion.column}", coercion.found, coercion.became, count(coercion.count), keys, is_new)
    if len(coerced) > _COERCIONS_SHOWN:
        table.add_row(f"and {len(coerced) - _COERCIONS_SHOWN} more columns (--json has all)", *[""] * 5)
    return table


def plans(planned: Planned) -> RenderableType:
    """The plan of a run, in the order of work."""
    table = grid("table", "mode", "rows", "size", "about", "why", right=(2, 3, 4), folds=(5,))
    for plan in planned.plans:
        table.add_row(
            plan.name, plan.mode, _about(plan), size(_bytes(plan)), duration(plan.expected.seconds), plan.reason
        )
    parts: list[RenderableType] = [table]
    parts += [Text(f"note: {plan.name}: {note}") for plan in planned.plans for note in plan.notes]
    parts += [Text(f"note: {warning}") for warning in planned.warnings]
    if planned.estimate:
        parts.append(Text(_estimate(planned.estimate, sum(map(_bytes, planned.plans))), style="bold"))
    return Group(*parts)


def _estimate(one: Estimate, bytes_: int) -> str:
    words = f"about {duration(one.seconds)}, {duration(one.low)} to {duration(one.high)} ({one.basis})"
    words += f", {size(bytes_)} to be read" if bytes_ else ""
    if not one.critical:
        return words
    chain = " → ".join(one.critical[:_CHAIN_SHOWN])
    more = len(one.critical) - _CHAIN_SHOWN
    return f"{words}; ends with: {chain}" + (f" and {count(more)} more" if more > 0 else "")


def _about(plan: TablePlan) -> str:
    return "what changed" if plan.kind.goes_by_checksums else count(plan.expected.rows)


def _bytes(plan: TablePlan) -> int:
    return plan.table.data_bytes * plan.expected.rows // max(plan.table.rows, 1)


def plans_json(planned: Planned) -> dict[str, Any]:
    return {
        "estimate": planned.estimate and planned.estimate.as_json(),
        "tables": [
            {
                "table": plan.name,
                "category": plan.category,
                "mode": plan.mode.value,
                "reason": plan.reason,
                "reason_code": plan.reason_code or None,
                "rows": plan.table.rows,
                "rows_expected": plan.expected.rows,
                "bytes_expected": _bytes(plan),
                "seconds_expected": round(plan.expected.seconds, 3),
                "seconds_spread": round(plan.expected.spread, 3) if plan.expected.runs else None,
                "runs_remembered": plan.expected.runs,
            }
            for plan in planned.plans
        ],
        "failed": [{"table": o.table, "error": o.failure and o.failure.as_json()} for o in planned.failed],
        "warnings": list(planned.warnings),
    }


_BAR_WIDTH = 40


def trial(one: Trial) -> str:
    """A trial in a line, while others are still to come."""
    return f"{one.workers} × {size(one.partition_bytes)}: {count(one.rows_per_second)} rows/s"


def benched(found: Benched, save: bool = False) -> RenderableType:
    """The curve over sizes and workers, where the time goes, and what is recommended."""
    most = max(one.rows_per_second for one in found.trials)
    curve = grid("workers", "partition", "rows/s", "", right=(0, 1, 2))
    by_setting: dict[tuple[int, int], list[Trial]] = {}
    for one in found.trials:
        by_setting.setdefault((one.workers, one.partition_bytes), []).append(one)
    for (workers, bytes_), trials in sorted(by_setting.items()):
        rate = max(one.rows_per_second for one in trials)
        chosen = (workers, bytes_) == (found.best.workers, found.best.partition_bytes)
        bar = "█" * max(1, round(rate / most * _BAR_WIDTH)) if most else ""
        curve.add_row(str(workers), size(bytes_), count(rate), bar + (" ◄" if chosen else ""))
    phases = grid("phase", "seconds per million rows", "rows/s", "MiB/s", "share", right=(1, 2, 3, 4))
    total, rows = sum(found.best.phases.values()), max(found.best.rows, 1)
    for phase, seconds in found.best.phases.items():
        quick = max(seconds, 1e-9)
        each, moved = count(rows / quick), f"{found.best.bytes / quick / 2**20:,.0f}"
        phases.add_row(phase, f"{seconds / rows * 1e6:.1f}", each, moved, f"{seconds / total:.0%}")
    gain = found.best.rows_per_second / max(found.default.rows_per_second, 1e-9)
    words = f"{found.table}: {found.best.workers} workers with partitions of {size(found.best.partition_bytes)}"
    words += f", {gain:.2f} × the default" if found.chosen else ", the default"
    words += f": {count(found.best.rows_per_second)} rows/s while all are at work, of {count(found.rows)} rows"
    parts: list[RenderableType] = [curve, Text(), phases, Text()]
    if found.index_seconds >= _SHOWN_SECONDS_MIN:
        parts.append(Text(f"note: indexes at the replica, {duration(found.index_seconds)} for the rows of a trial"))
    parts += [Text(f"note: {note}") for note in found.notes]
    parts.append(Text(words, style="bold"))
    if found.chosen:
        parts.append(Text("saved in arrowetl.yml" if save else "--save writes it into arrowetl.yml"))
    return Group(*parts)


_SHOWN_SECONDS_MIN = 0.05


def changed(changes: Sequence[Change], changelog: Path | None) -> RenderableType:
    """What is another one at the source than at the last analysis, in short."""
    lines = [f"{change.severity}: {change.words}" for change in changes[:_CHANGES_SHOWN]]
    if len(changes) > _CHANGES_SHOWN:
        lines.append(f"and {count(len(changes) - _CHANGES_SHOWN)} more")
    return Group(*map(Text, [*lines, f"all of it: {changelog}"] if changelog else lines))


def policy(suggested: Mapping[str, Any], doubtful: Mapping[str, Sequence[str]]) -> str:
    """
    Choices as arrowetl.yml takes them, and in comments what nothing is suggested for.

    >>> print(policy({"tables": {"patient": {"columns": {"LName": {"mask": "hash"}}}}}, {}), end="")
    # What is known of OpenDental, and surely not all. Add what you want to arrowetl.yml.
    tables:
      patient:
        columns:
          LName: {mask: hash}
    """
    import yaml

    head = "# What is known of OpenDental, and surely not all. Add what you want to arrowetl.yml.\n"
    text = yaml.safe_dump(suggested, sort_keys=False, default_flow_style=None, allow_unicode=True)
    lines = [f"#   {table}: {', '.join(columns)}\n" for table, columns in doubtful.items()]
    more = "\n# By their names these may be personal as well; nothing is suggested for them:\n" if lines else ""
    return head + text + more + "".join(lines)


def examined(found: Sequence[Examined], verbose: bool = False) -> RenderableType:
    """Each server in a line, and beneath it what is wrong with it; what it is set to where that is asked for."""
    parts: list[RenderableType] = []
    for one in found:
        if one.error:
            parts.append(Text(f"✗ {one.error}", style="red"))
            parts += [Text(f"  if the account lacks privileges: {grant}") for grant in one.grants]
            continue
        latency = f"{(one.latency_seconds or 0) * 1000:.1f} ms"
        parts.append(Text(f"{'✓' if one.good else '✗'} {one.endpoint}: {one.version}, {latency}", style="bold"))
        parts += [Text("  " + ", ".join(f"{name} {value}" for name, value in one.facts))] if verbose else []
        parts += [Text(f"  fix: {problem}", style="red") for problem in one.problems]
        parts += [Text(f"  missing: {grant}", style="red") for grant in one.grants]
        parts += [Text(f"  for more speed: {advice}") for advice in one.advice]
        if not verbose:
            parts += [Text(f"  note: {name}: {value}") for name, value in one.facts if value.startswith("not trusted")]
            continue
        ours = ", ".join(
            f"{name} {value or repr(value)} (there: {there or repr(there)})"
            for name, there, value, _ in one.differing_settings
        )
        parts += [Text(f"  set in each of arrowetl's sessions: {ours}")] if ours else []
    return Group(*parts)


@dataclass(frozen=True)
class _Types:
    """The type rules: as a table where it fits, else one below the other."""

    rows: Sequence[Sequence[str]]
    """The headings first."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        headings, *rows = self.rows
        if options.max_width < _TYPES_WIDTH:
            for name, *values in rows:
                yield Text(name, style="bold")
                yield from _type_lines(headings[1:], values)
            return
        table = grid(*headings, folds=range(1, len(headings)))
        for row in rows:
            table.add_row(*row)
        yield table


def types(rules: Sequence[Rule]) -> RenderableType:
    """The type rules."""
    return _Types(type_rows(rules))


_TYPES_WIDTH = 130
"""Characters that six columns need."""


def _type_lines(headings: Sequence[str], values: Sequence[str]) -> list[Text]:
    return [Text(f"  {heading}: {value}") for heading, value in zip(headings, values, strict=True) if value]


def type_rows(rules: Sequence[Rule]) -> list[tuple[str, ...]]:
    """The same in words; the headings first."""
    return [("MySQL, MariaDB", "warehouse", "Parquet", "read as", "replica", "note"), *map(_type_words, rules)]


def _type_words(rule: Rule) -> tuple[str, ...]:
    from arrowetl.types import to_parquet
    from arrowetl.types.rules import REPLICA_TYPES

    select = "its bytes" if callable(rule.select) else rule.select
    read = _shorter(select.replace("{c}", "c")) + (f", or as {rule.fallback}" if rule.fallback else "")
    there = {
        f"{type_} on {flavour}": 0 for name in rule.mysql for flavour, type_ in REPLICA_TYPES.get(name, {}).items()
    }
    replica = "the same" if rule.only_on_request else ", ".join(there) or "the same"
    warehouse = rule.postgres.replace("{p}", "p").replace("{s}", "s")
    name = f"{rule.name}: {', '.join(rule.mysql)}" if rule.only_on_request else rule.name
    return name, warehouse, to_parquet.type_in_words(rule.postgres), read, replica, rule.note


def _shorter(expression: str) -> str:
    expression = expression.removeprefix("COALESCE(").partition(", IF(c IS NULL")[0]
    return expression if len(expression) < 40 else expression.partition("(")[0] + "(…)"


def error_json(problem: ArrowetlError) -> dict[str, Any]:
    """What is in the document of a command that did nothing, after its beginning."""
    return {"tables": [], "error": Failure.of(problem).as_json()}


def error(problem: ArrowetlError) -> Text:
    """An error as stderr shows it: what happened, and beneath it what to do."""
    head, _, rest = problem.message.partition("\n")
    text = Text(f"arrowetl: {head}", style="red")
    for line in [*([rest] if rest else []), *([problem.remedy] if problem.remedy else [])]:
        text.append("\n" + line if line.startswith("  ") else "\n  " + indented(line), style="default")
    return text
