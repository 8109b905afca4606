"""
Pages in a real browser: no error, no request, what they show is what the JSON says; on a screen, a telephone and paper.

Screenshots are left in ARROWETL_TEST_SCREENSHOTS, where that names a directory.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright
from support.clinic import Clinic
from support.two_clinics import fleet_of_two

from arrowetl.pages import charts, facts, render
from arrowetl.sandbox import opendental
from arrowetl.sandbox.servers import free_port

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
HOSTILE = '<script>alert("x")</script> & \'"'


def table(number: int, name: str, **more: Any) -> dict[str, Any]:
    """One table of a synthetic run."""
    seconds = 0.05 + (number * 37 % 100) / 40
    return {
        "table": name, "category": "tiny", "mode": ("full", "reconcile", "incremental")[number % 3], "reason":
        f"reason {number}", "status": "succeeded", "partitions": 1, "rows_extracted": number * 1000,
        "rows_replica": number * 3000, "rows_warehouse": number * 3000, "rows_inserted": number, "rows_updated":
        number * 2 % 50, "rows_deleted": number % 7, "bytes_extracted": number * 100_000, "seconds": seconds,
        "seconds_expected": seconds * 0.8, "coerced": {}, "coercions": [], "settled": True, "verdict": "equal",
        "attempts": 1, "started_at": f"2026-11-26T02:{number % 60:02}:00+00:00", "worker": number % 5,
        "phases": {"extract": seconds / 2, "load": seconds / 4, "finish": 0.01}, "notes": [], "flags": [],
        "error": None,
        **more,
    }  # fmt: skip


def day() -> dict[str, Any]:
    """381 tables, one of which failed, one was skipped, one coerced for the first time, and one has a hostile name."""
    names = [*opendental.tables(0.001)][:380]
    tables = [table(number, name) for number, name in enumerate(names)] + [table(380, HOSTILE, seconds=9.0)]
    error = {"kind": "DataError", "message": "account: no room", "remedy": "make some\nand run again"}
    tables[0] |= {"status": "failed", "error": error, "attempts": 5, "verdict": None}
    tables[1] |= {"status": "skipped", "mode": "skipped", "worker": None, "phases": {}, "rows_inserted": 0,
                  "rows_updated": 0, "rows_deleted": 0, "seconds": 0.0}  # fmt: skip
    is_new = {"column": "D", "from": "zero date", "to": "NULL", "count": 12, "example_keys": [4, 5], "is_new": True}
    tables[2] |= {"coerced": {"D": 12}, "coercions": [is_new], "flags": [{"kind": "grew", "message": "it grew"}]}
    return {
        "run_id": "20261126T020000-abcdef", "environment": "production", "started_at": "2026-11-26T02:00:00+00:00",
        "ended_at": "2026-11-26T03:00:00+00:00", "seconds": 3600.0, "exit_code": 1, "published": None, "estimate":
        {"seconds": 3000.0, "low": 2500.0, "high": 3500.0, "basis": "by 3 runs like it", "critical_path": ["claim"]},
        "tables": tables, "overdue": [{"table": "z", "message": "z: its last success is 9 days old"}],
        "warnings": ["a warning"],
    }  # fmt: skip


DAYS = [
    {"run_id": str(n), "started_at": f"2026-11-{26 - n:02}T02:00:00+00:00", "seconds": 3600.0 - n, "exit_code":
     int(n == 3), "tables": 381, "failed": 0, "rows": 1_000_000 * (n + 1), "bytes": 1, "rows_changed": 100 * n}
    for n in range(20)
]  # fmt: skip
RECEIPT = {"digest": "ab" * 32, "receipt": {"signed_off": False, "previous": "cd" * 32, "versions": {"arrowetl": "1"}}}


def fleet_page() -> str:
    good = {**day(), "exit_code": 0, "tables": day()["tables"][1:]}
    error = {"message": "source 10.0.0.5: connect: no answer", "remedy": "is it up?"}
    clinics = [
        {"clinic": "north", "page": "north.html", "error": None, "run": good},
        {"clinic": "south", "page": "south.html", "error": None, "run": day()},
        {"clinic": "west", "page": None, "error": error, "run": None},
    ]
    differing = [{"table": "patient", "column": "X", "clinics": {"int": ["north"], "": ["south"]}}]
    about = {"environment": "production", "started_at": "2026-11-26T02:00:00+00:00", "warnings": ["one"],
             "differing": differing}  # fmt: skip
    return render.fleet_page(clinics, about)


def bench_page() -> str:
    trial = {"workers": 2, "partition_bytes": 2**21, "partitions": 4, "rows": 1000, "bytes": 1, "seconds": 1.0,
             "rows_per_second": 1000, "phases": {"extract": 0.4, "load": 0.6}}  # fmt: skip
    return render.bench_page({
        "table": "patient", "to": "both", "rows": 5000, "trials":
        [trial, {**trial, "workers": 3, "rows_per_second": 800}],
        "default": trial, "recommended": trial, "gain": 1.0, "index_seconds": 0.5, "notes": ["a note"],
    })  # fmt: skip


def changelog_page() -> str:
    change = {"kind": "column_removed", "severity": "breaking", "table": "patient", "column": "X", "before": "int",
              "after": None, "next_run": "dropped", "readers": "views"}  # fmt: skip
    return render.changelog_page({"generated_at": "2026-11-26T02:00:00+00:00", "since": None, "has_changes": True,
                                  "has_breaking_changes": True, "changes": [change]})  # fmt: skip


OTHER_PAGES = {"fleet": fleet_page, "bench": bench_page, "changelog": changelog_page}


# What all of them are on is made once.
pytestmark = pytest.mark.xdist_group("pages")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.fail("no Chromium on this machine: install it (apt-get install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield started
        started.close()


Shown = Callable[..., Page]


@pytest.fixture
def shown(browser: Browser, tmp_path: Path) -> Iterator[Shown]:
    """A page in the browser; whatever it says to the console, or asks the network for, fails the test."""
    wrong: list[str] = []
    opened = []

    def show(text: str, width: int = 1100, **context: Any) -> Page:
        file = tmp_path / "page.html"
        file.write_text(text, encoding="utf-8")
        around = browser.new_context(viewport={"width": width, "height": 900}, **context)
        opened.append(around)
        page = around.new_page()
        page.on("console", lambda message: wrong.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("request", lambda one: wrong.append(one.url) if one.url != file.as_uri() else None)
        page.goto(file.as_uri())
        return page

    yield show
    for one in opened:
        one.close()
    assert [one for one in wrong if not one.startswith("data:")] == []


def photographed(page: Page, name: str) -> None:
    if place := os.environ.get("ARROWETL_TEST_SCREENSHOTS"):
        page.screenshot(path=str(Path(place) / f"{name}.png"), full_page=True)


@pytest.fixture(scope="module")
def report() -> str:
    return render.run_page(day(), DAYS, RECEIPT)


def marks(page: Page, figure: str) -> list[str]:
    """What the marks of a chart say of themselves."""
    found: list[str] = page.eval_on_selector_all(
        f"#{figure} [role=graphics-symbol][aria-roledescription=bar]",
        "marks => marks.map(mark => mark.getAttribute('aria-label'))",
    )
    return found


def test_a_page_of_381_tables_is_small_and_leads_with_the_verdict(shown: Shown, report: str) -> None:
    """Small, silent, and with the verdict and what failed before everything else."""
    page = shown(report)
    photographed(page, "run")

    assert len(report.encode()) < 5_000_000
    said = "✗ Failed 1 of 381 tables failed. The others are as the source has them."
    assert page.inner_text(".verdict").split() == said.split()
    headings = page.eval_on_selector_all("h2", "all => all.map(one => one.id)")
    sections = ["failures", "warnings", "notes", "changed", "coercions", "proof", "largest", "tables", "runs", "time"]
    assert headings == sections
    links = page.eval_on_selector_all("nav a", "all => all.map(one => one.getAttribute('href'))")
    assert links == [f"#{one}" for one in sections]
    assert page.inner_text(".failure").splitlines()[0] == "account: no room"
    assert "make some\nand run again" in page.inner_text(".failure")
    assert "20261126T020000-abcdef" in page.inner_text("main")


def test_charts_show_the_documents_values(shown: Shown, report: str) -> None:
    """Each mark is read back."""
    page, run = shown(report), day()
    by_name = {one["table"]: one for one in run["tables"]}

    timeline = marks(page, "chart-timeline")
    assert len(timeline) == 380
    for words in timeline:
        name, seconds, worker = re.fullmatch(r"(.*): ([\d.]+) s, from .*, worker (\d), .*", words).groups()  # type: ignore[union-attr]
        assert (round(by_name[name]["seconds"], 2), by_name[name]["worker"]) == (float(seconds), int(worker) - 1)
    phases = {
        phase: float(s)
        for phase, s in (re.match(r"(\w+): ([\d.]+) s", w).groups() for w in marks(page, "chart-phases"))
    }  # type: ignore[union-attr]
    assert phases == pytest.approx(
        {phase: sum(one["phases"].get(phase, 0) for one in run["tables"]) for phase in ("extract", "load", "finish")},
        abs=0.01,
    )
    reported = dict(one.rsplit(": ", 1) for one in marks(page, "chart-changes"))
    assert reported
    for name, words in reported.items():
        number, kind = words.split()
        assert by_name[name][f"rows_{kind}"] == int(number.replace(",", ""))
    slow = [words.split(": ") for words in marks(page, "chart-planned")]
    assert [name for name, _ in slow] == [one["table"] for one in facts.slowest(run["tables"])]
    assert len(marks(page, "chart-runs")) == len(marks(page, "chart-rows")) == facts.SHOWN
    assert marks(page, "chart-rows")[2] == "2026-11-24 02:00: 200 rows changed"
    assert "2026-11-23 02:00: 59 min 57 s, exit code 1" in marks(page, "chart-runs")
    assert page.inner_text("#time ~ p").startswith("66% of the work waited for the source")


def test_bar_lengths_are_proportional(shown: Shown, report: str) -> None:
    """Not only their words: twice the seconds, twice the pixels."""
    page = shown(report)
    drawn: list[list[Any]] = page.eval_on_selector_all(
        "#chart-phases [aria-roledescription=bar]",
        "all => all.map(one => [one.getAttribute('aria-label'), one.getBBox().width])",
    )
    rates = {width / float(re.search(r": ([\d.]+) s", words)[1]) for words, width in drawn if width > 20}  # type: ignore[index]

    assert len(drawn) == 3
    assert max(rates) == pytest.approx(min(rates), rel=0.02)


def rows(page: Page) -> list[str]:
    found: list[str] = page.eval_on_selector_all(
        "#all tbody tr:not([hidden]) td:first-child", "cells => cells.map(cell => cell.textContent)"
    )
    return found


def test_the_table_filters_and_sorts_by_keyboard(shown: Shown, report: str) -> None:
    """By the keyboard as well; how many are left is said aloud."""
    page, run = shown(report), day()

    assert len(rows(page)) == 381
    page.fill("#find", "ClaimProc".upper())
    assert rows(page) == ["claimproc"]
    assert page.inner_text("#shown") == "1 of 381 tables"
    assert page.get_attribute("#shown", "aria-live") == "polite"
    page.fill("#find", "")
    page.select_option("#status", "failed")
    assert rows(page) == ["account"]
    page.select_option("#status", "")
    heading = page.get_by_role("button", name="rows", exact=True)
    heading.focus()
    page.keyboard.press("Enter")
    wanted = sorted((one["rows_warehouse"] for one in run["tables"]), reverse=True)
    assert rows(page)[0] == HOSTILE
    numbers = page.eval_on_selector_all("#all tbody td:nth-child(3)", "cells => cells.map(cell => +cell.dataset.v)")
    assert numbers == wanted
    page.keyboard.press("Enter")
    assert page.get_attribute("#all th:nth-child(3)", "aria-sort") == "ascending"
    assert rows(page)[-1] == HOSTILE


@pytest.mark.parametrize("width", [400, 320])
def test_the_page_fits_a_telephone(shown: Shown, report: str, width: int) -> None:
    """Nothing lies beyond the edge, and letters can be read."""
    page = shown(report, width)
    photographed(page, "telephone")

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # What is drawn is made no smaller than letters can be read: the rest of a chart is reached by moving it alone.
    letters = page.eval_on_selector_all(
        "figure:not(.broad) svg", "all => all.map(s => 12 * s.getBoundingClientRect().width / s.viewBox.baseVal.width)"
    )
    assert min(letters) > 9
    assert min(page.eval_on_selector_all("#all td:first-child", "all => all.map(one => one.clientWidth)")) > 60


def test_the_page_prints_all_tables(shown: Shown, report: str, tmp_path: Path) -> None:
    """All tables are on it, and nothing to click."""
    page = shown(report)
    page.emulate_media(media="print")
    photographed(page, "paper")

    assert not page.is_visible(".find")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.is_visible("#chart-phases svg")
    page.pdf(path=str(tmp_path / "page.pdf"), format="A4")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_text_has_contrast_in_both_colour_schemes(shown: Shown, report: str) -> None:
    """Charts as well: what is written can be read on what it is written on."""
    colours = (
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color, "
        "getComputedStyle(document.querySelector('#chart-phases text')).fill]"
    )
    light = shown(report, color_scheme="light").evaluate(colours)
    page = shown(report, color_scheme="dark")
    photographed(page, "dark")
    dark = page.evaluate(colours)

    assert light[0] == "rgb(255, 255, 255)"
    for background, text, label in (light, dark):
        assert contrast(background, text) > 7
        assert contrast(background, label) > 7
    assert luminance(dark[0]) < 0.05 < luminance(light[0])


def luminance(colour: str) -> float:
    """As WCAG has it."""
    parts = [int(number) / 255 for number in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_control_is_labelled_and_reachable(shown: Shown, report: str) -> None:
    """What a screen reader is reported: a language, one heading above all, labels, captions, words for each mark."""
    page = shown(report)

    assert page.get_attribute("html", "lang") == "en"
    assert page.locator("h1").count() == 1
    assert page.get_by_label("find").count() == page.get_by_label("show").count() == 1
    assert page.locator("figure").count() == page.locator("figure > figcaption").count() == 6
    silent = page.eval_on_selector_all(
        "[aria-roledescription=bar]", "all => all.filter(one => !one.getAttribute('aria-label')).length"
    )
    assert silent == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("page", "width"), [("run", 320), *((one, 1280) for one in ("run", *OTHER_PAGES))])
def test_pages_have_no_fault_that_axe_knows(shown: Shown, report: str, page: str, scheme: str, width: int) -> None:
    """Contrast, labels, headings, landmarks, tables, focus: the rules of WCAG 2.2 A and AA and its best practices."""
    text = report if page == "run" else OTHER_PAGES[page]()
    looked_at = shown(text, width, color_scheme=scheme)
    looked_at.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    found = Axe().run(looked_at)

    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found.response["violations"]] == []


def test_times_are_the_readers(shown: Shown, report: str) -> None:
    """Written in UTC, shown in the zone of the browser, with the weekday; UTC stays where a pointer finds it."""
    page = shown(report, timezone_id="America/Chicago", locale="en-US")
    time = page.locator("time").first

    assert time.inner_text() == "Wed, Nov 25, 2026, 08:00 PM CST"
    assert time.get_attribute("title") == "2026-11-26 02:00 UTC"
    without_scripts = shown(report, java_script_enabled=False)
    assert without_scripts.locator("time").first.inner_text() == "2026-11-26 02:00 UTC"


def test_the_document_can_be_downloaded(shown: Shown, report: str) -> None:
    page = shown(report)
    with page.expect_download() as started:
        page.get_by_text("Download this run as JSON").click()

    assert started.value.suggested_filename == "20261126T020000-abcdef.json"
    assert json.loads(Path(started.value.path()).read_text()) == day()


def test_a_failure_is_reached_from_its_row(shown: Shown, report: str) -> None:
    """And says what readers see meanwhile, and how to try again."""
    page = shown(render.run_page(day(), DAYS, RECEIPT, state()))
    page.get_by_role("link", name="account", exact=True).click()

    assert page.url.endswith("#failure-1")
    words = page.inner_text("#failure-1")
    assert "Readers still see it as loaded at" in words
    assert "1,234 rows" in words
    assert "arrowetl run account" in words


def state() -> dict[str, Any]:
    """`status --json` after that run: `account` is as it was the day before, `b` differs."""
    row = {"rows": 1234, "loaded_at": "2026-11-25T02:00:00+00:00", "verified_at": None, "differed_at": None}
    verified = "2026-11-24T02:00:00+00:00"
    return {
        "tables": [
            {**row, "table": "account"},
            {**row, "table": "b", "differed_at": "2026-11-25T03:00:00+00:00"},
            {**row, "table": "c", "verified_at": verified},
            {**row, "table": "d", "verified_at": "2026-11-25T03:00:00+00:00"},
        ]
    }


def test_the_page_says_what_is_proven() -> None:
    """Of the tables as they are now."""
    proof = facts.proof(state())

    assert proof
    assert proof.sentence == (
        "2 of 4 tables were verified since they last changed, and are equal. 1 table found to differ: b."
    )
    assert (proof.oldest, proof.latest) == ("2026-11-24T02:00:00+00:00", "2026-11-25T03:00:00+00:00")
    assert facts.proof({"tables": []}).sentence.startswith("None of 0 tables was verified")  # type: ignore[union-attr]
    assert facts.proof(None) is None


def test_without_vega_a_page_has_all_but_charts(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes with the extra `report`, which the page names."""
    monkeypatch.setattr(charts, "can_draw", lambda: False)
    page = shown(render.run_page(day(), DAYS, RECEIPT))

    assert page.locator("figure").count() == 0
    assert len(rows(page)) == 381
    assert "pip install 'arrowetl[report]'" in page.inner_text("footer")


def test_a_run_to_the_replica_alone_says_so() -> None:
    page = render.run_page({**day(), "to": "replica"})

    assert "Only the replica was written. The warehouse is as it was." in page
    assert "No row of the warehouse changed." not in page


def test_hostile_names_are_escaped(shown: Shown, report: str) -> None:
    page = shown(report)

    assert HOSTILE in page.inner_text("#all")
    assert page.locator("script").count() == 2
    assert json.loads(page.text_content("#document") or "")["tables"][380]["table"] == HOSTILE
    assert HOSTILE in page.text_content("#chart-planned")  # type: ignore[operator]


def test_a_run_without_changes_draws_no_chart(shown: Shown) -> None:
    """Says so, and draws nothing of nothing."""
    run = day()
    for one in run["tables"]:
        one |= {"status": "skipped", "mode": "skipped", "rows_inserted": 0, "rows_updated": 0, "rows_deleted": 0,
                "rows_extracted": 0, "worker": None, "phases": {}, "seconds": 0.0, "error": None, "coercions": [],
                "coerced": {}, "flags": []}  # fmt: skip
    page = shown(render.run_page({**run, "exit_code": 0, "overdue": [], "warnings": [], "planned": None}))

    assert page.inner_text(".verdict").startswith("✓ Succeeded")
    assert "No row of the warehouse changed." in page.inner_text("main")
    assert page.locator("figure").count() == 0
    assert "This run has no receipt." in page.inner_text("main")


@pytest.mark.parametrize(
    ("change", "word", "words"),
    [
        ({"exit_code": 130}, "interrupted", "It was stopped"),
        ({"exit_code": None, "ended_at": None, "seconds": None}, "not ended", "no end recorded: still running, or"),
        (
            {"exit_code": 0, "tables": day()["tables"][1:]},
            "good",
            "Both targets have what the source has: 380 of 380",
        ),
        ({"tables": day()["tables"][1:]}, "flagged", "Look at the warnings below"),
        ({"tables": [day()["tables"][0]]}, "failed", "1 of 1 tables failed. The others are as the source has them."),
    ],
)
def test_the_verdict_is_one_sentence(change: dict[str, Any], word: str, words: str) -> None:
    reported = facts.verdict(facts.complete({**day(), **change}))

    assert (reported.word, reported.good) == (word, word == "good")
    assert words in reported.sentence


def test_a_fleet_page_links_its_clinics(shown: Shown) -> None:
    page = shown(fleet_page())
    photographed(page, "fleet")

    assert page.inner_text(".verdict").endswith("1 of 3 clinics have what their sources have. Look at south, west.")
    assert page.get_attribute("a", "href") == "north.html"
    assert "is it up?" in page.inner_text(".failure")
    assert [words.partition(":")[0] for words in marks(page, "chart-clinics")] == ["north", "south"]
    assert "patient.X: int in north; missing in south" in page.inner_text("main")


def test_bench_and_changelog_pages_share_the_style(shown: Shown) -> None:
    page = shown(bench_page())
    photographed(page, "bench")
    assert marks(page, "chart-trials") == ["2 × 2.0 MiB: 1,000 rows/s", "3 × 2.0 MiB: 800 rows/s"]
    assert "60% of the work waited for the replica" in page.inner_text("main")
    page = shown(changelog_page())
    assert "patient.X: column removed" in page.inner_text("main")


# --- of real runs -------------------------------------------------------------------------------


def test_report_shows_the_last_or_the_named_run(clinic: Clinic, shown: Shown) -> None:
    """The last one, one by what its name begins with, and the one that is written at a run's end."""
    clinic.create("CREATE TABLE a (Num int PRIMARY KEY, D date) ENGINE=MyISAM;\nINSERT INTO a VALUES (1, NULL)")
    clinic.run()
    clinic.create("INSERT INTO a VALUES (2, '0000-00-00')")
    first = clinic.run()
    page = clinic.directory / "last.html"
    second = clinic.run("--all", "--report", str(page))
    assert second["run_id"] in page.read_text()
    done = clinic.arrowetl("report")
    assert done.returncode == 0, done.stderr
    default = clinic.directory / f"report-{second['run_id']}.html"
    assert done.stderr.strip() == default.name
    looked = shown(default.read_text())
    assert len(marks(looked, "chart-runs")) == 3
    assert "Signed off." in looked.inner_text("main")
    done = clinic.arrowetl("report", first["run_id"][:-3], "--output", "-")
    looked = shown(done.stdout)
    assert looked.inner_text("#coercions ~ details tbody tr").split("\t")[:4] == ["a.D", "zero date", "NULL", "1"]
    assert rows(looked) == ["a"]
    unknown = clinic.arrowetl("report", "2020")
    assert (unknown.returncode, "unknown run: 2020" in unknown.stderr) == (2, True)


def test_report_shows_a_killed_run_as_not_ended(clinic: Clinic, shown: Shown) -> None:
    """Nobody wrote its document: what is known is reported, and that it never ended."""
    clinic.create("CREATE TABLE a (Num int PRIMARY KEY) ENGINE=MyISAM")
    clinic.run()
    clinic.warehouse_execute(
        "UPDATE raw.etl_run_history SET ended_at = NULL, exit_code = NULL, document = NULL, way = NULL"
    )
    page = shown(clinic.arrowetl("report", "--output", "-").stdout)

    assert page.inner_text(".verdict").startswith("⚠ In progress, or killed")
    assert rows(page) == ["a"]


def test_fleet_reports_include_clinics_that_are_down(clinic: Clinic, shown: Shown) -> None:
    """One above those of its clinics, after a run and later; a clinic that is down is listed, without a page."""
    (clinic.directory / "conf").mkdir()
    fleet_of_two(clinic)
    clinic.environment["TEST_SOUTH_OPENDENTAL_SOURCE_PORT"] = str(free_port())
    there = ("--fleet", str(clinic.directory / "conf" / "fleet.yml"))
    done = clinic.arrowetl("fleet", "run", *there, "--report", "pages")
    assert done.returncode == 1, done.stderr
    page = shown((clinic.directory / "pages" / "index.html").read_text())
    assert "1 of 2 clinics have what their sources have. Look at south." in page.inner_text(".verdict")
    assert page.inner_text(".failure").startswith("south: source")
    assert page.get_attribute("a", "href") == "clinics/north.html"
    place = clinic.directory / "pages"
    assert sorted(str(path.relative_to(place)) for path in place.rglob("*.html")) == [
        "clinics/north.html",
        "index.html",
    ]
    of_north = shown((clinic.directory / "pages" / "clinics" / "north.html").read_text())
    assert rows(of_north) == ["t"]
    assert of_north.get_attribute("main a", "href") == "../index.html"
    done = clinic.arrowetl("fleet", "report", *there, "--output", "later")
    assert done.returncode == 0, done.stderr
    assert "no run is recorded" in shown((clinic.directory / "later" / "index.html").read_text()).inner_text(".failure")


def test_report_without_a_run_is_refused(clinic: Clinic) -> None:
    done = clinic.arrowetl("report")

    assert done.returncode == 2
    assert "run `arrowetl run --all` first" in done.stderr


def test_charts_without_data_are_left_out() -> None:
    """Without a single bar there is no chart, and no error."""
    run = facts.complete({**day(), "tables": []})

    assert charts.timeline(run) is None
    assert "figure" not in re.sub(r"(?s)<style>.*?</style>", "", render.run_page({**run, "exit_code": 0}))
    assert facts.totals([])["rows"] == 0
