"""What questions get: nodes, status, usage, operations."""

from __future__ import annotations

from lab.cyclecloud.cloud import Cloud
from lab.cyclecloud.faults import DeclinedError
from lab.cyclecloud.model import ClusterStatus, ClusterUsage, NodeList, OperationStatus
from lab.cyclecloud.status import Scene, cluster_status
from lab.cyclecloud.store import Operation
from lab.cyclecloud.usage import Question, cluster_usage


def status(cloud: Cloud, *, with_nodes: bool) -> ClusterStatus:
    """Answer GET status."""
    state = cloud.state
    failures, groups = state.capacity_failures, state.placement_groups
    scene = Scene(cloud.config, cloud.region(), groups, failures, cloud.clock(), with_nodes)
    return cluster_status(scene, state.nodes.values())


def usage(cloud: Cloud, question: Question) -> ClusterUsage:
    """Answer GET usage. Raises DeclinedError 400."""
    running = [*cloud.state.running.values(), *filter(None, [cloud.state.head_node])]
    lives = [*cloud.state.lives, *running]
    return cluster_usage(question, lives, cloud.config.region, cloud.clock())


def nodes(cloud: Cloud, operation_ids: str | None = None, request_id: str | None = None) -> NodeList:
    """Answer GET nodes: all, or those of operations (ids joined by commas). Raises DeclinedError."""
    if operation_ids and request_id:
        raise DeclinedError(400, "either operation or request_id, not both")
    everything = cloud.state.nodes.values()
    if not operation_ids and not request_id:
        return NodeList(nodes=[node.view() for node in everything])
    asked = _requested(cloud, request_id) if request_id else _operations(cloud, operation_ids or "")
    ids = {node_id for operation in asked for node_id in operation.node_ids}
    views = [node.view() for node in everything if node.node_id in ids]
    return NodeList(nodes=views, operation=_shown(asked[0]))


def operations(cloud: Cloud, request_id: str | None = None) -> list[OperationStatus]:
    """Answer GET operations: all, or the one or none of a request id."""
    if request_id is None:
        return [_shown(operation) for operation in cloud.state.operations.values()]
    found = cloud.operation_of(request_id)
    return [_shown(found)] if found else []


def operation(cloud: Cloud, operation_id: str) -> OperationStatus:
    """Answer GET operations/ID. Raises DeclinedError 404."""
    return _shown(_operations(cloud, operation_id)[0])


def _requested(cloud: Cloud, request_id: str) -> list[Operation]:
    found = cloud.operation_of(request_id)
    if found is None:
        raise DeclinedError(404, "No operation found for request id")
    return [found]


def _operations(cloud: Cloud, ids: str) -> list[Operation]:
    found = [cloud.state.operations.get(each) for each in ids.split(",")]
    if None in found:
        raise DeclinedError(404, "No operation found")
    return [each for each in found if each]


def _shown(operation: Operation) -> OperationStatus:
    return OperationStatus(action=operation.action, start_time=operation.start_time)
