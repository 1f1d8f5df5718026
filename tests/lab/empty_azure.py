"""The elastic cluster of a lab without a node and without a fault, before a test and after it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from hybrid_hpc.clusters import Cluster
from lab.lab import Lab
from tests.chaos.lab_world import cancel_all, end_all_nodes, layout_of
from tests.lab.journey import Journey, journey


@asynccontextmanager
async def empty_azure(
    lab: Lab,
    folder: Path,
    faults: httpx.AsyncClient,
    change: Callable[[Cluster], Cluster] = lambda cluster: cluster,
) -> AsyncIterator[Journey]:
    """A way to it; ``change``: what clusters.yaml would say otherwise."""
    async with journey(lab, "azure", folder, change=change) as way:
        assert way.site.cloud
        layout = layout_of(lab, "azure")
        await end_all_nodes(layout, way.site.cloud)
        yield way
        (await faults.delete("/lab/faults")).raise_for_status()
        cancel_all(layout, [row.token for row in way.ledger.open_jobs()])
        await end_all_nodes(layout, way.site.cloud)
