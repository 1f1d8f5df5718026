"""A browser that is logged in as the scientist; where none is installed, these tests are skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from docs.screenshots import BROWSER
from tests.e2e.house import House

TIMEOUT_S = 600  # the stack comes up, a job runs, and the machine has two cores
PATIENCE_MS = 60_000.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser/" in item.path.as_posix():
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


@pytest.fixture(scope="session")
def chromium() -> str:
    program = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    if not Path(program).is_file():
        pytest.skip(f"{program} is missing: install Debian's package chromium, or name one in CHROMIUM")
    return program


@pytest.fixture(scope="module")
def page(chromium: str, house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One for all tests of a module: Airflow's UI takes seconds to load, and computes while it is open."""
    home = str(tmp_path_factory.mktemp("chromium"))
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            home,
            executable_path=chromium,
            args=list(BROWSER),
            env={**os.environ, "HOME": home},
            viewport={"width": 1400, "height": 900},
        )
        context.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        opened = context.pages[0]
        _log_in(opened, house)
        yield opened
        context.close()


def _log_in(page: Page, house: House) -> None:
    airflow = house.stack.airflow
    page.goto(f"{airflow.url}/dags")
    page.get_by_label("Username").fill("scientist")
    page.get_by_label("Password").fill(airflow.keys.passwords["scientist"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/dags")
