"""
Vega-Lite specifications, and the SVG that Vega draws of them.

Colours are the page's own variables, so that a chart follows it into the dark;
every mark says in words what it shows, for who hears the page and who points
at it. What is shown was chosen by `facts`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import vl_convert

from arrowetl.pages import facts

Spec = dict[str, Any]
Chart = Callable[[Any, int], Spec | None]
"""What is to be drawn, and how many pixels there are → a specification."""

WIDTHS = {"wide": 860, "narrow": 330}
"""Of a screen, and of paper; of a telephone."""
_LABELS = {860: 150, 330: 100}
"""Of those pixels, how many the names of tables have."""
_GOOD, _BAD, _PLAIN, _QUIET, _ACCENT = (f"var(--{name})" for name in ("good", "bad", "plain", "quiet", "accent"))
_MODES = {"full": _PLAIN, "reconcile": "var(--second)", "incremental": "var(--third)", "failed": _BAD}
_CHANGES = {"inserted": _GOOD, "updated": "var(--second)", "deleted": _BAD}
_ROW = 22
"""Pixels of one bar and the space around it."""
_NAMED = 0.1
"""A bar of so much of the timeline has space for its name."""

_CONFIG = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    # The page's font may be wider than the one that Vega measures by.
    "padding": {"left": 24, "right": 5, "top": 5, "bottom": 5},
    "axis": {
        "labelColor": "var(--text)", "titleColor": "var(--text)", "domainColor": "var(--line)", "tickColor":
        "var(--line)", "gridColor": "var(--line)", "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": 400,
    },
    "legend": {"labelColor": "var(--text)", "titleColor": "var(--text)", "labelFontSize": 12, "orient": "top"},
    "bar": {"cornerRadius": 2},
    "text": {"color": "var(--text)", "fontSize": 11},
}  # fmt: skip


def svg(spec: Spec) -> str:
    """The picture; each mark has its words where a pointer finds them."""
    drawn: str = vl_convert.vegalite_to_svg({"config": _CONFIG, **spec}, vl_version="5.20")
    return re.sub(r'(<path aria-label="([^"]*)"[^>]*)/>', r"\1><title>\2</title></path>", drawn)


def timeline(run: Mapping[str, Any], width: int) -> Spec | None:
    """When each table was loaded, and by which of the workers."""
    began = datetime.fromisoformat(run["started_at"])
    bars = []
    for table in run["tables"]:
        if table["worker"] is None or not table["started_at"]:
            continue
        start = max(0.0, (datetime.fromisoformat(table["started_at"]) - began).total_seconds())
        what = "failed" if table["status"] == "failed" else table["mode"]
        bar_label = (
            f"{table['table']}: {table['seconds']:.2f} s, from {start:.2f} s, worker {table['worker'] + 1}, {what}"
        )
        bars.append({
            "table": table["table"], "start": start, "end": start + table["seconds"], "what": what, "label": bar_label,
            "worker": table["worker"] + 1,
        })  # fmt: skip
    if not bars:
        return None
    end = max(bar["end"] for bar in bars)
    colours = [what for what in _MODES if any(bar["what"] == what for bar in bars)]
    x = {"field": "start", "type": "quantitative", "title": "seconds since the run began",
         "axis": {"grid": False, "tickCount": 8 if width > 500 else 4}}  # fmt: skip
    encoding = {"y": {"field": "worker", "type": "ordinal", "title": "worker"}, "x": x, "x2": {"field": "end"}}
    colour = {
        "field": "what",
        "type": "nominal",
        "title": None,
        "scale": {"domain": colours, "range": [_MODES[what] for what in colours]},
    }
    named = f"datum.end - datum.start > {_NAMED * end * (1 if width > 500 else 2)}"
    return {
        "data": {"values": bars},
        "width": width - 84,
        "height": {"step": 26},
        "layer": [
            {
                "mark": {"type": "bar", "stroke": "var(--page)", "strokeWidth": 0.5},
                "encoding": {**encoding, "color": colour, "description": {"field": "label"}},
            },
            {
                "transform": [{"filter": named}],
                "mark": {"type": "text", "align": "left", "dx": 4, "color": "var(--page)", "aria": False},
                "encoding": {"y": encoding["y"], "x": x, "text": {"field": "table"}},
            },
        ],
    }


def phases(seconds: Mapping[str, float], width: int) -> Spec:
    """What all workers together spent their time with."""
    whole, most = sum(seconds.values()) or 1.0, max(seconds, key=lambda phase: seconds[phase])
    bars = [
        {
            "phase": facts.PHASES[phase] if width > 500 else phase,
            "seconds": s,
            "most": phase == most,
            "label": f"{phase}: {s:.2f} s, {s / whole:.0%}",
        }
        for phase, s in seconds.items()
    ]
    return _bars(
        bars, "phase", "seconds", "seconds of all workers together", width, colour=_by("most", _ACCENT, _PLAIN)
    )


def changes(tables: Sequence[Mapping[str, Any]], width: int) -> Spec:
    """What became of the warehouse's rows in the tables that changed most."""
    bars = [
        {"table": table["table"], "rows": rows, "kind": kind, "order": number,
         "label": f"{table['table']}: {rows:,} {kind}"}
        for table in tables
        for number, kind in enumerate(_CHANGES)
        if (rows := table[f"rows_{kind}"])
    ]  # fmt: skip
    colour = {
        "field": "kind",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(_CHANGES), "range": list(_CHANGES.values())},
    }
    spec = _bars(bars, "table", "rows", "rows in the warehouse", width, colour=colour)
    spec["encoding"]["order"] = {"field": "order"}
    return spec


def planned(tables: Sequence[Mapping[str, Any]], width: int) -> Spec:
    """What the slowest tables took, and a mark for what was expected."""
    bars = [
        {"table": t["table"], "seconds": t["seconds"], "expected": t["seconds_expected"],
         "label": f"{t['table']}: {t['seconds']:.2f} s, {t['seconds_expected']:.2f} s expected"}
        for t in tables
    ]  # fmt: skip
    spec = _bars(bars, "table", "seconds", "seconds, and as expected ┃", width, colour={"value": _PLAIN})
    encoding = spec.pop("encoding")
    tick = {
        "mark": {"type": "tick", "thickness": 3, "size": _ROW - 4, "color": _ACCENT, "aria": False},
        "encoding": {"y": encoding["y"], "x": {"field": "expected", "type": "quantitative"}},
    }
    spec["layer"] = [{"mark": spec.pop("mark"), "encoding": encoding}, tick]
    return spec


def recent_runs(runs: Sequence[Mapping[str, Any]], width: int) -> Spec:
    """How long the last runs took; those that were not good in another colour."""
    words = (f"{facts.duration(one['seconds'])}, exit code {one['exit_code']}" for one in runs)
    return _columns(runs, [one["seconds"] for one in runs], words, "seconds", width, _by("good", _PLAIN, _BAD))


def throughput(runs: Sequence[Mapping[str, Any]], width: int) -> Spec:
    """How many rows a second the last runs read."""
    rates = [(one["rows"] or 0) / one["seconds"] for one in runs]
    words = (f"{facts.count(rate)} rows/s" for rate in rates)
    return _columns(runs, rates, words, "rows read per second", width, {"value": "var(--third)"})


def _run_label(run: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> str:
    """When it was; to the second, where several began in a minute."""
    minute = facts.timestamp(run["started_at"])
    if sum(facts.timestamp(one["started_at"]) == minute for one in runs) == 1:
        return minute
    return f"{minute}:{datetime.fromisoformat(str(run['started_at'])):%S}"


def clinics(rows: Sequence[Mapping[str, Any]], width: int) -> Spec:
    """How long each clinic took."""
    bars = [
        {"clinic": one["clinic"], "seconds": one["seconds"], "good": one["good"],
         "label": f"{one['clinic']}: {facts.duration(one['seconds'])}, {one['words']}"}
        for one in rows
    ]  # fmt: skip
    return _bars(bars, "clinic", "seconds", "seconds", width, colour=_by("good", _PLAIN, _BAD))


def trials(rows: Sequence[Mapping[str, Any]], width: int) -> Spec:
    """How many rows a second each trial loaded; the recommended one is marked."""
    bars = [
        {"trial": one["trial"], "rate": one["rate"], "best": one["best"],
         "label": f"{one['trial']}: {one['rate']:,.0f} rows/s"}
        for one in rows
    ]  # fmt: skip
    return _bars(bars, "trial", "rate", "rows per second", width, colour=_by("best", _ACCENT, _PLAIN))


def _by(field: str, is_so: str, otherwise: str) -> Spec:
    """A colour for the marks of which something is true, and one for the rest."""
    return {"condition": {"test": f"datum.{field}", "value": is_so}, "value": otherwise}


def _bars(rows: Sequence[Mapping[str, Any]], name: str, field: str, title: str, width: int, colour: Spec) -> Spec:
    """Lying bars, in the order of the rows, each with its name."""
    names = list(dict.fromkeys(row[name] for row in rows))
    labels = _LABELS[width]
    return {
        "data": {"values": list(rows)},
        "width": width - labels - 60,
        "height": _ROW * len(names),
        "mark": {"type": "bar", "height": {"band": 0.75}},
        "encoding": {
            "y": {"field": name, "type": "nominal", "sort": names, "title": None,
                  "axis": {"labelLimit": labels, "ticks": False, "domain": False}},
            "x": {"field": field, "type": "quantitative", "title": title, "axis": {"tickCount": 5}},
            "color": colour,
            "description": {"field": "label"},
        },
    }  # fmt: skip


def _columns(
    runs: Sequence[Mapping[str, Any]], values: Iterable[float], words: Iterable[str], title: str, width: int,
    colour: Spec,
) -> Spec:  # fmt: skip
    """Vertical bars, one for each run."""
    bars = [
        {"run": _run_label(one, runs), "value": value, "good": one["exit_code"] == 0,
         "label": f"{facts.timestamp(one['started_at'])}: {said}"}
        for one, value, said in zip(runs, values, words, strict=True)
    ]  # fmt: skip
    every = -(-len(bars) // (12 if width > 500 else 5))
    shown = [bar["run"] for bar in bars][::-1][::every]
    return {
        "data": {"values": bars},
        "width": width - 94,
        "height": 130,
        "mark": {"type": "bar"},
        "encoding": {
            "x": {"field": "run", "type": "ordinal", "sort": None, "title": None,
                  "axis": {"labelAngle": -35, "values": shown}},
            "y": {"field": "value", "type": "quantitative", "title": title, "axis": {"tickCount": 4}},
            "color": colour,
            "description": {"field": "label"},
        },
    }  # fmt: skip
