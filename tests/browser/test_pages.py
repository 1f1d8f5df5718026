"""Promises about the page HPC in the real Airflow, in a real browser, and about its API."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import ConsoleMessage, FrameLocator, Page, expect

from tests.e2e.house import House, new_gate, waits_at

PATHS = (
    "/hpc/",
    "/hpc/budgets",
    *(f"/hpc/api/{name}" for name in ("alerts", "jobs", "breakers", "reconciliation", "budgets")),
    *(f"/hpc/static/{name}" for name in ("hpc.css", "hpc.js", "icon.svg", "icon-dark.svg")),
)


@pytest.fixture
def complaints(page: Page) -> Iterator[list[str]]:
    """What the browser complains about on the page: a policy that was broken, a file that is not there."""
    found: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and "/hpc/" in f"{message.location.get('url', '')} {message.text}":
            found.append(message.text)

    page.on("console", note)
    yield found
    page.remove_listener("console", note)


def frame(page: Page) -> FrameLocator:
    return page.frame_locator("iframe[title=HPC]")


def test_a_running_job_is_on_the_page_and_leaves_it_by_itself_when_it_ends(
    page: Page, house: House, complaints: list[str]
) -> None:
    gate = new_gate()
    run = house.scientist.start(name="on-the-page", script=waits_at(gate), cluster="onprem", walltime="10")
    row = house.until_running(run)
    page.get_by_role("link", name="HPC", exact=True).click()
    page.wait_for_url("**/plugin/hpc**")
    shown = frame(page).locator(f"tr[data-token={row.token}]")
    expect(shown).to_contain_text("on-the-page")
    expect(shown.locator(".chip")).to_have_text("running")
    expect(shown).to_contain_text("running on node")
    expect(shown).to_contain_text("scientist")
    expect(frame(page).get_by_text("On-premises cluster")).to_be_visible()

    house.open_gate("onprem", gate)
    assert house.ended(run) == ["success"]
    expect(shown).to_have_count(0)  # nobody reloads
    expect(frame(page).locator("#notice")).to_be_hidden()
    assert complaints == []


def test_the_way_to_a_run_is_copied_not_followed_inside_the_frame(page: Page, house: House) -> None:
    gate = new_gate()
    run = house.scientist.start(name="linked", script=waits_at(gate), cluster="onprem", walltime="10")
    row = house.until_running(run)
    page.goto(f"{house.stack.airflow.url}/plugin/hpc")
    link = frame(page).locator(f"tr[data-token={row.token}] a.run")
    link.click()
    address = f"{house.stack.airflow.url}/dags/{run.dag_id}/runs/{run.run_id}"
    expect(frame(page).locator("#notice")).to_contain_text(address)
    expect(frame(page).locator("h1")).to_have_text("Clusters and jobs")
    page.goto(address)
    expect(page.get_by_text("Choose cluster").last).to_be_visible()
    house.open_gate("onprem", gate)
    house.ended(run)


@pytest.mark.parametrize("path", PATHS)
def test_nobody_without_a_login_gets_an_answer(house: House, path: str) -> None:
    answer = httpx.get(house.stack.airflow.url + path, trust_env=False)
    assert answer.status_code == 401
    assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
    forged = {"Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9."}
    assert httpx.get(house.stack.airflow.url + path, headers=forged, trust_env=False).status_code in (
        401,
        403,
    )


@pytest.mark.parametrize("path", PATHS)
def test_a_viewer_may_look(house: House, path: str) -> None:
    airflow = house.stack.airflow
    login = {"username": "viewer", "password": airflow.keys.passwords["viewer"]}
    with httpx.Client(base_url=airflow.url, trust_env=False) as client:
        token = client.post("/auth/token", json=login).raise_for_status().json()["access_token"]
        assert client.get(path, headers={"Authorization": f"Bearer {token}"}).status_code == 200
