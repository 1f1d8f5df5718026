"""How many nodes fit, and which limit it is that says so. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from lab.cyclecloud.config import Kind, NodeArray
from lab.cyclecloud.node import Node


@dataclass(frozen=True, slots=True)
class Limit:
    """How many nodes more, and the words for it; a ``message`` is the whole answer, as a fault wants it."""

    count: int
    words: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Region:
    """The quotas of cores, of the region and by family, and the nodes that take from them.

    Spot nodes take from the region's quota only.
    """

    name: str
    quota_cores: int
    quotas: Mapping[str, int]
    nodes: tuple[Node, ...]

    @property
    def consumed_cores(self) -> int:
        """Cores of all nodes that are there, come or go: a VM counts until it is gone."""
        return cores(self.nodes)

    def of_family(self, family: str) -> int:
        """Cores that are taken from a family's quota."""
        return cores([node for node in self.nodes if node.family == family and not node.interruptible])

    def quota_of(self, family: str) -> int:
        """The quota of a family; without one of its own, the region's."""
        return self.quotas.get(family, self.quota_cores)

    def of_array(self, array: NodeArray) -> list[Node]:
        """The nodes of one nodearray."""
        return [node for node in self.nodes if node.nodearray == array.name]

    def of_kind(self, kind: Kind) -> list[Node]:
        """The nodes of one bucket."""
        return [node for node in self.of_array(kind.array) if node.machine_type == kind.size.vm_size]


def consuming(nodes: Collection[Node]) -> tuple[Node, ...]:
    """Take those nodes that consume quota: all but the deallocated and terminated ones."""
    return tuple(node for node in nodes if not node.over)


def cores(nodes: Collection[Node]) -> int:
    """Add up cores."""
    return sum(node.cores for node in nodes)


def limit(kind: Kind, there: Region, group: str | None = None, *, spot: bool | None = None) -> Limit:
    """Give the tightest limit on further nodes of a bucket, in a placement group or in none.

    ``spot`` None: as its nodearray says.
    """
    array, size = kind.array, kind.size
    limits = [
        _holds(f"nodearray {array.name}", array.max_count, len(there.of_array(array))),
        _holds(f"{size.vm_size} in nodearray {array.name}", kind.max_count, len(there.of_kind(kind))),
        _regional(kind, there),
    ]
    if size.invalid_reason:
        limits.append(Limit(0, f"{size.vm_size} cannot be used: {size.invalid_reason}"))
    if not (array.interruptible if spot is None else spot):
        limits.append(_family(kind, there))
    if group:
        limits.append(_group(kind, there, group))
    return min(limits, key=lambda each: each.count)


def _holds(what: str, at_most: int, active: int) -> Limit:
    return Limit(at_most - active, f"{what} holds at most {at_most} nodes")


def _regional(kind: Kind, there: Region) -> Limit:
    quota = f"the quota of {there.quota_cores} cores in {there.name}"
    return _quota(kind, quota, there.quota_cores - there.consumed_cores)


def _family(kind: Kind, there: Region) -> Limit:
    family = kind.size.quota_family
    granted = there.quota_of(family)
    quota = f"the quota of {granted} cores of {family} in {there.name}"
    return _quota(kind, quota, granted - there.of_family(family))


def _quota(kind: Kind, quota: str, free: int) -> Limit:
    size, left = kind.size, max(free, 0)
    return Limit(left // size.vcpus, f"{quota} has {left} left, a {size.vm_size} takes {size.vcpus}")


def _group(kind: Kind, there: Region, group: str) -> Limit:
    inside = sum(node.placement_group_id == group for node in there.of_kind(kind))
    return _holds(f"placement group {group}", kind.array.max_placement_group_size, inside)
