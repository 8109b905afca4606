"""
A benchmark's JSON as Markdown, as a picture, and as parts of the README and of docs/explanation/benchmarks.md.

Nothing there was typed by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def write(document: dict[str, Any], path: Path) -> None:
    """The Markdown and the picture next to the JSON, and the parts of the pages."""
    path.with_suffix(".md").write_text(markdown(document))
    path.with_suffix(".svg").write_text(picture(document))
    for page, name, part in (
        (ROOT / "docs/explanation/benchmarks.md", "performance", markdown(document)),
        (ROOT / "README.md", "numbers", brief(document)),
    ):
        page.write_text(with_part(page.read_text(), name, part))


def with_part(text: str, name: str, part: str) -> str:
    """A page with what is there between the marks of a part."""
    before, begin, rest = text.partition(f"<!-- {name} -->")
    _, end, after = rest.partition(f"<!-- /{name} -->")
    return f"{before}{begin}\n{part}{end}{after}"


def brief(document: dict[str, Any]) -> str:
    """What a page for five minutes has of it: how arrowetl is to the others."""
    lines = [f"On {document['cores']} cores that client and servers share (`nox -s bench`):\n"]
    for scenario in document["scenarios"].values():
        lines.append(f"- {scenario['title']}. " + " ".join(f"{line}." for line in ratios(scenario)))
    if "clinic" in document:
        runs = {one["what"]: one for one in document["clinic"]["runs"]}
        reported = ", ".join(
            f"{what.removeprefix('all tables, ')} {one['seconds']:.0f} s"
            for what, one in runs.items()
            if what.startswith("all")
        )
        lines.append(f"- A whole clinic, {document['clinic']['rows']:,} rows, to both targets: {reported}.")
    return "\n".join(lines) + "\n"


def markdown(document: dict[str, Any]) -> str:
    """A table for each scenario."""
    parts = [
        f"Medians on {document['cores']} cores shared by client and servers, whole commands with their start; contents "
        "compared afterwards. A tool that took twice the time of the best of its kind was run once.\n"
    ]
    for scenario in document["scenarios"].values():
        parts.append(f"\n**{scenario['title']}** ({scenario['rows']:,} rows, {scenario['rounds']} rounds)\n")
        parts.append("| | seconds | rows/s | core seconds, client + servers | MB | contents |")
        parts.append("|---|---|---|---|---|---|")
        for name, one in _in_order(scenario):
            servers = sum(one["cpu_servers"].values())
            loaded = not one["failed"] and "nothing changed" not in name
            rate = f"{one['rows_per_second']:,}" if loaded else "-"
            parts.append(
                f"| {name} | {one['seconds']:.1f} | {rate} | "
                f"{one['cpu_client']:.1f} + {servers:.1f} | {one['memory_mb']:,} | {_contents(one)} |"
            )
        for name, why in scenario["missing"].items():
            parts.append(f"| {name} | - | - | - | - | {why} |")
        parts += [f"\n{line}." for line in ratios(scenario)]
        if scenario["floor"]:
            steps = ", ".join(f"{step} {seconds:.1f}" for step, seconds in scenario["floor"]["steps"].items())
            both, alone = scenario["floor"]["both"], scenario["floor"]["warehouse"]
            parts.append(
                f"\nThe servers' own core seconds: {steps}; over the cores {both:.1f} s for both targets, "
                f"{alone:.1f} s for the warehouse alone."
            )
    parts += clinic(document["clinic"]) if "clinic" in document else []
    return "\n".join(parts) + "\n"


def clinic(found: dict[str, Any]) -> list[str]:
    """arrowetl alone: all tables of a clinic, and one that grows."""
    parts = [
        f"\n**{found['scale']:g} of a clinic, arrowetl alone, to both targets** ({found['rows']:,} rows, "
        f"{found['workers']} workers of one process)\n",
        "| | seconds | rows read | MiB | MiB/s | core seconds, client + servers | MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in [*found["runs"], *found["growing"]]:
        size = one["bytes"] / 2**20
        parts.append(
            f"| {one['what']} | {one['seconds']:.1f} | {one['rows']:,} | {size:,.0f} | {size / one['seconds']:.1f} | "
            f"{one['cpu_client']:.1f} + {one['cpu_servers']:.1f} | {one['memory_mb']:,} |"
        )
    large, whole = (one["bytes"] / one["seconds"] for one in found["runs"][:2])
    parts.append(f"\nAll tables by {whole / large:.2f} of the bytes per second of the largest ones alone.")
    if found["growing"]:
        first, last = (one["seconds_per_million"] for one in found["growing"])
        parts.append(f"\nA million rows of the table that grew took {last / first:.2f} × what the first million took.")
    return parts


_PAR = 0.05
"""A difference of three rounds that is smaller than this one is noise."""


def ratios(scenario: dict[str, Any]) -> list[str]:
    """What arrowetl takes against the best of the others, in words; of those whose command succeeded."""
    seconds = {name: one["seconds"] for name, one in scenario["contenders"].items() if not one["failed"]}
    kinds = scenario["kinds"]
    typed = {name: seconds[name] for name in seconds if kinds.get(name) == "warehouse"}
    replicas = {name: seconds[name] for name in seconds if kinds.get(name) == "replica"}
    alone, both, again = (
        seconds.get(f"arrowetl, {what}") for what in ("warehouse alone", "both targets", "both targets again, all read")
    )
    lines = []
    if typed and alone:
        name = min(typed, key=lambda one: typed[one])
        ratio = typed[name] / alone
        par = (
            f"on par with {name} ({ratio:.2f} × its speed)"
            if abs(ratio - 1) < _PAR
            else f"{ratio:.2f} × {name}'s speed"
        )
        lines.append(f"To the warehouse alone: {par}")
    if typed and replicas and both and again:
        first, second = min(replicas, key=lambda one: replicas[one]), min(typed, key=lambda one: typed[one])
        chain = replicas[first] + typed[second]
        lines.append(
            f"To both targets: {chain / both:.2f} × the speed of the best chain ({first}, then {second}, {chain:.1f} s)"
        )
        lines.append(f"Again, with every row read and proven equal: {chain / again:.2f} × the chain's speed")
    elif typed and both:
        name = min(typed, key=lambda one: typed[one])
        lines.append(f"To both targets: {typed[name] / both:.2f} × the speed of {name} to the warehouse alone")
    if scenario["floor"] and both:
        lines.append(f"To both targets in {both / scenario['floor']['both']:.2f} × what the servers alone need")
    return lines


def _in_order(scenario: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return sorted(scenario["contenders"].items(), key=lambda item: (bool(item[1]["failed"]), item[1]["seconds"]))


def _contents(one: dict[str, Any]) -> str:
    if one["failed"]:
        return "failed"
    found = one["contents"]
    if found is None:
        return "not compared"
    if found["equal"]:
        return "equal"
    wrong = [
        f"{column}: {what:,}" if isinstance(what, int) else f"{column}: {what}"
        for column, what in found["wrong"].items()
    ]
    more = f" and {len(wrong) - 3} columns more" if len(wrong) > 3 else ""
    return "values differ: " + "; ".join(wrong[:3]) + more if wrong else found.get("missing", "rows differ")


_BAR, _LEFT, _WIDTH = 18, 260, 900


def picture(document: dict[str, Any]) -> str:
    """Bars of seconds, a group for each scenario."""
    lines, y = [], 10
    for scenario in document["scenarios"].values():
        lines.append(f'<text x="4" y="{y + 14}" font-weight="bold">{scenario["title"]}, seconds</text>')
        y += 24
        shown = [(name, one) for name, one in _in_order(scenario) if not one["failed"]]
        longest = max((one["seconds"] for _, one in shown), default=1)
        for name, one in shown:
            width = max(1, one["seconds"] / longest * (_WIDTH - _LEFT - 60))
            colour = "#2a6f97" if name.startswith("arrowetl") else "#b8b8b8"
            lines.append(f'<text x="{_LEFT - 6}" y="{y + 13}" text-anchor="end">{name}</text>')
            lines.append(f'<rect x="{_LEFT}" y="{y + 2}" width="{width:.0f}" height="{_BAR - 5}" fill="{colour}"/>')
            lines.append(f'<text x="{_LEFT + width + 5:.0f}" y="{y + 13}">{one["seconds"]:.1f}</text>')
            y += _BAR
        y += 12
    size = f'width="{_WIDTH}" height="{y}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
    return "\n".join([head, f'<rect {size} fill="white"/>', *lines, "</svg>"]) + "\n"
