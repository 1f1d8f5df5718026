"""The OpenAPI document of the server: docs/cyclecloud-openapi.json is what it gives."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from lab.cyclecloud.faults import FaultRequest
from lab.cyclecloud.model import NodeCreationRequest, NodeManagementRequest

DESCRIPTION = """Azure CycleCloud's documented REST API for one cluster, without Azure; `/lab` is its own.

Answers below 400 are JSON; what is declined is a sentence in plain text. Bodies are read as JSON whatever
their content type says."""
BODIES: tuple[type[BaseModel], ...] = (NodeCreationRequest, NodeManagementRequest, FaultRequest)
TEXTS = {
    400: "The question makes no sense",
    401: "Not logged in, or the account is locked",
    404: "There is nothing of that name",
    409: "The input is invalid, or was given before",
    500: "A fault wants it so",
    503: "Out of service at the moment",
}
REF = "#/components/schemas/{model}"
Responses = dict[int | str, dict[str, Any]]

ACCEPTED: Responses = {
    202: {
        "description": "Accepted; that is not done: read the body",
        "headers": {"Location": {"description": "URL of the operation", "schema": {"type": "string"}}},
    }
}


def declined(*statuses: int) -> Responses:
    """Describe how a route says no, besides the ways that all have."""
    text = {"text/plain": {"schema": {"type": "string"}}}
    known = sorted({401, 500, 503, *statuses})
    return {status: {"description": TEXTS[status], "content": text} for status in known}


def body_of(kind: type[BaseModel]) -> dict[str, Any]:
    """Describe a body that a route reads itself."""
    content = {"application/json": {"schema": {"$ref": REF.format(model=kind.__name__)}}}
    return {"requestBody": {"required": True, "content": content}}


def document(app: FastAPI) -> dict[str, Any]:
    """Give the document."""
    made = get_openapi(
        title="CycleCloud server of the lab", version="8", description=DESCRIPTION, routes=app.routes
    )
    schemas = made["components"]["schemas"] | _bodies()
    ours = {name: schema for name, schema in schemas.items() if not name.endswith("ValidationError")}
    login = {"basic": {"type": "http", "scheme": "basic"}}
    for path in made["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)  # FastAPI's own way to say no, which is not ours
    return made | {
        "components": {"schemas": dict(sorted(ours.items())), "securitySchemes": login},
        "security": [{"basic": []}],
    }


def _bodies() -> dict[str, Any]:
    _, found = models_json_schema([(kind, "validation") for kind in BODIES], ref_template=REF)
    definitions: dict[str, Any] = found["$defs"]
    return definitions
