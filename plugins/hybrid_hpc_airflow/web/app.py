"""The app that Airflow mounts at ``/hpc``: a page, the same as JSON below ``/hpc/api``, a page for each job.

Every route is a plain ``def``: the ledger's calls block, and Airflow's server has one event loop.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response, status
from fastapi.responses import HTMLResponse, JSONResponse

from hybrid_hpc.clusters import Clusters, load_clusters
from hybrid_hpc.errors import HybridHpcError
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.database import utc_now
from hybrid_hpc_airflow.web import reading
from hybrid_hpc_airflow.web.access import MayReadDep, reader
from hybrid_hpc_airflow.web.headers import SafeHeaders
from hybrid_hpc_airflow.web.rendering import HERE, job_html, page_html, trouble_html
from hybrid_hpc_airflow.web.views import AlertView, JobsView, ReconciliationView, WayView

STATIC = {
    "hpc.css": "text/css",
    "hpc.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    "icon-dark.svg": "image/svg+xml",
}
page = APIRouter()
api = APIRouter(prefix="/api")


def make_app() -> FastAPI:
    """The app, with no route that answers without a login, its own documentation included."""
    app = FastAPI(
        title="Hybrid HPC",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(reader)],
    )
    app.include_router(page)
    app.include_router(api)
    app.add_exception_handler(HybridHpcError, _trouble)
    app.add_middleware(SafeHeaders)
    return app


def ledger() -> Ledger:
    """The ledger, from the API server's process; raises `Refused` without a connection to it."""
    from hybrid_hpc_airflow.connections import open_ledger

    return open_ledger()


def clusters() -> Clusters:
    """Those of clusters.yaml; raises `InvalidClusters`."""
    return load_clusters()


LedgerDep = Annotated[Ledger, Depends(ledger)]
ClustersDep = Annotated[Clusters, Depends(clusters)]
NowDep = Annotated[datetime, Depends(utc_now)]


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


@page.get("/static/{name}")
def static(name: str) -> Response:
    """The page's own files; no other name is looked for."""
    if name not in STATIC:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "there is no such file")
    return Response((HERE / "static" / name).read_bytes(), media_type=STATIC[name])


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


def _trouble(request: Request, error: Exception) -> Response:
    """503 in a sentence: the ledger does not answer, or clusters.yaml cannot be read."""
    code = status.HTTP_503_SERVICE_UNAVAILABLE
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    if "/api/" in path:
        return JSONResponse({"detail": str(error)}, code)
    return HTMLResponse(trouble_html(str(error), "../" if path.startswith("/jobs/") else ""), code)
