"""The bodies of CycleCloud's requests and answers, field by field as documented."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from lab.cyclecloud.config import NodeNameFormat

NodeView = dict[str, Any]  # CycleCloud documents no schema for a node: CamelCase attributes, open ended
_TEXTS = ("Name", "NodeId", "Template", "MachineType", "Status", "State", "TargetState", "StatusMessage")
_LATER = ("PrivateIp", "Hostname", "InstanceId", "PlacementGroupId", "RequestId", "Region")
_NODE = {
    "type": "object",
    "description": "Its attributes; PrivateIp, Hostname and InstanceId when it has a machine.",
    "required": [name for name in _TEXTS if name != "StatusMessage"],
    "properties": {name: {"type": "string"} for name in (*_TEXTS, *_LATER)}
    | {"Interruptible": {"type": "boolean"}, "CoreCount": {"type": "integer"}, "Memory": {"type": "number"}},
}
NodeRecord = Annotated[NodeView, WithJsonSchema(_NODE)]
RequestId = Annotated[str, Field(min_length=1, max_length=200)]


def _all_json(attributes: dict[str, Any]) -> dict[str, Any]:
    json.dumps(attributes, allow_nan=False)  # else a NaN in one node ends every answer about nodes
    return attributes


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Definition(_Body):
    """Which VM size; None takes the first that fits."""

    machine_type: str | None = None


class NodeSet(_Body):
    """Some nodes of one kind. A ``name_format`` without ``%d`` is the exact name of the only node."""

    count: int = Field(ge=1, strict=True)
    nodearray: str
    definition: Definition | None = None
    placement_group_id: str | None = None
    name_format: NodeNameFormat | None = None
    name_offset: int | None = Field(None, ge=0, le=1_000_000, strict=True)
    node_attributes: Annotated[dict[str, Any], AfterValidator(_all_json)] | None = None

    @property
    def exact_name(self) -> str | None:
        """The name of the only node; None when nodes are numbered."""
        return None if self.name_format is None or "%d" in self.name_format else self.name_format


class NodeCreationRequest(_Body):
    """Body of nodes/create."""

    request_id: RequestId | None = None
    sets: list[NodeSet] = Field(min_length=1)


class SetResult(_Body):
    """How many nodes of a set were added, and why not more."""

    added: int
    message: str | None = None


class NodeCreationResult(_Body):
    """Answer of nodes/create and scale; the sets stand in the order of the request."""

    operation_id: str
    sets: list[SetResult]


class NodeManagementRequest(_Body):
    """Body of start, shutdown, terminate and their like: the union of all selectors that are given."""

    ids: list[str] | None = None
    names: list[str] | None = None
    hostnames: list[str] | None = None
    ip_addresses: list[str] | None = Field(None, alias="ip_addresses")
    filter: str | None = None
    request_id: RequestId | None = None


class ManagedNode(_Body):
    """What became of the request for one node."""

    id: str
    name: str
    status: Literal["OK", "Error"] = "OK"
    error: str | None = None


class NodeManagementResult(_Body):
    """Answer of start, shutdown, terminate and their like."""

    operation_id: str
    nodes: list[ManagedNode]


class OperationStatus(_Body):
    """When an operation was asked for. CycleCloud says nowhere whether it is over."""

    action: str
    start_time: datetime


class NodeList(_Body):
    """Answer of GET nodes."""

    nodes: list[NodeRecord]
    operation: OperationStatus | None = None


class GuestHealthReport(_Body):
    """A report on the machine of a node. CycleCloud documents no fields for it: these are ours."""

    node: str
    category: str
    description: str
    submitted: datetime


class PlacementGroup(_Body):
    """A group of nodes with a fast network among them."""

    name: str
    active_count: int
    active_core_count: int


class VirtualMachine(_Body):
    """A VM size; ``memory`` in GB."""

    vcpu_count: int
    pcpu_count: int
    gpu_count: int
    memory: float
    infiniband: bool
    vcpu_quota_count: int


class Bucket(_Body):
    """One VM size of a nodearray: what is there and how much more can be made."""

    bucket_id: str
    definition: Definition
    valid: bool = True
    invalid_reason: str = ""
    active_count: int
    active_core_count: int
    active_nodes: list[str] | None = None
    available_count: int
    available_core_count: int
    max_count: int
    max_core_count: int
    quota_count: int
    quota_core_count: int
    consumed_core_count: int
    family_quota_count: int
    family_quota_core_count: int
    family_consumed_core_count: int
    regional_quota_count: int
    regional_quota_core_count: int
    regional_consumed_core_count: int
    max_placement_group_size: int
    max_placement_group_core_size: int
    placement_groups: list[PlacementGroup]
    last_capacity_failure: float
    spot_placement_score: str = ""
    virtual_machine: VirtualMachine


class NodeArrayStatus(_Body):
    """A nodearray: its attributes, its limits and its buckets."""

    name: str
    nodearray: NodeView
    max_count: int
    max_core_count: int
    buckets: list[Bucket]


class ClusterStatus(_Body):
    """Answer of GET status; ``nodes`` only when asked for."""

    state: str = "Started"
    target_state: str = "Started"
    max_count: int
    max_core_count: int
    nodearrays: list[NodeArrayStatus]
    nodes: list[NodeRecord] | None = None


class UsageDetail(BaseModel):
    """Usage of one VM size at one price; ``hours`` are core-hours, ``cost`` is USD."""

    vm_size: str
    region: str
    priority: Literal["Regular", "Spot"]
    os: Literal["Linux", "Windows"] = "Linux"
    core_count: int
    hours: float
    cost: float | None = None


class UsageItem(BaseModel):
    """Usage of the cluster, a node or a nodearray; ``hours`` are core-hours, ``cost`` is USD."""

    category: Literal["cluster", "node", "nodearray"]
    node: str | None = None
    hours: float
    cost: float | None = None
    details: list[UsageDetail] | None = None


class UsageInterval(BaseModel):
    """Usage from ``start`` to ``end``, the end excluded."""

    start: datetime
    end: datetime
    total: UsageItem
    breakdown: list[UsageItem]


class ClusterUsage(BaseModel):
    """Answer of GET usage."""

    usage: list[UsageInterval]
