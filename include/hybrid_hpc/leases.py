"""Nodes that nobody has looked at for long: each look renews a node's lease; without one, idle nodes leak.

A watch may live as a run of Airflow and still not look, while its triggerer is down. So what counts is the
lease in the ledger, not the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.cyclecloud import CycleCloudClient
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.database import utc_now
from hybrid_hpc.watch import ClusterWatch

LEASE = timedelta(minutes=4)  # a poll whose cluster does not answer comes again within a minute
LOOKS = 4  # drained, seen empty, terminated, seen gone


async def leased_out(
    cluster: Cluster,
    cloud: CycleCloudClient,
    ledger: Ledger,
    *,
    lease: timedelta = LEASE,
    now: Callable[[], datetime] = utc_now,
) -> tuple[list[str], list[str]]:
    """The nodes of clusters.yaml that are there, and those at which nobody has looked for a whole lease."""
    ours = {partition.nodearray for partition in cluster.partitions.values()}
    nodes = [node for node in await cloud.nodes() if node.wanted and node.nodearray in ours]
    lives = await asyncio.to_thread(ledger.lives, cluster.name)
    looked_at = {life.node_id for life in lives if now() - life.seen_at < lease}
    leaked = sorted(node.name for node in nodes if node.node_id not in looked_at)
    return sorted(node.name for node in nodes), leaked


async def tend(watch: ClusterWatch, *, looks: int = LOOKS) -> None:
    """A few polls in the place of a watch that is gone: idle nodes are drained, and ended when empty."""
    for number in range(looks):
        if number:
            await asyncio.sleep(min(watch.cluster.poll_s, 5.0))
        await watch.poll()
