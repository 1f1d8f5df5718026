"""Requests that change something are done once, whatever happens to their answers."""

from __future__ import annotations

import httpx
import pytest

from hybrid_hpc.cyclecloud import NodeSet
from hybrid_hpc.errors import ConnectionLost, Refused, Unavailable, Unreachable
from tests.cyclecloud_wire import NO_NODES, Reply, Server, client

ASKED = httpx.Response(202, json={"operationId": "op", "sets": [{"added": 1}]})
NEVER_CAME = httpx.Response(404, text="No operation found for request id")
HPC = [NodeSet(count=2, nodearray="hpc", vm_size="F16")]


def listed(count: int, **changes: object) -> httpx.Response:
    nodes = [
        {"Name": f"hpc-{n}", "NodeId": str(n), "Template": "hpc", "MachineType": "F16", **changes}
        for n in range(count)
    ]
    return httpx.Response(200, json={"nodes": nodes})


async def test_a_request_that_changes_something_is_not_repeated_without_an_id() -> None:
    for reply in (httpx.ReadTimeout("late"), httpx.Response(500), httpx.Response(502)):
        server = Server(reply)
        with pytest.raises(ConnectionLost):
            await client(server).terminate_nodes(names=["hpc-1"])
        assert len(server.requests) == 1


async def test_when_nothing_was_sent_or_done_a_creation_is_left_to_the_caller() -> None:
    for reply, error in ((httpx.ConnectError("down"), Unreachable), (httpx.Response(503), Unavailable)):
        server = Server(reply)
        with pytest.raises(error):
            await client(server).create_nodes("r1", HPC)
        assert server.calls == ["POST /clusters/azure/nodes/create"]


CREATE = "POST /clusters/azure/nodes/create"
READ_BACK = "GET /clusters/azure/nodes?request_id=r1"
LOST: list[Reply] = [
    httpx.ReadTimeout("late"),
    httpx.ReadError("reset"),
    httpx.Response(500),
    httpx.Response(202),
]


@pytest.mark.parametrize("lost", LOST)
async def test_a_creation_whose_answer_is_lost_is_read_back_and_not_sent_again(lost: Reply) -> None:
    server = Server(lost, listed(1))
    created = await client(server).create_nodes("r1", HPC)
    assert server.calls == [CREATE, READ_BACK]
    assert (created.already_asked, created.added, created.operation_id) == (True, 1, "")
    assert created.messages == ("of 2 nodes asked for earlier, 1 are listed now",)
    assert [node.name for node in created.nodes] == ["hpc-0"]


@pytest.mark.parametrize("lost", LOST)
async def test_a_creation_that_never_arrived_is_sent_once_more(lost: Reply) -> None:
    server = Server(lost, NEVER_CAME, ASKED)
    created = await client(server).create_nodes("r1", HPC)
    assert server.calls == [CREATE, READ_BACK, CREATE]
    assert (created.already_asked, created.operation_id) == (False, "op")
    assert server.requests[0].content == server.requests[2].content


async def test_a_creation_that_arrives_after_it_was_missed_is_still_asked_once() -> None:
    server = Server(httpx.ReadTimeout("late"), NEVER_CAME, httpx.Response(409), listed(2))
    created = await client(server).create_nodes("r1", HPC)
    assert server.calls == [CREATE, READ_BACK, CREATE, READ_BACK]
    assert (created.already_asked, created.added, created.messages) == (True, 2, ())


async def test_a_creation_that_is_lost_twice_is_not_sent_a_third_time() -> None:
    server = Server(httpx.ReadTimeout("late"), NEVER_CAME, httpx.ReadTimeout("late"), NEVER_CAME)
    with pytest.raises(ConnectionLost):
        await client(server).create_nodes("r1", HPC)
    assert server.calls == [CREATE, READ_BACK] * 2


async def test_a_creation_that_cannot_be_read_back_is_of_unknown_effect_and_not_sent_again() -> None:
    server = Server(httpx.ReadTimeout("late"), httpx.ConnectError("down"))
    with pytest.raises(ConnectionLost, match="cannot be asked"):
        await client(server).create_nodes("r1", HPC)
    assert server.calls == [CREATE] + [READ_BACK] * 3


async def test_asking_again_under_the_same_id_is_no_error() -> None:
    server = Server(httpx.Response(409, text="used before"), listed(2))
    created = await client(server).create_nodes("r1", HPC)
    assert (created.already_asked, created.added) == (True, 2)


async def test_a_409_for_another_reason_is_refused_with_the_servers_words() -> None:
    server = Server(httpx.Response(409, text="no such nodearray"), NEVER_CAME)
    with pytest.raises(Refused, match="no such nodearray"):
        await client(server).create_nodes("r1", HPC)
    assert server.calls == [CREATE, READ_BACK]


async def test_a_management_request_with_an_id_is_read_back_too() -> None:
    server = Server(httpx.Response(409), listed(1))
    result = await client(server).shutdown_nodes(names=["hpc-0"], request_id="r1")
    assert (result.already_asked, [node.name for node in result.nodes]) == (True, ["hpc-0"])


async def test_ending_nobody_sends_nothing() -> None:
    server = Server(NO_NODES)
    assert (await client(server).terminate_nodes()).nodes == ()
    assert not server.requests


async def test_what_is_read_back_is_spread_over_the_sets_that_were_asked_for() -> None:
    body = [
        {"Name": "a-1", "NodeId": "1", "Template": "hpc", "MachineType": "F16", "PlacementGroupId": "p"},
        {"Name": "a-2", "NodeId": "2", "Template": "hpc", "MachineType": "F32"},
        {"Name": "b-7", "NodeId": "3", "Template": "htc", "MachineType": "F4"},
        {"Name": "a-3", "NodeId": "4", "Template": "hpc", "MachineType": "F16", "PlacementGroupId": "p"},
    ]
    sets = [
        NodeSet(nodearray="hpc", count=3, placement_group_id="p"),
        NodeSet(nodearray="hpc", vm_size="F32"),
        NodeSet(nodearray="htc", name_format="b-7"),
        NodeSet(nodearray="htc", name_format="b-8"),
    ]
    server = Server(httpx.Response(409), httpx.Response(200, json={"nodes": body}))
    created = await client(server).create_nodes("r1", sets)
    assert [each.added for each in created.sets] == [2, 1, 1, 0]


async def test_only_the_id_is_taken_from_an_answer_and_its_location_is_not_followed() -> None:
    server = Server(
        httpx.Response(202, json={"operationId": "op", "sets": []}, headers={"Location": "https://evil.test"})
    )
    assert (await client(server).create_nodes("r1", HPC)).operation_id == "op"
    assert len(server.requests) == 1


async def test_a_creation_tells_what_each_set_got() -> None:
    sets = [{"added": 3}, {"added": 1, "message": "quota"}, {"added": 2, "message": None}]
    server = Server(httpx.Response(202, json={"operationId": "op", "sets": sets}))
    created = await client(server).create_nodes("r1", HPC)
    assert [(each.added, each.message) for each in created.sets] == [(3, ""), (1, "quota"), (2, "")]
    assert (created.added, created.messages) == (6, ("quota",))


async def test_a_body_is_what_cyclecloud_documents() -> None:
    server = Server(ASKED)
    wanted = NodeSet(
        count=2, nodearray="hpc", vm_size="F16", name_format="n%d", name_offset=3, placement_group_id="p"
    )
    await client(server).create_nodes("r1", [wanted])
    assert server.requests[0].headers["Content-Type"] == "application/json"
    assert httpx.Response(200, content=server.requests[0].content).json() == {
        "requestId": "r1",
        "sets": [
            {
                "count": 2,
                "nodearray": "hpc",
                "definition": {"machineType": "F16"},
                "nameFormat": "n%d",
                "nameOffset": 3,
                "placementGroupId": "p",
            }
        ],
    }
