"""Promises about a centre whose parts die: each job runs once, none is lost, and the waits go on elsewhere.

What ran is what the cluster's own accounting says, and what the job itself wrote down.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import psutil  # type: ignore[import-untyped]
import pytest

from lab.shapes import CENTRE
from tests.centre.conftest import pid_of
from tests.chaos.airflow_world import CLUSTER, SCRIPT, SUBMIT, AirflowWorld
from tests.e2e.house import new_gate, until, waits_at
from tests.e2e.scientist import Run

WAIT = f"{CLUSTER}.wait_in_queue"


@dataclass(frozen=True)
class Jobs:
    """Jobs that met the deaths at different places of their way."""

    ran: list[Run]
    waited: list[Run]
    in_flight: Run  # its worker died while sbatch waited for its answer
    came_later: list[Run]

    @property
    def all(self) -> list[Run]:
        return [*self.ran, *self.waited, self.in_flight, *self.came_later]


def test_a_worker_a_triggerer_and_a_scheduler_that_die_at_once_lose_and_double_nothing(
    world: AirflowWorld,
) -> None:
    with jobs_under_way(world, 2) as (ran, waited):
        in_flight = world.start("in flight")
        with world.in_flight(in_flight):
            kill(world, worker_of(world, in_flight), watching_triggerer(world), "scheduler")
        later = [world.start("later") for _ in range(2)]
    check(world, Jobs(ran, waited, in_flight, later))


@pytest.mark.long
def test_twelve_jobs_outlive_every_part_of_a_centre_one_after_the_other(world: AirflowWorld) -> None:
    with jobs_under_way(world, 4) as (ran, waited):
        in_flight = world.start("in flight")
        with world.in_flight(in_flight):
            first = worker_of(world, in_flight)
            kill(world, first)
        later = list[Run]()
        for name in CENTRE.components:
            if name != first:
                kill(world, name)
                later += [world.start("later")] if len(later) < 3 else []
    check(world, Jobs(ran, waited, in_flight, later))


@contextmanager
def jobs_under_way(world: AirflowWorld, each: int) -> Iterator[tuple[list[Run], list[Run]]]:
    """Jobs that run until the end of the block, and as many that want all nodes and wait for them."""
    house, gate = world.house, new_gate()
    script = waits_at(gate, SCRIPT.partition("\n")[2])
    ran = [world.start("runs", script=script, walltime="30") for _ in range(each)]
    try:
        for run in ran:
            house.until_running(run)  # before any waits: Slurm starts no job that would make one wait longer
        waited = [world.start("waits", nodes=4, tasks_per_node=16) for _ in range(each)]
        for run in waited:
            house.until_told(run, WAIT, "pending")
        yield ran, waited
    finally:
        house.open_gate(CLUSTER, gate)


def check(world: AirflowWorld, jobs: Jobs) -> None:
    """Fails unless each ran once and is settled, and no wait was begun anew."""
    rows = [world.check_ran_once(run) for run in jobs.all]
    assert len({row.native_id for row in rows}) == len(jobs.all)
    scientist = world.house.scientist
    assert scientist.tries(jobs.in_flight, SUBMIT) > 1
    assert f"found as job {world.house.job(jobs.in_flight).native_id} of an earlier try" in scientist.told(
        jobs.in_flight, SUBMIT
    )
    assert {scientist.tries(run, WAIT) for run in jobs.waited} == {1}


def worker_of(world: AirflowWorld, run: Run) -> str:
    """The worker that submits the run's job now."""
    pid = until(lambda: world.task_pid(run, SUBMIT), f"the task of {run}")
    above = {process.pid for process in psutil.Process(pid).parents()}
    folder = world.house.stack.airflow.folder
    (name,) = [name for name in _of_kind("worker") if pid_of(folder, name) in above]
    return name


def watching_triggerer(world: AirflowWorld) -> str:
    """A triggerer that polls the cluster: some of the waits are its."""
    port = world.house.site(CLUSTER).ssh_port
    folder = world.house.stack.airflow.folder

    def watches(name: str) -> bool:
        links = [link for each in _family(pid_of(folder, name)) for link in each.net_connections("tcp")]
        return any(link.raddr and link.raddr.port == port for link in links)

    return until(lambda: next(filter(watches, _of_kind("triggerer")), None), "a triggerer that polls")


def kill(world: AirflowWorld, *names: str) -> None:
    """SIGKILL to each with all that it started, as if its machine were lost; waits for new ones."""
    airflow, since = world.house.stack.airflow, datetime.now(UTC)
    before = {name: pid_of(airflow.folder, name) for name in names}
    for process in [process for pid in before.values() for process in _family(pid)]:
        with suppress(psutil.NoSuchProcess):  # a task that has just ended
            process.kill()
    for name, pid in before.items():
        until(lambda name=name, pid=pid: pid_of(airflow.folder, name) not in {0, pid}, f"a new {name}")  # type: ignore[misc]
    airflow.wait(since=since)


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _of_kind(kind: str) -> list[str]:
    return [name for name, of in CENTRE.components.items() if of == kind]
