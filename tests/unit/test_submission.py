"""Submitted exactly once: whatever becomes of the reply, and wherever a try dies."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from hybrid_hpc.errors import ConnectionLost, HybridHpcError, SubmissionRefused, Unavailable, Unreachable
from hybrid_hpc.jobs import JobState, token
from hybrid_hpc.ledger import JobRow, Ledger
from hybrid_hpc.submission import Patience, submit
from tests.crash_points import POINTS
from tests.unit.submission_fakes import FakeScheduler, Fate
from tests.unit.submission_world import REQUEST, World

pytest_plugins = ["tests.unit.submission_fixtures"]

FATES = tuple(fate for fate in Fate if fate is not Fate.REFUSED)
HARMLESS = "nothing"


def test_a_job_is_uploaded_submitted_held_recorded_and_released(world: World) -> None:
    row = world.submit()
    assert row.native_id == "1"
    assert row.released_at
    assert row.run_dir == f"/scratch/hybrid-hpc/{row.token}"
    assert world.queue.files[f"{row.run_dir}/script"] == (REQUEST.script, 0o700)
    assert world.queue.jobs[0].script == f"batch {row.run_dir} {{'qos': 'high'}}"
    assert world.queue.told == ["find", "submit", "release"]
    assert len(world.ran()) == 1


def test_a_job_for_spot_nodes_is_submitted_as_one_that_may_be_evicted(world: World) -> None:
    world.submit(job=replace(world.job, evictable=True))
    assert world.queue.jobs[0].script.endswith(" evictable")


def test_a_submission_passes_every_point_at_which_it_can_be_made_to_die(world: World) -> None:
    """Else the tests that kill it there would prove nothing."""
    passed: list[str] = []
    world.submit(crash=passed.append)
    assert tuple(passed) == POINTS


def test_a_retry_after_success_does_nothing(world: World) -> None:
    first = world.submit()
    world.queue.told.clear()
    assert world.submit() == first
    assert world.queue.told == []


@pytest.mark.parametrize("first", [*POINTS, *FATES], ids=str)
def test_whatever_befalls_two_tries_the_job_runs_once_and_the_ledger_says_which(
    world: World, first: object
) -> None:
    for number, second in enumerate([HARMLESS, *POINTS, *FATES]):
        here = world.another(f"run {number}")
        here.try_with(first)
        here.try_with(second)
        row = here.submit()
        here.clock.pass_by(500)  # whatever was still on its way arrives
        here.queue.take_what_is_due()
        assert [job.native_id for job in here.ran()] == [row.native_id], (first, second)
        assert row.released_at, (first, second)
        left = [job for job in here.queue.jobs if not job.ran and job.state is not JobState.CANCELLED]
        very_late = [first, second].count(Fate.VERY_LATE)
        assert len(left) <= very_late, (first, second)
        assert all(job.state is JobState.HELD for job in left), (first, second)


def test_after_a_lost_reply_the_next_try_adopts_at_once(world: World) -> None:
    with pytest.raises(
        ConnectionLost, match=r"the next try looks for it, and sends it again only after 150 s"
    ):
        world.submit(Fate.REPLY_LOST)
    before = world.clock.now()
    assert world.submit().native_id == "1"
    assert world.clock.now() == before
    assert world.queue.told.count("submit") == 1


def test_after_a_lost_reply_nothing_is_sent_again_before_the_doubt_is_over(world: World) -> None:
    world.try_with(Fate.NEVER)
    before = world.clock.now()
    world.submit()
    assert (world.clock.now() - before).total_seconds() == pytest.approx(150)
    assert world.queue.told.count("submit") == 2
    assert world.queue.told.count("find") > 10


def test_a_job_that_arrives_during_the_doubt_is_adopted_then(world: World) -> None:
    world.try_with(Fate.LATE)
    before = world.clock.now()
    world.submit()
    assert (world.clock.now() - before).total_seconds() == pytest.approx(100)
    assert world.queue.told.count("submit") == 1


def test_without_a_connection_nothing_was_sent_so_the_next_try_sends_at_once(world: World) -> None:
    with pytest.raises(Unreachable):
        world.submit(Fate.NO_CONNECTION)
    before = world.clock.now()
    world.submit()
    assert world.clock.now() == before


def test_a_refusal_settles_the_job_with_the_schedulers_words_and_is_never_sent_again(world: World) -> None:
    for _ in range(2):
        with pytest.raises(SubmissionRefused, match="Requested node configuration is not available"):
            world.submit(Fate.REFUSED)
    row = world.row()
    assert (row.outcome, row.evidence) == (JobState.FAILED, "refusal")
    assert "Requested node configuration" in row.sentence
    assert world.queue.told.count("submit") == 1


def test_a_job_of_which_the_ledger_knows_nothing_is_adopted_with_its_run_directory(world: World) -> None:
    known_elsewhere = token(world.job.key)
    world.queue.take(known_elsewhere, "")
    adopted = world.submit()
    assert (adopted.native_id, adopted.run_dir) == ("1", f"/scratch/hybrid-hpc/{known_elsewhere}")
    assert "submit" not in world.queue.told


def test_of_several_jobs_of_one_name_the_running_one_is_adopted_and_held_ones_are_cancelled(
    world: World,
) -> None:
    name = world.ledger.intend(world.job).token
    for state in (JobState.CANCELLED, JobState.HELD, JobState.RUNNING, JobState.HELD):
        world.queue.take(name, "")
        world.queue.jobs[-1].state = state
    assert world.submit().native_id == "3"
    assert [job.state.value for job in world.queue.jobs] == ["cancelled", "cancelled", "running", "cancelled"]


@pytest.mark.parametrize("tries", [2, 3, 4])
def test_tries_that_are_alive_at_once_run_the_job_once_and_leave_no_held_one(
    world: World, tries: int
) -> None:
    """``doubt_s=0`` takes away the announcement that keeps them apart: compare-and-set alone decides."""
    for number in range(8):
        here = world.another(f"run {tries} {number}")

        async def race(here: World = here) -> list[JobRow | BaseException]:
            patience = Patience(doubt_s=0, now=here.clock.now, sleep=here.clock.sleep)
            steps = (
                submit(
                    here.job,
                    scheduler=FakeScheduler(),
                    head_node=here.head_node(),
                    ledger=here.ledger,
                    patience=patience,
                )
                for _ in range(tries)
            )
            return await asyncio.gather(*steps, return_exceptions=True)

        rows = here.runner.run(race())
        assert {row.native_id for row in rows if isinstance(row, JobRow)} == {here.row().native_id}
        assert [job.native_id for job in here.ran()] == [here.row().native_id]
        assert all(job.ran or job.state is JobState.CANCELLED for job in here.queue.jobs)


def test_without_a_ledger_nothing_is_sent(world: World, tmp_path: Path) -> None:
    world.ledger = Ledger(f"sqlite:///{tmp_path}/missing/folder/ledger.db")
    with pytest.raises(Unavailable):
        world.submit()
    assert world.queue.told == []


def test_every_failure_of_a_try_says_whether_waiting_helps(world: World) -> None:
    for fate in (Fate.REPLY_LOST, Fate.NO_CONNECTION):
        with pytest.raises(HybridHpcError) as caught:
            world.another(fate.name).submit(fate)
        assert caught.value.waiting_helps
