"""Promises about a job that its cluster cannot run: it moves, ends or waits, as its request says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from hybrid_hpc.jobs import JobState
from tests.e2e.house import House, new_gate, until, waits_at
from tests.e2e.scientist import Run

# Small enough for both clusters; premises are cheaper, so it goes there first, closed or not.
SMALL = {"script": "#!/bin/bash\necho done\n", "cpus_per_task": 2, "walltime": "10"}


@dataclass(frozen=True)
class Blocked:
    """Jobs that were placed on premises and met a closed partition there."""

    moved: Run
    failed: Run
    waited: Run


@pytest.fixture(scope="module")
def blocked(house: House) -> Iterator[Blocked]:
    start = house.scientist.start
    with house.closed_partition("onprem", "batch"):
        runs = Blocked(
            start(name="moves", **SMALL),
            start(name="fails", on_blocked="fail", **SMALL),
            start(name="waits", cluster="onprem", **SMALL),
        )
        house.until_told(runs.waited, "onprem.wait_in_queue", "it waits on: it was given to this cluster")
        house.ended(runs.moved, runs.failed)
    house.ended(runs.waited)
    yield runs


def test_a_job_in_a_closed_partition_moves_to_the_other_cluster_and_succeeds_in_the_same_run(
    house: House, blocked: Blocked
) -> None:
    run = blocked.moved
    assert house.scientist.state(run) == "success", house.seen(run)
    states = house.scientist.states(run)
    assert states["onprem.wait_in_queue"] == "skipped"
    assert states["choose_again"] == "success"
    assert states["moved.azure.wait_for_completion"] == "success"
    assert states["moved.onprem.submit"] == "skipped", "it was chosen again, though the job had left it"


def test_both_lives_of_a_moved_job_are_in_the_ledger_and_it_ran_once(house: House, blocked: Blocked) -> None:
    row = house.job(blocked.moved)
    first, second = house.ledger.attempts(row.key)
    assert (first.cluster, first.left, first.outcome) == ("onprem", True, JobState.CANCELLED)
    assert (second.cluster, second.outcome) == ("azure", JobState.COMPLETED)
    assert first.token != second.token
    assert house.accounting("onprem", first.token) == {first.native_id: "CANCELLED"}
    assert house.accounting("azure", second.token) == {second.native_id: "COMPLETED"}


def test_the_scientist_reads_why_it_moved(house: House, blocked: Blocked) -> None:
    run = blocked.moved
    assert "its partition is closed at the moment" in house.scientist.told(run, "onprem.wait_in_queue")
    assert "onprem could not run it" in house.scientist.told(run, "choose_again")
    note = str(house.scientist.run(*run)["note"])
    assert note.startswith("Moved on from onprem, which could not run it (its partition is closed")


def test_a_job_whose_request_says_fail_ends_with_the_reason(house: House, blocked: Blocked) -> None:
    assert house.scientist.state(blocked.failed) == "failed"
    told = house.scientist.told(blocked.failed, "collect")
    assert "onprem could not run it (its partition is closed at the moment)" in told
    assert house.seen(blocked.failed).get("choose_again") is None, "skipped: nothing is to move"


def test_a_job_that_was_given_to_one_cluster_waits_there_until_it_can_run(
    house: House, blocked: Blocked
) -> None:
    assert house.scientist.state(blocked.waited) == "success"
    row = house.job(blocked.waited)
    assert house.accounting("onprem", row.token) == {row.native_id: "COMPLETED"}


@pytest.fixture(scope="module")
def short_of_quota(house: House) -> Iterator[Run]:
    """A job that went to Azure, since premises are full for hours, and met a quota there that is used up."""
    start, gate = house.scientist.start, new_gate()
    all_nodes = {"nodes": 4, "tasks_per_node": 16}
    full = start(name="fills", cluster="onprem", script=waits_at(gate), walltime="10:00:00", **all_nodes)
    house.until_running(full)
    until(lambda: not house.cloud_nodes(), "an Azure without nodes from before")
    run = start(name="quota", script=SMALL["script"], walltime="10", **all_nodes)
    house.until_state(run, "choose_cluster", "success")
    house.misbehave(quota_cores=0)
    house.until_state(run, "choose_again", "success")
    house.misbehave()
    house.open_gate("onprem", gate)
    house.ended(run, full)
    yield run


def test_a_job_that_azures_quota_keeps_waiting_moves_on_premises_in_the_same_run(
    house: House, short_of_quota: Run
) -> None:
    run, why = short_of_quota, "the Azure quota of the family of Standard_F16s_v2 is reached: 0 of 0 cores"
    assert house.scientist.state(run) == "success", house.seen(run)
    assert why in house.scientist.told(run, "azure.wait_in_queue")
    note = str(house.scientist.run(*run)["note"])
    assert note.startswith(f"Moved on from azure, which could not run it ({why}")
    first, second = house.ledger.attempts(house.job(run).key)
    assert (first.cluster, first.left, second.cluster) == ("azure", True, "onprem")
    assert house.accounting("azure", first.token) == {first.native_id: "CANCELLED"}
    assert house.accounting("onprem", second.token) == {second.native_id: "COMPLETED"}
    assert house.cloud_nodes() == []
