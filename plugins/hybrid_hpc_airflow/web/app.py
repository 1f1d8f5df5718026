"""The app that Airflow mounts at ``/hpc``: its pages, and the same as JSON below ``/hpc/api``.

Every route is a plain ``def``: the ledger's calls block, and Airflow's server has one event loop.
"""

from __future__ import annotations

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response, status
from fastapi.responses import HTMLResponse, JSONResponse

from hybrid_hpc.errors import HybridHpcError
from hybrid_hpc_airflow.web import budgets, exports, jobs, now, usage_routes
from hybrid_hpc_airflow.web.access import reader
from hybrid_hpc_airflow.web.headers import SafeHeaders
from hybrid_hpc_airflow.web.rendering import HERE, trouble_html

STATIC = {
    "hpc.css": "text/css",
    "hpc.js": "text/javascript",
    "usage.css": "text/css",
    "usage.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    "icon-dark.svg": "image/svg+xml",
}
ROUTERS = (
    *(now.page, now.api, jobs.page, usage_routes.page, usage_routes.api),
    *(budgets.page, budgets.api, exports.exports),
)
files = APIRouter()


def make_app() -> FastAPI:
    """The app, with no route that answers without a login, its own documentation included."""
    app = FastAPI(
        title="Hybrid HPC",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(reader)],
    )
    for router in (*ROUTERS, files):
        app.include_router(router)
    app.add_exception_handler(HybridHpcError, _trouble)
    app.add_middleware(SafeHeaders)
    return app


@files.get("/static/{name}")
def static(name: str) -> Response:
    """The page's own files; no other name is looked for."""
    if name not in STATIC:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "there is no such file")
    return Response((HERE / "static" / name).read_bytes(), media_type=STATIC[name])


def _trouble(request: Request, error: Exception) -> Response:
    """503 in a sentence: the ledger does not answer, or clusters.yaml cannot be read."""
    code = status.HTTP_503_SERVICE_UNAVAILABLE
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    if "/api/" in path:
        return JSONResponse({"detail": str(error)}, code)
    return HTMLResponse(trouble_html(str(error), "../" * (path.count("/") - 1)), code)
