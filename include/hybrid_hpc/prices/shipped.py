"""The copy of the prices that comes with the project: `include/azure_prices.csv`."""

from __future__ import annotations

import csv
from datetime import date
from functools import cache
from pathlib import Path

from hybrid_hpc.prices.table import PriceRow

FILE = Path(__file__).resolve().parents[2] / "azure_prices.csv"


@cache
def shipped_prices() -> tuple[PriceRow, ...]:
    """Its rows, read once a process."""
    with FILE.open(encoding="utf-8", newline="") as lines:
        return tuple(_row(line) for line in csv.DictReader(lines))


def shipped_sizes() -> set[str]:
    """The VM sizes among them."""
    return {row.meter for row in shipped_prices() if row.meter.startswith("Standard_")}


def _row(line: dict[str, str]) -> PriceRow:
    return PriceRow(
        meter=line["meter"],
        region=line["region"],
        priority=line["priority"],
        unit=line["unit"],
        from_units=float(line["from_units"]),
        usd=float(line["usd"]),
        as_of=date.fromisoformat(line["as_of"]),
        approximate=line["approximate"] == "yes",
        source=line["source"],
    )
