"""The routes of the page *Now*, and of the same as JSON below ``/hpc/api``."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from hybrid_hpc_airflow.web import cluster_reading, reading
from hybrid_hpc_airflow.web.access import MayReadDep, PersonDep, WhoseDep
from hybrid_hpc_airflow.web.cluster_view import ClusterView
from hybrid_hpc_airflow.web.dependencies import ClustersDep, LedgerDep, NowDep
from hybrid_hpc_airflow.web.rendering import page_html
from hybrid_hpc_airflow.web.views import AlertView, JobsView, ReconciliationView, WayView, Whose

page = APIRouter()
api = APIRouter(prefix="/api")


@page.get("/", response_class=HTMLResponse)
def show(
    ledger: LedgerDep, clusters: ClustersDep, may_read: MayReadDep, whose: WhoseDep, now: NowDep
) -> HTMLResponse:
    """The page."""
    return HTMLResponse(page_html(reading.read_page(ledger, clusters, may_read, now, whose)))


@api.get("/alerts")
def alerts(ledger: LedgerDep, may_read: MayReadDep) -> tuple[AlertView, ...]:
    """The alerts that stand, the oldest first."""
    return reading.read_alerts(ledger, may_read)


@api.get("/clusters")
def clusters(ledger: LedgerDep, clusters: ClustersDep, now: NowDep) -> tuple[ClusterView, ...]:
    """Every cluster: how full it was when it was last seen, nodes that boot, refusals, USD an hour."""
    return cluster_reading.read_clusters(ledger, clusters, ledger.open_counts(), now)


@api.get("/jobs")
def jobs(
    ledger: LedgerDep,
    may_read: MayReadDep,
    person: PersonDep,
    limit: Annotated[int, Query(ge=1, le=10_000)] = reading.SHOWN,
    whose: Annotated[Literal["mine", "all"], Query()] = "all",
) -> JobsView:
    """The open jobs, the newest first; everybody's, unless one's own are asked for."""
    return reading.read_jobs(ledger, may_read, limit, Whose(person=person, mine=whose == "mine"))


@api.get("/breakers")
def breakers(ledger: LedgerDep, clusters: ClustersDep) -> tuple[WayView, ...]:
    """Every way to every cluster, and whether it is open to us."""
    return cluster_reading.read_ways(ledger, clusters)


@api.get("/reconciliation")
def reconciliation(ledger: LedgerDep, may_read: MayReadDep) -> ReconciliationView | None:
    """What hpc_reconcile last found; null before its first run."""
    return reading.read_reconciliation(ledger, may_read)
