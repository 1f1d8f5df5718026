from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cyclecloud_world import BOOT_S, START, World

STARRED = {
    "bucketId",
    "definition",
    "valid",
    "invalidReason",
    "activeCount",
    "activeCoreCount",
    "availableCount",
    "availableCoreCount",
    "maxCount",
    "maxCoreCount",
    "quotaCount",
    "quotaCoreCount",
    "consumedCoreCount",
    "maxPlacementGroupSize",
    "maxPlacementGroupCoreSize",
    "placementGroups",
    "lastCapacityFailure",
    "spotPlacementScore",
    "virtualMachine",
}
NEVER_NULL = {  # optional in the documentation, but Azure's autoscaler calculates with them
    "regionalConsumedCoreCount",
    "regionalQuotaCoreCount",
    "familyConsumedCoreCount",
    "familyQuotaCoreCount",
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def status(world: World, **query: str) -> dict[str, Any]:
    response = await world.get("status", **query)
    assert response.status_code == 200
    result: dict[str, Any] = response.json()
    return result


async def bucket(world: World, name: str) -> dict[str, Any]:
    arrays = (await status(world, nodes="true"))["nodearrays"]
    (found,) = [array["buckets"][0] for array in arrays if array["name"] == name]
    assert isinstance(found, dict)
    return found


async def test_the_status_has_every_required_field(world: World) -> None:
    answer = await status(world)
    assert (answer["maxCount"], answer["maxCoreCount"]) == (14, 4 * 120 + 8 * 16 + 2 * 24)
    assert [array["name"] for array in answer["nodearrays"]] == ["hpc", "htc", "gpu"]
    for array in answer["nodearrays"]:
        assert {"Region", "SubnetId", "Configuration"} <= array["nodearray"].keys()
        for each in array["buckets"]:
            assert {*STARRED, *NEVER_NULL} <= each.keys()
            assert each["valid"] is True


async def test_a_bucket_describes_its_vm_size(world: World) -> None:
    hpc, gpu = await bucket(world, "hpc"), await bucket(world, "gpu")
    assert hpc["definition"] == {"machineType": "Standard_HB120rs_v3"}
    machine = {"vcpuCount": 120, "pcpuCount": 120, "gpuCount": 0, "memory": 448.0, "infiniband": True}
    assert machine.items() <= hpc["virtualMachine"].items()
    assert gpu["virtualMachine"]["gpuCount"] == 1


async def test_nodes_are_listed_only_when_asked_for_and_all_belong_to_a_listed_nodearray(
    world: World,
) -> None:
    await world.create({"count": 2, "nodearray": "hpc"})
    short = await status(world)
    assert "nodes" not in short
    assert "activeNodes" not in short["nodearrays"][0]["buckets"][0]
    full = await status(world, nodes="true")
    assert full["nodearrays"][0]["buckets"][0]["activeNodes"] == ["azure-hpc-1", "azure-hpc-2"]
    assert full["nodes"] == (await world.get("nodes")).json()["nodes"]
    assert {node["Template"] for node in full["nodes"]} <= {array["name"] for array in full["nodearrays"]}


async def test_a_bucket_id_stays_the_same(world: World) -> None:
    before = await bucket(world, "hpc")
    await world.create({"count": 1, "nodearray": "hpc"})
    world.start()
    assert (
        (await bucket(world, "hpc"))["bucketId"]
        == before["bucketId"]
        != (await bucket(world, "htc"))["bucketId"]
    )


async def test_what_is_available_falls_on_create_and_rises_only_when_a_node_is_gone(world: World) -> None:
    world.machines.stubborn = {"azure-hpc-1"}

    async def counts() -> tuple[int, int, int, int]:
        found = await bucket(world, "hpc")
        keys = ("activeCount", "activeCoreCount", "availableCount", "availableCoreCount")
        active, active_cores, available, available_cores = (found[key] for key in keys)
        return active, active_cores, available, available_cores

    assert await counts() == (0, 0, 4, 480)
    await world.create({"count": 3, "nodearray": "hpc"})
    assert await counts() == (3, 360, 1, 120)
    await world.post("nodes/terminate", {"names": ["azure-hpc-1"]})
    assert await counts() == (3, 360, 1, 120)
    world.machines.running.pop("azure-hpc-1")
    assert await counts() == (2, 240, 2, 240)


async def test_a_quota_bounds_what_is_available_in_every_nodearray(tmp_path: Path) -> None:
    world = World(tmp_path, quota_cores=300)
    await world.create({"count": 2, "nodearray": "hpc"})
    hpc, htc = await bucket(world, "hpc"), await bucket(world, "htc")
    assert (hpc["availableCount"], htc["availableCount"]) == (0, 3)
    assert hpc["consumedCoreCount"] == hpc["familyConsumedCoreCount"] == 240
    assert htc["consumedCoreCount"] == 0
    assert htc["regionalConsumedCoreCount"] == 240
    assert htc["regionalQuotaCoreCount"] == htc["quotaCoreCount"] == 300
    assert htc["regionalQuotaCount"] == 18


async def test_a_spot_nodearray_has_no_family_quota(world: World) -> None:
    await world.create({"count": 1, "nodearray": "gpu"})
    gpu = await bucket(world, "gpu")
    assert (gpu["familyQuotaCoreCount"], gpu["familyConsumedCoreCount"]) == (0, 0)
    assert gpu["regionalConsumedCoreCount"] == 24
    assert (await world.nodes())["gpu-1"]["Interruptible"] is True


async def test_a_placement_group_is_listed_from_its_first_use_on_even_when_it_is_empty(world: World) -> None:
    await world.create({"count": 2, "nodearray": "hpc", "placementGroupId": "pg0"})
    group = {"name": "pg0", "activeCount": 2, "activeCoreCount": 240}
    assert (await bucket(world, "hpc"))["placementGroups"] == [group]
    assert (await bucket(world, "htc"))["placementGroups"] == []
    await world.post("nodes/terminate", {"filter": 'PlacementGroupId === "pg0"'})
    world.start()
    assert (await bucket(world, "hpc"))["placementGroups"] == [
        group | {"activeCount": 0, "activeCoreCount": 0}
    ]


async def test_a_capacity_failure_is_remembered_with_its_age(world: World) -> None:
    assert (await bucket(world, "hpc"))["lastCapacityFailure"] < 0
    await world.post("/lab/faults", {"no_capacity": ["hpc"]})
    await world.create({"count": 1, "nodearray": "hpc"})
    world.pass_(BOOT_S)
    world.pass_(7)
    assert (await bucket(world, "hpc"))["lastCapacityFailure"] == 7
    assert (await bucket(world, "htc"))["lastCapacityFailure"] < 0
    async with world.http() as http:
        (await http.delete("/lab/faults")).raise_for_status()
    assert (await bucket(world, "hpc"))["lastCapacityFailure"] < 0


async def used(world: World, **query: str) -> list[dict[str, Any]]:
    response = await world.get("usage", **query)
    assert response.status_code == 200, response.text
    result: list[dict[str, Any]] = response.json()["usage"]
    return result


async def test_usage_is_what_vms_really_ran_boot_and_all(world: World) -> None:
    await world.create({"count": 2, "nodearray": "hpc"}, {"count": 1, "nodearray": "gpu"})
    world.pass_(1800)
    await world.post("nodes/terminate", {"names": ["azure-hpc-1"]})
    world.pass_(1800)
    frame = {"timeframe": "custom", "from": "2026-01-02T12:00:00Z", "to": "2026-01-02T13:00:00Z"}
    (hour,) = await used(world, **frame, granularity="hourly", expand="details")
    assert (hour["start"], hour["end"]) == ("2026-01-02T12:00:00Z", "2026-01-02T13:00:00Z")
    assert hour["total"] == {"category": "cluster", "hours": 204.0, "cost": 7.8}
    gpu, hpc = hour["breakdown"]
    assert {"category": "nodearray", "node": "hpc", "hours": 180.0, "cost": 5.4}.items() <= hpc.items()
    assert gpu["details"] == [
        {
            "vm_size": "Standard_NC24ads_A100_v4",
            "region": "westeurope",
            "priority": "Spot",
            "os": "Linux",
            "core_count": 24,
            "hours": 24.0,
            "cost": 2.4,
        }
    ]


async def test_usage_without_details_has_none_and_without_a_price_no_cost(world: World) -> None:
    await world.create({"count": 1, "nodearray": "htc"}, {"count": 1, "nodearray": "hpc"})
    world.pass_(3600)
    (day,) = [each for each in await used(world) if each["breakdown"]]
    assert day["total"] == {"category": "cluster", "hours": 136.0}
    assert [sorted(item) for item in day["breakdown"]] == [
        ["category", "cost", "hours", "node"],
        ["category", "hours", "node"],
    ]


async def test_a_node_without_a_machine_costs_nothing(world: World) -> None:
    await world.post("/lab/faults", {"no_capacity": ["hpc"]})
    await world.create({"count": 1, "nodearray": "hpc"})
    world.pass_(3600)
    (total,) = await used(world, granularity="total")
    assert total["total"]["hours"] == 0


async def test_usage_survives_a_crash_of_the_server(world: World) -> None:
    await world.create({"count": 1, "nodearray": "htc"})
    world.pass_(1800)
    world.start()
    world.pass_(1800)
    (total,) = await used(world, granularity="total")
    assert total["total"]["hours"] == 16


@pytest.mark.parametrize(
    "query",
    [
        {"timeframe": "decade"},
        {"granularity": "weekly"},
        {"timeframe": "custom"},
        {"timeframe": "custom", "from": "2026-01-01", "to": "soon"},
        {"timeframe": "custom", "from": "2026-01-02", "to": "2026-01-01"},
        {"timeframe": "custom", "from": "0001-01-01T00:00:00+14:00", "to": "2026-01-01"},
        {"timeframe": "custom", "from": "2026-01-01", "to": "9999-12-31T23:30:00Z"},
        {"timeframe": "custom", "from": "1900-01-01", "to": "2026-01-01", "granularity": "hourly"},
    ],
)
async def test_a_usage_question_without_sense_is_400_with_a_text(world: World, query: dict[str, str]) -> None:
    response = await world.get("usage", **query)
    assert response.status_code == 400
    assert response.text


async def test_a_wrong_truth_value_is_400(world: World) -> None:
    assert (await world.get("status", nodes="perhaps")).status_code == 400


def test_these_tests_begin_on_a_friday_noon() -> None:
    assert START % 86400 == 43200
