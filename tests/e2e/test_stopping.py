"""Promises about stopping: who ends a run, however they do it, ends its job on the cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import JobRow
from tests.e2e.house import House, until, waits_at
from tests.e2e.scientist import Run

CANCEL_S = 60.0


@dataclass(frozen=True)
class Stopped:
    """A run whose job ran (or waited) when it was stopped, and the job's row of that time."""

    run: Run
    row: JobRow


@pytest.fixture(scope="module")
def stopped(house: House) -> Iterator[dict[str, Stopped]]:
    """Jobs that are stopped at the same time, each in another way."""
    ways = ("fail the run", "fail the task", "clear", "delete")
    with house.closed_gate("onprem") as gate:
        runs = {way: _start(house, gate) for way in ways}
        before = {way: Stopped(run, house.until_running(run)) for way, run in runs.items()}
        for run in runs.values():  # until then nobody waits, and its job would be cancelled in another way
            house.until_told(run, "onprem.wait_for_completion", "running on")
        before["delete a waiting one"] = _waiting(house, gate)
        api = house.scientist
        api.fail(*before["fail the run"].run)
        api.fail_task(before["fail the task"].run, "onprem.wait_for_completion")
        api.clear(before["clear"].run)
        for way in ("delete", "delete a waiting one"):
            api.fail(*before[way].run)
            api.delete(before[way].run)
        for each in before.values():
            until(lambda each=each: _is_cancelled(house, each.row), f"the end of {each}", deadline_s=CANCEL_S)  # type: ignore[misc]
    yield before


def _start(house: House, gate: str, **fields: object) -> Run:
    script = waits_at(gate)
    return house.scientist.start(name="stops", script=script, cluster="onprem", walltime="10", **fields)


def _waiting(house: House, gate: str) -> Stopped:
    """A job that cannot start: it needs all nodes, and others run on them."""
    run = _start(house, gate, nodes=4, tasks_per_node=16)
    house.until_told(run, "onprem.wait_in_queue", "pending")
    return Stopped(run, house.job(run))


def _is_cancelled(house: House, row: JobRow) -> bool:
    return list(house.accounting(row.cluster, row.token).values()) == ["CANCELLED"]


def test_failing_a_run_cancels_its_job_and_the_ledger_settles(
    house: House, stopped: dict[str, Stopped]
) -> None:
    row = house.settled(stopped["fail the run"].row.token)
    assert (row.outcome, row.cancel_requested_by) == (JobState.CANCELLED, "a user")


def test_clearing_a_run_cancels_its_job_and_runs_another_one(
    house: House, stopped: dict[str, Stopped]
) -> None:
    run, old = stopped["clear"].run, stopped["clear"].row
    assert house.ended(run) == ["success"], house.seen(run)
    new = house.job(run)
    assert new.token != old.token
    assert house.accounting("onprem", new.token) == {new.native_id: "COMPLETED"}
    assert house.accounting("onprem", old.token) == {old.native_id: "CANCELLED"}
    assert house.settled(old.token).outcome is JobState.CANCELLED


@pytest.mark.parametrize("way", ["delete", "delete a waiting one"])
def test_the_job_of_a_deleted_run_is_cancelled_and_settled(
    house: House, stopped: dict[str, Stopped], way: str
) -> None:
    assert house.settled(stopped[way].row.token).outcome is JobState.CANCELLED


def test_what_a_run_did_before_it_was_cleared_is_not_the_result_of_the_run_after(house: House) -> None:
    """The second time nobody chooses a cluster, so there is no job whose result could be told."""
    run = house.scientist.start(name="once", script="#!/bin/bash\ntrue\n", cluster="onprem", walltime="10")
    assert house.ended(run) == ["success"]
    house.scientist.clear(run)
    house.scientist.fail_task(run, "choose_cluster")
    assert house.ended(run) == ["failed"], house.seen(run)
    assert "no job was submitted" in house.scientist.told(run, "collect")
    assert len(house.accounting("onprem", house.job(run).token)) == 1


def test_failing_the_wait_fails_the_run_which_tells_that_the_job_was_cancelled(
    house: House, stopped: dict[str, Stopped]
) -> None:
    run, token = stopped["fail the task"].run, stopped["fail the task"].row.token
    assert house.ended(run) == ["failed"]
    row = house.ledger.job(token)
    assert row
    assert row.outcome is JobState.CANCELLED
    assert f"cancelled by {row.cancel_requested_by}" in house.scientist.told(run, "collect")


def test_the_job_of_a_run_that_is_failed_between_two_of_its_tasks_is_cancelled_at_once(house: House) -> None:
    """No wait is on then, so nobody hears of it but the API server, through which it was failed."""
    with house.closed_gate("onprem") as gate:
        with house.closed_partition("onprem", "batch"):
            run = _start(house, gate)
            house.until_state(run, "onprem.wait_in_queue", "deferred")
            house.until_told(run, "onprem.wait_in_queue", "pending")
            with house.scheduler_stopped():
                house.open_partition("onprem", "batch")
                house.until_state(run, "onprem.wait_in_queue", "success")
                assert house.scientist.states(run)["onprem.wait_for_completion"] not in (
                    "deferred",
                    "success",
                )
                house.scientist.fail(*run)
        row = house.job(run)
        until(lambda: _is_cancelled(house, row), f"the end of {row}", deadline_s=CANCEL_S)
    started = [each for each in house.scientist.runs("hpc_reconcile") if "failed_run" in each["dag_run_id"]]
    assert started, "the tick that was due has found it, not the API server"
    assert house.settled(row.token).cancel_why == "its run was failed"
