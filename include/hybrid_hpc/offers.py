"""What CycleCloud's status says of a partition: VM sizes that can be had, and what blocks others (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from hybrid_hpc.clusters import Partition
from hybrid_hpc.cyclecloud import Bucket, ClusterStatus
from hybrid_hpc.supply import Offer, Supply

CAPACITY_S = 300.0  # so long a size is left alone that Azure had no machine of
MIB_SLACK = 0.99  # CycleCloud rounds GB
_NO_CAPACITY = re.compile(r"allocation ?failed|capacity|sku ?not ?available|overconstrained", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Failure:
    """A VM size that could not be had, or whose node failed, so many seconds ago, and why."""

    age_s: float
    why: str

    @property
    def of_capacity(self) -> bool:
        """True when Azure had no machine."""
        return _NO_CAPACITY.search(self.why) is not None


def supply_of(
    partition: Partition, status: ClusterStatus, failures: Mapping[str, Failure], *, again_s: float
) -> Supply:
    """The VM sizes that can be made now, the cheapest first, then that of which there are most.

    A size of which Azure had no machine in the last five minutes is left out, as is one that failed
    otherwise in the last ``again_s``. When no other is left, the one whose failure is oldest is tried again,
    ``again_s`` after it.
    """
    offers: list[Offer] = []
    late: list[tuple[float, Offer]] = []
    whys: dict[str, None] = {}
    limits: dict[str, None] = {}
    for vm_size, usd_per_hour in partition.sizes.items():
        bucket = status.bucket(partition.nodearray or "", vm_size)
        why = blocked(partition, vm_size, bucket, status)
        if bucket is None or why:
            whys[why] = None
            continue
        offer = Offer(vm_size, bucket.available_count, usd_per_hour, _group_size(partition, bucket))
        failure = _recent(vm_size, bucket, failures.get(vm_size), again_s)
        if failure:
            late.append((failure.age_s, offer))
            whys[failure.why] = None
        else:
            offers.append(offer)
            limits[_limit(partition, vm_size, bucket, status)] = None
    if not offers:
        offers = [offer for age_s, offer in sorted(late, key=lambda each: -each[0])[:1] if age_s >= again_s]
    return Supply(
        sorted(offers, key=lambda offer: (offer.usd_per_hour, -offer.left)), *map("; ".join, (whys, limits))
    )


def _recent(vm_size: str, bucket: Bucket, ours: Failure | None, again_s: float) -> Failure | None:
    if ours and ours.age_s < (CAPACITY_S if ours.of_capacity else again_s):
        return ours
    if 0 <= bucket.last_capacity_failure < CAPACITY_S:
        return Failure(
            bucket.last_capacity_failure, f"Azure had no {vm_size} free less than five minutes ago"
        )
    return None


def _group_size(partition: Partition, bucket: Bucket) -> int:
    coupled = partition.tightly_coupled
    if coupled is None:
        coupled = bucket.virtual_machine.infiniband
    return max(1, bucket.max_placement_group_size) if coupled else 0


def blocked(partition: Partition, vm_size: str, bucket: Bucket | None, status: ClusterStatus) -> str:
    """Why no node of this size can be made now; '' when one can."""
    if bucket is None:
        return f"nodearray {partition.nodearray} has no {vm_size} in CycleCloud"
    if not bucket.valid:
        return f"Azure gives no {vm_size} to this subscription ({bucket.invalid_reason or 'no reason given'})"
    if _smaller(partition, bucket):
        return f"{vm_size} is smaller than the nodes of {partition.name}"
    if bucket.available_count > 0:
        return ""
    return _limit(partition, vm_size, bucket, status)


def _smaller(partition: Partition, bucket: Bucket) -> bool:
    machine = bucket.virtual_machine
    return (
        machine.vcpu_count < partition.cores
        or machine.memory * 1024 < partition.memory_mib * MIB_SLACK
        or machine.gpu_count < partition.gpus
    )


def _limit(partition: Partition, vm_size: str, bucket: Bucket, status: ClusterStatus) -> str:
    """Which limit is reached, or would be with one node more than can be made now, with Azure's numbers."""
    array = next(each for each in status.nodearrays if each.name == partition.nodearray)
    most = min(bucket.max_count, array.max_count)
    left, reached = bucket.available_count, "reached" if bucket.available_count <= 0 else "not enough"
    if sum(each.active_count for each in array.buckets) + left >= most:
        return f"nodearray {array.name} is at its limit in CycleCloud, {most} nodes"
    takes = bucket.virtual_machine.vcpu_count
    quotas = {
        f"the family of {vm_size}": (bucket.family_consumed_core_count, bucket.family_quota_core_count),
        "the region": (bucket.regional_consumed_core_count, bucket.regional_quota_core_count),
    }
    if array.attributes.get("Interruptible"):
        del quotas[f"the family of {vm_size}"]  # of spot nodes, Azure counts by region only
    for whose, (used, quota) in quotas.items():
        if used + takes * (left + 1) > quota:
            return (
                f"the Azure quota of {whose} is {reached}: "
                f"{used} of {quota} cores are in use, a {vm_size} takes {takes}"
            )
    return f"CycleCloud can make no {'more ' if left > 0 else ''}{vm_size} now and does not say why"
