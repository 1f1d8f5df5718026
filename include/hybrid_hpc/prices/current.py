"""The prices that count today: the ledger's, and the shipped ones of what it does not have."""

from __future__ import annotations

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.prices.shipped import shipped_prices
from hybrid_hpc.prices.table import PriceTable
from hybrid_hpc.prices.vm_costs import priced
from hybrid_hpc.usage.vm_hours import VmHourRow


def current_prices(ledger: Ledger | None = None) -> PriceTable:
    """The newest of each; without a ledger the shipped ones."""
    return PriceTable([*shipped_prices(), *(ledger.newest_prices() if ledger else ())])


def with_costs(rows: list[VmHourRow], cluster: Cluster, ledger: Ledger) -> list[VmHourRow]:
    """The rows, priced where CycleCloud does not know the price; the table is read only if one lacks it."""
    if cluster.elastic is None or all(row.cost_usd is not None for row in rows):
        return rows
    return priced(rows, cluster.elastic.region, current_prices(ledger))
