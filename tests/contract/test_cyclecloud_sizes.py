"""Nodearrays with several VM sizes: a bucket for each, with its own limits, prices and failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hybrid_hpc.cyclecloud import NodeSet
from tests.cyclecloud_world import BOOT_S, GPU, HPC, START, World

F32: dict[str, Any] = {
    "vm_size": "Standard_F32s_v2",
    "vcpus": 32,
    "pcpus": 16,
    "memory_gib": 64,
    "family": "FSv2",
    "max_count": 2,
    "boot_s": BOOT_S,
    "usd_per_hour": 1.4,
    "spot_usd_per_hour": 0.4,
    "spot_score": "High",
}
F16 = F32 | {"vm_size": "Standard_F16s_v2", "vcpus": 16, "usd_per_hour": 0.7, "spot_usd_per_hour": 0.2}
D64 = F32 | {"vm_size": "Standard_D64s_v5", "vcpus": 64, "family": "DSv5", "max_count": None}
HTC: dict[str, Any] = {"name": "htc", "max_count": 6, "sizes": [F32, F16, D64]}
SPOT = HTC | {"name": "spot", "interruptible": True}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, nodearrays=[HTC, SPOT, HPC])


async def buckets(world: World, nodearray: str = "htc") -> dict[str, dict[str, Any]]:
    arrays = (await world.get("status", nodes="true")).json()["nodearrays"]
    (found,) = [array["buckets"] for array in arrays if array["name"] == nodearray]
    return {bucket["definition"]["machineType"].split("_")[1]: bucket for bucket in found}


async def sizes(world: World) -> list[str]:
    return [node["MachineType"].split("_")[1] for node in (await world.nodes()).values()]


def of(size: dict[str, Any], count: int = 1, **more: Any) -> dict[str, Any]:
    return {"count": count, "nodearray": "htc", "definition": {"machineType": size["vm_size"]}, **more}


async def test_each_vm_size_is_a_bucket_of_its_own(world: World) -> None:
    found = await buckets(world)
    assert list(found) == ["F32s", "F16s", "D64s"]
    assert len({bucket["bucketId"] for bucket in found.values()}) == 3
    assert [bucket["maxCount"] for bucket in found.values()] == [2, 2, 6]
    assert [bucket["virtualMachine"]["vcpuQuotaCount"] for bucket in found.values()] == [32, 16, 64]
    assert found["F16s"]["spotPlacementScore"] == "High"
    array = (await world.get("status")).json()["nodearrays"][0]
    assert (array["maxCount"], array["maxCoreCount"]) == (6, 6 * 64)


async def test_the_client_finds_the_bucket_of_a_vm_size(world: World) -> None:
    async with world.client() as client:
        await client.create_nodes("r1", [NodeSet(count=2, nodearray="htc", vm_size=D64["vm_size"])])
        status = await client.status()
    bucket, other = status.bucket("htc", D64["vm_size"]), status.bucket("htc")
    assert bucket
    assert other
    assert (bucket.active_count, bucket.available_count, other.active_count) == (2, 4, 0)


async def test_a_request_names_its_vm_size_or_gets_the_first_that_has_room(world: World) -> None:
    await world.create(of(F16))
    for _ in range(5):
        await world.create({"count": 1, "nodearray": "htc"})
    assert await sizes(world) == ["F16s", "F32s", "F32s", "F16s", "D64s", "D64s"]
    (result,) = (await world.create({"count": 1, "nodearray": "htc"}))["sets"]
    assert result["added"] == 0
    assert "nodearray htc holds at most 6 nodes" in result["message"]


async def test_a_full_vm_size_says_that_it_is_the_size_that_is_full(world: World) -> None:
    (result,) = (await world.create(of(F32, 3)))["sets"]
    assert result == {
        "added": 2,
        "message": "only 2 of 3 nodes can be added: Standard_F32s_v2 in nodearray htc holds at most 2 nodes",
    }


async def test_a_vm_size_that_the_nodearray_does_not_have_is_409_and_names_those_it_has(
    world: World,
) -> None:
    response = await world.post("nodes/create", {"sets": [of({"vm_size": "Standard_A1"})]})
    assert response.status_code == 409
    assert "Standard_F32s_v2, Standard_F16s_v2, Standard_D64s_v5" in response.text


async def test_vm_sizes_of_a_family_share_its_quota_and_others_do_not(tmp_path: Path) -> None:
    world = World(tmp_path, nodearrays=[HTC, SPOT], quotas={"FSv2": 50}, quota_cores=400)
    results = (await world.create(of(F32), of(F32), of(F16, 2), of(D64)))["sets"]
    assert [each["added"] for each in results] == [1, 0, 1, 1]
    assert "quota of 50 cores of FSv2 in westeurope has 18 left" in results[1]["message"]
    found = await buckets(world)
    assert [found[size]["availableCount"] for size in ("F32s", "F16s", "D64s")] == [0, 0, 3]
    f16, d64 = found["F16s"], found["D64s"]
    assert (f16["quotaCoreCount"], f16["familyQuotaCoreCount"], f16["quotaCount"]) == (50, 50, 3)
    assert f16["consumedCoreCount"] == f16["familyConsumedCoreCount"] == 48
    assert d64["familyQuotaCoreCount"] == d64["regionalQuotaCoreCount"] == 400
    assert f16["regionalConsumedCoreCount"] == 112


async def test_spot_nodes_take_nothing_from_a_familys_quota_and_something_from_the_regions(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, nodearrays=[HTC, SPOT], quotas={"FSv2": 32}, quota_cores=80)
    spot = {"count": 1, "nodearray": "spot"}
    results = (await world.create(of(F32), spot, of(F16, nodeAttributes={"Interruptible": True})))["sets"]
    assert [each["added"] for each in results] == [1, 1, 1]
    f16 = (await buckets(world, "spot"))["F16s"]
    assert (f16["familyQuotaCoreCount"], f16["familyQuotaCount"], f16["familyConsumedCoreCount"]) == (0, 0, 0)
    assert (f16["quotaCoreCount"], f16["regionalConsumedCoreCount"], f16["availableCount"]) == (80, 80, 0)
    assert (await buckets(world))["F32s"]["familyConsumedCoreCount"] == 32


async def test_spot_nodes_cost_the_spot_price_and_are_told_apart_in_the_usage(world: World) -> None:
    await world.create(of(F32), of(F32, nodeAttributes={"Interruptible": True}))
    world.pass_(3600)
    query = {"timeframe": "custom", "from": "2026-01-02T12:00Z", "to": "2026-01-02T13:00Z"}
    answer = await world.get("usage", **query, granularity="total", expand="details")
    (item,) = answer.json()["usage"][0]["breakdown"]
    assert {each["priority"]: each["cost"] for each in item["details"]} == {"Regular": 1.4, "Spot": 0.4}


async def test_a_spot_node_without_a_spot_price_costs_what_any_other_does(tmp_path: Path) -> None:
    world = World(tmp_path, nodearrays=[GPU])
    await world.create({"count": 1, "nodearray": "gpu"})
    assert world.cloud.state.nodes["gpu-1"].usd_per_hour == 2.4


async def test_a_vm_size_without_capacity_fails_alone_and_its_bucket_remembers_it(world: World) -> None:
    await world.post("/lab/faults", {"no_capacity": ["htc/Standard_F32s_v2"]})
    await world.create(of(F32), of(F16))
    world.pass_(BOOT_S)
    states = {node["MachineType"]: node["Status"] for node in (await world.nodes()).values()}
    assert states == {"Standard_F32s_v2": "Failed", "Standard_F16s_v2": "Ready"}
    found = await buckets(world)
    assert found["F32s"]["lastCapacityFailure"] == 0
    assert found["F16s"]["lastCapacityFailure"] < 0
    assert (await buckets(world, "spot"))["F32s"]["lastCapacityFailure"] < 0


async def test_a_placement_group_is_of_one_vm_size(tmp_path: Path) -> None:
    world = World(tmp_path, nodearrays=[HTC | {"max_placement_group_size": 2}])
    sets = [of(F32, placementGroupId="pg0"), of(F16, 2, placementGroupId="pg0")]
    assert [each["added"] for each in (await world.create(*sets))["sets"]] == [1, 2]
    found = await buckets(world)
    groups = {
        size: [group["activeCount"] for group in each["placementGroups"]] for size, each in found.items()
    }
    assert groups == {"F32s": [1], "F16s": [2], "D64s": []}


async def test_a_vm_size_that_is_not_activated_is_invalid_and_not_chosen(tmp_path: Path) -> None:
    world = World(tmp_path, nodearrays=[HTC | {"sizes": [F32 | {"invalid_reason": "NotActivated"}, F16]}])
    await world.create({"count": 1, "nodearray": "htc"})
    assert await sizes(world) == ["F16s"]
    f32 = (await buckets(world))["F32s"]
    assert (f32["valid"], f32["invalidReason"], f32["availableCount"]) == (False, "NotActivated", 0)


async def test_scale_counts_the_cores_of_all_sizes(world: World) -> None:
    await world.create(of(D64))
    response = await world.post("scale/htc", totalCoreCount="100")
    assert response.json()["sets"] == [{"added": 2}]
    assert await sizes(world) == ["D64s", "F32s", "F32s"]


async def test_a_node_whose_vm_size_is_not_configured_any_more_is_ended(world: World) -> None:
    await world.create(of(F32), of(F16))
    world.config = world.config.model_validate(
        world.config.model_dump() | {"nodearrays": [HTC | {"sizes": [F16]}]}
    )
    world.start()
    assert await sizes(world) == ["F16s"]
    assert list(world.machines.running) == ["htc-2"]


HEAD = {"vm_size": "Standard_D4s_v5", "cores": 4, "usd_per_hour": 0.2}


async def head_usage(world: World) -> list[dict[str, Any]]:
    query = {"timeframe": "custom", "from": "2026-01-02T12:00Z", "to": "2026-01-02T16:00Z"}
    answer = await world.get("usage", **query, granularity="total", expand="details")
    result: list[dict[str, Any]] = answer.json()["usage"][0]["breakdown"]
    return result


async def test_the_head_node_is_in_the_usage_and_never_among_the_nodes(tmp_path: Path) -> None:
    world = World(tmp_path, head_node=HEAD)
    await world.create({"count": 1, "nodearray": "hpc"})
    world.pass_(3600)
    head, hpc = await head_usage(world)
    shown = {"category": "node", "node": "scheduler", "hours": 4.0, "cost": 0.2}
    assert shown.items() <= head.items()
    assert (head["details"][0]["vm_size"], hpc["node"]) == ("Standard_D4s_v5", "hpc")
    assert list(await world.nodes()) == ["azure-hpc-1"]


async def test_the_head_node_lives_through_a_crash_and_ends_with_the_server(tmp_path: Path) -> None:
    world = World(tmp_path, head_node=HEAD)
    await world.create({"count": 1, "nodearray": "htc"})
    world.pass_(3600)
    world.start()
    world.pass_(3600)
    world.cloud.close()
    world.clock.now += 3600
    world.start()
    assert [each["hours"] for each in await head_usage(world) if each["category"] == "node"] == [8]
    assert world.clock.now == START + 3 * 3600


async def test_a_health_report_is_taken_once_a_category_and_read_back(world: World) -> None:
    await world.create(of(F32))
    told = {"category": "Hardware.GPU", "description": "row remapping failed"}
    assert (await world.post("nodes/htc-1/ghr", **told)).status_code == 202
    assert (await world.post("nodes/htc-1/ghr", **told)).status_code == 409
    assert (await world.post("nodes/htc-1/ghr", description="of no kind")).status_code == 400
    assert (await world.post("nodes/nobody/ghr", **told)).status_code == 404
    world.start()
    answer = await world.get("nodes/htc-1/ghr", category="Hardware.GPU")
    assert answer.status_code == 200
    assert [told.items() <= each.items() for each in answer.json()] == [True]
    assert (await world.get("nodes/nobody/ghr")).status_code == 404
