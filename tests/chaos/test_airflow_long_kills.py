"""Promises about Airflow's deaths that take long to show, or many jobs: for `make chaos`."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime

import psutil  # type: ignore[import-untyped]
import pytest

from hybrid_hpc.ledger import JobRow
from tests.chaos.airflow_world import CLUSTER, SCRIPT, SUBMIT, AirflowWorld
from tests.crash_points import POINTS
from tests.e2e.house import House, until, waits_at
from tests.e2e.scientist import Run

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(3600)]

SUBMISSIONS = 200
AT_ONCE = 40
LOST_S = 900.0  # Airflow itself misses a lost worker after 300 s
AWAY_S = 300.0


@pytest.fixture(scope="module")
def world(house: House) -> AirflowWorld:
    return AirflowWorld(house)


@pytest.fixture(scope="module")
def unmissed(world: AirflowWorld) -> dict[str, Run]:
    """Runs whose worker ended while sbatch ran, and nobody was left to tell Airflow."""
    runs = {"scheduler": world.start("scheduler in flight")}
    with world.in_flight(runs["scheduler"]):
        world.kill_at_once("scheduler")
    world.until_all_live(datetime.now(UTC))
    runs["machine"] = world.start("machine in flight")
    with world.in_flight(runs["machine"]):
        pid = until(lambda: world.task_pid(runs["machine"], SUBMIT), "the worker")
        for each in (psutil.Process(pid).ppid(), pid):
            os.kill(each, signal.SIGKILL)
    return runs


@pytest.mark.parametrize("what", ["scheduler", "machine"])
def test_a_worker_that_ends_with_all_who_look_after_it_costs_only_time(
    world: AirflowWorld, unmissed: dict[str, Run], what: str
) -> None:
    """With the scheduler that runs it, or with its machine: Airflow itself misses it after minutes."""
    _check_later(world, unmissed[what])


def _check_later(world: AirflowWorld, run: Run) -> None:
    until(lambda: world.house.scientist.has_ended(run), f"the end of {run}", deadline_s=LOST_S)
    world.check_ran_once(run)


def test_five_minutes_without_the_databases_cost_no_job(world: AirflowWorld) -> None:
    """The one that ran has ended, the one that waited has run, and one was being submitted."""
    house = world.house
    with house.closed_gate(CLUSTER) as gate, ExitStack() as away:
        ran = world.start("runs long", script=waits_at(gate, SCRIPT.partition("\n")[2]), walltime="30")
        house.until_running(ran)
        waited = world.start("waits long", nodes=4, tasks_per_node=16)
        house.until_told(waited, f"{CLUSTER}.wait_in_queue", "pending")
        submitted = world.start("submits long")
        with world.in_flight(submitted):
            away.enter_context(world.lost_postgres())  # the answer of sbatch finds no ledger
        house.open_gate(CLUSTER, gate)
        time.sleep(AWAY_S)
    for run in (ran, waited, submitted):
        _check_later(world, run)


def test_two_hundred_submissions_with_a_death_each_run_two_hundred_times(
    world: AirflowWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(20)  # noqa: S311  the same deaths each time
    points = [chance.choice(POINTS) for _ in range(SUBMISSIONS)]
    began_s, runs = time.monotonic(), list[Run]()
    for point in points:
        _until_few(world, runs)
        runs.append(world.start("one of many", point))
    rows = [_row_in_the_end(world, run) for run in runs]
    world.house.reconcile()
    ends = [world.house.accounting(CLUSTER, row.token) for row in rows]
    ran = [(world.run_dir(run) / "ran.txt").read_text().split() for run in runs]
    queue = world.queue()
    doubles = sum(len(ids) > 1 for ids in ran) + sum(len(end) > 1 for end in ends)
    lost = sum(not ids for ids in ran)
    left = sum(row.token in queue for row in rows)
    told = f"{sum(map(len, ran))} executions, {doubles} doubles, {lost} lost, {left} left behind"
    with capsys.disabled():
        print(f"\n{len(runs)} submissions killed in {time.monotonic() - began_s:.0f} s: {told}")  # noqa: T201
        print(f"deaths: {dict(sorted(Counter(points).items()))}")  # noqa: T201
    assert (sum(map(len, ran)), doubles, lost, left) == (SUBMISSIONS, 0, 0, 0)
    assert all(list(end.values()) == ["COMPLETED"] for end in ends)
    assert all(world.has_died(run, point) for run, point in zip(runs, points, strict=True))


def _until_few(world: AirflowWorld, runs: list[Run]) -> None:
    until(
        lambda: sum(not world.house.scientist.has_ended(run) for run in runs[-2 * AT_ONCE :]) < AT_ONCE,
        "some runs to end",
        deadline_s=LOST_S,
    )


def _row_in_the_end(world: AirflowWorld, run: Run) -> JobRow:
    until(lambda: world.house.scientist.has_ended(run), f"the end of {run}", deadline_s=LOST_S)
    assert world.house.scientist.state(run) == "success", world.house.seen(run)
    return world.house.job(run)
