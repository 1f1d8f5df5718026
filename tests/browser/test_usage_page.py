"""Promises about the page *Usage* in a real browser: drawn under its policy, and nobody's name runs.

The app stands alone, over a small ledger: what it needs of Airflow is its users.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from docs.screenshots import BROWSER
from hybrid_hpc.ledger import Ledger
from tests.browser.usage_site import usage_site
from tests.unit.usage_page_world import HOSTILE, NOW, fill

PATIENCE_MS = 60_000.0
CHARTS = ("core-hours", "money", "waits", "utilisation", "failures", "capacity", "elsewhere", "forecasts")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    ledger = Ledger(f"sqlite:///{tmp_path_factory.mktemp('usage')}/ledger.db", clock=lambda: NOW)
    ledger.migrate()
    with usage_site(fill(ledger), "admin") as url:
        yield f"{url}usage"
    ledger.close()


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=list(BROWSER))
        yield opened
        opened.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser says of errors and broken policies."""
    return []


@pytest.fixture
def page(browser: Browser, complaints: list[str], request: pytest.FixtureRequest) -> Iterator[Page]:
    settings = getattr(request, "param", {"viewport": {"width": 1400, "height": 900}})
    context = browser.new_context(**settings)
    context.set_default_timeout(PATIENCE_MS)
    opened = context.new_page()
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    yield opened
    context.close()


PHONE = {"viewport": {"width": 390, "height": 840}, "has_touch": True}
DARK = {"viewport": {"width": 1400, "height": 900}, "color_scheme": "dark"}


@pytest.mark.parametrize("page", [DARK, PHONE], ids=["dark", "phone"], indirect=True)
def test_every_chart_is_drawn_nobody_complains_and_nothing_sticks_out(
    page: Page, address: str, complaints: list[str]
) -> None:
    page.goto(address)
    for name in CHARTS:
        drawn = page.locator(f"[data-chart={name}] svg.main-svg").first
        expect(drawn).to_be_visible()
        marks = page.locator(f"[data-chart={name}]").locator(".bars path, .lines path.js-line")
        expect(marks.first).to_be_attached()
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_chart_tells_its_numbers_under_the_pointer(page: Page, address: str, complaints: list[str]) -> None:
    page.goto(address)
    chart = page.locator("[data-chart=core-hours] .plot")
    expect(chart.locator("svg.main-svg").first).to_be_visible()
    chart.hover()
    expect(chart.locator(".hoverlayer")).to_contain_text("onprem")
    assert complaints == []


def test_filters_are_clicked_kept_in_links_and_lead_down_to_the_jobs(
    page: Page, address: str, complaints: list[str]
) -> None:
    page.goto(address)
    page.locator("select[name=cluster]").select_option("azure")
    page.wait_for_url("**cluster=azure**")
    expect(page.locator("[data-chart=core-hours] svg.main-svg").first).to_be_visible()
    page.locator("select[name=by]").select_option("month")
    page.wait_for_url("**by=month**")
    page.get_by_role("link", name="2026-04-01", exact=True).click()
    page.wait_for_url("**from=2026-04-01**")
    page.get_by_role("row").filter(has_text="2026-04-03").get_by_role("link").last.click()
    page.wait_for_url("**/usage/jobs**from=2026-04-03**")
    expect(page.locator("tbody tr").first).to_contain_text("azure")
    assert "cluster=azure" in page.url
    assert page.locator("tbody tr", has_text="onprem").count() == 0
    assert complaints == []


def test_hostile_names_are_read_and_never_run(page: Page, address: str, complaints: list[str]) -> None:
    for path in ("?by=person&from=2026-03-03", "/jobs?from=2026-03-03"):
        page.goto(address + path)
        expect(page.get_by_text(HOSTILE).first).to_be_attached()
        assert page.locator("main img").count() == 0
        assert page.title() == "HPC"
    page.goto(f"{address}?by=person&from=2026-03-03")
    page.get_by_role("link", name=HOSTILE).first.click()
    expect(page.locator("[data-chart=core-hours] svg.main-svg").first).to_be_visible()
    assert page.title() == "HPC"
    assert complaints == []


def test_a_silence_is_marked_and_told(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator("#gaps")).to_contain_text("azure: no accounting")
    shaded = page.locator("[data-chart=core-hours] .layer-below .shapelayer path")
    expect(shaded.first).to_be_attached()
