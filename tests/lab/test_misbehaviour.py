"""Whatever Azure and CycleCloud do wrong: the sentence that the scientist reads, and how it all ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from hybrid_hpc import breaker_rules, scaling
from hybrid_hpc.cyclecloud import Node
from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import JobRow
from lab import slurm
from lab.lab import Lab
from tests.chaos.lab_world import cancel_all, end_all_nodes, known, layout_of, nodes_added
from tests.lab.journey import PATIENCE_S, Journey, ended, journey, says, started

pytestmark = pytest.mark.lab

HELLO = "#!/bin/bash\nhostname\n"
CORES = 16  # of a whole node of the partition htc
QUOTA = "cores are in use, a Standard_F16s_v2 takes 16"


@dataclass(frozen=True)
class Misbehaviour:
    """What the server is told, and what the person whose job waits is told then.

    ``nodes``: how many the job needs; ``lost``: how many more were made, and ended again.
    """

    faults: dict[str, Any]
    told: str
    nodes: int = 1
    lost: int = 0


WRONG = {
    "slow boot": Misbehaviour({"boot_s": 19}, "far longer than the 1 s that it should take"),
    "never registers": Misbehaviour(
        {"never_register": ["htc"]}, "node azure-htc-1 did not come within 2", lost=1
    ),
    "failed boot": Misbehaviour(
        {"boot_fail": {"htc": "the cluster-init script failed"}},
        "pending: Azure says: the cluster-init script failed",
        lost=1,
    ),
    "failed boot of one of four": Misbehaviour(
        {"boot_fail": {"azure-htc-3": "Failed to mount /sched"}}, "Failed to mount /sched", nodes=4, lost=1
    ),
    "quota of the region": Misbehaviour(
        {"quota_cores": 0, "quotas": {"Standard_F16s_v2": 160}},
        f"pending: the Azure quota of the region is reached: 0 of 0 {QUOTA}",
    ),
    "quota of the family": Misbehaviour(
        {"quotas": {"Standard_F16s_v2": 8}},
        f"pending: the Azure quota of the family of Standard_F16s_v2 is reached: 0 of 8 {QUOTA}",
    ),
    "quota for one of two": Misbehaviour(
        {"quota_cores": 20},
        "pending: it needs 2 more nodes and 1 can be had: the Azure quota of the family of Standard_F16s_v2 "
        f"is not enough: 0 of 20 {QUOTA}",
        nodes=2,
    ),
    "none added": Misbehaviour(
        {"add_at_most": {"htc": {"count": 0, "message": "F16s_v2 is in short supply"}}},
        "pending: Azure gave 0 of 1 nodes: F16s_v2 is in short supply",
    ),
    "one of two added": Misbehaviour(
        {"add_at_most": {"azure-htc-2": {"count": 0, "message": "F16s_v2 is in short supply"}}},
        "Azure gave 1 of 2 nodes: F16s_v2 is in short supply",
        nodes=2,
    ),
    "no capacity": Misbehaviour(
        {"no_capacity": ["htc"]},
        "pending: Azure says: AllocationFailed: no capacity for Standard_F16s_v2",
        lost=1,
    ),
    "500": Misbehaviour({"error_500": 7}, "pending: CycleCloud does not answer: "),
    "time-out after the effect": Misbehaviour(
        {"stall_after_effect": 1}, "pending: 1 node asked for, not booting yet"
    ),
    "changed password": Misbehaviour({"reject_logins": True}, "pending: CycleCloud does not answer: "),
    "outage": Misbehaviour({"outage_s": 600}, "pending: CycleCloud does not answer: "),
}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes minutes at a real site takes seconds here."""
    monkeypatch.setattr(breaker_rules, "AGAIN", timedelta(seconds=3))
    monkeypatch.setattr(breaker_rules, "DENIED_AGAIN", timedelta(seconds=3))
    monkeypatch.setattr(scaling, "NEVER_CAME_S", 22.0)
    monkeypatch.setattr(scaling, "NEVER_CAME_BOOTS", 0)


@pytest.fixture
async def azure(lab: Lab, tmp_path: Path, faults: httpx.AsyncClient) -> AsyncIterator[Journey]:
    """The elastic cluster without a node, before and after."""
    async with journey(lab, "azure", tmp_path, timeout_s=3) as way:
        assert way.site.cloud
        layout = layout_of(lab, "azure")
        await end_all_nodes(layout, way.site.cloud)
        yield way
        await behave(faults)
        cancel_all(layout, [row.token for row in way.ledger.open_jobs()])
        await end_all_nodes(layout, way.site.cloud)


async def misbehave(faults: httpx.AsyncClient, **how: Any) -> None:
    (await faults.post("/lab/faults", json=how)).raise_for_status()


async def behave(faults: httpx.AsyncClient) -> None:
    await misbehave(faults, outage_s=0)
    (await faults.delete("/lab/faults")).raise_for_status()


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_it_is_told_and_when_it_is_over_the_job_ends_well_once_on_no_node_too_many(
    lab: Lab, azure: Journey, faults: httpx.AsyncClient, wrong: Misbehaviour
) -> None:
    before = await nodes_added(lab)
    await misbehave(faults, **wrong.faults)
    row = await azure.submit("htc", HELLO, nodes=wrong.nodes, cpus_per_task=CORES)
    await azure.until(row, says(wrong.told), wrong.told)
    await behave(faults)
    await azure.until(row, ended, "the end of the job")
    assert (await azure.collect(row)).succeeded
    _ended_as(lab, azure, row, JobState.COMPLETED)
    assert [node.status for node in await _nodes(azure)] == ["Ready"] * wrong.nodes
    assert len((await nodes_added(lab))[len(before) :]) == wrong.nodes + wrong.lost


@pytest.mark.parametrize("notice_s", [None, 5], ids=["without notice", "with notice"])
async def test_an_evicted_node_is_told_and_its_failure_not_the_jobs_and_it_takes_jobs_when_it_is_back(
    lab: Lab, azure: Journey, faults: httpx.AsyncClient, notice_s: float | None
) -> None:
    row = await azure.submit("htc", "#!/bin/bash\nsleep 600\n", cpus_per_task=CORES)
    await azure.until(row, started, "the start of the job")
    (name,) = [node.name for node in await _nodes(azure)]
    if notice_s is None:
        await misbehave(faults, evict=[name])
    else:
        await misbehave(faults, evict_notice={"names": [name], "in_s": notice_s})
        told = f"running on {name}; Azure is about to take {name} away: "
        await azure.until(row, says(f"{told}The spot instance is waiting for eviction"), told)
        drained = slurm.ask(layout_of(lab, "azure"), "scontrol", "show", "node", name)
        assert "DRAIN" in drained, "another job might begin there"
    await azure.until(row, ended, "the loss of the node")
    collected = await azure.collect(row)
    assert f"lost its node on {name}" in collected.outcome.sentence
    assert "the node failed, not the job" in collected.outcome.sentence
    _ended_as(lab, azure, row, JobState.NODE_FAIL)
    assert await _nodes(azure) == []
    await _until_its_name_is_free(lab, azure, name)
    after = await azure.run("htc", HELLO, cpus_per_task=CORES)
    assert (after.succeeded, after.tail.strip()) == (True, name)


def _ended_as(lab: Lab, azure: Journey, row: JobRow, state: JobState) -> None:
    """So it stands in the cluster's accounting, once, and in the ledger."""
    there = known(layout_of(lab, "azure"), [row.token])[row.token]
    assert there.recorded == {row.native_id: [state.name]}
    settled = azure.ledger.job(row.token)
    assert settled
    assert (settled.outcome, settled.evidence, settled.restarts) == (state, "accounting", 0)


async def _until_its_name_is_free(lab: Lab, azure: Journey, name: str) -> None:
    """A VM that ends keeps its node's name meanwhile, and Slurm may hear its slurmd a last time."""
    assert azure.site.cloud
    show = ("scontrol", "show", "node", name)
    async with asyncio.timeout(PATIENCE_S):
        while [node for node in await azure.site.cloud.nodes() if not node.gone]:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        while "State=DOWN" not in slurm.ask(layout_of(lab, "azure"), *show):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def _nodes(azure: Journey) -> list[Node]:
    """Those that are there, on their way, or failed."""
    assert azure.site.cloud
    return [node for node in await azure.site.cloud.nodes() if node.wanted]
