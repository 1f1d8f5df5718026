"""What a decision is made from: each cluster at one moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from hybrid_hpc.clusters import Cluster, Partition
from hybrid_hpc.placement.outlook import Outlook
from hybrid_hpc.placement.waiting import partitions_of, waiting_jobs
from hybrid_hpc.placement.words import one_line
from hybrid_hpc.schedulers.base import Load, NodeStatus


@dataclass(frozen=True, slots=True)
class PartitionInputs:
    """What a decision knew of one partition; kept with the decision."""

    partition: str
    nodes: dict[str, int]  # by status
    cores_free: int
    gpus_free: int
    jobs_waiting: int
    core_hour_usd: float
    gpu_hour_usd: float
    creatable: int | None = None
    estimated_start: float | None = None  # unix seconds, the scheduler's own estimate
    evicted_every_h: float | None = None  # of spot nodes


@dataclass(frozen=True, slots=True)
class ClusterInputs:
    """What a decision knew of one cluster; ``seen_at`` is its head node's clock, None without answer."""

    cluster: str
    seen_at: float | None
    partitions: tuple[PartitionInputs, ...] = ()


@dataclass(frozen=True)
class ClusterView:
    """One cluster as it was at one moment; one view may serve any number of decisions.

    ``load`` is None, or ``unavailable`` says why, when the cluster did not answer. ``creatable``: how
    many more nodes each partition can get (quota); a partition that is missing has no such limit.
    ``estimates``: for a partition, when the scheduler itself would start this job (unix seconds, head
    node's clock). ``closed``: why it takes no job from the person who asks; then it was not looked at.
    """

    cluster: Cluster
    load: Load | None = None
    unavailable: str | None = None
    creatable: Mapping[str, int] = field(default_factory=dict)
    estimates: Mapping[str, float] = field(default_factory=dict)
    closed: str = ""

    @property
    def silence(self) -> str | None:
        """Why nothing is known of the cluster's load; None when it is known."""
        if self.unavailable:
            return one_line(self.unavailable)
        return None if self.load else "its state is not known"

    @cached_property
    def gpu_partitions(self) -> frozenset[str]:
        """The names of the partitions whose nodes have GPUs."""
        return frozenset(name for name, partition in self.cluster.partitions.items() if partition.gpus)

    @cached_property
    def spot_partitions(self) -> frozenset[str]:
        """The names of the partitions whose nodes may be evicted."""
        return frozenset(name for name, partition in self.cluster.partitions.items() if partition.spot)

    @cached_property
    def outlook(self) -> Outlook | None:
        """Forecast and prices of every partition, made when first asked for; None without an answer."""
        if self.load is None or self.unavailable:
            return None
        return Outlook(self.cluster, self.load, self.creatable, self.estimates)

    @cached_property
    def inputs(self) -> ClusterInputs:
        """What a decision keeps of this view."""
        if self.load is None:
            return ClusterInputs(self.cluster.name, None)
        waiting = Counter(name for job in waiting_jobs(self.load) for name in partitions_of(job))
        partitions = self.cluster.partitions.values()
        found = tuple(self._partition_inputs(partition, self.load, waiting) for partition in partitions)
        return ClusterInputs(self.cluster.name, self.load.now, found)

    def _partition_inputs(
        self, partition: Partition, load: Load, waiting: Mapping[str, int]
    ) -> PartitionInputs:
        nodes = [node for node in load.nodes if partition.name in node.partitions]
        up = [node for node in nodes if node.status is NodeStatus.UP]
        return PartitionInputs(
            partition.name,
            dict(Counter(node.status.value for node in nodes)),
            sum(node.cores_free for node in up),
            sum(node.gpus - node.gpus_busy for node in up),
            waiting.get(partition.name, 0),
            partition.prices.core_hour_usd,
            partition.prices.gpu_hour_usd,
            self.creatable.get(partition.name),
            self.estimates.get(partition.name),
            partition.spot.evicted_every_h if partition.spot else None,
        )
