"""The choice itself, its sentence, its table and its record."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_hpc.clusters import Policy
from hybrid_hpc.placement import Decision, decide
from hybrid_hpc.schedulers.base import NodeStatus
from tests.unit.placement_world import (
    HOUR,
    NOW,
    POLICY,
    azure,
    cluster,
    decided,
    full,
    job,
    load,
    node,
    nodes,
    onprem,
    partition,
    request,
    view,
)


def test_the_cheaper_cluster_wins_when_both_are_as_quick_and_the_other_is_compared() -> None:
    decision = decided(view(onprem()), view(azure()), cpus_per_task=16, walltime="60")
    assert (decision.cluster, decision.partition) == ("onprem", "batch")
    assert decision.sentence == (
        "onprem (batch): starts at once for at most 0.32 USD; "
        "azure would start about 1 min later and cost 0.42 USD more."
    )


def test_the_sooner_cluster_wins_when_the_time_is_worth_the_money() -> None:
    where = onprem()
    decision = decided(view(where, full(where, 1800)), view(azure()), cpus_per_task=16, walltime="60")
    assert decision.sentence == (
        "azure (htc): starts in about 1 min for at most 0.74 USD; "
        "onprem would start about 29 min later and cost 0.42 USD less."
    )


def test_the_price_of_time_decides_between_sooner_and_cheaper() -> None:
    where = onprem()
    views = [view(where, full(where, 1800)), view(azure())]
    wish = request(cpus_per_task=16, walltime="60")
    chosen = {
        value: decide(wish, views, Policy(value_of_time_usd_per_h=value), NOW).cluster
        for value in (0, 0.5, 1, 100)
    }
    assert chosen == {0: "onprem", 0.5: "onprem", 1: "azure", 100: "azure"}


def test_the_only_cluster_that_is_large_enough_is_said_to_be_that() -> None:
    decision = decided(view(onprem()), view(azure()), cpus_per_task=100, walltime="60")
    assert decision.sentence == (
        "azure (hpc): starts in about 1 min for at most 3.96 USD; "
        "the only cluster that can give 100 cores on one node; "
        "onprem: its largest node has 32 cores, the job needs 100."
    )


def test_a_cluster_that_is_named_is_taken_and_only_that_is_said() -> None:
    decision = decided(view(onprem()), view(azure()), cluster="azure", walltime="60")
    assert decision.sentence == (
        "azure (htc): starts in about 1 min for at most 0.74 USD; the job asks for it by name."
    )


def test_a_cluster_that_is_alone_is_compared_with_nothing() -> None:
    assert decided(view(onprem()), walltime="60").sentence == (
        "onprem (batch): starts at once for at most 0.02 USD."
    )


def test_arrays_are_compared_by_their_end() -> None:
    decision = decided(view(onprem()), view(azure()), cpus_per_task=16, array="0-7", walltime="60")
    assert decision.cluster == "azure"  # 8 nodes against 4: one wave against two
    assert "onprem would be done about 59 min later and cost" in decision.sentence


def test_equal_clusters_go_by_their_order_in_the_file() -> None:
    twins = [cluster(name, partition("b"), partition("a")) for name in ("zeta", "alpha")]
    decision = decided(*(view(twin) for twin in twins))
    assert (decision.cluster, decision.partition) == ("zeta", "b")
    assert decision.sentence.endswith("alpha would start at the same time and cost the same.")


def test_a_job_that_fits_nowhere_says_so_for_every_cluster() -> None:
    decision = decided(view(onprem()), view(azure()), cpus_per_task=500)
    assert decision.sentence == (
        "no cluster can ever take this job: onprem: its largest node has 32 cores, the job needs 500; "
        "azure: its largest node has 120 cores, the job needs 500."
    )
    assert (decision.cluster, decision.partition, decision.chosen()) == ("", "", None)


def test_a_placed_decision_raises_nothing() -> None:
    decided(view(onprem())).raise_if_unplaced()


def test_the_record_keeps_what_it_was_made_from() -> None:
    where = azure()
    found = load(
        [*nodes(where, NodeStatus.OFF)[:-1], node("htc-8", where.partitions["htc"], cores_busy=6)],
        job(partition="hpc"),
    )
    decision = decided(view(where, found, creatable={"htc": 3}, estimates={"hpc": 5.0}))
    hpc, htc = decision.inputs[0].partitions
    assert decision.inputs[0].seen_at == found.now
    assert (htc.nodes, htc.cores_free, htc.creatable) == ({"off": 7, "up": 1}, 10, 3)
    assert (hpc.jobs_waiting, hpc.core_hour_usd, hpc.estimated_start) == (1, 0.03, 5.0)
    assert decision.policy == POLICY
    assert decision.decided_at.timestamp() == NOW


def test_a_decision_survives_json() -> None:
    decision = decided(view(onprem(), unavailable="down"), view(azure()), array="0-99%3", gpus_per_node=0)
    text = json.dumps(decision.model_dump(mode="json"), allow_nan=False)
    assert Decision.model_validate_json(text) == decision
    assert Decision.model_validate(json.loads(text)).table() == decision.table()


def test_one_view_serves_many_requests_and_tells_each_the_same_as_a_fresh_one() -> None:
    where = onprem()
    shared = view(where, full(where, 1800))
    for cores in (1, 16, 17, 1, 16):
        wish = request(cpus_per_task=cores)
        fresh = view(where, full(where, 1800))
        assert decide(wish, [shared], POLICY, NOW) == decide(wish, [fresh], POLICY, NOW)


def test_the_table_has_a_row_for_every_partition_and_marks_the_choice() -> None:
    decision = decided(view(onprem()), view(azure()), cpus_per_task=16, walltime="60")
    assert decision.table().splitlines() == [
        "   cluster  partition  fits  start    at most USD  score USD  why",
        "-" * 107,
        ">  onprem   batch      yes   at once         0.32       4.32  enough is free now",
        "   onprem   gpu        no    at once         0.32       4.32  "
        "its nodes are kept for jobs that ask for GPUs",
        "   azure    hpc        yes   1 min           3.96       8.03  nodes boot first",
        "   azure    htc        yes   1 min           0.74       4.81  nodes boot first",
    ]


LONG = "no route to host " * 40


@pytest.mark.parametrize("reason", [LONG, "x" * 500, "a\nb\tc", "", "\x1b[31mred"])
def test_the_table_never_gets_wider_than_a_log_whatever_a_reason_says(reason: str) -> None:
    odd = cluster("c" * 30, partition("p" * 100))
    table = decided(view(odd, unavailable=reason), view(onprem()), view(azure()), cluster="onprem").table()
    assert all(len(line) <= 110 for line in table.splitlines())
    assert not any(ord(character) < 32 for line in table.splitlines() for character in line)


requests = st.fixed_dictionaries(
    {
        "cpus_per_task": st.integers(1, 130),
        "nodes": st.integers(1, 9),
        "gpus_per_node": st.integers(0, 5),
        "walltime": st.integers(1, 4000).map(str),
    },
    optional={
        "memory_per_node": st.integers(1, 500_000).map(lambda mib: f"{mib}M"),
        "array": st.integers(0, 200).map(lambda last: f"0-{last}"),
        "max_cost_usd": st.floats(0.01, 1000),
        "cluster": st.sampled_from(["auto", "onprem", "azure"]),
    },
)


@settings(max_examples=200)
@given(requests, st.integers(0, 10 * HOUR), st.booleans())
def test_every_decision_is_the_lowest_score_of_what_fits_and_explains_all_that_does_not(
    wishes: dict[str, object], full_for_s: int, silent: bool
) -> None:
    where = onprem()
    views = [view(where, full(where, full_for_s or 1)), view(azure(), unavailable="down" if silent else None)]
    decision = decided(*views, **wishes)
    fitting = [offer for verdict in decision.verdicts for offer in verdict.partitions if offer.fits]
    chosen = decision.chosen()
    assert decision.placed == bool(fitting)
    if chosen:
        assert chosen.score_usd == min(offer.score_usd or 0 for offer in fitting)
        assert (chosen.cost_usd or 0) <= float(str(wishes.get("max_cost_usd", "inf")))
    for verdict in decision.verdicts:
        assert verdict.fits or verdict.why
        assert all(offer.why for offer in verdict.partitions)
    assert decision.sentence.endswith(".")
    assert Decision.model_validate_json(decision.model_dump_json()) == decision
