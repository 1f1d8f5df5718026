"""Which nodes the queue of an elastic cluster needs, and which may go (pure).

The jobs that wait for nodes are packed, in the scheduler's order, into the nodes that are up, then into
those on their way, and what is left into nodes that are off; those are asked for. A node may go when it
has been idle for long enough and nothing was packed into it.

Asking twice is asking once: when the nodes asked for are on their way, the same queue packs into them. (Where
one node belongs to two partitions this can fail by a node; the next look settles it.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.packing import Bin, Packing, Stage, bins_of
from hybrid_hpc.placement.waiting import natural, waiting_jobs
from hybrid_hpc.schedulers.base import Load, NodeState, NodeStatus
from hybrid_hpc.supply import Made, Offer, Supply, budget_of
from hybrid_hpc.waits import partitions_of_array

_THERE = (NodeStatus.UP, NodeStatus.BOOTING, NodeStatus.DRAINING)


@dataclass(frozen=True, slots=True)
class NewNode:
    """A node to ask for; ``group`` is its placement group, '' for none."""

    name: str
    vm_size: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class NodeAsk:
    """Nodes to ask CycleCloud for, all of one nodearray, and the native ids of the jobs that need them."""

    partition: str
    nodearray: str
    nodes: tuple[NewNode, ...]
    for_jobs: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the nodes."""
        return tuple(node.name for node in self.nodes)


@dataclass(frozen=True, slots=True)
class Demand:
    """What the queue needs.

    ``coming``: for each waiting job (native id) the nodes that it will have and that are not up yet, those
    to ask for among them. ``held``: the jobs for which there is no node, and why; '' where the nodes of
    that shape are simply all in use. ``short``: the partitions in which nodes are missing to a wish, and why.
    """

    asks: list[NodeAsk]
    coming: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)
    short: Mapping[str, str] = field(default_factory=dict)


def demand_of(
    load: Load,
    cluster: Cluster,
    existing: Mapping[str, Made],
    supply: Mapping[str, Supply] | None = None,
    wishes: Mapping[str, int] | None = None,
) -> Demand:
    """The nodes that the queue needs beyond those there are, lowest names first; one ask a partition.

    ``existing``: the nodes that CycleCloud has, in whatever state. ``supply``: what can be made, by
    partition; one that is missing has as many as there are nodes. ``wishes``: how many nodes of a nodearray
    somebody waits for without a job (`hybrid_hpc.wishes`); those of the queue count, and come first. The
    cluster's own limits are never exceeded. A job for which not all of its nodes can be had gets none, and
    those after it may have what it leaves.
    """
    packing = _pack(load, cluster, existing, supply or {})
    short = _short(packing, cluster, wishes or {})
    coming: dict[str, dict[str, None]] = {}
    for bin_ in packing.bins:
        if bin_.stage is Stage.COMING:
            for job in bin_.jobs:
                coming.setdefault(job, {})[bin_.name] = None
    asks = [_ask(name, bins, cluster) for name, bins in packing.opened.items()]
    return Demand(asks, {job: tuple(names) for job, names in coming.items()}, packing.held, short)


def _short(packing: Packing, cluster: Cluster, wishes: Mapping[str, int]) -> dict[str, str]:
    short: dict[str, str] = {}
    for nodearray, count in wishes.items():
        names = [partition.name for partition in partitions_of_array(cluster, nodearray)]
        why = packing.wish(names, count)
        if why is not None:
            short |= dict.fromkeys(names, why)
    return short


def _ask(partition: str, bins: list[Bin], cluster: Cluster) -> NodeAsk:
    bins = sorted(bins, key=lambda bin_: bin_.order)
    jobs = dict.fromkeys(job for bin_ in bins for job in bin_.jobs)
    nodes = tuple(NewNode(bin_.name, bin_.vm_size, bin_.group) for bin_ in bins)
    return NodeAsk(partition, cluster.partitions[partition].nodearray or "", nodes, tuple(jobs))


def nodes_to_release(load: Load, cluster: Cluster, came_up: Mapping[str, float]) -> list[str]:
    """The nodes that may go: up, without a job, idle for the cluster's ``idle_s``, needed by no waiting job.

    ``came_up``: when a node was first seen up (unix seconds, the clock of ``load.now``). A node is idle
    since then or since its last job, whichever is later; one of which neither is known stays.
    """
    if cluster.elastic is None:
        return []
    occupied = {name for job in load.jobs for name in job.node_names}
    needed = {bin_.name for bin_ in _pack(load, cluster, {}, {}).bins if bin_.jobs}
    idle = [node for node in _elastic_nodes(load, cluster) if _empty(node) and node.name not in occupied]
    long_enough = [node.name for node in idle if _idle_s(node, load.now, came_up) >= cluster.elastic.idle_s]
    return sorted(set(long_enough) - needed, key=natural)


def _elastic_nodes(load: Load, cluster: Cluster) -> list[NodeState]:
    elastic = {name for name, partition in cluster.partitions.items() if partition.nodearray}
    return [node for node in load.nodes if elastic.intersection(node.partitions)]


def _empty(node: NodeState) -> bool:
    busy = node.cores_busy or node.memory_busy_mib or node.gpus_busy
    return node.status is NodeStatus.UP and not busy


def _idle_s(node: NodeState, now: float, came_up: Mapping[str, float]) -> float:
    since = [at for at in (node.last_busy, came_up.get(node.name)) if at is not None]
    return now - max(since) if since else 0.0


def _pack(
    load: Load, cluster: Cluster, existing: Mapping[str, Made], supply: Mapping[str, Supply]
) -> Packing:
    offered = {
        name: _fresh(supply[name]) if name in supply else _unlimited(load, cluster, name)
        for name, partition in cluster.partitions.items()
        if partition.nodearray
    }
    budget = budget_of(cluster, _there(load, cluster, existing))
    packing = Packing(list(bins_of(load.nodes, existing)), offered, budget, _groups(existing))
    for job in waiting_jobs(load):
        packing.put(job)
    return packing


def _fresh(supply: Supply) -> Supply:
    """Packing takes from it, and the caller's must stay what it is."""
    return replace(supply, offers=[replace(offer) for offer in supply.offers])


def _unlimited(load: Load, cluster: Cluster, name: str) -> Supply:
    partition = cluster.partitions[name]
    return Supply([Offer(partition.vm_size or "", len(load.nodes), partition.node_usd_per_hour)])


def _there(load: Load, cluster: Cluster, existing: Mapping[str, Made]) -> Iterator[tuple[str, str]]:
    """Partition and VM size of every node that counts against the cluster's limits."""
    listed = {node.name: node for node in _elastic_nodes(load, cluster)}
    for node in listed.values():
        if node.name in existing or node.status in _THERE:
            made = existing.get(node.name, Made())
            yield next(name for name in node.partitions if name in cluster.partitions), made.vm_size
    for name in existing.keys() - listed.keys():
        if existing[name].partition:
            yield existing[name].partition, existing[name].vm_size


def _groups(existing: Mapping[str, Made]) -> dict[str, int]:
    groups: dict[str, int] = {}
    for made in existing.values():
        if made.group:
            groups[made.group] = groups.get(made.group, 0) + 1
    return groups
