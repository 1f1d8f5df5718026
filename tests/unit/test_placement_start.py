"""When a job would start: what a snapshot of nodes and queue tells, and nothing more."""

from __future__ import annotations

import pytest

from hybrid_hpc.jobs import JobState
from hybrid_hpc.placement import ClusterView, PartitionVerdict
from hybrid_hpc.placement import forecast as forecast_module
from hybrid_hpc.schedulers.base import NodeStatus, QueuedJob
from tests.unit.placement_world import (
    CLOCK,
    HOUR,
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
    running,
    view,
)

FOUR = cluster("onprem", partition("batch"))  # 4 nodes of 16 cores


def offer(found: ClusterView, name: str = "batch", **wishes: object) -> PartitionVerdict:
    verdict = decided(found, **({"walltime": "60"} | wishes)).verdicts[0]
    return next(offer for offer in verdict.partitions if offer.partition == name)


def start(found: ClusterView, name: str = "batch", **wishes: object) -> float | None:
    return offer(found, name, **wishes).starts_in_s


def busy(*jobs: QueuedJob) -> ClusterView:
    """Four nodes; what the running jobs hold is busy."""
    held: dict[str, int] = {}
    for each in jobs:
        for name in each.node_names:
            held[name] = held.get(name, 0) + each.cores // len(each.node_names)
    found = [
        node(f"batch-{n}", FOUR.partitions["batch"], cores_busy=held.get(f"batch-{n}", 0))
        for n in range(1, 5)
    ]
    return view(FOUR, load(found, *jobs))


def test_a_job_that_fits_into_free_cores_starts_at_once() -> None:
    assert start(view(FOUR), nodes=4, cpus_per_task=16) == 0


def test_a_running_job_frees_its_nodes_at_its_limit_and_not_before() -> None:
    found = view(FOUR, full(FOUR, ends_in_s=1800))
    assert start(found) == 1800
    assert offer(found).note == "when running jobs end"


def test_the_head_nodes_clock_counts_not_ours() -> None:
    found = load(
        [node("batch-1", FOUR.partitions["batch"], cores_busy=16)], running("1", "batch-1", ends_in_s=90)
    )
    assert found.now == CLOCK
    assert start(view(FOUR, found)) == 90


def test_jobs_ahead_take_their_nodes_first() -> None:
    found = full(FOUR, ends_in_s=600)
    queue = [job(str(n), nodes=2, cores=32, walltime_s=HOUR) for n in range(10, 12)]
    waits = view(FOUR, load(list(found.nodes), *found.jobs, *queue))
    assert start(waits) == 600 + HOUR
    assert offer(waits).note == "after 2 waiting jobs"


def test_a_short_job_starts_in_a_gap_before_a_large_job_that_waits() -> None:
    """What the scheduler's backfill does: three nodes are free until the fourth is."""
    large = job("9", nodes=4, cores=64)
    found = busy(running("1", "batch-1", ends_in_s=2 * HOUR))
    assert found.load is not None
    waits = view(FOUR, load(list(found.load.nodes), *found.load.jobs, large))
    assert start(waits, walltime="120") == 0
    assert start(waits, walltime="121") == 3 * HOUR
    assert start(waits, nodes=3, walltime="120") == 0
    assert start(waits, nodes=4, walltime="60") == 3 * HOUR


def test_memory_and_gpus_are_waited_for_like_cores() -> None:
    where = onprem()
    found = [node("batch-1", where.partitions["batch"], memory_busy_mib=60_000, cores_busy=1)]
    found += [node("gpu-1", where.partitions["gpu"], gpus_busy=3, cores_busy=1)]
    holds = [
        running("1", "batch-1", cores=1, memory_per_node_mib=60_000, ends_in_s=500),
        running("2", "gpu-1", cores=1, gpus_per_node=3, partition="gpu", ends_in_s=700),
    ]
    seen = view(where, load(found, *holds))
    assert start(seen, memory_per_node="4000M") == 0
    assert start(seen, memory_per_node="8000M") == 500
    assert start(seen, "gpu", gpus_per_node=1) == 0
    assert start(seen, "gpu", gpus_per_node=2) == 700


def test_what_is_busy_without_a_job_that_is_seen_stays_busy_for_the_partitions_limit() -> None:
    hidden = [node(f"batch-{n}", FOUR.partitions["batch"], cores_busy=16) for n in range(1, 5)]
    assert start(view(FOUR, load(hidden))) == 48 * HOUR


def test_what_is_busy_beside_a_job_that_is_seen_goes_with_it() -> None:
    """A job without a memory request holds the memory that the scheduler gave it."""
    found = [node("batch-1", FOUR.partitions["batch"], cores_busy=4, memory_busy_mib=64_000)]
    assert (
        start(view(FOUR, load(found, running("1", "batch-1", cores=4, ends_in_s=300))), memory_per_node="1G")
        == 300
    )


@pytest.mark.parametrize(
    "late",
    [
        running("1", *(f"batch-{n}" for n in range(1, 5)), ends_in_s=-500),
        running("1", *(f"batch-{n}" for n in range(1, 5)), state=JobState.COMPLETING),
    ],
    ids=["past its limit", "completing"],
)
def test_a_job_that_should_be_over_is_over_within_a_minute(late: QueuedJob) -> None:
    assert start(busy(late)) == 60


def test_a_running_job_without_a_limit_ends_at_its_partitions() -> None:
    endless = running("1", *(f"batch-{n}" for n in range(1, 5)), walltime_s=None, starts_at=CLOCK - HOUR)
    assert start(busy(endless)) == 47 * HOUR


@pytest.mark.parametrize(
    "changes",
    [
        {"state": JobState.HELD, "reason": "JobHeldUser"},
        {"reason": "Dependency"},
        {"reason": "BeginTime"},
        {"reason": "QOSMaxJobsPerUserLimit"},
        {"reason": "JobArrayTaskLimit"},
        {"partition": "debug"},
        {"cores": 64},
        {"nodes": 5, "cores": 5},
    ],
)
def test_a_job_that_nodes_would_not_start_is_not_ahead(changes: dict[str, object]) -> None:
    queue = [job(str(n), **({"nodes": 4, "cores": 64} | changes)) for n in range(1, 3)]
    if changes == {"cores": 64}:
        queue = [job("1", nodes=1, cores=64)]
    assert start(view(FOUR, load(nodes(FOUR), *queue))) == 0


def test_jobs_of_a_higher_priority_come_first_then_the_older() -> None:
    """Only one of the two can start now; the gap after it is as long as that one's walltime."""
    one = cluster("onprem", partition("batch", nodes=1))
    slow = job("1", walltime_s=5 * HOUR, priority=1, submitted_at=CLOCK - 900)
    quick = job("2", walltime_s=HOUR, priority=2)
    queue = view(one, load(nodes(one), slow, quick))
    assert start(queue) == 6 * HOUR


def test_every_task_of_an_array_that_waits_is_ahead() -> None:
    queue = load(nodes(FOUR), job("1", array_tasks=9))
    assert start(view(FOUR, queue), cpus_per_task=16) == 2 * HOUR


def test_a_job_that_names_several_partitions_takes_the_first_that_is_free() -> None:
    where = cluster("onprem", partition("a", nodes=1), partition("b", nodes=1))
    queue = load(nodes(where), job("1", partition="a,b"), job("2", partition="a,b"))
    assert start(view(where, queue), "a") == HOUR
    assert start(view(where, queue), "b") == HOUR


def test_a_node_in_two_partitions_is_taken_once() -> None:
    where = cluster("onprem", partition("a", nodes=1), partition("b", nodes=1))
    shared = node("n1", where.partitions["a"], partitions=("a", "b"))
    queue = load([shared], job("1", partition="a"))
    assert start(view(where, queue), "b") == HOUR


def test_nodes_that_are_off_boot_first() -> None:
    found = view(azure())
    assert start(found, "htc") == 60
    assert offer(found, "htc").note == "nodes boot first"


def test_nodes_that_boot_already_are_not_asked_of_the_quota() -> None:
    where = azure()
    booting = view(where, load(nodes(where, NodeStatus.BOOTING)), creatable={"htc": 0, "hpc": 0})
    assert start(booting, "htc", nodes=8) == 60


def test_jobs_ahead_use_up_the_nodes_that_can_be_made() -> None:
    where = azure()
    queue = [job(str(n), partition="htc") for n in range(1, 4)]
    found = view(where, load(nodes(where, NodeStatus.OFF), *queue), creatable={"htc": 3})
    assert start(found, "htc") == 60 + HOUR


def test_a_node_up_is_taken_before_one_that_would_have_to_boot() -> None:
    where = azure()
    found = [*nodes(where, NodeStatus.OFF)[:-1], node("htc-8", where.partitions["htc"])]
    assert start(view(where, load(found)), "htc") == 0


@pytest.mark.parametrize(
    ("estimate", "expected"), [(CLOCK + 5 * HOUR, 5 * HOUR), (CLOCK - 10, 0), (CLOCK, 0)]
)
def test_the_schedulers_estimate_can_only_put_the_start_off(estimate: float, expected: float) -> None:
    found = view(FOUR, estimates={"batch": estimate})
    assert start(found) == expected


def test_an_estimate_that_looks_past_the_queue_does_not_make_the_start_earlier() -> None:
    found = view(FOUR, full(FOUR, ends_in_s=HOUR), estimates={"batch": CLOCK + 60})
    assert start(found) == HOUR


def test_an_estimate_that_puts_the_start_off_is_named() -> None:
    assert offer(view(FOUR, estimates={"batch": CLOCK + 600})).note == "start by the scheduler's own estimate"


def test_an_elastic_clusters_estimate_is_not_heard() -> None:
    assert start(view(azure(), estimates={"htc": CLOCK + 365 * 24 * HOUR}), "htc") == 60


@pytest.mark.parametrize(
    ("wishes", "hours"),
    [
        ({"array": "0-9"}, 3),  # 4 + 4 + 2 tasks
        ({"array": "0-9%2"}, 5),
        ({"array": "0-9", "nodes": 2}, 5),
        ({"array": "0-63", "cpus_per_task": 1}, 1),
    ],
)
def test_an_array_ends_when_its_last_wave_does(wishes: dict[str, object], hours: int) -> None:
    assert offer(view(FOUR), "batch", **({"cpus_per_task": 16} | wishes)).ends_in_s == hours * HOUR


def test_an_array_waits_for_more_room_when_that_is_sooner_than_going_through_a_hole() -> None:
    found = busy(*(running(str(n), f"batch-{n}", ends_in_s=1800) for n in (1, 2, 3)))
    assert offer(found, cpus_per_task=16, array="0-7").ends_in_s == 1800 + 2 * HOUR
    assert offer(found, cpus_per_task=16, array="0-7").starts_in_s == 0


def test_a_queue_too_long_to_be_laid_out_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = load(nodes(FOUR), job("1", array_tasks=400))
    laid_out = start(view(FOUR, queue), cpus_per_task=16)
    monkeypatch.setattr(forecast_module, "LAID_AT_MOST", 40)
    flowed = start(view(FOUR, queue), cpus_per_task=16)
    assert laid_out == 100 * HOUR
    assert flowed == pytest.approx(laid_out)


def test_an_array_of_ten_thousand_tasks_that_waits_is_laid_out_quickly() -> None:
    queue = load(nodes(FOUR), job("1", array_tasks=10_000), job("2", nodes=4, cores=64))
    assert start(view(FOUR, queue), cpus_per_task=16) == pytest.approx(2501 * HOUR)


@pytest.mark.parametrize(
    "odd",
    [
        job("1", cores=0, nodes=0),
        job("1", walltime_s=0),
        job("1", walltime_s=None),
        job("1", memory_per_node_mib=10**12),
        job("1", partition=""),
        job("1", array_tasks=0),
        running("1", "no-such-node"),
        running("1", "batch-1", starts_at=None),
        running("1", "batch-1", starts_at=CLOCK + 1e9),
        running("1", "batch-1", cores=10**9, memory_per_node_mib=10**9),
        running("1"),
    ],
)
def test_odd_lines_of_a_queue_never_break_a_decision(odd: QueuedJob) -> None:
    found = start(view(FOUR, load(nodes(FOUR), odd)), nodes=3)
    assert found is not None
    assert found >= 0
