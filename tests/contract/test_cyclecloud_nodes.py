from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cyclecloud_world import BOOT_S, HPC, HTC, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_node_is_acquired_prepared_and_ready_after_its_boot_time(world: World) -> None:
    await world.create({"count": 1, "nodearray": "hpc"})
    seen = []
    for _ in range(5):
        node = (await world.nodes())["azure-hpc-1"]
        seen.append((node["Status"], node["State"], node["TargetState"]))
        world.pass_(BOOT_S / 4)
    assert seen == [
        ("Acquiring", "Allocation", "Started"),
        ("Acquiring", "Allocation", "Started"),
        ("Preparing", "Preparing", "Started"),
        ("Preparing", "Preparing", "Started"),
        ("Ready", "Started", "Started"),
    ]
    assert world.machines.boots == [("azure-hpc-1", BOOT_S)]


async def test_a_node_has_every_attribute_that_azures_clients_read(world: World) -> None:
    request = {"requestId": "r1", "sets": [{"count": 1, "nodearray": "hpc", "placementGroupId": "pg0"}]}
    await world.post("nodes/create", request)
    young = (await world.nodes())["azure-hpc-1"]
    assert not {"InstanceId", "PrivateIp", "Hostname"} & young.keys()
    world.pass_(BOOT_S)
    node = (await world.nodes())["azure-hpc-1"]
    assert node["NodeId"] == young["NodeId"]
    assert node["InstanceId"]
    expected = {
        "Template": "hpc",
        "MachineType": "Standard_HB120rs_v3",
        "PrivateIp": "127.0.0.1",
        "Hostname": "azure-hpc-1",
        "PlacementGroupId": "pg0",
        "KeepAlive": False,
        "Interruptible": False,
        "CoreCount": 120,
        "Memory": 448.0,
        "Configuration": {},
        "RequestId": "r1",
    }
    assert expected.items() <= node.items()


async def test_create_answers_202_with_the_operations_address_and_the_nodes_can_be_asked_by_it(
    world: World,
) -> None:
    await world.create({"count": 1, "nodearray": "htc"})
    body = {"requestId": "r2", "sets": [{"count": 2, "nodearray": "hpc"}]}
    response = await world.post("nodes/create", body)
    operation = response.json()["operationId"]
    assert response.status_code == 202
    assert response.headers["Location"].endswith(f"/operations/{operation}")
    for query in ({"operation": operation}, {"request_id": "r2"}):
        answer = (await world.get("nodes", **query)).json()
        assert {node["Name"] for node in answer["nodes"]} == {"azure-hpc-1", "azure-hpc-2"}
        assert answer["operation"] == {"action": "create", "startTime": "2026-01-02T12:00:00Z"}


async def test_an_answer_holds_the_sets_in_the_order_of_the_request(world: World) -> None:
    sets = [
        {"count": 3, "nodearray": "htc"},
        {"count": 1, "nodearray": "gpu"},
        {"count": 2, "nodearray": "hpc"},
    ]
    result = await world.create(*sets)
    assert result["sets"] == [{"added": 3}, {"added": 1}, {"added": 2}]


async def test_a_full_nodearray_adds_what_fits_and_says_why_not_more(world: World) -> None:
    result = await world.create({"count": 3, "nodearray": "hpc"}, {"count": 3, "nodearray": "hpc"})
    assert result["sets"][0] == {"added": 3}
    assert result["sets"][1]["added"] == 1
    assert "at most 4 nodes" in result["sets"][1]["message"]
    assert len(world.machines.running) == 4


async def test_a_quota_adds_what_fits_and_says_why_not_more(tmp_path: Path) -> None:
    world = World(tmp_path, quota_cores=260)
    result = await world.create({"count": 4, "nodearray": "hpc"}, {"count": 4, "nodearray": "htc"})
    assert [each["added"] for each in result["sets"]] == [2, 1]
    assert "quota of 260 cores in westeurope has 20 left" in result["sets"][1]["message"]


async def test_a_placement_group_holds_no_more_nodes_than_its_size(tmp_path: Path) -> None:
    world = World(tmp_path, nodearrays=[HPC | {"max_placement_group_size": 2}, HTC])
    result = await world.create({"count": 3, "nodearray": "hpc", "placementGroupId": "pg0"})
    assert result["sets"] == [
        {"added": 2, "message": "only 2 of 3 nodes can be added: placement group pg0 holds at most 2 nodes"}
    ]


async def test_a_request_id_that_comes_again_is_409_and_changes_nothing(world: World) -> None:
    body = {"requestId": "again", "sets": [{"count": 1, "nodearray": "hpc"}]}
    assert (await world.post("nodes/create", body)).status_code == 202
    repeated = await world.post("nodes/create", body)
    assert repeated.status_code == 409
    assert "again" in repeated.text
    assert (await world.post("nodes/terminate", {"requestId": "again", "filter": "true"})).status_code == 409
    assert list(await world.states()) == ["azure-hpc-1"]


async def test_a_request_id_that_never_came_is_404_in_azures_words(world: World) -> None:
    response = await world.get("nodes", request_id="nobody")
    assert (response.status_code, response.text) == (404, "No operation found for request id")


INVALID: list[tuple[str, Any]] = [
    ("unknown nodearray", {"sets": [{"count": 1, "nodearray": "nope"}]}),
    (
        "VM size of another array",
        {"sets": [{"count": 1, "nodearray": "hpc", "definition": {"machineType": "X"}}]},
    ),
    ("no sets", {"sets": []}),
    ("nothing", {}),
    ("no JSON", "{"),
    ("empty", ""),
    ("a list", []),
    ("null", None),
    ("no nodes", {"sets": [{"count": 0, "nodearray": "hpc"}]}),
    ("less than none", {"sets": [{"count": -3, "nodearray": "hpc"}]}),
    ("text for a number", {"sets": [{"count": "1", "nodearray": "hpc"}]}),
    ("truth for a number", {"sets": [{"count": True, "nodearray": "hpc"}]}),
    ("one name for two", {"sets": [{"count": 2, "nodearray": "hpc", "nameFormat": "a-1"}]}),
    ("a path for a name", {"sets": [{"count": 1, "nodearray": "hpc", "nameFormat": "../../x"}]}),
    ("a command for a name", {"sets": [{"count": 1, "nodearray": "hpc", "nameFormat": "a;reboot"}]}),
    ("a newline in a name", {"sets": [{"count": 1, "nodearray": "hpc", "nameFormat": "a\n"}]}),
    ("an option for a name", {"sets": [{"count": 1, "nodearray": "hpc", "nameFormat": "-a"}]}),
    ("a long name", {"sets": [{"count": 1, "nodearray": "hpc", "nameFormat": "a" * 300}]}),
    (
        "a second set that is wrong",
        {"sets": [{"count": 1, "nodearray": "hpc"}, {"count": 1, "nodearray": "x"}]},
    ),
]


@pytest.mark.parametrize("body", [body for _, body in INVALID], ids=[name for name, _ in INVALID])
async def test_an_invalid_request_is_409_with_a_text_and_adds_nothing(world: World, body: Any) -> None:
    response = await world.post("nodes/create", body)
    assert response.status_code == 409
    assert response.text
    assert not world.machines.running


async def test_a_count_beyond_all_measure_adds_what_fits(world: World) -> None:
    assert (await world.create({"count": 10**15, "nodearray": "hpc"}))["sets"][0]["added"] == 4


async def test_null_means_left_out_as_azures_generated_client_sends_it(world: World) -> None:
    nulls = dict.fromkeys(["placementGroupId", "nameFormat", "nameOffset", "nodeAttributes", "definition"])
    result = await world.create({"count": 1, "nodearray": "hpc", **nulls}, requestId=None)
    assert result["sets"] == [{"added": 1}]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json", None]
)
async def test_a_body_is_json_whatever_its_content_type_says(world: World, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    async with world.http() as http:
        body = '{"sets": [{"count": 1, "nodearray": "hpc"}]}'
        response = await http.post("/clusters/azure/nodes/create", content=body, headers=headers)
    assert response.status_code == 202


async def test_names_take_the_lowest_free_number_and_a_leaving_node_keeps_its_own(world: World) -> None:
    await world.create({"count": 3, "nodearray": "htc"})
    world.machines.stubborn = {"htc-2"}
    await world.post("nodes/terminate", {"names": ["htc-1", "htc-2"]})
    await world.create({"count": 2, "nodearray": "htc"})
    assert sorted(await world.states()) == ["htc-1", "htc-2", "htc-3", "htc-4"]
    assert (await world.states())["htc-2"] == "Terminating"


async def test_a_name_format_numbers_from_its_offset_and_without_a_number_it_is_the_name(
    world: World,
) -> None:
    await world.create(
        {"count": 2, "nodearray": "htc", "nameFormat": "n%d", "nameOffset": 7},
        {"count": 1, "nodearray": "htc", "nameFormat": "htc-5"},
    )
    assert sorted(await world.states()) == ["htc-5", "n7", "n8"]


async def test_a_name_that_is_taken_adds_nothing_and_says_so(world: World) -> None:
    exact = {"count": 1, "nodearray": "htc", "nameFormat": "htc-5"}
    await world.create(exact)
    (result,) = (await world.create(exact))["sets"]
    assert result == {
        "added": 0,
        "message": "only 0 of 1 nodes can be added: there is a node htc-5 already, acquiring",
    }


async def test_attributes_of_a_request_show_on_its_nodes_but_never_hide_what_a_node_is(world: World) -> None:
    attributes = {
        "KeepAlive": True,
        "Tags": {"owner": "a"},
        "Name": "evil",
        "Status": "Ready",
        "PrivateIp": "1.2.3.4",
    }
    await world.create({"count": 1, "nodearray": "htc", "nodeAttributes": attributes})
    node = (await world.nodes())["htc-1"]
    assert (node["KeepAlive"], node["Tags"]) == (True, {"owner": "a"})
    assert (node["Name"], node["Status"]) == ("htc-1", "Acquiring")
    assert "PrivateIp" not in node


async def test_nodes_get_addresses_of_their_own_when_the_subnet_has_some(tmp_path: Path) -> None:
    world = World(tmp_path, subnet="10.1.0.0/16")
    await world.create({"count": 3, "nodearray": "htc"})
    world.pass_(BOOT_S)
    addresses = {node["PrivateIp"] for node in (await world.nodes()).values()}
    assert addresses == {"10.1.0.1", "10.1.0.2", "10.1.0.3"}


@pytest.mark.parametrize(
    ("query", "added"),
    [
        ({"totalNodeCount": "3"}, 2),
        ({"totalCoreCount": "240"}, 1),
        ({"totalCoreCount": "241"}, 2),
        ({"totalNodeCount": "1"}, 0),
        ({"totalNodeCount": "0"}, 0),
    ],
)
async def test_scale_adds_up_to_the_total_and_removes_nothing(
    world: World, query: dict[str, str], added: int
) -> None:
    await world.create({"count": 1, "nodearray": "hpc"})
    response = await world.post("scale/hpc", **query)
    assert response.status_code == 202
    assert response.headers["Location"]
    assert response.json()["sets"] == [{"added": added}]
    assert len(await world.states()) == 1 + added


@pytest.mark.parametrize(
    ("array", "query"),
    [
        ("hpc", {}),
        ("hpc", {"totalCoreCount": "1", "totalNodeCount": "1"}),
        ("hpc", {"totalNodeCount": "-1"}),
        ("hpc", {"totalNodeCount": "many"}),
        ("hpc", {"totalNodeCount": "9" * 5000}),
        ("nope", {"totalNodeCount": "1"}),
    ],
)
async def test_scale_wants_one_total_of_a_nodearray_that_exists(
    world: World, array: str, query: dict[str, str]
) -> None:
    response = await world.post(f"scale/{array}", **query)
    assert response.status_code == 409
    assert not world.machines.running


async def test_operations_can_be_listed_and_asked_one_by_one(world: World) -> None:
    first = (await world.create({"count": 1, "nodearray": "hpc"}, requestId="r1"))["operationId"]
    await world.create({"count": 1, "nodearray": "hpc"})
    shown = {"action": "create", "startTime": "2026-01-02T12:00:00Z"}
    assert (await world.get("/operations/")).json() == [shown, shown]
    assert (await world.get("/operations/", request_id="r1")).json() == [shown]
    assert (await world.get("/operations/", request_id="r9")).json() == []
    assert (await world.get(f"/operations/{first}")).json() == shown
    assert (await world.get("/operations/nope")).status_code == 404


async def test_nodes_of_several_operations_are_asked_with_a_comma(world: World) -> None:
    ids = [(await world.create({"count": 1, "nodearray": "hpc"}))["operationId"] for _ in range(3)]
    assert sorted(await world.nodes(operation=",".join(ids[:2]))) == ["azure-hpc-1", "azure-hpc-2"]


@pytest.mark.parametrize(
    ("query", "status"),
    [({"operation": "a", "request_id": "b"}, 400), ({"operation": "a"}, 404), ({"operation": ","}, 404)],
)
async def test_a_wrong_question_about_nodes_is_declined(
    world: World, query: dict[str, str], status: int
) -> None:
    assert (await world.get("nodes", **query)).status_code == status


async def test_another_cluster_is_404(world: World) -> None:
    for path in ("nodes", "status", "usage"):
        assert (await world.get(f"/clusters/other/{path}")).status_code == 404
