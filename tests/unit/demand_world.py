"""What the queue needs, where nothing is known of Azure but how many nodes it would make."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.demand import NodeAsk, demand_of
from hybrid_hpc.schedulers.base import Load
from hybrid_hpc.supply import Made, Offer, Supply


def nodes_to_ask(
    load: Load,
    cluster: Cluster,
    existing: Collection[str] = (),
    creatable: Mapping[str, int] | None = None,
) -> list[NodeAsk]:
    """The nodes to ask for, of each partition's own VM size.

    ``creatable``: how many more nodes a partition can get; one that is missing has no such limit.
    """
    known = {
        name: Supply([Offer(partition.vm_size or "", creatable[name], partition.node_usd_per_hour)])
        for name, partition in cluster.partitions.items()
        if creatable and name in creatable
    }
    return demand_of(load, cluster, dict.fromkeys(existing, Made()), known).asks
