"""What nodes can be had and paid for: offers of VM sizes, and the cluster's own limits (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hybrid_hpc.clusters import Cluster, Partition

CENT = 1e-6  # sums of prices are off by less
PLENTY = 1_000_000  # more nodes than any cluster has
SILENT = "CycleCloud does not answer"  # begins the sentence of an outage: what becomes of nodes is not known
LIMIT = "the cluster's limit of"  # begins the sentence of a limit that is reached: that is a matter of room


@dataclass(frozen=True, slots=True)
class Made:
    """A node that CycleCloud has, as far as packing asks; '' where that is not known or none."""

    vm_size: str = ""
    group: str = ""  # its placement group
    partition: str = ""  # for which it was made, where the scheduler does not list it
    leaves: bool = False  # it ends: no place for a job, but it still costs


@dataclass(slots=True)
class Offer:
    """How many nodes of one VM size can be made now for a partition, and what one costs an hour in USD.

    ``group_size``: how many nodes a placement group holds; 0: its nodes need none.
    """

    vm_size: str
    left: int
    usd_per_hour: float
    group_size: int = 0


@dataclass(frozen=True, slots=True)
class Supply:
    """The offers for one partition, the best first, and in Azure's words why there are no others.

    ``beyond``: why there are no more nodes than are offered.
    """

    offers: Sequence[Offer]
    blocked: str = ""
    beyond: str = ""

    def short(self, missing: int) -> str:
        """Why ``missing`` nodes cannot be had; '' when nothing is known to keep them away."""
        left = sum(offer.left for offer in self.offers)
        why = "; ".join(filter(None, (self.blocked, self.beyond)))
        if not why or not 0 < left < missing:
            return self.blocked
        return f"it needs {missing} more nodes and {left} can be had: {why}"


@dataclass(slots=True)
class Budget:
    """The cluster's limits, and what the nodes that exist, boot or are asked for take of them."""

    max_nodes: int | None = None
    max_usd_per_hour: float | None = None
    nodes: int = 0
    usd_per_hour: float = 0.0

    def allows(self, usd_per_hour: Sequence[float]) -> bool:
        """True when nodes at these prices may still be asked for."""
        few = self.max_nodes is None or self.nodes + len(usd_per_hour) <= self.max_nodes
        return few and (
            self.max_usd_per_hour is None
            or self.usd_per_hour + sum(usd_per_hour) <= self.max_usd_per_hour + CENT
        )

    def room(self, usd_per_hour: float) -> int:
        """How many more nodes at this price may be asked for."""
        nodes = PLENTY if self.max_nodes is None else self.max_nodes - self.nodes
        if self.max_usd_per_hour is None or not usd_per_hour:
            return max(0, nodes)
        affordable = int((self.max_usd_per_hour + CENT - self.usd_per_hour) / usd_per_hour)
        return max(0, min(nodes, affordable))

    def take(self, usd_per_hour: float) -> None:
        """One more node at this price."""
        self.nodes += 1
        self.usd_per_hour += usd_per_hour

    def sentence(self, missing: int) -> str:
        """Why ``missing`` more nodes are not asked for."""
        run = (
            "1 node runs" if self.nodes == 1 else f"{self.nodes} nodes run" if self.nodes else "no node runs"
        )
        more = f", and it needs {missing} more" if missing > 1 else ""
        if self.max_nodes is not None and self.nodes + missing > self.max_nodes:
            nodes = "1 node" if self.max_nodes == 1 else f"{self.max_nodes} nodes"
            return f"{LIMIT} {nodes} is reached: {run}{more}"
        spent = f"{run} for {self.usd_per_hour:.2f} USD{more}"
        return f"{LIMIT} {self.max_usd_per_hour:.2f} USD an hour is reached: {spent}"


def partition_of(cluster: Cluster, nodearray: str, vm_size: str) -> Partition | None:
    """As whose a node counts where partitions share a nodearray: the first with its VM size, or at all."""
    parts = [part for part in cluster.partitions.values() if part.nodearray == nodearray]
    return next((part for part in parts if vm_size in part.sizes), parts[0] if parts else None)


def budget_of(cluster: Cluster, there: Iterable[tuple[str, str]]) -> Budget:
    """The cluster's limits with the nodes that are there: partition and VM size ('': its own) of each."""
    elastic = cluster.elastic
    budget = Budget(elastic.max_nodes, elastic.max_usd_per_hour) if elastic else Budget()
    for name, vm_size in there:
        partition = cluster.partitions[name]
        budget.take(partition.sizes.get(vm_size, partition.node_usd_per_hour))
    return budget


def group_name(partition: str, vm_size: str, number: int) -> str:
    """A placement group holds nodes of one VM size."""
    return f"{partition}-{vm_size}-pg{number}"
