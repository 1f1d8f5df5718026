"""Promises about what Airflow exports with its own settings: a trace from trigger to result, and metrics."""

from __future__ import annotations

import pytest

from tests.chaos.airflow_world import AirflowWorld
from tests.e2e.house import until
from tests.e2e.scientist import Run
from tests.otlp import Received, attributes

STEPS = (
    *("worker.choose_cluster", "worker.onprem.submit", "worker.collect"),
    *("hpc.submit.look", "hpc.submit.send", "hpc.submit.release", "hpc.job.queued", "hpc.job.ran"),
)


@pytest.fixture(scope="module")
def run(world: AirflowWorld) -> Run:
    """One that has ended."""
    house = world.house
    run = house.scientist.start(name="traced", script="#!/bin/bash\ntrue\n", cluster="onprem", walltime="10")
    house.ended(run)
    return run


def test_one_trace_leads_from_the_trigger_to_the_result(run: Run, exported: Received) -> None:
    until(
        lambda: {span.name for span in exported.of_run(run.run_id)} >= {*STEPS, "dag_run.hpc_job"},
        "its trace",
    )
    spans = exported.of_run(run.run_id)
    assert len({span.trace_id for span in spans}) == 1
    ours = [span for span in spans if span.name.startswith("hpc.")]
    parents = {span.span_id for span in spans}
    assert all(span.parent_span_id in parents for span in ours)
    assert {attributes(span.attributes)["cluster"] for span in ours if span.name.startswith("hpc.job.")} == {
        "onprem"
    }


def test_the_metrics_of_all_processes_arrive(run: Run, exported: Received) -> None:
    """Those of a task, which lives for seconds, and of the triggerer."""
    names = ("hybrid_hpc.job.queue_time", "hybrid_hpc.job.submit_time", "hybrid_hpc.polls")

    def missing() -> list[str]:
        return [name for name in names if {"cluster": "onprem"}.items() - _joined(exported.points(name))]

    until(lambda: not missing(), "metrics of a task and of the triggerer")


def test_no_script_and_no_command_line_is_in_a_trace(run: Run, exported: Received) -> None:
    told = [str(attributes(span.attributes)) for span in exported.of_run(run.run_id)]
    assert not [text for text in told if "bin/bash" in text or "sbatch" in text]


def _joined(points: list[dict[str, str]]) -> set[tuple[str, str]]:
    return {pair for point in points for pair in point.items()}
