"""Bringing today's prices from Azure: of which VM sizes and regions, and what was not found."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.prices.api import RetailPrices
from hybrid_hpc.prices.estimate import REFERENCE
from hybrid_hpc.prices.retail import questions, rows_of
from hybrid_hpc.prices.shipped import shipped_sizes
from hybrid_hpc.prices.table import PriceRow


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What came; ``missing`` are VM sizes, as ``size in region``, of which Azure tells no price there."""

    rows: tuple[PriceRow, ...]
    missing: tuple[str, ...]


def wanted_regions(clusters: Iterable[Cluster]) -> list[str]:
    """Those of the elastic clusters, and the one whose prices stand in for others."""
    named = {cluster.elastic.region for cluster in clusters if cluster.elastic and cluster.elastic.region}
    return sorted(named | {REFERENCE})


def wanted_sizes(clusters: Iterable[Cluster]) -> set[str]:
    """Every VM size of clusters.yaml and of the shipped table."""
    ours = {size for cluster in clusters for part in cluster.partitions.values() for size in part.sizes}
    return {size for size in ours if size} | shipped_sizes()


async def todays_prices(
    prices: RetailPrices, regions: Iterable[str], vm_sizes: Collection[str], today: date
) -> Refreshed:
    """All of these, of every region. Raises what `RetailPrices.items` raises: half a table is none."""
    rows: list[PriceRow] = []
    missing: list[str] = []
    for region in regions:
        here = [
            row
            for question in questions(region, vm_sizes)
            for row in rows_of(question, await prices.items(question), today)
        ]
        known = {row.meter for row in here}
        missing += [f"{size} in {region}" for size in sorted(vm_sizes) if size not in known]
        rows += here
    return Refreshed(tuple(rows), tuple(missing))
