"""`make screenshots`: takes the pictures in docs/images anew, in a browser, as the scientist sees Airflow.

A demo that runs is used; without one everything is brought up for it, and ended. It needs Chromium: Debian's
/usr/bin/chromium, or the program that CHROMIUM names.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import httpx
from playwright.sync_api import Error, Locator, Page, expect, sync_playwright
from rich.console import Console

from lab import owner
from lab.airflow_api import FINISHED, AirflowApi
from lab.errors import LabError
from lab.layout import PROJECT
from lab.stack import FOLDER, Stack
from lab.steps import Steps
from lab.testing_stack import running_stack

IMAGES = PROJECT / "docs" / "images"
DAG = "hpc_job"
WIDTH = 1400
DEADLINE_S = 300.0
PATIENCE_MS = 60_000.0
BROWSER = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox",
)
NEEDS = "What the job needs"

# Takes every node on premises, so that the job of the pictures has a choice that can be explained.
FILLS = {
    "name": "fills-onprem",
    "cluster": "onprem",
    "nodes": 4,
    "tasks_per_node": 16,
    "walltime": "00:30:00",
    "script": "#!/bin/bash\nsleep 600\n",
}
SCRIPT = """\
#!/bin/bash
#SBATCH --time=00:10:00

srun --ntasks="$SLURM_NNODES" --ntasks-per-node=1 hostname | sort
echo "$SLURM_NTASKS tasks on $SLURM_NNODES nodes" | tee summary.txt
"""
FORM = {"name": "relax-cu111", "script": SCRIPT}
FORM_NEEDS = {"nodes": "2", "tasks_per_node": "16", "memory_per_node": "16G"}


def main() -> int:
    """Take all pictures; gives the exit status."""
    console = Console()
    try:
        program = _chromium()
        with Steps(console) as step, owner.interruptible(), _stack(step) as stack:
            step("a job that takes all nodes on premises")
            with _full(stack.airflow.api("scientist")) as api, _browser(program, stack) as page:
                take_all(page, api, stack.airflow.url, step)
    except (LabError, Error, AssertionError, httpx.HTTPError) as error:
        line = f"make screenshots: {error}"
        console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def take_all(page: Page, api: AirflowApi, url: str, step: Callable[[str], None]) -> None:
    """Fill in the form, send the job on its way, and look at what became of it."""
    step("the form")
    _fill_in(page, url)
    run_id = _trigger(page)
    step("the page with the clusters and the open jobs")
    save_hpc_page(page, url)
    step(f"the job: run {run_id}")
    _until(lambda: api.run(DAG, run_id)["state"] in FINISHED, f"the end of run {run_id}")
    step("the run, its logs and its graph")
    run = f"{url}/dags/{DAG}/runs/{run_id}"
    page.goto(run)
    expect(page.get_by_text("Choose cluster").last).to_be_visible()
    expect(page.get_by_text("USD").first).to_be_visible()
    _save(page, "run", 820)
    _save_log(page, f"{run}/tasks/choose_cluster", "at most USD", "log-choose-cluster")
    _save_log(page, f"{run}/tasks/collect", "core-hours", "log-collect")
    save_job_page(page, run)
    page.goto(run)
    _save_graph(page)


def save_hpc_page(page: Page, url: str) -> None:
    """The page HPC while the job is under way."""
    page.goto(f"{url}/plugin/hpc")
    row = page.frame_locator("iframe[title=HPC]").locator("tr", has_text=FORM["name"])
    expect(row).to_contain_text("azure")
    _save(page, "hpc", 1180)


def save_job_page(page: Page, run: str) -> None:
    """The page of the job, in Airflow's page of its run."""
    page.goto(f"{run}/plugin/hpc-job")
    expect(page.frame_locator("iframe[title='HPC job']").locator("#output pre")).to_be_visible()
    _save(page, "job", 1560)


def _fill_in(page: Page, url: str) -> None:
    page.goto(f"{url}/dags/{DAG}")
    page.get_by_role("button", name="Trigger").click()
    for name, text in FORM.items():
        _enter(page, name, text)
    expect(page.get_by_text("This field is required")).to_have_count(0)
    _save(page, "form", 1120)
    page.get_by_role("button", name=NEEDS).click()
    for name, text in FORM_NEEDS.items():
        _enter(page, name, text)
    _save(page, "form-needs", 1640)


def _enter(page: Page, name: str, text: str) -> None:
    field = page.locator(f"[name=element_{name}]")
    field.fill(text)
    field.blur()


def _trigger(page: Page) -> str:
    """Press the button; gives the id of the run."""
    page.get_by_role("dialog").get_by_role("button", name="Trigger", exact=True).click()
    page.wait_for_url("**/runs/*")
    return unquote(page.url.partition("/runs/")[2])


def _save_log(page: Page, url: str, awaited: str, name: str) -> None:
    page.goto(url)
    expect(page.get_by_text(awaited).first).to_be_visible()
    page.keyboard.press("w")  # wraps long lines
    _save(page, name, 700)


def _save_graph(page: Page) -> None:
    """The graph over the whole width, every group opened."""
    page.get_by_role("button", name="Show Graph").click()
    page.get_by_role("button", name="Expand all task groups").click()
    page.get_by_role("button", name="Collapse Details Panel").click()
    expect(page.get_by_text("Submit to azure").first).to_be_visible()
    page.get_by_role("button", name="Fit View").click()
    _save(page, "graph", 760)


def _save(page: Page, name: str, height: int) -> None:
    """Take a picture once nothing moves any more."""
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.mouse.move(WIDTH - 1, 1)
    _until_still(page.locator("body"))
    page.screenshot(path=IMAGES / f"{name}.png", animations="disabled", scale="css")


def _until_still(area: Locator) -> None:
    before = b""
    end = time.monotonic() + DEADLINE_S
    while (now := area.screenshot(animations="disabled")) != before and time.monotonic() < end:
        before = now
        area.page.wait_for_timeout(500)


@contextmanager
def _stack(step: Callable[[str], None]) -> Iterator[Stack]:
    if owner.is_owned(FOLDER):
        yield Stack(FOLDER)
        return
    step("bringing up the clusters and Airflow")
    with running_stack("shots") as stack:
        yield stack


@contextmanager
def _full(api: AirflowApi) -> Iterator[AirflowApi]:
    """Keep the nodes on premises taken."""
    run_id = f"screenshots-{time.time_ns()}"
    api.trigger(DAG, run_id, FILLS)
    try:
        _until(lambda: _queued_no_more(api, run_id), "free nodes on premises")
        yield api
    finally:
        api.fail(DAG, run_id)
        _until(lambda: api.run(DAG, run_id)["state"] in FINISHED, "the end of the job on premises")
        api.close()


def _queued_no_more(api: AirflowApi, run_id: str) -> bool:
    tasks = api.tasks(DAG, run_id)
    return any(task["task_id"] == "onprem.wait_in_queue" and task["state"] == "success" for task in tasks)


def _until(done: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not done():
        if time.monotonic() > end:
            raise LabError(f"waited {DEADLINE_S:.0f} s for {what}.")
        time.sleep(0.5)


@contextmanager
def _browser(program: str, stack: Stack) -> Iterator[Page]:
    """A browser that knows nothing yet, logged in as the scientist."""
    expect.set_options(timeout=PATIENCE_MS)
    with tempfile.TemporaryDirectory(dir=stack.folder) as folder, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            folder,
            executable_path=program,
            args=list(BROWSER),
            env={**os.environ, "HOME": folder},
            color_scheme="light",
            reduced_motion="reduce",
            viewport={"width": WIDTH, "height": 900},
        )
        context.set_default_timeout(PATIENCE_MS)
        page = context.pages[0]
        _log_in(page, stack)
        yield page
        context.close()


def _log_in(page: Page, stack: Stack) -> None:
    page.goto(f"{stack.airflow.url}/dags")
    page.get_by_label("Username").fill("scientist")
    page.get_by_label("Password").fill(stack.airflow.keys.passwords["scientist"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/dags")


def _chromium() -> str:
    program = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    if not Path(program).is_file():
        raise LabError(f"{program} is missing: install Debian's package chromium, or name one in CHROMIUM.")
    return program


if __name__ == "__main__":
    sys.exit(main())
