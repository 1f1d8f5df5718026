"""Promises about Azure's Retail Prices API, asked over a real wire: all pages, patience, no nonsense."""

from __future__ import annotations

import pytest

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.errors import Refused, Unavailable, Unreachable, Unreadable
from hybrid_hpc.prices.api import Patience, RetailPrices
from hybrid_hpc.prices.refresh import Refreshed, todays_prices, wanted_regions, wanted_sizes
from hybrid_hpc.prices.retail import Question, RetailItem, questions, rows_of
from hybrid_hpc.prices.table import EGRESS, PUBLIC_IP, SPOT
from lab.processes import free_base_port
from tests.unit.price_world import DAY, PriceServer, Reply, item, page, price_server

AT_ONCE = Patience(pause_s=0.0, most_s=0.0)
ONE = Question("armSkuName eq 'Standard_F16s_v2'", "eastus")
BUSY: Reply = (429, b"", {"Retry-After": "1"})


async def ask(server: PriceServer, question: Question = ONE) -> list[RetailItem]:
    async with RetailPrices(server.url, AT_ONCE) as prices:
        return await prices.items(question)


async def test_every_page_is_read_and_the_filter_is_sent_as_it_is() -> None:
    with price_server(page([item()])) as server:
        server.replies = [
            page([item(retailPrice=1.0)], f"{server.url}?$skip=100"),
            page([item(retailPrice=2.0)]),
        ]
        assert [each.usd for each in await ask(server)] == [1.0, 2.0]
    first, second = server.asked
    assert first["$filter"] == [ONE.text]
    assert (first["api-version"], first["meterRegion"]) == (["2023-01-01-preview"], ["'primary'"])
    assert second == {"$skip": ["100"]}


@pytest.mark.parametrize("later", [BUSY, (503, b"", {}), (500, b"oops", {})])
async def test_a_server_that_is_busy_is_asked_again(later: Reply) -> None:
    with price_server(later, later, page([item()])) as server:
        assert len(await ask(server)) == 1
    assert len(server.asked) == 3


async def test_a_server_that_stays_busy_is_given_up_after_five_tries_in_words() -> None:
    with price_server(BUSY) as server:
        with pytest.raises(Unavailable, match="429 Too Many Requests"):
            await ask(server)
        assert len(server.asked) == 5


async def test_what_the_server_forbids_is_not_asked_again() -> None:
    with price_server((400, b"bad filter", {})) as server:
        with pytest.raises(Refused, match="400"):
            await ask(server)
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    "body", [b"<html>", b"{}", b'{"Items": [{"currencyCode": "USD"}]}', b'{"Items": [{"retailPrice": -1}]}']
)
async def test_an_answer_that_makes_no_sense_is_told_with_where(body: bytes) -> None:
    with price_server((200, body, {})) as server, pytest.raises(Unreadable, match="retail/prices: "):
        await ask(server)


async def test_a_next_page_on_another_server_is_not_followed() -> None:
    elsewhere = page([item()], "http://127.0.0.2:1/api")
    with price_server(elsewhere) as server, pytest.raises(Unreadable, match=r"another server, 127\.0\.0\.2"):
        await ask(server)


async def test_pages_without_an_end_have_one() -> None:
    with price_server(page([])) as server:
        server.replies = [page([], f"{server.url}?again")]
        with pytest.raises(Unreadable, match="more than 100 pages"):
            await ask(server)


async def test_without_the_server_it_is_unreachable() -> None:
    async with RetailPrices(f"http://127.0.0.1:{free_base_port(1)}/", AT_ONCE) as prices:
        with pytest.raises(Unreachable):
            await prices.items(ONE)


@pytest.mark.parametrize(
    ("tried", "said", "pause_s"), [(0, None, 1), (3, None, 8), (0, "20", 20), (0, "soon", 1), (9, "900", 60)]
)
def test_the_pause_grows_and_is_at_least_what_the_server_asks_for(
    tried: int, said: str | None, pause_s: float
) -> None:
    assert Patience().pause(tried, said) == pause_s


def read(*items: dict[str, object], question: Question = ONE) -> list[tuple[str, str, float, float]]:
    rows = rows_of(question, [RetailItem.model_validate(each) for each in items], DAY)
    return sorted((row.meter, row.priority, row.from_units, row.usd) for row in rows)


def test_windows_low_priority_reservations_previews_and_other_currencies_are_no_prices_of_ours() -> None:
    others = [
        item(productName="Virtual Machines FSv2 Series Windows", retailPrice=9.0),
        item(skuName="F16s v2 Low Priority", meterName="F16s v2 Low Priority", retailPrice=9.0),
        item(type="Reservation", retailPrice=9.0),
        item(currencyCode="EUR", retailPrice=9.0),
        item(unitOfMeasure="100 Seconds", retailPrice=9.0),
        item(retailPrice=0.0),
    ]
    assert read(item(), *others) == [("Standard_F16s_v2", "Regular", 0.0, 0.677)]


def test_spot_is_told_by_its_name() -> None:
    spot = item(skuName="F16s v2 Spot", meterName="F16s v2 Spot", retailPrice=0.07)
    assert [row[1:] for row in read(item(), spot)] == [("Regular", 0.0, 0.677), (SPOT, 0.0, 0.07)]


def test_tiers_are_kept_apart() -> None:
    tiers = [
        item(unitOfMeasure="1 GB", tierMinimumUnits=units, retailPrice=usd)
        for units, usd in ((0, 0), (100, 0.087))
    ]
    found = read(*tiers, question=Question("", "eastus", EGRESS))
    assert found == [(EGRESS, "Regular", 0.0, 0.0), (EGRESS, "Regular", 100.0, 0.087)]


def test_a_region_is_asked_for_its_vm_sizes_a_few_at_a_time_and_for_all_else() -> None:
    asked = list(questions("westeurope", [f"Standard_{number}" for number in range(25)]))
    assert [question.text.count("armSkuName eq") for question in asked] == [10, 10, 5, 0, 0, 0, 0]
    assert all(
        "armRegionName eq 'westeurope'" in question.text for question in asked if question.meter != PUBLIC_IP
    )
    assert {question.region for question in asked} == {"westeurope"}


def test_all_of_clusters_yaml_is_asked_for() -> None:
    clusters = list(load_clusters().clusters.values())
    assert wanted_regions(clusters) == ["eastus"]
    assert {"Standard_HB120rs_v3", "Standard_F16s_v2", "Standard_NC24ads_A100_v4"} <= wanted_sizes(clusters)
    assert "" not in wanted_sizes(clusters)


async def todays(server: PriceServer, *sizes: str) -> Refreshed:
    async with RetailPrices(server.url, AT_ONCE) as prices:
        return await todays_prices(prices, ["eastus"], set(sizes), DAY)


async def test_a_vm_size_that_azure_does_not_sell_is_told_and_costs_no_other() -> None:
    with price_server(page([item()]), page([])) as server:
        came = await todays(server, "Standard_F16s_v2", "Standard_Nothing")
    assert [(row.meter, row.usd, row.as_of, row.approximate) for row in came.rows] == [
        ("Standard_F16s_v2", 0.677, DAY, False)
    ]
    assert came.missing == ("Standard_Nothing in eastus",)


async def test_half_a_table_is_none() -> None:
    with price_server(page([item()]), (404, b"", {})) as server, pytest.raises(Refused):
        await todays(server, "Standard_F16s_v2")
