"""Nodes whose watch was killed are found by their lease and ended when idle, none of them under a job."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from hybrid_hpc.cyclecloud import CycleCloudClient
from hybrid_hpc.jobs import JobState
from hybrid_hpc.leases import leased_out, tend
from lab.lab import Lab
from tests.lab.journey import Journey, ended, journey, started

pytestmark = pytest.mark.lab


async def test_after_the_watch_was_killed_idle_nodes_are_ended_and_the_one_with_a_job_stays(
    lab: Lab, tmp_path: Path
) -> None:
    async with journey(lab, "azure", tmp_path) as before:
        long = await before.submit("htc", "#!/bin/bash\nsleep 600\n", cpus_per_task=16)
        short = await before.submit("htc", "#!/bin/bash\nhostname\n", cpus_per_task=16)
        busy = (await before.until(long, started, "the start of the long job"))[-1][1]
        await before.until(short, ended, "the end of the short job")
        idle = (await before.collect(short)).tail.strip()
    assert busy
    async with journey(lab, "azure", tmp_path) as after:
        assert after.site.cluster.elastic
        lease = timedelta(seconds=after.site.cluster.elastic.idle_s + 2)
        leaked = await leaks(after, lease)
        assert {idle, *busy.node_names} <= set(leaked)
        await tend(after.watch)
        there, leaked = await leased_out(after.site.cluster, cloud(after), after.ledger, lease=lease)
        assert idle not in there
        assert set(busy.node_names) <= set(there)
        assert leaked == []
        report = (await after.watch.poll()).reports[long.token]
        assert report.state is JobState.RUNNING
        lives = {life.name: life for life in after.ledger.lives("azure")}
        assert lives[busy.node_names[0]].last_busy_at
        after.ledger.request_cancel(long.token, by="ada", why="the test is over")
        await after.until(long, ended, "the end of the long job")


def cloud(way: Journey) -> CycleCloudClient:
    assert way.site.cloud
    return way.site.cloud


async def leaks(way: Journey, lease: timedelta) -> list[str]:
    """Nobody looks, until the lease of every node that is there has run out."""
    async with asyncio.timeout(90):
        while True:
            there, leaked = await leased_out(way.site.cluster, cloud(way), way.ledger, lease=lease)
            assert there
            if there == leaked:
                return leaked
            await asyncio.sleep(0.5)
