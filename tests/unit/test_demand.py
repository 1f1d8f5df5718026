"""Which nodes a queue needs, and which may go."""

from __future__ import annotations

import pytest

from hybrid_hpc.demand import NewNode, NodeAsk, nodes_to_release
from hybrid_hpc.jobs import JobState
from hybrid_hpc.schedulers.base import NodeState, NodeStatus, QueuedJob
from tests.unit.demand_world import nodes_to_ask
from tests.unit.placement_world import (
    CLOCK,
    azure,
    cluster,
    job,
    load,
    node,
    nodes,
    onprem,
    partition,
    running,
)

AZURE = azure()  # hpc: 4 nodes of 120 cores, htc: 8 nodes of 16; idle nodes go after 300 s
HTC = AZURE.partitions["htc"]


def off(*there: NodeState) -> list[NodeState]:
    """All nodes off but these."""
    known = {each.name: each for each in there}
    return [known.get(each.name, each) for each in nodes(AZURE, NodeStatus.OFF)]


def asked(*jobs: QueuedJob, there: tuple[NodeState, ...] = (), **more: object) -> dict[str, tuple[str, ...]]:
    asks = nodes_to_ask(load(off(*there), *jobs), AZURE, **more)  # type: ignore[arg-type]
    return {ask.partition: ask.names for ask in asks}


def htc(native_id: str = "1", **changes: object) -> QueuedJob:
    return job(native_id, **({"partition": "htc"} | changes))


def test_a_job_that_waits_gets_the_lowest_node_that_is_off() -> None:
    asks = nodes_to_ask(load(off(), htc("77")), AZURE)
    assert asks == [NodeAsk("htc", "htc", (NewNode("htc-1", "Standard_htc"),), ("77",))]


def test_an_empty_queue_asks_for_nothing() -> None:
    assert asked() == {}


def test_small_jobs_share_a_node() -> None:
    assert asked(*(htc(str(n), cores=4) for n in range(5))) == {"htc": ("htc-1", "htc-2")}


def test_a_job_of_several_nodes_gets_as_many_different_ones() -> None:
    assert asked(htc(nodes=3, cores=3)) == {"htc": ("htc-1", "htc-2", "htc-3")}


def test_every_task_of_an_array_counts() -> None:
    assert asked(htc(array_tasks=3)) == {"htc": ("htc-1", "htc-2", "htc-3")}
    assert asked(htc(array_tasks=9, cores=4)) == {"htc": ("htc-1", "htc-2", "htc-3")}


def test_each_partition_is_asked_for_on_its_own() -> None:
    assert asked(htc("1"), job("2", partition="hpc", cores=120)) == {"htc": ("htc-1",), "hpc": ("hpc-1",)}


def test_names_are_counted_as_people_do() -> None:
    where = cluster(
        "azure", partition("htc", nodes=12, nodearray="htc", vm_size="F16"), elastic=AZURE.elastic
    )
    found = load(sorted(nodes(where, NodeStatus.OFF), key=lambda each: each.name), htc(nodes=11, cores=11))
    assert nodes_to_ask(found, where)[0].names[-2:] == ("htc-10", "htc-11")


def test_free_room_on_nodes_that_are_up_or_boot_is_used_first() -> None:
    up = node("htc-5", HTC, cores_busy=12)
    boots = node("htc-6", HTC, NodeStatus.BOOTING)
    assert asked(htc("1", cores=4), htc("2"), there=(up, boots)) == {}
    assert asked(htc("1", cores=5), htc("2"), there=(up, boots)) == {"htc": ("htc-1",)}


def test_a_node_that_cyclecloud_has_already_is_not_asked_for() -> None:
    assert asked(htc(), existing={"htc-1"}) == {}
    assert asked(htc("1"), htc("2"), existing={"htc-1"}) == {"htc": ("htc-2",)}


@pytest.mark.parametrize("status", [NodeStatus.DOWN, NodeStatus.DRAINING])
def test_broken_and_draining_nodes_are_neither_used_nor_asked_for(status: NodeStatus) -> None:
    assert asked(htc(), there=(node("htc-1", HTC, status),)) == {"htc": ("htc-2",)}


def test_never_more_than_there_are_or_than_can_be_made() -> None:
    assert asked(htc(array_tasks=50)) == {"htc": tuple(f"htc-{n}" for n in range(1, 9))}
    assert asked(htc(array_tasks=50), creatable={"htc": 2}) == {"htc": ("htc-1", "htc-2")}
    assert asked(htc(array_tasks=50), creatable={"htc": 0}) == {}


def test_a_job_whose_nodes_cannot_all_be_had_gets_none_and_those_after_it_may() -> None:
    large, small = htc("1", nodes=3, cores=48), htc("2")
    assert asked(large, creatable={"htc": 2}) == {}
    assert asked(large, small, creatable={"htc": 2}) == {"htc": ("htc-1",)}


def test_the_more_urgent_job_gets_the_nodes_when_they_are_few() -> None:
    asks = nodes_to_ask(load(off(), htc("1"), htc("2", priority=9)), AZURE, creatable={"htc": 1})
    assert asks[0].for_jobs == ("2",)


@pytest.mark.parametrize(
    "reason",
    [
        "",
        "None",
        "Resources",
        "Priority",
        "ReqNodeNotAvail, UnavailableNodes:htc-[1-8]",
        "ReqNodeNotAvail",
        "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
        "Nodes_required_for_job_are_DOWN,_DRAINED_or_reserved",
    ],
)
def test_reasons_that_nodes_cure_ask_for_nodes(reason: str) -> None:
    assert asked(htc(reason=reason)) == {"htc": ("htc-1",)}


@pytest.mark.parametrize(
    "changes",
    [
        {"state": JobState.HELD, "reason": "JobHeldUser"},
        {"state": JobState.CONFIGURING, "reason": "None"},
        {"state": JobState.UNKNOWN},
        {"reason": "Dependency"},
        {"reason": "DependencyNeverSatisfied"},
        {"reason": "BeginTime"},
        {"reason": "JobHeldAdmin"},
        {"reason": "JobArrayTaskLimit"},
        {"reason": "AssocGrpCpuLimit"},
        {"reason": "PartitionTimeLimit"},
        {"reason": "a reason of tomorrow"},
        {"cores": 17},
        {"memory_per_node_mib": 31_001},
        {"gpus_per_node": 1},
        {"partition": "no-such"},
        {"array_tasks": 0},
    ],
)
def test_what_nodes_do_not_cure_asks_for_none(changes: dict[str, object]) -> None:
    assert asked(job("1", **({"partition": "htc"} | changes))) == {}


def test_a_job_in_two_partitions_is_asked_for_in_the_first_that_has_room() -> None:
    both = htc(partition="hpc,htc")
    assert asked(both) == {"hpc": ("hpc-1",)}
    assert asked(both, creatable={"hpc": 0}) == {"htc": ("htc-1",)}
    assert asked(both, there=(node("htc-3", HTC),)) == {}


def test_nodes_of_a_partition_without_nodearray_are_never_asked_for_nor_let_go() -> None:
    where = onprem(elastic=AZURE.elastic)
    assert nodes_to_ask(load(nodes(where, NodeStatus.OFF), job()), where) == []
    assert nodes_to_release(load(nodes(where)), where, {each.name: 0.0 for each in nodes(where)}) == []


def released(
    *there: NodeState, jobs: tuple[QueuedJob, ...] = (), came_up: float | None = CLOCK - 900
) -> list[str]:
    known = {} if came_up is None else {each.name: came_up for each in there}
    return nodes_to_release(load(off(*there), *jobs), AZURE, known)


def test_a_node_that_was_idle_for_long_enough_may_go() -> None:
    assert released(node("htc-1", HTC)) == ["htc-1"]
    assert released(node("htc-1", HTC), came_up=CLOCK - 100) == []


@pytest.mark.parametrize(
    ("last_busy", "came_up", "goes"),
    [
        (CLOCK - 301, CLOCK - 900, True),
        (CLOCK - 300, CLOCK - 900, True),
        (CLOCK - 299, CLOCK - 900, False),
        (CLOCK - 9000, CLOCK - 10, False),
        (CLOCK - 9000, None, True),
        (None, CLOCK - 301, True),
        (None, None, False),
        (CLOCK + 50, None, False),
    ],
)
def test_idle_counts_from_the_last_job_or_from_coming_up_whichever_is_later(
    last_busy: float | None, came_up: float | None, goes: bool
) -> None:
    assert bool(released(node("htc-1", HTC, last_busy=last_busy), came_up=came_up)) == goes


@pytest.mark.parametrize(
    "there",
    [
        node("htc-1", HTC, cores_busy=1),
        node("htc-1", HTC, memory_busy_mib=1),
        node("htc-1", HTC, NodeStatus.BOOTING),
        node("htc-1", HTC, NodeStatus.OFF),
        node("htc-1", HTC, NodeStatus.DOWN),
        node("htc-1", HTC, NodeStatus.DRAINING),
    ],
    ids=lambda each: f"{each.status} {each.cores_busy} {each.memory_busy_mib}",
)
def test_only_idle_nodes_that_are_up_may_go(there: NodeState) -> None:
    assert released(there) == []


@pytest.mark.parametrize(
    "state", [JobState.RUNNING, JobState.CONFIGURING, JobState.COMPLETING, JobState.SUSPENDED]
)
def test_a_node_that_a_job_names_stays_though_it_says_it_is_idle(state: JobState) -> None:
    assert released(node("htc-1", HTC), jobs=(running("1", "htc-1", state=state, partition="htc"),)) == []


def test_a_node_that_a_waiting_job_would_take_stays() -> None:
    there = (node("htc-1", HTC), node("htc-2", HTC))
    assert released(*there, jobs=(htc(),)) == ["htc-2"]
    assert released(*there, jobs=(htc(nodes=3, cores=3),)) == []
    assert released(*there, jobs=(htc(cores=17),)) == ["htc-1", "htc-2"]
    assert released(*there, jobs=(htc(reason="Dependency"),)) == ["htc-1", "htc-2"]


def test_a_static_cluster_lets_nothing_go() -> None:
    where = onprem()
    assert nodes_to_release(load(nodes(where)), where, {"batch-1": 0.0}) == []
