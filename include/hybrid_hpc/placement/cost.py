"""What a job costs at most on a partition: the walltime that was asked for, at the partition's prices."""

from __future__ import annotations

from dataclasses import dataclass

from hybrid_hpc.clusters import Cluster, Partition
from hybrid_hpc.placement.calendar import Room
from hybrid_hpc.placement.fits import Shape

HOUR_S = 3600.0


@dataclass(slots=True)
class Rates:
    """A partition's prices, ready to multiply: USD for a second of one core, one GPU, one whole node.

    On an elastic cluster whole nodes are paid, also while they boot and for the idle time after which
    they go: ``around_s``. It is None where only the cores and GPUs used are paid.
    """

    capacity: Room
    nodes: int
    core_usd_s: float
    gpu_usd_s: float
    node_usd_s: float
    around_s: float | None

    def most_usd(self, shape: Shape) -> float:
        """An upper bound in USD, all tasks of an array together; less when the job ends sooner."""
        nodes, (cores, _, gpus), _, walltime_s, tasks, _ = shape
        if self.around_s is None:
            return tasks * nodes * walltime_s * (cores * self.core_usd_s + gpus * self.gpu_usd_s)
        turns = self.node_turns(shape)
        return (turns * walltime_s + min(turns, self.nodes) * self.around_s) * self.node_usd_s

    def node_turns(self, shape: Shape) -> int:
        """How many times a whole node is used for the walltime; small array tasks share one."""
        if shape.tasks == 1 or shape.nodes > 1:
            return shape.tasks * shape.nodes
        side_by_side = min(self.capacity.times(shape.room), shape.at_once)
        return -(-shape.tasks // max(1, side_by_side))


def rates_of(partition: Partition, cluster: Cluster) -> Rates:
    """The rates of one partition of a cluster."""
    core_usd_s = partition.prices.core_hour_usd / HOUR_S
    gpu_usd_s = partition.prices.gpu_hour_usd / HOUR_S
    return Rates(
        Room(partition.cores, partition.memory_mib, partition.gpus),
        partition.nodes,
        core_usd_s,
        gpu_usd_s,
        max(partition.sizes.values()) / HOUR_S,
        partition.boot_s + cluster.elastic.idle_s if cluster.elastic else None,
    )
