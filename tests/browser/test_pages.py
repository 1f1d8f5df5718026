"""Promises about the pages in the real Airflow, in a real browser, and about their API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import httpx
import pytest
from playwright.sync_api import ConsoleMessage, FrameLocator, Page, expect

from tests.e2e.house import House, waits_at
from tests.e2e.scientist import Run

Scheme = Literal["light", "dark"]

PATHS = (
    "/hpc/",
    "/hpc/jobs",
    "/hpc/runs/hpc_job/none",
    "/hpc/usage",
    "/hpc/budgets",
    *(f"/hpc/api/{name}" for name in ("alerts", "clusters", "jobs", "breakers", "reconciliation", "budgets")),
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
    with house.closed_gate("onprem") as gate:
        run = house.scientist.start(
            name="on-the-page", script=waits_at(gate), cluster="onprem", walltime="10"
        )
        row = house.until_running(run)
        page.get_by_role("link", name="HPC", exact=True).click()
        page.wait_for_url("**/plugin/hpc**")
        shown = frame(page).locator(f"tr[data-token={row.token}]")
        expect(shown).to_contain_text("on-the-page")
        expect(shown.locator(".chip")).to_have_text("running")
        expect(shown).to_contain_text("running on node")
        expect(shown).to_contain_text("scientist")
        expect(frame(page).get_by_text("On-premises cluster")).to_be_visible()

    assert house.ended(run) == ["success"]
    expect(shown).to_have_count(0)  # nobody reloads
    expect(frame(page).locator("#notice")).to_be_hidden()
    assert complaints == []


def test_the_way_to_a_run_turns_airflows_own_window_and_not_the_frame(page: Page, house: House) -> None:
    with house.closed_gate("onprem") as gate:
        run = house.scientist.start(name="linked", script=waits_at(gate), cluster="onprem", walltime="10")
        row = house.until_running(run)
        page.goto(f"{house.stack.airflow.url}/plugin/hpc")
        link = frame(page).locator(f"tr[data-token={row.token}] a.run")
        link.click()
        page.wait_for_url(f"{house.stack.airflow.url}/dags/{run.dag_id}/runs/{run.run_id}")
        expect(page.get_by_text("Choose cluster").last).to_be_visible()
    house.ended(run)


@pytest.fixture(scope="module")
def failed(house: House) -> Run:
    """The run of a job that has failed, with something to read at the end of its output."""
    script = "#!/bin/bash\necho '<b>residual</b> 0.125'\nexit 3\n"
    run = house.scientist.start(name="failed-job", script=script, cluster="azure", walltime="10")
    assert house.ended(run) == ["failed"]
    return run


def test_the_run_in_airflow_leads_to_its_job_and_tells_its_whole_story(
    page: Page, house: House, failed: Run, complaints: list[str]
) -> None:
    address = f"{house.stack.airflow.url}/dags/{failed.dag_id}/runs/{failed.run_id}"
    page.goto(address)
    tab = page.get_by_role("link", name="HPC job", exact=True)
    expect(tab).to_have_attribute("href", re.compile(rf"/runs/{failed.run_id}/plugin/hpc-job$"))
    page.goto(f"{address}/plugin/hpc-job")
    job = page.frame_locator("iframe[title='HPC job']")
    expect(job.locator("h1")).to_contain_text("failed-job failed")
    expect(job.locator(".verdict")).to_contain_text("failed with exit code 3")
    expect(job.locator("#output pre")).to_have_text("<b>residual</b> 0.125")
    expect(job.locator("#way th")).to_have_text(["asked", "queued", "booted", "ran"])
    expect(job.locator("#used")).to_contain_text("USD at the prices of clusters.yaml")
    expect(job.locator("#decision .offers tbody tr")).to_have_count(len(house.stack.lab.layout.clusters))
    assert complaints == []


@pytest.mark.parametrize("task_id", ["azure.submit", "collect"])
def test_a_task_in_airflow_leads_to_the_page_of_its_job(
    page: Page, house: House, failed: Run, task_id: str
) -> None:
    links = house.scientist.links(failed, task_id)
    page.goto(links["Job page"])
    expect(frame(page).locator("h1")).to_contain_text("failed-job failed")
    expect(frame(page).locator("nav")).to_be_visible()


def test_an_ended_job_is_found_by_its_name(page: Page, house: House, failed: Run) -> None:
    page.goto(f"{house.stack.airflow.url}/plugin/hpc/hpc/jobs")
    frame(page).get_by_label("Name or token").fill("FAILED-j")
    frame(page).get_by_role("button", name="Search").click()
    expect(page).to_have_url(re.compile("q=FAILED-j"))
    rows = frame(page).locator("tr[data-token]")
    expect(rows).to_have_count(1)
    rows.locator("a.way-in").click()
    expect(frame(page).locator("#output pre")).to_contain_text("residual")


def test_the_pages_are_in_airflows_menu(page: Page, house: House) -> None:
    page.goto(f"{house.stack.airflow.url}/dags")
    page.get_by_text("Plugins", exact=True).click()
    page.get_by_text("Hybrid HPC", exact=True).hover()
    page.get_by_text("Jobs", exact=True).click()
    page.wait_for_url("**/plugin/hpc-jobs**")
    expect(page.frame_locator("iframe[title=Jobs]").locator("nav [aria-current]")).to_have_text("Jobs")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_pages_fit_on_a_phone_and_on_a_laptop_by_day_and_by_night(
    page: Page, house: House, failed: Run, complaints: list[str], scheme: Scheme, width: int
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    token = house.job(failed).token
    try:
        for path in ("", "jobs", f"jobs/{token}", f"runs/{failed.dag_id}/none"):
            page.goto(f"{house.stack.airflow.url}/hpc/{path}")
            expect(page.locator("h1")).to_be_visible()
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"/hpc/{path} is {wide} px wide"
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(16, 19, 23)"}[scheme]
    finally:
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 1400, "height": 900})
    assert complaints == []


def test_a_cluster_is_told_by_the_minute_while_a_job_runs(page: Page, house: House) -> None:
    with house.closed_gate("onprem") as gate:
        run = house.scientist.start(
            name="busy", script=waits_at(gate), cluster="onprem", walltime="10", tasks_per_node=16
        )
        house.until_running(run)
        page.goto(f"{house.stack.airflow.url}/plugin/hpc")
        card = frame(page).locator("[data-cluster=onprem]")
        expect(card.locator(".key.busy")).to_have_text("1 busy")
        expect(card).to_contain_text("16 of 96 busy")
        expect(card.locator(".money")).to_contain_text("about 0.32 USD an hour")
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
