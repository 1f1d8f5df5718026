"""Promises about bad luck: what does not answer is told, no job is lost, and all goes on when it is back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pytest

from hybrid_hpc.jobs import JobState, token
from tests.e2e.house import House, new_gate, until, waits_at
from tests.e2e.scientist import Run

TERMS = {"script": "#!/bin/bash\nhostname\n", "walltime": "10"}
BOOT_S = 40.0  # long enough for all that is to happen while a node boots


@dataclass(frozen=True)
class ClosedDoor:
    """What was there before onprem's sshd stopped, what came while it was away; all ended since."""

    running: Run
    waiting: Run
    anywhere: Run
    pinned: Run
    while_away: dict[str, str]  # state of `pinned`'s choose_cluster, and of the waits


@pytest.fixture(scope="module")
def closed_door(house: House) -> Iterator[ClosedDoor]:
    start = house.scientist.start
    whole = {"cluster": "onprem", "nodes": 4, "tasks_per_node": 16, "walltime": "10"}
    with house.closed_gate("onprem") as gate:
        running = start(name="running", script=waits_at(gate), **whole)
        house.until_state(running, "onprem.wait_for_completion", "deferred")
        waiting = start(name="waiting", script="#!/bin/bash\nhostname\n", **whole)
        house.until_told(waiting, "onprem.wait_in_queue", "pending")
        with house.closed_door("onprem"):
            anywhere = start(name="anywhere", **TERMS)
            pinned = start(name="pinned", cluster="onprem", **TERMS)
            house.until_told(running, "onprem.wait_for_completion", "does not answer")
            house.until_told(waiting, "onprem.wait_in_queue", "does not answer")
            house.until_state(pinned, "choose_cluster", "up_for_reschedule")
            away = {
                "running": house.scientist.states(running)["onprem.wait_for_completion"],
                "waiting": house.scientist.states(waiting)["onprem.wait_in_queue"],
            }
            house.open_gate("onprem", gate)
            house.until_state(anywhere, "azure.submit", "success")
        house.ended(running, waiting, anywhere, pinned)
    yield ClosedDoor(running, waiting, anywhere, pinned, away)


def test_a_head_node_that_does_not_answer_is_left_out_with_the_reason(
    house: House, closed_door: ClosedDoor
) -> None:
    note = house.scientist.run(*closed_door.anywhere)["note"]
    assert note.startswith("azure (")
    assert "onprem: left out: " in note
    assert "no SSH connection" in note
    assert house.scientist.state(closed_door.anywhere) == "success"


def test_without_any_cluster_that_answers_the_choice_is_tried_again_and_says_so(
    house: House, closed_door: ClosedDoor
) -> None:
    log = house.scientist.told(closed_door.pinned, "choose_cluster")
    assert "no decision yet, trying again" in log
    assert "onprem: left out: " in log
    assert house.scientist.tries(closed_door.pinned, "choose_cluster") == 1, "an outage uses up no try"
    assert house.scientist.state(closed_door.pinned) == "success"


@pytest.mark.parametrize("which", ["running", "waiting"])
def test_jobs_on_a_cluster_that_does_not_answer_go_on_and_end_well(
    house: House, closed_door: ClosedDoor, which: str
) -> None:
    run: Run = getattr(closed_door, which)
    assert closed_door.while_away[which] == "deferred"
    assert house.scientist.state(run) == "success"
    row = house.job(run)
    assert house.accounting("onprem", row.token) == {row.native_id: "COMPLETED"}
    assert row.outcome is JobState.COMPLETED


@dataclass(frozen=True)
class Troubles:
    """Jobs that met an Azure without machines, a CycleCloud that died, and a triggerer that was killed."""

    gpu: Run  # Azure had no machine for it
    evicted: Run  # its node was taken away while it ran
    spot: Run  # so was its spot node
    placed: Run  # waited for its node when CycleCloud died
    late: Run  # came while CycleCloud was away
    steady: Run  # ran on premises when the triggerer was killed


@pytest.fixture(scope="module")
def troubles(house: House) -> Iterator[Troubles]:
    on_azure = {"cluster": "azure", **TERMS}
    start = house.scientist.start
    with house.closed_gate("onprem") as gate, house.misbehaving():
        steady = start(name="steady", cluster="onprem", script=waits_at(gate), walltime="10")
        spot = _evicted(house, {}, name="spot", tasks_per_node=16, spot="allowed")
        # Last, and with slow boots from then on: else the job that waits for a large node would find one.
        faults = {"boot_s": BOOT_S, "no_capacity": ["gpu"]}
        evicted = _evicted(house, faults, name="evicted", tasks_per_node=96, on_node_failure="resubmit")
        lost = house.job(evicted)
        until(lambda: "NODE_FAIL" in house.accounting("azure", lost.token).values(), "Slurm to miss the node")
        placed = start(name="placed", tasks_per_node=96, **on_azure)
        gpu = start(name="gpu", gpus_per_node=1, **on_azure)
        house.until_told(gpu, "azure.wait_in_queue", "no capacity")
        house.until_told(placed, "azure.wait_in_queue", "boot")
        with house.lost_cyclecloud():
            late = start(name="late", tasks_per_node=96, **on_azure)
            house.until_told(placed, "azure.wait_in_queue", "CycleCloud does not answer")
            house.until_state(late, "choose_cluster", "up_for_reschedule")
        house.until_state(steady, "onprem.wait_for_completion", "deferred")
        house.kill_triggerer()
        house.open_gate("onprem", gate)
        house.ended(steady, placed, late, gpu, evicted, spot)
        yield Troubles(gpu, evicted, spot, placed, late, steady)


def _evicted(house: House, faults: Mapping[str, object], **asked: object) -> Run:
    """A job whose node is taken away as soon as it runs; it is to be sent anew, and then ends at once."""
    seen = new_gate()
    here = f'"$SLURM_SUBMIT_DIR/../{seen}"'
    script = f"#!/bin/bash\n[ -e {here} ] && exit 0\ntouch {here}\nsleep 600\n"
    run = house.scientist.start(script=script, cluster="azure", walltime="20", **asked)
    row = house.until_running(run)
    house.until_state(run, "azure.wait_for_completion", "deferred")
    house.misbehave(evict=list(row.node_names), **faults)
    return run


def test_a_job_for_which_azure_has_no_machine_is_told_so_and_runs_when_it_has(
    house: House, troubles: Troubles
) -> None:
    assert house.scientist.state(troubles.gpu) == "success", house.seen(troubles.gpu)
    assert "Azure says: " in house.scientist.told(troubles.gpu, "azure.wait_in_queue")


def test_a_job_that_lost_its_node_is_sent_anew_within_the_same_run_and_both_ends_are_kept(
    house: House, troubles: Troubles
) -> None:
    assert house.scientist.state(troubles.evicted) == "success", house.seen(troubles.evicted)
    told = house.scientist.told(troubles.evicted, "azure.wait_for_completion")
    assert "lost its nodes; sent anew as job" in told
    last = house.job(troubles.evicted)
    assert (last.generation, last.outcome) == (1, JobState.COMPLETED)
    first = house.ledger.job(token(replace(last.key, generation=0)))
    assert first
    assert first.outcome is JobState.NODE_FAIL
    assert set(house.accounting("azure", first.token).values()) == {"NODE_FAIL"}


def test_a_job_that_allows_spot_is_placed_there_and_sent_again_when_it_is_evicted(
    house: House, troubles: Troubles
) -> None:
    assert house.scientist.state(troubles.spot) == "success", house.seen(troubles.spot)
    note = house.scientist.run(*troubles.spot)["note"]
    assert note.startswith("azure (spot): ")
    assert "less than htc even with the risk of an eviction (1 in 20 h)" in note
    told = house.scientist.told(troubles.spot, "azure.wait_for_completion")
    assert "its spot node was evicted; sent again on spot (try 2 of 2)" in told
    attempts = house.ledger.attempts(house.job(troubles.spot).key)
    assert [(each.partition, each.outcome) for each in attempts] == [
        ("spot", JobState.NODE_FAIL),
        ("spot", JobState.COMPLETED),
    ]


def test_a_job_that_waits_for_its_node_is_told_that_cyclecloud_is_down_and_runs_all_the_same(
    house: House, troubles: Troubles
) -> None:
    assert house.scientist.state(troubles.placed) == "success", house.seen(troubles.placed)
    assert "azure-hpc-" in house.scientist.told(troubles.placed, "collect")


def test_a_job_for_azure_is_not_placed_while_cyclecloud_is_down_and_is_when_it_is_back(
    house: House, troubles: Troubles
) -> None:
    log = house.scientist.told(troubles.late, "choose_cluster")
    assert "no decision yet, trying again" in log
    assert "azure: left out: CycleCloud does not answer" in log
    assert house.scientist.state(troubles.late) == "success", house.seen(troubles.late)


def test_a_killed_triggerer_cancels_no_job_and_the_next_one_waits_on(
    house: House, troubles: Troubles
) -> None:
    row = house.job(troubles.steady)
    assert house.scientist.state(troubles.steady) == "success", house.seen(troubles.steady)
    assert house.accounting("onprem", row.token) == {row.native_id: "COMPLETED"}
    assert row.cancel_requested_at is None


def test_every_job_ran_once_whatever_happened(house: House, troubles: Troubles) -> None:
    for run in (troubles.gpu, troubles.placed, troubles.late):
        row = house.job(run)
        assert house.accounting("azure", row.token) == {row.native_id: "COMPLETED"}
