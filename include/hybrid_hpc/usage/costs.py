"""What a job costs (pure).

On premises a job pays for its cores and GPUs, for as long as it ran; on an elastic cluster for its share of
its nodes, the largest of cores, memory and GPUs, because whole nodes are paid for. Boot and idle time of
nodes belong to no job and are not in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hybrid_hpc.clusters import Cluster, Partition

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Held:
    """What a job keeps from others, all its nodes together, and how long.

    Either numbers, or pandas Series of many jobs; then `cost_usd` gives a Series too.
    """

    nodes: Any
    cores: Any
    gpus: Any
    memory_mib: Any  # 0 where it is not known
    elapsed_s: Any


def cost_usd(
    held: Held,
    partition: Partition,
    *,
    whole_nodes: bool,
    larger: Callable[[Any, Any], Any] = max,
    smaller: Callable[[Any, Any], Any] = min,
) -> Any:
    """USD at the partition's prices; for Series ``larger`` and ``smaller`` are NumPy's own."""
    prices, cores, gpus = partition.prices, held.cores, held.gpus
    if whole_nodes:
        nodes = larger(held.nodes, 1)
        share = smaller(_share_of_nodes(held, nodes, partition, larger), 1.0)
        cores, gpus = share * nodes * partition.cores, share * nodes * partition.gpus
    return (cores * prices.core_hour_usd + gpus * prices.gpu_hour_usd) * held.elapsed_s / HOUR_S


def _share_of_nodes(held: Held, nodes: Any, partition: Partition, larger: Callable[[Any, Any], Any]) -> Any:
    """The largest part of its nodes' cores, memory or GPUs that it keeps from others."""
    share = larger(held.cores / (nodes * partition.cores), held.memory_mib / (nodes * partition.memory_mib))
    return larger(share, held.gpus / (nodes * partition.gpus)) if partition.gpus else share


def whole_nodes_paid(cluster: Cluster) -> bool:
    """True where the nodes are rented, so that what a job leaves free of them is paid as well."""
    return cluster.elastic is not None
