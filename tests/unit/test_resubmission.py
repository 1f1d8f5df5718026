"""Which lost jobs are submitted anew, and as what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.jobs import JobKey, JobState
from hybrid_hpc.ledger import Job, JobRow, Ledger
from hybrid_hpc.outcome import Outcome
from hybrid_hpc.request import JobRequest
from hybrid_hpc.resubmission import (
    NODES_FAILED,
    due,
    lost_too_often,
    may_go_again,
    next_attempt,
    resubmissions,
)

CLUSTER = load_clusters().cluster("onprem")
LIMIT = 2


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    made.migrate()
    yield made
    made.close()


def intended(ledger: Ledger, **fields: Any) -> JobRow:
    asked = {"name": "lost", "script": "#!/bin/bash\ntrue\n", "on_node_failure": "resubmit", **fields}
    job = Job(JobKey("dag", "run"), JobRequest.model_validate(asked), "onprem", "batch", "ada", "onprem.0.0")
    return ledger.intend(job)


@pytest.mark.parametrize("state", JobState)
def test_only_a_job_that_lost_its_nodes_goes_again(ledger: Ledger, state: JobState) -> None:
    assert may_go_again(intended(ledger), state, LIMIT) == (state in NODES_FAILED)


def test_without_the_requests_word_for_it_no_job_goes_again(ledger: Ledger) -> None:
    assert not may_go_again(intended(ledger, on_node_failure="fail"), JobState.NODE_FAIL, LIMIT)


def test_a_job_that_somebody_wished_away_does_not_go_again(ledger: Ledger) -> None:
    row = intended(ledger)
    ledger.request_cancel(row.token, by="ada", why="enough")
    known = ledger.job(row.token)
    assert known
    assert not may_go_again(known, JobState.NODE_FAIL, LIMIT)


def test_a_job_goes_again_as_often_as_the_site_allows_each_time_under_a_token_of_its_own(
    ledger: Ledger,
) -> None:
    row, rows = intended(ledger), []
    while may_go_again(row, JobState.NODE_FAIL, LIMIT):
        rows.append(row)
        row = ledger.intend(next_attempt(row, CLUSTER))
    rows.append(row)
    assert [each.attempt for each in rows] == ["onprem.0.0", "onprem.0.0~1", "onprem.0.0~2"]
    assert [resubmissions(each) for each in rows] == [0, 1, 2]
    assert len({each.token for each in rows}) == 3
    assert all(each.request == row.request for each in rows)


def test_a_job_has_lost_its_nodes_too_often_when_only_the_limit_keeps_it_from_going_again(
    ledger: Ledger,
) -> None:
    row = intended(ledger)
    too_often = []
    for _ in range(LIMIT + 1):
        too_often.append(lost_too_often(row, JobState.NODE_FAIL, LIMIT))
        row = ledger.intend(next_attempt(row, CLUSTER))
    assert too_often == [False, False, True]
    assert not lost_too_often(row, JobState.FAILED, LIMIT)
    ledger.request_cancel(row.token, by="ada", why="enough")
    known = ledger.job(row.token)
    assert known
    assert not lost_too_often(known, JobState.NODE_FAIL, LIMIT)


def test_two_who_resubmit_at_once_make_one_attempt(ledger: Ledger) -> None:
    row = intended(ledger)
    first, second = (ledger.intend(next_attempt(row, CLUSTER)) for _ in range(2))
    assert first == second


def test_a_resubmission_that_was_cut_off_is_due_until_it_is_released_or_settled(ledger: Ledger) -> None:
    row = ledger.intend(next_attempt(intended(ledger), CLUSTER))
    assert due(row, LIMIT)
    ledger.record_native_id(row.token, "7", row.intent_at)
    ledger.mark_released(row.token)
    released = ledger.job(row.token)
    assert released
    assert not due(released, LIMIT)
    ledger.settle(row.token, Outcome(JobState.COMPLETED, "completed", "accounting"))
    settled = ledger.job(row.token)
    assert settled
    assert not due(settled, LIMIT)


def test_a_first_attempt_that_is_not_released_yet_is_the_submit_tasks_own(ledger: Ledger) -> None:
    assert not due(intended(ledger), LIMIT)
