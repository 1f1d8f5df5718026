"""The network between us and CycleCloud breaks; nodes are made once, and jobs wait and run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from hybrid_hpc import breaker_rules
from hybrid_hpc.ledger import JobRow, Ledger
from hybrid_hpc.scaling import Scaler
from hybrid_hpc.watch import ClusterWatch
from lab.lab import Lab
from tests.chaos.lab_world import (
    Way,
    cancel_all,
    cloud,
    end_all_nodes,
    layout_of,
    new_job,
    nodes_added,
    site,
)
from tests.chaos.proxy import End, Proxy, running_proxy

pytestmark = pytest.mark.lab


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """An open breaker lets somebody try after 5 s instead of 60."""
    monkeypatch.setattr(breaker_rules, "AGAIN", timedelta(seconds=5))


ENDS: tuple[End, ...] = ("stall", "reset", "close")


@dataclass(frozen=True)
class Azure:
    way: Way
    proxy: Proxy
    watch: ClusterWatch

    async def run(self, row: JobRow) -> list[str]:
        """Polls until the job has ended; gives what was told on the way."""
        told: list[str] = []
        async with asyncio.timeout(90):
            async for poll in self.watch.polls():
                report = poll.reports.get(row.token)
                told.append(poll.trouble or (report.sentence if report else ""))
                if report and report.state.final:
                    break
        return told


@pytest.fixture
async def azure(lab: Lab, ledger: Ledger) -> AsyncIterator[Azure]:
    """The elastic cluster, CycleCloud behind a proxy; its answers are waited for 3 s."""
    tls = lab.layout.cyclecloud / "tls"
    with running_proxy(lab.layout.cyclecloud_port, tls) as proxy:
        client = cloud(lab, ledger, proxy, timeout_s=3)
        made = site(lab, "azure", ledger, cloud=client)
        scaler = Scaler(made, client, ledger, ask_again_s=2)
        yield Azure(Way(lab, made, ledger), proxy, ClusterWatch(made, ledger, scaler))
        proxy.heal()
        layout = layout_of(lab, "azure")
        cancel_all(layout, [row.token for row in ledger.open_jobs()])
        await end_all_nodes(layout, client)
        await made.close()


@pytest.mark.parametrize("end", ENDS)
async def test_nodes_whose_creation_was_not_answered_are_made_once(
    azure: Azure, end: End, tmp_path: Path
) -> None:
    """The request arrived, its answer never did: it is asked for by its request id, not made anew."""
    wire = azure.proxy
    wire.when(b"POST /clusters/azure/nodes/create", end)
    before = await nodes_added(azure.way.lab)
    row = await azure.way.submit(
        new_job("#!/bin/bash\nhostname\n", partition="htc", cluster="azure", nodes=2, cpus_per_task=16)
    )
    told = await azure.run(row)
    assert wire._trigger is None, "the creation went through the proxy"
    made = (await nodes_added(azure.way.lab))[len(before) :]
    assert len(made) == len(set(made)) <= 2, told
    assert (await azure.way.collect(row, tmp_path)).succeeded


async def test_an_outage_of_cyclecloud_is_told_and_the_job_runs_when_it_is_over(
    azure: Azure, tmp_path: Path
) -> None:
    azure.proxy.reset()
    row = await azure.way.submit(new_job(partition="hpc", cluster="azure", cpus_per_task=100))
    for _ in range(3):
        poll = await azure.watch.poll()
        assert poll.trouble == ""
        assert "CycleCloud" in poll.reports[row.token].sentence
        assert not azure.way.row(row).state.final
    azure.proxy.heal()
    await azure.run(row)
    assert (await azure.way.collect(row, tmp_path)).succeeded
