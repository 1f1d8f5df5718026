"""Charges as rows of FOCUS 1.2, the FinOps Open Cost and Usage Specification, in CSV (pure).

https://focus.finops.org/focus-specification/v1-2/. An empty cell is null. Columns with ``x_`` are ours.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.usage.export_charges import Charge, Kind
from hybrid_hpc.usage.windows import Window

VERSION = "1.2"
UNIT = "Core-Hours"
AZURE = "Microsoft"
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with which a spreadsheet takes a text for a formula
COLUMNS = (
    *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd"),
    *("BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency"),
    *("ChargePeriodEnd", "ChargePeriodStart", "ConsumedQuantity", "ConsumedUnit", "ContractedCost"),
    *("ContractedUnitPrice", "EffectiveCost", "InvoiceIssuerName", "ListCost", "ListUnitPrice"),
    *("PricingCategory", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "RegionId"),
    *("RegionName", "ResourceId", "ResourceName", "ResourceType", "ServiceCategory", "ServiceName"),
    *("ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceId", "SubAccountId", "SubAccountName", "Tags"),
    *("x_Kind", "x_Estimated"),
)
Cell = str | float | None


def focus_csv(charges: Iterable[Charge], clusters: Mapping[str, Cluster], month: Window) -> Iterator[str]:
    """The file in pieces, each a whole line or more; the first one is the head."""
    yield _line(COLUMNS)
    for charge in charges:
        row = focus_row(charge, clusters.get(charge.cluster), month)
        yield _line(_text(row[name]) for name in COLUMNS)


def focus_row(charge: Charge, cluster: Cluster | None, month: Window) -> dict[str, Cell]:
    """One charge by the names of `COLUMNS`; None is null.

    ``cluster`` None: clusters.yaml does not have it any more.
    """
    return {
        **_costs(charge),
        **_account(charge, cluster),
        **_periods(charge, month),
        **_what(charge, cluster),
        "x_Kind": charge.kind.value,
        "x_Estimated": "true" if charge.estimated else "false",
    }


def _costs(charge: Charge) -> dict[str, Cell]:
    """All four costs are one: there are no discounts, and nothing is paid ahead."""
    each_usd = charge.usd / charge.core_h
    costs = dict.fromkeys(("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), charge.usd)
    prices = dict.fromkeys(("ContractedUnitPrice", "ListUnitPrice"), each_usd)
    quantities = dict.fromkeys(("ConsumedQuantity", "PricingQuantity"), charge.core_h)
    units = dict.fromkeys(("ConsumedUnit", "PricingUnit", "SkuMeter"), UNIT)
    return {"BillingCurrency": "USD", **costs, **prices, **quantities, **units}


def _account(charge: Charge, cluster: Cluster | None) -> dict[str, Cell]:
    """Whom it is owed to, and which project owes it."""
    title = cluster.title if cluster else charge.cluster
    provider = AZURE if cluster and cluster.elastic else title
    return {
        "BillingAccountId": charge.cluster,
        "BillingAccountName": title,
        "SubAccountId": charge.project or None,
        "SubAccountName": charge.project or None,
        **dict.fromkeys(("ProviderName", "PublisherName", "InvoiceIssuerName"), provider),
    }


def _periods(charge: Charge, month: Window) -> dict[str, Cell]:
    return {
        "BillingPeriodStart": _moment(month.since),
        "BillingPeriodEnd": _moment(month.until),
        "ChargePeriodStart": _moment(charge.day.since),
        "ChargePeriodEnd": _moment(charge.day.until),
    }


def _what(charge: Charge, cluster: Cluster | None) -> dict[str, Cell]:
    region = cluster.elastic.region if cluster and cluster.elastic else None
    sku = charge.vm_size or f"{charge.cluster}/{charge.part}"
    return {
        "ChargeCategory": "Usage",
        "ChargeClass": None,
        "ChargeDescription": _description(charge),
        "ChargeFrequency": "Usage-Based",
        "PricingCategory": "Dynamic" if charge.spot else "Standard",
        "RegionId": region,
        "RegionName": region,
        "ResourceId": f"{charge.cluster}/{charge.part}",
        "ResourceName": charge.part,
        "ResourceType": _RESOURCES[charge.kind],
        "ServiceCategory": "Compute",
        "ServiceName": "Virtual Machines" if charge.vm_size else "High-performance computing",
        "ServiceSubcategory": "Virtual Machines",
        "SkuId": sku,
        "SkuPriceId": f"{sku}/spot" if charge.spot else sku,
        "Tags": _tags(charge),
    }


_RESOURCES = {
    Kind.JOBS: "Partition",
    Kind.HEAD: "Head node",
    Kind.BOOT: "Nodearray",
    Kind.IDLE: "Nodearray",
}


def _description(charge: Charge) -> str:
    whose = f" of {charge.project}" if charge.project else ""
    estimate = " (estimate at retail prices)" if charge.estimated else ""
    return f"{charge.kind.value}{whose} on {charge.cluster}, {charge.part}{estimate}"


def _tags(charge: Charge) -> str:
    tags = {"cluster": charge.cluster, "kind": charge.kind.value, "project": charge.project}
    return json.dumps({name: value for name, value in tags.items() if value})


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _text(cell: Cell) -> str:
    """A number as FOCUS wants it; a text that a spreadsheet would compute with a ' before it."""
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.10f}".rstrip("0").rstrip(".")
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def _line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue()
