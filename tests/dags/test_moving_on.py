"""Promises about the waits for a job that goes on elsewhere: what they end with, whatever fails meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from airflow.triggers.base import TaskSkippedEvent, TaskSuccessEvent

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.errors import Unavailable
from hybrid_hpc.jobs import JobKey, JobReport, JobState
from hybrid_hpc.ledger import Job, JobRow, Ledger
from hybrid_hpc.moving import left_before, why_it_left
from hybrid_hpc.outcome import Outcome
from hybrid_hpc.request import JobRequest
from hybrid_hpc.watch import Poll

SITE = load_clusters()
LOST = Outcome(JobState.NODE_FAIL, "lost its node: the node failed, not the job", "accounting")
WITHDRAWN = Outcome(JobState.CANCELLED, "cancelled before it started", "withdrawn")


class House:
    """A ledger with one job in it, which a wait looks at; the cluster is where the test says."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.row: JobRow
        self.placed = True
        self.settle = AsyncMock(side_effect=self._settled)
        self.leave = AsyncMock(side_effect=self._left)

    def intended(self, attempt: str, **fields: Any) -> None:
        asked = {"name": "lost", "script": "true\n", "on_node_failure": "resubmit", **fields}
        key, request = JobKey("dag", "run"), JobRequest.model_validate(asked)
        self.row = self.ledger.intend(Job(key, request, "azure", "htc", "ada", attempt))
        self.ledger.record_native_id(self.row.token, "7", self.row.intent_at)
        self.ledger.mark_released(self.row.token)

    async def _settled(self, row: JobRow, **_: Any) -> None:
        self.ledger.settle(row.token, LOST)

    async def _left(self, row: JobRow, why: str, **_: Any) -> JobRow | None:
        self.ledger.request_leave(row.token, why)
        self.ledger.settle(row.token, WITHDRAWN)
        return self.ledger.job(row.token)

    def poll(self, state: JobState, blocked: str = "") -> Poll:
        seen = JobReport(self.row.token, "7", state, tasks={state: 1}, blocked=blocked, stage=state)
        self.ledger.observe([seen])
        return Poll("azure", {self.row.token: seen})

    async def wait(self, phase: str, *polls: Poll, moves_left: int = 1) -> type[object]:
        """What the wait ends with after these polls."""
        from hybrid_hpc_airflow.triggers import JobTrigger  # noqa: PLC0415

        job: dict[str, Any] = {"dag_id": "dag", "run_id": "run", "group": "", "map_index": -1}
        where = {"cluster": "azure", "wait_task_id": "wait"}
        trigger = JobTrigger(phase=phase, moves_left=moves_left, **where, **job)
        (event,) = [event async for event in trigger.filter_shared_stream(_each(polls))]
        return type(event)


async def _each(polls: tuple[Poll, ...]) -> AsyncIterator[Poll]:
    for poll in polls:
        yield poll


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    from hybrid_hpc_airflow import connections, leaving, triggers  # noqa: PLC0415

    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    ledger.migrate()
    house = House(ledger)

    async def decided(*_: object, **__: object) -> object:
        return SimpleNamespace(placed=house.placed, sentence="no cluster can take it")

    monkeypatch.setattr(connections, "open_ledger_async", AsyncMock(return_value=ledger))
    monkeypatch.setattr(connections, "open_site", AsyncMock())
    monkeypatch.setattr(leaving, "decide_elsewhere", decided)
    monkeypatch.setattr(leaving, "settle", house.settle)
    monkeypatch.setattr(leaving, "leave", house.leave)
    monkeypatch.setattr(triggers, "OPEN_AGAIN_S", 0.01)
    policy = load_clusters().policy.model_copy(update={"blocked_s": 0})
    site_file = load_clusters().model_copy(update={"policy": policy})
    monkeypatch.setattr(leaving, "load_clusters", lambda: site_file)
    yield house
    ledger.close()


async def test_a_job_that_lost_its_nodes_as_often_as_it_may_moves_on(house: House) -> None:
    house.intended("azure.0.0~2")
    assert await house.wait("end", house.poll(JobState.NODE_FAIL)) is TaskSkippedEvent
    row = house.ledger.job(house.row.token)
    assert row
    assert why_it_left(row, SITE) == f"its nodes were lost 3 times: {LOST.sentence}"
    assert left_before(row, [row], SITE) == {"azure": why_it_left(row, SITE)}


@pytest.mark.parametrize(
    ("request_fields", "moves_left", "placed"),
    [
        ({"on_blocked": "wait"}, 1, True),
        ({"on_blocked": "fail"}, 1, True),
        ({"on_node_failure": "fail"}, 1, True),
        ({"cluster": "azure"}, 1, True),
        ({}, 0, True),
        ({}, 1, False),
    ],
)
async def test_it_ends_where_it_is_when_its_request_or_the_site_says_so_or_no_other_cluster_can_take_it(
    house: House, request_fields: dict[str, str], moves_left: int, placed: bool
) -> None:
    house.intended("azure.0.0~2", **request_fields)
    house.placed = placed
    poll = house.poll(JobState.NODE_FAIL)
    assert await house.wait("end", poll, moves_left=moves_left) is TaskSuccessEvent


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED])
async def test_a_job_that_ended_by_itself_never_moves_on(house: House, state: JobState) -> None:
    house.intended("azure.0.0~2")
    assert await house.wait("end", house.poll(state)) is TaskSuccessEvent
    house.settle.assert_not_awaited()


async def test_while_nothing_says_how_it_ended_the_wait_goes_on_and_then_it_moves(house: House) -> None:
    house.intended("azure.0.0~2")
    house.settle.side_effect = [Unavailable("the accounting does not answer"), None]
    poll = house.poll(JobState.NODE_FAIL)
    assert await house.wait("end", poll) is TaskSuccessEvent, "settle did nothing: no evidence"
    assert house.settle.await_count == 2


async def test_a_triggerer_that_died_after_the_loss_was_seen_decides_the_same(house: House) -> None:
    house.intended("azure.0.0~2")
    house.poll(JobState.NODE_FAIL)
    assert await house.wait("end") is TaskSkippedEvent


@pytest.mark.parametrize("phase", ["start", "end"])
async def test_a_blocked_job_leaves_also_when_it_was_sent_anew_and_its_end_is_waited_for(
    house: House, phase: str
) -> None:
    house.intended("azure.0.0~1")
    blocked = house.poll(JobState.CONFIGURING, "the Azure quota of the region is reached")
    assert await house.wait(phase, blocked) is TaskSkippedEvent


async def test_a_job_that_is_half_gone_leaves_though_it_looks_as_if_it_had_ended(house: House) -> None:
    """The claim that keeps it from running stands, the cancel has not arrived, and its nodes have come."""
    house.intended("azure.0.0")

    async def half(row: JobRow, why: str, **_: Any) -> None:
        house.ledger.request_leave(row.token, why)
        house.leave.side_effect = house._left
        raise Unavailable("Slurm does not answer")

    house.leave.side_effect = half
    polls = [house.poll(JobState.PENDING, "no capacity"), house.poll(JobState.FAILED)]
    house.poll(JobState.PENDING)
    assert await house.wait("start", *polls) is TaskSkippedEvent
    row = house.ledger.job(house.row.token)
    assert row
    assert (row.left, row.leave_why) == (True, "no capacity")
