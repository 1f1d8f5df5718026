"""Nodes that somebody waits for without a job, on the real cluster: they come, stay, and go in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from hybrid_hpc.ledger import Ledger
from hybrid_hpc.scaling import Scaler
from hybrid_hpc.schedulers.base import NodeStatus
from hybrid_hpc.watch import ClusterWatch, Poll
from lab.lab import Lab
from tests.lab.journey import PATIENCE_S, journey

IDLE_S = 6.0
NAMES = {"azure-gpu-1", "azure-gpu-2"}


class Azure:
    """A watch over a cluster whose idle nodes go soon."""

    def __init__(self, watch: ClusterWatch, ledger: Ledger) -> None:
        self.ledger = ledger
        self._polls = watch.polls()

    def wish(self, count: int = 2) -> None:
        self.ledger.wish_for_nodes("a test", cluster="azure", nodearray="gpu", count=count)

    async def polled(self) -> Poll:
        return await anext(self._polls)

    async def until(self, seen: Callable[[Poll], bool], what: str) -> Poll:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not seen(poll := await self.polled()):
                    pass
        except TimeoutError:
            raise AssertionError(f"{what} was not seen; the last poll said {poll}") from None
        return poll


@pytest.fixture
async def azure(lab: Lab, tmp_path: Path) -> AsyncIterator[Azure]:
    async with journey(lab, "azure", tmp_path) as way:
        assert way.site.cloud
        assert way.site.cluster.elastic
        elastic = way.site.cluster.elastic.model_copy(update={"idle_s": IDLE_S})
        cluster = way.site.cluster.model_copy(update={"elastic": elastic, "poll_s": 1.0})
        site = replace(way.site, cluster=cluster)
        scaler = Scaler(site, way.site.cloud, way.ledger, ask_again_s=3)
        azure = Azure(ClusterWatch(site, way.ledger, scaler), way.ledger)
        await azure.until(no_nodes, "the end of nodes from before")
        yield azure


def up(poll: Poll) -> set[str]:
    nodes = poll.load.nodes if poll.load else ()
    return {node.name for node in nodes if "gpu" in node.partitions and node.status is NodeStatus.UP}


def no_nodes(poll: Poll) -> bool:
    return poll.cloud is not None and not poll.cloud.existing and not poll.cloud.trouble


async def test_nodes_come_for_a_wish_stay_for_it_and_then_go_after_the_usual_idle_time(azure: Azure) -> None:
    azure.wish()
    began = await azure.until(lambda poll: up(poll) == NAMES, "the nodes that were wished for")
    assert began.load
    last = began
    while last.load and last.load.now < began.load.now + 2 * IDLE_S:  # nobody uses them
        last = await azure.polled()
        assert up(last) == NAMES, last
    assert last.load
    azure.ledger.end_node_wish("a test")
    gone = await azure.until(lambda poll: up(poll) != NAMES, "an idle node to be let go")
    assert gone.load
    assert gone.load.now - last.load.now >= IDLE_S
    await azure.until(no_nodes, "the end of the last node")
    assert [(row.names, row.outcome, row.came) for row in azure.ledger.scale_requests("azure")] == [
        (("azure-gpu-1", "azure-gpu-2"), "came", 2)
    ]


async def test_a_wish_that_azure_cannot_serve_is_told_in_its_words_and_served_when_it_can(
    azure: Azure, faults: httpx.AsyncClient
) -> None:
    (await faults.post("/lab/faults", json={"quota_cores": 0})).raise_for_status()
    azure.wish(1)

    def told(poll: Poll) -> bool:
        return poll.cloud is not None and "quota" in poll.cloud.trouble.get("gpu", "").lower()

    await azure.until(told, "the quota")
    (await faults.delete("/lab/faults")).raise_for_status()
    await azure.until(lambda poll: up(poll) == {"azure-gpu-1"}, "the node that was wished for")
    azure.ledger.end_node_wish("a test")
    await azure.until(no_nodes, "the end of the node")
