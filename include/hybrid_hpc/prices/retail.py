"""The language of Azure's Retail Prices API: what is asked, and what its items mean (pure).

https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices. Values of a filter
are case-sensitive. Spot is no type of its own: it stands in the meter's name, as *Low Priority* does, which
is for Batch only; Windows stands in the product's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from pydantic import BaseModel, Field

from hybrid_hpc.prices.table import BLOB, DISK, EGRESS, PUBLIC_IP, REGULAR, SPOT, PriceRow

ADDRESS = "https://prices.azure.com/api/retail/prices"
SIZES_AT_ONCE = 10  # in one filter, which is part of the address
UNITS = {"1 Hour": "hour", "1 GB": "GB", "1 GB/Month": "GB-month", "1/Month": "month", "1 Month": "month"}


class RetailItem(BaseModel):
    """One price of one meter; what else the API tells of it is left out."""

    currency: str = Field(alias="currencyCode")
    from_units: float = Field(0.0, alias="tierMinimumUnits")
    usd: float = Field(alias="retailPrice", ge=0, allow_inf_nan=False)
    meter_name: str = Field(alias="meterName")
    product: str = Field("", alias="productName")
    sku: str = Field("", alias="skuName")
    vm_size: str = Field("", alias="armSkuName")
    unit: str = Field(alias="unitOfMeasure")
    kind: str = Field(alias="type")


class RetailPage(BaseModel):
    """One page of an answer; ``next_page`` is the address of the one after it."""

    items: list[RetailItem] = Field(alias="Items")
    next_page: str | None = Field(None, alias="NextPageLink")


@dataclass(frozen=True, slots=True)
class Question:
    """One filter; its items are prices of ``meter``, or of their own VM size where that is ''."""

    text: str
    region: str
    meter: str = ""


def questions(region: str, vm_sizes: Iterable[str]) -> Iterator[Question]:
    """All that is to be asked for one region."""
    here = f"armRegionName eq '{region}' and priceType eq 'Consumption'"
    named = sorted(vm_sizes)
    for some in (named[at : at + SIZES_AT_ONCE] for at in range(0, len(named), SIZES_AT_ONCE)):
        sizes = " or ".join(f"armSkuName eq '{vm_size}'" for vm_size in some)
        yield Question(f"serviceName eq 'Virtual Machines' and {here} and ({sizes})", region)
    for meter, filtered in _METERS.items():
        yield Question(f"{filtered} and {here}", region, meter)
    yield Question(_PUBLIC_IP, region, PUBLIC_IP)  # the same everywhere, so it is in no region


_METERS = {
    BLOB: "serviceName eq 'Storage' and productName eq 'General Block Blob v2'"
    " and meterName eq 'Hot LRS Data Stored'",
    DISK: "serviceName eq 'Storage' and productName eq 'Premium SSD Managed Disks'"
    " and meterName eq 'P10 LRS Disk'",
    EGRESS: "serviceName eq 'Bandwidth' and productName eq 'Rtn Preference: MGN'"
    " and meterName eq 'Standard Data Transfer Out'",
}
_PUBLIC_IP = (
    "serviceName eq 'Virtual Network' and productName eq 'IP Addresses'"
    " and meterName eq 'Standard IPv4 Static Public IP' and priceType eq 'Consumption'"
)


def rows_of(question: Question, items: Sequence[RetailItem], today: date) -> list[PriceRow]:
    """The prices that the items are, one for each meter, priority and tier; others are left out."""
    rows = [_row(question, item, today) for item in items if _counts(item)]
    return list({(row.meter, row.priority, row.from_units): row for row in reversed(rows)}.values())


def _counts(item: RetailItem) -> bool:
    names = f"{item.product} {item.sku} {item.meter_name}"
    others = any(word in names for word in ("Windows", "Low Priority", "CloudServices"))
    nothing = item.unit == "1 Hour" and not item.usd  # a preview, whose price will come
    ours = item.kind == "Consumption" and item.currency == "USD" and item.unit in UNITS
    return ours and not others and not nothing


def _row(question: Question, item: RetailItem, today: date) -> PriceRow:
    return PriceRow(
        meter=question.meter or item.vm_size,
        region=question.region,
        priority=SPOT if "Spot" in f"{item.sku} {item.meter_name}" else REGULAR,
        unit=UNITS[item.unit],
        from_units=item.from_units,
        usd=item.usd,
        as_of=today,
        approximate=False,
        source=ADDRESS,
    )
