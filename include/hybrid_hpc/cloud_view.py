"""An elastic cluster's cloud side beside the scheduler's view of its nodes (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.narration import Booting
from hybrid_hpc.schedulers.base import Load, NodeState, NodeStatus

OUR_REASON = "hybrid-hpc:"  # begins every reason that we give a node; others are an administrator's


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one waiting job stands: its nodes that are on their way, or what keeps them away."""

    booting: Booting | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class CloudView:
    """What an elastic cluster's cloud side looks like after a step.

    ``existing``: names of all nodes that CycleCloud has; ``trouble``: what keeps nodes away, by partition.
    ``jobs``: where each job (native id) stands that waits for nodes; None while that is not known.
    ``differs``: what to tell about nodes, by name, that the scheduler and CycleCloud see differently.
    """

    existing: frozenset[str] = frozenset()
    trouble: Mapping[str, str] = field(default_factory=dict)
    jobs: Mapping[str, Standing] | None = None
    differs: Mapping[str, str] = field(default_factory=dict)

    def of(self, native_id: str, partition: str) -> Standing:
        """Where a job stands; one that needs no more nodes than there are has nothing to tell."""
        if self.jobs is None:
            return Standing(trouble=self.trouble.get(partition, ""))
        return self.jobs.get(native_id, Standing())


def with_cloud(load: Load, cluster: Cluster, existing: Iterable[str]) -> Load:
    """The load with the elastic nodes' true status: off where CycleCloud has none, else booting.

    To the scheduler both look broken. Nodes that are up or draining keep their status, and so do those that
    somebody else drained: they are not asked for, and not taken in, until they are given back.
    """
    names = frozenset(existing)
    elastic = {node.name for node in elastic_nodes(load, cluster)}

    def seen(node: NodeState) -> NodeState:
        gone = node.status in (NodeStatus.DOWN, NodeStatus.OFF, NodeStatus.BOOTING)
        if not gone or node.name not in elastic or drained_by_others(node):
            return node
        return replace(node, status=NodeStatus.BOOTING if node.name in names else NodeStatus.OFF)

    return replace(load, nodes=tuple(seen(node) for node in load.nodes))


def drained_by_others(node: NodeState) -> bool:
    """True for a node that an administrator, or the scheduler itself, has drained."""
    return node.drained and not node.reason.startswith(OUR_REASON)


def elastic_nodes(load: Load, cluster: Cluster) -> list[NodeState]:
    """The nodes of those partitions that have a nodearray."""
    elastic = {name for name, partition in cluster.partitions.items() if partition.nodearray}
    return [node for node in load.nodes if elastic.intersection(node.partitions)]
