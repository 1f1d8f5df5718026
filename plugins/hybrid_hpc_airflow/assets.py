"""Assets through which one DAG starts another."""

from __future__ import annotations

from airflow.sdk import Asset

from hybrid_hpc.clusters import Cluster

USAGE = Asset("hpc://usage")  # more of it is in the ledger


def nodes_asset(cluster: Cluster) -> Asset:
    """Touched by every submission to an elastic cluster: its nodes want watching from now on."""
    return Asset(name=f"nodes of {cluster.name}", uri=f"hpc://{cluster.name}/nodes")


def we_scale(cluster: Cluster) -> bool:
    """True when nodes of this cluster are asked for and let go by us."""
    return cluster.elastic is not None and cluster.elastic.scaling == "cyclecloud"
