"""The report in a real browser: phone and desk, light and dark, keyboard and paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from credit_like.evaluation import JudgedRun, Scores, compare, write_comparison
from tests.evaluation.headless_chromium import Page

#: What sticks out of the window although nothing around it scrolls.
STICKING_OUT = """
[...document.querySelectorAll("main *")].filter((e) => !e.closest(".scroll, pre, nav, .unseen") &&
  e.getBoundingClientRect().right > innerWidth + 0.5).map((e) => e.tagName + "." + e.className)
"""

#: Text whose contrast with what lies behind it is below 4.5 (WCAG 2.2, success criterion 1.4.3).
FAINT_TEXT = """
(() => {
  const channel = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = ([r, g, b]) => 0.2126 * channel(r / 255) + 0.7152 * channel(g / 255) + 0.0722 * channel(b / 255);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const found = rgba(getComputedStyle(e).backgroundColor);
      if (found[3] === 255) return found;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const e of document.querySelectorAll("main *, nav *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !e.getClientRects().length || e.closest(".unseen")) continue;
    const style = getComputedStyle(e);
    const [a, b] = [light(rgba(e.closest("svg") ? style.fill : style.color)), light(behind(e))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push(e.textContent.slice(0, 40) + " " + contrast.toFixed(2));
  }
  return faint;
})()
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    page = Page(tmp_path_factory.mktemp("profile"))
    yield page
    page.close()


@pytest.fixture(scope="module")
def report(simulate_run: Callable[..., Scores], report_of: Callable[..., Path]) -> Path:
    names = ("test/known_vehicle_known_attack", "test/unknown_vehicle_unknown_attack")
    return report_of(
        simulate_run(tests=names, windows=300), title="a_rather_long_name_of_a_run: gat on a_folder_of_logs"
    )


@pytest.fixture(scope="module")
def refused(run: Scores, report_of: Callable[..., Path]) -> Path:
    return report_of(run, problems=["rows 10 to 20 of a capture are in training and in test"])


@pytest.fixture(scope="module")
def compared(
    simulate_run: Callable[..., Scores], judge: Callable[..., JudgedRun], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    tests = ("test/known_vehicle_known_attack", "test/unknown_vehicle_unknown_attack")
    names = ("gat_with_a_rather_long_name", "dgi_ocgin", "rl_fusion")
    runs = [
        judge(name, simulate_run(tests=tests, windows=300, shift=x), settings={"trainer.type": name, "trainer.seed": x})
        for name, x in zip(names, (0, 1, 2), strict=True)
    ]
    again = simulate_run(tests=tests, windows=300, shift=2.1)
    runs.append(judge("rl_fusion, again", again, settings={"trainer.type": "rl_fusion", "trainer.seed": 7}))
    odd = judge("an_odd_one", simulate_run(tests=tests, windows=200))
    return write_comparison(
        tmp_path_factory.mktemp("compared") / "comparison.html",
        compare([*runs, odd]),
        title="Three runs side by side",
        throughput={run.name: {"windows scored a second": "7,000"} for run in runs},
        reports={"dgi_ocgin": "dgi_ocgin/report.html"},
    )


@pytest.mark.parametrize("width", [390, 1280, 1920])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_sticks_out_and_nobody_complains(
    browser: Page, report: Path, refused: Path, compared: Path, width: int, dark: bool
) -> None:
    for path in (report, refused, compared):
        browser.open(path, width, dark=dark)
        assert browser.ask("document.documentElement.scrollWidth") == width
        assert browser.ask(STICKING_OUT) == []
        assert browser.ask(FAINT_TEXT) == []
    assert browser.console == []


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, True)])
def test_axe_finds_nothing_that_shuts_somebody_out(
    browser: Page, report: Path, refused: Path, compared: Path, width: int, dark: bool
) -> None:
    """axe-core on all parts, unfolded. Contrast over gradients, which it leaves open, is tested above."""
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    for path in (report, refused, compared):
        browser.open(path, width, dark=dark)
        browser.ask("document.querySelectorAll('details').forEach((part) => (part.open = true))")
        browser.ask(f"{axe}\n0")
        found = browser.ask(
            "axe.run(document).then((result) => ({ passed: result.passes.length, violations: result.violations.map("
            "(one) => [one.impact, one.id, ...one.nodes.map((node) => node.html.slice(0, 200))]) }))"
        )
        assert found["violations"] == []
        assert found["passed"] > 25


def test_every_chart_has_its_data_as_a_table(browser: Page, report: Path, compared: Path) -> None:
    bare = """[...document.querySelectorAll("main svg")].filter((chart) => {
      const data = chart.closest("figure, .timeline")?.querySelector("details.data table");
      return !data || data.tBodies[0].rows.length === 0;
    }).map((chart) => chart.getAttribute("aria-label"))"""
    for path, least in ((report, 10), (compared, 2)):
        browser.open(path, 1280)
        assert browser.ask('document.querySelectorAll("main svg").length') >= least
        assert browser.ask(bare) == []


def test_text_in_charts_is_readable_on_a_phone(browser: Page, report: Path) -> None:
    browser.open(report, 390)
    smallest = (
        """Math.min(...[...document.querySelectorAll("svg.chart text")].map((e) => e.getBoundingClientRect().height))"""
    )
    assert browser.ask(smallest) >= 9


def test_the_page_follows_the_colour_scheme(browser: Page, report: Path) -> None:
    shades = []
    for dark in (False, True):
        browser.open(report, 1280, dark=dark)
        shades.append(browser.ask("getComputedStyle(document.body).backgroundColor"))
    assert shades == ["rgb(246, 247, 249)", "rgb(16, 20, 26)"]


def test_tables_sort_by_the_keyboard(browser: Page, report: Path) -> None:
    browser.open(report, 1280)
    column = 'document.querySelectorAll("#attacks table.sortable th")[4]'
    rows = '[...document.querySelector("#attacks table.sortable").tBodies[0].rows]'
    values = f"{rows}.map((row) => Number(row.cells[4].dataset.value))"
    assert browser.ask(f"{column}.textContent") == "AUROC"
    before = browser.ask(values)
    browser.ask(f"{column}.querySelector('button').focus()")
    browser.press("Enter", 13)
    assert browser.ask(f"{column}.getAttribute('aria-sort')") == "ascending"
    assert browser.ask(values) == sorted(before)
    browser.press("Enter", 13)
    assert browser.ask(f"{column}.getAttribute('aria-sort')") == "descending"
    assert browser.ask(values) == sorted(before, reverse=True)


def test_on_paper_headings_of_tables_are_in_the_flow(browser: Page, report: Path) -> None:
    """A heading that sticks hides the lines of its rows, and a button is not painted again on the next sheet."""
    browser.open(report, 1280, media="print")
    headings = "[...document.querySelectorAll('.scroll th')].map((e) => getComputedStyle(e).position)"
    assert set(browser.ask(headings)) == {"static"}
    buttons = "[...document.querySelectorAll('th button')].map((e) => getComputedStyle(e).display)"
    assert set(browser.ask(buttons)) == {"contents"}
    browser.open(report, 1280)
    assert browser.ask("getComputedStyle(document.querySelector('.scroll tbody th')).position") == "sticky"


def test_the_tables_of_figures_fit_on_a_desk(
    browser: Page, simulate_run: Callable[..., Scores], report_of: Callable[..., Path]
) -> None:
    browser.open(report_of(simulate_run(windows=300)), 1200)
    tables = "[...document.querySelectorAll('main > section > .scroll, :is(.fit, .dense) > .scroll')]"
    wide = f"{tables}.filter((e) => e.scrollWidth > e.clientWidth)"
    assert browser.ask(f"{tables}.length") >= 3
    assert browser.ask(f"{wide}.map((e) => e.getAttribute('aria-label'))") == []


def test_a_menu_that_goes_on_fades_out_and_ends_before_the_fade(browser: Page, report: Path) -> None:
    menu = "document.querySelector('nav ul')"
    browser.open(report, 480)
    assert browser.ask(f"{menu}.scrollWidth > {menu}.clientWidth")
    assert "linear-gradient" in browser.ask(f"getComputedStyle({menu}).maskImage")
    browser.ask(f"{menu}.scrollLeft = {menu}.scrollWidth")
    assert browser.ask(f"{menu}.lastElementChild.getBoundingClientRect().right") <= 480 - 56
    browser.open(report, 1200)
    assert browser.ask(f"{menu}.scrollWidth <= {menu}.clientWidth")
    assert browser.ask(f"getComputedStyle({menu}).maskImage") == "none"


def test_a_legend_is_drawn_as_its_line_is(browser: Page, report: Path) -> None:
    """Dotted or dashed where the line is, and solid where it is not."""
    browser.open(report, 1200)
    key = "getComputedStyle(document.querySelector('.legend .key.{}')).borderTopStyle"
    line = "getComputedStyle(document.querySelector('path.{}')).strokeDasharray"
    for name, style in (("chance", "dotted"), ("threshold", "dashed"), ("series-0", "none"), ("series-1", "none")):
        assert browser.ask(key.format(name)) == style
        assert (browser.ask(line.format(name)) == "none") == (style == "none")


def test_the_page_prints_with_its_folded_parts(browser: Page, report: Path, tmp_path: Path) -> None:
    browser.open(report, 1280)
    browser.paper(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    browser.ask("dispatchEvent(new Event('beforeprint'))")
    assert browser.ask("document.querySelectorAll('details:not(.data, .raw):not([open])').length") == 0
    browser.ask("dispatchEvent(new Event('afterprint'))")
    assert browser.ask("document.querySelectorAll('details[open]').length") == 0
