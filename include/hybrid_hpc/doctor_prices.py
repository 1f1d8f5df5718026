"""The doctor's last look at a cluster: its prices beside Azure's. It warns, and fails nothing."""

from __future__ import annotations

from datetime import date

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.doctor import Finding
from hybrid_hpc.prices.check import price_warnings
from hybrid_hpc.prices.table import PriceTable


def price_findings(cluster: Cluster, table: PriceTable, today: date) -> list[Finding]:
    """One finding for each price that is far off, and for a table that is old; [] when all is well."""
    return [
        Finding(cluster.name, "prices", well=True, found=each.found, remedy=each.remedy)
        for each in price_warnings(cluster, table, today)
    ]
