"""Slurm's small formats, also those that our laboratory's version does not write."""

from __future__ import annotations

import pytest

from hybrid_hpc.commands import Answer
from hybrid_hpc.errors import ConnectionLost, SubmissionRefused, Unreachable, Unreadable
from hybrid_hpc.jobs import JobState
from hybrid_hpc.schedulers import slurm_words
from hybrid_hpc.schedulers.base import NodeStatus
from hybrid_hpc.schedulers.slurm_nodes import node_status, nodes
from hybrid_hpc.schedulers.slurm_queue import whole_state
from hybrid_hpc.schedulers.slurm_trouble import raise_not_submitted, words


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        ("None assigned", ()),
        ("node01", ("node01",)),
        ("node[01-03]", ("node01", "node02", "node03")),
        ("node[01-02,07],gpu1", ("node01", "node02", "node07", "gpu1")),
        ("r[1-2]n[9-10]", ("r1n9", "r1n10", "r2n9", "r2n10")),
        ("n[098-101]-ib", ("n098-ib", "n099-ib", "n100-ib", "n101-ib")),
    ],
)
def test_a_host_list_is_every_name(text: str, names: tuple[str, ...]) -> None:
    assert slurm_words.host_names(text) == names


@pytest.mark.parametrize("text", ["node[1-", "node[a-b]", "node[1-99999999]", "n[0-999]m[0-999]"])
def test_a_garbled_host_list_is_refused_and_fills_no_memory(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        slurm_words.host_names(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:02.316", 2.316), ("00:00:00", 0), ("1-02:03:04", 93784), ("10:00", 600), ("2-00:00:00", 172800)],
)
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    assert slurm_words.seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "mib"), [("500", 500), ("62.50G", 64000), ("2000Mc", 2000), ("1T", 1024**2)]
)
def test_memory_is_mebibytes(text: str, mib: float) -> None:
    assert slurm_words.mib(text) == mib


@pytest.mark.parametrize(
    ("text", "size"), [("N/A", 1), ("7", 1), ("1-21:4", 6), ("6-30:2%3", 13), ("1-5,17,99", 7)]
)
def test_an_array_expression_is_a_number_of_tasks(text: str, size: int) -> None:
    assert slurm_words.array_size(text) == size


@pytest.mark.parametrize(
    ("word", "reason", "state"),
    [
        ("CANCELLED by 1001", "", JobState.CANCELLED),
        ("PENDING", "JobHeldUser", JobState.HELD),
        ("PENDING", "JobHeldAdmin", JobState.HELD),
        ("PENDING", "job requeued in held state", JobState.HELD),
        ("RUNNING", "JobHeldUser", JobState.RUNNING),
        ("OUT_OF_MEMORY", "", JobState.OUT_OF_MEMORY),
        ("COMPLETE", "", JobState.UNKNOWN),
        ("completed", "", JobState.UNKNOWN),
        ("", "", JobState.UNKNOWN),
    ],
)
def test_a_state_word_is_known_or_unknown(word: str, reason: str, state: JobState) -> None:
    assert slurm_words.job_state(word, reason) is state


def test_every_state_has_its_place_when_an_array_is_folded() -> None:
    for state in JobState:
        assert whole_state([state]) is state
        if state is not JobState.COMPLETED:
            assert whole_state([JobState.COMPLETED, state]) is state
        if not state.final:
            assert not whole_state([JobState.FAILED, state, JobState.COMPLETED]).final


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("IDLE", NodeStatus.UP),
        ("MIXED+PLANNED", NodeStatus.UP),
        ("ALLOCATED+COMPLETING", NodeStatus.UP),
        ("IDLE*", NodeStatus.DOWN),
        ("DOWN*+CLOUD", NodeStatus.DOWN),
        ("IDLE~+CLOUD", NodeStatus.OFF),
        ("IDLE#+CLOUD", NodeStatus.BOOTING),
        ("IDLE+CLOUD+POWER", NodeStatus.OFF),
        ("MIXED+CLOUD+POWERED_DOWN", NodeStatus.BOOTING),
        ("MIXED+CLOUD+POWERING_DOWN", NodeStatus.OFF),
        ("IDLE+DRAIN+CLOUD+POWERED_DOWN", NodeStatus.DRAINING),
        ("DOWN+DRAIN", NodeStatus.DOWN),
        ("MIXED+DRAIN", NodeStatus.DRAINING),
        ("IDLE+MAINT", NodeStatus.DRAINING),
        ("IDLE+RESERVED", NodeStatus.DRAINING),
        ("IDLE+REBOOT_ISSUED", NodeStatus.BOOTING),
        ("UNKNOWN+DRAIN+INVALID_REG", NodeStatus.DOWN),
        ("SOMETHING_NEW", NodeStatus.DOWN),
        ("", NodeStatus.DOWN),
    ],
)
def test_a_node_state_says_what_the_node_is_good_for(state: str, status: NodeStatus) -> None:
    assert node_status(state) is status


@pytest.mark.parametrize(
    ("state", "drained"),
    [("DOWN+DRAIN", True), ("IDLE+FAIL", True), ("DOWN*+CLOUD", False), ("IDLE+MAINT", False)],
)
def test_a_node_that_somebody_drained_is_known_though_it_is_down(state: str, drained: bool) -> None:
    (node,), _ = nodes([f"NodeName=n1 CPUAlloc=0 CPUTot=8 RealMemory=1000 AllocMem=0 State={state}"])
    assert node.drained is drained


def test_a_node_of_an_older_version_is_read_too() -> None:
    line = (
        "NodeName=n1 Arch=x86_64 CPUAlloc=2 CPUTot=8 Gres=gpu:v100:2(S:0),gpu:a100:1(S:1) RealMemory=1000 "
        "AllocMem=500 State=IDLE~+CLOUD Partitions=a,b"
    )
    (node,), unreadable = nodes([line, "NodeName=n2 CPUAlloc=x", "nonsense"])
    assert (node.name, node.cores, node.gpus, node.gpu_type, node.partitions) == (
        "n1",
        8,
        3,
        "v100",
        ("a", "b"),
    )
    assert (node.status, node.last_busy, unreadable) == (NodeStatus.OFF, None, 2)


def test_messages_lose_their_prefixes_and_repetitions() -> None:
    said = "sbatch: error: no\nsbatch: error: Batch job submission failed: no\n\nslurm_load_jobs error: why\n"
    assert words(said) == "no; why"


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("sbatch: error: Batch job submission failed: Rate limit exceeded, please retry", Unreachable),
        (
            "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
            ConnectionLost,
        ),
        ("sbatch: error: Batch job submission failed: Job violates accounting/QOS policy", SubmissionRefused),
        ("sbatch: error: something that nobody has seen before", SubmissionRefused),
    ],
)
def test_what_sbatch_says_decides_whether_it_may_be_sent_again(said: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        raise_not_submitted(Answer(1, "", said))


def test_noise_of_a_profile_is_no_refusal() -> None:
    with pytest.raises(Unreadable):
        raise_not_submitted(Answer(137, "", "Welcome! ssh-agent: error: Connection refused\n"))
