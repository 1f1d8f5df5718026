"""Promises to authors who wait for a cluster itself: for its queue, and for nodes that are up."""

from __future__ import annotations

from lab.testing import on_head_node
from tests.e2e.house import House, until


def test_a_task_waits_for_the_queue_of_a_partition(house: House) -> None:
    run = house.scientist.start("authors_queue")
    house.until_told(run, "wait_for_somebody", "partition gpu: waits for more than 0 pending jobs")
    house.until_told(run, "wait_for_somebody", "partition gpu: 0 jobs pending")
    sent = on_head_node(
        house.stack.lab, "onprem", "sbatch --parsable -p gpu --begin=now+1hour --wrap 'sleep 1'"
    )
    assert sent.returncode == 0, sent.stderr
    try:
        assert house.ended(run) == ["success"], house.seen(run)
    finally:
        on_head_node(house.stack.lab, "onprem", f"scancel {sent.stdout.strip()}")
    assert house.scientist.result(run, "wait_for_somebody")["pending"] == 1
    assert house.scientist.result(run, "tell") == "1 pending"


def test_nodes_come_for_a_task_that_waits_for_them_and_go_when_nobody_uses_them(house: House) -> None:
    run = house.scientist.start("authors_nodes")
    assert house.ended(run) == ["success"], house.scientist.told(run, "bring_nodes")
    told = house.scientist.told(run, "bring_nodes")
    assert "waits for 2 nodes of gpu that are up" in told
    assert "2 of 2 up" in told
    assert house.scientist.result(run, "bring_nodes")["up"] >= 2
    assert {"azure-gpu-1", "azure-gpu-2"} <= set(house.cloud_nodes())
    assert house.ledger.wished_nodes("azure", 600) == {}
    house.reconcile()  # sees to it that somebody watches them
    until(lambda: not [name for name in house.cloud_nodes() if "gpu" in name], "the end of idle nodes")


def test_nodes_that_cannot_come_fail_the_task_in_azures_words(house: House) -> None:
    with house.misbehaving(quota_cores=0):
        run = house.scientist.start("authors_no_nodes")
        assert house.ended(run) == ["failed"]
    told = house.scientist.told(run, "bring_nodes")
    assert "given up after 0:00:10: 0 of 1 up; the Azure quota of" in told
