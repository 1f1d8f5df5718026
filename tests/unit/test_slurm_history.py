"""What Slurm 22.05.8 really said about one job, in the queue or in the accounting, and what we make of it."""

from __future__ import annotations

import pytest

from hybrid_hpc.commands import Answer
from hybrid_hpc.errors import (
    Unavailable,
)
from hybrid_hpc.jobs import JobState
from hybrid_hpc.schedulers.base import Found, JobRecord
from hybrid_hpc.schedulers.slurm import Slurm
from tests.captured.reading import captured

VERSION = "slurm-22.05.8"
SLURM = Slurm()


def answer(name: str) -> Answer:
    return captured(VERSION, name)


def records(name: str, among: str = "history-all") -> list[JobRecord]:
    return [record for record in SLURM.read_history(answer(among)) if record.name == name]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("held", [Found("68", JobState.HELD)]),
        ("heldarray", [Found("71", JobState.HELD)]),
        ("array", [Found("64", JobState.RUNNING)]),
        ("requeued", [Found("79", JobState.PENDING)]),
        ("done", [Found("74", JobState.COMPLETED)]),
        ("failed", [Found("75", JobState.FAILED)]),
    ],
)
def test_a_job_is_found_by_its_token_once(name: str, found: list[Found]) -> None:
    assert SLURM.read_find(answer(f"find-{name}"), f"hh-{name}") == found


def test_a_job_that_nobody_submitted_is_not_found() -> None:
    assert SLURM.read_find(answer("find-none"), "hh-nobody") == []


def test_a_job_of_another_name_is_not_taken_for_ours() -> None:
    assert SLURM.read_find(answer("find-done"), "hh-don") == []


def test_a_queued_job_is_found_while_the_accounting_is_down() -> None:
    assert SLURM.read_find(answer("find-queued-database-down"), "hh-nodb") == [Found("117", JobState.HELD)]


def test_nothing_is_said_about_a_job_that_is_not_queued_while_the_accounting_is_down() -> None:
    with pytest.raises(Unavailable, match="database"):
        SLURM.read_find(answer("find-database-down"), "hh-nobody")


def test_without_an_accounting_the_queue_decides() -> None:
    assert SLURM.read_find(answer("find-no-accounting"), "hh-nobody") == []
    assert SLURM.read_find(answer("find-no-accounting"), "hh-done") == [Found("74", JobState.COMPLETED)]


@pytest.mark.parametrize(
    ("name", "state", "exit_code", "signal"),
    [
        ("hh-done", JobState.COMPLETED, 0, None),
        ("hh-failed", JobState.FAILED, 3, None),
        ("hh-killed", JobState.FAILED, None, 9),
        ("hh-timeout", JobState.TIMEOUT, None, None),
        ("hh-cancelled", JobState.CANCELLED, None, None),
        ("hh-cancelpend", JobState.CANCELLED, None, None),
        ("hh-multinode", JobState.NODE_FAIL, None, None),
        ("hh-running", JobState.RUNNING, None, None),
        ("hh-held", JobState.PENDING, None, None),
    ],
)
def test_the_accounting_says_how_a_job_ended(
    name: str, state: JobState, exit_code: int | None, signal: int | None
) -> None:
    (record,) = records(name)
    assert (record.state, record.exit_code, record.signal) == (state, exit_code, signal)


def test_steps_are_folded_into_their_job() -> None:
    (bigmem,) = records("hh-bigmem")
    assert bigmem.cpu_s == 7.233
    assert bigmem.max_rss_mib == pytest.approx(310.8, abs=0.1)
    (done,) = records("hh-done")
    assert done.cpu_s == pytest.approx(0.179)
    assert done.max_rss_mib is None  # shorter than the first sample


def test_a_record_has_what_usage_is_counted_from() -> None:
    (gpu,) = records("hh-gpu")
    assert (gpu.nodes, gpu.cores, gpu.gpus, gpu.memory_asked_mib) == (1, 4, 2, 16000)
    assert (gpu.user, gpu.project, gpu.partition) == ("root", "proj-alpha", "gpu")
    assert (gpu.walltime_s, gpu.started_at, gpu.ended_at) == (300, 1795416797.0, None)
    (many,) = records("hh-multinode")
    assert many.node_names == ("node01", "node02", "node03")
    assert (many.nodes, many.cores, many.memory_asked_mib) == (3, 12, 3 * 3 * 1024)


def test_a_job_that_never_started_has_no_start_and_no_nodes() -> None:
    (pending,) = records("hh-cancelpend")
    assert (pending.started_at, pending.node_names, pending.elapsed_s) == (None, (), 0.0)


def test_an_array_has_a_record_a_task_and_one_for_all_that_never_started() -> None:
    tasks = {record.task: record.state for record in records("hh-array", "history-array")}
    assert tasks == {
        "1": JobState.COMPLETED,
        "2": JobState.COMPLETED,
        "3": JobState.FAILED,
        "4": JobState.CANCELLED,
        "5": JobState.CANCELLED,
        "6": JobState.CANCELLED,
        "[7-30%3]": JobState.CANCELLED,
    }
    assert {record.native_id for record in records("hh-array", "history-array")} == {"64"}


def test_a_requeued_job_has_a_record_for_each_life() -> None:
    first, second = records("hh-requeued", "history-requeued")
    assert (first.state, second.state) == (JobState.PENDING, JobState.RUNNING)
    assert first.submitted_at != second.submitted_at
    assert first.native_id == second.native_id


def test_a_job_whose_node_did_not_boot_failed_once_and_then_ran() -> None:
    lives = records("hh-bootfail", "history-cloud")
    assert [life.state for life in lives] == [JobState.NODE_FAIL, JobState.COMPLETED]


def test_an_id_that_was_used_before_the_cluster_was_rebuilt_is_told_apart_by_name() -> None:
    found = SLURM.read_history(answer("history-cloud"))
    assert [record.name for record in found if record.native_id == "1"] == ["wrap", "hh-cloud"]


def test_the_accounting_may_know_nothing() -> None:
    assert SLURM.read_history(answer("history-unknown")) == []
    assert SLURM.read_history(answer("history-no-accounting")) == []
