"""What a task may wait for on a cluster: when the wait is over, what is told, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from hybrid_hpc.clusters import Elastic
from hybrid_hpc.errors import Invalid
from hybrid_hpc.jobs import JobState
from hybrid_hpc.schedulers.base import NodeStatus
from hybrid_hpc.waits import NodesWait, QueueWait
from tests.unit.placement_world import azure, job, load, node, nodes, onprem, running

ONPREM = onprem()  # batch: 4 nodes of 16 cores, gpu: 1 of 32
AZURE = azure()  # hpc: 4 nodes of 120 cores, htc: 8 of 16
HTC = AZURE.partitions["htc"]
BUSY = load(
    nodes(ONPREM, cores_busy=10),
    job("1"),
    job("2", array_tasks=3),
    job("3", partition="gpu"),
    job("4", partition="batch,gpu"),
    job("5", state=JobState.HELD),
    running("6", "batch-1"),
)


@pytest.mark.parametrize(
    ("wait", "over"),
    [
        ({"pending_below": 7}, True),
        ({"pending_below": 6}, False),
        ({"pending_above": 5}, True),
        ({"pending_above": 6}, False),
        ({"pending_below": 3, "partition": "gpu"}, True),
        ({"pending_below": 2, "partition": "gpu"}, False),
        ({"free_cores_above": 45}, True),
        ({"free_cores_above": 46}, False),
        ({"free_cores_above": 23, "partition": "batch"}, True),
        ({"free_cores_above": 24, "partition": "batch"}, False),
        ({"pending_below": 7, "free_cores_above": 46}, False),
        ({"pending_below": 7, "pending_above": 5, "free_cores_above": 45}, True),
    ],
)
def test_a_wait_for_the_queue_is_over_when_all_that_was_asked_for_is_so(
    wait: dict[str, Any], over: bool
) -> None:
    assert QueueWait(**wait).look(BUSY).over is over


def test_a_wait_for_the_queue_says_what_it_waits_for_and_where_it_stands() -> None:
    wait = QueueWait(pending_below=5, free_cores_above=1)
    assert wait.wanted == "fewer than 5 pending jobs and more than 1 free core"
    assert wait.look(BUSY).text == "6 jobs pending and 46 cores free"
    assert wait.look(BUSY).counted == {"pending": 6, "free_cores": 46}
    assert QueueWait(pending_above=1).look(load([], job())).text == "1 job pending"


def test_nodes_that_take_no_jobs_have_no_free_cores() -> None:
    found = load(
        [node("htc-1", HTC), node("htc-2", HTC, NodeStatus.OFF), node("htc-3", HTC, NodeStatus.DOWN)]
    )
    assert QueueWait(free_cores_above=1).look(found).counted["free_cores"] == 16


@pytest.mark.parametrize(
    ("wait", "words"),
    [
        ({}, "pending_below: nothing is given to wait for. Give pending_below, pending_above or free_co"),
        ({"pending_below": 0}, "pending_below: needs a whole number of at least 1, not 0"),
        ({"pending_below": "5"}, "pending_below: needs a whole number of at least 1, not '5'"),
        ({"pending_above": -1}, "pending_above: needs a whole number of at least 0, not -1"),
        ({"free_cores_above": True}, "free_cores_above: needs a whole number of at least 0, not True"),
        ({"pending_below": 5, "pending_above": 4}, "more than 4 and fewer than 5 pending jobs can never be"),
        (
            {"free_cores_above": 96},
            "never be more than 96 free cores: there are 96 in all. Give less than 96",
        ),
        ({"free_cores_above": 64, "partition": "batch"}, "there are 64 in all"),
        ({"pending_below": 1, "partition": "bath"}, "onprem has no partition 'bath'. Did you mean batch?"),
    ],
)
def test_a_wait_for_the_queue_that_cannot_be_right_names_the_argument_and_the_remedy(
    wait: dict[str, Any], words: str
) -> None:
    with pytest.raises(Invalid) as caught:
        QueueWait(**wait).check(ONPREM)
    assert words in str(caught.value)


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        QueueWait(partition="bath", pending_below=0).check(ONPREM)
    assert [problem.where for problem in caught.value.problems] == ["partition", "pending_below"]


def test_a_wait_for_nodes_is_over_when_so_many_are_up_whether_they_have_jobs_or_not() -> None:
    up = [node("htc-1", HTC), node("htc-2", HTC, cores_busy=16)]
    others = [node("htc-3", HTC, NodeStatus.BOOTING), node("htc-4", HTC, NodeStatus.DRAINING)]
    others += [node("hpc-1", AZURE.partitions["hpc"])]
    seen = NodesWait("htc", 3).look(load(up + others), AZURE)
    assert (seen.over, seen.text) == (False, "2 of 3 up, 1 on the way")
    assert NodesWait("htc", 2).look(load(up + others), AZURE).over


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nodearray": "hct"}, "nodearray: azure has no nodearray 'hct'. Did you mean htc"),
        ({"count": 0}, "count: needs a whole number of at least 1, not 0"),
        ({"count": 2.0}, "count: needs a whole number of at least 1, not 2.0"),
        ({"count": 9}, "count: azure can never have more than 8 nodes of htc. Give 8 or less."),
    ],
)
def test_a_wait_for_nodes_that_cannot_be_right_names_the_argument_and_the_remedy(
    changes: dict[str, Any], words: str
) -> None:
    wait = NodesWait(**{"nodearray": "htc", "count": 8, **changes})
    with pytest.raises(Invalid) as caught:
        wait.check(AZURE)
    assert words in str(caught.value)


def test_nodes_that_are_not_ours_to_ask_for_are_refused_in_a_sentence() -> None:
    with pytest.raises(Invalid, match="cluster: onprem is not elastic"):
        NodesWait("htc", 1).check(ONPREM)
    own = Elastic(scaling="scheduler", connection="cyclecloud", cluster="azure")
    with pytest.raises(Invalid, match=r"azure is scaled by its own scheduler \(scaling: scheduler\)"):
        NodesWait("htc", 1).check(azure(elastic=own))
    NodesWait("htc", 8).check(AZURE)
