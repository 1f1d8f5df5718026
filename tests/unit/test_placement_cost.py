"""What a job costs at most, on premises and where whole nodes are paid."""

from __future__ import annotations

import pytest

from hybrid_hpc.placement.cost import rates_of
from hybrid_hpc.placement.fits import shape_of
from tests.unit.placement_world import azure, onprem, request


def most(where: str, name: str, **wishes: object) -> float:
    cluster = azure() if where == "azure" else onprem()
    return rates_of(cluster.partitions[name], cluster).most_usd(shape_of(request(**wishes)))


@pytest.mark.parametrize(
    ("wishes", "usd"),
    [
        ({"cpus_per_task": 16, "walltime": "60"}, 0.32),
        ({"cpus_per_task": 16, "walltime": "30"}, 0.16),
        ({"cpus_per_task": 8, "nodes": 2, "walltime": "60"}, 0.32),
        ({"cpus_per_task": 4, "array": "0-9", "walltime": "60"}, 0.80),
        ({"gpus_per_node": 2, "walltime": "60"}, 0.02 + 1.80),
    ],
)
def test_on_premises_the_cores_and_gpus_asked_for_are_paid(wishes: dict[str, object], usd: float) -> None:
    assert most("onprem", "gpu", **wishes) == pytest.approx(usd)


BOOT_AND_IDLE_H = (60 + 300) / 3600
NODE_USD_H = 16 * 0.042


@pytest.mark.parametrize(
    ("wishes", "node_hours"),
    [
        ({"cpus_per_task": 1, "walltime": "60"}, 1 + BOOT_AND_IDLE_H),
        ({"cpus_per_task": 16, "walltime": "60"}, 1 + BOOT_AND_IDLE_H),
        ({"nodes": 3, "walltime": "120"}, 3 * (2 + BOOT_AND_IDLE_H)),
        ({"cpus_per_task": 4, "array": "0-7", "walltime": "60"}, 2 * (1 + BOOT_AND_IDLE_H)),
        ({"cpus_per_task": 4, "array": "0-7%2", "walltime": "60"}, 4 * (1 + BOOT_AND_IDLE_H)),
        (
            {"cpus_per_task": 4, "memory_per_node": "15G", "array": "0-7", "walltime": "60"},
            4 * (1 + BOOT_AND_IDLE_H),
        ),
        ({"nodes": 2, "array": "0-2", "walltime": "60"}, 6 * (1 + BOOT_AND_IDLE_H)),
        ({"cpus_per_task": 16, "array": "0-99", "walltime": "60"}, 100 + 8 * BOOT_AND_IDLE_H),
    ],
)
def test_on_an_elastic_cluster_whole_nodes_are_paid_with_their_boot_and_idle_time(
    wishes: dict[str, object], node_hours: float
) -> None:
    assert most("azure", "htc", **wishes) == pytest.approx(node_hours * NODE_USD_H)
