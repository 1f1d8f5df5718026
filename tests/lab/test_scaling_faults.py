"""What becomes of a job that lost its nodes, as its request says."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from hybrid_hpc.clusters import Clusters, Policy
from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import JobRow
from hybrid_hpc.resubmission import go_again
from lab.lab import Lab
from tests.lab.journey import PATIENCE_S, Journey, ended, journey, started

HELLO = "#!/bin/bash\nhostname\n"


@pytest.fixture
async def azure(lab: Lab, tmp_path: Path) -> AsyncIterator[Journey]:
    async with journey(lab, "azure", tmp_path) as way:
        yield way


async def test_a_job_that_lost_its_node_is_sent_anew_where_its_request_says_so(
    azure: Journey, faults: httpx.AsyncClient
) -> None:
    mark = f'"$SLURM_SUBMIT_DIR/../{uuid.uuid4().hex}"'
    script = f"#!/bin/bash\n[ -e {mark} ] && exit 0\ntouch {mark}\nsleep 600\n"
    first = await azure.submit("hpc", script, cpus_per_task=100, on_node_failure="resubmit")
    report = (await azure.until(first, started, "the start of the job"))[-1][1]
    assert report
    (await faults.post("/lab/faults", json={"evict": list(report.node_names)})).raise_for_status()
    await azure.until(first, ended, "the loss of the node")
    second = await sent_again(azure, first, Policy(max_resubmissions=2))
    assert second
    assert second.token != first.token
    await azure.until(second, ended, "the end of the second run")
    assert (await azure.collect(second)).succeeded
    lost = azure.ledger.job(first.token)
    assert lost
    assert lost.outcome is JobState.NODE_FAIL
    assert await sent_again(azure, first, Policy(max_resubmissions=1)) == azure.ledger.job(second.token)


async def sent_again(azure: Journey, row: JobRow, policy: Policy) -> JobRow | None:
    clusters = Clusters(policy=policy, clusters={"azure": azure.site.cluster})
    return await go_again(row, site=azure.site, ledger=azure.ledger, clusters=clusters)


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


async def test_an_evicted_job_runs_on_spot_again_then_on_demand_and_the_accounting_has_each_life(
    azure: Journey, faults: httpx.AsyncClient
) -> None:
    script = '#!/bin/bash\ntouch here\n[ "$SLURM_JOB_PARTITION" = spot ] && sleep 600\nhostname\n'
    row = await azure.submit("spot", script, cpus_per_task=16, spot="allowed", rerunnable=True)
    policy = Policy(max_resubmissions=2, spot_tries=2)
    for _ in range(policy.spot_tries):
        (evicted,) = await nodes_of_what_runs(azure, row)
        assert evicted.startswith("azure-spot-")
        (await faults.post("/lab/faults", json={"evict": [evicted]})).raise_for_status()
        await azure.until(row, ended, "the loss of the node")
        again = await sent_again(azure, row, policy)
        assert again
        row = again
    await azure.until(row, ended, "the end of the run on demand")
    collected = await azure.collect(row)
    assert collected.succeeded
    assert collected.tail.startswith("azure-htc-")
    lives = [azure.ledger.usage_of(each.token) for each in azure.ledger.attempts(row.key)]
    assert [[(life.partition, life.state) for life in each] for each in lives] == [
        [("spot", JobState.NODE_FAIL)],
        [("spot", JobState.NODE_FAIL)],
        [("htc", JobState.COMPLETED)],
    ]
