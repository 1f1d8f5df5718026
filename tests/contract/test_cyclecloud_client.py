"""The client of the project against the server of the lab, in this process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from hybrid_hpc.cyclecloud import CycleCloudClient, NodeSet, Patience
from hybrid_hpc.errors import AccessDenied, ConnectionLost, Refused, Shut, Unavailable
from tests.cyclecloud_world import AT_ONCE, BOOT_S, START, URL, USER, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class LosesAnswers(httpx.AsyncBaseTransport):
    """A wire that carries requests to the server and loses the answers of the first POSTs."""

    def __init__(self, world: World, count: int) -> None:
        self._inner, self._left = httpx.ASGITransport(world.app), count

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        if request.method == "POST" and self._left:
            self._left -= 1
            raise httpx.ReadTimeout("no answer", request=request)
        return response


async def test_nodes_come_are_ready_and_go(world: World) -> None:
    async with world.client() as client:
        created = await client.create_nodes("r1", [NodeSet(count=2, nodearray="hpc")])
        assert (created.added, created.messages, created.already_asked) == (2, (), False)
        assert all(node.booting for node in await client.nodes(operation=created.operation_id))
        world.pass_(BOOT_S)
        first, second = await client.nodes(request_id="r1")
        assert first.ready
        assert (first.name, first.nodearray, first.private_ip) == ("azure-hpc-1", "hpc", "127.0.0.1")
        ended = await client.terminate_nodes(names=[first.name], ids=[second.node_id])
        assert ended.errors == {}
        assert {node.name for node in ended.nodes} == {first.name, second.name}
        assert await client.nodes() == ()


async def test_asking_twice_under_one_id_makes_the_nodes_once(world: World) -> None:
    wanted = [NodeSet(count=2, nodearray="hpc"), NodeSet(count=1, nodearray="htc")]
    async with world.client() as client:
        await client.create_nodes("r1", wanted)
        again = await client.create_nodes("r1", wanted)
    assert again.already_asked
    assert [each.added for each in again.sets] == [2, 1]
    assert len(world.machines.boots) == 3


async def test_a_lost_answer_makes_the_nodes_once(world: World) -> None:
    async with world.client(LosesAnswers(world, 1)) as client:
        created = await client.create_nodes("r1", [NodeSet(count=2, nodearray="hpc")])
    assert (created.already_asked, created.added) == (True, 2)
    assert len(world.machines.boots) == 2


async def test_a_partial_creation_says_why_also_when_it_is_read_back(world: World) -> None:
    wanted = [NodeSet(count=6, nodearray="hpc")]
    async with world.client() as client:
        created = await client.create_nodes("r1", wanted)
        again = await client.create_nodes("r1", wanted)
    assert created.added == again.added == 4
    assert "at most 4 nodes" in created.messages[0]
    assert again.messages


async def test_an_unknown_request_or_operation_is_told_apart_from_an_empty_one(world: World) -> None:
    async with world.client() as client:
        assert await client.asked("never") is None
        with pytest.raises(Refused, match="No operation found"):
            await client.nodes(request_id="never")
        await client.create_nodes("r1", [NodeSet(count=1, nodearray="hpc")])
        await client.terminate_nodes(names=["azure-hpc-1"])
        assert await client.asked("r1") == ()


async def test_an_invalid_creation_is_refused_in_the_servers_words(world: World) -> None:
    async with world.client() as client:
        with pytest.raises(Refused, match="no nodearray 'nope'"):
            await client.create_nodes("r1", [NodeSet(nodearray="nope")])


async def test_the_status_gives_limits_and_nodes(world: World) -> None:
    async with world.client() as client:
        await client.create_nodes("r1", [NodeSet(count=3, nodearray="hpc", placement_group_id="pg")])
        status = await client.status()
        short = await client.status(nodes=False)
    assert (len(status.nodes), len(short.nodes)) == (3, 0)
    bucket = status.bucket("hpc", "Standard_HB120rs_v3")
    assert bucket is not None
    assert (bucket.available_count, bucket.active_core_count) == (1, 360)
    assert bucket.virtual_machine.vcpu_count == 120
    assert bucket.placement_groups[0].name == "pg"
    assert bucket.last_capacity_failure < 0
    assert status.bucket("hpc", "other") is status.bucket("nope") is None
    assert status.nodearrays[0].attributes["Region"] == "westeurope"


async def test_nodes_deallocate_start_shut_down_and_are_removed(world: World) -> None:
    async with world.client() as client:
        await client.create_nodes("r1", [NodeSet(count=2, nodearray="hpc")])
        world.pass_(BOOT_S)
        await client.deallocate_nodes(names=["azure-hpc-1"])
        assert [node.gone for node in await client.nodes()] == [True, False]
        await client.start_nodes(names=["azure-hpc-1"], request_id="r2")
        assert (await client.start_nodes(names=["azure-hpc-1"], request_id="r2")).already_asked
        world.pass_(BOOT_S)
        assert all(node.ready for node in await client.nodes())
        await client.shutdown_nodes(names=["azure-hpc-1"])
        await client.remove_nodes(names=["azure-hpc-2"])
        assert await client.nodes() == ()


async def test_an_error_of_one_node_is_in_the_result(world: World) -> None:
    async with world.client() as client:
        await client.create_nodes("r1", [NodeSet(count=2, nodearray="hpc")])
        world.machines.stubborn = {"azure-hpc-1"}
        await client.terminate_nodes(names=["azure-hpc-1"])
        result = await client.start_nodes(names=["azure-hpc-1", "azure-hpc-2"])
    assert result.errors == {"azure-hpc-1": "This node is terminating"}


async def test_scale_adds_up_to_a_total(world: World) -> None:
    async with world.client() as client:
        assert (await client.scale("hpc", nodes=2)).added == 2
        assert (await client.scale("hpc", cores=360)).added == 1
        with pytest.raises(Refused):
            await client.scale("hpc")


async def test_usage_has_hours_and_cost(world: World) -> None:
    start = datetime.fromtimestamp(START, UTC)
    async with world.client() as client:
        created = await client.create_nodes("r1", [NodeSet(count=1, nodearray="hpc")])
        assert (await client.operation(created.operation_id)).start_time == start
        world.pass_(7200)
        usage = await client.usage(start, start + timedelta(hours=2))
    assert [each.total.hours for each in usage.usage] == [120, 120]
    assert usage.usage[0].breakdown[0].details[0].cost == 3.6


async def test_a_failed_node_carries_azures_words(world: World) -> None:
    await world.post("/lab/faults", {"boot_fail": {"azure-hpc-1": "Failed to mount /sched"}})
    async with world.client() as client:
        await client.create_nodes("r1", [NodeSet(nodearray="hpc")])
        world.pass_(BOOT_S)
        (node,) = await client.nodes()
    assert node.failed
    assert node.status_message == "Failed to mount /sched"


async def test_an_outage_is_unavailable_and_over_when_it_is_over(world: World) -> None:
    await world.post("/lab/faults", {"outage_s": 60})
    async with world.client() as client:
        with pytest.raises(Unavailable, match="not available") as caught:
            await client.nodes()
        assert not isinstance(caught.value, ConnectionLost)
        world.pass_(60)
        assert await client.nodes() == ()


async def test_a_wrong_password_never_locks_the_account(world: World) -> None:
    wire = httpx.ASGITransport(world.app)
    wrong = CycleCloudClient(URL, USER, "wrong", "azure", transport=wire, patience=Patience(pause_s=0))
    with pytest.raises(AccessDenied):
        await wrong.nodes()
    for _ in range(20):
        with pytest.raises(Shut, match="not tried again for 300 s: it has not let us in"):
            await wrong.nodes()
    async with world.client() as right:
        assert await right.nodes() == ()


async def test_a_locked_account_is_access_denied(world: World) -> None:
    wire = httpx.ASGITransport(world.app)
    for _ in range(5):
        with pytest.raises(AccessDenied):
            await CycleCloudClient(URL, USER, "wrong", "azure", transport=wire, patience=AT_ONCE).nodes()
    with pytest.raises(AccessDenied, match="locked"):
        await world.client().nodes()
