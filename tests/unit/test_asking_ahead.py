"""Promises about the nodes that a submission asks for: at once, once, and never at the submission's cost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hybrid_hpc.asking_ahead import ask_ahead
from hybrid_hpc.errors import Unavailable
from hybrid_hpc.schedulers.base import NodeStatus
from tests.unit.placement_world import job
from tests.unit.scaling_world import Cloud, There, World, htc_only

SIZE = "Standard_F16s_v2"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Two jobs wait for a node each, and there is none."""
    made = World(htc_only(SIZE), Cloud({SIZE: {}}), f"sqlite:///{tmp_path}/ledger.db")
    made.jobs = [job(native_id, partition="htc", cores=16) for native_id in ("1", "2")]
    yield made
    made.ledger.close()


async def test_the_nodes_of_a_job_are_asked_for_when_it_is_submitted_and_not_again_by_the_poll(
    world: World,
) -> None:
    assert len(await ask_ahead(world.site, world.ledger)) == 2
    assert await ask_ahead(world.site, world.ledger) == frozenset()
    await world.step()
    assert len(world.cloud.requests) == 1


async def test_submissions_and_the_poll_that_ask_at_once_get_no_node_too_many(world: World) -> None:
    several = (ask_ahead(world.site, world.ledger) for _ in range(4))
    await asyncio.gather(*several, world.step())
    assert len(world.cloud.machines) == 2
    assert len({request_id for request_id, _ in world.cloud.requests}) == 1


async def test_two_that_see_different_queues_ask_for_each_node_once(world: World) -> None:
    """One has read the queue before the second job came, the other after that."""
    before = world.load()
    early = replace(world.site, scheduler=There(load=lambda: replace(before, jobs=before.jobs[:1])))
    await asyncio.gather(ask_ahead(early, world.ledger), ask_ahead(world.site, world.ledger))
    await world.step(after_s=5)
    by_request = dict(world.cloud.requests)
    names = [str(each.name_format) for sets in by_request.values() for each in sets]
    assert sorted(names) == ["htc-1", "htc-2"]


async def test_when_azure_has_just_refused_nodes_the_watch_is_left_to_ask(world: World) -> None:
    row = world.ledger.ask_for_nodes(request_id="r", cluster="azure", nodearray="htc", names=["htc-9"])
    assert row
    world.ledger.answer_nodes("r", added=0, message="quota")
    assert await ask_ahead(world.site, world.ledger) == frozenset()
    assert not world.cloud.requests


async def test_a_cloud_that_does_not_answer_costs_the_submission_nothing(world: World) -> None:
    world.cloud.refuses = Unavailable("down")
    assert await ask_ahead(world.site, world.ledger) == frozenset()


async def test_nothing_is_asked_of_a_cluster_that_scales_by_itself_or_not_at_all(world: World) -> None:
    elastic = world.cluster.elastic
    assert elastic
    for changed in (None, elastic.model_copy(update={"scaling": "scheduler"})):
        site = replace(world.site, cluster=world.cluster.model_copy(update={"elastic": changed}))
        assert await ask_ahead(site, world.ledger) == frozenset()
    assert not world.cloud.requests


async def test_a_job_for_which_a_node_is_free_asks_for_none(world: World) -> None:
    for name in ("htc-1", "htc-2"):
        world.cloud.set_node(name, "Ready")
        world.says(name, NodeStatus.UP)
    assert await ask_ahead(world.site, world.ledger) == frozenset()
