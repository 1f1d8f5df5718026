"""The jobs in the ledger: each step is kept once, and what is settled stays settled."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta

import pytest

from hybrid_hpc.jobs import JobKey, JobReport, JobState, token
from hybrid_hpc.ledger import Job, JobRow, Ledger
from hybrid_hpc.outcome import Outcome
from hybrid_hpc.request import JobRequest
from tests.unit.ledger_databases import NOW

pytest_plugins = ["tests.unit.ledger_fixtures"]

KEY = JobKey("hpc_job", "manual__1")
REQUEST = JobRequest(
    name="wing",
    script="#!/bin/bash\n./solve '$X' \"ü\"\n",
    memory_per_node="4G",
    array="0-9%4",
    environment={"X": "a'b\"c\\"},
    outputs=["out/*.vtk"],
    deadline=datetime(2026, 4, 1, 12, tzinfo=UTC),
)
JOB = Job(KEY, REQUEST, "onprem", "batch", "alice")
COMPLETED = Outcome(JobState.COMPLETED, "completed", "accounting", 0, started_at=10.0, ended_at=20.0)


def row_of(ledger: Ledger, name: str) -> JobRow:
    row = ledger.job(name)
    assert row
    return row


def recorded(ledger: Ledger, job: Job = JOB, native_id: str = "17") -> JobRow:
    row = ledger.intend(job)
    assert ledger.record_native_id(row.token, native_id, NOW)
    return row_of(ledger, row.token)


def test_an_intent_comes_back_as_it_was_given(ledger: Ledger) -> None:
    row = ledger.intend(JOB)
    assert row.token == token(KEY)
    assert row.key == KEY
    assert row.request == REQUEST
    assert (row.cluster, row.partition, row.submitted_by) == ("onprem", "batch", "alice")
    assert (row.intent_at, row.native_id, row.state, row.settled) == (NOW, None, JobState.UNKNOWN, False)


def test_rows_are_values_that_nobody_can_change(ledger: Ledger) -> None:
    row = ledger.intend(JOB)
    with pytest.raises(FrozenInstanceError):
        row.native_id = "1"  # type: ignore[misc]


def test_the_same_attempt_twice_is_one_row_and_another_attempt_is_the_next_generation(ledger: Ledger) -> None:
    first = ledger.intend(JOB)
    assert ledger.intend(JOB) == first
    second = ledger.intend(replace(JOB, attempt="after a clear"))
    assert second.generation == 1
    assert second.token == token(replace(KEY, generation=1))
    assert ledger.latest_job("hpc_job", "manual__1", "") == second
    assert ledger.open_attempts(KEY) == [first, second]


def test_jobs_of_other_runs_groups_and_map_indices_are_other_jobs(ledger: Ledger) -> None:
    keys = [KEY, replace(KEY, run_id="x"), replace(KEY, group="g"), replace(KEY, map_index=3)]
    tokens = {ledger.intend(replace(JOB, key=key)).token for key in keys}
    assert len(tokens) == 4
    assert ledger.latest_job("hpc_job", "manual__1", "", 3)
    assert ledger.latest_job("hpc_job", "manual__1", "", 4) is None


def test_only_one_native_id_is_ever_recorded(ledger: Ledger) -> None:
    row = recorded(ledger)
    assert not ledger.record_native_id(row.token, "18", NOW)
    assert row_of(ledger, row.token).native_id == "17"
    assert (row.native_submitted_at, row.recorded_at, row.state) == (NOW, NOW, JobState.HELD)


def test_only_one_submission_is_on_its_way_at_a_time(ledger: Ledger) -> None:
    name, later = ledger.intend(JOB).token, NOW + timedelta(seconds=150)
    assert ledger.sending(name, "/scratch/x", later)
    assert not ledger.sending(name, "/scratch/x", later)
    assert row_of(ledger, name).ambiguous(NOW)
    assert not row_of(ledger, name).ambiguous(later)
    assert not ledger.not_sent(name, later + timedelta(seconds=1))
    assert ledger.not_sent(name, later)
    assert ledger.sending(name, "/scratch/x", NOW)
    assert ledger.sending(name, "/scratch/x", later), "the doubt is over"
    assert row_of(ledger, name).run_dir == "/scratch/x"


def test_an_unwanted_recorded_or_settled_job_is_not_sent(ledger: Ledger) -> None:
    unwanted = ledger.intend(JOB).token
    ledger.request_cancel(unwanted, "alice", "typo")
    known = recorded(ledger, replace(JOB, attempt="2")).token
    settled = ledger.intend(replace(JOB, attempt="3")).token
    ledger.settle(settled, COMPLETED)
    assert not any(ledger.sending(name, "/x", NOW) for name in (unwanted, known, settled, "hh-nobody"))


def test_a_cancel_wish_keeps_its_first_author_and_its_steps(ledger: Ledger) -> None:
    name = recorded(ledger).token
    assert ledger.request_cancel(name, by="alice", why="wrong input")
    assert not ledger.request_cancel(name, by="bob", why="me too")
    assert ledger.cancel_sent(name)
    assert not ledger.cancel_sent(name)
    assert ledger.settle(name, Outcome(JobState.CANCELLED, "cancelled", "accounting"))
    row = row_of(ledger, name)
    assert (row.cancel_requested_by, row.cancel_why) == ("alice", "wrong input")
    assert row.cancel_requested_at == row.cancel_sent_at == row.cancel_confirmed_at == NOW


def test_a_settled_row_never_reopens_and_never_changes(ledger: Ledger) -> None:
    name = recorded(ledger).token
    assert ledger.settle(name, COMPLETED)
    settled = row_of(ledger, name)
    assert not ledger.settle(name, Outcome(JobState.FAILED, "no", "exit record", 1))
    assert not ledger.request_cancel(name, "alice", "late")
    assert not ledger.mark_released(name)
    assert not ledger.record_native_id(name, "99", NOW)
    ledger.observe([JobReport(name, "17", JobState.RUNNING)])
    assert row_of(ledger, name) == settled
    assert settled.cancel_confirmed_at is None
    assert (settled.started_at, settled.ended_at) == (
        datetime(1970, 1, 1, 0, 0, 10, tzinfo=UTC),
        datetime(1970, 1, 1, 0, 0, 20, tzinfo=UTC),
    )


def test_an_unknown_outcome_is_seen_and_settles_nothing(ledger: Ledger) -> None:
    name = recorded(ledger).token
    ledger.observe([JobReport(name, "17", JobState.RUNNING)])
    assert not ledger.settle(name, Outcome(JobState.UNKNOWN, "nothing is known"))
    row = row_of(ledger, name)
    assert (row.state, row.sentence, row.settled, row.outcome) == (
        JobState.UNKNOWN,
        "nothing is known",
        False,
        None,
    )
    assert ledger.settle(name, COMPLETED), "evidence that comes later still counts"


def test_a_poll_is_kept_with_its_age(ledger: Ledger) -> None:
    name = recorded(ledger).token
    report = JobReport(
        name,
        "17",
        JobState.RUNNING,
        tasks={JobState.RUNNING: 2, JobState.PENDING: 8},
        node_names=("node01", "node02"),
        started_at=1_774_747_800.0,
        sentence="running on node01, node02",
    )
    ledger.observe([report, JobReport("hh-unknown", "5", JobState.RUNNING)])
    row = row_of(ledger, name)
    assert (row.state, row.sentence, row.node_names) == (JobState.RUNNING, report.sentence, report.node_names)
    assert row.tasks == {"running": 2, "pending": 8}
    assert row.started_at == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert row.state_age_s(NOW + timedelta(seconds=7)) == 7
    ledger.observe([replace(report, started_at=None, state=JobState.PENDING)])
    assert row_of(ledger, name).started_at == row.started_at, "a later poll without a start forgets nothing"


def test_a_report_about_another_job_of_the_same_name_changes_nothing(ledger: Ledger) -> None:
    before = recorded(ledger)
    ledger.observe([JobReport(before.token, "18", JobState.RUNNING)])
    assert row_of(ledger, before.token) == before


def test_open_jobs_are_those_of_the_cluster_that_are_not_settled(ledger: Ledger) -> None:
    first, second, third, other = (
        ledger.intend(replace(JOB, key=replace(KEY, run_id=f"run {number}"), cluster=cluster))
        for number, cluster in enumerate(["onprem", "onprem", "onprem", "azure"])
    )
    ledger.settle(second.token, COMPLETED)
    assert ledger.open_jobs("onprem") == [first, third]
    assert ledger.open_jobs() == [first, third, other]
    assert ledger.open_jobs_of_runs([("hpc_job", "run 0"), ("hpc_job", "run 1"), ("x", "run 2")]) == [first]
    assert ledger.open_jobs_of_runs([]) == []
