"""A job for which no spot node can be had gets nodes of the same cluster that stay: when, and as what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hybrid_hpc.clusters import Policy, load_clusters
from hybrid_hpc.jobs import JobKey, JobReport, JobState
from hybrid_hpc.ledger import Job, JobRow, Ledger
from hybrid_hpc.ledger.rows import clears
from hybrid_hpc.moving import gives_up_spot, left_before, why_it_left
from hybrid_hpc.on_demand import gave_up_spot, instead_of_spot
from hybrid_hpc.outcome import Outcome
from hybrid_hpc.request import JobRequest
from hybrid_hpc.resubmission import (
    due,
    due_at_start,
    lost_too_often,
    may_go_again,
    next_attempt,
    resubmissions,
    told,
)

SITE = load_clusters().model_copy(update={"policy": Policy(max_resubmissions=2, spot_tries=2)})
AZURE = SITE.cluster("azure")
WITHDRAWN = Outcome(JobState.CANCELLED, "cancelled before it started", "withdrawn")
LOST = Outcome(JobState.NODE_FAIL, "its node failed", "accounting")
WHY = "Azure says: AllocationFailed"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    made.migrate()
    yield made
    made.close()


def waiting(ledger: Ledger, job: Job | None = None, **fields: Any) -> JobRow:
    """An attempt that was submitted and waits; the first one on spot nodes."""
    asked = {"name": "wing", "script": "true\n", "spot": "allowed", **fields}
    key, request = JobKey("dag", "run"), JobRequest.model_validate(asked)
    row = ledger.intend(job or Job(key, request, "azure", "spot", "ada", "azure.0.0"))
    ledger.record_native_id(row.token, str(row.generation + 1), row.intent_at)
    ledger.mark_released(row.token)
    return fresh(ledger, row)


def ended(ledger: Ledger, row: JobRow, outcome: Outcome) -> JobRow:
    if outcome is WITHDRAWN:
        ledger.request_leave(row.token, WHY)
    ledger.settle(row.token, outcome)
    return fresh(ledger, row)


def fresh(ledger: Ledger, row: JobRow) -> JobRow:
    found = ledger.job(row.token)
    assert found
    return found


def blocked(**tasks: int) -> JobReport:
    return JobReport("", "1", JobState.PENDING, tasks={JobState(state): n for state, n in tasks.items()})


@pytest.mark.parametrize("on_blocked", ["move", "wait", "fail"])
def test_on_demand_is_no_move_so_it_is_the_way_out_whatever_is_to_become_of_a_blocked_job(
    ledger: Ledger, on_blocked: str
) -> None:
    row = waiting(ledger, on_blocked=on_blocked, cluster="azure")
    assert gives_up_spot(row, blocked(pending=1), SITE)
    assert instead_of_spot(row, AZURE) == "htc"


@pytest.mark.parametrize(
    "fields",
    [{"spot": "never"}, {"max_cost_usd": 0.01}, {"cpus_per_task": 121}],
    ids=["a partition that became spot since", "too dear on demand", "too large for any other"],
)
def test_without_nodes_that_stay_for_it_it_is_blocked_like_any_other(
    ledger: Ledger, fields: dict[str, Any]
) -> None:
    row = waiting(ledger, **fields)
    assert not gives_up_spot(row, blocked(pending=1), SITE)
    gone = ended(ledger, row, WITHDRAWN)
    assert not due(gone, SITE)
    assert why_it_left(gone, SITE) == WHY


def test_a_job_on_nodes_that_stay_never_goes_on_demand(ledger: Ledger) -> None:
    row = waiting(ledger)
    on_demand = waiting(ledger, next_attempt(ended(ledger, row, WITHDRAWN), SITE))
    assert not gives_up_spot(on_demand, blocked(pending=1), SITE)


def test_an_array_of_which_a_task_has_begun_stays(ledger: Ledger) -> None:
    row = waiting(ledger, array="0-1", rerunnable=True)
    assert not gives_up_spot(row, blocked(pending=1, running=1), SITE)
    assert gives_up_spot(row, blocked(pending=2), SITE)


def test_it_is_sent_again_on_demand_and_counts_neither_as_lost_nor_as_gone_from_its_cluster(
    ledger: Ledger,
) -> None:
    first = ended(ledger, waiting(ledger), WITHDRAWN)
    assert due(first, SITE)
    assert due_at_start(first, SITE)
    second = waiting(ledger, next_attempt(first, SITE))
    assert (second.partition, second.attempt, resubmissions(second)) == ("htc", "azure.0.0d", 0)
    assert clears(second.attempt) == clears(first.attempt)
    assert not next_attempt(first, SITE).evictable
    assert (why_it_left(first, SITE), left_before(second, [first, second], SITE)) == ("", {})
    assert told([first, second], SITE) == (
        f"no spot node can be had ({WHY}); sent on demand in partition htc, as job 2"
    )


def test_on_demand_it_may_be_lost_as_often_as_any_other_job(ledger: Ledger) -> None:
    row = ended(ledger, waiting(ledger, on_node_failure="resubmit"), WITHDRAWN)
    attempts = [row.attempt]
    row = waiting(ledger, next_attempt(row, SITE))
    while may_go_again(row, JobState.NODE_FAIL, SITE):
        attempts.append(row.attempt)
        row = waiting(ledger, next_attempt(ended(ledger, row, LOST), SITE))
    assert [*attempts, row.attempt] == ["azure.0.0", "azure.0.0d", "azure.0.0d~1", "azure.0.0d~2"]
    assert lost_too_often(row, JobState.NODE_FAIL, SITE)
    assert why_it_left(ended(ledger, row, LOST), SITE) == "its nodes were lost 3 times: its node failed"


def test_an_evicted_job_for_which_there_is_no_spot_node_any_more_keeps_its_count_of_losses(
    ledger: Ledger,
) -> None:
    second = waiting(ledger, next_attempt(ended(ledger, waiting(ledger), LOST), SITE))
    assert (second.partition, second.attempt) == ("spot", "azure.0.0~1")
    third = waiting(ledger, next_attempt(ended(ledger, second, WITHDRAWN), SITE))
    assert (third.partition, third.attempt, resubmissions(third)) == ("htc", "azure.0.0d~1", 1)
    assert told(ledger.attempts(third.key), SITE).endswith("sent again on demand in partition htc, as job 3")


def test_a_submission_on_demand_that_was_cut_off_is_due_until_it_is_released(ledger: Ledger) -> None:
    first = ended(ledger, waiting(ledger), WITHDRAWN)
    second = ledger.intend(next_attempt(first, SITE))  # and here the triggerer died
    assert due_at_start(second, SITE)
    ledger.record_native_id(second.token, "2", second.intent_at)
    ledger.mark_released(second.token)
    assert not due_at_start(fresh(ledger, second), SITE)


def test_a_job_that_somebody_wished_away_meanwhile_is_not_sent_again(ledger: Ledger) -> None:
    row = waiting(ledger)
    ledger.request_leave(row.token, WHY)
    ledger.request_cancel(row.token, "ada", "enough")
    row = ended(ledger, row, WITHDRAWN)
    assert not gave_up_spot(row, SITE)
    assert not due(row, SITE)
