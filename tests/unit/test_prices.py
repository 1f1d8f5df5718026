"""Promises about prices: the newest counts, tiers add up, what is not known is never invented."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from hybrid_hpc.cluster_models import Cluster
from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.errors import Invalid
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.prices.check import price_warnings
from hybrid_hpc.prices.current import current_prices, with_costs
from hybrid_hpc.prices.shipped import shipped_prices, shipped_sizes
from hybrid_hpc.prices.table import EGRESS, SPOT, PriceTable, cost_usd
from hybrid_hpc.prices.vm_costs import priced
from hybrid_hpc.usage.vm_hours import VmHourRow
from tests.unit.price_world import DAY, price
from tests.unit.usage_world import NOON

pytest_plugins = ["tests.unit.ledger_fixtures"]

AZURE = load_clusters().cluster("azure")


def vm_hour(vm_size: str = "Standard_F16s_v2", cost_usd: float | None = None, **changes: object) -> VmHourRow:
    row = {"cluster": "azure", "hour": NOON, "category": "nodearray", "name": "htc", "priority": "Regular"}
    return VmHourRow(vm_size=vm_size, cost_usd=cost_usd, **{**row, "core_h": 32.0, "node_h": 2.0, **changes})  # type: ignore[arg-type]


def test_of_several_days_the_newest_price_counts() -> None:
    table = PriceTable([price(usd=0.7, as_of=DAY), price(usd=0.6, as_of=DAY - timedelta(days=7))])
    assert table.price("Standard_F16s_v2", "eastus").usd == 0.7
    assert table.oldest() == DAY


@pytest.mark.parametrize(
    ("quantity", "usd"), [(0, 0.0), (100, 0.0), (1024, 80.388), (10_240, 882.18), (11_240, 965.18)]
)
def test_each_unit_costs_what_its_tier_costs(quantity: float, usd: float) -> None:
    tiers = [
        price(EGRESS, 0.0),
        price(EGRESS, 0.087, from_units=100),
        price(EGRESS, 0.083, from_units=10_240),
    ]
    assert cost_usd(PriceTable(tiers).tiers(EGRESS, "eastus"), quantity) == pytest.approx(usd)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("Standard_F16_v2", "eastus"), "Did you mean Standard_F16s_v2"),
        (("Standard_F16s_v2", "mars"), "It has one in: eastus"),
        (("Standard_F16s_v2", "eastus", SPOT), "Leave spot out"),
    ],
)
def test_a_price_that_is_not_known_is_refused_with_what_there_is(asked: tuple[str, ...], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        PriceTable([price()]).price(*asked)


def test_the_shipped_copy_has_every_vm_size_of_clusters_yaml_with_its_day_and_source() -> None:
    rows = shipped_prices()
    sizes = {size for part in AZURE.partitions.values() for size in part.sizes}
    assert sizes <= shipped_sizes()
    assert all(row.source.startswith("https://") and row.usd >= 0 for row in rows)
    assert all(date(2024, 1, 1) < row.as_of <= date(2026, 11, 30) for row in rows)
    families = (
        "HB120rs_v3",
        "HB176rs_v4",
        "HC44rs",
        "HX176rs",
        "F16s_v2",
        "D4s_v5",
        "E4s_v5",
        "H100",
        "ND96",
    )
    assert all(any(family in size for size in shipped_sizes()) for family in families)
    keys = [(row.meter, row.region, row.priority, row.from_units, row.as_of) for row in rows]
    assert len(set(keys)) == len(keys)


def test_the_shipped_clusters_file_is_within_a_tenth_of_the_shipped_prices() -> None:
    day = max(row.as_of for row in shipped_prices())
    told = [each.found for each in price_warnings(AZURE, PriceTable(shipped_prices()), day)]
    assert not [found for found in told if "clusters.yaml" in found]


def azure(usd: float) -> Cluster:
    """One partition, whose node of 16 cores costs so much."""
    htc = AZURE.partitions["htc"]
    prices = htc.prices.model_copy(update={"core_hour_usd": usd / 16})
    return AZURE.model_copy(update={"partitions": {"htc": htc.model_copy(update={"prices": prices})}})


@pytest.mark.parametrize(("usd", "told"), [(1.0, 0), (1.09, 0), (0.91, 0), (1.11, 1), (0.89, 1), (0.0, 1)])
def test_a_price_of_clusters_yaml_that_is_more_than_a_tenth_off_is_told(usd: float, told: int) -> None:
    found = price_warnings(azure(usd), PriceTable([price(usd=1.0)]), DAY)
    assert len(found) == told
    assert all(
        "htc: Standard_F16s_v2 costs" in each.found and "1.00 in eastus" in each.found for each in found
    )


@pytest.mark.parametrize(("days", "told"), [(90, 0), (91, 1)])
def test_a_table_older_than_ninety_days_is_told_with_what_to_do(days: int, told: int) -> None:
    found = price_warnings(azure(0.677), PriceTable([price()]), DAY + timedelta(days=days))
    assert len(found) == told
    assert all("91 days ago" in each.found and "hpc_prices" in each.remedy for each in found)


def test_a_region_of_which_no_price_is_known_is_told() -> None:
    (found,) = price_warnings(azure(0.677), PriceTable([price(region="westeurope")]), DAY)
    assert found.found == "no price of its VM sizes in eastus is known"


def test_spot_prices_and_clusters_without_a_region_are_not_compared() -> None:
    spot = AZURE.model_copy(update={"partitions": {"spot": AZURE.partitions["spot"]}})
    assert not price_warnings(spot, PriceTable([price(usd=9.0, priority=SPOT), price(usd=9.0)]), DAY)
    elastic = AZURE.elastic.model_copy(update={"region": None}) if AZURE.elastic else None
    nowhere = azure(9.0).model_copy(update={"elastic": elastic})
    assert not price_warnings(nowhere, PriceTable([price()]), DAY)
    assert not price_warnings(load_clusters().cluster("onprem"), PriceTable([price()]), DAY)


def test_vm_hours_without_a_cost_get_hours_times_price_and_others_keep_theirs() -> None:
    table = PriceTable([price(usd=0.7), price(usd=0.1, priority=SPOT)])
    rows = [
        vm_hour(),
        vm_hour(priority=SPOT),
        vm_hour(cost_usd=5.0),
        vm_hour("Standard_X"),
        vm_hour(node_h=None),
    ]
    assert [row.cost_usd for row in priced(rows, "eastus", table)] == [1.4, 0.2, 5.0, None, None]
    assert [row.cost_usd for row in priced(rows[:1], None, table)] == [None]


def test_the_ledger_keeps_every_day_and_changes_none(ledger: Ledger) -> None:
    ledger.save_prices([price(usd=0.6), price(EGRESS, 0.0), price(EGRESS, 0.1, from_units=100.0)])
    ledger.save_prices([price(usd=9.9)])
    later = price(usd=0.8, as_of=DAY + timedelta(days=7))
    assert [row.usd for row in ledger.newest_prices()] == [0.6, 0.0, 0.1]
    ledger.save_prices([later])
    ledger.save_prices([])
    assert [row for row in ledger.newest_prices() if row.unit == later.unit and row.usd > 0.5] == [later]
    with ledger._transaction() as connection:
        days = connection.exec_driver_sql("SELECT COUNT(*) FROM azure_prices").scalar()
    assert days == 4


def test_what_hpc_prices_has_brought_counts_before_the_shipped_copy(ledger: Ledger) -> None:
    today = date(2030, 1, 1)
    ledger.save_prices([price(usd=1.23, as_of=today)])
    assert current_prices(ledger).price("Standard_F16s_v2", "eastus").usd == 1.23
    assert current_prices().price("Standard_F16s_v2", "eastus").usd == 0.677
    assert [row.cost_usd for row in with_costs([vm_hour()], AZURE, ledger)] == [2.46]


@pytest.fixture
def closed(ledger: Ledger) -> Iterator[Ledger]:
    gone = Ledger("sqlite:////no/such/folder/ledger.db")
    yield gone
    gone.close()


def test_where_cyclecloud_knows_all_prices_the_table_is_not_read(closed: Ledger) -> None:
    rows = [vm_hour(cost_usd=1.0)]
    assert with_costs(rows, AZURE, closed) == rows
