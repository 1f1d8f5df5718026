"""Which job may leave a cluster that cannot run it, and where it may not go again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.jobs import JobReport, JobState
from hybrid_hpc.ledger import JobRow
from hybrid_hpc.moving import left_before, why_it_stays
from tests.unit.reconcile_world import NOW, row

SITE = load_clusters()
ASKED = {"name": "wing", "script": "#!/bin/bash\ntrue\n"}
WAITS = JobReport("hh-1", "7", JobState.PENDING, tasks={JobState.PENDING: 1}, blocked="no capacity")


def asked(**fields: object) -> JobRow:
    return row(request_json={**ASKED, **fields})


@pytest.mark.parametrize(
    ("job", "moves_left", "why"),
    [
        (asked(), 1, ""),
        (asked(on_blocked="fail"), 0, ""),
        (asked(on_blocked="fail", cluster="onprem"), 1, ""),
        (asked(on_blocked="wait"), 1, "its request says so"),
        (asked(cluster="onprem"), 1, "it was given to this cluster"),
        (asked(), 0, "it has moved as often as the site allows"),
        (replace(asked(), started_at=NOW), 1, "a part of it has begun"),
        (asked(array="0-3"), 1, "a part of it has begun"),  # three of four tasks are in no queue any more
    ],
)
def test_a_blocked_job_leaves_or_says_why_it_stays(job: JobRow, moves_left: int, why: str) -> None:
    assert why_it_stays(job, WAITS, moves_left) == why


def test_a_job_that_runs_in_part_stays() -> None:
    tasks = {JobState.PENDING: 1, JobState.RUNNING: 1}
    assert why_it_stays(asked(array="0-1"), replace(WAITS, tasks=tasks), 1) == "a part of it has begun"
    whole = {JobState.PENDING: 2}
    assert why_it_stays(asked(array="0-1"), replace(WAITS, tasks=whole), 1) == ""
    with_nodes = {JobState.PENDING: 1, JobState.CONFIGURING: 1}
    assert why_it_stays(asked(array="0-1"), replace(WAITS, tasks=with_nodes), 1) == ""


def left(cluster: str, attempt: str, **values: Any) -> JobRow:
    gone: dict[str, Any] = {"leave_requested_at": NOW, "outcome": JobState.CANCELLED, "evidence": "withdrawn"}
    gone["leave_why"] = f"{cluster} is full"
    return row(cluster=cluster, attempt=attempt, **{**gone, **values})


def test_a_job_does_not_go_back_to_what_it_has_left_until_its_cluster_is_chosen_afresh() -> None:
    first, second = left("azure", "azure.0.0"), left("onprem", "onprem.0.0m1.0")
    assert left_before(second, [first, second], SITE) == {
        "azure": "azure is full",
        "onprem": "onprem is full",
    }
    afresh = left("onprem", "onprem.1.0")
    assert left_before(afresh, [first, second, afresh], SITE) == {"onprem": "onprem is full"}


@pytest.mark.parametrize("evidence", [None, "accounting", "never sent"])
def test_a_job_that_ended_otherwise_while_it_was_to_leave_has_not_left(evidence: str | None) -> None:
    assert not left("azure", "azure.0.0", evidence=evidence).left
