"""Evictions up to the limit, and no spot node at all: where the job goes, what is told, what is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from hybrid_hpc.clusters import Clusters
from hybrid_hpc.cyclecloud import Node
from hybrid_hpc.jobs import JobReport, JobState
from hybrid_hpc.ledger import JobRow, what_came
from hybrid_hpc.moving import gives_up_spot, leave, left_before, why_it_left
from hybrid_hpc.resubmission import lost_too_often, told
from hybrid_hpc.watch import Poll
from lab.lab import Lab
from tests.chaos.lab_world import known, layout_of
from tests.lab.empty_azure import empty_azure
from tests.lab.journey import PATIENCE_S, Journey, ended, started

pytestmark = pytest.mark.lab

# Runs until it is evicted, but to the end in the partition that it is told.
SCRIPT = '#!/bin/bash\ntouch here\n[ "$SLURM_JOB_PARTITION" = "$ENDS_IN" ] || sleep 600\nhostname\n'
both_ways = pytest.mark.parametrize("lab", ["cyclecloud", "scheduler"], indirect=True)


@pytest.fixture(autouse=True)
def _certain_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """That a node is gone is certain after a minute; here it is at once."""
    monkeypatch.setattr(what_came, "CERTAIN", timedelta(0))


@pytest.fixture
async def azure(lab: Lab, tmp_path: Path, faults: httpx.AsyncClient) -> AsyncIterator[Journey]:
    """The elastic cluster without a node, before and after."""
    async with empty_azure(lab, tmp_path, faults) as way:
        yield way


async def submit(azure: Journey, ends_in: str = "none", **fields: Any) -> JobRow:
    """A job that was placed on spot nodes, and takes a whole one."""
    environment = {"ENDS_IN": ends_in}
    return await azure.submit(
        "spot", SCRIPT, cpus_per_task=16, spot="allowed", environment=environment, **fields
    )


async def evicted(azure: Journey, row: JobRow, faults: httpx.AsyncClient) -> JobRow:
    """The job's row after its node was taken away under it."""
    names = await nodes_of_what_runs(azure, row)
    (await faults.post("/lab/faults", json={"evict": list(names)})).raise_for_status()
    await azure.until(row, ended, "the loss of the node")
    return azure.row(row)


async def nodes_of_what_runs(azure: Journey, row: JobRow) -> tuple[str, ...]:
    """The nodes of a job whose script has made its file ``here``.

    Slurm may take an evicted node for alive for some seconds more, and start a job there that comes again.
    """
    async with asyncio.timeout(PATIENCE_S):
        async for poll in azure.watch.polls():
            report = poll.reports.get(row.token)
            if report and started(poll, report) and await azure.site.head_node.find(row.run_dir, ["here"]):
                return report.node_names
    raise AssertionError("polls end only with the test")


async def lost_again_and_again(
    azure: Journey, row: JobRow, faults: httpx.AsyncClient, site: Clusters
) -> None:
    """Every run of the job is evicted, until it may not go again."""
    while again := await azure.go_again(await evicted(azure, row, faults), site):
        row = again


def attempts(azure: Journey, row: JobRow) -> list[JobRow]:
    return azure.ledger.attempts(row.key)


async def nodes(azure: Journey) -> list[Node]:
    """Those that are there or on their way."""
    assert azure.site.cloud
    return [node for node in await azure.site.cloud.nodes() if node.wanted]


async def test_an_evicted_job_runs_on_spot_again_then_on_demand_and_the_accounting_has_each_life(
    azure: Journey, faults: httpx.AsyncClient
) -> None:
    row = await submit(azure, ends_in="htc", rerunnable=True)
    site, said = azure.site_file(max_resubmissions=2, spot_tries=2), []
    for _ in range(site.policy.spot_tries):
        again = await azure.go_again(await evicted(azure, row, faults), site)
        assert again
        said.append(told(attempts(azure, again), site))
        row = again
    await azure.until(row, ended, "the end of the run on demand")
    collected = await azure.collect(row)
    assert collected.succeeded
    assert collected.tail.startswith("azure-htc-")
    assert [line.rpartition(",")[0] for line in said] == [
        "its spot node was evicted; sent again on spot (try 2 of 2)",
        "its spot node was evicted; sent again on demand in partition htc",
    ]
    lives = [azure.ledger.usage_of(each.token) for each in attempts(azure, row)]
    assert [[(life.partition, life.state) for life in each] for each in lives] == [
        [("spot", JobState.NODE_FAIL)],
        [("spot", JobState.NODE_FAIL)],
        [("htc", JobState.COMPLETED)],
    ]
    assert [(node.nodearray, node.status) for node in await nodes(azure)] == [("htc", "Ready")]


@dataclass(frozen=True)
class Limit:
    """A policy and a request, and the partitions in which every run of the job is evicted."""

    policy: dict[str, int]
    partitions: list[str]
    asked: dict[str, Any]
    why: str


LIMITS = {
    "spot alone is cheap enough": Limit(
        {"max_resubmissions": 1, "spot_tries": 2},
        ["spot", "spot"],
        {"max_cost_usd": 0.08},
        "its nodes were lost 2 times: lost its node on azure-spot-",
    ),
    "then on demand, and lost there": Limit(
        {"max_resubmissions": 1, "spot_tries": 1},
        ["spot", "htc"],
        {"on_node_failure": "resubmit"},
        "its nodes were lost 2 times: lost its node on azure-htc-",
    ),
}


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
async def test_a_job_that_is_evicted_as_often_as_the_site_allows_is_lost_there_told_so_and_leaves_no_node(
    lab: Lab, azure: Journey, faults: httpx.AsyncClient, limit: Limit
) -> None:
    site = azure.site_file(**limit.policy)
    first = await submit(azure, **limit.asked)
    await lost_again_and_again(azure, first, faults, site)
    rows = attempts(azure, first)
    assert [(row.partition, row.outcome) for row in rows] == [
        (name, JobState.NODE_FAIL) for name in limit.partitions
    ]
    last = rows[-1]
    assert lost_too_often(last, last.state, site)
    assert why_it_left(last, site).startswith(limit.why), "where it goes next, the scientist reads why"
    assert list(left_before(last, rows, site)) == ["azure"]
    collected = await azure.collect(last)
    assert not collected.succeeded
    assert "the node failed, not the job" in collected.failure(), "where it ends, the scientist reads why"
    there = known(layout_of(lab, "azure"), [row.token for row in rows])
    assert [there[row.token].recorded for row in rows] == [{row.native_id: ["NODE_FAIL"]} for row in rows]
    assert await nodes(azure) == []


@both_ways
async def test_a_job_for_which_there_is_no_spot_node_runs_on_demand_once_and_never_ran_on_spot(
    lab: Lab, azure: Journey, faults: httpx.AsyncClient
) -> None:
    site = azure.site_file()
    (await faults.post("/lab/faults", json={"no_capacity": ["spot"]})).raise_for_status()
    row = await submit(azure, ends_in="htc", on_blocked="wait")
    why = await _blocked(azure, row, site)
    assert "AllocationFailed" in why or "no Standard_F16s_v2 free" in why
    gone = await leave(row, why, site=azure.site, ledger=azure.ledger)
    assert gone
    assert gone.sentence == (
        f"cancelled by Hybrid HPC, because azure had no spot nodes for it ({why}), before it started"
    )
    again = await azure.go_again(gone, site)
    assert again
    said = f"no spot node can be had ({why}); sent on demand in partition htc, as job {again.native_id}"
    assert told(attempts(azure, again), site) == said
    await azure.until(again, ended, "the end of the run on demand")
    assert (await azure.collect(again)).tail.startswith("azure-htc-")
    there = known(layout_of(lab, "azure"), [row.token, again.token])
    assert there[again.token].recorded == {again.native_id: ["COMPLETED"]}
    assert [*there[row.token].recorded.get(str(row.native_id), ["CANCELLED"])] == ["CANCELLED"]
    assert not await azure.site.head_node.find(gone.run_dir, ["here"])
    if lab.settings.scaling == "cyclecloud":
        assert [each.outcome for each in azure.ledger.scale_requests("azure")] == ["came", "failed"]


async def _blocked(azure: Journey, row: JobRow, site: Clusters) -> str:
    """Why the job waits, once that is reason enough to give its spot nodes up."""

    def seen(_poll: Poll, report: JobReport | None) -> bool:
        return bool(report and report.blocked and gives_up_spot(azure.row(row), report, site))

    report = (await azure.until(row, seen, "what keeps its spot nodes away"))[-1][1]
    assert report
    return report.blocked
