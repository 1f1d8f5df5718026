"""Which lost jobs are submitted anew, and as what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hybrid_hpc.clusters import Clusters, Policy, load_clusters
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
    told,
)


def site_with(**policy: int) -> Clusters:
    return load_clusters().model_copy(update={"policy": Policy(**policy)})


SITE = site_with(max_resubmissions=2)
PATIENT = site_with(max_resubmissions=9, spot_tries=2)


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
    assert may_go_again(intended(ledger), state, SITE) == (state in NODES_FAILED)


def test_without_the_requests_word_for_it_no_job_goes_again(ledger: Ledger) -> None:
    assert not may_go_again(intended(ledger, on_node_failure="fail"), JobState.NODE_FAIL, SITE)


def test_a_job_that_somebody_wished_away_does_not_go_again(ledger: Ledger) -> None:
    row = intended(ledger)
    ledger.request_cancel(row.token, by="ada", why="enough")
    known = ledger.job(row.token)
    assert known
    assert not may_go_again(known, JobState.NODE_FAIL, SITE)


def test_a_job_goes_again_as_often_as_the_site_allows_each_time_under_a_token_of_its_own(
    ledger: Ledger,
) -> None:
    row, rows = intended(ledger), []
    while may_go_again(row, JobState.NODE_FAIL, SITE):
        rows.append(row)
        row = ledger.intend(next_attempt(row, SITE))
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
    for _ in range(SITE.policy.max_resubmissions + 1):
        too_often.append(lost_too_often(row, JobState.NODE_FAIL, SITE))
        row = ledger.intend(next_attempt(row, SITE))
    assert too_often == [False, False, True]
    assert not lost_too_often(row, JobState.FAILED, SITE)
    ledger.request_cancel(row.token, by="ada", why="enough")
    known = ledger.job(row.token)
    assert known
    assert not lost_too_often(known, JobState.NODE_FAIL, SITE)


def test_two_who_resubmit_at_once_make_one_attempt(ledger: Ledger) -> None:
    row = intended(ledger)
    first, second = (ledger.intend(next_attempt(row, SITE)) for _ in range(2))
    assert first == second


def test_a_resubmission_that_was_cut_off_is_due_until_it_is_released_or_settled(ledger: Ledger) -> None:
    row = ledger.intend(next_attempt(intended(ledger), SITE))
    assert due(row, SITE)
    ledger.record_native_id(row.token, "7", row.intent_at)
    ledger.mark_released(row.token)
    released = ledger.job(row.token)
    assert released
    assert not due(released, SITE)
    ledger.settle(row.token, Outcome(JobState.COMPLETED, "completed", "accounting"))
    settled = ledger.job(row.token)
    assert settled
    assert not due(settled, SITE)


def test_a_first_attempt_that_is_not_released_yet_is_the_submit_tasks_own(ledger: Ledger) -> None:
    assert not due(intended(ledger), SITE)


def on_spot(ledger: Ledger, partition: str = "spot", **fields: Any) -> JobRow:
    asked = {"name": "lost", "script": "#!/bin/bash\ntrue\n", "spot": "allowed", **fields}
    job = Job(JobKey("dag", "run"), JobRequest.model_validate(asked), "azure", partition, "ada", "azure.0.0")
    return ledger.intend(job)


def lost_again_and_again(ledger: Ledger, row: JobRow, site: Clusters = PATIENT) -> list[JobRow]:
    """Every attempt of a job whose nodes fail each time, settled."""
    while True:
        ledger.record_native_id(row.token, str(row.generation + 1), row.intent_at)
        ledger.settle(row.token, Outcome(JobState.NODE_FAIL, "its node failed", "accounting"))
        if not may_go_again(row, JobState.NODE_FAIL, site):
            return ledger.attempts(row.key)
        row = ledger.intend(next_attempt(row, site))


def partitions(rows: list[JobRow]) -> list[str]:
    return [row.partition for row in rows]


def test_an_evicted_job_runs_on_spot_again_then_on_demand_without_another_word_in_its_request(
    ledger: Ledger,
) -> None:
    rows = lost_again_and_again(ledger, on_spot(ledger))
    assert partitions(rows) == ["spot", "spot", "htc"]  # and no further: on demand nobody evicts
    assert [row.outcome for row in rows] == [JobState.NODE_FAIL] * 3


@pytest.mark.parametrize(
    ("policy", "runs"),
    [
        ({"max_resubmissions": 0}, ["spot"]),
        ({"max_resubmissions": 1}, ["spot", "spot"]),
        ({"max_resubmissions": 9, "spot_tries": 1}, ["spot", "htc"]),
        ({"max_resubmissions": 9, "spot_tries": 4}, ["spot"] * 4 + ["htc"]),
        ({"max_resubmissions": 2, "spot_tries": 4}, ["spot"] * 3),
    ],
    ids=str,
)
def test_the_site_says_how_often_on_spot_and_how_often_at_all(
    ledger: Ledger, policy: dict[str, int], runs: list[str]
) -> None:
    assert partitions(lost_again_and_again(ledger, on_spot(ledger), site_with(**policy))) == runs


def test_on_demand_it_goes_on_as_its_request_says_of_nodes_that_fail(ledger: Ledger) -> None:
    asked = on_spot(ledger, on_node_failure="resubmit")
    rows = lost_again_and_again(ledger, asked, site_with(max_resubmissions=4))
    assert partitions(rows) == ["spot", "spot", "htc", "htc", "htc"]


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"cpus_per_task": 16}, "htc"),
        ({"memory_per_node": "64G"}, "hpc"),
        ({"gpus_per_node": 1}, "gpu"),
        ({"cpus_per_task": 121}, "spot"),
        ({"max_cost_usd": 0.01}, "spot"),
    ],
)
def test_on_demand_is_the_cheapest_partition_that_holds_it_and_without_one_it_stays_on_spot(
    ledger: Ledger, fields: dict[str, Any], where: str
) -> None:
    second = ledger.intend(next_attempt(on_spot(ledger, **fields), PATIENT))
    assert second.partition == "spot"
    assert next_attempt(second, PATIENT).partition == where
    assert next_attempt(second, PATIENT) == next_attempt(second, PATIENT)


def test_only_an_attempt_on_spot_nodes_is_submitted_as_one_that_may_be_evicted(ledger: Ledger) -> None:
    first = on_spot(ledger)
    second = next_attempt(first, PATIENT)
    third = next_attempt(ledger.intend(second), PATIENT)
    assert (second.evictable, third.evictable) == (True, False)


@pytest.mark.parametrize(
    ("partition", "fields"),
    [("htc", {}), ("spot", {"spot": "never"}), ("spot", {"array": "0-3", "rerunnable": True})],
    ids=["on nodes that stay", "a partition that became spot since", "an array"],
)
def test_who_was_not_evicted_from_spot_goes_again_only_if_its_request_says_so(
    ledger: Ledger, partition: str, fields: dict[str, Any]
) -> None:
    row = on_spot(ledger, partition, **fields)
    assert not may_go_again(row, JobState.NODE_FAIL, PATIENT)
    assert next_attempt(row, PATIENT).partition == partition


def test_the_log_says_where_an_evicted_job_went_each_time(ledger: Ledger) -> None:
    rows = lost_again_and_again(ledger, on_spot(ledger))
    said = [told(rows[:number], PATIENT) for number in (2, 3)]
    assert said == [
        "its spot node was evicted; sent again on spot (try 2 of 2), as job 2",
        "its spot node was evicted; sent again on demand in partition htc, as job 3",
    ]


def test_the_log_tells_nodes_that_never_came_and_a_job_for_which_there_is_nothing_but_spot(
    ledger: Ledger,
) -> None:
    rows = lost_again_and_again(ledger, on_spot(ledger, nodes=2, max_cost_usd=0.01), SITE)
    assert told(rows, SITE).startswith(
        "its spot nodes were evicted; sent again on spot, where alone it can run"
    )
    never_came = replace(rows[0], outcome=JobState.BOOT_FAIL)
    assert told([never_came, rows[1]], SITE).startswith(
        "its spot nodes did not come; sent again on spot (try 2 of 2)"
    )


def test_the_log_says_of_any_other_job_which_run_it_is(ledger: Ledger) -> None:
    first = intended(ledger)
    second = ledger.intend(next_attempt(first, SITE))
    ledger.record_native_id(second.token, "7", second.intent_at)
    said = told(ledger.attempts(first.key), SITE)
    assert said == "lost its nodes; sent anew as job 7, run 2 of at most 3"
