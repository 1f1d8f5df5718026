"""The request for nodes goes out with the submission: whoever submits asks, not only the next poll.

It asks as the watch would, from the same queue. Where Azure has lately refused something it leaves the asking
to the watch, which knows what failed and what to try instead.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from hybrid_hpc.asking import ASK_AGAIN_S, Asking
from hybrid_hpc.cloud_view import with_cloud
from hybrid_hpc.errors import HybridHpcError
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.node_changes import NodeChanges
from hybrid_hpc.site import Site

log = logging.getLogger(__name__)

PATIENCE_S = 10.0


async def ask_ahead(site: Site, ledger: Ledger) -> frozenset[str]:
    """The names of the nodes that were added; none for a cluster whose nodes are not ours to ask for.

    Never raises `HybridHpcError`, and ends after `PATIENCE_S`: the watch will ask again.
    """
    elastic = site.cluster.elastic
    if not site.cloud or not elastic or elastic.scaling != "cyclecloud":
        return frozenset()
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await _ask(site, ledger)
    except (HybridHpcError, TimeoutError) as error:
        log.info("%s: nodes are asked for by the next poll: %s", site.cluster.name, error or "no answer")
        return frozenset()


async def _ask(site: Site, ledger: Ledger) -> frozenset[str]:
    assert site.cloud  # noqa: S101  narrows for the type checker
    again = timedelta(seconds=ASK_AGAIN_S)
    if await asyncio.to_thread(ledger.asked_in_vain, site.cluster.name, again):
        return frozenset()
    asking = Asking(site, site.cloud, ledger, NodeChanges(site, ledger), ask_again_s=ASK_AGAIN_S)
    asking.looks()
    listed = [node for node in await site.cloud.nodes() if asking.knows(node) and not node.gone]
    seen = site.scheduler.read_load(await site.head_node.run(site.scheduler.load_command()))
    load = with_cloud(seen, site.cluster, [node.name for node in listed if node.wanted])
    return (await asking.step(load, listed, ())).names
