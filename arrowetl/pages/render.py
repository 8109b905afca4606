"""
Pages for people who would rather look than read: of a run, a fleet, a bench, a changelog; each one file that needs no
network.

Pure: documents in, HTML out, as text. What is shown comes from `facts`, drawn
by `charts` (Vega), laid out by the templates in this folder (Jinja). Nothing here
asks a server; `cli` shows the same on a terminal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from arrowetl.pages import charts, facts
from arrowetl.pages.printable import printable_document

Document = Mapping[str, Any]


def run_page(document: Document, recent_runs: Sequence[Document] = (), receipt: Document | None = None) -> str:
    """
    One run.

    Args:
        document: as `run --json` has it; of a run that never ended, what is known of it.
        runs: it and those before it on the same route, the latest first, as `etl_run_history` has them.
        receipt: its `digest`, and what it says under `receipt`; None where none was kept.
    """
    document, recent_runs = facts.complete(printable_document(document)), printable_document(recent_runs)
    receipt = printable_document(receipt)
    tables = document["tables"]
    phases, ended = facts.phases(tables), [one for one in reversed(recent_runs) if one["seconds"]]
    return _page(
        "run.html",
        title=f"arrowetl: the run of {facts.day(document['started_at'])}",
        run=document,
        verdict=facts.verdict(document),
        failures=facts.causes(tables),
        withheld=sum(map(facts.is_withheld, tables)),
        totals=facts.totals(tables),
        new_coercions=facts.new_coercions(tables),
        notes=facts.notes(document),
        flags=facts.flags(tables),
        bottleneck=facts.bottleneck(phases),
        planned=facts.planned(document),
        largest=facts.largest(tables),
        receipt=receipt,
        charts={
            "timeline": _drawn(charts.timeline, document),
            "phases": _drawn(charts.phases, phases),
            "changes": _drawn(charts.changes, facts.most_changed(tables)),
            "planned": _drawn(charts.planned, facts.slowest(tables)),
            "recent_runs": _drawn(charts.recent_runs, ended),
            "throughput": _drawn(charts.throughput, ended),
        },
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
        title=f"arrowetl: the run of {facts.count(len(clinics))} clinics",
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
        bench=document,
        bottleneck=facts.bottleneck(document["recommended"]["phases"]),
        charts={
            "trials": _drawn(charts.trials, facts.trials(document)),
            "phases": _drawn(charts.phases, document["recommended"]["phases"]),
        },
    )


def changelog_page(document: Document) -> str:
    """What `analyze` found to be another one than it was, as its JSON has it."""
    return _page("changelog.html", title="arrowetl: what changed at the source", log=printable_document(document))


def _drawn(chart: charts.Chart, data: Any) -> Markup:
    """A chart for a wide page and for a narrow one, of which style shows the one that fits; nothing without data."""
    if not data:
        return Markup("")
    drawn = [(name, charts.svg(spec)) for name, width in charts.WIDTHS.items() if (spec := chart(data, width))]
    # Vega escapes what it writes.
    return Markup("").join(Markup('<div class="{}">{}</div>').format(name, Markup(svg)) for name, svg in drawn)  # noqa: S704


def _page(template: str, **what: Any) -> str:
    return _templates().get_template(template).render(**what)


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
        "timestamp": facts.timestamp,
        "rows": facts.rows,
    }
    return environment
