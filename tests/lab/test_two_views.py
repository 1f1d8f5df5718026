"""Nodes that Slurm and CycleCloud see differently, on real clusters: told to whoever waits, and given up."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from hybrid_hpc import onlooking, two_views
from hybrid_hpc.jobs import JobReport
from hybrid_hpc.moving import leave
from hybrid_hpc.schedulers.base import NodeStatus
from hybrid_hpc.two_views import MISSING, UNUSED
from hybrid_hpc.watch import Poll
from lab import slurm
from lab.lab import Lab
from lab.layout import ClusterLayout
from tests.chaos.lab_world import layout_of
from tests.lab.empty_azure import empty_azure
from tests.lab.journey import PATIENCE_S, Journey, Seen, ended, says, started

pytestmark = pytest.mark.lab

HELLO = "#!/bin/bash\nhostname\n"
STUCK = "azure-htc-1"
WHOLE_NODE = {"cpus_per_task": 16}
by_slurm = pytest.mark.parametrize("lab", ["scheduler"], indirect=True)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes a minute at a real site takes seconds here."""
    monkeypatch.setattr(two_views, "_AFTER_S", {UNUSED: 3.0, MISSING: 3.0})
    monkeypatch.setattr(onlooking, "NOT_MADE_S", 5.0)


@pytest.fixture
async def azure(lab: Lab, tmp_path: Path, faults: httpx.AsyncClient) -> AsyncIterator[Journey]:
    """The elastic cluster without a node, before and after."""
    async with empty_azure(lab, tmp_path, faults) as way:
        yield way


@pytest.fixture
def patient(lab: Lab) -> Iterator[ClusterLayout]:
    """A Slurm that waits for a boot as long as a real one, and has one node of htc."""
    layout = layout_of(lab, "azure")
    usual = layout.slurm_conf.read_text()
    others = f"{STUCK[:-1]}[2-8]"
    layout.slurm_conf.write_text(re.sub(r"ResumeTimeout=\d+", "ResumeTimeout=1800", usual))
    slurm.ask(layout, "scontrol", "reconfigure")
    slurm.ask(layout, "scontrol", "update", f"nodename={others}", "state=drain", "reason=test")
    yield layout
    slurm.ask(layout, "scontrol", "update", f"nodename={others}", "state=undrain")
    layout.slurm_conf.write_text(usual)
    slurm.ask(layout, "scontrol", "reconfigure")


def is_blocked(why: str) -> Seen:
    def seen(_poll: Poll, report: JobReport | None) -> bool:
        return report is not None and why in report.blocked

    return seen


def alerts(azure: Journey) -> list[tuple[str, str]]:
    return [(alert.kind, alert.subject) for alert in azure.ledger.alerts()]


async def until_all_agree(azure: Journey) -> None:
    """Polls until no alert stands."""
    async with asyncio.timeout(PATIENCE_S):
        async for _ in azure.watch.polls():
            if not alerts(azure):
                return


@by_slurm
async def test_the_next_job_on_a_node_that_never_comes_is_told_why_and_when_no_job_has_it_it_is_given_up(
    patient: ClusterLayout, azure: Journey, faults: httpx.AsyncClient
) -> None:
    """The quota is free again, so that nothing says why but the node that is missing."""
    (await faults.post("/lab/faults", json={"quota_cores": 0})).raise_for_status()
    first = await azure.submit("htc", HELLO, **WHOLE_NODE)
    await azure.until(first, is_blocked("quota"), "the quota")
    (await faults.delete("/lab/faults")).raise_for_status()
    second = await azure.submit("htc", HELLO, **WHOLE_NODE)
    assert await leave(first, "quota", site=azure.site, ledger=azure.ledger)
    why = f"the scheduler counts on {STUCK}, and CycleCloud does not have it; it is so since "
    await azure.until(second, is_blocked(why), "what the next job waits for in vain")
    assert (MISSING, f"azure/{STUCK}") in alerts(azure)
    assert await leave(second, "it never comes", site=azure.site, ledger=azure.ledger)
    await _until_off(azure)
    await until_all_agree(azure)
    third = await azure.run("htc", HELLO, **WHOLE_NODE)
    assert (third.succeeded, third.tail.strip()) == (True, STUCK)
    assert "ResumeTimeout" not in slurm.ask(patient, "scontrol", "show", "node", STUCK)


async def _until_off(azure: Journey) -> None:
    async with asyncio.timeout(PATIENCE_S):
        async for poll in azure.watch.polls():
            status = {node.name: node.status for node in poll.load.nodes} if poll.load else {}
            if status.get(STUCK) is NodeStatus.OFF:
                return


@by_slurm
async def test_a_job_that_runs_on_a_node_which_azure_has_taken_is_told_before_slurm_misses_it(
    azure: Journey, faults: httpx.AsyncClient
) -> None:
    row = await azure.submit("htc", "#!/bin/bash\nsleep 600\n", **WHOLE_NODE)
    report = (await azure.until(row, started, "the start of the job"))[-1][1]
    assert report
    (name,) = report.node_names
    (await faults.post("/lab/faults", json={"evict": [name]})).raise_for_status()
    told = f"running on {name}; the scheduler counts on {name}, and CycleCloud does not have it"
    await azure.until(row, says(told), told)
    assert alerts(azure) == [(MISSING, f"azure/{name}")]
    await azure.until(row, ended, "the loss of the node")
    await until_all_agree(azure)


async def test_a_job_whose_node_runs_and_never_joins_slurm_is_told_both_views(
    azure: Journey, faults: httpx.AsyncClient
) -> None:
    (await faults.post("/lab/faults", json={"never_register": ["htc"]})).raise_for_status()
    row = await azure.submit("htc", HELLO, **WHOLE_NODE)
    told = f"{STUCK} runs in Azure, and the scheduler gives it no job: it is down"
    await azure.until(row, says(told), told)
    assert alerts(azure) == [(UNUSED, f"azure/{STUCK}")]
    (await faults.delete("/lab/faults")).raise_for_status()
    assert azure.site.cloud
    await azure.site.cloud.terminate_nodes(names=[STUCK])
    await azure.until(row, ended, "the end of the job")
    await until_all_agree(azure)
