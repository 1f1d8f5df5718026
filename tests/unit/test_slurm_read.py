"""What Slurm 22.05.8 really printed, and what we make of it."""

from __future__ import annotations

from collections import Counter

import pytest

from hybrid_hpc.commands import Answer
from hybrid_hpc.jobs import JobState
from hybrid_hpc.schedulers.base import Load, NodeState, NodeStatus, QueuedJob
from hybrid_hpc.schedulers.slurm import Slurm
from tests.captured.reading import captured

VERSION = "slurm-22.05.8"
SLURM = Slurm()


def answer(name: str) -> Answer:
    return captured(VERSION, name)


def load(name: str) -> Load:
    return SLURM.read_load(answer(name))


def job(name: str, among: str = "load-busy") -> QueuedJob:
    return next(job for job in load(among).jobs if job.name == name)


def node(name: str, among: str) -> NodeState:
    return next(node for node in load(among).nodes if node.name == name)


def test_the_version_is_read() -> None:
    assert SLURM.read_version(answer("version")) == "22.05.8"


def test_the_clock_is_the_head_nodes() -> None:
    assert load("load-busy").now == 1795416823.0


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("hh-running", JobState.RUNNING),
        ("hh-waits", JobState.PENDING),
        ("hh-held", JobState.HELD),
        ("hh-heldarray", JobState.HELD),
        ("hh-requeued", JobState.PENDING),
        ("hh-suspended", JobState.SUSPENDED),
    ],
)
def test_a_job_in_the_queue_has_its_state(name: str, state: JobState) -> None:
    assert job(name).state is state


def test_a_running_job_tells_where_it_runs_and_since_when() -> None:
    running = job("hh-gpu")
    assert running.node_names == ("gpu01",)
    assert running.starts_at == 1795416797.0
    assert (running.cores, running.memory_per_node_mib, running.gpus_per_node) == (4, 16000, 2)
    assert (running.user, running.project, running.partition) == ("root", "proj-alpha", "gpu")
    assert running.walltime_s == 300


def test_a_pending_job_tells_what_it_asks_for_and_why_it_waits() -> None:
    waits = job("hh-waits")
    assert (waits.nodes, waits.cores, waits.memory_per_node_mib) == (4, 64, 60 * 1024)
    assert (waits.reason, waits.node_names) == ("Priority", ())


def test_memory_that_was_asked_for_per_core_is_counted_per_node() -> None:
    assert job("per-cpu").memory_per_node_mib == 3 * 1500
    assert job("per-cpu").walltime_s is None
    assert job("per-cpu").gpus_per_node == 1


def test_array_tasks_that_share_a_line_are_one_job_with_their_number() -> None:
    lines = [line for line in load("load-busy").jobs if line.name == "hh-array"]
    assert [(line.state, line.array_tasks) for line in lines] == [
        (JobState.RUNNING, 1),
        (JobState.RUNNING, 1),
        (JobState.RUNNING, 1),
        (JobState.PENDING, 24),
    ]
    assert {line.native_id for line in lines} == {"64"}
    assert job("dep").array_tasks == 6


def test_a_job_that_may_go_to_several_partitions_names_them_all() -> None:
    assert job("a name that is m").partition == "batch,debug"


def test_a_hostile_job_name_costs_its_own_line_and_forges_none() -> None:
    busy = load("load-busy")
    assert busy.unreadable == 2  # one name with a line break and separators, in two pieces
    assert Counter(job.native_id for job in busy.jobs)["57"] == 0
    assert len([job for job in busy.jobs if job.name == "hh-running"]) == 1


def test_names_that_are_no_utf8_do_no_harm() -> None:
    assert job("bytes\ufffd\ufffd").state is JobState.PENDING


def test_the_queue_is_in_the_schedulers_order() -> None:
    priorities = [job.priority for job in load("load-busy").jobs]
    assert priorities == sorted(priorities, reverse=True)


def test_an_empty_queue_is_no_error() -> None:
    empty = load("load-empty-queue")
    assert (empty.jobs, len(empty.nodes), empty.unreadable) == ((), 5, 0)


def test_a_node_tells_what_it_has_and_what_is_free() -> None:
    gpu = node("gpu01", "load-busy")
    assert (gpu.cores, gpu.cores_busy, gpu.cores_free) == (32, 4, 28)
    assert (gpu.memory_mib, gpu.memory_busy_mib) == (256000, 16000)
    assert (gpu.gpus, gpu.gpus_busy, gpu.gpu_type) == (4, 2, "a100")
    assert gpu.partitions == ("gpu",)
    assert gpu.last_busy is not None


def test_a_drained_node_takes_no_jobs_and_says_why() -> None:
    drained = node("node04", "load-busy")
    assert drained.status is NodeStatus.DRAINING
    assert drained.cores_free == 0
    assert drained.reason == "fan is loud, see [ticket 7] Reason=x State=IDLE"


@pytest.mark.parametrize(
    ("among", "name", "status"),
    [
        ("load-cloud-off", "azure-hpc-1", NodeStatus.OFF),
        ("load-cloud-booting", "azure-hpc-1", NodeStatus.BOOTING),
        ("load-cloud-booting", "azure-hpc-3", NodeStatus.OFF),
        ("load-cloud-running", "azure-hpc-2", NodeStatus.UP),
        ("load-cloud-boot-failed", "azure-htc-1", NodeStatus.DOWN),
        ("load-cloud-powering-down", "azure-hpc-1", NodeStatus.OFF),
        ("load-elastic-plain-nodes", "azure-hpc-1", NodeStatus.DOWN),  # resumed, and not there
        ("load-elastic-plain-nodes", "azure-hpc-3", NodeStatus.DRAINING),
        ("load-elastic-plain-nodes", "azure-hpc-4", NodeStatus.DOWN),
    ],
)
def test_a_cloud_node_has_the_status_of_its_stage(among: str, name: str, status: NodeStatus) -> None:
    assert node(name, among).status is status


def test_nodes_that_do_not_exist_yet_are_in_the_load() -> None:
    assert len(load("load-cloud-off").nodes) == 26


def test_reasons_that_we_gave_come_back_as_they_were() -> None:
    assert node("azure-hpc-3", "load-elastic-plain-nodes").reason == "hybrid-hpc: idle"
    assert node("azure-hpc-4", "load-elastic-plain-nodes").reason == "hybrid-hpc: off until asked for"


def test_a_job_whose_nodes_boot_is_configuring() -> None:
    configuring = job("hh-cloud", "load-cloud-booting")
    assert configuring.state is JobState.CONFIGURING
    assert configuring.node_names == ("azure-hpc-1", "azure-hpc-2")
