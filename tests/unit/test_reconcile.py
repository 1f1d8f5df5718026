"""What a comparison of ledger, runs and queue finds, and above all what it never cancels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_hpc.findings import Action, Finding
from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import JobRow
from hybrid_hpc.reconcile import compare
from hybrid_hpc.schedulers.base import QueuedJob
from tests.unit.reconcile_world import CLOCK, NOW, ago, line, load, name_of, row, settled, wished

ALIVE = frozenset({("dag", "run")})
HELD, PENDING, RUNNING = JobState.HELD, JobState.PENDING, JobState.RUNNING
CANCELS = (Action.CANCEL, Action.CANCEL_STRAY)


def found(
    *jobs: QueuedJob,
    rows: Iterable[JobRow] = (),
    known: Iterable[JobRow] = (),
    living: Collection[tuple[str, str]] = ALIVE,
    ours: Collection[str] = (),
    unreadable: int = 0,
) -> list[Finding]:
    return compare("onprem", rows, known, living, load(*jobs, unreadable=unreadable), NOW, ours)


def actions(findings: list[Finding]) -> list[tuple[Action, str]]:
    return [(finding.action, finding.native_id) for finding in findings]


@pytest.mark.parametrize("state", [HELD, PENDING, RUNNING, JobState.UNKNOWN])
def test_a_job_whose_run_lives_is_left_alone(state: JobState) -> None:
    assert found(line(state=state), rows=[row()]) == []


def test_a_job_that_has_just_left_the_queue_of_a_living_run_is_left_alone() -> None:
    assert found(rows=[row()]) == []
    assert found(rows=[row(unknown_since=ago(minutes=14))]) == []


def test_a_job_whose_run_has_ended_or_was_deleted_is_cancelled() -> None:
    [finding] = found(line(state=RUNNING), rows=[row()], living=())
    assert (finding.action, finding.native_id, finding.name) == (Action.CANCEL, "7", "wing")
    assert finding.why == "its DAG run has ended or was deleted"
    assert finding.age_s == 3600


def test_a_submission_that_never_arrived_is_cancelled_with_its_run() -> None:
    assert actions(found(rows=[row(native_id=None)], living=())) == [(Action.CANCEL, "")]


def test_a_job_of_an_ended_run_that_has_left_the_queue_is_only_settled() -> None:
    [finding] = found(rows=[row()], living=())
    assert (finding.action, finding.closes) == (Action.SETTLE, False)


def test_when_nothing_is_known_of_it_for_a_quarter_of_an_hour_it_may_be_closed() -> None:
    [finding] = found(rows=[row(unknown_since=ago(minutes=16))], living=())
    assert (finding.action, finding.closes) == (Action.SETTLE, True)


def test_a_queue_that_was_not_read_whole_closes_nothing_and_alerts_nobody() -> None:
    lost = row(unknown_since=ago(hours=2))
    [finding] = found(rows=[lost], living=(), unreadable=1)
    assert (finding.action, finding.closes) == (Action.CANCEL, False)
    assert found(rows=[lost], unreadable=1) == []


def test_a_wish_is_repeated_until_the_job_is_settled() -> None:
    assert actions(found(line(), rows=[wished()])) == [(Action.CANCEL, "7")]
    assert actions(found(rows=[wished()])) == [(Action.SETTLE, "7")]
    assert actions(found(rows=[wished(native_id=None)])) == [(Action.CANCEL, "")]


def test_a_fresh_wish_is_left_to_who_wished_it() -> None:
    young = wished(age=timedelta(seconds=59), native_id=None)
    assert found(line(state=HELD), rows=[young]) == []


def test_a_job_that_its_submission_did_not_record_is_adopted_never_cancelled() -> None:
    lost = row(native_id=None, recorded_at=None, released_at=None, intent_at=ago(seconds=61))
    assert actions(found(line(state=HELD), rows=[lost])) == [(Action.ADOPT, "7")]
    fresh = row(native_id=None, intent_at=ago(seconds=59))
    assert found(line(state=HELD), rows=[fresh]) == []


def test_of_several_jobs_without_a_record_the_one_that_runs_is_adopted_and_the_others_wait() -> None:
    lost = row(native_id=None)
    jobs = [line(native_id="7", state=HELD), line(native_id="9", state=RUNNING)]
    assert actions(found(*jobs, rows=[lost])) == [(Action.ADOPT, "9")]


def test_a_recorded_job_that_was_never_released_is_released_after_ten_minutes() -> None:
    left = row(released_at=None, recorded_at=ago(minutes=11))
    assert actions(found(line(state=HELD), rows=[left])) == [(Action.RELEASE, "7")]
    assert found(line(state=PENDING), rows=[left]) == []
    assert found(line(state=HELD), rows=[row(released_at=None, recorded_at=ago(minutes=9))]) == []
    assert found(line(state=HELD), rows=[row(recorded_at=ago(minutes=11))]) == [], "a person has held it"


def test_a_second_held_job_of_the_same_name_is_cancelled() -> None:
    [finding] = found(line(), line(native_id="9", state=HELD), rows=[row()])
    assert (finding.action, finding.native_id) == (Action.CANCEL_STRAY, "9")
    assert "second submission of job 7" in finding.why


@pytest.mark.parametrize("state", [PENDING, RUNNING])
def test_a_second_job_that_was_released_is_a_conflict_for_a_person(state: JobState) -> None:
    [finding] = found(line(), line(native_id="9", state=state), rows=[row()])
    assert (finding.action, finding.native_id, finding.alert) == (Action.REPORT, "9", "conflict")


def test_an_array_of_which_one_task_waits_released_is_not_held() -> None:
    parts = [line(native_id="9", state=HELD), line(native_id="9", state=PENDING)]
    assert actions(found(line(), *parts, rows=[row()])) == [(Action.REPORT, "9")]


def test_a_job_that_arrived_after_its_row_was_settled_is_cancelled_while_it_is_held() -> None:
    assert actions(found(line(state=HELD), known=[settled()])) == [(Action.CANCEL_STRAY, "7")]


def test_a_job_that_was_wished_away_and_lives_on_is_cancelled_again() -> None:
    undead = wished(settled_at=ago(minutes=5), outcome=JobState.CANCELLED)
    assert actions(found(line(state=RUNNING), known=[undead])) == [(Action.CANCEL, "7")]


def test_a_settled_job_that_lives_on_and_that_nobody_wished_away_is_a_conflict_for_a_person() -> None:
    [finding] = found(line(state=RUNNING), known=[settled()])
    assert (finding.action, finding.alert) == (Action.REPORT, "conflict")
    assert "settled as completed, yet running" in finding.why


def test_a_job_that_has_just_ended_may_still_be_in_the_queue() -> None:
    assert found(line(state=RUNNING), known=[settled(age=timedelta(seconds=59))]) == []
    assert found(line(state=JobState.COMPLETING), known=[settled()]) == []


def test_a_held_job_that_this_ledger_submitted_and_forgot_is_cancelled() -> None:
    stranger = line(name_of("other"), "9", HELD, age_s=601)
    assert actions(found(stranger, ours={stranger.name})) == [(Action.CANCEL_STRAY, "9")]


@pytest.mark.parametrize(
    ("state", "age_s", "ours"),
    [(HELD, 601, False), (HELD, 599, False), (RUNNING, 601, False), (RUNNING, 601, True)],
)
def test_any_other_job_that_the_ledger_does_not_know_is_reported_only(
    state: JobState, age_s: float, ours: bool
) -> None:
    stranger = line(name_of("other"), "9", state, age_s=age_s)
    [finding] = found(stranger, ours={stranger.name} if ours else ())
    assert (finding.action, finding.alert) == (Action.REPORT, "")


def test_the_jobs_of_another_installation_are_one_line_of_the_report() -> None:
    jobs = [line(name_of(f"other {n}"), str(n), HELD, user=f"user{n % 2}") for n in range(10, 13)]
    [finding] = found(*jobs)
    assert "3 jobs of user0, user1" in finding.why
    assert "another installation?" in finding.why


def test_jobs_whose_names_only_begin_like_ours_are_nobody_s_business() -> None:
    assert found(line("hh-estimate"), line("hh-../../x"), line("hostname")) == []


def test_a_job_of_another_cluster_of_the_same_queue_is_left_to_that_one() -> None:
    assert found(line(state=RUNNING), known=[settled(cluster="azure")]) == []
    assert found(line(state=RUNNING), known=[row(cluster="azure")], living=()) == []


def test_a_job_that_is_unknown_for_a_quarter_of_an_hour_is_an_alert() -> None:
    [finding] = found(rows=[row(unknown_since=ago(minutes=16))])
    assert (finding.action, finding.alert, finding.age_s) == (Action.REPORT, "unknown", 960)


# never, whatever the queue says

RUN_IDS = ["run", "run 2"]
NATIVE_IDS = ["7", "8"]
MOMENTS = st.sampled_from([None, None, ago(seconds=30), ago(minutes=5), ago(hours=2)])


@st.composite
def rows_and_known(draw: st.DrawFn) -> tuple[list[JobRow], list[JobRow]]:
    every = [draw(_rows(run_id)) for run_id in RUN_IDS if draw(st.integers(0, 4))]
    return [each for each in every if not each.settled], [each for each in every if each.settled]


@st.composite
def _rows(draw: st.DrawFn, run_id: str) -> JobRow:
    values: dict[str, Any] = {
        name: draw(MOMENTS)
        for name in ("recorded_at", "released_at", "unknown_since", "settled_at", "cancel_requested_at")
    }
    values["outcome"] = draw(st.sampled_from([*JobState])) if values["settled_at"] else None
    return row(
        run_id,
        native_id=draw(st.sampled_from([None, *NATIVE_IDS])),
        intent_at=draw(MOMENTS) or NOW,
        cluster=draw(st.sampled_from(["onprem", "onprem", "onprem", "azure"])),
        **values,
    )


LINES = st.builds(
    line,
    st.sampled_from([*map(name_of, RUN_IDS), name_of("stranger"), "lammps"]),
    st.sampled_from(NATIVE_IDS),
    st.sampled_from([HELD, HELD, PENDING, RUNNING, *JobState]),
    age_s=st.floats(-100, CLOCK),
)
NAMES = st.sets(st.sampled_from([*map(name_of, RUN_IDS), name_of("stranger")]))


@settings(max_examples=500)
@given(
    rows=rows_and_known(),
    jobs=st.lists(LINES, max_size=8),
    living=st.sets(st.sampled_from([("dag", run_id) for run_id in RUN_IDS])),
    ours=NAMES,
    unreadable=st.integers(0, 1),
)
def test_nothing_is_cancelled_that_a_living_run_owns_and_nobody_wished_away(
    rows: tuple[list[JobRow], list[JobRow]],
    jobs: list[QueuedJob],
    living: set[tuple[str, str]],
    ours: set[str],
    unreadable: int,
) -> None:
    findings = found(*jobs, rows=rows[0], known=rows[1], living=living, ours=ours, unreadable=unreadable)
    counted = Counter((finding.token, finding.native_id) for finding in findings if finding.token)
    assert max(counted.values(), default=1) == 1, "two actions on one job"
    by_name = {each.token: each for each in (*rows[0], *rows[1])}
    for finding in findings:
        owner = by_name.get(finding.token)
        queued = {
            job.state for job in jobs if (job.name, job.native_id) == (finding.token, finding.native_id)
        }
        if finding.action is Action.CANCEL_STRAY:
            assert {state for state in queued if not state.final} == {HELD}
            assert finding.token in ours if owner is None else owner.settled or owner.native_id
            assert owner is None or owner.settled or owner.native_id != finding.native_id
        if finding.action is Action.CANCEL:
            assert owner
            assert owner.cancel_wished or ("dag", owner.run_id) not in living
            assert owner.cancel_wished or not owner.settled
        assert owner is None or owner.cluster == "onprem"
