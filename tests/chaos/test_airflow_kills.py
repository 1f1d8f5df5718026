"""Promises about parts of Airflow that die: each job runs once, none is lost, none is cancelled by it.

What ran is what the cluster's own accounting says, and what the job itself wrote down.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import psutil  # type: ignore[import-untyped]
import pytest

from hybrid_hpc.jobs import JobState
from tests.chaos.airflow_world import CLUSTER, IN_DOUBT, PARTS, SCRIPT, SUBMIT, AirflowWorld
from tests.crash_points import POINTS
from tests.e2e.house import House, until, waits_at
from tests.e2e.scientist import Run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

CANCEL_S = 60.0


@pytest.fixture(scope="module")
def world(house: House) -> AirflowWorld:
    return AirflowWorld(house)


@dataclass(frozen=True)
class Killed:
    """Runs whose worker was killed or told to end in its submission, or whose user gave up then."""

    at: dict[str, Run]  # killed at a crash point
    in_flight: dict[str, Run]  # ended, by what was done, while sbatch waited for its answer
    in_doubt: dict[str, Run]  # the same while a retry waited, not knowing what had become of sbatch
    held: Run  # failed by its user when its job was recorded and not yet released


@pytest.fixture(scope="module")
def killed(world: AirflowWorld) -> Killed:
    """All at about the same time; each test waits for its own run to end."""
    held = world.start("fail while held", "after_record")
    in_doubt = {what: world.start(f"{what} in doubt", IN_DOUBT) for what in ("term", "fail")}
    at = {IN_DOUBT: world.start(IN_DOUBT, IN_DOUBT)}
    until(lambda: world.has_died(held, "after_record"), "the end of its worker")
    world.house.scientist.fail(*held)
    for what, run in in_doubt.items():
        world.house.until_told(run, SUBMIT, "an earlier try may still arrive")
        _end(world, run, what)
    at |= {point: world.start(point, point) for point in POINTS if point != IN_DOUBT}
    in_flight = {what: _in_flight(world, what) for what in ("kill", "term", "fail")}
    in_flight["lose the answer"] = _in_flight(world, "lose the answer")  # for 10 s nobody else gets one
    return Killed(at, in_flight, in_doubt, held)


def _script(gate: str) -> str:
    return waits_at(gate, SCRIPT.partition("\n")[2])


def _in_flight(world: AirflowWorld, what: str) -> Run:
    run = world.start(f"{what} in flight")
    with world.in_flight(run):
        _end(world, run, what)
    return run


def _end(world: AirflowWorld, run: Run, how: str) -> None:
    pid = until(lambda: world.task_pid(run, SUBMIT), f"the worker of {run}")
    if how == "fail":
        world.house.scientist.fail(*run)
    elif how == "lose the answer":
        world.house.until_told(run, SUBMIT, "is not known")
    else:
        os.kill(pid, {"kill": signal.SIGKILL, "term": signal.SIGTERM}[how])
    until(lambda: not psutil.pid_exists(pid), f"the end of the worker of {run}")


@pytest.mark.parametrize("point", [point for point in POINTS if point != IN_DOUBT])
def test_a_worker_killed_in_submit_costs_nothing(world: AirflowWorld, killed: Killed, point: str) -> None:
    run = killed.at[point]
    world.check_ran_once(run)
    assert world.has_died(run, point)
    assert world.house.scientist.tries(run, SUBMIT) > 1


@pytest.mark.parametrize("how", ["kill", "term", "lose the answer"])
def test_a_job_that_arrives_when_its_worker_has_gone_is_found(
    world: AirflowWorld, killed: Killed, how: str
) -> None:
    """Killed, ended by a deploy, or told by sbatch itself that Slurm does not answer."""
    run = killed.in_flight[how]
    row = world.check_ran_once(run)
    assert f"found as job {row.native_id} of an earlier try" in world.house.scientist.told(run, SUBMIT)


def test_a_run_that_is_failed_during_its_submission_leaves_no_job(
    world: AirflowWorld, killed: Killed
) -> None:
    """Whether its job is held on the cluster already, or arrives there when nobody waits for it."""
    world.house.reconcile()
    for run in (killed.held, killed.in_flight["fail"]):
        world.check_nothing_is_left(run)


@dataclass(frozen=True)
class Outage:
    """What a part's death left: the states in the queue of what ran and of what waited there."""

    ran: str
    waited: str


@dataclass(frozen=True)
class Survivors:
    """A job that ran and one that waited while one part after the other was killed."""

    ran: Run
    waited: Run
    after: dict[str, Outage]  # by the part that was killed


@pytest.fixture(scope="module")
def survivors(world: AirflowWorld, killed: Killed) -> Survivors:
    house = world.house
    with house.closed_gate(CLUSTER) as gate:
        ran = world.start("runs", script=_script(gate), walltime="30")
        house.until_running(ran)
        waited = world.start("waits", nodes=4, tasks_per_node=16)
        house.until_told(waited, f"{CLUSTER}.wait_in_queue", "pending")
        survivors = Survivors(ran, waited, {})
        for part in PARTS:
            if part == "scheduler":  # its end is that of every worker: not yet while some wait in doubt
                _until_sure(world, killed)
            world.kill(part)
            survivors.after[part] = _outage(world, survivors)
        with world.lost_postgres():
            house.open_gate(CLUSTER, gate)
    return survivors


def _outage(world: AirflowWorld, survivors: Survivors) -> Outage:
    queue, house = world.queue(), world.house
    states = {run: queue.get(house.job(run).token, "gone") for run in (survivors.ran, survivors.waited)}
    return Outage(states[survivors.ran], states[survivors.waited])


def _until_sure(world: AirflowWorld, killed: Killed) -> None:
    """Until nothing that was sent before a worker's death can arrive any more, and its retry is over."""
    for run in (killed.at[IN_DOUBT], killed.in_doubt["term"]):
        world.house.until_state(run, SUBMIT, "success")


@pytest.mark.parametrize("part", PARTS)
def test_a_killed_part_of_airflow_changes_nothing_on_the_cluster(survivors: Survivors, part: str) -> None:
    assert survivors.after[part].ran == "RUNNING"
    assert survivors.after[part].waited.startswith("PENDING")
    assert "Held" not in survivors.after[part].waited


@pytest.mark.parametrize("which", ["ran", "waited"])
def test_jobs_outlive_every_part_of_airflow_and_its_database(
    world: AirflowWorld, survivors: Survivors, which: str
) -> None:
    """The one that ran has ended, and the one that waited has started, while PostgreSQL was away."""
    run: Run = getattr(survivors, which)
    world.check_ran_once(run)
    assert world.house.scientist.tries(run, SUBMIT) == 1


def test_a_worker_that_dies_before_it_says_whether_it_sent_costs_only_the_wait(
    world: AirflowWorld, killed: Killed
) -> None:
    run = killed.at[IN_DOUBT]
    world.check_ran_once(run)
    assert world.has_died(run, IN_DOUBT)


def test_a_deploy_during_the_wait_of_a_retry_costs_only_another_try(
    world: AirflowWorld, killed: Killed
) -> None:
    run = killed.in_doubt["term"]
    world.check_ran_once(run)
    assert world.house.scientist.tries(run, SUBMIT) > 2


def test_a_run_that_is_failed_while_its_retry_waits_is_never_sent(
    world: AirflowWorld, killed: Killed
) -> None:
    run = killed.in_doubt["fail"]
    sure_at = world.house.job(run).ambiguous_until
    until(lambda: sure_at is None or datetime.now(UTC) > sure_at, "the end of the doubt")
    world.house.reconcile()
    world.check_nothing_is_left(run)
    assert world.house.accounting(CLUSTER, world.house.job(run).token) == {}


@pytest.fixture(scope="module")
def behind_the_door(world: AirflowWorld, survivors: Survivors) -> Iterator[dict[str, Run]]:
    """A running and a waiting job, whose runs were failed while the head node's sshd was away."""
    house = world.house
    with house.closed_gate(CLUSTER) as gate:
        ran = world.start("door runs", script=_script(gate), walltime="30")
        house.until_running(ran)
        waited = world.start("door waits", nodes=4, tasks_per_node=16)
        house.until_told(waited, f"{CLUSTER}.wait_in_queue", "pending")
        with house.closed_door(CLUSTER):
            for run in (ran, waited):
                house.scientist.fail(*run)
            for run in (ran, waited):
                until(lambda run=run: house.job(run).cancel_wished, f"the wish to cancel {run}")  # type: ignore[misc]
        house.scientist.start("hpc_reconcile")
        yield {"ran": ran, "waited": waited}


def test_a_wish_to_cancel_reaches_a_cluster_that_did_not_answer_when_it_does(
    world: AirflowWorld, behind_the_door: dict[str, Run]
) -> None:
    rows = {which: world.house.job(run) for which, run in behind_the_door.items()}
    for row in rows.values():
        until(lambda row=row: row.token not in world.queue(), f"the end of {row}", deadline_s=CANCEL_S)  # type: ignore[misc]
        assert world.house.accounting(CLUSTER, row.token) == {row.native_id: "CANCELLED"}
    for row in rows.values():
        assert world.house.settled(row.token).outcome is JobState.CANCELLED
