"""All that is done about a job is done as whom it was intended, whatever clusters.yaml says by then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hybrid_hpc.errors import ConnectionLost, InvalidRequest
from hybrid_hpc.ledger import Job
from hybrid_hpc.ledger.rows import DecisionRow
from tests.unit.placement_world import onprem
from tests.unit.submission_fakes import Fate
from tests.unit.submission_world import World

pytest_plugins = ["tests.unit.submission_fixtures"]

ADA = "person:ada"


@pytest.fixture
def hers(world: World) -> World:
    """A job that runs as Ada."""
    return replace(world, job=replace(world.job, runs_as=ADA))


def test_a_job_is_looked_for_sent_and_released_as_the_person_and_its_files_are_theirs(hers: World) -> None:
    row = hers.submit()
    assert row.released_at
    assert row.runs_as == ADA
    assert set(hers.queue.told_as) == {ADA}
    assert {path.split("/")[1] for path in hers.queue.files} == {ADA}


def test_a_job_is_cancelled_as_the_person(hers: World) -> None:
    row = hers.submit()
    hers.ledger.request_cancel(row.token, "ada", "no more")
    hers.queue.told_as.clear()
    hers.cancel(row)
    assert set(hers.queue.told_as) == {ADA}


@pytest.mark.parametrize("later", ["", "person:bob", "project:alpha"])
def test_a_retry_after_another_setting_finds_the_job_of_the_try_before(hers: World, later: str) -> None:
    """As anybody else it would find nothing, and send the job a second time."""
    with pytest.raises(ConnectionLost):
        hers.submit(Fate.REPLY_LOST)
    row = hers.submit(job=replace(hers.job, runs_as=later))
    assert row.runs_as == ADA
    assert set(hers.queue.told_as) == {ADA}
    assert len(hers.queue.jobs) == 1


def test_the_identity_comes_from_the_one_who_asked_and_from_clusters_yaml(world: World) -> None:
    decision = DecisionRow(
        world.job.key, world.job.request, {}, "onprem", "batch", "", "ada@example.org", world.clock.now()
    )
    people = {"rule": r"([a-z]+)@example\.org"}
    cluster = onprem(runs_as="person", people=people)
    assert Job.of(world.job.key, decision, cluster).runs_as == ADA
    with pytest.raises(InvalidRequest, match=r"^cluster: "):
        Job.of(world.job.key, replace(decision, submitted_by="mallory"), cluster)
