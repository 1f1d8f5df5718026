"""The app at ``/hybrid-hpc``: `/metrics` for Prometheus, the one route with a token instead of a login.

The token is the password of the Airflow connection ``hybrid_hpc_metrics``. Without it the route is not there.
"""

from __future__ import annotations

import logging
import secrets
from typing import Annotated

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from fastapi import Depends, FastAPI, HTTPException, Request, Response, status
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST

from hybrid_hpc.errors import HybridHpcError
from hybrid_hpc_airflow.web.dependencies import ClustersDep, LedgerDep, NowDep
from hybrid_hpc_airflow.web.headers import SafeHeaders
from hybrid_hpc_airflow.web.metrics import metrics_text

log = logging.getLogger(__name__)

CONNECTION = "hybrid_hpc_metrics"
SHORTEST = 16  # letters: a shorter token can be guessed

bearer = HTTPBearer(auto_error=False)


def token() -> str | None:
    """The token that lets in; None, and a sentence in the log, where none is set that is good for it."""
    try:
        found = BaseHook.get_connection(CONNECTION).password
    except AirflowNotFoundException:
        found = None
    if found and len(found) >= SHORTEST:
        return str(found)
    log.warning(
        "/hybrid-hpc/metrics is closed: give the Airflow connection %s a password of at least %d letters,"
        " and the same to Prometheus as its bearer token",
        *(CONNECTION, SHORTEST),
    )
    return None


def let_in(
    wanted: Annotated[str | None, Depends(token)],
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> None:
    """404 where no token is set, 401 for a wrong one or none."""
    if wanted is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    sent = given.credentials if given else ""
    if not secrets.compare_digest(sent.encode(), wanted.encode()):
        raise HTTPException(
            status.HTTP_401_UNAUTHORIZED, "the bearer token is not right", {"WWW-Authenticate": "Bearer"}
        )


def make_metrics_app() -> FastAPI:
    """The app, without documentation, and with no other route."""
    app = FastAPI(
        title="Hybrid HPC metrics",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(let_in)],
    )
    app.add_api_route("/metrics", metrics, methods=["GET"])
    app.add_exception_handler(HybridHpcError, _trouble)
    app.add_middleware(SafeHeaders)
    return app


def metrics(ledger: LedgerDep, clusters: ClustersDep, now: NowDep) -> Response:
    """Everything, in Prometheus' text format."""
    return Response(metrics_text(ledger, clusters, now), media_type=CONTENT_TYPE_LATEST)


def _trouble(_request: Request, error: Exception) -> Response:
    """503: a scrape that failed is a gap in Prometheus, never a zero."""
    return PlainTextResponse(str(error), status.HTTP_503_SERVICE_UNAVAILABLE)
