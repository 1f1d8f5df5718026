"""Nodes that come: nodes/create and scale."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator

from lab.cyclecloud.cloud import Cloud
from lab.cyclecloud.config import Kind, NodeArray
from lab.cyclecloud.faults import invalid
from lab.cyclecloud.limits import Limit, limit
from lab.cyclecloud.model import (
    Definition,
    NodeCreationRequest,
    NodeCreationResult,
    NodeSet,
    SetResult,
)
from lab.cyclecloud.node import Boot, Node


def create(cloud: Cloud, request: NodeCreationRequest) -> NodeCreationResult:
    """Add nodes, as many as fit. Raises DeclinedError 409 when anything is invalid: then none was added."""
    cloud.refuse_repeated(request.request_id)
    choices = [_choices(wanted, cloud) for wanted in request.sets]
    created, results = list[Node](), list[SetResult]()
    for wanted, kinds in zip(request.sets, choices, strict=True):
        nodes, result = _add(cloud, wanted, _with_room(cloud, wanted, kinds), request.request_id)
        created += nodes
        results.append(result)
    operation = cloud.operation("create", request.request_id, created)
    return NodeCreationResult(operation_id=operation.id, sets=results)


def scale(cloud: Cloud, nodearray: str, cores: int | None, nodes: int | None) -> NodeCreationResult:
    """Add what is missing to a total of cores or of nodes, once. Raises DeclinedError 409."""
    array = cloud.config.nodearray(nodearray)
    if array is None or (cores is None) is (nodes is None):
        raise invalid("scale: a known nodearray, and either totalCoreCount or totalNodeCount from 0 up")
    there = cloud.region().of_array(array)
    wanted = NodeSet(count=1, nodearray=nodearray)
    size = _with_room(cloud, wanted, array.kinds).size
    missing_cores = (cores or 0) - sum(node.cores for node in there)
    missing = -(-missing_cores // size.vcpus) if nodes is None else nodes - len(there)
    if missing > 0:
        wanted = NodeSet(count=missing, nodearray=nodearray, definition=Definition(machine_type=size.vm_size))
        return create(cloud, NodeCreationRequest(sets=[wanted]))
    operation = cloud.operation("create", None, ())
    return NodeCreationResult(operation_id=operation.id, sets=[SetResult(added=0)])


def _choices(wanted: NodeSet, cloud: Cloud) -> list[Kind]:
    """Give the buckets that a set may go into."""
    array = cloud.config.nodearray(wanted.nodearray)
    if array is None:
        raise invalid(f"cluster {cloud.config.cluster} has no nodearray {wanted.nodearray!r}")
    if wanted.count > 1 and wanted.exact_name:
        raise invalid(f"nameFormat {wanted.exact_name!r} without %d names one node, not {wanted.count}")
    return _of_size(array, wanted.definition.machine_type if wanted.definition else None)


def _of_size(array: NodeArray, size: str | None) -> list[Kind]:
    kinds = [kind for kind in array.kinds if size in (None, kind.size.vm_size)]
    if not kinds:
        sizes = ", ".join(each.vm_size for each in array.sizes)
        raise invalid(f"nodearray {array.name} has no VM size {size!r}, only {sizes}")
    return kinds


def _with_room(cloud: Cloud, wanted: NodeSet, kinds: list[Kind]) -> Kind:
    """Give the first bucket that has room for any node, else the first."""
    return next((kind for kind in kinds if _room(cloud, wanted, kind).count > 0), kinds[0])


def _add(cloud: Cloud, wanted: NodeSet, kind: Kind, request_id: str | None) -> tuple[list[Node], SetResult]:
    _remember_group(cloud, wanted, kind)
    room = _room(cloud, wanted, kind)
    added = max(min(wanted.count, room.count), 0)
    names = itertools.islice(_free_names(cloud, wanted, kind.array), added)
    nodes = [_add_node(cloud, name, wanted, kind, request_id) for name in names]
    short = room.message or f"only {added} of {wanted.count} nodes can be added: {room.words}"
    return nodes, SetResult(added=added, message=short if added < wanted.count else None)


def _remember_group(cloud: Cloud, wanted: NodeSet, kind: Kind) -> None:
    group, known = wanted.placement_group_id, cloud.state.placement_groups.setdefault(kind.key, [])
    if group and group not in known:
        known.append(group)


def _room(cloud: Cloud, wanted: NodeSet, kind: Kind) -> Limit:
    taken = cloud.state.nodes.get(wanted.exact_name or "")
    if taken is not None:
        return Limit(0, f"there is a node {taken.name} already, {taken.status.lower()}")
    real = limit(kind, cloud.region(), wanted.placement_group_id, spot=_spot(wanted, kind))
    faulty = cloud.faults.room(kind, wanted.exact_name)
    return faulty if faulty is not None and faulty.count < real.count else real


def _spot(wanted: NodeSet, kind: Kind) -> bool:
    return (wanted.node_attributes or {}).get("Interruptible", kind.array.interruptible) is True


def _free_names(cloud: Cloud, wanted: NodeSet, array: NodeArray) -> Iterator[str]:
    """Names with the lowest free numbers; a node that ends keeps its name until it is gone."""
    pattern = wanted.name_format or array.name_format
    first = 1 if wanted.name_offset is None else wanted.name_offset
    names = (pattern.replace("%d", str(number)) for number in itertools.count(first))
    return (name for name in names if name not in cloud.state.nodes)


def _add_node(cloud: Cloud, name: str, wanted: NodeSet, kind: Kind, request_id: str | None) -> Node:
    node = _node(cloud, name, wanted, kind, request_id)
    cloud.state.nodes[name] = node
    cloud.note("NodeAdded", node=name, nodeArray=kind.array.name, vmSize=kind.size.vm_size)
    cloud.boot(node)
    return node


def _node(cloud: Cloud, name: str, wanted: NodeSet, kind: Kind, request_id: str | None) -> Node:
    size, spot = kind.size, _spot(wanted, kind)
    return Node(
        name=name,
        node_id=str(uuid.uuid4()),
        nodearray=kind.array.name,
        machine_type=size.vm_size,
        family=size.quota_family,
        cores=size.vcpus,
        memory_gib=size.memory_gib,
        region=cloud.config.region,
        private_ip=_address(cloud),
        usual_boot_s=size.boot_s,
        usd_per_hour=size.price(spot=spot),
        interruptible=spot,
        placement_group_id=wanted.placement_group_id,
        request_id=request_id,
        attributes=wanted.node_attributes or {},
        boot=Boot(began_at=cloud.clock(), takes_s=size.boot_s),
    )


def _address(cloud: Cloud) -> str:
    cloud.state.numbered += 1
    subnet = cloud.config.subnet
    return str(subnet[cloud.state.numbered % subnet.num_addresses])
