"""Promises about a job's whole way through Airflow: where it goes, what it leaves, and what is told of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import pytest

from hybrid_hpc.jobs import JobState
from tests.e2e.house import House, until, waits_at
from tests.e2e.scientist import Run

BOOT_S = 10.0  # long enough for the wait to begin while the node boots
ANSWER = "#!/bin/bash\nseq 1 300\necho 42 > answer.txt\necho the last line\n"
FAILS = "#!/bin/bash\necho step 1: residual 1e+01\necho the residual grows >&2\nexit 3\n"
ARRAY = 'echo "task $SLURM_ARRAY_TASK_ID" > part.$SLURM_ARRAY_TASK_ID'


@dataclass(frozen=True)
class Jobs:
    """Jobs on their way at the same time."""

    completes: Run
    fails: Run
    large: Run
    array: Run
    connections: dict[str, list[set[int]]]  # the triggerer's to each head node, look by look


@pytest.fixture(scope="module")
def jobs(house: House) -> Iterator[Jobs]:
    """All at once; the first three wait on premises together before the gate opens."""
    start = house.scientist.start
    terms = {"cluster": "onprem", "walltime": "10"}
    with house.closed_gate("onprem") as gate, house.misbehaving(boot_s=BOOT_S):
        large = start(name="large", script="#!/bin/bash\nhostname\n", tasks_per_node=96, walltime="10")
        completes = start(
            name="completes",
            script=waits_at(gate, ANSWER),
            cpus_per_task=4,
            outputs=["*.txt", "none.*"],
            **terms,
        )
        fails = start(name="fails", script=waits_at(gate, FAILS), **terms)
        array = start(name="array", script=waits_at(gate, ARRAY), array="0-3", outputs=["part.*"], **terms)
        for run in (completes, fails, array):
            house.until_state(run, "onprem.wait_for_completion", "deferred")
        connections = _watched_connections(house)
        house.open_gate("onprem", gate)
        house.ended(completes, fails, array, large)
    yield Jobs(completes, fails, large, array, connections)


def _watched_connections(house: House) -> dict[str, list[set[int]]]:
    looks: dict[str, list[set[int]]] = {"onprem": [], "azure": []}
    until(lambda: house.triggerer_connections("onprem"), "a poll of onprem")
    for _ in range(10):
        for cluster, seen in looks.items():
            seen.append(house.triggerer_connections(cluster))
        time.sleep(0.5)
    return looks


def test_a_job_that_completes_makes_its_run_succeed(house: House, jobs: Jobs) -> None:
    assert house.scientist.state(jobs.completes) == "success"
    assert house.scientist.state(jobs.array) == "success"
    row = house.job(jobs.completes)
    assert (row.outcome, row.exit_code, row.settled) == (JobState.COMPLETED, 0, True)


def test_the_decision_is_in_the_note_in_the_log_as_a_table_and_in_an_xcom(house: House, jobs: Jobs) -> None:
    decision = house.scientist.result(jobs.completes, "choose_cluster", "decision")
    log = house.scientist.told(jobs.completes, "choose_cluster")
    note = house.scientist.run(*jobs.completes)["note"]
    assert note == decision["sentence"]
    assert note.startswith("onprem (batch): starts")
    assert "at most USD" in log
    assert "azure" in log
    assert note in log
    assert decision["cluster"] == "onprem"
    assert {verdict["cluster"] for verdict in decision["verdicts"]} == {"onprem", "azure"}


def test_the_waits_tell_in_sentences_where_the_job_stands(house: House, jobs: Jobs) -> None:
    assert "onprem: running on node" in house.scientist.told(jobs.completes, "onprem.wait_in_queue")
    end = house.scientist.told(jobs.completes, "onprem.wait_for_completion")
    assert "onprem: running on node" in end
    assert "onprem: completed on node" in end


def test_collect_shows_the_end_of_the_output_the_files_and_what_it_used(house: House, jobs: Jobs) -> None:
    log = house.scientist.told(jobs.completes, "collect")
    assert "the last line" in log
    assert "brought back" in log
    assert "no file matches none.*" in log
    assert "core-hours" in log
    assert "USD" in log


def test_the_files_come_back_to_a_folder_of_the_job(house: House, jobs: Jobs) -> None:
    folder = house.stack.results / house.job(jobs.completes).token
    assert (folder / "answer.txt").read_text() == "42\n"
    assert house.scientist.result(jobs.completes, "collect")["files"] == [str(folder / "answer.txt")]
    parts = house.stack.results / house.job(jobs.array).token
    assert sorted(path.name for path in parts.iterdir()) == [f"part.{task}" for task in range(4)]


def test_the_ledger_has_the_usage_of_every_task(house: House, jobs: Jobs) -> None:
    [used] = house.ledger.usage_of(house.job(jobs.completes).token)
    assert (used.cores, used.cluster, used.state) == (4, "onprem", JobState.COMPLETED)
    assert used.core_h > 0
    assert used.cost_usd > 0
    assert len(house.ledger.usage_of(house.job(jobs.array).token)) == 4


def test_the_cluster_ran_exactly_one_job_of_each_token(house: House, jobs: Jobs) -> None:
    ends = {jobs.completes: "COMPLETED", jobs.fails: "FAILED", jobs.large: "COMPLETED"}
    for run, end in ends.items():
        row = house.job(run)
        assert house.accounting(row.cluster, row.token) == {row.native_id: end}


def test_the_job_is_the_scientists_own(house: House, jobs: Jobs) -> None:
    assert house.job(jobs.completes).submitted_by == "scientist"


def test_a_failed_job_fails_its_run_with_its_exit_code_and_its_last_lines(house: House, jobs: Jobs) -> None:
    assert house.scientist.state(jobs.fails) == "failed"
    log = house.scientist.told(jobs.fails, "collect")
    assert "failed with exit code 3" in log
    assert "The last lines of its output" in log
    assert "    the residual grows" in log
    assert house.scientist.tries(jobs.fails, "collect") == 1


def test_the_waits_of_a_failed_job_are_green(house: House, jobs: Jobs) -> None:
    states = house.scientist.states(jobs.fails)
    assert states["onprem.wait_in_queue"] == "success"
    assert states["onprem.wait_for_completion"] == "success"
    assert states["collect"] == "failed"


def test_a_job_too_large_for_the_nodes_on_premises_goes_to_azure(house: House, jobs: Jobs) -> None:
    assert house.scientist.state(jobs.large) == "success"
    note = house.scientist.run(*jobs.large)["note"]
    assert "azure (hpc)" in note
    assert "the only cluster that can give 96 cores on one node" in note
    assert "azure-hpc-" in house.scientist.told(jobs.large, "collect")


def test_while_its_node_is_made_the_log_says_that_it_boots(house: House, jobs: Jobs) -> None:
    log = house.scientist.told(jobs.large, "azure.wait_in_queue")
    assert "boot" in log, log


def test_its_node_was_asked_for_with_the_submission_and_once(house: House, jobs: Jobs) -> None:
    row = house.job(jobs.large)
    (asked,) = [each for each in house.ledger.scale_requests("azure") if row.native_id in each.for_jobs]
    tasks = {task["task_id"]: task for task in house.scientist.tasks(*jobs.large)}
    assert asked.asked_at < datetime.fromisoformat(tasks["azure.submit"]["end_date"])


def test_three_jobs_that_wait_on_one_cluster_cost_one_connection(house: House, jobs: Jobs) -> None:
    looks = jobs.connections["onprem"]
    assert [len(look) for look in looks] == [1] * len(looks)
    assert len(set.union(*looks)) == 1, "it was made anew in between"
    assert max(len(look) for look in jobs.connections["azure"]) <= 1


def test_the_nodes_go_when_they_idle_and_then_nobody_watches_any_more(house: House, jobs: Jobs) -> None:
    """The run that a submission to azure has started ends by itself when the last node is gone."""
    node = house.job(jobs.large).node_names[0]
    until(lambda: _nodes_runs(house) == {"success"}, "the end of hpc_nodes_azure")
    assert node not in house.cloud_nodes()
    assert "DOWN" in house.node_state("azure", node)


def test_the_usage_of_all_clusters_stands_side_by_side(house: House, jobs: Jobs) -> None:
    run = house.scientist.start("hpc_usage")
    assert house.ended(run) == ["success"]
    rows = house.scientist.result(run, "report")
    assert {"onprem", "azure"} <= {row["cluster"] for row in rows}
    told = house.scientist.told(run, "report")
    assert "core_h" in told
    assert "GAP" not in told
    collected = [task for task in house.scientist.tasks(*run) if task["task_id"] == "collect"]
    assert {task["rendered_map_index"] for task in collected} == {"onprem", "azure"}


def _nodes_runs(house: House) -> set[str]:
    return {run["state"] for run in house.scientist.runs("hpc_nodes_azure")}
