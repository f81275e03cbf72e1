"""The report in a real browser: the front page, every category, every table and figure; no error, no network."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.workflow

BROWSER = os.environ.get("STFLOW_BROWSER") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
#: The report's own style library says so in every report.
KNOWN_WARNING = "cdn.tailwindcss.com should not be used in production"


class Opened:
    """The report in a browser, and what went wrong since it was opened."""

    def __init__(self, page: Any, html: Path) -> None:
        self.page, self.html = page, html
        self.problems: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))
        page.on("request", self._asked)
        page.on("requestfailed", lambda request: self.problems.append(f"not loaded: {request.url[:100]}"))
        page.goto(html.as_uri())
        page.wait_for_selector(".prose")
        self.results: dict[str, dict[str, Any]] = page.evaluate("results")
        self.categories: dict[str, dict[str, list[str]]] = page.evaluate("categories")

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning") and KNOWN_WARNING not in message.text:
            self.problems.append(f"console: {message.text}")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.problems.append(f"asks the network: {request.url}")

    def home(self) -> None:
        """The front page, by the house and then Workflow."""
        self.page.locator("nav ol a").first.click()
        self.page.locator("nav ul a", has_text="Workflow").click()
        self.page.wait_for_selector(".prose")

    def show(self, path: str) -> None:
        """Open a result as a reader does: front page, category, subcategory, its eye."""
        category, subcategory = next(
            (name, sub) for name, subs in self.categories.items() for sub, paths in subs.items() if path in paths
        )
        self.home()
        self.page.locator(".prose a", has_text=re.compile(f"^{category}$")).click()
        if len(self.categories[category]) > 1:
            self.page.locator("nav ul a", has_text=re.compile(f"^{subcategory}$")).click()
        row = self.page.locator("nav tbody tr")
        for label in self.results[path]["labels"].values():
            row = row.filter(has=self.page.get_by_role("cell", name=label, exact=True))
        row.locator("a").first.click()
        if not path.endswith(".html"):
            return
        # While the report's menu draws itself anew a click can be lost; a reader clicks again.
        from playwright.sync_api import TimeoutError as NotYet

        for _ in range(3):
            try:
                self.page.locator("iframe").wait_for(timeout=5_000)
                return
            except NotYet:
                row.locator("a").first.click()
        self.page.locator("iframe").wait_for()


@pytest.fixture(scope="module")
def report(made_report: Any) -> Iterator[Opened]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if BROWSER is None:
        pytest.skip("no Chromium or Chrome on the path, and STFLOW_BROWSER is not set")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(60_000)
        yield Opened(page, made_report.html)
        browser.close()


@pytest.fixture(autouse=True)
def _without_problems(report: Opened) -> Iterator[None]:
    report.problems.clear()
    yield
    assert report.problems == []


def plain(cell: str) -> str:
    """A cell of a markdown table as a browser shows it."""
    return re.sub(r"\*\*|</?u>|`", "", cell).strip()


def tables_of(markdown: str) -> list[list[list[str]]]:
    """Rows of every pipe table, without the rule below the head."""
    found: list[list[list[str]]] = []
    inside = False
    for line in markdown.splitlines():
        if line.startswith("|"):
            cells = [plain(cell) for cell in line.strip("|").split("|")]
            if not inside:
                found.append([])
            if not all(re.fullmatch(r":?-+:?", cell) for cell in cells) or not found[-1]:
                found[-1].append(cells)
        inside = line.startswith("|")
    return found


def test_the_front_page_says_what_came_out_from_its_first_line(report: Opened, made_report: Any) -> None:
    report.home()
    front = report.page.locator(".prose")
    shown = re.sub(r"\s+", " ", front.inner_text())
    summary = (made_report.tables / "summary.md").read_text()
    for line in summary.splitlines():
        if line.startswith("- ") or (line and line[0].isalpha()):
            assert plain(line.removeprefix("- ")) in shown
    expected = [row for table in tables_of(summary) for row in table]
    rows = front.locator("table").evaluate_all(
        "ts => ts.flatMap(t => [...t.rows].map(r => [...r.cells].map(c => c.innerText.trim())))"
    )
    assert rows == expected
    assert len(expected) > 10
    assert "1 run failed" in shown
    assert "system-message" not in front.inner_html()
    assert front.bounding_box()["y"] >= 0, "what lies above the window cannot be scrolled to"


def test_every_category_opens_from_the_front_page(report: Opened) -> None:
    assert {"Summary", "Tables", "Figures", "Audit", "Provenance"} <= set(report.categories)
    for category, subcategories in report.categories.items():
        report.home()
        report.page.locator(".prose a", has_text=re.compile(f"^{category}$")).click()
        shown = report.page.locator("nav").last
        shown.get_by_text("Results", exact=True).wait_for()
        if len(subcategories) > 1:
            listed = report.page.locator("nav ul a").all_inner_texts()
            assert sorted(name.strip() for name in listed) == sorted(subcategories)


def test_every_page_has_the_rows_of_its_table(report: Opened, made_report: Any) -> None:
    pages = [path for path in report.results if path.endswith(".html")]
    names = {"summary", "table1", "methods", "audit", "provenance", "runs"}
    assert names <= {Path(path).stem for path in pages}
    for path in pages:
        expected = tables_of((made_report.root / path).with_suffix(".md").read_text())
        assert expected or Path(path).stem not in names
        report.show(path)
        frame = report.page.frame_locator("iframe")
        frame.locator("h1").wait_for()
        tables = frame.locator("table").all()
        for table, rows in zip(tables, expected, strict=True):
            cells = table.evaluate("t => [...t.rows].map(r => [...r.cells].map(c => c.innerText.trim()))")
            assert cells == rows, path


def test_the_csvs_are_those_of_the_results_and_the_pages_have_their_numbers(report: Opened, made_report: Any) -> None:
    pages = {path: entry for path, entry in report.results.items() if path.endswith(".html")}
    assert len(pages) >= 20
    for path, entry in pages.items():
        page = base64.b64decode(entry["data_uri"].partition(",")[2]).decode()
        offered = dict(re.findall(r'download="(.*?)" href="data:text/plain;charset=utf-8;base64,(.*?)"', page))
        for suffix in (".csv", ".tex"):
            file = (made_report.root / path).with_suffix(suffix)
            assert base64.b64decode(offered[file.name]) == file.read_bytes()
    rows = list(csv.DictReader(io.StringIO((made_report.tables / "table1.csv").read_text())))
    report.show("results/tables/table1.html")
    page = report.page.frame_locator("iframe").locator("body").inner_text()
    means = [f"{float(row['mean']):.3f}" for row in rows if row["mean"]]
    assert means
    assert all(mean in page for mean in means)
    report.show("results/tables/runs.html")
    runs = list(csv.DictReader(io.StringIO((made_report.tables / "runs.csv").read_text())))
    assert report.page.frame_locator("iframe").locator("table tbody tr").count() == len(runs) == 4


def test_logs_open_and_hold_no_token_and_no_markup(report: Opened) -> None:
    report.show("results/tables/runs.html")
    frame = report.page.frame_locator("iframe")
    failed = frame.locator("details").first
    assert "out of memory" in failed.locator("summary").inner_text()
    failed.locator("summary").click()
    log = failed.locator("pre").first
    assert "<b>marks</b>, and a token <token>" in log.inner_text()
    assert log.locator("b").count() == 0


def test_figures_load_and_fit_the_window(report: Opened) -> None:
    figures = [path for path in report.results if path.endswith(".png")]
    assert figures
    for path in figures:
        report.show(path)
        image = report.page.locator("img[src^='data:image/png']")
        image.wait_for()
        assert image.evaluate("i => i.complete && i.naturalWidth") > 100
        box = image.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 1400


def test_everything_has_a_caption_that_says_what_it_is(report: Opened) -> None:
    for path, entry in report.results.items():
        assert len(re.sub(r"<[^>]+>", "", entry["caption"])) > 200, path
        assert "system-message" not in entry["caption"], path
    assert json.dumps(report.results).find("hf_") == -1
