"""What the scaler asks for, and what it tells: VM sizes, placement groups, boots, nodes that are lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.errors import ConnectionLost
from hybrid_hpc.jobs import JobKey, JobState
from hybrid_hpc.ledger import Job
from hybrid_hpc.node_changes import NOT_CHANGED
from hybrid_hpc.scaling import EVICTED_REASON, FAILED_REASON
from hybrid_hpc.schedulers.base import NodeStatus, QueuedJob
from hybrid_hpc.watch import ClusterWatch
from tests.unit.placement_world import azure, job, running
from tests.unit.scaling_world import Cloud, World, htc_only
from tests.unit.submission_world import REQUEST

A, B = "Standard_a", "Standard_b"
QUOTA = {"availableCount": 0, "familyConsumedCoreCount": 160}
Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[World] = []

    def make(cluster: Cluster | None = None, onlooker: bool = False, **sizes: dict[str, Any]) -> World:
        named = {f"Standard_{name}": changes for name, changes in sizes.items()}
        cloud = Cloud(named or {A: {}})
        url = f"sqlite:///{tmp_path}/ledger.db"
        made.append(World(cluster or htc_only(*(named or (A,))), cloud, url, onlooker=onlooker))
        return made[-1]

    yield make
    for world in made:
        world.ledger.close()


def htc(native_id: str = "1", **changes: Any) -> QueuedJob:
    return job(native_id, **({"partition": "htc"} | changes))


async def test_forty_jobs_that_need_26_nodes_make_one_request_for_26_nodes(make: Make) -> None:
    world = make(a={"availableCount": 30})
    world.jobs = [htc(f"w{n}") for n in range(12)] + [htc(f"h{n}", cores=8) for n in range(28)]
    for _ in range(3):
        await world.step(2)
    assert [len(each) for each in world.asked()] == [26]


async def test_what_blocks_is_told_at_the_first_look_and_nothing_is_asked_in_vain(make: Make) -> None:
    world = make(a=QUOTA)
    world.jobs = [htc()]
    view = await world.step()
    assert view.of("1", "htc").trouble == (
        "the Azure quota of the family of Standard_a is reached: "
        "160 of 160 cores are in use, a Standard_a takes 16"
    )
    for _ in range(5):
        await world.step(2)
    assert world.cloud.requests == []
    assert world.cloud.status_asked == 1


async def test_status_is_not_asked_when_nothing_is_wanted(make: Make) -> None:
    world = make()
    await world.step()
    world.jobs = [htc()]
    await world.step()
    await world.step()
    assert (len(world.cloud.requests), world.cloud.status_asked) == (1, 1)


async def test_when_azure_has_no_machine_of_one_size_the_next_round_asks_for_the_next_size(
    make: Make,
) -> None:
    world = make(a={}, b={})
    world.jobs = [htc()]
    await world.step()
    world.cloud.set_node("htc-1", "Failed", StatusMessage="AllocationFailed: not enough capacity")
    view = await world.step(2)
    assert view.of("1", "htc").booting
    assert world.asked() == [[(A, None)], [(B, None)]]
    world.cloud.set_node("htc-2", "Failed", StatusMessage="AllocationFailed")
    view = await world.step(2)
    assert (
        view.of("1", "htc").trouble
        == "Azure says: AllocationFailed: not enough capacity; Azure says: AllocationFailed"
    )
    assert len(world.cloud.requests) == 2
    assert len({request_id for request_id, _ in world.cloud.requests}) == 2


@pytest.mark.parametrize("name", ["htc", "long"])
async def test_a_size_that_failed_is_left_alone_by_every_partition_of_its_nodearray(
    make: Make, name: str
) -> None:
    part = htc_only(A).partitions["htc"]
    world = make(azure(partitions={"htc": part, "long": part.model_copy(update={"name": "long"})}))
    world.jobs = [htc(partition=name)]
    await world.step()
    world.cloud.set_node(f"{name}-1", "Failed", StatusMessage="AllocationFailed")
    for _ in range(3):
        assert (await world.step(2)).of("1", name).trouble == "Azure says: AllocationFailed"
    assert len(world.cloud.requests) == 1


async def test_a_request_whose_answer_is_lost_is_repeated_under_the_same_id_after_a_while(make: Make) -> None:
    world = make(a={}, b={})
    world.jobs = [htc()]
    world.cloud.refuses = ConnectionLost("no answer within 30 s")
    view = await world.step()
    assert view.of("1", "htc").trouble == "CycleCloud gave no nodes: no answer within 30 s"
    assert (await world.step(30)).of("1", "htc").trouble.startswith("CycleCloud gave no nodes")
    world.restart()
    await world.step(31)
    first, second = world.cloud.requests
    assert first == second


async def test_tightly_coupled_jobs_each_get_one_placement_group_of_no_more_nodes_than_it_holds(
    make: Make,
) -> None:
    world = make(a={"availableCount": 20, "virtualMachine": {"infiniband": True}})
    world.jobs = [htc("1", nodes=3, cores=48), htc("2", nodes=2, cores=32), htc("3", nodes=5, cores=80)]
    view = await world.step()
    (names,) = world.asked()
    assert [group for _, group in names] == ["htc-Standard_a-pg0"] * 3 + ["htc-Standard_a-pg1"] * 2
    assert view.of("3", "htc").trouble == (
        "a placement group in Azure holds at most 4 nodes, and it needs 5 in one"
    )
    world.jobs = [*world.jobs[:2], htc("4", nodes=2, cores=32)]
    await world.step(2)
    assert world.asked()[1] == [(A, "htc-Standard_a-pg1")] * 2


async def test_where_the_nodes_stand_is_told_step_by_step_with_the_boot_time_learnt(make: Make) -> None:
    world = make()
    world.jobs = [htc()]
    told = [(await world.step()).of("1", "htc").booting]
    told.append((await world.step(5)).of("1", "htc").booting)
    world.cloud.set_node("htc-1", "Preparing")
    told.append((await world.step(5)).of("1", "htc").booting)
    world.cloud.set_node("htc-1", "Ready")
    told.append((await world.step(5)).of("1", "htc").booting)
    told.append((await world.step(300)).of("1", "htc").booting)
    assert [each and each.text.partition("; ")[0] for each in told] == [
        "1 node asked for, not booting yet (Standard_a), asked 0 s ago, expected up after 60 s",
        "1 node being acquired (Standard_a), asked 5 s ago, expected up after 60 s",
        "1 node booting (Standard_a), asked 10 s ago, expected up after 60 s",
        "1 node up in Azure, joining the scheduler (Standard_a), asked 15 s ago, expected up after 60 s",
        "1 node up in Azure, joining the scheduler (Standard_a), asked 5 min ago, "
        "far longer than the 60 s that it should take",
    ]


async def test_the_boot_time_is_learnt_from_three_boots(make: Make) -> None:
    world = make()
    for number, boot_s in enumerate([9, 30, 8], start=1):
        world.jobs = [htc(nodes=number, cores=16 * number)]
        await world.step()
        world.cloud.set_node(f"htc-{number}", "Preparing")
        await world.step(boot_s)
        world.comes_up(f"htc-{number}")
        await world.step()
    world.jobs = [htc(nodes=4, cores=64)]
    await world.step()
    world.cloud.set_node("htc-4", "Preparing")
    booting = (await world.step(2)).of("1", "htc").booting
    assert booting
    assert booting.text == "1 node booting (Standard_a), asked 2 s ago, usually up after 9 s"


async def test_a_node_that_was_deallocated_is_told_and_learnt_by_its_own_boot_each_time(make: Make) -> None:
    world = make(onlooker=True)
    told = []
    for boot_s in (100, 90, 110):
        world.says("htc-1", NodeStatus.BOOTING)
        world.cloud.set_node("htc-1", "Preparing", MachineType=A, TargetState="Started")
        world.jobs = [htc(state=JobState.CONFIGURING, node_names=("htc-1",))]
        await world.step()
        booting = (await world.step(boot_s)).of("1", "htc").booting
        told.append(booting and booting.asked_ago_s)
        world.comes_up("htc-1")
        await world.step()
        world.jobs = []
        world.says("htc-1", NodeStatus.OFF)
        world.cloud.set_node("htc-1", "Deallocated", TargetState="Deallocated")
        await world.step(900)
        await world.step(900)
    assert told == [100, 90, 110]
    assert world.ledger.boot_times_s("azure") == {("htc", A): [110, 90, 100]}
    assert world.ledger.lives("azure") == []


async def test_a_job_of_another_reason_is_told_nothing_of_the_nodes_of_others(make: Make) -> None:
    world = make()
    world.jobs = [htc("1"), htc("2", reason="Dependency")]
    view = await world.step()
    assert view.of("2", "htc").booting is None


async def test_a_node_that_runs_and_takes_no_job_is_an_alert_until_it_does_and_survives_a_restart(
    make: Make,
) -> None:
    world = make()
    world.jobs = [htc()]
    await world.step()
    world.cloud.set_node("htc-1", "Ready")
    world.says("htc-1", NodeStatus.DOWN, state_word="DOWN", reason="Not responding")
    await world.step()
    assert world.ledger.alerts() == []
    await world.step(100)
    (alert,) = world.ledger.alerts()
    assert (alert.subject, alert.kind) == ("azure/htc-1", "unused node")
    assert alert.sentence.startswith(
        "htc-1 runs in Azure, and the scheduler gives it no job: it is down there (Not responding); "
    )
    world.restart()
    world.comes_up("htc-1")
    await world.step(2)
    assert world.ledger.alerts() == []


async def test_a_node_that_never_takes_a_job_is_ended_and_its_job_is_told(make: Make) -> None:
    world = make()
    world.jobs = [htc()]
    await world.step()
    world.cloud.set_node("htc-1", "Ready")
    await world.step(2)
    view = await world.step(601)
    assert view.of("1", "htc").trouble == "node htc-1 did not come within 10 min and was ended"
    assert list(world.cloud.machines) == []


async def test_a_node_that_vanished_while_nobody_watched_is_told_to_the_scheduler(make: Make) -> None:
    world = make()
    world.jobs = [htc()]
    await world.step()
    world.comes_up("htc-1")
    world.jobs = [running("1", "htc-1", partition="htc")]
    await world.step(2)
    world.restart()
    world.cloud.machines.clear()
    world.there.commands.clear()
    await world.step(500)
    assert world.there.commands == []
    await world.step(2)
    assert ["State=DOWN" in command for command in world.there.commands] == [True]
    await world.step(2)
    assert world.ledger.lives("azure") == []


NO_RIGHT = "Slurm does not change the nodes: Invalid user id"


async def test_a_scheduler_that_changes_no_node_blinds_no_wait_and_is_an_alert_until_it_does(
    make: Make,
) -> None:
    world = make()
    world.comes_up("htc-1")
    row = world.ledger.intend(Job(JobKey("dag", "run"), REQUEST, "azure", "htc"))
    world.ledger.record_native_id(row.token, "1", world.clock(), "/scratch/run")
    world.jobs = [running("1", "htc-1", name=row.token, partition="htc"), htc("2", reason="Dependency")]
    world.cloud.set_node("htc-1", "Waiting for eviction")
    world.there.refuses = NO_RIGHT
    poll = await ClusterWatch(world.site, world.ledger, world.scaler).poll()
    assert (poll.trouble, poll.reports[row.token].state) == ("", JobState.RUNNING)
    (alert,) = world.ledger.alerts()
    assert (alert.subject, alert.kind) == ("azure", NOT_CHANGED)
    assert NO_RIGHT in alert.sentence
    assert alert.sentence.endswith("sacctmgr modify user NAME set adminlevel=Admin")
    world.there.refuses = ""
    world.restart()
    await world.step(2)
    assert world.ledger.alerts() == []


async def test_a_node_that_the_scheduler_keeps_out_is_not_asked_for_and_who_waits_hears_why(
    make: Make,
) -> None:
    world = make()
    world.jobs = [htc()]
    world.there.refuses = NO_RIGHT
    view = await world.step()
    why = f"nodes are not asked for, they could take no job: {NO_RIGHT}"
    assert view.of("1", "htc").trouble == why
    for _ in range(5):
        assert (await world.step(15)).of("1", "htc").trouble == why
    assert world.cloud.requests == []
    assert len(world.there.commands) == 2, "once a minute"
    world.jobs = []
    world.restart()
    await world.step(120)
    assert [(row.outcome, row.message) for row in world.ledger.scale_requests("azure")] == [("failed", why)]
    world.there.refuses = ""
    world.jobs = [htc()]
    await world.step(2)
    assert list(world.cloud.machines) == ["htc-1"]


async def test_a_node_that_an_administrator_drained_while_it_is_off_is_neither_asked_for_nor_given_back(
    make: Make,
) -> None:
    world = make()
    world.says("htc-1", NodeStatus.DOWN, drained=True, reason="disk")
    world.says("htc-2", NodeStatus.DOWN, drained=True, reason="hybrid-hpc: off until asked for")
    world.jobs = [htc()]
    await world.step()
    assert list(world.cloud.machines) == ["htc-2"]
    assert ["htc-2" in command and "htc-1" not in command for command in world.there.commands] == [True]


async def test_the_reason_of_a_drained_node_that_vanished_stays_and_with_it_the_drain(make: Make) -> None:
    world = make()
    world.comes_up("htc-1")
    world.says("htc-1", NodeStatus.DRAINING, drained=True, reason="disk")
    await world.step()
    world.cloud.machines.clear()
    for _ in range(3):
        await world.step(2)
    assert world.there.commands == []


@pytest.mark.parametrize("onlooker", [False, True])
async def test_a_job_on_a_node_of_which_azure_gave_notice_is_told_and_no_other_begins_there(
    make: Make, onlooker: bool
) -> None:
    world = make(onlooker=onlooker)
    world.cloud.set_node("htc-1", "Ready")
    world.comes_up("htc-1")
    world.jobs = [running("1", "htc-1", partition="htc")]
    assert (await world.step()).of("1", "htc").trouble == ""
    world.cloud.set_node("htc-1", "Waiting for eviction", StatusMessage="The spot instance is to be evicted")
    view = await world.step(2)
    assert view.of("1", "htc").trouble == (
        "Azure is about to take htc-1 away: The spot instance is to be evicted"
    )
    drained = ["State=DRAIN" in command and "htc-1" in command for command in world.there.commands]
    assert drained == ([] if onlooker else [True])


async def test_a_node_that_fails_under_a_job_takes_no_other_and_goes_when_the_job_is_over(make: Make) -> None:
    world = make()
    world.jobs = [htc()]
    await world.step()
    world.comes_up("htc-1")
    world.says("htc-1", NodeStatus.UP, cores_busy=16)
    world.jobs = [running("1", "htc-1", partition="htc")]
    await world.step(2)
    world.cloud.set_node("htc-1", "Failed", StatusMessage="the last script failed")
    world.there.commands.clear()
    view = await world.step(2)
    assert view.of("1", "htc").trouble == (
        "htc-1 failed, and the job goes on: Azure says: the last script failed"
    )
    assert ["State=DRAIN" in command and "htc-1" in command for command in world.there.commands] == [True]
    world.says("htc-1", NodeStatus.DRAINING, drained=True, reason=FAILED_REASON)
    await world.step(2)
    assert list(world.cloud.machines) == ["htc-1"]
    world.says("htc-1", NodeStatus.DRAINING, cores_busy=0)
    world.jobs = []
    await world.step(2)
    assert list(world.cloud.machines) == []
    assert "State=DOWN" in world.there.commands[-1]


async def test_where_the_cluster_asks_itself_a_job_on_a_node_that_failed_is_told(make: Make) -> None:
    world = make(onlooker=True)
    world.says("htc-1", NodeStatus.UP, cores_busy=16)
    world.cloud.set_node("htc-1", "Failed", StatusMessage="the last script failed")
    world.jobs = [running("1", "htc-1", partition="htc")]
    assert (await world.step()).of("1", "htc").trouble.startswith("htc-1 failed, and the job goes on: Azure")
    assert world.there.commands == []


async def test_a_node_that_fails_while_it_is_up_and_idle_is_drained_before_it_is_ended(make: Make) -> None:
    """A job may begin between the look and the end."""
    world = make()
    world.comes_up("htc-1")
    await world.step()
    world.cloud.set_node("htc-1", "Failed", StatusMessage="the last script failed")
    await world.step(2)
    assert list(world.cloud.machines) == ["htc-1"]
    assert "State=DRAIN" in world.there.commands[-1]
    world.says("htc-1", NodeStatus.DRAINING, drained=True, reason=FAILED_REASON)
    await world.step(2)
    assert list(world.cloud.machines) == []


async def test_a_failed_node_that_others_drained_goes_when_it_is_empty_and_their_reason_stays(
    make: Make,
) -> None:
    world = make()
    world.comes_up("htc-1")
    world.says("htc-1", NodeStatus.DRAINING, drained=True, reason="health check", cores_busy=1)
    world.cloud.set_node("htc-1", "Failed")
    await world.step()
    assert list(world.cloud.machines) == ["htc-1"]
    world.says("htc-1", NodeStatus.DRAINING, cores_busy=0)
    await world.step(2)
    assert (list(world.cloud.machines), world.there.commands) == ([], [])


@pytest.mark.parametrize("reason", [EVICTED_REASON, FAILED_REASON])
async def test_a_node_that_azure_leaves_us_after_all_takes_jobs_again(make: Make, reason: str) -> None:
    world = make()
    world.cloud.set_node("htc-1", "Ready")
    world.says("htc-1", NodeStatus.DRAINING, drained=True, reason=reason)
    await world.step()
    assert ["State=UNDRAIN" in command for command in world.there.commands] == [True]


async def test_where_the_cluster_asks_itself_the_same_is_told_and_nothing_is_asked(make: Make) -> None:
    world = make(onlooker=True, a=QUOTA)
    world.jobs = [
        htc("1", state=JobState.CONFIGURING, node_names=("htc-1",)),
        htc("2", state=JobState.CONFIGURING, node_names=("htc-2",)),
        htc("3", state=JobState.CONFIGURING, node_names=("htc-3",)),
        htc("4"),
    ]
    world.cloud.set_node("htc-1", "Preparing", MachineType=A)
    world.cloud.set_node("htc-2", "Failed", StatusMessage="the cluster-init script failed")
    view = await world.step()
    booting = view.of("1", "htc").booting
    assert booting
    assert booting.text == "1 node booting (Standard_a), asked 0 s ago, expected up after 60 s"
    assert view.of("2", "htc").trouble == "Azure says: the cluster-init script failed"
    assert view.of("3", "htc").trouble.startswith("the Azure quota of the family of Standard_a is reached")
    assert view.of("4", "htc").trouble == ""
    await world.step(31)
    assert {alert.kind: alert.sentence.partition(";")[0] for alert in world.ledger.alerts()} == {
        "missing node": "the scheduler counts on htc-3, and CycleCloud does not have it"
    }
    assert (world.cloud.requests, world.there.commands) == ([], [])


async def test_every_request_ends_with_what_came_of_it_in_azures_words(make: Make) -> None:
    world = make(a={}, b={})
    world.jobs = [htc()]
    await world.step()
    world.cloud.set_node("htc-1", "Failed", StatusMessage="no route to /sched")
    await world.step(2)
    world.comes_up("htc-2")
    await world.step(2)
    world.cloud.refuses = ConnectionLost("no answer within 30 s")
    world.jobs = [htc(), htc("2")]
    await world.step(120)
    world.jobs = []
    world.restart()
    await world.step(120)
    assert [(row.outcome, row.came, row.message) for row in world.ledger.scale_requests("azure")] == [
        ("failed", 0, "CycleCloud gave no nodes: no answer within 30 s"),
        ("came", 1, ""),
        ("failed", 0, "Azure says: no route to /sched"),
    ]
    assert world.ledger.open_scale_requests("azure") == []
