"""What Slurm 22.05.8 really said about changes and when something was wrong, and what we make of it."""

from __future__ import annotations

import pytest

from hybrid_hpc.commands import Answer
from hybrid_hpc.errors import (
    ConnectionLost,
    Refused,
    SubmissionRefused,
    Unavailable,
    Unreachable,
    Unreadable,
)
from hybrid_hpc.schedulers.base import Load
from hybrid_hpc.schedulers.slurm import Slurm
from tests.captured.reading import captured

VERSION = "slurm-22.05.8"
SLURM = Slurm()


def answer(name: str) -> Answer:
    return captured(VERSION, name)


def load(name: str) -> Load:
    return SLURM.read_load(answer(name))


def test_a_submitted_job_has_an_id() -> None:
    assert SLURM.read_submit(answer("submit")) == "112"
    assert SLURM.read_submit(Answer(0, "Welcome!\n112;onprem\n", "")) == "112"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("bad-partition", "there is no such partition"),
        ("bad-array", "use fewer tasks"),
        ("bad-option", "does not know"),
        ("bad-constraint", "no node has the feature"),
        ("bad-reservation", "no such reservation"),
        ("bad-license", "no such licence"),
    ],
)
def test_a_refused_submission_says_why_in_words(name: str, sentence: str) -> None:
    with pytest.raises(SubmissionRefused, match=sentence):
        SLURM.read_submit(answer(f"submit-{name}"))


def test_a_submission_that_did_not_arrive_may_be_sent_again() -> None:
    with pytest.raises(Unreachable):
        SLURM.read_submit(answer("submit-no-controller"))


@pytest.mark.parametrize(
    "said",
    [
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received",
        "sbatch: error: Batch job submission failed: Unexpected message received",
    ],
)
def test_a_submission_without_an_answer_is_neither_refused_nor_sent(said: str) -> None:
    with pytest.raises(ConnectionLost):
        SLURM.read_submit(Answer(1, "", said))


@pytest.mark.parametrize("name", ["running", "ended", "unknown", "array", "impossible"])
def test_releasing_twice_is_harmless(name: str) -> None:
    SLURM.read_release(answer(f"release-{name}"))


@pytest.mark.parametrize("name", ["running", "pending", "array", "ended", "unknown", "other-name"])
def test_cancelling_twice_is_harmless(name: str) -> None:
    SLURM.read_cancel(answer(f"cancel-{name}"))


def test_the_start_estimate_is_in_unix_seconds() -> None:
    assert SLURM.read_start_estimate(answer("estimate")) == 1795417031.0
    assert SLURM.read_start_estimate(answer("estimate-never")) is None


def test_accounting_is_there_or_not_or_does_not_answer() -> None:
    assert SLURM.read_accounting(answer("accounting"))
    assert not SLURM.read_accounting(answer("accounting-no-accounting"))
    with pytest.raises(Unavailable):
        SLURM.read_accounting(answer("accounting-database-down"))


def test_a_change_of_nodes_that_slurm_refuses_says_why() -> None:
    SLURM.read_nodes_update(answer("nodes-admit"))
    SLURM.read_nodes_update(answer("nodes-drain"))
    with pytest.raises(Refused, match="Invalid node name"):
        SLURM.read_nodes_update(answer("nodes-unknown"))


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("load-no-controller", SLURM.read_load),
        ("load-no-configuration", SLURM.read_load),
        ("history-database-down", SLURM.read_history),
        ("history-no-configuration", SLURM.read_history),
        ("release-no-controller", SLURM.read_release),
        ("cancel-no-controller", SLURM.read_cancel),
        ("estimate-no-controller", SLURM.read_start_estimate),
        ("nodes-no-controller", SLURM.read_nodes_update),
    ],
)
def test_a_daemon_that_does_not_answer_is_unavailable_not_empty(name: str, read: object) -> None:
    assert callable(read)
    with pytest.raises(Unavailable, match="Slurm does not answer") as caught:
        read(answer(name))
    assert not isinstance(caught.value, Unreadable)


def test_an_error_text_counts_although_slurm_exits_0() -> None:
    good = answer("load-busy")
    said = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"
    with pytest.raises(Unavailable, match="Unable to contact"):
        SLURM.read_load(Answer(0, good.stdout, said))


def test_what_a_login_profile_says_about_connections_is_not_slurms_word() -> None:
    good = answer("load-busy")
    noisy = Answer(0, f"Welcome to onprem\n{good.stdout}bye\n", "ssh-agent: Connection refused\n")
    assert SLURM.read_load(noisy) == SLURM.read_load(good)
