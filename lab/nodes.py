"""What the lab's two clusters are made of; names and sizes are those of include/clusters.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of one partition: all alike.

    ``name`` holds a ``%d`` (or ``%02d``) for the node's number; the price is USD per node and hour, of
    ``spot`` nodes the spot price.
    """

    partition: str
    name: str
    count: int
    cores: int
    memory_mib: int
    walltime: str
    gpus: int = 0
    gpu_type: str = "a100"
    vm_size: str = ""
    infiniband: bool = False
    usd_per_hour: float = 0.0
    spot: bool = False

    @property
    def names(self) -> list[str]:
        """The names of all nodes, lowest number first."""
        return [self.name % number for number in range(1, self.count + 1)]

    @property
    def hostlist(self) -> str:
        """The names as Slurm writes them: ``node[01-04]``."""
        if self.count == 1:
            return self.names[0]
        prefix, _, digits = self.name.partition("%")
        return f"{prefix}[{f'%{digits}' % 1}-{f'%{digits}' % self.count}]"

    @property
    def memory_gib(self) -> float:
        """The memory as CycleCloud gives it."""
        return round(self.memory_mib / 1024, 2)

    @property
    def memory_per_core_mib(self) -> int:
        """What a job gets per core when it asks for no memory."""
        return self.memory_mib // self.cores


@dataclass(frozen=True)
class ClusterParts:
    """One cluster: its name, its nodes, and the place of its daemons in the lab's block of ports."""

    name: str
    nodes: tuple[Nodes, ...]
    daemon_port: int
    node_port: int
    elastic: bool = False

    @property
    def head(self) -> str:
        """The name of the head node's host."""
        return f"{self.name}-head"

    @cached_property
    def node_names(self) -> list[str]:
        """The names of all nodes, in the order of their ports."""
        return [name for nodes in self.nodes for name in nodes.names]


ONPREM = ClusterParts(
    name="onprem",
    daemon_port=2,
    node_port=10,
    nodes=(
        Nodes("batch", "node%02d", count=4, cores=16, memory_mib=64000, walltime="2-00:00:00"),
        Nodes("gpu", "gpu%02d", count=1, cores=32, memory_mib=256000, gpus=4, walltime="1-00:00:00"),
    ),
)
AZURE = ClusterParts(
    name="azure",
    daemon_port=5,
    node_port=15,
    elastic=True,
    nodes=(
        Nodes(
            "hpc",
            "azure-hpc-%d",
            count=8,
            cores=120,
            memory_mib=448000,
            walltime="3-00:00:00",
            vm_size="Standard_HB120rs_v3",
            infiniband=True,
            usd_per_hour=3.60,
        ),
        Nodes(
            "htc",
            "azure-htc-%d",
            count=8,
            cores=16,
            memory_mib=31000,
            walltime="3-00:00:00",
            vm_size="Standard_F16s_v2",
            usd_per_hour=0.672,
        ),
        Nodes(
            "spot",
            "azure-spot-%d",
            count=4,
            cores=16,
            memory_mib=31000,
            walltime="1-00:00:00",
            vm_size="Standard_F16s_v2",
            usd_per_hour=0.168,
            spot=True,
        ),
        Nodes(
            "gpu",
            "azure-gpu-%d",
            count=4,
            cores=24,
            memory_mib=214000,
            gpus=1,
            walltime="3-00:00:00",
            vm_size="Standard_NC24ads_A100_v4",
            usd_per_hour=3.67,
        ),
    ),
)
CLUSTERS = (ONPREM, AZURE)
PORTS = 40  # how many ports in a row the lab takes
