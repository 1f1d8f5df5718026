"""Promises to authors of pipelines: a job is a task group, in any DAG, as often as they want it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from hybrid_hpc.jobs import JobState
from tests.e2e.house import House
from tests.e2e.scientist import Run


@dataclass(frozen=True)
class Pipelines:
    """One run of each DAG of tests/e2e/dags, all ended."""

    pipeline: Run
    groups: Run
    sweep: Run
    choice: Run


@pytest.fixture(scope="module")
def ran(house: House) -> Iterator[Pipelines]:
    start = house.scientist.start
    runs = Pipelines(
        pipeline=start("authors_pipeline", word="hello"),
        groups=start("authors_groups"),
        sweep=start("authors_sweep"),
        choice=start("authors_choice"),
    )
    house.ended(runs.pipeline, runs.groups, runs.sweep, runs.choice)
    yield runs


def test_a_job_in_a_pipeline_takes_what_came_before_and_gives_its_result_on(
    house: House, ran: Pipelines
) -> None:
    assert house.scientist.state(ran.pipeline) == "success", house.seen(ran.pipeline)
    assert house.scientist.result(ran.pipeline, "publish") == "completed: hello on 3 cores"


def test_templates_and_results_of_other_tasks_are_the_request(house: House, ran: Pipelines) -> None:
    request = house.job(ran.pipeline, "simulate").request
    assert (request.cpus_per_task, request.nodes, request.walltime_s) == (3, 1, 600)


def test_groups_of_one_name_in_different_groups_are_different_jobs(house: House, ran: Pipelines) -> None:
    assert house.scientist.state(ran.groups) == "success", house.seen(ran.groups)
    left = house.job(ran.groups, "left.says")
    right = house.job(ran.groups, "right.says")
    assert left.token != right.token
    assert _said(house, left.token) == "left"
    assert _said(house, right.token) == "right"


def test_a_group_can_use_the_result_of_another_group(house: House, ran: Pipelines) -> None:
    left, after = house.job(ran.groups, "left.says"), house.job(ran.groups, "after")
    assert _said(house, after.token) == f"after {left.token}"


def test_a_mapped_group_is_one_job_for_each_value(house: House, ran: Pipelines) -> None:
    assert house.scientist.state(ran.sweep) == "success", house.seen(ran.sweep)
    rows = [house.job(ran.sweep, "sweep.melts", index) for index in range(2)]
    assert [row.outcome for row in rows] == [JobState.COMPLETED] * 2
    assert [_said(house, row.token) for row in rows] == ["1.5", "2.5"]


def test_a_group_that_a_branch_leaves_out_is_skipped(house: House, ran: Pipelines) -> None:
    assert house.scientist.state(ran.choice) == "success", house.seen(ran.choice)
    assert house.scientist.states(ran.choice)["only_if_wanted.collect"] == "skipped"
    assert house.ledger.latest_job(*ran.choice, "only_if_wanted") is None


def _said(house: House, token: str) -> str:
    return (house.stack.results / token / "said.txt").read_text().strip()
