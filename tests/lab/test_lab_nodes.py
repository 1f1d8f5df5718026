"""The lab has the nodes that clusters.yaml promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import cloud
from lab.cyclecloud.config import NodeArray
from lab.nodes import AZURE, CLUSTERS, ONPREM, PORTS, ClusterParts, Nodes

CLUSTERS_YAML = Path(__file__).parents[2] / "include" / "clusters.yaml"


@pytest.fixture(scope="module")
def promised() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(CLUSTERS_YAML.read_text())["clusters"]
    return content


@pytest.mark.parametrize("cluster", CLUSTERS, ids=lambda cluster: cluster.name)
def test_partitions_are_those_of_clusters_yaml(promised: dict[str, Any], cluster: ClusterParts) -> None:
    partitions = promised[cluster.name]["partitions"]
    assert {nodes.partition: _facts(nodes) for nodes in cluster.nodes} == {
        name: {key: partition.get(key) for key in _facts(cluster.nodes[0])} | _gpus(partition)
        for name, partition in partitions.items()
    }


def test_a_vm_costs_what_its_cores_and_gpus_cost(promised: dict[str, Any]) -> None:
    for nodes in AZURE.nodes:
        prices = promised["azure"]["partitions"][nodes.partition]["prices"]
        price = nodes.cores * prices["core_hour_usd"] + nodes.gpus * prices.get("gpu_hour_usd", 0)
        assert nodes.usd_per_hour == pytest.approx(price)


def test_nodearrays_of_spot_partitions_are_interruptible_and_cost_the_spot_price(
    promised: dict[str, Any],
) -> None:
    for nodes in AZURE.nodes:
        array = NodeArray.model_validate(cloud._nodearray(nodes, boot_s=1))
        assert array.interruptible == ("spot" in promised["azure"]["partitions"][nodes.partition])
        assert array.sizes[0].price(spot=array.interruptible) == nodes.usd_per_hour


def test_names_are_written_as_slurm_writes_them() -> None:
    assert [nodes.hostlist for nodes in ONPREM.nodes] == ["node[01-04]", "gpu01"]
    assert [nodes.hostlist for nodes in AZURE.nodes] == [
        "azure-hpc-[1-8]",
        "azure-htc-[1-8]",
        "azure-spot-[1-4]",
        "azure-gpu-[1-4]",
    ]
    assert ONPREM.node_names == ["node01", "node02", "node03", "node04", "gpu01"]


def test_no_two_daemons_share_a_port() -> None:
    daemons = [cluster.daemon_port + offset for cluster in CLUSTERS for offset in range(3)]
    nodes = [cluster.node_port + offset for cluster in CLUSTERS for offset in range(len(cluster.node_names))]
    ports = [0, 1, *daemons, *nodes]
    assert len(set(ports)) == len(ports)
    assert max(ports) < PORTS


def _facts(nodes: Nodes) -> dict[str, Any]:
    return {
        "nodes": nodes.count,
        "cores": nodes.cores,
        "memory": f"{nodes.memory_mib}M",
        "walltime": nodes.walltime,
        "vm_size": nodes.vm_size or None,
        "gpus": nodes.gpus,
    }


def _gpus(partition: dict[str, Any]) -> dict[str, Any]:
    return {"gpus": partition.get("gpus", 0)}
