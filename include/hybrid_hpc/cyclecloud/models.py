"""What CycleCloud answers, with our names. Unknown fields are kept: it documents no schema for a node."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel, to_pascal


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, alias_generator=to_camel, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, values: object) -> object:
        """Take null for absent, which it means in every field of CycleCloud's."""
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if value is not None}


class Node(_Answer):
    """One node. ``status`` is where it stands, ``target_state`` what it is meant to become.

    ``status_message`` holds Azure's words when it failed. ``private_ip`` and ``hostname`` are '' until there
    is a VM. ``core_count`` are vCPUs, ``memory`` GB; 0 where CycleCloud does not say.
    """

    model_config = ConfigDict(alias_generator=to_pascal)

    name: str
    node_id: str
    nodearray: str = Field(alias="Template")
    machine_type: str = ""
    status: str = "Unknown"
    state: str = ""
    target_state: str = "Unknown"
    status_message: str = ""
    hostname: str = ""
    private_ip: str = ""
    instance_id: str = ""
    placement_group_id: str = ""
    request_id: str = ""
    interruptible: bool = False
    keep_alive: bool = False
    core_count: int = 0
    memory: float = 0

    @property
    def wanted(self) -> bool:
        """True while it is meant to run."""
        return self.target_state == "Started"

    @property
    def ready(self) -> bool:
        """True when it can be used: prepared, and with an address."""
        prepared = self.wanted and self.status in ("Ready", "Started")
        return prepared and bool(self.private_ip or self.hostname)

    @property
    def failed(self) -> bool:
        """True when it will not come without help; ``status_message`` says why. Its VM may still cost."""
        return self.status in ("Failed", "Unavailable")

    @property
    def booting(self) -> bool:
        """True while it is on its way to ready."""
        return self.wanted and not self.ready and not self.failed and not self.evicting

    @property
    def evicting(self) -> bool:
        """True when its spot VM was given notice: it still runs, and will be gone soon."""
        return "evict" in self.status.lower()

    @property
    def gone(self) -> bool:
        """True when it holds no VM: terminated or deallocated. A node that is not listed is gone too."""
        return not self.wanted and self.status in (self.target_state, "Terminated", "Deallocated", "Off")

    @property
    def leaving(self) -> bool:
        """True while its VM is being ended; it still counts against every limit."""
        return not self.wanted and not self.gone


class SetResult(_Answer):
    """How many nodes of one set were added, and in Azure's words why not more."""

    added: int
    message: str = ""


class Creation(_Answer):
    """What became of a request for nodes. It was accepted; that is not success: read ``sets``.

    ``already_asked``: the same request had arrived before, and ``sets`` is counted from the ``nodes`` of it
    that are listed now (then ``operation_id`` is '', and nodes that have ended meanwhile are not counted).
    """

    operation_id: str
    sets: tuple[SetResult, ...]
    already_asked: bool = False
    nodes: tuple[Node, ...] = ()

    @property
    def added(self) -> int:
        """How many nodes were added in all."""
        return sum(each.added for each in self.sets)

    @property
    def messages(self) -> tuple[str, ...]:
        """Why sets got fewer nodes than they asked for; empty when they got all."""
        return tuple(each.message for each in self.sets if each.message)


class ManagedNode(_Answer):
    """What became of the request for one node; ``error`` is empty when it was served."""

    id: str
    name: str
    status: str = "OK"
    error: str = ""


class NodeManagement(_Answer):
    """What became of a request to start or end nodes. Nodes that do not exist are not in ``nodes``."""

    operation_id: str
    nodes: tuple[ManagedNode, ...]
    already_asked: bool = False

    @property
    def errors(self) -> dict[str, str]:
        """The nodes that were not served, by name, with Azure's words."""
        return {each.name: each.error for each in self.nodes if each.status != "OK"}


class Operation(_Answer):
    """When something was asked for. CycleCloud does not say whether it is over: read its nodes."""

    action: str
    start_time: datetime


class NodeList(_Answer):
    """All nodes, or those of an operation."""

    nodes: tuple[Node, ...]
    operation: Operation | None = None


class Definition(_Answer):
    """Which VM size a bucket has."""

    machine_type: str


class VirtualMachine(_Answer):
    """A VM size; ``memory`` in GB."""

    vcpu_count: int
    pcpu_count: int
    gpu_count: int = 0
    memory: float
    infiniband: bool = False


class PlacementGroup(_Answer):
    """A group of nodes with a fast network among them."""

    name: str
    active_count: int
    active_core_count: int


class Bucket(_Answer):
    """One VM size of a nodearray. ``available_count`` is how many nodes more can be made.

    ``last_capacity_failure`` counts seconds since Azure had no machine of this size; negative: never.
    """

    bucket_id: str
    definition: Definition
    valid: bool
    invalid_reason: str = ""
    active_count: int
    active_core_count: int
    available_count: int
    available_core_count: int
    max_count: int
    max_core_count: int
    quota_count: int
    quota_core_count: int
    consumed_core_count: int
    family_quota_core_count: int = 0
    family_consumed_core_count: int = 0
    regional_quota_core_count: int = 0
    regional_consumed_core_count: int = 0
    max_placement_group_size: int
    placement_groups: tuple[PlacementGroup, ...] = ()
    last_capacity_failure: float = -1
    spot_placement_score: str = ""
    virtual_machine: VirtualMachine


class NodeArrayStatus(_Answer):
    """A nodearray: limits, VM sizes, and its open-ended ``attributes`` as CycleCloud names them."""

    name: str
    attributes: dict[str, Any] = Field(alias="nodearray")
    max_count: int
    max_core_count: int
    buckets: tuple[Bucket, ...]


class ClusterStatus(_Answer):
    """Limits of the cluster and, when asked for, its nodes."""

    state: str = ""
    target_state: str = ""
    max_count: int
    max_core_count: int
    nodearrays: tuple[NodeArrayStatus, ...]
    nodes: tuple[Node, ...] = ()

    def bucket(self, nodearray: str, vm_size: str | None = None) -> Bucket | None:
        """Give the bucket of a nodearray with that VM size (None: its first); None when there is none."""
        buckets = (each for array in self.nodearrays if array.name == nodearray for each in array.buckets)
        return next((each for each in buckets if vm_size in (None, each.definition.machine_type)), None)


class UsageDetail(_Answer):
    """Usage of one VM size at one price; ``hours`` are core-hours, ``cost`` is USD."""

    model_config = ConfigDict(alias_generator=None)

    vm_size: str = ""
    region: str = ""
    priority: str = ""
    os: str = ""
    core_count: int = 0
    hours: float = 0
    cost: float | None = None


class UsageItem(_Answer):
    """Usage of the cluster, a node or a nodearray; ``hours`` are core-hours, ``cost`` is estimated USD."""

    category: str
    node: str = ""
    hours: float
    cost: float | None = None
    details: tuple[UsageDetail, ...] = ()


class UsageInterval(_Answer):
    """Usage from ``start`` to ``end``, the end excluded."""

    start: datetime
    end: datetime
    total: UsageItem
    breakdown: tuple[UsageItem, ...] = ()


class ClusterUsage(_Answer):
    """Usage of VMs, from their start to their end: boot and idle time are in it."""

    usage: tuple[UsageInterval, ...]


Granularity = Literal["total", "daily", "hourly"]


class NodeSet(BaseModel):
    """Nodes to ask for: ``count`` of a nodearray, of one VM size (None: the nodearray's first that fits).

    ``name_format`` numbers the nodes with ``%d`` from ``name_offset`` on; without ``%d`` it is the exact name
    of one node. Nodes of one ``placement_group_id`` share a fast network; the group is made when it is new.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, serialize_by_alias=True, populate_by_name=True
    )

    count: int = Field(1, ge=1)
    nodearray: str
    vm_size: str | None = Field(None, exclude=True)
    placement_group_id: str | None = None
    name_format: str | None = None
    name_offset: int | None = None
    node_attributes: dict[str, Any] | None = None

    def body(self) -> dict[str, Any]:
        """Give the set as CycleCloud wants it."""
        definition = {"definition": {"machineType": self.vm_size}} if self.vm_size else {}
        return self.model_dump(exclude_none=True) | definition


def count_sets(sets: Sequence[NodeSet], nodes: Sequence[Node]) -> tuple[SetResult, ...]:
    """Spread the nodes of a request that is read back over the sets that were asked for, in order."""
    left = list(nodes)
    return tuple(_count(wanted, left) for wanted in sets)


def _count(wanted: NodeSet, left: list[Node]) -> SetResult:
    fitting = [node for node in left if _may_be_of(wanted, node)][: wanted.count]
    for node in fitting:
        left.remove(node)
    short = f"of {wanted.count} nodes asked for earlier, {len(fitting)} are listed now"
    return SetResult(added=len(fitting), message=short if len(fitting) < wanted.count else "")


def _may_be_of(wanted: NodeSet, node: Node) -> bool:
    exact = wanted.name_format if wanted.name_format and "%d" not in wanted.name_format else None
    size, group = wanted.vm_size, wanted.placement_group_id
    return (
        node.nodearray == wanted.nodearray
        and size in (None, node.machine_type)
        and exact in (None, node.name)
        and group in (None, node.placement_group_id)
    )
