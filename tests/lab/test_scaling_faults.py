"""What becomes of a job that lost its nodes, as its request says."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from hybrid_hpc.jobs import JobState
from lab.lab import Lab
from tests.lab.journey import Journey, ended, journey, started

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
    second = await azure.go_again(first, azure.site_file(max_resubmissions=2))
    assert second
    assert second.token != first.token
    await azure.until(second, ended, "the end of the second run")
    assert (await azure.collect(second)).succeeded
    lost = azure.ledger.job(first.token)
    assert lost
    assert lost.outcome is JobState.NODE_FAIL
    assert await azure.go_again(first, azure.site_file(max_resubmissions=1)) == azure.ledger.job(second.token)
