"""Nodes that are there: start, shutdown, terminate and their like."""

from __future__ import annotations

from collections.abc import Callable

from lab.cyclecloud.cloud import Cloud
from lab.cyclecloud.faults import invalid
from lab.cyclecloud.filters import Filter, node_filter
from lab.cyclecloud.limits import limit
from lab.cyclecloud.model import ManagedNode, NodeManagementRequest, NodeManagementResult
from lab.cyclecloud.node import Node, Status, Target

Act = Callable[[Cloud, Node], str | None]  # gives the error of this node, None when it is served


def manage(cloud: Cloud, action: str, request: NodeManagementRequest) -> NodeManagementResult:
    """Do one of `ACTIONS` to all nodes that any selector names. Raises DeclinedError 409."""
    cloud.refuse_repeated(request.request_id)
    nodes = [node for node in cloud.state.nodes.values() if _selector(request)(node)]
    results = [_managed(node, ACTIONS[action](cloud, node)) for node in nodes]
    operation = cloud.operation(action, request.request_id, nodes)
    return NodeManagementResult(operation_id=operation.id, nodes=results)


def retry_failed(cloud: Cloud) -> None:
    """Have every failed node boot once more."""
    for node in cloud.state.nodes.values():
        if node.status is Status.FAILED:
            _again(cloud, node, Status.RESTARTING)


def _selector(request: NodeManagementRequest) -> Callable[[Node], bool]:
    names = {*(request.names or ()), *(request.hostnames or ())}
    ids, addresses = set(request.ids or ()), set(request.ip_addresses or ())
    accepts = _filter(request)
    return lambda node: (
        node.name in names or node.node_id in ids or node.private_ip in addresses or accepts(node.view())
    )


def _filter(request: NodeManagementRequest) -> Filter:
    selectors = (request.ids, request.names, request.hostnames, request.ip_addresses, request.filter)
    if all(selector is None for selector in selectors):
        raise invalid("one of ids, names, hostnames, ip_addresses, filter is needed")
    return (lambda _: False) if request.filter is None else node_filter(request.filter)


def _managed(node: Node, error: str | None) -> ManagedNode:
    return ManagedNode(id=node.node_id, name=node.name, status="Error" if error else "OK", error=error)


def _start(cloud: Cloud, node: Node) -> str | None:
    if node.leaving and node.target is not Target.STARTED:
        return f"This node is {node.status.lower()}"
    if node.target is Target.STARTED and node.status is not Status.FAILED:
        return None
    error = _no_room(cloud, node)
    if error is None:
        _again(cloud, node, Status.RESTARTING)
    return error


def _no_room(cloud: Cloud, node: Node) -> str | None:
    kind = cloud.config.kind(node.nodearray, node.machine_type)
    if not node.over or kind is None:
        return None
    room = limit(kind, cloud.region(), node.placement_group_id, spot=node.interruptible)
    return None if room.count > 0 else f"This node cannot be started: {room.words}"


def _again(cloud: Cloud, node: Node, status: Status) -> None:
    node.again(status, cloud.clock())
    cloud.note("NodeLeaves", node=node.name, target=node.target)
    cloud.switch_off(node)


def _shutdown(cloud: Cloud, node: Node) -> str | None:
    deallocates = node.attributes.get("ShutdownPolicy") == "Deallocate"
    return _deallocate(cloud, node) if deallocates else _terminate(cloud, node)


def _terminate(cloud: Cloud, node: Node) -> str | None:
    if node.target is not Target.TERMINATED:
        cloud.end(node, Target.TERMINATED)
    return None


def _deallocate(cloud: Cloud, node: Node) -> str | None:
    if node.target is Target.TERMINATED:
        return f"This node is {node.status.lower()}"
    if node.target is Target.STARTED:
        cloud.end(node, Target.DEALLOCATED)
    return None


def _remove(cloud: Cloud, node: Node) -> str | None:
    node.removed = True
    if node.over or node.target is not Target.TERMINATED:
        cloud.end(node, Target.TERMINATED)
    return None


def _boots_again(status: Status) -> Act:
    def act(cloud: Cloud, node: Node) -> str | None:
        if node.status not in (Status.READY, Status.FAILED):
            return f"This node is {node.status.lower()}; only one that is started can do that"
        _again(cloud, node, status)
        return None

    return act


ACTIONS: dict[str, Act] = {
    "start": _start,
    "shutdown": _shutdown,
    "terminate": _terminate,
    "deallocate": _deallocate,
    "remove": _remove,
    "restart": _boots_again(Status.RESTARTING),
    "reimage": _boots_again(Status.REIMAGING),
}
