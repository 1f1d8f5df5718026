"""Which Airflow connection is used for whom: clusters.yaml alone says it."""

from __future__ import annotations

import pytest

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.commands import Command
from hybrid_hpc.errors import HybridHpcError, Refused, Unreachable
from hybrid_hpc_airflow import connections
from tests.unit.placement_world import onprem

PROJECTS = onprem(runs_as="project", ssh_connections={"alpha": "hpc_alpha", "beta": "hpc_beta"})
PEOPLE = onprem(runs_as="person", people={"accounts": {"ada@example.org": "ada"}})


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the connections that were asked for, none of which can be had."""
    asked: list[str] = []

    async def connect_ssh(conn_id: str) -> None:
        asked.append(conn_id)
        raise Unreachable(f"no way to {conn_id}")

    monkeypatch.setattr(connections, "connect_ssh", connect_ssh)
    connections._breaker.cache_clear()
    return asked


@pytest.mark.parametrize(
    ("cluster", "identity", "conn_id"),
    [
        (PROJECTS, "", "hpc_onprem"),
        (PROJECTS, "project:alpha", "hpc_alpha"),
        (PROJECTS, "project:beta", "hpc_beta"),
        (PEOPLE, "", "hpc_onprem"),
        (PEOPLE, "person:ada", "hpc_onprem"),
        (onprem(), "person:ada", "hpc_onprem"),  # sent before clusters.yaml said otherwise
    ],
)
async def test_each_identity_has_its_connection(
    asked_for: list[str], cluster: Cluster, identity: str, conn_id: str
) -> None:
    head_node = connections.open_head_node(cluster)
    with pytest.raises(HybridHpcError, match=f"no way to {conn_id}"):
        await head_node.acting_as(identity).run(Command(("true",)))
    await head_node.close()
    assert asked_for == [conn_id]


async def test_a_project_whose_key_is_refused_shuts_no_other_out(asked_for: list[str]) -> None:
    head_node = connections.open_head_node(PROJECTS)
    for _ in range(10):
        with pytest.raises(Unreachable):
            await head_node.acting_as("project:alpha").run(Command(("true",)))
    assert len(asked_for) == 5, "its breaker is open"
    assert await head_node.shut() is None
    with pytest.raises(Unreachable, match="no way to hpc_beta"):
        await head_node.acting_as("project:beta").run(Command(("true",)))
    await head_node.close()


def test_an_identity_that_nobody_has_is_refused() -> None:
    with pytest.raises(Refused, match="put it back into ssh_connections"):
        connections.open_head_node(PROJECTS).acting_as("project:gamma")
