"""A cluster as somebody last saw it, by partition: only the newest look is kept, for the pages (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime

from hybrid_hpc.clusters import Cluster, Partition
from hybrid_hpc.schedulers.base import Load, NodeState, NodeStatus
from hybrid_hpc.usage.samples import WHOLE, SampleRow, samples_of

_COMPUTING = (NodeStatus.UP, NodeStatus.DRAINING)


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """One partition, or with '' the whole cluster, when it was last seen; the numbers are `SampleRow`'s."""

    cluster: str
    partition: str
    seen_at: datetime  # our clock: the page says how old it is
    nodes_idle: int  # up, without a job
    nodes_busy: int  # up, with at least one
    nodes_booting: int
    nodes_off: int
    nodes_draining: int
    nodes_down: int
    cores: int
    cores_busy: int
    cores_free: int
    gpus: int
    gpus_busy: int
    jobs_running: int
    jobs_waiting: int
    jobs_held: int
    cores_waiting: int
    busy_usd_per_hour: float  # what the cores and GPUs that jobs keep cost, at the prices of clusters.yaml
    trouble: str  # what keeps further nodes away, in the words of who said it; '' for nothing

    @property
    def nodes_up(self) -> int:
        """Nodes that take jobs."""
        return self.nodes_idle + self.nodes_busy


_SAMPLED = [each.name for each in fields(SnapshotRow) if each.name in SampleRow.__dataclass_fields__]


def snapshot_of(
    load: Load, cluster: Cluster, trouble: Mapping[str, str], seen_at: datetime
) -> list[SnapshotRow]:
    """A row for the whole cluster, first, and one for each partition; ``trouble`` is by partition."""
    told = {WHOLE: "; ".join(dict.fromkeys(filter(None, trouble.values()))), **trouble}
    return [
        _row(sample, _nodes_in(load, sample.partition), cluster, told.get(sample.partition, ""), seen_at)
        for sample in samples_of(load, cluster.name)
    ]


def _nodes_in(load: Load, partition: str) -> list[NodeState]:
    return [node for node in load.nodes if partition in (WHOLE, *node.partitions)]


def _row(
    sample: SampleRow, nodes: Iterable[NodeState], cluster: Cluster, trouble: str, seen_at: datetime
) -> SnapshotRow:
    computing = [node for node in nodes if node.status in _COMPUTING]
    busy = sum(node.status is NodeStatus.UP and node.cores_busy > 0 for node in computing)
    return SnapshotRow(
        seen_at=seen_at,
        nodes_busy=busy,
        nodes_idle=sample.nodes_up - busy,
        busy_usd_per_hour=sum(_busy_usd_per_hour(node, cluster.partitions) for node in computing),
        trouble=trouble,
        **{name: getattr(sample, name) for name in _SAMPLED},
    )


def _busy_usd_per_hour(node: NodeState, partitions: Mapping[str, Partition]) -> float:
    """At the prices of the first of its partitions that clusters.yaml has: a node counts once."""
    known = [partitions[name] for name in node.partitions if name in partitions]
    if not known:
        return 0.0
    prices = known[0].prices
    return node.cores_busy * prices.core_hour_usd + node.gpus_busy * prices.gpu_hour_usd
