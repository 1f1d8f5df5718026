"""Spot nodes: only with permission, priced with their risk, and where a job goes after them."""

from __future__ import annotations

from math import exp
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_hpc.clusters import Spot
from hybrid_hpc.placement import Decision, PartitionVerdict, cheapest_on_demand, partitions_that_fit
from hybrid_hpc.placement.fits import shape_of
from hybrid_hpc.placement.spot import risk_of
from hybrid_hpc.schedulers.base import NodeStatus
from tests.unit.placement_world import (
    HOUR,
    azure,
    cluster,
    decided,
    full,
    load,
    node,
    nodes,
    onprem,
    partition,
    request,
    spotty,
    view,
)
from tests.unit.test_placement_decision import requests

HOUR_OF_A_NODE: dict[str, object] = {"cpus_per_task": 16, "walltime": "60"}
NODE_USD = 1.1 * 0.168  # an hour, a minute of boot and five idle
ALONE = cluster("azure", spotty().partitions["spot"], elastic=spotty().elastic)


def offer(decision: Decision, name: str) -> PartitionVerdict:
    offers = [each for verdict in decision.verdicts for each in verdict.partitions]
    return next(each for each in offers if each.partition == name)


def risk_usd(turns: int, cost_usd: float, **wishes: object) -> float:
    shape = shape_of(request(rerunnable=True, spot="allowed", **wishes))
    return risk_of(shape, turns, Spot(evicted_every_h=20), cost_usd, 4.0).usd


def test_a_job_that_does_not_allow_spot_never_gets_it_and_sees_what_it_would_cost() -> None:
    decision = decided(view(spotty()), **HOUR_OF_A_NODE)
    assert decision.partition == "htc"
    refused = offer(decision, "spot")
    assert refused.why == "spot nodes, which the job does not allow"
    assert refused.cost_usd == pytest.approx(NODE_USD)


def test_a_job_that_allows_spot_gets_it_where_it_pays_and_is_told_by_how_much() -> None:
    decision = decided(view(spotty()), spot="allowed", **HOUR_OF_A_NODE)
    assert decision.sentence == (
        "azure (spot): starts in about 1 min for at most 0.18 USD; "
        "spot: 0.45 USD less than htc even with the risk of an eviction (1 in 20 h); "
        "on demand when no spot node can be had."
    )
    assert decision.table().splitlines()[-1] == (
        ">  azure    spot       yes   1 min         0.18       4.35  "
        "nodes boot first; spot risk 0.10 USD (1 in 20 h)"
    )


@pytest.mark.parametrize(("hours", "where"), [(1, "spot"), (5, "spot"), (6, "htc"), (10, "htc")])
def test_the_longer_the_job_the_more_there_is_to_lose_until_spot_pays_no_more(hours: int, where: str) -> None:
    wishes = {**HOUR_OF_A_NODE, "walltime": str(60 * hours)}
    assert decided(view(spotty()), spot="allowed", **wishes).partition == where


def test_the_risk_is_the_chance_of_an_eviction_times_half_of_the_work() -> None:
    chance = 0.0487706  # 1 - exp(-1 h / 20 h)
    assert risk_usd(1, 0.20, walltime="60") == pytest.approx(chance * (0.20 / 2 + 4.0 / 2), rel=1e-5)


def test_a_job_of_two_nodes_is_lost_with_either() -> None:
    chance = 0.0951626  # 1 - exp(-2 h / 20 h)
    assert risk_usd(2, 0.40, nodes=2, walltime="60") == pytest.approx(chance * (0.40 / 2 + 4.0 / 2), rel=1e-5)


def test_of_an_array_only_the_evicted_tasks_cost_again_and_any_of_them_makes_the_end_late() -> None:
    one, any_of_eight = 0.0487706, 0.3296800  # of 1 h, of 8 h
    expected = one * 1.60 / 2 + any_of_eight * 4.0 / 2
    assert risk_usd(8, 1.60, array="0-7", walltime="60") == pytest.approx(expected, rel=1e-5)


def test_small_tasks_that_share_a_node_share_its_eviction() -> None:
    decision = decided(
        view(spotty()), spot="allowed", rerunnable=True, cpus_per_task=4, array="0-7", walltime="60"
    )
    risk = offer(decision, "spot").risk
    assert risk
    both = 1 - exp(-2 / 20)
    assert risk.usd == pytest.approx(0.0487706 * 2 * NODE_USD / 2 + both * 4.0 / 2, rel=1e-4)


def test_the_score_holds_the_risk_and_what_cannot_be_evicted_has_none() -> None:
    decision = decided(view(onprem()), view(spotty()), spot="allowed", **HOUR_OF_A_NODE)
    spot = offer(decision, "spot")
    assert spot.risk
    assert spot.score_usd == pytest.approx(NODE_USD + 4 * 3660 / HOUR + spot.risk.usd)
    assert [each.partition for verdict in decision.verdicts for each in verdict.partitions if each.risk] == [
        "spot"
    ]
    assert decision.inputs[1].partitions[-1].evicted_every_h == 20
    assert Decision.model_validate_json(decision.model_dump_json()) == decision


def test_spot_nodes_that_another_cluster_would_give_are_told_to_be_that() -> None:
    decision = decided(view(onprem()), view(spotty()), spot="allowed", **HOUR_OF_A_NODE)
    assert decision.sentence == (
        "onprem (batch): starts at once for at most 0.32 USD; "
        "azure would start about 1 min later and cost 0.14 USD less, on spot nodes."
    )


def test_spot_that_is_dearer_with_its_risk_may_win_by_being_sooner_and_says_so() -> None:
    where = spotty()
    busy = [node(f"htc-{n}", where.partitions["htc"], cores_busy=16) for n in range(1, 9)]
    off = [each for each in nodes(where, NodeStatus.OFF) if each.partitions == ("spot",)]
    jobs = [each for each in full(where, 3 * HOUR).jobs if each.node_names[0].startswith("htc")]
    views = view(where, load([*busy, *off], *jobs), creatable={"hpc": 0})
    decision = decided(views, spot="allowed", cpus_per_task=16, walltime=str(60 * 8))
    assert "more than htc with the risk of an eviction (1 in 20 h), and sooner" in decision.sentence


def test_without_nodes_that_stay_the_expected_loss_is_told() -> None:
    decision = decided(view(ALONE), spot="allowed", **HOUR_OF_A_NODE)
    assert "spot: an eviction (1 in 20 h) is expected to cost 0.10 USD" in decision.sentence


@pytest.mark.parametrize(
    "changes", [{"unavailable": "no connection"}, {"creatable": {"spot": 0}}, {"load": load([])}]
)
def test_waiting_does_not_help_a_job_that_spot_alone_could_take_and_that_does_not_allow_it(
    changes: dict[str, Any],
) -> None:
    decision = decided(view(ALONE, **changes), **HOUR_OF_A_NODE)
    assert not decision.waiting_helps
    assert decision.problems()[0].remedy == "Set spot to `allowed`, if the job may be evicted and start over."


def test_what_is_too_large_for_spot_nodes_too_is_told_that() -> None:
    decision = decided(view(ALONE), cpus_per_task=17)
    assert decision.verdicts[0].why == "its largest node has 16 cores, the job needs 17"


def test_spot_nodes_that_are_not_wanted_change_no_word_of_a_refusal() -> None:
    for wishes in ({"max_cost_usd": 0.01}, {"cpus_per_task": 500}, {"walltime": "3-00:00:00"}, {"nodes": 9}):
        with_spot, without = (decided(view(where), **wishes) for where in (spotty(), azure()))
        assert with_spot.sentence == without.sentence


def test_spot_is_no_other_place_that_would_keep_gpus_free() -> None:
    gpus = partition("gpu", cores=32, gpus=4, nodearray="gpu", vm_size="G")
    where = cluster("azure", gpus, spotty().partitions["spot"], elastic=spotty().elastic)
    assert offer(decided(view(where), spot="allowed"), "gpu").fits


def test_partitions_that_fit_has_spot_only_for_those_who_allow_it() -> None:
    names = [
        [part.name for part in partitions_that_fit(request(spot=spot), spotty())]
        for spot in ("never", "allowed")
    ]
    assert names == [["hpc", "htc"], ["hpc", "htc", "spot"]]


@pytest.mark.parametrize(
    ("wishes", "name"),
    [
        ({"cpus_per_task": 16}, "htc"),
        ({"cpus_per_task": 17}, "hpc"),
        ({"cpus_per_task": 121}, None),
        ({"max_cost_usd": 0.70}, None),
        ({"max_cost_usd": 0.75}, "htc"),
        ({"cpus_per_task": 4, "array": "0-99", "rerunnable": True}, "hpc"),
    ],
)
def test_on_demand_a_job_goes_where_it_is_cheapest_within_its_limit(
    wishes: dict[str, object], name: str | None
) -> None:
    assert cheapest_on_demand(request(spot="allowed", walltime="60", **wishes), spotty()) == name


def test_on_demand_nodes_with_gpus_are_for_jobs_that_ask_for_them_or_fit_nowhere_else() -> None:
    cheap = partition("gpu", cores=32, gpus=4, nodearray="gpu", vm_size="G", prices={"core_hour_usd": 0.001})
    where = spotty().model_copy(update={"partitions": {**spotty().partitions, "gpu": cheap}})
    wishes: tuple[dict[str, object], ...] = ({}, {"gpus_per_node": 1}, {"cpus_per_task": 32})
    found = [cheapest_on_demand(request(spot="allowed", **wish), where) for wish in wishes]
    assert found == ["htc", "gpu", "hpc"]


def both_ways(wishes: dict[str, object], full_for_s: int) -> tuple[Decision, Decision]:
    """The decision on a request that does not allow spot, and on the same one that does."""
    where = onprem()
    views = [view(where, full(where, full_for_s or 1)), view(spotty())]
    wishes = {**wishes, "rerunnable": True}
    return decided(*views, **wishes), decided(*views, **wishes, spot="allowed")


@settings(max_examples=200)
@given(requests, st.integers(0, 10 * HOUR))
def test_allowing_spot_never_makes_the_chosen_score_worse(wishes: dict[str, object], full_for_s: int) -> None:
    without, with_spot = (decision.chosen() for decision in both_ways(wishes, full_for_s))
    if without:
        assert with_spot
        assert (with_spot.score_usd or 0) <= (without.score_usd or 0)


@settings(max_examples=200)
@given(requests, st.integers(0, 10 * HOUR))
def test_without_permission_spot_changes_nothing(wishes: dict[str, object], full_for_s: int) -> None:
    without, _ = both_ways(wishes, full_for_s)
    where = onprem()
    views = [view(where, full(where, full_for_s or 1)), view(azure())]
    plain = decided(*views, **wishes, rerunnable=True)
    assert without.partition != "spot"
    assert (without.cluster, without.partition) == (plain.cluster, plain.partition)
    assert without.chosen() == plain.chosen()
    assert without.waiting_helps == plain.waiting_helps


@settings(max_examples=200)
@given(st.integers(1, 50), st.floats(0.01, 1000), st.floats(0.1, 1e5), st.floats(0, 1e4), st.floats(0, 100))
def test_the_risk_is_never_negative_nor_more_than_half_of_everything(
    turns: int, hours: float, every_h: float, cost_usd: float, value_usd_h: float
) -> None:
    shape = shape_of(request())._replace(walltime_s=round(hours * HOUR))
    risk = risk_of(shape, turns, Spot(evicted_every_h=every_h), cost_usd, value_usd_h)
    most = (cost_usd + shape.walltime_s / HOUR * value_usd_h) / 2
    assert 0 <= risk.usd <= most * (1 + 1e-9)
