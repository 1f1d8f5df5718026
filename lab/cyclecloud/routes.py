"""The routes: CycleCloud's REST API, and /lab for those who want to see it misbehave."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ValidationError, WithJsonSchema

from lab.cyclecloud import answers, creation, health, management, misbehaviour
from lab.cyclecloud.auth import Account
from lab.cyclecloud.cloud import Cloud
from lab.cyclecloud.faults import DeclinedError, FaultRequest, Faults, invalid
from lab.cyclecloud.model import (
    ClusterStatus,
    ClusterUsage,
    GuestHealthReport,
    NodeCreationRequest,
    NodeCreationResult,
    NodeList,
    NodeManagementRequest,
    NodeManagementResult,
    OperationStatus,
)
from lab.cyclecloud.openapi import ACCEPTED, body_of, declined
from lab.cyclecloud.usage import Question

BodyT = TypeVar("BodyT", bound=BaseModel)

# what routes depend on


async def _cloud(request: Request) -> Cloud:  # not async, it would run in a thread, beside the event loop
    cloud: Cloud = request.app.state.cloud
    cloud.advance()
    return cloud


TheCloud = Annotated[Cloud, Depends(_cloud)]


def _account(request: Request) -> Account:
    account: Account = request.app.state.account
    return account


async def require_login(request: Request) -> None:
    """Raise DeclinedError 401 for whoever CycleCloud does not let in."""
    _account(request).check(request.headers.get("Authorization"))


async def require_operator(request: Request) -> None:
    """Raise DeclinedError 401 for whoever does not run this server."""
    _account(request).check_operator(request.headers.get("Authorization"))


async def require_service(request: Request) -> None:
    """Raise DeclinedError 503 or 500 when a fault says so."""
    cloud: Cloud = request.app.state.cloud
    cloud.require_service()


async def _cluster(cluster: str, cloud: TheCloud) -> Cloud:
    if cluster != cloud.config.cluster:
        raise DeclinedError(404, f"No cluster named {cluster}")
    return cloud


TheCluster = Annotated[Cloud, Depends(_cluster)]


def _body(kind: type[BodyT]) -> Callable[[Request], Any]:
    """Read a body as JSON whatever its content type: CycleCloud's own examples send text/plain."""

    async def read(request: Request) -> BodyT:
        try:
            return kind.model_validate_json(await request.body())
        except ValidationError as error:
            wrong = [f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors()]
            raise invalid("; ".join(wrong)) from error

    return read


Creation = Annotated[NodeCreationRequest, Depends(_body(NodeCreationRequest))]
Management = Annotated[NodeManagementRequest, Depends(_body(NodeManagementRequest))]
Misbehaviour = Annotated[FaultRequest, Depends(_body(FaultRequest))]


_Total = WithJsonSchema({"type": "integer", "minimum": 0})
Total = Annotated[str | None, _Total]  # read by hand: whatever is wrong with it is 409, not 400


def _located(request: Request, response: Response, operation_id: str) -> None:
    response.headers["Location"] = str(request.url_for("operation", operation_id=operation_id))


# one cluster

clusters = APIRouter(prefix="/clusters/{cluster}")


@clusters.get("/nodes", response_model_exclude_none=True, responses=declined(400, 404))
async def nodes(cloud: TheCluster, operation: str | None = None, request_id: str | None = None) -> NodeList:
    """All nodes, or those of an operation or of a request."""
    return answers.nodes(cloud, operation, request_id)


@clusters.post(
    "/nodes/create",
    status_code=202,
    response_model_exclude_none=True,
    responses=ACCEPTED | declined(404, 409),
    openapi_extra=body_of(NodeCreationRequest),
)
async def create(
    cloud: TheCluster, body: Creation, request: Request, response: Response
) -> NodeCreationResult:
    """Add nodes; ``added`` says how many it became."""
    result = creation.create(cloud, body)
    _located(request, response, result.operation_id)
    return result


@clusters.post(
    "/scale/{nodearray}",
    status_code=202,
    response_model_exclude_none=True,
    responses=ACCEPTED | declined(404, 409),
)
async def scale(
    cloud: TheCluster,
    nodearray: str,
    request: Request,
    response: Response,
    cores: Annotated[Total, Query(alias="totalCoreCount")] = None,
    count: Annotated[Total, Query(alias="totalNodeCount")] = None,
) -> NodeCreationResult:
    """Add nodes up to a total."""
    result = creation.scale(cloud, nodearray, _number(cores), _number(count))
    _located(request, response, result.operation_id)
    return result


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise invalid(f"{text!r} is no count")
    return int(text)


async def manage(
    cloud: TheCluster, body: Management, request: Request, response: Response
) -> NodeManagementResult:
    """Start, shut down, terminate, deallocate, remove, restart or reimage nodes."""
    result = management.manage(cloud, request.url.path.rpartition("/")[2], body)
    _located(request, response, result.operation_id)
    return result


for _action in management.ACTIONS:
    clusters.add_api_route(
        f"/nodes/{_action}",
        manage,
        methods=["POST"],
        status_code=202,
        response_model_exclude_none=True,
        responses=ACCEPTED | declined(404, 409),
        openapi_extra=body_of(NodeManagementRequest),
        name=_action,
    )


@clusters.post("/nodes/{node}/ghr", status_code=202, responses=declined(400, 404, 409))
async def report_health(
    cloud: TheCluster, node: str, category: Annotated[str, Query(min_length=1)], description: str = ""
) -> GuestHealthReport:
    """Tell Azure that the machine of a node is not well."""
    return health.report(cloud, node, category, description)


@clusters.get("/nodes/{node}/ghr", responses=declined(400, 404))
async def health_reports(
    cloud: TheCluster, node: str, category: str | None = None
) -> list[GuestHealthReport]:
    """What Azure was told about the machine of a node."""
    return health.reports(cloud, node, category)


@clusters.get("/status", response_model_exclude_none=True, responses=declined(400, 404))
async def status(cloud: TheCluster, nodes: bool = False) -> ClusterStatus:
    """Limits, buckets and, when asked for, nodes."""
    return answers.status(cloud, with_nodes=nodes)


@clusters.get("/usage", response_model_exclude_none=True, responses=declined(400, 404))
async def usage(
    cloud: TheCluster,
    timeframe: str = "monthToDate",
    granularity: str = "daily",
    start: Annotated[str | None, Query(alias="from")] = None,
    end: Annotated[str | None, Query(alias="to")] = None,
    expand: str = "",
) -> ClusterUsage:
    """Core-hours and cost."""
    return answers.usage(cloud, Question(timeframe, granularity, start, end, expand == "details"))


# operations, and what only Azure's own code uses

rest = APIRouter()


@rest.get("/operations/", responses=declined())
@rest.get("/operations", include_in_schema=False)
async def operations(cloud: TheCloud, request_id: str | None = None) -> list[OperationStatus]:
    """All operations, or the one of a request."""
    return answers.operations(cloud, request_id)


@rest.get("/operations/{operation_id}", responses=declined(404))
async def operation(cloud: TheCloud, operation_id: str) -> OperationStatus:
    """What was asked for, and when."""
    return answers.operation(cloud, operation_id)


@rest.post("/cloud/actions/retry/{cluster}", responses=declined(404))
async def retry(cloud: TheCluster) -> dict[str, str]:
    """Have all failed nodes boot again; not documented, but Azure's autoscaler calls it."""
    management.retry_failed(cloud)
    return {}


# not CycleCloud's

lab = APIRouter(prefix="/lab")


@lab.get("/log", responses=declined(400))
async def events(cloud: TheCloud, after: int = 0) -> dict[str, Any]:
    """What happened since event ``after``, and the faults of now."""
    return {"faults": cloud.faults, "events": cloud.journal.after(after)}


@lab.post("/faults", responses=declined(409), openapi_extra=body_of(FaultRequest))
async def misbehave(cloud: TheCloud, body: Misbehaviour, request: Request) -> Faults:
    """Misbehave from now on."""
    return misbehaviour.misbehave(cloud, _account(request), body)


@lab.delete("/faults", responses=declined())
async def behave(cloud: TheCloud, request: Request) -> Faults:
    """Behave again."""
    return misbehaviour.behave(cloud, _account(request))
