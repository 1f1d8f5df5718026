"""What VM hours cost where CycleCloud does not know the prices (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hybrid_hpc.prices.table import PriceTable
from hybrid_hpc.usage.vm_hours import VmHourRow


def priced(rows: Iterable[VmHourRow], region: str | None, table: PriceTable) -> list[VmHourRow]:
    """The rows; those without a cost get VM hours times price, where the table has the VM size there."""
    return [row if row.cost_usd is not None else _priced(row, region or "", table) for row in rows]


def _priced(row: VmHourRow, region: str, table: PriceTable) -> VmHourRow:
    tiers = table.tiers(row.vm_size, region, row.priority)
    if row.node_h is None or not tiers:
        return row
    return replace(row, cost_usd=row.node_h * tiers[0].usd)
