"""The routes of the pages of jobs: those that have ended, each one, and those of a DAG run."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Query, status
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from hybrid_hpc.jobs import JobState
from hybrid_hpc_airflow.web import jobs_reading
from hybrid_hpc_airflow.web.access import MayReadDep, WhoseDep
from hybrid_hpc_airflow.web.dependencies import LedgerDep, NowDep
from hybrid_hpc_airflow.web.jobs_view import OUTCOMES, SearchView
from hybrid_hpc_airflow.web.rendering import job_html, jobs_html, run_html, trouble_html

page = APIRouter()

MOST_LETTERS = 200
NOT_FOUND = "There is no such job, or you may not read the runs of its DAG."
PLAIN = r"^[^\x00]*$"  # PostgreSQL takes no NUL, and would fail the page
Text = Annotated[str, Query(max_length=MOST_LETTERS, pattern=PLAIN)]
Name = Annotated[str, Path(pattern=PLAIN)]


def search(whose: WhoseDep, q: Text = "", project: Text = "", state: Text = "") -> SearchView:
    """What the address asks for; a state that no ended job has is left out."""
    known = JobState(state) if state in [each.value for each in OUTCOMES] else None
    return SearchView(q=q.strip(), project=project.strip(), state=known, whose=whose)


SearchDep = Annotated[SearchView, Depends(search)]


@page.get("/jobs", response_class=HTMLResponse)
def ended(
    ledger: LedgerDep, search: SearchDep, may_read: MayReadDep, now: NowDep, before: Text = ""
) -> HTMLResponse:
    """The jobs that have ended, the newest first."""
    return HTMLResponse(jobs_html(jobs_reading.read_ended(ledger, search, before, may_read, now)))


@page.get("/jobs/{token}", response_class=HTMLResponse)
def job(token: Name, ledger: LedgerDep, may_read: MayReadDep, now: NowDep) -> HTMLResponse:
    """The page of one job; 404 as well for one that the reader may not see, so that nobody learns of it."""
    found = jobs_reading.read_job(ledger, token, may_read, now)
    if found is None:
        return HTMLResponse(trouble_html(NOT_FOUND, "../"), status.HTTP_404_NOT_FOUND)
    return HTMLResponse(job_html(found))


@page.get("/runs/{dag_id}/{run_id}", response_class=HTMLResponse)
def run(
    dag_id: Name,
    run_id: Name,
    ledger: LedgerDep,
    may_read: MayReadDep,
    now: NowDep,
    group: str | None = None,
    map_index: int = -1,
) -> Response:
    """The page of the run's job, or of the one in ``group``; a list where there are several or none."""
    found = jobs_reading.read_run(ledger, dag_id, run_id, may_read, now)
    if found is None:
        return HTMLResponse(trouble_html(NOT_FOUND, "../../"), status.HTTP_404_NOT_FOUND)
    only = found.only(group, map_index)
    if only is None:
        return HTMLResponse(run_html(found))
    return RedirectResponse(f"../../jobs/{quote(only.token, safe='')}", status.HTTP_303_SEE_OTHER)
