"""What a waiting job tells the person whose job it is."""

from __future__ import annotations

import pytest

from hybrid_hpc.jobs import JobState
from hybrid_hpc.narration import REASONS, Booting, Room, narrate
from hybrid_hpc.schedulers.base import Load, NodeState, NodeStatus, QueuedJob


def job(native_id: str = "7", **changes: object) -> QueuedJob:
    values: dict[str, object] = {
        "native_id": native_id,
        "name": "hh-abc",
        "user": "ada",
        "project": "proj-alpha",
        "partition": "batch",
        "state": JobState.PENDING,
        "reason": "Resources",
        "nodes": 2,
        "cores": 32,
        "memory_per_node_mib": 1000,
        "gpus_per_node": 0,
        "walltime_s": 600,
        "priority": 1,
        "submitted_at": 0.0,
        "starts_at": None,
    }
    return QueuedJob(**(values | changes))  # type: ignore[arg-type]


def node(name: str, busy: int, partition: str = "batch") -> NodeState:
    return NodeState(name, (partition,), NodeStatus.UP, 16, busy, 64000, 0)


def room(*jobs: QueuedJob) -> Room:
    return Room.of(Load(100.0, (node("node01", 10), node("node02", 10), node("gpu01", 0, "gpu")), jobs))


def test_a_pending_job_says_how_many_cores_it_waits_for_and_how_many_jobs_are_ahead() -> None:
    mine = job("7")
    line = narrate([mine], room(job("5"), job("6"), mine, job("8")))
    assert line.text == "pending: waits for 32 free cores (12 free now), 2 jobs ahead"


def test_jobs_of_other_partitions_and_running_jobs_are_not_ahead() -> None:
    mine = job("7")
    others = (job("4", partition="gpu"), job("5", state=JobState.RUNNING), job("6", partition="batch,gpu"))
    assert room(*others, mine).ahead["7"] == 1


def test_booting_nodes_are_told_with_their_age_but_the_age_makes_no_new_line() -> None:
    first = narrate([job()], room(), booting=Booting(2, 40.2))
    later = narrate([job()], room(), booting=Booting(2, 55.0))
    assert first.text == "pending: 2 nodes booting, asked 40 s ago"
    assert first.stage == later.stage
    assert first.text != later.text


def test_what_keeps_nodes_away_is_told_in_azures_words() -> None:
    line = narrate([job()], room(), trouble="Azure says: QuotaExceeded")
    assert line.text == "pending: Azure says: QuotaExceeded"


@pytest.mark.parametrize(
    ("reason", "trouble", "blocked"),
    [
        ("Resources", "Azure says: QuotaExceeded", True),
        ("Resources", "the cluster's limit of 2 nodes is reached: 2 nodes run", False),
        ("Resources", "", False),
        ("PartitionDown", "", True),
        ("ReqNodeNotAvail, UnavailableNodes:node01", "", True),
        ("AssocMaxJobsLimit", "", False),
    ],
)
def test_a_job_is_blocked_by_what_is_no_matter_of_room(reason: str, trouble: str, blocked: bool) -> None:
    assert narrate([job(reason=reason)], room(), trouble=trouble).blocked is blocked


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_known_reason_becomes_a_sentence_without_the_code(reason: str) -> None:
    text = narrate([job(reason=reason)], room()).text
    assert text == f"pending: {REASONS[reason]}"
    assert reason not in text


def test_an_unknown_reason_is_told_as_it_is() -> None:
    assert narrate([job(reason="SolarFlare")], room()).text == "pending: the scheduler says SolarFlare"


def test_a_running_job_is_told_what_threatens_its_nodes_in_a_line_of_its_own_and_is_not_blocked() -> None:
    runs = job(state=JobState.RUNNING, node_names=("htc-1",))
    quiet, warned = narrate([runs], room()), narrate([runs], room(), trouble="Azure is about to take it away")
    assert warned.text == "running on htc-1; Azure is about to take it away"
    assert warned.stage != quiet.stage
    assert not warned.blocked


def test_a_running_array_tells_how_many_tasks_run_and_wait() -> None:
    running = [job("7", state=JobState.RUNNING, node_names=(f"node0{n}",)) for n in (1, 2)]
    line = narrate([*running, job("7", array_tasks=5)], room())
    assert line.text == "running: 2 array tasks on node01, node02, 5 waiting"


def test_many_node_names_are_cut_short() -> None:
    names = tuple(f"node{n:02}" for n in range(1, 9))
    line = narrate([job(state=JobState.RUNNING, node_names=names)], room())
    assert line.text == "running on node01, node02, node03, node04 and 4 more"


@pytest.mark.parametrize(
    ("trouble", "blocked"),
    [
        ("the Azure quota of the region is reached", True),
        ("Azure says: the cluster-init script failed", True),
        ("CycleCloud does not answer: no answer within 30 s", False),
        ("", False),
    ],
)
def test_a_job_whose_chosen_nodes_do_not_come_is_blocked_when_cyclecloud_says_why(
    trouble: str, blocked: bool
) -> None:
    waits = job(state=JobState.CONFIGURING, node_names=("azure-hpc-1",))
    line = narrate([waits], room(), booting=Booting(1, 20.0), trouble=trouble)
    assert line.blocked is blocked
    assert line.text.endswith(f"they do not come: {trouble}" if trouble else "1 node booting, asked 20 s ago")


def test_a_configuring_job_names_its_booting_nodes() -> None:
    line = narrate([job(state=JobState.CONFIGURING, node_names=("azure-hpc-1",))], room())
    assert line.text == "has its nodes (azure-hpc-1), which are booting"
