"""How long boots really take: learnt once there were a few, before that as clusters.yaml says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from hybrid_hpc.clusters import Cluster, Partition
from hybrid_hpc.ledger import Ledger

BOOTS_TO_LEARN = 3

Boots = Mapping[tuple[str, str], Sequence[float]]  # by nodearray and VM size: seconds, asking to taking jobs


def usual_boot_s(boots: Boots, partition: Partition, vm_size: str) -> tuple[float | None, bool]:
    """How long a boot takes and whether that is learnt; else as clusters.yaml says, None for nothing."""
    times = boots.get((partition.nodearray or "", vm_size), ())
    if len(times) >= BOOTS_TO_LEARN:
        return median(times), True
    return partition.boot_s or None, False


def with_boots(cluster: Cluster, boots: Boots) -> Cluster:
    """The cluster with the boot time of each partition's own VM size as it was learnt."""
    partitions = {
        name: partition.model_copy(
            update={"boot_s": usual_boot_s(boots, partition, partition.vm_size or "")[0] or 0.0}
        )
        for name, partition in cluster.partitions.items()
    }
    return cluster.model_copy(update={"partitions": partitions})


def as_learnt(cluster: Cluster, ledger: Ledger) -> Cluster:
    """The cluster as a decision should see it. Raises `Unavailable` when the ledger does not answer."""
    return with_boots(cluster, ledger.boot_times_s(cluster.name)) if cluster.elastic else cluster
