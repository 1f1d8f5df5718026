"""Promises about what the pages know of a cluster: the newest look at it, by partition, and only that."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.schedulers.base import Load, NodeState, NodeStatus, QueuedJob
from hybrid_hpc.snapshots import SnapshotRow, snapshot_of
from tests.unit.ledger_databases import NOW

pytest_plugins = ["tests.unit.ledger_fixtures"]

ONPREM = load_clusters().cluster("onprem")
A_MINUTE = timedelta(minutes=1)


def node(
    name: str, partitions: tuple[str, ...], status: NodeStatus, busy: int, gpus_busy: int = 0
) -> NodeState:
    return NodeState(name, partitions, status, 16, busy, 64_000, 0, 4 if gpus_busy else 0, gpus_busy)


LOAD = Load(
    0.0,
    (
        node("n1", ("batch",), NodeStatus.UP, 16),
        node("n2", ("batch", "gpu"), NodeStatus.UP, 0),
        node("n3", ("batch",), NodeStatus.DRAINING, 4),
        node("n4", ("batch",), NodeStatus.DOWN, 0),
        node("n5", ("gpu",), NodeStatus.UP, 8, gpus_busy=2),
    ),
    (
        QueuedJob(
            "1", "x", "ada", "p", "batch", JobState.PENDING, "Resources", 1, 8, 1, 0, 60, 1, 0.0, None, (), 3
        ),
    ),
)


def rows_at(minutes: float, load: Load = LOAD) -> list[SnapshotRow]:
    return snapshot_of(load, ONPREM, {}, NOW + minutes * A_MINUTE)


def test_a_node_that_is_up_is_busy_or_idle_and_a_shared_one_counts_once_in_the_whole() -> None:
    whole, batch, gpu = snapshot_of(LOAD, ONPREM, {}, NOW)
    assert (whole.nodes_busy, whole.nodes_idle, whole.nodes_draining, whole.nodes_down) == (2, 1, 1, 1)
    assert (batch.partition, batch.nodes_busy, batch.nodes_idle) == ("batch", 1, 1)
    assert (gpu.partition, gpu.nodes_up) == ("gpu", 2)
    assert (whole.jobs_waiting, whole.cores_waiting, gpu.jobs_waiting) == (3, 24, 0)


def test_what_jobs_keep_busy_costs_its_cores_and_gpus_and_an_idle_node_nothing() -> None:
    whole, batch, gpu = snapshot_of(LOAD, ONPREM, {}, NOW)
    assert batch.busy_usd_per_hour == (16 + 4) * 0.02
    assert gpu.busy_usd_per_hour == 8 * 0.02 + 2 * 0.90
    assert whole.busy_usd_per_hour == batch.busy_usd_per_hour + gpu.busy_usd_per_hour


def test_trouble_stands_at_its_partition_and_once_in_the_whole() -> None:
    whole, batch, gpu = snapshot_of(LOAD, ONPREM, {"batch": "quota", "gpu": "quota"}, NOW)
    assert (whole.trouble, batch.trouble, gpu.trouble) == ("quota", "quota", "quota")


def test_only_the_newest_look_is_kept_and_partitions_that_are_gone_go_with_it(ledger: Ledger) -> None:
    assert ledger.save_snapshot(rows_at(0))
    without_gpu = replace(LOAD, nodes=LOAD.nodes[:1])
    assert ledger.save_snapshot(rows_at(1, without_gpu))
    assert [(row.partition, row.seen_at) for row in ledger.snapshots()] == [
        ("", NOW + A_MINUTE),
        ("batch", NOW + A_MINUTE),
    ]
    assert ledger.snapshots() == rows_at(1, without_gpu)


def test_an_older_look_never_takes_the_place_of_a_newer_one(ledger: Ledger) -> None:
    ledger.save_snapshot(rows_at(1))
    assert not ledger.save_snapshot(rows_at(0))
    assert not ledger.save_snapshot(rows_at(2), unless_within=2 * A_MINUTE)
    assert ledger.snapshots()[0].seen_at == NOW + A_MINUTE
    assert ledger.save_snapshot(rows_at(4), unless_within=2 * A_MINUTE)


def test_each_cluster_has_its_own(ledger: Ledger) -> None:
    ledger.save_snapshot(rows_at(0))
    ledger.save_snapshot([replace(row, cluster="azure") for row in rows_at(0)])
    assert [(row.cluster, row.partition) for row in ledger.snapshots()] == [
        (cluster, partition) for cluster in ("azure", "onprem") for partition in ("", "batch", "gpu")
    ]
