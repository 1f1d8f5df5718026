"""Promises about what nobody owns: hpc_reconcile finds it, ends it and tells it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hybrid_hpc.jobs import JobState
from tests.e2e.house import House, until, waits_at
from tests.e2e.scientist import Run


def test_a_new_installation_is_reconciled_at_once(house: House) -> None:
    def scheduled() -> bool:
        runs = house.scientist.runs("hpc_reconcile")
        return any(run["run_type"] == "scheduled" and run["state"] == "success" for run in runs)

    until(scheduled, "the first scheduled reconciliation")


@pytest.fixture
def gate(house: House) -> Iterator[str]:
    """Open in the end, whatever happens: what waits there would take a core from the tests that follow."""
    with house.closed_gate("onprem") as closed:
        yield closed


def test_the_job_of_a_deleted_run_is_ended_settled_and_told(house: House, gate: str) -> None:
    """Who deletes a run tells nobody but Airflow, and Airflow nobody at all."""
    run = house.scientist.start(name="forgotten", script=waits_at(gate), cluster="onprem", walltime="10")
    row = house.until_running(run)
    house.scientist.fail(*run)
    house.scientist.delete(run)
    settled = house.settled(row.token)
    assert (settled.outcome, settled.evidence) == (JobState.CANCELLED, "accounting")
    assert house.accounting("onprem", row.token) == {str(row.native_id): "CANCELLED"}
    saved = [finding for report in house.ledger.reconciliations(5) for finding in report.findings]
    assert row.token in {finding["token"] for finding in saved}
    told = _that_told_of(house, "forgotten")
    assert "its DAG run has ended or was" in house.scientist.told(told, "reconcile")
    counts = house.scientist.result(told, "reconcile")
    assert counts["cancel"] + counts["settle"] >= 1


def _that_told_of(house: House, name: str) -> Run:
    """The reconciliation whose log names the job: ours, or the one that is due every five minutes."""
    runs = [Run("hpc_reconcile", run["dag_run_id"]) for run in house.scientist.runs("hpc_reconcile")[:5]]
    return next(run for run in runs if name in house.scientist.told(run, "reconcile"))
