"""The prices of clusters.yaml beside those of the table: what differs, and how old the table is (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from hybrid_hpc.clusters import Cluster, Partition
from hybrid_hpc.prices.table import STALE_DAYS, PriceTable

CORRECT = "Correct the price in clusters.yaml: the placement goes by it."
RENEW = "Unpause the DAG hpc_prices: it brings today's."
TOLERANCE = 0.10  # of the table's price


@dataclass(frozen=True, slots=True)
class PriceWarning:
    """What is not as it should be with a price, and what to do."""

    found: str
    remedy: str


def price_warnings(cluster: Cluster, table: PriceTable, today: date) -> list[PriceWarning]:
    """One for each price of an elastic cluster that is far from the table's, and for an old table.

    Spot prices change by the day and are not compared; VM sizes that the table lacks neither, unless it lacks
    all of them.
    """
    region = cluster.elastic.region if cluster.elastic else None
    if region is None:
        return []
    compared = [part for part in cluster.partitions.values() if part.spot is None]
    return [
        *(found for part in compared for found in _differences(part, region, table)),
        *_age(cluster, region, table, today),
    ]


def _differences(partition: Partition, region: str, table: PriceTable) -> Iterator[PriceWarning]:
    for vm_size, usd in partition.sizes.items():
        for row in table.tiers(vm_size, region)[:1]:
            if abs(usd - row.usd) > TOLERANCE * row.usd:
                here = f"{partition.name}: {vm_size} costs {usd:.2f} USD per hour in clusters.yaml"
                yield PriceWarning(f"{here}, {row.usd:.2f} in {region} on {row.as_of}", CORRECT)


def _age(cluster: Cluster, region: str, table: PriceTable, today: date) -> Iterator[PriceWarning]:
    sizes = {vm_size for part in cluster.partitions.values() for vm_size in part.sizes}
    days = [row.as_of for vm_size in sizes for row in table.tiers(vm_size, region)[:1]]
    if not days:
        yield PriceWarning(f"no price of its VM sizes in {region} is known", RENEW)
    elif (age := (today - min(days)).days) > STALE_DAYS:
        yield PriceWarning(f"Azure's prices are as of {min(days)}, {age} days ago", RENEW)
