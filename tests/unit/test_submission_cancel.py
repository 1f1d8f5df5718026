"""A recorded wish to cancel ends the job at whatever step it stands; nothing else ever cancels."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from hybrid_hpc.errors import SubmissionRefused
from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import Job
from tests.crash_points import POINTS
from tests.unit.submission_fakes import Fate
from tests.unit.submission_world import REQUEST, World

pytest_plugins = ["tests.unit.submission_fixtures"]


def in_a_thread(steps: Callable[[], object]) -> None:
    """A hook is called inside a running event loop; what it does needs one of its own."""
    thread = threading.Thread(target=steps)
    thread.start()
    thread.join()


@pytest.mark.parametrize("point", [point for point in POINTS if point != "before_intent"])
def test_a_wish_to_cancel_at_any_step_ends_the_job(world: World, point: str) -> None:
    def wish_and_cancel() -> None:
        world.ledger.request_cancel(world.row().token, "alice", "wrong input")
        with asyncio.Runner() as runner:
            replace(world, runner=runner).cancel(world.row())

    def at(now: str) -> None:
        if now == point:
            in_a_thread(wish_and_cancel)

    try:
        world.submit(crash=at)
    except SubmissionRefused as refusal:
        assert "cancelled by alice before it was submitted: wrong input" in str(refusal)
    if not world.row().settled:
        world.cancel(world.row())
    assert all(job.state is JobState.CANCELLED for job in world.queue.jobs)
    assert world.row().settled or world.row().cancel_sent_at
    if point not in ("after_release", "after_mark"):
        assert not world.ran()


def test_a_wish_that_only_stands_in_the_ledger_keeps_the_job_from_being_sent(world: World) -> None:
    world.try_with("after_intent")
    world.ledger.request_cancel(world.row().token, "alice", "wrong input")
    with pytest.raises(SubmissionRefused, match="cancelled by alice before it was submitted"):
        world.submit()
    assert world.row().outcome is JobState.CANCELLED
    assert "submit" not in world.queue.told


def test_a_wish_is_not_settled_while_the_submission_may_still_arrive(world: World) -> None:
    world.try_with(Fate.LATE)
    world.ledger.request_cancel(world.row().token, "alice", "wrong input")
    assert not world.cancel(world.row()).settled
    world.clock.pass_by(101)
    row = world.cancel(world.row())
    assert (row.native_id, bool(row.cancel_sent_at), row.settled) == ("1", True, False)
    assert world.queue.jobs[0].state is JobState.CANCELLED


def test_a_cancel_without_a_recorded_wish_is_refused(world: World) -> None:
    row = world.submit()
    with pytest.raises(ValueError, match="nobody wished to cancel"):
        world.cancel(row)
    assert world.queue.jobs[0].state is JobState.RUNNING


def test_a_cleared_task_cancels_its_earlier_job_before_the_new_one_is_sent(world: World) -> None:
    first = world.submit()
    cleared = Job(world.job.key, REQUEST, "onprem", "batch", "bob", attempt="second")
    second = world.submit(job=cleared)
    assert second.token != first.token
    assert second.generation == 1
    assert world.queue.told[-4:] == ["cancel", "find", "submit", "release"]
    assert world.queue.jobs[0].state is JobState.CANCELLED
    old = world.ledger.job(first.token)
    assert old
    assert (old.cancel_requested_by, old.cancel_why) == (
        "bob",
        "its task was cleared, and a new attempt takes its place",
    )


def test_an_earlier_attempt_that_never_reached_the_scheduler_is_settled_by_the_next(world: World) -> None:
    world.try_with("after_intent")
    world.submit(job=Job(world.job.key, REQUEST, "onprem", "batch", attempt="second"))
    assert world.row().outcome is JobState.CANCELLED
    assert len(world.ran()) == 1


def test_an_earlier_attempt_on_another_cluster_gets_the_wish_and_its_watch_does_the_rest(
    world: World,
) -> None:
    first = world.submit()
    world.submit(job=Job(world.job.key, REQUEST, "azure", "hpc", "alice", attempt="second"))
    old = world.ledger.job(first.token)
    assert old
    assert old.cancel_requested_at
    assert old.cancel_sent_at is None


def test_a_zombie_of_an_earlier_attempt_never_touches_the_newer_job(world: World) -> None:
    world.try_with("after_intent")
    newer = Job(world.job.key, REQUEST, "azure", "hpc", attempt="second")
    running = world.submit(job=newer)
    with pytest.raises(SubmissionRefused):
        world.submit()  # the old worker wakes up and goes on
    row = world.ledger.job(running.token)
    assert row
    assert not row.cancel_wished
    assert [job.token for job in world.ran()] == [running.token]
