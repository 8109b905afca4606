"""
Pages for people who would rather look than read: of a run, a fleet, a bench, a changelog; each one file that needs no
network.

Pure: documents in, HTML out, as text. What is shown comes from `facts`, drawn
by `charts` (Vega), laid out by the templates in this folder (Jinja). Nothing here
asks a server; `cli` shows the same on a terminal.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from arrowetl import __version__
from arrowetl.pages import charts, facts
from arrowetl.pages.printable import printable_document

Document = Mapping[str, Any]

_CONTENTS = {
    "failures": ("Failures", "failures"), "warnings": ("Warnings", "flags"), "notes": ("Notes", "notes"),
    "changed": ("What changed", ""), "coercions": ("Coerced values", "coercions"), "proof": ("Proof", ""),
    "largest": ("Largest tables", "largest"), "tables": ("All tables", ""), "runs": ("Recent runs", "ended"),
    "time": ("Where the time went", ""),
}  # fmt: skip
"""Section → its words in the list of contents, and what must be there for it to be."""
_HEADINGS = (
    ("table", ""), ("status", ""), ("rows", "n"), ("read", "n more"), ("inserted", "n more"), ("updated", "n more"),
    ("deleted", "n more"), ("seconds", "n"), ("expected", "n more"), ("coerced", "n more"), ("why", "more"),
)  # fmt: skip
"""Of the table of all: words, and whether it has numbers, and is left out where the page is narrow."""
_STATUS = {"failed": "failed", "succeeded": "loaded", "skipped": "unchanged"}


def run_page(
    document: Document,
    recent_runs: Sequence[Document] = (),
    receipt: Document | None = None,
    status: Document | None = None,
    back: str = "",
) -> str:
    """
    One run.

    Args:
        document: as `run --json` has it; of a run that never ended, what is known of it.
        recent_runs: it and those before it on the same route, the latest first, as `etl_run_history` has them.
        receipt: its `digest`, and what it says under `receipt`; None where none was kept.
        status: what is in the warehouse now, as `status --json` has it; None where that could not be asked.
        back: the address of the page of all clinics; empty where there is none.
    """
    shown = printable_document(document)
    if shown.get("error"):
        return not_begun_page(shown["error"], shown["environment"], datetime.fromisoformat(shown["started_at"]))
    document, recent_runs = facts.complete(shown), printable_document(recent_runs)
    receipt, status = printable_document(receipt), printable_document(status)
    tables = document["tables"]
    phases, ended = facts.phases(tables), [one for one in recent_runs if one["seconds"]][: facts.SHOWN]
    failures, route = facts.causes(tables), facts.title(document)
    sections: dict[str, Any] = {
        "failures": failures,
        "flags": facts.flags(tables),
        "notes": facts.notes(document),
        "coercions": facts.coercions(tables),
        "largest": facts.largest(tables),
        "ended": ended,
    }
    return _page(
        "run.html",
        title=f"{route} · run of {facts.timestamp(document['started_at'])} UTC · {document['environment']}",
        heading=route,
        run=document,
        run_json=Markup(_script_json(shown)),  # noqa: S704 - what could end the script is written otherwise
        back=back,
        verdict=facts.verdict(document),
        **sections,
        contents={name: words for name, (words, needs) in _CONTENTS.items() if not needs or sections[needs]},
        states=facts.states(status),
        anchors={one["table"]: number for number, one in enumerate(failures, 1)},
        withheld=sum(map(facts.is_withheld, tables)),
        totals=facts.totals(tables),
        tables=facts.sorted_tables(tables),
        headings=_HEADINGS,
        words_of=_STATUS,
        bottleneck=facts.bottleneck(phases),
        planned=facts.planned(document),
        proof=facts.proof(status),
        receipt=receipt,
        charts={
            "timeline": _drawn(charts.timeline, document),
            "phases": _drawn(charts.phases, phases),
            "changes": _drawn(charts.changes, facts.most_changed(tables)),
            "planned": _drawn(charts.planned, facts.slowest(tables)),
            "recent_runs": _drawn(charts.recent_runs, ended),
            "rows_changed": _drawn(charts.rows_changed, ended),
        },
    )


def not_begun_page(error: Document, environment: str, at: datetime) -> str:
    """
    A run that could not begin: without it, the page of the run before would be taken for today's.

    Args:
        error: `message`, `remedy` and `code`.
    """
    return _page(
        "not_begun.html",
        title=f"arrowetl did not run · {facts.timestamp(at)} UTC · {environment}",
        heading="arrowetl did not run",
        environment=environment,
        at=at,
        error=printable_document(error),
        verdict=facts.Verdict(False, "not begun", "Nothing was read and nothing was written."),
    )


def fleet_page(clinics: Sequence[Document], about: Document) -> str:
    """
    The run of many clinics, above the pages of each.

    Args:
        clinics: of each its name (`clinic`), the address of its page (`page`) or None, its `error` or None, and its
            `run` as `run --json` has it, or None.
        about: `started_at`, `warnings`, and how clinics differ (`differing`).
    """
    clinics, about = printable_document(list(clinics)), printable_document(about)
    rows = [facts.clinic(one) for one in clinics]
    return _page(
        "fleet.html",
        title=f"{facts.count(len(clinics))} clinics · run of {facts.timestamp(about['started_at'])} UTC",
        heading=f"{facts.count(len(clinics))} clinics",
        about=about,
        rows=rows,
        verdict=facts.fleet_verdict(rows),
        charts={"clinics": _drawn(charts.clinics, [row for row in rows if row["seconds"]])},
    )


def bench_page(document: Document) -> str:
    """What `bench --json` has."""
    document = printable_document(document)
    return _page(
        "bench.html",
        title=f"arrowetl: how {document['table']} is loaded fastest",
        heading=f"How {document['table']} is loaded fastest",
        bench=document,
        bottleneck=facts.bottleneck(document["recommended"]["phases"]),
        charts={
            "trials": _drawn(charts.trials, facts.trials(document)),
            "phases": _drawn(charts.phases, document["recommended"]["phases"]),
        },
    )


def changelog_page(document: Document) -> str:
    """What `analyze` found to be another one than it was, as its JSON has it."""
    words = "What changed at the source"
    return _page("changelog.html", title=f"arrowetl: {words}", heading=words, log=printable_document(document))


def _drawn(chart: charts.Chart, data: Any) -> Markup:
    """A chart; nothing without data, or without Vega."""
    if not data or not charts.can_draw() or (spec := chart(data)) is None:
        return Markup("")
    return Markup(charts.svg(spec))  # noqa: S704 - Vega escapes what it writes


def _script_json(document: Document) -> str:
    """JSON that a page may hold: nothing in it ends a script."""
    return json.dumps(document, ensure_ascii=False).replace("<", "\\u003c")


def _page(template: str, **what: Any) -> str:
    can_draw = charts.can_draw()
    return _templates().get_template(template).render(**what, version=__version__, signs=facts.SIGNS, can_draw=can_draw)


def _time(text: str | datetime | None) -> Markup:
    """In UTC; the page's script writes it in the reader's zone."""
    if text is None:
        return Markup("")
    when = text if isinstance(text, datetime) else datetime.fromisoformat(text)
    return Markup('<time datetime="{}">{} UTC</time>').format(when.astimezone(UTC).isoformat(), facts.timestamp(when))


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("arrowetl", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": facts.count,
        "size": facts.size,
        "duration": facts.duration,
        "number_of": facts.number_of,
        "time": _time,
        "shell": shlex.quote,
        "rows": facts.rows,
    }
    return environment
