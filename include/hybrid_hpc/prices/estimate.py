"""What a cluster in Azure costs a month, line by line, at the prices of a dated table (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

from hybrid_hpc.prices.table import (
    BLOB,
    DISK,
    EGRESS,
    PUBLIC_IP,
    REGULAR,
    SPOT,
    PriceRow,
    PriceTable,
    cost_usd,
)

REFERENCE = "eastus"  # its prices stand in, marked, for what always runs in a region without them
HOURS = 730.0  # of a month, as Azure's own calculator counts it
GB_PER_TB = 1024.0  # as the tiers of Azure's price list count it
SERVER = "Standard_D4s_v5"  # of the head node and of the CycleCloud server, both always on
SERVERS = 2


@dataclass(frozen=True, slots=True)
class Workload:
    """What runs in one month: ``nodes`` of one VM size for ``hours`` each, of which a part is spot."""

    name: str
    vm_size: str
    nodes: int = 100
    hours: float = HOURS
    spot_share: float = 0.0  # 0 to 1
    storage_tb: float = 2.0
    egress_tb: float = 1.0
    region: str = REFERENCE


SIZES = (
    Workload("small", "Standard_F4s_v2"),
    Workload("medium", "Standard_F8s_v2"),
    Workload("large", "Standard_F16s_v2"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an estimate; ``usd_each`` is the price of its first unit that is not free."""

    what: str
    quantity: float
    unit: str
    usd_each: float
    usd: float
    as_of: date
    approximate: bool


@dataclass(frozen=True, slots=True)
class Estimate:
    """A workload and what it costs."""

    workload: Workload
    lines: tuple[Line, ...]

    @property
    def usd(self) -> float:
        """The sum of its lines."""
        return sum(line.usd for line in self.lines)


def estimate(workload: Workload, table: PriceTable) -> Estimate:
    """The month, line by line; lines of nothing are left out.

    Raises `Invalid` when the table has no price of the VM size in the region.
    """
    lines = [*_nodes(workload, table), *_servers(workload, table), *_data(workload, table)]
    return Estimate(workload, tuple(line for line in lines if line.quantity))


def _nodes(workload: Workload, table: PriceTable) -> Iterator[Line]:
    node_h = workload.nodes * workload.hours
    shares = {REGULAR: 1.0 - workload.spot_share, SPOT: workload.spot_share}
    for priority, share in shares.items():
        if share:
            price = table.price(workload.vm_size, workload.region, priority)
            how = "spot" if priority == SPOT else "on demand"
            yield _line(f"nodes, {workload.vm_size} {how}", node_h * share, [price])


def _servers(workload: Workload, table: PriceTable) -> Iterator[Line]:
    for what, meter, quantity in (
        (f"head node and CycleCloud server, {SERVER}", SERVER, SERVERS * HOURS),
        ("their disks, P10 (128 GiB)", DISK, float(SERVERS)),
        ("their public addresses", PUBLIC_IP, SERVERS * HOURS),
    ):
        yield _from_nearest(what, meter, quantity, workload, table)


def _data(workload: Workload, table: PriceTable) -> Iterator[Line]:
    for what, meter, size_tb in (
        ("blob storage, hot, locally redundant", BLOB, workload.storage_tb),
        ("egress to the internet", EGRESS, workload.egress_tb),
    ):
        yield _from_nearest(what, meter, size_tb * GB_PER_TB, workload, table)


def _from_nearest(what: str, meter: str, quantity: float, workload: Workload, table: PriceTable) -> Line:
    """At the region's price, else at that of `REFERENCE`, which is told and counts as approximate."""
    here = table.tiers(meter, workload.region)
    if here:
        return _line(what, quantity, here)
    table.price(meter, REFERENCE)  # raises when it is not there either
    line = _line(f"{what} (price of {REFERENCE})", quantity, table.tiers(meter, REFERENCE))
    return replace(line, approximate=True)


def _line(what: str, quantity: float, tiers: Sequence[PriceRow]) -> Line:
    paid = next((row for row in tiers if row.usd), tiers[0])
    return Line(
        what=what,
        quantity=quantity,
        unit=paid.unit,
        usd_each=paid.usd,
        usd=cost_usd(tiers, quantity),
        as_of=paid.as_of,
        approximate=paid.approximate,
    )
