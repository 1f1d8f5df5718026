"""Promises about the wait for a job for which no spot node can be had: it goes on, on demand, to the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from airflow.triggers.base import TaskSkippedEvent, TaskSuccessEvent

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.errors import SubmissionRefused, Unavailable
from hybrid_hpc.jobs import JobKey, JobReport, JobState
from hybrid_hpc.ledger import Job, JobRow, Ledger
from hybrid_hpc.outcome import Outcome
from hybrid_hpc.request import JobRequest
from hybrid_hpc.resubmission import interrupted, next_attempt
from hybrid_hpc.watch import Poll

PENDING, RUNNING, DONE = JobState.PENDING, JobState.RUNNING, JobState.COMPLETED
WHY = "Azure says: AllocationFailed"
SITE = load_clusters()
SITE = SITE.model_copy(update={"policy": SITE.policy.model_copy(update={"blocked_s": 0})})


class House:
    """A ledger with one job on spot nodes; a cluster that is only remembered."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.troubles: list[Exception] = []
        request = JobRequest(name="wing", script="true\n", spot="allowed", on_blocked="wait")
        self.submitted(Job(JobKey("dag", "run"), request, "azure", "spot", "ada", "azure.0.0"))

    @property
    def attempts(self) -> list[JobRow]:
        return self.ledger.attempts(JobKey("dag", "run"))

    def submitted(self, job: Job) -> JobRow:
        row = self.ledger.intend(job)
        self.ledger.record_native_id(row.token, str(row.generation + 1), row.intent_at)
        self.ledger.mark_released(row.token)
        return self.attempts[-1]

    async def leave(self, row: JobRow, why: str, **_: Any) -> JobRow | None:
        self.ledger.request_leave(row.token, why)
        self.ledger.settle(row.token, Outcome(JobState.CANCELLED, "unstarted", "withdrawn"))
        return self.ledger.job(row.token)

    async def go_again(self, row: JobRow, **_: Any) -> JobRow:
        if self.troubles:
            raise self.troubles.pop()
        if interrupted(row):
            return self.submitted(Job(row.key, row.request, row.cluster, row.partition, attempt=row.attempt))
        return self.submitted(next_attempt(row, SITE))

    async def polls(self, *seen: tuple[JobState, str]) -> AsyncIterator[Poll]:
        for state, blocked in seen:
            row = self.attempts[-1]
            report = JobReport(row.token, "7", state, tasks={state: 1}, blocked=blocked, stage=state)
            if row.settled:
                yield Poll("azure")
            else:
                self.ledger.observe([report])
                yield Poll("azure", {row.token: report})

    async def wait(self, phase: str, *seen: tuple[JobState, str]) -> list[type[object]]:
        """What the wait ends with."""
        from hybrid_hpc_airflow.triggers import JobTrigger  # noqa: PLC0415

        job: dict[str, Any] = {"dag_id": "dag", "run_id": "run", "group": "", "map_index": -1}
        trigger = JobTrigger(cluster="azure", phase=phase, wait_task_id="wait", **job)
        return [type(event) async for event in trigger.filter_shared_stream(self.polls(*seen))]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    from hybrid_hpc_airflow import connections, leaving, triggers  # noqa: PLC0415

    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    ledger.migrate()
    house = House(ledger)
    monkeypatch.setattr(connections, "open_ledger_async", AsyncMock(return_value=ledger))
    monkeypatch.setattr(connections, "open_site", AsyncMock())
    for module in (leaving, triggers):
        monkeypatch.setattr(module, "load_clusters", lambda: SITE)
    monkeypatch.setattr(leaving, "leave", house.leave)
    monkeypatch.setattr(triggers, "go_again", house.go_again)
    yield house
    ledger.close()


def partitions(house: House) -> list[str]:
    return [row.partition for row in house.attempts]


@pytest.mark.parametrize(("phase", "last"), [("start", RUNNING), ("end", DONE)])
async def test_a_job_without_spot_nodes_goes_on_demand_within_the_same_wait(
    house: House, phase: str, last: JobState, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await house.wait(phase, (PENDING, WHY), (PENDING, ""), (last, "")) == [TaskSuccessEvent]
    assert partitions(house) == ["spot", "htc"]
    told = capsys.readouterr().out
    assert f"no spot node can be had ({WHY}); sent on demand in partition htc, as job 2" in told
    assert "cannot run it" not in told


async def test_a_cluster_that_does_not_answer_delays_it(house: House) -> None:
    house.troubles = [Unavailable("no connection"), Unavailable("no connection")]
    seen = [(PENDING, WHY), (PENDING, WHY), (PENDING, WHY), (PENDING, ""), (RUNNING, "")]
    assert await house.wait("start", *seen) == [TaskSuccessEvent]
    assert partitions(house) == ["spot", "htc"]


async def test_a_triggerer_that_died_in_between_goes_on_with_it(house: House) -> None:
    await house.leave(house.attempts[0], WHY)
    assert await house.wait("start", (PENDING, ""), (RUNNING, "")) == [TaskSuccessEvent]
    assert partitions(house) == ["spot", "htc"]


async def test_a_triggerer_that_died_in_the_middle_of_the_submission_finishes_it(house: House) -> None:
    await house.leave(house.attempts[0], WHY)
    house.ledger.intend(next_attempt(house.attempts[0], SITE))
    assert await house.wait("start", (PENDING, ""), (RUNNING, "")) == [TaskSuccessEvent]
    assert partitions(house) == ["spot", "htc"]
    assert all(row.released_at for row in house.attempts)


async def test_on_demand_it_is_blocked_like_any_other_and_waits_as_its_request_says(house: House) -> None:
    seen = [(PENDING, WHY), (PENDING, WHY), (PENDING, WHY), (RUNNING, "")]
    assert await house.wait("start", *seen) == [TaskSuccessEvent]
    assert partitions(house) == ["spot", "htc"]


async def test_where_the_cluster_does_not_take_it_on_demand_the_wait_ends(house: House) -> None:
    house.troubles = [SubmissionRefused("a limit is reached")]
    assert await house.wait("start", (PENDING, WHY)) == [TaskSkippedEvent]
