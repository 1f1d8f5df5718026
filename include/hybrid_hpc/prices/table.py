"""Dated prices, looked up by what is paid for, where and how (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from operator import attrgetter

from hybrid_hpc.errors import Invalid, Problem
from hybrid_hpc.problems import did_you_mean, shown

REGULAR, SPOT = "Regular", "Spot"  # CycleCloud's words for on demand and for what may be taken back
BLOB, EGRESS, DISK, PUBLIC_IP = "blob_hot_lrs", "egress", "disk_p10_lrs", "public_ip_standard"
STALE_DAYS = 90  # a table that is older says little of what is paid today


@dataclass(frozen=True, slots=True)
class PriceRow:
    """What one unit of a meter costs in USD from ``from_units`` a month on, as it was on one day.

    ``meter`` is a VM size, or one of `BLOB`, `EGRESS`, `DISK`, `PUBLIC_IP`; ``unit`` is ``hour``, ``month``,
    ``GB`` or ``GB-month``. ``approximate``: not read from the price list itself, or its day is not sure.
    """

    meter: str
    region: str
    priority: str
    unit: str
    from_units: float
    usd: float
    as_of: date
    approximate: bool
    source: str


Key = tuple[str, str, str]
_key = attrgetter("meter", "region", "priority")
_day = attrgetter("as_of")


class PriceTable:
    """The newest prices of each meter; older ones of the same meter, region and priority are left out."""

    def __init__(self, rows: Iterable[PriceRow]) -> None:
        by_key = sorted(rows, key=_key)
        self._tiers: Mapping[Key, Sequence[PriceRow]] = {
            key: _newest(list(same)) for key, same in groupby(by_key, key=_key)
        }

    def tiers(self, meter: str, region: str, priority: str = REGULAR) -> Sequence[PriceRow]:
        """Its prices by quantity, the smallest first; () when it is not in the table."""
        return self._tiers.get((meter, region, priority), ())

    def price(self, meter: str, region: str, priority: str = REGULAR) -> PriceRow:
        """The price of its first unit. Raises `Invalid` with what the table has instead."""
        found = self.tiers(meter, region, priority)
        if not found:
            raise Invalid([self._missing(meter, region, priority)])
        return found[0]

    def regions(self) -> tuple[str, ...]:
        """Every region of which there is a price, sorted."""
        return tuple(sorted({region for _, region, _ in self._tiers}))

    def oldest(self) -> date | None:
        """The day of the oldest price that counts; None for an empty table."""
        return min((rows[0].as_of for rows in self._tiers.values()), default=None)

    def _missing(self, meter: str, region: str, priority: str) -> Problem:
        meters = {known for known, _, _ in self._tiers}
        if meter not in meters:
            return Problem(
                "vm_size", f"{shown(meter)} is not in the price table", did_you_mean(meter, meters)
            )
        there = {known for size, known, how in self._tiers if (size, how) == (meter, priority)}
        what = f"the price table has no {priority} price of {meter} in {shown(region)}"
        remedy = f"It has one in: {', '.join(sorted(there))}." if there else "Leave spot out for it."
        return Problem("region", what, f"{remedy} The DAG hpc_prices brings more.")


def cost_usd(tiers: Sequence[PriceRow], quantity: float) -> float:
    """What so many units cost, each at the price of the tier that it falls into; ``tiers`` as by `tiers`."""
    ends = [*(row.from_units for row in tiers[1:]), float("inf")]
    return sum(
        row.usd * max(min(quantity, end) - row.from_units, 0.0) for row, end in zip(tiers, ends, strict=True)
    )


def _newest(same: list[PriceRow]) -> Sequence[PriceRow]:
    day = max(map(_day, same))
    tiers = {row.from_units: row for row in same if row.as_of == day}
    return [tiers[units] for units in sorted(tiers)]
