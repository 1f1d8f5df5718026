from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cyclecloud_world import BOOT_S, HPC, HTC, World


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """Three nodes that are ready."""
    world = World(tmp_path)
    await world.create({"count": 2, "nodearray": "hpc"}, {"count": 1, "nodearray": "htc"})
    world.pass_(BOOT_S)
    return world


async def asked(world: World, action: str, **body: object) -> dict[str, Any]:
    response = await world.post(f"nodes/{action}", body)
    assert response.status_code == 202, response.text
    assert response.headers["Location"].endswith(response.json()["operationId"])
    return {node["name"]: node.get("error", node["status"]) for node in response.json()["nodes"]}


@pytest.mark.parametrize("action", ["terminate", "shutdown", "remove"])
async def test_a_node_that_is_ended_goes_with_its_machine(world: World, action: str) -> None:
    world.machines.stubborn = {"azure-hpc-1"}
    assert await asked(world, action, names=["azure-hpc-1"]) == {"azure-hpc-1": "OK"}
    node = (await world.nodes())["azure-hpc-1"]
    assert (node["Status"], node["TargetState"]) == ("Terminating", "Terminated")
    world.machines.running.pop("azure-hpc-1")
    assert sorted(await world.states()) == ["azure-hpc-2", "htc-1"]


async def test_a_machine_that_does_not_end_in_time_is_ended_by_force(world: World) -> None:
    world.machines.stubborn = {"azure-hpc-1"}
    await asked(world, "terminate", names=["azure-hpc-1"])
    world.pass_(9)
    assert "azure-hpc-1" in world.machines.running
    world.pass_(2)
    assert "azure-hpc-1" not in world.machines.running


async def test_selectors_are_a_union(tmp_path: Path) -> None:
    world = World(tmp_path, subnet="10.1.0.0/16", nodearrays=[HPC, HTC | {"max_count": 20}])
    await world.create({"count": 6, "nodearray": "htc"})
    world.pass_(BOOT_S)
    nodes = await world.nodes()
    served = await asked(
        world,
        "terminate",
        ids=[nodes["htc-1"]["NodeId"]],
        names=["htc-2", "htc-1"],
        hostnames=["htc-3"],
        ip_addresses=[nodes["htc-4"]["PrivateIp"]],
        filter='Name === "htc-5"',
    )
    assert served == dict.fromkeys(["htc-1", "htc-2", "htc-3", "htc-4", "htc-5"], "OK")
    assert list(await world.states()) == ["htc-6"]


async def test_a_filter_takes_the_documented_expression(world: World) -> None:
    assert await asked(world, "terminate", filter='State === "Started" && Template == "HTC"') == {
        "htc-1": "OK"
    }


async def test_names_of_nobody_are_no_error_and_serve_nobody(world: World) -> None:
    assert await asked(world, "terminate", names=["nobody"], filter=None) == {}
    assert await asked(world, "terminate", names=[]) == {}
    assert len(await world.states()) == 3


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"requestId": "r"},
        {"names": "azure-hpc-1"},
        {"names": [1]},
        {"filter": "State ==="},
        {"filter": ""},
        [],
    ],
)
async def test_a_request_without_a_clear_selector_is_409_and_ends_nobody(world: World, body: object) -> None:
    response = await world.post("nodes/terminate", body)
    assert response.status_code == 409
    assert response.text
    assert len(await world.states()) == 3


async def test_a_deallocated_node_keeps_its_name_and_id_frees_its_cores_and_starts_again(
    world: World,
) -> None:
    before = (await world.nodes())["azure-hpc-1"]
    await asked(world, "deallocate", names=["azure-hpc-1"])
    node = (await world.nodes())["azure-hpc-1"]
    assert (node["Status"], node["TargetState"]) == ("Deallocated", "Deallocated")
    assert "PrivateIp" not in node
    assert (await world.create({"count": 9, "nodearray": "hpc"}))["sets"][0]["added"] == 3
    refused = await asked(world, "start", names=["azure-hpc-1"])
    assert "at most 4 nodes" in refused["azure-hpc-1"]
    await asked(world, "terminate", names=["azure-hpc-3"])
    assert await asked(world, "start", names=["azure-hpc-1"]) == {"azure-hpc-1": "OK"}
    world.pass_(BOOT_S)
    after = (await world.nodes())["azure-hpc-1"]
    assert (after["Status"], after["NodeId"]) == ("Ready", before["NodeId"])
    assert after["InstanceId"] != before["InstanceId"]


async def test_shutdown_follows_the_nodes_shutdown_policy(world: World) -> None:
    attributes = {"ShutdownPolicy": "Deallocate"}
    await world.create({"count": 1, "nodearray": "htc", "nodeAttributes": attributes})
    await asked(world, "shutdown", names=["htc-1", "htc-2"])
    states = await world.states()
    assert "htc-1" not in states
    assert states["htc-2"] == "Deallocated"


async def test_a_fixed_node_stays_on_terminate_and_goes_on_remove(world: World) -> None:
    await world.create({"count": 1, "nodearray": "htc", "nodeAttributes": {"Fixed": True}})
    await asked(world, "terminate", names=["htc-2"])
    node = (await world.nodes())["htc-2"]
    assert (node["Status"], node["TargetState"]) == ("Terminated", "Terminated")
    await asked(world, "remove", names=["htc-2"])
    assert "htc-2" not in await world.states()


@pytest.mark.parametrize("action", ["restart", "reimage"])
async def test_a_node_boots_again_under_the_same_identity(world: World, action: str) -> None:
    before = (await world.nodes())["azure-hpc-1"]
    world.machines.stubborn = {"azure-hpc-1"}
    await asked(world, action, names=["azure-hpc-1"])
    assert (await world.states())["azure-hpc-1"] in ("Restarting", "Reimaging")
    world.machines.running.pop("azure-hpc-1")
    assert (await world.states())["azure-hpc-1"] == "Acquiring"
    world.pass_(BOOT_S)
    after = (await world.nodes())["azure-hpc-1"]
    assert (after["Status"], after["NodeId"]) == ("Ready", before["NodeId"])


async def test_what_a_node_cannot_do_now_is_an_error_of_that_node_in_a_202(world: World) -> None:
    await asked(world, "deallocate", names=["azure-hpc-1"])
    served = await asked(world, "restart", names=["azure-hpc-1", "azure-hpc-2"])
    assert "deallocated" in served["azure-hpc-1"]
    assert served["azure-hpc-2"] == "OK"


async def test_starting_a_node_that_goes_away_is_an_error_and_one_that_is_up_is_none(world: World) -> None:
    world.machines.stubborn = {"azure-hpc-1"}
    await asked(world, "terminate", names=["azure-hpc-1"])
    served = await asked(world, "start", names=["azure-hpc-1", "azure-hpc-2"])
    assert served == {"azure-hpc-1": "This node is terminating", "azure-hpc-2": "OK"}
    assert await asked(world, "deallocate", names=["azure-hpc-1"]) == {
        "azure-hpc-1": "This node is terminating"
    }


async def test_ending_a_node_twice_is_ending_it_once(world: World) -> None:
    world.machines.stubborn = {"azure-hpc-1"}
    for action in ("terminate", "terminate", "shutdown", "remove"):
        assert await asked(world, action, names=["azure-hpc-1"]) == {"azure-hpc-1": "OK"}
    assert (await world.states())["azure-hpc-1"] == "Terminating"


async def test_a_node_can_be_ended_while_it_boots_and_while_it_restarts(world: World) -> None:
    await world.create({"count": 1, "nodearray": "hpc"})
    await asked(world, "restart", names=["azure-hpc-1"])
    await asked(world, "terminate", names=["azure-hpc-1", "azure-hpc-3"])
    assert sorted(await world.states()) == ["azure-hpc-2", "htc-1"]
    assert set(world.machines.running) == {"azure-hpc-2", "htc-1"}


async def test_retry_has_all_failed_nodes_boot_again(world: World) -> None:
    await world.post("/lab/faults", {"boot_fail": ["azure-hpc-3"]})
    await world.create({"count": 1, "nodearray": "hpc"})
    world.pass_(BOOT_S)
    assert (await world.states())["azure-hpc-3"] == "Failed"
    await world.post("/lab/faults", {"boot_fail": {}})
    assert (await world.post("/cloud/actions/retry/azure")).status_code == 200
    world.pass_(BOOT_S)
    assert set((await world.states()).values()) == {"Ready"}
    assert (await world.post("/cloud/actions/retry/other")).status_code == 404
