"""The scheduler and CycleCloud see nodes differently: who waits is told, and stuck nodes are given up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hybrid_hpc.jobs import JobState
from hybrid_hpc.schedulers.base import NodeStatus, QueuedJob
from hybrid_hpc.stuck_nodes import STUCK
from tests.unit.placement_world import job, running
from tests.unit.scaling_world import Cloud, World, htc_only

A = "Standard_a"
MISSING = "the scheduler counts on htc-1, and CycleCloud does not have it; it is so since "
UNUSED = "htc-1 runs in Azure, and the scheduler gives it no job: it is down there (Not responding); "


@pytest.fixture
def onlooker(tmp_path: Path) -> Iterator[World]:
    """A cluster whose own power saving asks for nodes."""
    world = World(htc_only(A), Cloud({A: {}}), f"sqlite:///{tmp_path}/ledger.db", onlooker=True)
    yield world
    world.ledger.close()


@pytest.fixture
def scaler(tmp_path: Path) -> Iterator[World]:
    """A cluster whose nodes we ask for."""
    world = World(htc_only(A), Cloud({A: {}}), f"sqlite:///{tmp_path}/ledger.db")
    yield world
    world.ledger.close()


def configuring(native_id: str) -> QueuedJob:
    """A job for which the scheduler powers up htc-1."""
    return job(native_id, partition="htc", state=JobState.CONFIGURING, node_names=("htc-1",))


def freed(world: World) -> list[str]:
    return [command for command in world.there.commands if "POWER_DOWN_FORCE" in command]


async def test_a_job_that_waits_for_a_node_which_runs_unused_hears_both_views(scaler: World) -> None:
    scaler.jobs = [job("1", partition="htc")]
    await scaler.step()
    scaler.cloud.set_node("htc-1", "Ready")
    scaler.says("htc-1", NodeStatus.DOWN, state_word="DOWN", reason="Not responding")
    await scaler.step()
    view = await scaler.step(100)
    booting = view.of("1", "htc").booting
    assert booting
    assert UNUSED in booting.text
    assert UNUSED in booting.stage, "else the log would not tell it"
    assert view.differs["htc-1"].startswith(UNUSED)
    scaler.comes_up("htc-1")
    assert (await scaler.step(2)).differs == {}


async def test_a_job_that_runs_on_a_node_which_cyclecloud_does_not_have_hears_it(onlooker: World) -> None:
    onlooker.says("htc-1", NodeStatus.UP)
    onlooker.jobs = [running("1", "htc-1", partition="htc")]
    assert (await onlooker.step()).of("1", "htc").trouble == ""
    view = await onlooker.step(31)
    assert view.of("1", "htc").trouble.startswith(MISSING)
    assert [alert.kind for alert in onlooker.ledger.alerts()] == ["missing node"]


async def test_a_node_that_an_administrator_drained_while_it_is_off_is_no_difference(onlooker: World) -> None:
    onlooker.says("htc-1", NodeStatus.DRAINING, reason="disk")
    for _ in range(3):
        assert (await onlooker.step(100)).differs == {}
    onlooker.says("htc-1", NodeStatus.DRAINING, cores_busy=16)
    await onlooker.step(2)
    assert list((await onlooker.step(31)).differs) == ["htc-1"]


async def test_a_node_that_was_never_made_blocks_its_job_within_two_minutes_and_the_next_one_at_once(
    onlooker: World,
) -> None:
    """The quota that kept it away is free again, so that nothing but the missing node says why."""
    onlooker.says("htc-1", NodeStatus.BOOTING)
    onlooker.jobs = [configuring("1")]
    assert (await onlooker.step()).of("1", "htc").trouble == ""
    assert (await onlooker.step(61)).of("1", "htc").trouble.startswith(MISSING)
    onlooker.jobs = [configuring("2")]
    assert (await onlooker.step(2)).of("2", "htc").trouble.startswith(MISSING)
    assert freed(onlooker) == [], "a job has it"


async def test_a_stuck_node_is_given_up_when_no_job_has_it(onlooker: World) -> None:
    onlooker.says("htc-1", NodeStatus.BOOTING)
    onlooker.says("htc-2", NodeStatus.BOOTING)
    onlooker.cloud.set_node("htc-1", "Failed", StatusMessage="no route to /sched")
    onlooker.cloud.set_node("htc-2", "Preparing")
    onlooker.jobs = [configuring("1")]
    assert (await onlooker.step()).of("1", "htc").trouble == "Azure says: no route to /sched"
    onlooker.jobs = []
    await onlooker.step(2)
    (command,) = freed(onlooker)
    assert "htc-1" in command
    assert "htc-2" not in command
    assert onlooker.ledger.alerts([STUCK]) == []


async def test_what_our_account_may_not_free_is_an_alert_with_the_remedy_until_it_is_over(
    onlooker: World,
) -> None:
    onlooker.there.refuses = "Slurm does not change the nodes: Invalid user id"
    onlooker.says("htc-1", NodeStatus.BOOTING)
    onlooker.cloud.set_node("htc-1", "Failed", StatusMessage="no route to /sched")
    for _ in range(3):
        await onlooker.step(2)
    assert len(freed(onlooker)) == 1, "asked once, and refused"
    (alert,) = onlooker.ledger.alerts([STUCK])
    assert alert.sentence == (
        "htc-1 does not come (Azure says: no route to /sched), and the scheduler gives it to jobs until its "
        "time-out for a boot is over; our account may not change that (Slurm does not change the nodes: "
        "Invalid user id), an administrator may: scontrol update NodeName=htc-1 State=POWER_DOWN_FORCE"
    )
    onlooker.restart()
    onlooker.says("htc-1", NodeStatus.OFF)
    await onlooker.step(2)
    assert onlooker.ledger.alerts([STUCK]) == []
