"""The hours of an elastic cluster's VMs, as CycleCloud counts them: boot, idle, head node too (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from hybrid_hpc.cyclecloud.models import ClusterUsage, UsageDetail, UsageInterval, UsageItem

HEAD_NODE = "node"  # CycleCloud's category of a VM that is in no nodearray


@dataclass(frozen=True, slots=True)
class VmHourRow:
    """The VMs of one kind in one hour; ``cost_usd`` is an estimate at retail prices, None: not known."""

    cluster: str
    hour: datetime  # its beginning
    category: str  # nodearray; node: a VM of its own, such as the head node; cluster: not told apart
    name: str  # of the nodearray or node
    vm_size: str  # '' where CycleCloud tells no details
    priority: str  # Regular or Spot
    core_h: float
    node_h: float | None  # None where it does not say how many cores a VM has
    cost_usd: float | None


def vm_hours_of(usage: ClusterUsage, cluster: str) -> list[VmHourRow]:
    """A row per hour and kind of VM; hours without a VM have none."""
    return [row for interval in usage.usage for row in _of_interval(interval, cluster)]


def _of_interval(interval: UsageInterval, cluster: str) -> list[VmHourRow]:
    hour = interval.start.astimezone(UTC)
    rows: dict[tuple[str, ...], VmHourRow] = {}
    for item in interval.breakdown or (interval.total,):
        for detail in _details(item):
            row = _row(cluster, hour, item, detail)
            key = (row.category, row.name, row.vm_size, row.priority)
            rows[key] = _together(rows[key], row) if key in rows else row
    return [row for row in rows.values() if row.core_h]


def _details(item: UsageItem) -> Iterator[UsageDetail]:
    """CycleCloud documents no details: without them the item is taken as a whole."""
    if item.details:
        yield from item.details
    else:
        yield UsageDetail(hours=item.hours, cost=item.cost)


def _row(cluster: str, hour: datetime, item: UsageItem, detail: UsageDetail) -> VmHourRow:
    return VmHourRow(
        cluster=cluster,
        hour=hour,
        category=item.category,
        name=item.node,
        vm_size=detail.vm_size,
        priority=detail.priority,
        core_h=detail.hours,
        node_h=detail.hours / detail.core_count if detail.core_count else None,
        cost_usd=detail.cost,
    )


def _together(one: VmHourRow, other: VmHourRow) -> VmHourRow:
    """The same kind in another region or with another system; a part that is not known leaves no sum."""
    return VmHourRow(
        *(one.cluster, one.hour, one.category, one.name, one.vm_size, one.priority),
        core_h=one.core_h + other.core_h,
        node_h=_sum(one.node_h, other.node_h),
        cost_usd=_sum(one.cost_usd, other.cost_usd),
    )


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
