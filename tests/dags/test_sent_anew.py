"""Promises about the wait for a job that is sent anew: it lasts until the last of its attempts has ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from airflow.triggers.base import TaskSuccessEvent

from hybrid_hpc.clusters import Policy, load_clusters
from hybrid_hpc.errors import Unavailable
from hybrid_hpc.jobs import JobKey, JobReport, JobState
from hybrid_hpc.ledger import Job, JobRow, Ledger
from hybrid_hpc.outcome import Outcome
from hybrid_hpc.request import JobRequest
from hybrid_hpc.resubmission import interrupted, next_attempt
from hybrid_hpc.watch import Poll

RUNNING, LOST, DONE = JobState.RUNNING, JobState.NODE_FAIL, JobState.COMPLETED
SITE = load_clusters().model_copy(update={"policy": Policy(max_resubmissions=2, spot_tries=2)})


@dataclass
class House:
    """A ledger with one job on spot nodes; each poll finds its newest attempt as the test says."""

    ledger: Ledger
    troubles: list[Exception] = field(default_factory=list)
    polled: int = 0

    def submitted(self, job: Job) -> JobRow:
        row = self.ledger.intend(job)
        self.ledger.record_native_id(row.token, str(row.generation + 1), row.intent_at)
        self.ledger.mark_released(row.token)
        return self.attempts()[-1]

    def attempts(self) -> list[JobRow]:
        return self.ledger.attempts(JobKey("dag", "run"))

    async def go_again(self, row: JobRow, **_: Any) -> JobRow:
        """What `hybrid_hpc.resubmission.go_again` does, without a cluster."""
        if self.troubles:
            raise self.troubles.pop()
        if interrupted(row):
            return self.submitted(Job(row.key, row.request, row.cluster, row.partition, attempt=row.attempt))
        self.ledger.settle(row.token, Outcome(LOST, "its node failed", "accounting"))
        return self.submitted(next_attempt(row, SITE))

    async def polls(self, *states: JobState) -> AsyncIterator[Poll]:
        for state in states:
            self.polled += 1
            row = self.attempts()[-1]
            report = JobReport(row.token, row.native_id or "", state, tasks={state: 1}, stage=state)
            self.ledger.observe([report])
            yield Poll("azure", {row.token: report})

    async def wait(self, *states: JobState) -> list[type[object]]:
        """What the wait ends with; all polls are needed."""
        from hybrid_hpc_airflow.triggers import JobTrigger  # noqa: PLC0415

        job: dict[str, Any] = {"dag_id": "dag", "run_id": "run", "group": "", "map_index": -1}
        trigger = JobTrigger(cluster="azure", phase="end", wait_task_id="wait", **job)
        events = [event async for event in trigger.filter_shared_stream(self.polls(*states))]
        assert self.polled == len(states), "the wait ended too early"
        return [type(event) for event in events]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    from hybrid_hpc_airflow import connections, triggers  # noqa: PLC0415

    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    ledger.migrate()
    house = House(ledger)
    monkeypatch.setattr(connections, "open_ledger_async", AsyncMock(return_value=ledger))
    monkeypatch.setattr(connections, "open_site", AsyncMock())
    monkeypatch.setattr(triggers, "load_clusters", lambda: SITE)
    monkeypatch.setattr(triggers, "go_again", house.go_again)
    request = JobRequest(name="evicted", script="true\n", spot="allowed")
    house.submitted(Job(JobKey("dag", "run"), request, "azure", "spot", "ada", "azure.0.0"))
    yield house
    ledger.close()


async def test_the_wait_follows_an_evicted_job_over_all_its_attempts(house: House) -> None:
    ended = await house.wait(RUNNING, LOST, RUNNING, RUNNING, LOST, RUNNING, RUNNING, DONE)
    assert ended == [TaskSuccessEvent]
    assert [row.partition for row in house.attempts()] == ["spot", "spot", "htc"]


async def test_a_cluster_that_does_not_answer_delays_the_next_attempt_and_then_the_wait_goes_on(
    house: House,
) -> None:
    house.troubles = [Unavailable("the accounting does not answer"), Unavailable("no connection")]
    assert await house.wait(LOST, LOST, LOST, RUNNING, RUNNING, DONE) == [TaskSuccessEvent]
    assert len(house.attempts()) == 2


async def test_a_resubmission_that_was_cut_off_is_finished_and_waited_for(house: House) -> None:
    (first,) = house.attempts()
    house.ledger.settle(first.token, Outcome(LOST, "its node failed", "accounting"))
    house.ledger.intend(next_attempt(first, SITE))  # and here the triggerer died
    assert await house.wait(JobState.UNKNOWN, RUNNING, RUNNING, DONE) == [TaskSuccessEvent]
    assert all(row.released_at for row in house.attempts())
