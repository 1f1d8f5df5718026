"""Samples, hours of VMs and windows of time: what the sources say as rows, and which time is asked for."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_hpc.cyclecloud import ClusterUsage
from hybrid_hpc.jobs import JobState
from hybrid_hpc.schedulers.base import Load, NodeState, NodeStatus, QueuedJob
from hybrid_hpc.usage.samples import SampleRow, samples_of
from hybrid_hpc.usage.vm_hours import VmHourRow, vm_hours_of
from hybrid_hpc.usage.windows import Window, due
from tests.unit.usage_world import NOON

HOUR = timedelta(hours=1)


def node(name: str, status: NodeStatus = NodeStatus.UP, busy: int = 0, *partitions: str) -> NodeState:
    return NodeState(name, partitions or ("batch",), status, 16, busy, 64_000, 0, gpus=2, gpus_busy=busy // 8)


def job(state: JobState, partition: str = "batch", cores: int = 4, tasks: int = 1) -> QueuedJob:
    who = ("17", "wrap", "alice", "proj-alpha")
    return QueuedJob(*who, partition, state, "", 1, cores, 1000, 0, 600, 1, 0.0, None, array_tasks=tasks)


def sampled(nodes: tuple[NodeState, ...] = (), jobs: tuple[QueuedJob, ...] = ()) -> dict[str, SampleRow]:
    rows = samples_of(Load(NOON.timestamp(), nodes, jobs), "onprem")
    assert {row.moment for row in rows} == {NOON}
    return {row.partition: row for row in rows}


def test_nodes_count_by_what_they_are_good_for_and_cores_where_they_can_compute() -> None:
    statuses = (
        NodeStatus.UP,
        NodeStatus.UP,
        NodeStatus.DRAINING,
        NodeStatus.DOWN,
        NodeStatus.OFF,
        NodeStatus.BOOTING,
    )
    found = sampled(tuple(node(f"n{number}", status, 8) for number, status in enumerate(statuses)))[""]
    assert (found.nodes_up, found.nodes_draining, found.nodes_down) == (2, 1, 1)
    assert (found.nodes_off, found.nodes_booting) == (1, 1)
    assert (found.cores, found.cores_busy, found.cores_free) == (48, 24, 16), "a draining node has none free"
    assert (found.gpus, found.gpus_busy) == (6, 3)


def test_jobs_count_by_whether_they_run_could_run_or_are_held() -> None:
    jobs = (
        job(JobState.RUNNING),
        job(JobState.PENDING, tasks=10),
        job(JobState.HELD),
        job(JobState.CONFIGURING),
    )
    found = sampled(jobs=jobs)[""]
    assert (found.jobs_running, found.jobs_waiting, found.jobs_held) == (1, 11, 1)
    assert found.cores_waiting == 44


def test_a_node_and_a_job_of_two_partitions_are_in_both_and_once_in_the_whole() -> None:
    found = sampled((node("n1", NodeStatus.UP, 4, "a", "b"),), (job(JobState.PENDING, "a,b"),))
    assert [(name, row.cores, row.jobs_waiting) for name, row in found.items()] == [
        ("", 16, 1),
        ("a", 16, 1),
        ("b", 16, 1),
    ]


def test_an_empty_cluster_is_a_sample_too() -> None:
    assert list(sampled()) == [""]


def usage(*items: dict[str, Any], total: float = 0.0) -> ClusterUsage:
    interval = {
        "start": NOON.isoformat(),
        "end": (NOON + HOUR).isoformat(),
        "total": {"category": "cluster", "hours": total},
        "breakdown": list(items),
    }
    return ClusterUsage.model_validate({"usage": [interval]})


def item(name: str, *details: dict[str, Any], hours: float = 0.0, **more: Any) -> dict[str, Any]:
    return {"category": "nodearray", "node": name, "hours": hours, "details": list(details), **more}


def detail(**changes: Any) -> dict[str, Any]:
    return {"vm_size": "F16", "priority": "Regular", "core_count": 16, "hours": 32.0, "cost": 2.0, **changes}


def test_a_row_for_each_kind_of_vm_with_its_node_hours() -> None:
    head = item("scheduler", detail(vm_size="D4", core_count=4, hours=4.0, cost=0.2), category="node")
    rows = vm_hours_of(
        usage(item("htc", detail(), detail(priority="Spot", hours=8.0, cost=0.1)), head), "azure"
    )
    assert rows == [
        VmHourRow("azure", NOON, "nodearray", "htc", "F16", "Regular", 32.0, 2.0, 2.0),
        VmHourRow("azure", NOON, "nodearray", "htc", "F16", "Spot", 8.0, 0.5, 0.1),
        VmHourRow("azure", NOON, "node", "scheduler", "D4", "Regular", 4.0, 1.0, 0.2),
    ]


def test_the_same_kind_in_two_regions_is_one_row_and_an_unknown_price_leaves_it_unknown() -> None:
    twice = vm_hours_of(usage(item("htc", detail(region="a"), detail(region="b"))), "azure")
    assert [(row.core_h, row.node_h, row.cost_usd) for row in twice] == [(64.0, 4.0, 4.0)]
    unknown = vm_hours_of(usage(item("htc", detail(region="a"), detail(region="b", cost=None))), "azure")
    assert [(row.core_h, row.cost_usd) for row in unknown] == [(64.0, None)]


def test_without_details_or_parts_what_there_is_is_kept() -> None:
    plain = vm_hours_of(usage(item("htc", hours=32.0, cost=2.0)), "azure")
    assert [(row.name, row.vm_size, row.core_h, row.node_h, row.cost_usd) for row in plain] == [
        ("htc", "", 32.0, None, 2.0)
    ]
    whole = vm_hours_of(usage(total=5.0), "azure")
    assert [(row.category, row.core_h, row.cost_usd) for row in whole] == [("cluster", 5.0, None)]


def test_an_hour_without_a_vm_has_no_row() -> None:
    assert vm_hours_of(usage(total=0.0), "azure") == []


def test_what_is_due_begins_where_the_last_ended_and_a_little_before() -> None:
    collected = Window(NOON - 9 * HOUR, NOON)
    lag = timedelta(minutes=30)
    assert due(collected, NOON + HOUR, first=9 * HOUR, overlap=lag) == Window(NOON - lag, NOON + HOUR)
    assert due(None, NOON, first=9 * HOUR, overlap=lag) == Window(NOON - 9 * HOUR, NOON)


def test_a_clock_that_was_set_back_hides_nothing() -> None:
    earlier = NOON - 2 * HOUR
    assert due(Window(NOON - 9 * HOUR, NOON), earlier, first=HOUR, overlap=HOUR).since == earlier - HOUR


moments = st.integers(0, 10**6).map(lambda seconds: NOON + timedelta(seconds=seconds))
windows = st.tuples(moments, moments).map(lambda pair: Window(min(pair), max(pair)))


@given(windows, st.integers(1, 10**5))
def test_pieces_are_the_whole_without_gap_or_overlap(window: Window, longest_s: int) -> None:
    longest = timedelta(seconds=max(longest_s, (window.until - window.since).total_seconds() / 50))
    pieces = list(window.pieces(longest))
    assert all(one.until == other.since for one, other in pairwise(pieces))
    assert all(piece.until - piece.since <= longest for piece in pieces)
    if window.since < window.until:
        assert (pieces[0].since, pieces[-1].until) == (window.since, window.until)
        first, second = window.halves()
        assert (first.since, first.until, second.until) == (window.since, second.since, window.until)


@given(windows, windows)
def test_windows_that_touch_are_joined_and_what_lies_between_others_is_not_claimed(
    one: Window, other: Window
) -> None:
    joined = one.joined(other)
    if one.since <= other.until and other.since <= one.until:
        assert joined == Window(min(one.since, other.since), max(one.until, other.until))
    else:
        assert joined == one


@pytest.mark.parametrize("length_s", [1, 2, 59])
def test_halves_are_cut_at_whole_seconds(length_s: int) -> None:
    first, _ = Window(NOON, NOON + timedelta(seconds=length_s)).halves()
    assert first.until.microsecond == 0
