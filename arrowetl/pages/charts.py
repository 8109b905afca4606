"""
Vega-Lite specifications, and the SVG that Vega draws of them.

Colours are the page's own variables, so that a chart follows it into the dark; they differ in brightness as well, for
who sees red and green alike. Every mark says in words what it shows, for who hears the page and who points at it.
What is shown was chosen by `facts`. Vega comes with an extra: without it, a page has no charts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from arrowetl import lazy
from arrowetl.pages import facts

if TYPE_CHECKING:
    import vl_convert
else:
    vl_convert = lazy.module("vl_convert")

Spec = dict[str, Any]
Chart = Callable[[Any], Spec | None]
"""What is to be drawn → a specification."""

_WIDTH, _BROAD = 560, 1100
"""Pixels of a chart, two of which fit next to each other, and of one that needs the whole page."""
_LABELS, _VALUES = 130, 90
"""Of those pixels, how many the names at the left have, and the values at the right."""
_BAD, _PLAIN, _ACCENT = (f"var(--{name})" for name in ("bad", "plain", "accent"))
_MODES = {"full": _PLAIN, "reconcile": "var(--second)", "incremental": "var(--third)", "failed": _BAD}
_CHANGES = {"inserted": _PLAIN, "updated": "var(--second)", "deleted": "var(--grey)"}
_ROW = 22
"""Pixels of one bar and the space around it."""
_NAMED = 0.1
"""A bar of so much of the timeline has space for its name."""

_CONFIG = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    # The page's font may be wider than the one that Vega measures by.
    "padding": {"left": 5, "right": 5, "top": 5, "bottom": 5},
    "axis": {
        "labelColor": "var(--text)", "titleColor": "var(--text)", "domainColor": "var(--line)", "tickColor":
        "var(--line)", "gridColor": "var(--line)", "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": 400,
    },
    "legend": {"labelColor": "var(--text)", "titleColor": "var(--text)", "labelFontSize": 12, "orient": "top"},
    "bar": {"cornerRadius": 2},
    "text": {"color": "var(--text)", "fontSize": 12},
}  # fmt: skip


def can_draw() -> bool:
    """Whether the extra "report" is installed."""
    return find_spec("vl_convert") is not None


def svg(spec: Spec) -> str:
    """The picture; each mark has its words where a pointer finds them."""
    drawn: str = vl_convert.vegalite_to_svg({"config": _CONFIG, **spec}, vl_version="5.20")
    return re.sub(r'(<path aria-label="([^"]*)"[^>]*)/>', r"\1><title>\2</title></path>", drawn)


def timeline(run: Mapping[str, Any]) -> Spec | None:
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
    x = {"field": "start", "type": "quantitative", "title": "seconds since the run began",
         "axis": {"grid": False, "tickCount": 8}}  # fmt: skip
    encoding = {"y": {"field": "worker", "type": "ordinal", "title": "worker"}, "x": x, "x2": {"field": "end"}}
    return {
        "data": {"values": bars},
        "width": _BROAD - 84,
        "height": {"step": 26},
        "layer": [
            {
                "mark": {"type": "bar", "stroke": "var(--page)", "strokeWidth": 0.5},
                "encoding": {**encoding, "color": _legend("what", _MODES, bars), "description": {"field": "label"}},
            },
            {
                "transform": [{"filter": f"datum.end - datum.start > {_NAMED * end}"}],
                "mark": {"type": "text", "align": "left", "dx": 4, "color": "var(--page)", "aria": False},
                "encoding": {"y": encoding["y"], "x": x, "text": {"field": "table"}},
            },
        ],
    }


def phases(seconds: Mapping[str, float]) -> Spec:
    """What all workers together spent their time with."""
    all_seconds, most = sum(seconds.values()) or 1.0, max(seconds, key=lambda phase: seconds[phase])
    bars = [
        {
            "name": facts.PHASES[phase],
            "value": s,
            "most": phase == most,
            "said": f"{s:.2f} s, {s / all_seconds:.0%}",
            "label": f"{phase}: {s:.2f} s, {s / all_seconds:.0%}",
        }
        for phase, s in seconds.items()
    ]
    return _bars(bars, "seconds of all workers together", _by("most", _ACCENT, _PLAIN))


def changes(tables: Sequence[Mapping[str, Any]]) -> Spec:
    """What became of the warehouse's rows in the tables that changed most."""
    bars = []
    for table in tables:
        kinds = [(kind, rows) for kind in _CHANGES if (rows := table[f"rows_{kind}"])]
        start, total = 0, sum(rows for _, rows in kinds)
        for kind, rows in kinds:
            start += rows
            bars.append({
                "name": table["table"], "start": start - rows, "value": start, "kind": kind,
                "label": f"{table['table']}: {rows:,} {kind}", "said": f"{total:,}" if start == total else "",
            })  # fmt: skip
    spec = _bars(bars, "rows in the warehouse", _legend("kind", _CHANGES, bars))
    spec["layer"][0]["encoding"]["x"] = {**spec["layer"][0]["encoding"]["x"], "field": "start"}
    spec["layer"][0]["encoding"]["x2"] = {"field": "value"}
    return spec


def planned(tables: Sequence[Mapping[str, Any]]) -> Spec:
    """What the slowest tables took, and a mark for what was expected."""
    bars = [
        {"name": t["table"], "value": t["seconds"], "expected": t["seconds_expected"], "said": f"{t['seconds']:.2f} s",
         "label": f"{t['table']}: {t['seconds']:.2f} s, {t['seconds_expected']:.2f} s expected"}
        for t in tables
    ]  # fmt: skip
    spec = _bars(bars, "seconds, and as expected ┃", {"value": _PLAIN})
    tick = {
        "mark": {"type": "tick", "thickness": 3, "size": _ROW - 2, "color": "var(--text)", "aria": False},
        "encoding": {"y": spec["layer"][0]["encoding"]["y"], "x": {"field": "expected", "type": "quantitative"}},
    }
    spec["layer"].append(tick)
    return spec


def recent_runs(runs: Sequence[Mapping[str, Any]]) -> Spec:
    """How long the last runs took; those that were not good in another colour, and with a cross."""
    words = [f"{facts.duration(one['seconds'])}{'' if one['exit_code'] == 0 else ' ✗'}" for one in runs]
    bars = [
        {"name": _run_label(one, runs), "value": one["seconds"], "good": one["exit_code"] == 0, "said": said,
         "label": f"{facts.timestamp(one['started_at'])}: {facts.duration(one['seconds'])}, "
                  f"exit code {one['exit_code']}"}
        for one, said in zip(runs, words, strict=True)
    ]  # fmt: skip
    return _bars(bars, "seconds", _by("good", _PLAIN, _BAD))


def rows_changed(runs: Sequence[Mapping[str, Any]]) -> Spec | None:
    """How many of the warehouse's rows the last runs changed."""
    known = [one for one in runs if one.get("rows_changed") is not None]
    bars = [
        {"name": _run_label(one, runs), "value": one["rows_changed"], "said": f"{one['rows_changed']:,}",
         "label": f"{facts.timestamp(one['started_at'])}: {one['rows_changed']:,} rows changed"}
        for one in known
    ]  # fmt: skip
    return _bars(bars, "rows inserted, updated and deleted", {"value": "var(--third)"}) if bars else None


def _run_label(run: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> str:
    """When it was, in UTC; to the second, where several began in a minute."""
    began = [datetime.fromisoformat(str(one["started_at"])) for one in runs]
    own = datetime.fromisoformat(str(run["started_at"]))
    minute = f"{own:%d %b %H:%M}"
    return minute if sum(f"{one:%d %b %H:%M}" == minute for one in began) == 1 else f"{minute}:{own:%S}"


def clinics(rows: Sequence[Mapping[str, Any]]) -> Spec:
    """How long each clinic took."""
    bars = [
        {"name": one["clinic"], "value": one["seconds"], "good": one["good"],
         "said": f"{facts.duration(one['seconds'])}{'' if one['good'] else ' ✗'}",
         "label": f"{one['clinic']}: {facts.duration(one['seconds'])}, {one['words']}"}
        for one in rows
    ]  # fmt: skip
    return _bars(bars, "seconds", _by("good", _PLAIN, _BAD))


def trials(rows: Sequence[Mapping[str, Any]]) -> Spec:
    """How many rows a second each trial loaded; the recommended one is marked."""
    bars = [
        {"name": one["trial"], "value": one["rate"], "best": one["best"], "said": f"{one['rate']:,.0f}",
         "label": f"{one['trial']}: {one['rate']:,.0f} rows/s"}
        for one in rows
    ]  # fmt: skip
    return _bars(bars, "rows per second", _by("best", _ACCENT, _PLAIN))


def _by(field: str, is_so: str, otherwise: str) -> Spec:
    """A colour for the marks of which something is true, and one for the rest."""
    return {"condition": {"test": f"datum.{field}", "value": is_so}, "value": otherwise}


def _legend(field: str, colours: Mapping[str, str], bars: Sequence[Mapping[str, Any]]) -> Spec:
    """A colour for each kind, and a legend of those that occur."""
    there = [kind for kind in colours if any(bar[field] == kind for bar in bars)]
    scale = {"domain": there, "range": [colours[kind] for kind in there]}
    return {"field": field, "type": "nominal", "title": None, "scale": scale}


def _bars(bars: Sequence[Mapping[str, Any]], title: str, colour: Spec) -> Spec:
    """
    Lying bars in the order given, names at the left, values at the right.

    Args:
        bars: of each `name`, `value`, `said` (the value in words) and `label` (the bar in words).
    """
    names = list(dict.fromkeys(bar["name"] for bar in bars))
    y = {"field": "name", "type": "nominal", "sort": names, "title": None,
         "axis": {"labelLimit": _LABELS, "minExtent": _LABELS, "ticks": False, "domain": False}}  # fmt: skip
    x = {"field": "value", "type": "quantitative", "title": title, "axis": {"tickCount": 5}}
    return {
        "data": {"values": list(bars)},
        "width": _WIDTH - _LABELS - _VALUES,
        "height": _ROW * len(names),
        # The space of the values, whether or not one is that long.
        "padding": {"left": 5, "right": _VALUES - 10, "top": 5, "bottom": 5},
        "autosize": {"type": "pad", "contains": "content"},
        "layer": [
            {
                "mark": {"type": "bar", "height": {"band": 0.75}},
                "encoding": {"y": y, "x": x, "color": colour, "description": {"field": "label"}},
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 5, "aria": False},
                "encoding": {"y": y, "x": x, "text": {"field": "said"}},
            },
        ],
    }
