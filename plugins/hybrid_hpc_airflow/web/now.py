"""The routes of the page *Now*, of the same as JSON below ``/hpc/api``, and of the page of each job."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, status
from fastapi.responses import HTMLResponse

from hybrid_hpc_airflow.web import reading
from hybrid_hpc_airflow.web.access import MayReadDep
from hybrid_hpc_airflow.web.dependencies import ClustersDep, LedgerDep, NowDep
from hybrid_hpc_airflow.web.rendering import job_html, page_html, trouble_html
from hybrid_hpc_airflow.web.views import AlertView, JobsView, ReconciliationView, WayView

page = APIRouter()
api = APIRouter(prefix="/api")


@page.get("/", response_class=HTMLResponse)
def show(ledger: LedgerDep, clusters: ClustersDep, may_read: MayReadDep, now: NowDep) -> HTMLResponse:
    """The page."""
    return HTMLResponse(page_html(reading.read_page(ledger, clusters, may_read, now)))


@page.get("/jobs/{token}", response_class=HTMLResponse)
def job(token: str, ledger: LedgerDep, may_read: MayReadDep, now: NowDep) -> HTMLResponse:
    """The page of one job; 404 as well for one that the reader may not see, so that nobody learns of it."""
    found = reading.read_job(ledger, token, may_read, now)
    if found is None:
        sentence = "There is no such job, or you may not read the runs of its DAG."
        return HTMLResponse(trouble_html(sentence, "../"), status.HTTP_404_NOT_FOUND)
    return HTMLResponse(job_html(found))


@api.get("/alerts")
def alerts(ledger: LedgerDep, may_read: MayReadDep) -> tuple[AlertView, ...]:
    """The alerts that stand, the oldest first."""
    return reading.read_alerts(ledger, may_read)


@api.get("/jobs")
def jobs(
    ledger: LedgerDep, may_read: MayReadDep, limit: Annotated[int, Query(ge=1, le=10_000)] = reading.SHOWN
) -> JobsView:
    """The open jobs, the newest first."""
    return reading.read_jobs(ledger, may_read, limit)


@api.get("/breakers")
def breakers(ledger: LedgerDep, clusters: ClustersDep) -> tuple[WayView, ...]:
    """Every way to every cluster, and whether it is open to us."""
    return reading.read_ways(ledger, clusters)


@api.get("/reconciliation")
def reconciliation(ledger: LedgerDep, may_read: MayReadDep) -> ReconciliationView | None:
    """What hpc_reconcile last found; null before its first run."""
    return reading.read_reconciliation(ledger, may_read)
