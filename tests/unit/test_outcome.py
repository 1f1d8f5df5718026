"""An outcome needs evidence; with it, one sentence says what happened."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_hpc.endings import duration_text
from hybrid_hpc.jobs import JobState
from hybrid_hpc.outcome import ExitRecord, Outcome, outcome_of, read_exit_records
from hybrid_hpc.schedulers.base import JobRecord

S = JobState


def life(state: JobState = S.COMPLETED, **changes: Any) -> JobRecord:
    values: dict[str, Any] = {
        "native_id": "17",
        "task": "",
        "name": "hh-a",
        "state": state,
        "exit_code": 0,
        "signal": None,
        "user": "alice",
        "project": "proj-alpha",
        "partition": "batch",
        "node_names": ("node02",),
        "nodes": 1,
        "cores": 4,
        "gpus": 0,
        "submitted_at": 100.0,
        "eligible_at": 101.0,
        "started_at": 105.0,
        "ended_at": 117.0,
        "elapsed_s": 12.0,
        "walltime_s": 600,
        "memory_asked_mib": 4096,
    }
    return JobRecord(**{**values, **changes})


def wrote(exit_code: int = 0, task: str = "", ended_at: float | None = 117.0) -> ExitRecord:
    return ExitRecord("17", task, exit_code, ended_at, "node02")


NEVER_RAN: dict[str, Any] = {"node_names": (), "started_at": None, "elapsed_s": 0.0}


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        (life(), "completed on node02 after 12 s"),
        (life(S.FAILED, exit_code=3), "failed with exit code 3 on node02 after 12 s"),
        (life(S.FAILED, exit_code=127), "failed with exit code 127 (a command was not found) on node02"),
        (life(S.FAILED, exit_code=137), "failed with exit code 137 (128 + 9, SIGKILL) on node02 after 12 s"),
        (life(S.FAILED, exit_code=255), "failed with exit code 255 on node02 after 12 s"),
        (life(S.FAILED, signal=11), "was ended by signal 11 (SIGSEGV) on node02 after 12 s"),
        (life(S.FAILED, signal=200), "was ended by signal 200 (a signal without a name) on node02"),
        (life(S.FAILED, exit_code=None), "failed without an exit code on node02 after 12 s"),
        (
            life(S.FAILED, exit_code=1, **NEVER_RAN),
            "failed before it started: the scheduler did not accept it",
        ),
        (life(S.TIMEOUT), "stopped at its walltime limit of 10 min (asked --time 00:10:00)"),
        (life(S.TIMEOUT, walltime_s=None), "stopped at its walltime limit on node02 after 12 s"),
        (
            life(S.OUT_OF_MEMORY, max_rss_mib=4000.0),
            "ran out of memory on node02 after 12 s; it had asked for 4.0 GiB, and 3.9 GiB was the peak seen",
        ),
        (life(S.OUT_OF_MEMORY, memory_asked_mib=None), "ran out of memory on node02 after 12 s"),
        (life(S.CANCELLED, **NEVER_RAN), "cancelled before it started"),
        (life(S.CANCELLED), "cancelled on node02 after 12 s"),
        (life(S.NODE_FAIL), "lost its node on node02 after 12 s: the node failed, not the job"),
        (life(S.PREEMPTED), "was pushed off its nodes on node02 after 12 s: they were taken away"),
        (life(S.BOOT_FAIL), "never started: its nodes did not boot"),
        (life(S.DEADLINE), "was taken out of the queue: it could not end before its deadline"),
        (life(node_names=tuple("abcde"), elapsed_s=5400), "completed on a, b, c and 2 more after 1 h 30 min"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_ending_has_its_own_sentence(record: JobRecord, sentence: str) -> None:
    outcome = outcome_of([record])
    assert outcome.sentence.startswith(sentence)
    assert (outcome.state, outcome.evidence) == (record.state, "accounting")
    assert (outcome.exit_code, outcome.signal) == (record.exit_code, record.signal)
    assert outcome.ended_at == 117.0


def test_every_final_state_has_a_sentence() -> None:
    for state in JobState:
        if state.final:
            assert outcome_of([life(state)]).sentence


def test_a_cancel_names_who_wished_it() -> None:
    outcome = outcome_of([life(S.CANCELLED, **NEVER_RAN)], cancelled_by="alice (wrong input)")
    assert outcome.sentence == "cancelled by alice (wrong input) before it started"


def test_without_any_evidence_the_outcome_is_unknown() -> None:
    outcome = outcome_of([])
    assert (outcome.state, outcome.evidence) == (S.UNKNOWN, None)
    assert "neither the accounting nor an exit record" in outcome.sentence


@pytest.mark.parametrize("state", [state for state in JobState if not state.final], ids=str)
def test_a_state_that_is_not_final_proves_no_end(state: JobState) -> None:
    outcome = outcome_of([life(state, exit_code=0)])
    assert (outcome.state, outcome.evidence) == (S.UNKNOWN, None)
    assert state.value.replace("_", " ") in outcome.sentence


@pytest.mark.parametrize(("exit_code", "state"), [(0, S.COMPLETED), (3, S.FAILED)])
@pytest.mark.parametrize(
    "records", [[], [life(S.RUNNING)], [life(S.UNKNOWN)]], ids=["none", "runs", "unknown"]
)
def test_the_jobs_own_exit_record_is_evidence_where_the_accounting_has_none(
    exit_code: int, state: JobState, records: list[JobRecord]
) -> None:
    outcome = outcome_of(records, [wrote(exit_code)])
    assert (outcome.state, outcome.exit_code, outcome.evidence) == (state, exit_code, "exit record")
    assert "on node02" in outcome.sentence
    assert "its own exit record" in outcome.sentence


def test_the_accounting_counts_before_the_exit_record() -> None:
    outcome = outcome_of([life(S.TIMEOUT)], [wrote(0)])
    assert (outcome.state, outcome.evidence) == (S.TIMEOUT, "accounting")


def test_of_a_job_that_ran_again_the_last_life_counts() -> None:
    lives = [life(submitted_at=200.0, started_at=210.0), life(S.NODE_FAIL)]
    outcome = outcome_of(lives)
    assert (outcome.state, outcome.restarts) == (S.COMPLETED, 1)
    assert outcome.sentence.endswith("(run 2: the scheduler had started it again)")
    assert outcome.started_at == 105.0, "it started when its first life did"


def test_a_life_that_was_cancelled_before_it_ran_follows_one_of_the_same_second() -> None:
    """Its node failed, it was queued again and cancelled, all within the second in which it was submitted."""
    lost = life(S.NODE_FAIL, started_at=100.0, ended_at=100.0)
    cancelled = life(S.CANCELLED, **NEVER_RAN, ended_at=100.0)
    for records in ([lost, cancelled], [cancelled, lost]):
        assert outcome_of(records).state is S.CANCELLED


def test_an_exit_record_of_an_earlier_life_proves_nothing_about_the_next() -> None:
    lives = [life(S.NODE_FAIL), life(S.RUNNING, submitted_at=200.0)]
    assert outcome_of(lives, [wrote(0, ended_at=117.0)]).state is S.UNKNOWN
    assert outcome_of(lives, [wrote(0, ended_at=230.0)]).state is S.COMPLETED


def array(*states: JobState, **changes: Any) -> list[JobRecord]:
    return [
        life(state, task=str(task), ended_at=117.0 + task, exit_code=int(state is S.FAILED), **changes)
        for task, state in enumerate(states)
    ]


def test_an_array_completes_when_all_its_tasks_do() -> None:
    outcome = outcome_of(array(*[S.COMPLETED] * 10), tasks=10)
    assert (outcome.state, outcome.sentence) == (S.COMPLETED, "completed, all 10 array tasks")
    assert outcome.tasks == {S.COMPLETED: 10}
    assert (outcome.task, outcome.started_at, outcome.ended_at) == ("", 105.0, 126.0)


def test_an_array_names_the_task_that_failed_first() -> None:
    states = [S.COMPLETED, S.COMPLETED, S.FAILED, S.TIMEOUT]
    outcome = outcome_of(array(*states))
    assert (outcome.state, outcome.task, outcome.exit_code) == (S.FAILED, "2", 1)
    assert outcome.sentence == (
        "2 of 4 array tasks did not complete; first task 2: failed with exit code 1 on node02 after 12 s"
    )
    assert outcome.tasks == {S.COMPLETED: 2, S.FAILED: 1, S.TIMEOUT: 1}


def test_a_failure_counts_before_the_cancellation_that_followed_from_it() -> None:
    assert outcome_of(array(S.CANCELLED, S.FAILED)).state is S.FAILED
    assert outcome_of(array(S.CANCELLED, S.COMPLETED)).state is S.CANCELLED


@pytest.mark.parametrize(
    ("records", "tasks", "said"),
    [
        (array(S.COMPLETED, S.RUNNING), None, "1 of 2 array tasks have no final state yet (1 completed)"),
        (
            array(S.COMPLETED, S.FAILED),
            4,
            "2 of 4 array tasks have no final state yet (1 completed, 1 failed)",
        ),
        ([life(S.PENDING, task="[2-9%4]")], None, "8 of 8 array tasks have no final state yet"),
    ],
    ids=["one runs", "two were never seen", "none has started"],
)
def test_an_array_with_a_task_of_unknown_end_is_unknown(
    records: list[JobRecord], tasks: int | None, said: str
) -> None:
    outcome = outcome_of(records, tasks=tasks)
    assert (outcome.state, outcome.evidence, outcome.sentence) == (S.UNKNOWN, None, said)


def test_tasks_that_were_cancelled_before_they_started_share_one_record() -> None:
    records = [*array(S.COMPLETED), life(S.CANCELLED, task="[1-9%3]", **NEVER_RAN)]
    outcome = outcome_of(records, tasks=10)
    assert outcome.tasks == {S.COMPLETED: 1, S.CANCELLED: 9}
    assert outcome.sentence.startswith("9 of 10 array tasks did not complete; first task [1-9%3]: cancelled")


def test_a_task_list_that_cannot_be_read_counts_as_one_task() -> None:
    assert outcome_of([life(S.CANCELLED, task="[1,2,3,..."), *array(S.COMPLETED)]).tasks[S.CANCELLED] == 1


def test_one_task_known_from_its_exit_record_only_makes_that_the_evidence() -> None:
    outcome = outcome_of(array(S.COMPLETED), [wrote(0, task="1")], tasks=2)
    assert (outcome.state, outcome.evidence) == (S.COMPLETED, "exit record")


def test_an_exit_record_is_read_as_the_batch_script_writes_it() -> None:
    line = {"native_id": "17", "task": "3", "exit_code": 3, "ended_at": 117, "host": "node02"}
    assert read_exit_records([json.dumps(line) + "\n"]) == [ExitRecord("17", "3", 3, 117.0, "node02")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "3",
        '"exit_code"',
        "{}",
        '{"native_id": "17"}',
        '{"native_id": "17", "exit_code": "0"}',
        '{"native_id": "17", "exit_code": 0.0}',
        '{"native_id": "17", "exit_code": true}',
        '{"native_id": "17", "exit_code": null}',
        '{"native_id": "17", "exit_code": -1}',
        '{"native_id": "17", "exit_code": 256}',
        '{"native_id": "17", "exit_code": 0, "ended_at": "noon"}',
        '{"native_id": "17", "exit_code": 0, "ended_at": "2026-13-01T00:00:00"}',
        '{"native_id": "17", "exit_code": 0',
        "\x00\ufffd",
        "[" * 100_000,
    ],
    ids=lambda text: text[:40],
)
def test_an_exit_record_that_cannot_be_read_is_no_evidence(text: str) -> None:
    assert read_exit_records([text]) == []
    assert outcome_of([], read_exit_records([text])).state is S.UNKNOWN


lives = st.builds(
    life,
    state=st.sampled_from(JobState),
    task=st.sampled_from(["", "0", "1", "[2-3]"]),
    exit_code=st.none() | st.integers(0, 255),
    signal=st.none() | st.integers(0, 64),
    submitted_at=st.none() | st.floats(0, 1e9),
    started_at=st.none() | st.floats(0, 1e9),
    ended_at=st.none() | st.floats(0, 1e9),
    elapsed_s=st.floats(0, 1e7),
    node_names=st.sampled_from([(), ("a",), ("a", "b", "c", "d")]),
)
exits = st.builds(
    ExitRecord,
    native_id=st.just("17"),
    task=st.sampled_from(["", "0", "1"]),
    exit_code=st.integers(0, 255),
    ended_at=st.none() | st.floats(0, 1e9),
)


@given(st.lists(lives, max_size=6), st.lists(exits, max_size=3), st.none() | st.integers(1, 9))
def test_whatever_the_records_say_a_final_state_has_evidence_and_success_is_never_invented(
    records: Sequence[JobRecord], written: Sequence[ExitRecord], tasks: int | None
) -> None:
    outcome = outcome_of(records, written, tasks=tasks)
    assert outcome.state.final == (outcome.evidence is not None)
    assert outcome.state.final or outcome.state is S.UNKNOWN
    assert outcome.sentence
    assert "\n" not in outcome.sentence
    if outcome.state is S.COMPLETED:
        assert any(record.state is S.COMPLETED for record in records) or any(
            record.exit_code == 0 for record in written
        )


@given(st.permutations(array(S.COMPLETED, S.FAILED, S.TIMEOUT, S.CANCELLED)))
def test_the_order_of_records_changes_nothing(records: Sequence[JobRecord]) -> None:
    assert outcome_of(records) == outcome_of(sorted(records, key=lambda record: record.task))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (12, "12 s"),
        (60, "1 min"),
        (90, "1 min 30 s"),
        (600, "10 min"),
        (3605, "1 h"),
        (5400, "1 h 30 min"),
        (183_600, "2 d 3 h"),
    ],
)
def test_durations_are_told_in_their_two_largest_units(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_an_outcome_is_a_value() -> None:
    assert outcome_of([life()]) == outcome_of([life()]) != Outcome(S.COMPLETED, "")


@pytest.mark.parametrize(("true", "kept"), [(137, 9), (200, 72), (128, 0), (255, 127)])
def test_an_exit_code_that_slurm_cuts_is_taken_from_the_jobs_own_record(true: int, kept: int) -> None:
    ended = life(S.FAILED, exit_code=kept)
    outcome = outcome_of([ended], [wrote(true)])
    assert outcome.exit_code == true
    assert f"exit code {true}" in outcome.sentence
    assert outcome.evidence == "accounting"


def test_an_exit_record_that_contradicts_the_accounting_changes_nothing() -> None:
    assert outcome_of([life(S.FAILED, exit_code=3)], [wrote(200)]).exit_code == 3
