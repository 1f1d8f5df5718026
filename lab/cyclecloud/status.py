"""What GET status says: limits, buckets, nodes. No I/O."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from lab.cyclecloud.config import Config, Kind, NodeArray
from lab.cyclecloud.limits import Region, cores, limit
from lab.cyclecloud.model import (
    Bucket,
    ClusterStatus,
    Definition,
    NodeArrayStatus,
    NodeView,
    PlacementGroup,
    VirtualMachine,
)
from lab.cyclecloud.node import Node


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that the status is made of, by bucket where it is a mapping.

    ``groups`` are the placement groups ever used: one that is missing hides its nodes from Azure's clients.
    ``capacity_failures`` are unix seconds.
    """

    config: Config
    region: Region
    groups: Mapping[str, Collection[str]]
    capacity_failures: Mapping[str, float]
    now: float
    with_nodes: bool = False


def cluster_status(scene: Scene, nodes: Collection[Node]) -> ClusterStatus:
    """Put the status together; ``nodes`` are all node records, listed only when the scene says so."""
    arrays = scene.config.nodearrays
    return ClusterStatus(
        max_count=sum(array.max_count for array in arrays),
        max_core_count=sum(array.max_cores for array in arrays),
        nodearrays=[_nodearray(array, scene) for array in arrays],
        nodes=[node.view() for node in nodes] if scene.with_nodes else None,
    )


def _nodearray(array: NodeArray, scene: Scene) -> NodeArrayStatus:
    return NodeArrayStatus(
        name=array.name,
        nodearray=_attributes(array, scene.config),
        max_count=array.max_count,
        max_core_count=array.max_cores,
        buckets=[_bucket(kind, scene) for kind in array.kinds],
    )


def _attributes(array: NodeArray, config: Config) -> NodeView:
    return {
        "Name": array.name,
        "Region": config.region,
        "SubnetId": f"lab/{config.cluster}/compute",
        "MachineType": _one_or_all([size.vm_size for size in array.sizes]),
        "Interruptible": array.interruptible,
        "Priority": 1,
        "Memory": array.sizes[0].memory_gib,
        "Azure": {"MaxScalesetSize": array.max_placement_group_size},
        "Configuration": dict(array.configuration),
    }


def _one_or_all(names: list[str]) -> str | list[str]:
    return names[0] if len(names) == 1 else names


def _bucket(kind: Kind, scene: Scene) -> Bucket:
    array, size = kind.array, kind.size
    active = scene.region.of_kind(kind)
    available = max(limit(kind, scene.region).count, 0)
    return Bucket(
        bucket_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{scene.config.cluster}/{kind.key}")),
        definition=Definition(machine_type=size.vm_size),
        valid=not size.invalid_reason,
        invalid_reason=size.invalid_reason,
        active_count=len(active),
        active_core_count=cores(active),
        active_nodes=[node.name for node in active] if scene.with_nodes else None,
        available_count=available,
        available_core_count=available * size.vcpus,
        max_count=kind.max_count,
        max_core_count=kind.max_count * size.vcpus,
        max_placement_group_size=array.max_placement_group_size,
        max_placement_group_core_size=array.max_placement_group_size * size.vcpus,
        placement_groups=_placement_groups(kind, active, scene),
        last_capacity_failure=_since_failure(kind, scene),
        spot_placement_score=size.spot_score,
        virtual_machine=_virtual_machine(kind),
        **_quotas(kind, scene.region),
    )


def _quotas(kind: Kind, region: Region) -> dict[str, int]:
    """The region's quota, the family's, and the tighter of both; a spot nodearray has the region's only."""
    spot, family, vcpus = kind.array.interruptible, kind.size.quota_family, kind.size.vcpus
    granted = 0 if spot else region.quota_of(family)
    consumed = 0 if spot else region.of_family(family)
    quota = region.quota_cores if spot else min(granted, region.quota_cores)
    return {
        "quota_core_count": quota,
        "quota_count": quota // vcpus,
        "consumed_core_count": region.consumed_cores if spot else consumed,
        "family_quota_core_count": granted,
        "family_quota_count": granted // vcpus,
        "family_consumed_core_count": consumed,
        "regional_quota_core_count": region.quota_cores,
        "regional_quota_count": region.quota_cores // vcpus,
        "regional_consumed_core_count": region.consumed_cores,
    }


def _placement_groups(kind: Kind, active: Collection[Node], scene: Scene) -> list[PlacementGroup]:
    members = {
        name: [node for node in active if node.placement_group_id == name]
        for name in scene.groups.get(kind.key, ())
    }
    return [
        PlacementGroup(name=name, active_count=len(inside), active_core_count=cores(inside))
        for name, inside in members.items()
    ]


def _since_failure(kind: Kind, scene: Scene) -> float:
    failed_at = scene.capacity_failures.get(kind.key)
    return -1.0 if failed_at is None else max(scene.now - failed_at, 0.0)


def _virtual_machine(kind: Kind) -> VirtualMachine:
    size = kind.size
    return VirtualMachine(
        vcpu_count=size.vcpus,
        pcpu_count=size.pcpus,
        gpu_count=size.gpus,
        memory=size.memory_gib,
        infiniband=size.infiniband,
        vcpu_quota_count=size.vcpus,
    )
