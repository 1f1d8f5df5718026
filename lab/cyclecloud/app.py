"""The server of one cloud as an ASGI application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse
from fastapi.routing import APIRoute

from lab.cyclecloud import openapi
from lab.cyclecloud.auth import Account
from lab.cyclecloud.cloud import Cloud
from lab.cyclecloud.faults import DeclinedError
from lab.cyclecloud.routes import clusters, lab, require_login, require_operator, require_service, rest
from lab.cyclecloud.stalling import Stalling

log = logging.getLogger(__name__)
TICK_S = 0.1


def create_app(cloud: Cloud, account: Account) -> FastAPI:
    """Make the server of one cloud: while it runs it moves the nodes on, when it stops it ends the VMs."""
    app = described_app()
    app.state.cloud, app.state.account = cloud, account
    app.add_middleware(Stalling, loses_answer=cloud.loses_answer)
    return app


def described_app() -> FastAPI:
    """Make the application without a cloud: enough for its OpenAPI document."""
    app = FastAPI(lifespan=_lifespan, docs_url=None, redoc_url=None, generate_unique_id_function=_name)
    app.include_router(lab, dependencies=[Depends(require_operator)])
    for router in (clusters, rest):
        app.include_router(router, dependencies=[Depends(require_service), Depends(require_login)])
    app.add_exception_handler(DeclinedError, _declined)
    app.add_exception_handler(RequestValidationError, _bad_query)
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]
    return app


def _name(route: APIRoute) -> str:
    return route.name


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    ticking = asyncio.create_task(_tick(app.state.cloud))
    yield
    ticking.cancel()
    with suppress(asyncio.CancelledError):
        await ticking
    app.state.cloud.close()


async def _tick(cloud: Cloud) -> None:
    while True:
        try:
            cloud.advance()
        except Exception:  # else one full disk stops the time of all nodes for good
            log.exception("a step could not be taken")
        await asyncio.sleep(TICK_S)


async def _declined(_: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, DeclinedError) else 500
    headers = {"WWW-Authenticate": 'Basic realm="CycleCloud"'} if status == 401 else None
    return PlainTextResponse(str(error), status, headers)


async def _bad_query(_: Request, error: Exception) -> Response:
    wrong = error.errors() if isinstance(error, RequestValidationError) else []
    return PlainTextResponse("; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in wrong), 400)
