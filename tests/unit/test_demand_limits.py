"""A cluster's own limits of nodes and money are never exceeded, and told to the jobs that wait for them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.demand import Demand, demand_of
from hybrid_hpc.schedulers.base import NodeState, NodeStatus, QueuedJob
from hybrid_hpc.supply import Made, Offer, Supply
from tests.unit.placement_world import azure, job, load, node, nodes
from tests.unit.test_demand_properties import TWO, elastic_nodes, queues

AZURE = azure()
HTC = AZURE.partitions["htc"]  # 16 cores for 0.042 USD: 0.672 USD an hour


def limited(where: Cluster, **limits: object) -> Cluster:
    assert where.elastic
    return where.model_copy(update={"elastic": where.elastic.model_copy(update=limits)})


def demand(
    where: Cluster, *jobs: QueuedJob, there: tuple[NodeState, ...] = (), made: dict[str, Made] | None = None
) -> Demand:
    known = {each.name: each for each in there}
    found = [known.get(each.name, each) for each in nodes(where, NodeStatus.OFF)]
    return demand_of(load(found, *jobs), where, made or {})


def htc(native_id: str, **changes: object) -> QueuedJob:
    return job(native_id, **({"partition": "htc"} | changes))


def test_the_limit_of_money_is_told_with_what_runs_and_what_that_costs() -> None:
    found = demand(limited(AZURE, max_usd_per_hour=2.5), *(htc(str(n)) for n in range(5)))
    assert [ask.names for ask in found.asks] == [("htc-1", "htc-2", "htc-3")]
    sentence = "the cluster's limit of 2.50 USD an hour is reached: 3 nodes run for 2.02 USD"
    assert found.held == {"3": sentence, "4": sentence}


@pytest.mark.parametrize("status", [NodeStatus.UP, NodeStatus.BOOTING, NodeStatus.DRAINING])
def test_nodes_that_are_up_boot_or_finish_their_jobs_count(status: NodeStatus) -> None:
    busy = node("hpc-1", AZURE.partitions["hpc"], status, cores_busy=120)
    found = demand(limited(AZURE, max_nodes=2), htc("1"), htc("2"), there=(busy,))
    assert [ask.names for ask in found.asks] == [("htc-1",)]
    assert found.held == {"2": "the cluster's limit of 2 nodes is reached: 2 nodes run"}


def test_nodes_that_end_or_that_the_scheduler_does_not_list_cost_and_take_no_job() -> None:
    made = {"htc-1": Made(leaves=True), "by-hand": Made(partition="hpc")}
    found = demand(limited(AZURE, max_nodes=3), htc("1"), htc("2"), made=made)
    assert [ask.names for ask in found.asks] == [("htc-2",)]
    assert found.held == {"2": "the cluster's limit of 3 nodes is reached: 3 nodes run"}


def test_a_node_costs_what_its_vm_size_does() -> None:
    dear = HTC.model_copy(update={"vm_sizes": {"Standard_dear": 2.0}})
    where = limited(AZURE, max_usd_per_hour=2.5).model_copy(
        update={"partitions": {**AZURE.partitions, "htc": dear}}
    )
    found = demand(where, htc("1"), htc("2"), made={"htc-1": Made("Standard_dear")})
    assert found.asks == []
    assert found.held["2"].endswith("is reached: 1 node runs for 2.00 USD")


def test_a_job_of_more_nodes_than_are_left_gets_none_and_says_how_many_it_needs() -> None:
    found = demand(limited(AZURE, max_nodes=3), htc("1", nodes=4, cores=64), htc("2"))
    assert [(ask.names, ask.for_jobs) for ask in found.asks] == [(("htc-1",), ("2",))]
    assert found.held["1"] == ("the cluster's limit of 3 nodes is reached: no node runs, and it needs 4 more")


def test_jobs_that_fit_on_what_runs_are_not_kept_by_a_limit() -> None:
    up = node("htc-1", HTC)
    found = demand(limited(AZURE, max_nodes=1), htc("1", cores=8), htc("2", cores=8), there=(up,))
    assert (found.asks, found.held) == ([], {})


def test_a_dearer_size_is_left_out_where_only_the_cheaper_one_can_be_paid() -> None:
    found = demand_of(
        load(nodes(AZURE, NodeStatus.OFF), htc("1", nodes=2, cores=32)),
        limited(AZURE, max_usd_per_hour=2.5),
        {},
        {"htc": Supply([Offer("Standard_cheap", 1, 0.5), Offer("Standard_dear", 9, 1.5)])},
    )
    assert [node.vm_size for ask in found.asks for node in ask.nodes] == ["Standard_cheap", "Standard_dear"]


PRICES = {"a": 8 * 0.02, "b": 4 * 0.02}  # a node's, in the cluster of the properties
offers = st.lists(
    st.builds(Offer, st.sampled_from("XYZ"), st.integers(0, 5), st.floats(0, 1), st.integers(0, 3)),
    max_size=3,
    unique_by=lambda offer: offer.vm_size,
)
supplies = st.fixed_dictionaries(
    {}, optional={"a": st.builds(Supply, offers), "b": st.builds(Supply, offers)}
)


@settings(max_examples=400, deadline=None)
@given(
    elastic_nodes(),
    queues,
    st.sets(st.sampled_from([each.name for each in nodes(TWO)])),
    supplies,
    st.none() | st.integers(0, 9),
    st.none() | st.floats(0, 2),
)
def test_no_limit_is_exceeded_whatever_waits(
    found: list[NodeState],
    queue: list[QueuedJob],
    existing: set[str],
    supply: dict[str, Supply],
    max_nodes: int | None,
    max_usd: float | None,
) -> None:
    where = limited(TWO, max_nodes=max_nodes, max_usd_per_hour=max_usd)
    asks = demand_of(load(found, *queue), where, dict.fromkeys(existing, Made()), supply).asks
    dead = {NodeStatus.OFF, NodeStatus.DOWN}
    there = [each.name for each in found if each.name in existing or each.status not in dead]
    usd = sum(PRICES[name[0]] for name in there)
    price = {
        (name, offer.vm_size): offer.usd_per_hour for name, one in supply.items() for offer in one.offers
    }
    new = [(ask.partition, each.vm_size) for ask in asks for each in ask.nodes]
    assert all(key in price or key[0] not in supply for key in new)
    if new and max_nodes is not None:
        assert len(there) + len(new) <= max_nodes
    if new and max_usd is not None:
        assert usd + sum(price.get(key, PRICES[key[0]]) for key in new) <= max_usd + 1e-5
