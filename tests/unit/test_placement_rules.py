"""What keeps a job off a cluster, in words with numbers; and whether waiting helps."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from hybrid_hpc.errors import FitsNowhere, Unavailable
from hybrid_hpc.placement import ClusterView, Decision, Verdict, partitions_that_fit
from hybrid_hpc.schedulers.base import NodeStatus
from tests.unit.placement_world import (
    HOUR,
    NOW,
    azure,
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


def of(decision: Decision, cluster: str) -> Verdict:
    return next(verdict for verdict in decision.verdicts if verdict.cluster == cluster)


@pytest.mark.parametrize(
    ("wishes", "why"),
    [
        ({"cpus_per_task": 33}, "its largest node has 32 cores, the job needs 33"),
        (
            {"memory_per_node": "300000M"},
            "its largest node has 250G of memory, the job needs 300000M",
        ),
        ({"gpus_per_node": 5}, "its largest node has 4 GPUs, the job needs 5 (partition gpu)"),
        (
            {"gpus_per_node": 1, "gpu_type": "h100"},
            "its GPUs are a100, the job needs h100 (partition gpu)",
        ),
        ({"nodes": 5}, "it has 4 large enough nodes, the job needs 5"),
        ({"walltime": "3-00:00:00"}, "a job may run 2 d there, this one asks for 3 d"),
        ({"project": "proj-x"}, "project proj-x may not use it (allowed: proj-a, proj-b)"),
        ({"cluster": "azure"}, "the job asks for azure by name"),
        ({"max_cost_usd": 0.01}, "it could cost up to 0.02 USD, the limit is 0.01 USD"),
    ],
)
def test_each_hard_rule_says_what_does_not_fit_and_by_how_much(wishes: dict[str, object], why: str) -> None:
    decision = decided(view(onprem(projects=("proj-a", "proj-b"))), **wishes)
    assert of(decision, "onprem").why == why
    assert not decision.placed
    assert not decision.waiting_helps


def test_a_job_of_more_nodes_than_the_cluster_may_ever_have_is_refused_there() -> None:
    where = azure()
    assert where.elastic
    limited = where.model_copy(update={"elastic": where.elastic.model_copy(update={"max_nodes": 2})})
    decision = decided(view(limited), nodes=3)
    assert of(decision, "azure").why == "its limit is 2 nodes, the job needs 3"
    assert decided(view(limited), nodes=2).placed


def test_a_gpu_job_is_told_when_there_are_no_gpus_at_all() -> None:
    assert of(decided(view(azure()), gpus_per_node=2), "azure").why == (
        "its nodes have no GPUs, the job needs 2"
    )


def test_the_gpu_type_is_compared_without_case() -> None:
    assert decided(view(onprem()), gpus_per_node=1, gpu_type="A100").partition == "gpu"


def test_a_job_without_project_and_a_cluster_without_a_list_are_admitted() -> None:
    assert decided(view(onprem(projects=("proj-a",)))).placed
    assert decided(view(onprem()), project="anything").placed


def test_where_each_job_runs_as_its_project_one_without_is_not_placed() -> None:
    where = onprem(runs_as="project", ssh_connections={"alpha": "hpc_alpha"}, projects=("alpha",))
    decision = decided(view(where))
    assert of(decision, "onprem").why == "each of its jobs runs as its project, and this one names none"
    assert not decision.waiting_helps
    assert decided(view(where), project="alpha").placed


def test_a_cluster_that_has_no_account_for_the_person_is_told_so_and_another_one_takes_the_job() -> None:
    why = "runs each job as the person who asked, and 'mallory' has no account there"
    closed = ClusterView(onprem(), closed=why)
    decision = decided(closed, view(azure()))
    assert (decision.cluster, of(decision, "onprem").why) == ("azure", why)
    with pytest.raises(FitsNowhere, match=r"has no account there.* Have an administrator add"):
        decided(closed).raise_if_unplaced()


def test_a_silent_cluster_is_left_out_with_the_reason_and_waiting_helps() -> None:
    decision = decided(view(onprem(), unavailable="no connection to 10.0.0.1:22"))
    assert of(decision, "onprem").why == "left out: no connection to 10.0.0.1:22"
    assert decision.waiting_helps
    with pytest.raises(
        Unavailable, match="no cluster can take this job now: onprem: left out: no connection"
    ):
        decision.raise_if_unplaced()


def test_a_silent_cluster_that_could_never_hold_the_job_is_no_reason_to_wait() -> None:
    decision = decided(view(onprem(), unavailable="no connection"), cpus_per_task=64)
    with pytest.raises(FitsNowhere) as caught:
        decision.raise_if_unplaced()
    assert [problem.where for problem in caught.value.problems] == ["onprem"]
    assert "its largest node has 32 cores, the job needs 64" in str(caught.value)
    assert "Ask for fewer cores on each node and more nodes." in str(caught.value)


def test_a_silent_cluster_does_not_keep_the_others_from_taking_the_job() -> None:
    decision = decided(view(onprem(), unavailable="no connection"), view(azure()))
    assert decision.cluster == "azure"
    assert decision.sentence.endswith("the only cluster that can take it; onprem: left out: no connection.")


def test_a_view_without_load_counts_as_silent() -> None:
    decision = decided(view(onprem(), unavailable="", load=None))
    assert of(decision, "onprem").why == "left out: its state is not known"


def test_broken_and_draining_nodes_do_not_count_and_may_come_back() -> None:
    where = onprem()
    broken = [node(f"batch-{n}", where.partitions["batch"], NodeStatus.DOWN) for n in (1, 2)]
    draining = [node("batch-3", where.partitions["batch"], NodeStatus.DRAINING)]
    rest = [node("batch-4", where.partitions["batch"])]
    decision = decided(view(where, load(broken + draining + rest)), nodes=2)
    assert (
        of(decision, "onprem").why == "1 of its 4 nodes can take such a job now, it needs 2 (partition batch)"
    )
    assert decision.waiting_helps


def test_a_partition_that_the_scheduler_does_not_show_takes_nothing() -> None:
    decision = decided(view(onprem(), load([])))
    assert of(decision, "onprem").why == "the scheduler shows no node of it"
    assert decision.waiting_helps


def test_nodes_smaller_than_clusters_yaml_says_do_not_count() -> None:
    where = onprem()
    small = [node(f"batch-{n}", where.partitions["batch"], cores=8) for n in range(1, 5)]
    decision = decided(view(where, load(small)), cpus_per_task=16)
    assert of(decision, "onprem").why.startswith("0 of its 4 nodes can take such a job now")


def test_a_quota_that_can_never_suffice_is_told_from_one_that_is_used_up_for_now() -> None:
    never = decided(view(azure(), creatable={"hpc": 0, "htc": 1}), nodes=2)
    assert (
        of(never, "azure").why == "Azure's quotas and the limits here let it have 1 node now, the job needs 2"
    )
    assert not never.waiting_helps
    where = azure()
    others = [node("hpc-1", where.partitions["hpc"], cores_busy=120)]
    off = [node(f"htc-{n}", where.partitions["htc"], NodeStatus.OFF) for n in range(1, 9)]
    for_now = decided(view(where, load(others + off), creatable={"htc": 1}), nodes=2)
    assert of(for_now, "azure").refusal is not None
    assert for_now.waiting_helps


def test_nodes_that_exist_count_beside_those_that_can_be_made() -> None:
    where = azure()
    there = [
        node("htc-1", where.partitions["htc"]),
        node("htc-2", where.partitions["htc"], NodeStatus.BOOTING),
    ]
    off = [node(f"htc-{n}", where.partitions["htc"], NodeStatus.OFF) for n in range(3, 9)]
    found = load(there + off)
    assert decided(view(where, found, creatable={"htc": 1}), nodes=3).partition == "htc"
    assert not decided(view(where, found, creatable={"htc": 1}), nodes=4).placed


def test_both_estimates_are_shown_when_the_cost_limit_refuses_both_clusters() -> None:
    decision = decided(view(onprem()), view(azure()), max_cost_usd=0.01, cpus_per_task=16)
    assert "onprem: it could cost up to 0.32 USD, the limit is 0.01 USD" in decision.sentence
    assert "azure: it could cost up to 0.74 USD, the limit is 0.01 USD" in decision.sentence


def test_a_cost_limit_moves_a_job_to_the_cheaper_cluster_though_that_is_later() -> None:
    where = onprem()
    free = decided(view(where, full(where)), view(azure()), cpus_per_task=16)
    assert free.cluster == "azure"
    assert (
        decided(view(where, full(where)), view(azure()), cpus_per_task=16, max_cost_usd=0.5).cluster
        == "onprem"
    )


def test_nodes_with_gpus_are_kept_for_gpu_jobs_while_there_is_another_place() -> None:
    where = onprem()
    decision = decided(view(where, full(where)), cpus_per_task=16)
    assert decision.partition == "batch"
    idle_gpu = load([*full(where).nodes[:4], node("gpu-1", where.partitions["gpu"])], *full(where).jobs[:4])
    decision = decided(view(where, idle_gpu), cpus_per_task=16)
    assert decision.partition == "batch"
    kept = decision.verdicts[0].partitions[1]
    assert kept.why == "its nodes are kept for jobs that ask for GPUs"
    assert kept.starts_in_s == 0


def test_a_job_that_fits_only_on_a_gpu_node_goes_there_without_asking_for_gpus() -> None:
    assert decided(view(onprem()), cpus_per_task=20).partition == "gpu"


def at(seconds_from_now: float) -> str:
    return datetime.fromtimestamp(NOW + seconds_from_now, UTC).isoformat()


def test_a_deadline_that_some_cluster_meets_rules_out_those_that_do_not() -> None:
    where = onprem()
    busy = full(where, ends_in_s=HOUR)
    wishes: dict[str, object] = {"cpus_per_task": 1, "walltime": "10"}
    decision = decided(view(where, busy), view(azure()), **wishes, deadline=at(1200))
    assert decision.cluster == "azure"
    assert of(decision, "onprem").why == "the result could come 50 min after the deadline"
    assert not decision.warnings


def test_a_deadline_that_no_cluster_meets_takes_the_earliest_warns_and_charges_the_miss() -> None:
    where = onprem()
    wishes: dict[str, object] = {"walltime": "60", "max_cost_usd": 100.0, "deadline": at(1800)}
    decision = decided(view(where, full(where)), view(azure()), **wishes)
    assert decision.cluster == "azure"  # a minute to boot, against an hour until a node is free
    assert decision.warnings == ("no cluster has the result by the deadline, it could come 31 min late",)
    assert decision.sentence.endswith("no cluster has the result by the deadline, it could come 31 min late.")
    chosen = decision.chosen()
    assert chosen is not None
    assert chosen.score_usd == pytest.approx((chosen.cost_usd or 0) + 4 * (3660 / HOUR) + 100)


def test_a_deadline_in_the_past_still_places_the_job() -> None:
    assert decided(view(onprem()), deadline=at(-HOUR)).placed


def test_a_deadline_decides_before_the_gpu_nodes_are_kept() -> None:
    where = onprem()
    batch_busy = [state for state in full(where).nodes if state.partitions == ("batch",)]
    found = load([*batch_busy, node("gpu-1", where.partitions["gpu"])], *full(where).jobs[:4])
    assert decided(view(where, found), deadline=at(1.5 * HOUR)).partition == "gpu"


def test_partitions_that_fit_looks_at_shape_project_and_pin_only() -> None:
    where = onprem(projects=("proj-a",))
    names = [part.name for part in partitions_that_fit(request(cpus_per_task=20), where)]
    assert names == ["gpu"]
    assert [part.name for part in partitions_that_fit(request(), where)] == ["batch", "gpu"]
    assert partitions_that_fit(request(cluster="azure"), where) == []
    assert partitions_that_fit(request(project="proj-x"), where) == []


def test_no_cluster_at_all_is_said() -> None:
    decision = decided()
    assert decision.sentence == "no cluster is named in clusters.yaml."
    with pytest.raises(FitsNowhere):
        decision.raise_if_unplaced()


def test_the_refusals_survive_json() -> None:
    decision = decided(view(onprem()), view(azure(), unavailable="down"), cpus_per_task=500)
    assert Decision.model_validate_json(json.dumps(decision.model_dump(mode="json"))) == decision


def test_a_job_waiting_in_a_partition_that_clusters_yaml_does_not_name_is_no_hindrance() -> None:
    other = partition("debug")
    found = load([*nodes(onprem()), node("debug-1", other)], job(partition="debug"))
    best = of(decided(view(onprem(), found)), "onprem").best
    assert best is not None
    assert best.starts_in_s == 0
