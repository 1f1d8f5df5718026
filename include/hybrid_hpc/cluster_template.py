"""The CycleCloud cluster template of an elastic cluster, as clusters.yaml describes it (pure).

One file says what a cluster has; a template that is written by hand would soon say something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hybrid_hpc.clusters import Cluster, Partition
from hybrid_hpc.errors import Refused
from hybrid_hpc.units import format_walltime

FOLDER = Path(__file__).parents[1] / "azure"
SLURM_VERSION = "24.11.3-1"
PROJECT_VERSION = "4.0.0"  # of CycleCloud's own Slurm project
# Azure's naming convention: the letter r among those after the number of cores is for RDMA (InfiniBand).
RDMA = re.compile(r"Standard_[A-Z]+\d+[a-z]*r[a-z]*_")


@dataclass(frozen=True, slots=True)
class Nodearray:
    """One nodearray; the first partition that names it is its own."""

    name: str
    partition: str
    vm_sizes: tuple[str, ...]
    nodes: int
    spot: bool
    tightly_coupled: bool
    default: bool


def template_of(cluster: Cluster) -> str:
    """The template's text. Raises `Refused` for one whose nodes are always there, or share a nodearray."""
    if cluster.elastic is None:
        raise Refused(f"{cluster.name} is not elastic in clusters.yaml: CycleCloud has nothing to do with it")
    return (
        _environment()
        .get_template("cluster.txt.j2")
        .render(
            cluster=cluster,
            elastic=cluster.elastic,
            by_slurm=cluster.elastic.scaling == "scheduler",
            arrays=nodearrays_of(cluster),
            slurm_lines=list(slurm_lines(cluster)),
            slurm_version=SLURM_VERSION,
            project_version=PROJECT_VERSION,
        )
    )


def nodearrays_of(cluster: Cluster) -> list[Nodearray]:
    """A nodearray for each partition, in the order of clusters.yaml; the first is Slurm's default."""
    arrays = [_nodearray(partition, at == 0) for at, partition in enumerate(cluster.partitions.values())]
    names = [array.name for array in arrays]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Refused(
            f"partitions of {cluster.name} share the nodearray {twice[0]}: give each one of its own, "
            "or write the template by hand"
        )
    return arrays


def slurm_lines(cluster: Cluster) -> Iterator[str]:
    """What slurm.conf needs beside what CycleCloud's Slurm project writes into it.

    That project gathers no usage of jobs, and where it does not scale it tells Slurm of no node.
    """
    yield "JobAcctGatherType=jobacct_gather/cgroup"
    yield "JobAcctGatherFrequency=30"
    if cluster.elastic and cluster.elastic.scaling == "cyclecloud":
        yield "ReturnToService=2"
        for partition in cluster.partitions.values():
            yield from _nodes_of(partition, cluster.elastic.cluster)


def _nodes_of(partition: Partition, prefix: str) -> Iterator[str]:
    nodes = f"{prefix}-{partition.nodearray}-[1-{partition.nodes}]"
    gres = f" Gres=gpu:{partition.gpu_type}:{partition.gpus}" if partition.gpus else ""
    has = f"CPUs={partition.cores} RealMemory={partition.memory_mib}{gres}"
    yield f'NodeName={nodes} {has} State=DOWN Reason="has not booted"'
    yield f"PartitionName={partition.name} Nodes={nodes} MaxTime={format_walltime(partition.walltime_s)}"


def _nodearray(partition: Partition, default: bool) -> Nodearray:
    coupled = partition.tightly_coupled
    return Nodearray(
        name=partition.nodearray or partition.name,
        partition=partition.name,
        vm_sizes=tuple(partition.sizes),
        nodes=partition.nodes,
        spot=partition.spot is not None,
        tightly_coupled=bool(RDMA.match(partition.vm_size or "")) if coupled is None else coupled,
        default=default,
    )


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(FOLDER)
    return Environment(  # noqa: S701  it makes no HTML
        loader=loader,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
