"""Whatever is made from the server's OpenAPI document gets an answer that fits it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import checks
from schemathesis.python.asgi import shutdown_lifespans

from lab.cyclecloud import misbehaviour
from lab.cyclecloud.app import described_app
from tests.cyclecloud_world import BOOT_S, PASSWORD, USER, World

LOGIN = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
DOCUMENT = described_app().openapi()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]
ALIKE = {"deallocate", "shutdown", "remove", "restart", "reimage"}  # one handler, one body: `terminate`'s
KNOWN = {"cluster": "azure", "nodearray": "hpc", "node": "azure-hpc-1"}
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


def at_home(case: schemathesis.Case[Any]) -> schemathesis.Case[Any]:
    """Ask for what there is: of a made up cluster or nodearray nothing is to be learnt but 404."""
    case.path_parameters.update({name: KNOWN[name] for name in case.path_parameters.keys() & KNOWN.keys()})
    sets = case.body.get("sets") if isinstance(case.body, dict) else None
    for each in sets if isinstance(sets, list) else []:
        if isinstance(each, dict):
            each["nodearray"] = "hpc"
            each.pop("definition", None)
    return case


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Three nodes, one of them with a failed boot."""
    world = World(tmp_path)
    await world.post("/lab/faults", {"boot_fail": ["azure-hpc-1"]})
    await world.create({"count": 3, "nodearray": "hpc", "placementGroupId": "pg0"})
    world.pass_(BOOT_S)
    yield world
    shutdown_lifespans()  # else the apps live until Python ends, and log to what is closed by then


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_whatever_is_asked_is_answered_as_the_document_says(world: World, path: str, method: str) -> None:
    SCHEMA.app = world.app

    @given(SCHEMA[path][method].as_strategy())
    @settings(
        max_examples=3 if path.rpartition("/")[2] in ALIKE else 10,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: schemathesis.Case[Any]) -> None:
        at_home(case).call_and_validate(checks=CHECKS, headers={"Authorization": f"Basic {LOGIN}"})
        misbehaviour.behave(world.cloud, world.account)

    ask()
