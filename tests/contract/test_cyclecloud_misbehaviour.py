"""What the server can be told to do wrong, as the project's own client meets it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hybrid_hpc.cyclecloud import CycleCloudClient, Node, NodeSet
from hybrid_hpc.errors import AccessDenied, ConnectionLost, Unavailable
from tests.cyclecloud_world import BOOT_S, World

GPUS = [NodeSet(count=2, nodearray="gpu")]
HPC_NODE = [NodeSet(count=1, nodearray="hpc")]
NOT_LONG_S = 0.2


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
async def client(world: World) -> AsyncIterator[CycleCloudClient]:
    async with world.client(timeout_s=NOT_LONG_S) as made:
        yield made


async def misbehave(world: World, **faults: object) -> dict[str, Any]:
    response = await world.post("/lab/faults", faults)
    assert response.status_code == 200, response.text
    result: dict[str, Any] = response.json()
    return result


async def by_name(client: CycleCloudClient) -> dict[str, Node]:
    return {node.name: node for node in await client.nodes()}


async def test_fewer_nodes_are_added_with_the_message_that_was_asked_for(
    world: World, client: CycleCloudClient
) -> None:
    words = "Standard_HB120rs_v3 is in short supply"
    await misbehave(world, add_at_most={"hpc": {"count": 1, "message": words}, "htc/Standard_F16s_v2": 2})
    sets = [NodeSet(count=3, nodearray="hpc"), NodeSet(count=3, nodearray="htc")]
    created = await client.create_nodes("r1", sets)
    assert [each.added for each in created.sets] == [1, 2]
    assert created.messages == (words, "only 2 of 3 nodes can be added: Azure gives 2 at the moment")
    await misbehave(world, add_at_most={})
    assert (await client.create_nodes("r2", [NodeSet(count=3, nodearray="hpc")])).messages == ()


async def test_one_node_of_several_that_are_asked_for_by_name_is_not_added(
    world: World, client: CycleCloudClient
) -> None:
    await misbehave(world, add_at_most={"azure-hpc-2": {"count": 0, "message": "short of racks"}})
    sets = [NodeSet(nodearray="hpc", name_format=f"azure-hpc-{number}") for number in (1, 2)]
    created = await client.create_nodes("r1", sets)
    assert ([each.added for each in created.sets], created.messages) == ([1, 0], ("short of racks",))


async def test_a_real_limit_that_is_tighter_than_the_fault_is_the_one_that_is_told(
    world: World, client: CycleCloudClient
) -> None:
    await misbehave(world, add_at_most={"gpu": {"count": 5, "message": "never told"}})
    created = await client.create_nodes("r1", [NodeSet(count=9, nodearray="gpu")])
    assert created.added == 2
    assert "gpu holds at most 2 nodes" in created.messages[0]


async def test_a_familys_quota_can_be_lowered_and_given_back(world: World, client: CycleCloudClient) -> None:
    await misbehave(world, quotas={"Standard_F16s_v2": 20})
    created = await client.create_nodes("r1", [NodeSet(count=2, nodearray="htc"), *HPC_NODE])
    assert [each.added for each in created.sets] == [1, 1]
    assert "quota of 20 cores of Standard_F16s_v2" in created.messages[0]
    bucket = (await client.status()).bucket("htc")
    assert bucket
    assert (bucket.available_count, bucket.quota_core_count, bucket.consumed_core_count) == (0, 20, 16)
    await misbehave(world, quotas={})
    assert (await client.create_nodes("r2", [NodeSet(nodearray="htc")])).added == 1


async def test_boot_faults_may_name_a_nodearray_or_a_vm_size(world: World, client: CycleCloudClient) -> None:
    await misbehave(
        world,
        boot_s={"hpc": BOOT_S * 9, "azure-hpc-2": 1},
        boot_fail={"htc/Standard_F16s_v2": "no /sched"},
        never_register=["gpu"],
    )
    sets = [NodeSet(count=2, nodearray="hpc"), NodeSet(nodearray="htc"), NodeSet(nodearray="gpu")]
    await client.create_nodes("r1", sets)
    world.pass_(BOOT_S)
    nodes = await by_name(client)
    assert nodes["azure-hpc-1"].booting
    assert nodes["azure-hpc-2"].ready
    assert (nodes["htc-1"].failed, nodes["htc-1"].status_message) == (True, "no /sched")
    assert nodes["gpu-1"].ready
    assert world.machines.running["gpu-1"] is False


async def test_an_eviction_with_notice_is_seen_before_the_node_goes(
    world: World, client: CycleCloudClient
) -> None:
    await client.create_nodes("r1", GPUS)
    world.pass_(BOOT_S)
    await misbehave(world, evict_notice={"names": ["gpu-1", "nobody"], "in_s": 30})
    warned, other = (await by_name(client)).values()
    assert warned.evicting
    assert "waiting for eviction" in warned.status_message
    assert not (warned.ready or warned.booting or warned.failed or warned.gone)
    assert other.ready
    assert "gpu-1" in world.machines.running
    world.pass_(29)
    assert len(await client.nodes()) == 2
    world.pass_(1)
    assert [node.name for node in await client.nodes()] == ["gpu-2"]
    assert list(world.machines.running) == ["gpu-2"]
    events = (await world.get("/lab/log")).json()["events"]
    assert [(each["node"], each["reason"]) for each in events if each["what"] == "NodeTerminated"] == [
        ("gpu-1", "SpotEvicted")
    ]


async def test_a_node_with_notice_can_be_ended_before_and_one_that_boots_is_warned_too(
    world: World, client: CycleCloudClient
) -> None:
    await client.create_nodes("r1", GPUS)
    await misbehave(world, evict_notice={"names": ["gpu-1", "gpu-2"], "in_s": BOOT_S * 2})
    await client.terminate_nodes(names=["gpu-1"])
    world.pass_(BOOT_S)
    assert [(node.name, node.evicting) for node in await client.nodes()] == [("gpu-2", True)]
    world.pass_(BOOT_S)
    assert await client.nodes() == ()


async def test_after_a_500_that_did_nothing_the_client_finds_out_and_asks_again(
    world: World, client: CycleCloudClient
) -> None:
    await misbehave(world, error_500=1)
    created = await client.create_nodes("r1", HPC_NODE)
    assert (created.added, created.already_asked) == (1, False)
    assert len(world.machines.boots) == 1


async def test_500s_that_go_on_are_told_and_change_nothing(world: World, client: CycleCloudClient) -> None:
    await misbehave(world, error_500=100)
    with pytest.raises(Unavailable, match="500 Internal Server Error"):
        await client.nodes()
    with pytest.raises(ConnectionLost, match="cannot be asked"):
        await client.create_nodes("r1", HPC_NODE)
    left = (await world.get("/lab/log")).json()["faults"]["error_500"]
    assert 0 < left < 100
    assert not world.machines.boots


async def test_a_request_whose_answer_never_comes_was_carried_out_and_is_read_back(
    world: World, client: CycleCloudClient
) -> None:
    await misbehave(world, stall_after_effect=1)
    created = await client.create_nodes("r1", GPUS)
    assert (created.added, created.already_asked) == (2, True)
    assert [name for name, _ in world.machines.boots] == ["gpu-1", "gpu-2"]
    await client.terminate_nodes(names=["gpu-1"], request_id="r2")
    assert [node.name for node in await client.nodes()] == ["gpu-2"]


async def test_without_a_request_id_nobody_knows_whether_a_stalled_request_was_carried_out(
    world: World, client: CycleCloudClient
) -> None:
    await client.create_nodes("r1", GPUS)
    await misbehave(world, stall_after_effect=1)
    with pytest.raises(ConnectionLost, match="no answer"):
        await client.terminate_nodes(names=["gpu-1"])
    assert [node.name for node in await client.nodes()] == ["gpu-2"]


async def test_questions_and_refusals_are_answered_while_effects_stall(
    world: World, client: CycleCloudClient
) -> None:
    await misbehave(world, stall_after_effect=1)
    assert await client.nodes() == ()
    assert (await world.post("nodes/create", {"sets": []})).status_code == 409
    assert (await world.get("/lab/log")).json()["faults"]["stall_after_effect"] == 1


async def test_a_changed_password_refuses_everybody_until_the_fault_ends_lock_and_all(
    world: World, client: CycleCloudClient
) -> None:
    await misbehave(world, reject_logins=True)
    with pytest.raises(AccessDenied, match="401"):
        await client.nodes()
    for _ in range(5):
        assert (await world.get("nodes")).status_code == 401
    assert "locked" in (await world.get("nodes")).text
    async with world.http() as http:
        assert (await http.delete("/lab/faults")).status_code == 200
    assert (await world.get("nodes")).status_code == 200


async def test_who_runs_the_server_gets_in_although_the_account_is_locked(world: World) -> None:
    for _ in range(5):
        async with world.http("wrong") as http:
            assert (await http.get("/clusters/azure/nodes")).status_code == 401
    assert (await world.get("nodes")).status_code == 401
    assert (await world.get("/lab/log")).status_code == 200
    async with world.http("wrong") as http:
        assert (await http.get("/lab/log")).status_code == 401


@pytest.mark.parametrize(
    "faults",
    [
        {"add_at_most": {"hpc": -1}},
        {"add_at_most": {"hpc": {"most": 1}}},
        {"quotas": {"F": "few"}},
        {"error_500": -1},
        {"evict_notice": {"names": ["a"], "in_s": -1}},
        {"reject_logins": "perhaps"},
    ],
)
async def test_a_fault_that_is_none_is_refused(world: World, faults: object) -> None:
    assert (await world.post("/lab/faults", faults)).status_code == 409


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
async def test_an_attribute_that_is_no_number_of_json_is_refused(world: World, number: str) -> None:
    body = f'{{"sets": [{{"count": 1, "nodearray": "hpc", "nodeAttributes": {{"a": [{number}]}}}}]}}'
    assert (await world.post("nodes/create", body)).status_code == 409


async def test_a_filter_with_a_number_beyond_all_measure_is_read(world: World) -> None:
    await world.create({"count": 1, "nodearray": "hpc"})
    response = await world.post("nodes/terminate", {"filter": f"CoreCount < {'9' * 400}"})
    assert isinstance(response, httpx.Response)
    assert response.status_code == 202
    assert await world.states() == {}
