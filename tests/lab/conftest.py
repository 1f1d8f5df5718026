"""Ways to the head nodes and to the CycleCloud of the lab that all tests share."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from subprocess import CompletedProcess

import httpx
import pytest

from lab.lab import Lab
from lab.testing import on_head_node

Answer = CompletedProcess[str]
Run = Callable[[str, str], str]


@pytest.fixture
def run(lab: Lab) -> Run:
    """Run a command on a head node (``run("onprem", "sinfo")``) that has to succeed; gives what it writes."""

    def run_there(cluster: str, command: str) -> str:
        answer = on_head_node(lab, cluster, command)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip()

    return run_there


@pytest.fixture
async def faults(lab: Lab) -> AsyncIterator[httpx.AsyncClient]:
    """CycleCloud's hook for misbehaviour; every fault ends with the test."""
    connection = lab.connections()["cyclecloud"]
    login = (connection["login"], connection["password"])
    trust = ssl.create_default_context(cafile=connection["extra"]["ca_file"])
    async with httpx.AsyncClient(base_url=connection["host"], auth=login, verify=trust) as client:
        yield client
        await client.post("/lab/faults", json={"outage_s": 0})
        await client.delete("/lab/faults")
