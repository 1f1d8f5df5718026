"""How the server begins and ends to misbehave."""

from __future__ import annotations

from collections.abc import Iterable

from lab.cyclecloud.auth import Account
from lab.cyclecloud.cloud import Cloud
from lab.cyclecloud.faults import FaultRequest, Faults
from lab.cyclecloud.node import Node, Target


def misbehave(cloud: Cloud, account: Account, request: FaultRequest) -> Faults:
    """Replace the faults that the request names, do what it wants at once, and give all faults of now."""
    given = request.model_fields_set & Faults.model_fields.keys()
    _become(cloud, account, cloud.faults.model_copy(update={name: getattr(request, name) for name in given}))
    if request.outage_s is not None:
        cloud.out_of_service_for(request.outage_s)
    cloud.note("Faults", **request.model_dump(exclude_unset=True))
    for node in _with_vm(cloud, request.evict):
        cloud.end(node, Target.TERMINATED, "SpotEvicted")
    if request.evict_notice:
        _warn(cloud, request.evict_notice.names, request.evict_notice.in_s)
    return cloud.faults


def behave(cloud: Cloud, account: Account) -> Faults:
    """End all faults, and what they are remembered by: that a VM size could not be had."""
    cloud.state.capacity_failures.clear()
    _become(cloud, account, Faults())
    cloud.out_of_service_for(0)
    cloud.note("Faults", ended=True)
    return cloud.faults


def _become(cloud: Cloud, account: Account, faults: Faults) -> None:
    cloud.faults = faults
    if account.rejects and not faults.reject_logins:
        account.unlock()  # else those whom the fault refused wait five minutes more
    account.rejects = faults.reject_logins


def _warn(cloud: Cloud, names: Iterable[str], in_s: float) -> None:
    for node in _with_vm(cloud, names):
        if not node.leaving:
            node.warn(cloud.clock() + in_s)
            cloud.note("EvictionNotice", node=node.name, in_s=in_s)


def _with_vm(cloud: Cloud, names: Iterable[str]) -> list[Node]:
    return [node for node in filter(None, map(cloud.state.nodes.get, names)) if node.vm]
