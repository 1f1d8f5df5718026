from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cyclecloud_world import BOOT_S, PASSWORD, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def misbehave(world: World, **faults: object) -> dict[str, Any]:
    response = await world.post("/lab/faults", faults)
    assert response.status_code == 200, response.text
    result: dict[str, Any] = response.json()
    return result


async def events(world: World, what: str) -> list[dict[str, Any]]:
    found = (await world.get("/lab/log")).json()["events"]
    return [event for event in found if event["what"] == what]


async def test_a_slow_boot_is_slow_for_all_or_for_the_nodes_named(world: World) -> None:
    await misbehave(world, boot_s=500)
    await world.create({"count": 1, "nodearray": "hpc"})
    await misbehave(world, boot_s={"azure-hpc-2": 900})
    await world.create({"count": 2, "nodearray": "hpc"})
    assert world.machines.boots == [("azure-hpc-1", 500), ("azure-hpc-2", 900), ("azure-hpc-3", BOOT_S)]
    world.pass_(500)
    assert list((await world.states()).values()) == ["Ready", "Preparing", "Ready"]


async def test_a_failed_boot_says_why_and_keeps_its_machine_until_somebody_ends_it(world: World) -> None:
    await misbehave(world, boot_fail={"azure-hpc-1": "Failed to mount /sched"})
    await world.create({"count": 2, "nodearray": "hpc"})
    world.pass_(BOOT_S)
    failed, ready = (await world.nodes()).values()
    assert (failed["Status"], failed["StatusMessage"]) == ("Failed", "Failed to mount /sched")
    assert failed["TargetState"] == "Started"
    assert ready["Status"] == "Ready"
    world.pass_(10_000)
    assert world.machines.running == {"azure-hpc-1": False, "azure-hpc-2": True}
    await world.post("nodes/terminate", {"names": ["azure-hpc-1"]})
    assert list(world.machines.running) == ["azure-hpc-2"]


async def test_a_list_of_failing_boots_gets_a_message_too(world: World) -> None:
    await misbehave(world, boot_fail=["azure-hpc-1"])
    await world.create({"count": 1, "nodearray": "hpc"})
    world.pass_(BOOT_S)
    assert "failure" in (await world.nodes())["azure-hpc-1"]["StatusMessage"]


async def test_a_node_that_never_registers_is_ready_but_runs_nothing(world: World) -> None:
    await misbehave(world, never_register=["azure-hpc-1"])
    await world.create({"count": 1, "nodearray": "hpc"})
    world.pass_(BOOT_S)
    assert await world.states() == {"azure-hpc-1": "Ready"}
    assert world.machines.running == {"azure-hpc-1": False}


async def test_no_capacity_fails_the_node_before_it_has_a_machine_and_then_takes_it_away(
    world: World,
) -> None:
    await misbehave(world, no_capacity=["hpc"])
    result = await world.create({"count": 1, "nodearray": "hpc"}, {"count": 1, "nodearray": "htc"})
    assert result["sets"] == [{"added": 1}, {"added": 1}]
    world.pass_(BOOT_S)
    node = (await world.nodes())["azure-hpc-1"]
    assert node["Status"] == "Failed"
    assert node["StatusMessage"].startswith("AllocationFailed")
    assert list(world.machines.running) == ["htc-1"]
    world.pass_(10)
    assert list(await world.states()) == ["htc-1"]
    (event,) = await events(world, "NodeTerminated")
    assert (event["node"], event["reason"]) == ("azure-hpc-1", "AllocationFailed")


async def test_a_quota_can_be_lowered_and_given_back(world: World) -> None:
    await misbehave(world, quota_cores=130)
    result = await world.create({"count": 2, "nodearray": "hpc"})
    assert result["sets"][0]["added"] == 1
    assert "quota of 130 cores" in result["sets"][0]["message"]
    await misbehave(world, quota_cores=None)
    assert (await world.create({"count": 1, "nodearray": "hpc"}))["sets"] == [{"added": 1}]


async def test_a_quota_below_what_runs_adds_nothing_and_ends_nothing(world: World) -> None:
    await world.create({"count": 2, "nodearray": "hpc"})
    await misbehave(world, quota_cores=10)
    assert (await world.create({"count": 1, "nodearray": "hpc"}))["sets"][0]["added"] == 0
    assert len(world.machines.running) == 2


async def test_an_eviction_takes_the_machine_and_the_node_and_names_the_reason(world: World) -> None:
    await world.create({"count": 2, "nodearray": "gpu"})
    world.pass_(BOOT_S)
    await misbehave(world, evict=["gpu-1", "nobody"])
    assert await world.states() == {"gpu-2": "Ready"}
    (event,) = await events(world, "NodeTerminated")
    assert (event["node"], event["reason"]) == ("gpu-1", "SpotEvicted")


async def test_a_machine_that_dies_by_itself_takes_its_node_away(world: World) -> None:
    await world.create({"count": 2, "nodearray": "hpc"})
    world.pass_(BOOT_S)
    world.machines.running.pop("azure-hpc-1")
    assert await world.states() == {"azure-hpc-2": "Ready"}
    (event,) = await events(world, "NodeTerminated")
    assert (event["node"], event["reason"]) == ("azure-hpc-1", "VMDisappeared")


async def test_a_machine_that_dies_while_it_boots_is_a_failed_node(world: World) -> None:
    await world.create({"count": 1, "nodearray": "hpc"})
    world.pass_(BOOT_S / 2)
    world.machines.running.clear()
    node = (await world.nodes())["azure-hpc-1"]
    assert node["Status"] == "Failed"
    assert node["StatusMessage"]
    await world.post("nodes/terminate", {"names": ["azure-hpc-1"]})
    assert await world.states() == {}


async def test_an_outage_answers_503_until_it_is_over_while_nodes_live_on(world: World) -> None:
    await world.create({"count": 1, "nodearray": "hpc"})
    await misbehave(world, outage_s=BOOT_S)
    assert (await world.get("nodes")).status_code == 503
    assert (await world.post("nodes/terminate", {"filter": "true == true"})).status_code == 503
    assert (await world.get("/operations/")).status_code == 503
    assert (await world.get("/lab/log")).status_code == 200
    world.pass_(BOOT_S)
    assert await world.states() == {"azure-hpc-1": "Ready"}


async def test_an_outage_can_be_ended(world: World) -> None:
    await misbehave(world, outage_s=1000)
    await misbehave(world, outage_s=0)
    assert (await world.get("nodes")).status_code == 200


async def test_a_fault_request_changes_what_it_names_and_nothing_else(world: World) -> None:
    await misbehave(world, quota_cores=5, never_register=["a"])
    now = await misbehave(world, quota_cores=7)
    assert (now["quota_cores"], now["never_register"]) == (7, ["a"])
    assert (await world.get("/lab/log")).json()["faults"] == now


async def test_all_faults_end_at_once(world: World) -> None:
    none = (await world.get("/lab/log")).json()["faults"]
    await misbehave(world, quota_cores=5, never_register=["a"], boot_s=9, outage_s=50)
    async with world.http() as http:
        assert (await http.delete("/lab/faults")).json() == none
    assert (await world.get("nodes")).status_code == 200


@pytest.mark.parametrize(
    "faults", [{"boot_fale": ["a"]}, {"quota_cores": -1}, {"boot_s": "slow"}, {"outage_s": -1}, [], "x"]
)
async def test_a_fault_that_is_none_is_refused(world: World, faults: object) -> None:
    assert (await world.post("/lab/faults", faults)).status_code == 409


async def test_the_log_can_be_read_on_from_where_one_was(world: World) -> None:
    await world.create({"count": 1, "nodearray": "hpc"})
    seen = (await world.get("/lab/log")).json()["events"]
    assert [event["n"] for event in seen] == list(range(1, len(seen) + 1))
    world.pass_(BOOT_S)
    news = (await world.get("/lab/log", after=str(seen[-1]["n"]))).json()["events"]
    assert [event["what"] for event in news] == ["NodeCreated", "NodeStarted"]


PATHS = ["/clusters/azure/nodes", "/clusters/other/nodes", "/operations/", "/lab/log"]


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_is_said_without_a_login(world: World, path: str) -> None:
    for password in (None, "wrong", ""):
        async with world.http(password) as http:
            response = await http.get(path)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Basic")


@pytest.mark.parametrize(
    "header", ["", "Basic", "Basic !!!", "Basic Y2M=", "Bearer abc", "Basic " + "A" * 9999, "basic é"]
)
async def test_a_header_that_is_no_login_is_401(world: World, header: str) -> None:
    async with world.http(None) as http:
        response = await http.get("/clusters/azure/nodes", headers={b"Authorization": header.encode()})
    assert response.status_code == 401


async def wrong_logins(world: World, count: int, apart_s: float) -> None:
    for _ in range(count):
        async with world.http("wrong") as http:
            assert (await http.get("/clusters/azure/nodes")).status_code == 401
        world.clock.now += apart_s


async def right_login(world: World) -> httpx.Response:
    async with world.http(PASSWORD) as http:
        return await http.get("/clusters/azure/nodes")


async def test_five_wrong_logins_lock_the_account_for_five_minutes(world: World) -> None:
    await wrong_logins(world, 5, apart_s=60)
    refused = await right_login(world)
    assert refused.status_code == 401
    assert "locked" in refused.text
    world.clock.now += 300 - 60 - 1
    assert (await right_login(world)).status_code == 401
    world.clock.now += 1
    assert (await right_login(world)).status_code == 200


async def test_wrong_logins_more_than_a_minute_apart_lock_nothing(world: World) -> None:
    await wrong_logins(world, 12, apart_s=61)
    assert (await right_login(world)).status_code == 200


async def test_four_wrong_logins_lock_nothing_and_a_right_one_begins_the_count_anew(world: World) -> None:
    for _ in range(3):
        await wrong_logins(world, 4, apart_s=1)
        assert (await right_login(world)).status_code == 200
