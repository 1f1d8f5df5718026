"""Nodes that somebody waits for without a job: asked for once, kept, and in the end like any others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.demand import Demand, NewNode, NodeAsk, demand_of
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.schedulers.base import NodeState, NodeStatus, QueuedJob
from hybrid_hpc.supply import Made, Supply
from hybrid_hpc.wishes import LEASE_S, lease_s, wished_for
from tests.unit.ledger_databases import NOW
from tests.unit.placement_world import azure, job, load, node, nodes

pytest_plugins = ["tests.unit.ledger_fixtures"]

AZURE = azure()  # hpc: 4 nodes, htc: 8 nodes of 16 cores
HTC = AZURE.partitions["htc"]


def demand(
    wishes: dict[str, int],
    *jobs: QueuedJob,
    there: tuple[NodeState, ...] = (),
    existing: tuple[str, ...] = (),
    cluster: Cluster = AZURE,
    supply: dict[str, Supply] | None = None,
) -> Demand:
    known = {each.name: each for each in there}
    seen = load([known.get(each.name, each) for each in nodes(cluster, NodeStatus.OFF)], *jobs)
    return demand_of(seen, cluster, dict.fromkeys(existing, Made()), supply, wishes)


def asked(
    wishes: dict[str, int],
    *jobs: QueuedJob,
    there: tuple[NodeState, ...] = (),
    existing: tuple[str, ...] = (),
) -> list[NodeAsk]:
    return demand(wishes, *jobs, there=there, existing=existing).asks


def names(asks: list[NodeAsk]) -> dict[str, tuple[str, ...]]:
    return {ask.partition: ask.names for ask in asks}


def test_what_is_missing_to_a_wish_is_asked_for_lowest_names_first() -> None:
    new = (NewNode("htc-1", "Standard_htc"), NewNode("htc-2", "Standard_htc"))
    assert asked({"htc": 2}) == [NodeAsk("htc", "htc", new, ())]


def test_nodes_that_are_up_or_on_the_way_are_not_asked_for_again() -> None:
    up, boots = node("htc-1", HTC, cores_busy=16), node("htc-5", HTC, NodeStatus.BOOTING)
    assert names(asked({"htc": 3}, there=(up, boots), existing=("htc-1", "htc-5"))) == {"htc": ("htc-2",)}
    assert asked({"htc": 2}, there=(up, boots), existing=("htc-1", "htc-5")) == []


def test_what_the_queue_brings_counts_and_it_is_one_ask_for_both() -> None:
    (ask,) = asked({"htc": 3}, job("7", partition="htc", nodes=2, cores=2))
    assert (ask.names, ask.for_jobs) == (("htc-1", "htc-2", "htc-3"), ("7",))
    assert names(asked({"htc": 1}, job("7", partition="htc", nodes=2, cores=2))) == {
        "htc": ("htc-1", "htc-2")
    }


def test_a_node_that_is_leaving_or_broken_is_neither_counted_nor_asked_for() -> None:
    drains = node("htc-2", HTC, NodeStatus.DRAINING)
    seen = load([drains if each.name == "htc-2" else each for each in nodes(AZURE, NodeStatus.OFF)])
    existing = {"htc-1": Made(leaves=True), "htc-2": Made()}
    assert names(demand_of(seen, AZURE, existing, None, {"htc": 1}).asks) == {"htc": ("htc-3",)}


def test_never_more_than_there_can_be() -> None:
    assert names(asked({"htc": 99})) == {"htc": tuple(f"htc-{number}" for number in range(1, 9))}


def test_a_wish_keeps_the_clusters_limits_and_what_azure_can_give_and_says_so() -> None:
    assert AZURE.elastic
    few = AZURE.model_copy(update={"elastic": AZURE.elastic.model_copy(update={"max_nodes": 2})})
    limited = demand({"htc": 3}, cluster=few)
    assert names(limited.asks) == {"htc": ("htc-1", "htc-2")}
    assert limited.short == {"htc": "the cluster's limit of 2 nodes is reached: 2 nodes run"}
    blocked = demand({"htc": 3}, supply={"htc": Supply((), "the quota is used up")})
    assert (blocked.asks, blocked.short) == ([], {"htc": "the quota is used up"})


def test_as_many_nodes_as_are_wished_for_stay() -> None:
    up = load(
        [node(f"htc-{number}", HTC) for number in (10, 2, 3)] + [node("htc-1", HTC, NodeStatus.BOOTING)]
    )
    assert wished_for({"htc": 2}, up, AZURE) == {"htc-2", "htc-3"}
    assert wished_for({"hpc": 2}, up, AZURE) == set()


def test_a_wish_outlives_the_longest_pause_between_two_polls() -> None:
    assert lease_s(AZURE) == LEASE_S
    assert lease_s(azure(poll_s=3600)) > 2 * 3600


def wish(ledger: Ledger, waiter: str = "one", count: int = 2, nodearray: str = "htc") -> None:
    ledger.wish_for_nodes(waiter, cluster="azure", nodearray=nodearray, count=count)


def test_wishes_for_one_nodearray_are_not_added_up(ledger: Ledger) -> None:
    wish(ledger)
    wish(ledger, "two", 5)
    wish(ledger, "three", 1, "hpc")
    assert ledger.wished_nodes("azure", LEASE_S) == {"htc": 5, "hpc": 1}
    assert ledger.wished_nodes("other", LEASE_S) == {}


def test_a_wish_that_ended_is_nobodys_and_one_that_is_repeated_stands_again(ledger: Ledger) -> None:
    wish(ledger)
    assert ledger.end_node_wish("one")
    assert not ledger.end_node_wish("one")
    assert ledger.wished_nodes("azure", LEASE_S) == {}
    wish(ledger)
    assert ledger.wished_nodes("azure", LEASE_S) == {"htc": 2}


@pytest.fixture
def later(ledger: Ledger, ledger_url: str) -> Iterator[Ledger]:
    """The same ledger a lease later."""
    made = Ledger(ledger_url, clock=lambda: NOW + timedelta(seconds=LEASE_S + 1))
    yield made
    made.close()


def test_a_wish_that_is_not_repeated_ends_by_itself_and_one_that_is_keeps_its_beginning(
    ledger: Ledger, later: Ledger
) -> None:
    wish(ledger)
    assert later.wished_nodes("azure", LEASE_S) == {}
    row = later.wish_for_nodes("one", cluster="azure", nodearray="htc", count=2)
    assert row.wished_at == NOW < row.seen_at
    assert later.wished_nodes("azure", LEASE_S) == {"htc": 2}


def test_only_wishes_that_nobody_has_repeated_for_a_month_are_forgotten(
    ledger: Ledger, ledger_url: str
) -> None:
    wish(ledger)
    wish(ledger, "ended")
    ledger.end_node_wish("ended")
    month_later = Ledger(ledger_url, clock=lambda: NOW + timedelta(days=31))
    wish(month_later, "new", 3)
    assert ledger.forget_node_wishes() == 0
    assert month_later.forget_node_wishes() == 2
    assert month_later.wished_nodes("azure", LEASE_S) == {"htc": 3}
    month_later.close()
