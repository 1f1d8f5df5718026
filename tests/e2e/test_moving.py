"""Promises about a job that its cluster cannot run: it moves, ends or waits, as its request says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import JobRow, ScaleRow
from tests.e2e.house import House, until, waits_at
from tests.e2e.scientist import Run

# Small enough for both clusters; premises are cheaper, so it goes there first, closed or not.
SMALL = {"script": "#!/bin/bash\necho done\n", "cpus_per_task": 2, "walltime": "10"}


@dataclass(frozen=True)
class Blocked:
    """Jobs that were placed on premises and met a closed partition there."""

    moved: Run
    failed: Run
    waited: Run


@pytest.fixture(scope="module")
def blocked(house: House) -> Iterator[Blocked]:
    start = house.scientist.start
    with house.closed_partition("onprem", "batch"):
        runs = Blocked(
            start(name="moves", **SMALL),
            start(name="fails", on_blocked="fail", **SMALL),
            start(name="waits", cluster="onprem", **SMALL),
        )
        house.until_told(runs.waited, "onprem.wait_in_queue", "it waits on: it was given to this cluster")
        house.ended(runs.moved, runs.failed)
    house.ended(runs.waited)
    yield runs


def test_a_job_in_a_closed_partition_moves_to_the_other_cluster_and_succeeds_in_the_same_run(
    house: House, blocked: Blocked
) -> None:
    run = blocked.moved
    assert house.scientist.state(run) == "success", house.seen(run)
    states = house.scientist.states(run)
    assert states["onprem.wait_in_queue"] == "skipped"
    assert states["choose_again"] == "success"
    assert states["moved.azure.wait_for_completion"] == "success"
    assert states["moved.onprem.submit"] == "skipped", "it was chosen again, though the job had left it"


def test_both_lives_of_a_moved_job_are_in_the_ledger_and_it_ran_once(house: House, blocked: Blocked) -> None:
    row = house.job(blocked.moved)
    first, second = house.ledger.attempts(row.key)
    assert (first.cluster, first.left, first.outcome) == ("onprem", True, JobState.CANCELLED)
    assert (second.cluster, second.outcome) == ("azure", JobState.COMPLETED)
    assert first.token != second.token
    assert house.accounting("onprem", first.token) == {first.native_id: "CANCELLED"}
    assert house.accounting("azure", second.token) == {second.native_id: "COMPLETED"}


def test_the_scientist_reads_why_it_moved(house: House, blocked: Blocked) -> None:
    run = blocked.moved
    assert "its partition is closed at the moment" in house.scientist.told(run, "onprem.wait_in_queue")
    assert "onprem could not run it" in house.scientist.told(run, "choose_again")
    note = str(house.scientist.run(*run)["note"])
    assert note.startswith("Moved on from onprem, which could not run it (its partition is closed")


def test_a_job_whose_request_says_fail_ends_with_the_reason(house: House, blocked: Blocked) -> None:
    assert house.scientist.state(blocked.failed) == "failed"
    told = house.scientist.told(blocked.failed, "collect")
    assert "onprem could not run it (its partition is closed at the moment)" in told
    assert house.seen(blocked.failed).get("choose_again") is None, "skipped: nothing is to move"


def test_a_job_that_was_given_to_one_cluster_waits_there_until_it_can_run(
    house: House, blocked: Blocked
) -> None:
    assert house.scientist.state(blocked.waited) == "success"
    row = house.job(blocked.waited)
    assert house.accounting("onprem", row.token) == {row.native_id: "COMPLETED"}


@dataclass(frozen=True)
class Why:
    """In which wait the scientist reads why a job left Azure, and its first words; its attempts there."""

    wait: str
    words: str
    azure: tuple[tuple[str, JobState], ...]  # partition and outcome of each


LEFT, LOST = JobState.CANCELLED, JobState.NODE_FAIL
WHY = {
    "quota": Why(
        "azure.wait_in_queue",
        "the Azure quota of the family of Standard_F16s_v2 is reached: 0 of 0 cores",
        (("htc", LEFT),),
    ),
    "no capacity": Why(
        "azure.wait_in_queue",
        "Azure says: AllocationFailed: no capacity for Standard_NC24ads_A100_v4",
        (("gpu", LEFT),),
    ),
    "failed boots": Why("azure.wait_in_queue", "Azure says: no route to /sched", (("hpc", LEFT),)),
    "evictions": Why(
        "azure.wait_for_completion",
        "its nodes were lost 3 times: lost its node on azure-spot-",
        (("spot", LOST),) * 3,
    ),
}
# It runs on Azure until it is evicted; spot nodes are cheap enough for it, others there are not.
EVICTED = {
    "script": '#!/bin/bash\n[ "$SLURM_CLUSTER_NAME" = onprem ] || sleep 600\n',
    "cpus_per_task": 16,
    "spot": "allowed",
    "max_cost_usd": 0.08,
    "walltime": "10",
}


@pytest.fixture(scope="module")
def refused(house: House) -> Iterator[dict[str, Run]]:
    """Jobs that went to Azure, since premises are full for hours, and that Azure cannot run; by cause."""
    start = house.scientist.start
    all_nodes = {"nodes": 4, "tasks_per_node": 16}
    with house.closed_gate("onprem") as gate, house.misbehaving():
        fills = {"cluster": "onprem", "script": waits_at(gate), "walltime": "10:00:00"}
        full = [start(name="fills", **fills, **all_nodes), start(name="fills-gpus", **fills, gpus_per_node=4)]
        for each in full:
            house.until_running(each)
        until(lambda: not house.cloud_nodes(), "an Azure without nodes from before")
        house.misbehave(no_capacity=["gpu"], boot_fail={"hpc": "no route to /sched"})
        runs = {
            "evictions": start(name="evicted", **EVICTED),
            "quota": start(name="quota", script=SMALL["script"], walltime="10", **all_nodes),
            "no capacity": start(name="capacity", gpus_per_node=1, **SMALL),
            "failed boots": start(name="boots", memory_per_node="40G", **SMALL),
        }
        house.until_state(runs["quota"], "choose_cluster", "success")
        house.misbehave(quotas={"Standard_F16s_v2": 0})
        _evict_until_it_moves(house, runs["evictions"])
        for run in runs.values():
            house.until_state(run, "choose_again", "success")
        house.open_gate("onprem", gate)
        house.ended(*runs.values(), *full)
    yield runs


def _evict_until_it_moves(house: House, run: Run) -> None:
    """Takes every node away on which the job runs, once its end is waited for."""
    evicted: set[tuple[str, int]] = set()

    def moves() -> bool:
        states = house.scientist.states(run)
        row = house.row_if(run, lambda row: row.state.started and _life(row) not in evicted)
        if row and row.node_names and states.get("azure.wait_for_completion") == "deferred":
            evicted.add(_life(row))
            house.misbehave(evict=list(row.node_names))
        return states.get("choose_again") == "success"

    until(moves, "the evicted job to move")


def _life(row: JobRow) -> tuple[str, int]:
    """Slurm may send a job to a node that is gone already, and starts it again when it finds out."""
    return row.token, row.restarts


@pytest.mark.parametrize("cause", WHY)
def test_a_job_that_azure_cannot_run_moves_on_premises_in_the_same_run_and_its_graph_says_so(
    house: House, refused: dict[str, Run], cause: str
) -> None:
    run, why = refused[cause], WHY[cause]
    assert house.scientist.state(run) == "success", house.seen(run)
    states = house.scientist.states(run)
    assert states[why.wait] == "skipped"
    assert states["choose_again"] == states["moved.onprem.wait_for_completion"] == "success"
    assert states["moved.azure.submit"] == "skipped", "it was chosen again, though the job had left it"
    assert why.words in house.scientist.told(run, why.wait)
    note = str(house.scientist.run(*run)["note"])
    assert note.startswith(f"Moved on from azure, which could not run it ({why.words}")


@pytest.mark.parametrize("cause", WHY)
def test_every_life_of_a_job_that_azure_could_not_run_is_in_the_ledger_and_in_the_accounting(
    house: House, refused: dict[str, Run], cause: str
) -> None:
    *azure, last = house.ledger.attempts(house.job(refused[cause]).key)
    assert tuple((row.partition, row.outcome) for row in azure) == WHY[cause].azure
    assert (last.cluster, last.outcome) == ("onprem", JobState.COMPLETED)
    assert [house.accounting("azure", row.token) for row in azure] == [
        {row.native_id: str(row.outcome).upper()} for row in azure
    ]
    assert house.accounting("onprem", last.token) == {last.native_id: "COMPLETED"}


def test_no_node_is_left_and_every_request_for_nodes_says_what_came_of_it(
    house: House, refused: dict[str, Run]
) -> None:
    until(lambda: not house.cloud_nodes(), "the end of the last node")
    jobs = {row.native_id for run in refused.values() for row in house.ledger.attempts(house.job(run).key)}

    def settled() -> list[ScaleRow]:
        house.reconcile()
        asked = [each for each in house.ledger.scale_requests("azure") if jobs & set(each.for_jobs)]
        return asked if all(each.settled_at for each in asked) else []

    asked = until(settled, "what came of every request")
    assert {"spot": {"came"}, "gpu": {"failed"}, "hpc": {"failed"}} == {
        name: {each.outcome for each in asked if each.nodearray == name} for name in ("spot", "gpu", "hpc")
    }
    assert all("no route to /sched" in each.message for each in asked if each.nodearray == "hpc")
