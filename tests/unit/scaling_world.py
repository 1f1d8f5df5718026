"""An elastic cluster in this process: a queue, nodes, a CycleCloud with several VM sizes, and a ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, cast

from typing_extensions import override

from hybrid_hpc.cloud_view import CloudView
from hybrid_hpc.clusters import Cluster
from hybrid_hpc.commands import Answer, Command
from hybrid_hpc.cyclecloud import ClusterStatus, Creation, CycleCloudClient, Node, NodeSet
from hybrid_hpc.cyclecloud.models import SetResult
from hybrid_hpc.errors import Refused
from hybrid_hpc.headnode import HeadNode
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.database import utc_now
from hybrid_hpc.onlooking import Onlooker
from hybrid_hpc.scaling import Scaler
from hybrid_hpc.schedulers.base import Load, NodeStatus, QueuedJob
from hybrid_hpc.schedulers.slurm import Slurm
from hybrid_hpc.site import Site
from tests.unit.placement_world import CLOCK, azure, nodes, partition


def bucket(vm_size: str, **changes: Any) -> dict[str, Any]:
    """A bucket of `ClusterStatus`: ten nodes of 16 cores, five of which can still be made."""
    machine = {"vcpuCount": 16, "pcpuCount": 8, "gpuCount": 0, "memory": 32.0, "infiniband": False}
    return {
        "bucketId": vm_size,
        "definition": {"machineType": vm_size},
        "valid": True,
        "activeCount": 0,
        "activeCoreCount": 0,
        "availableCount": 5,
        "availableCoreCount": 80,
        "maxCount": 10,
        "maxCoreCount": 160,
        "quotaCount": 10,
        "quotaCoreCount": 160,
        "consumedCoreCount": 0,
        "familyQuotaCoreCount": 160,
        "familyConsumedCoreCount": 0,
        "regionalQuotaCoreCount": 1000,
        "regionalConsumedCoreCount": 0,
        "maxPlacementGroupSize": 4,
        "lastCapacityFailure": -1.0,
        **changes,
        "virtualMachine": machine | changes.get("virtualMachine", {}),
    }


def status(*buckets: dict[str, Any], max_count: int = 10, **nodearray: Any) -> ClusterStatus:
    """A cluster with the nodearray htc."""
    array = {"name": "htc", "nodearray": nodearray, "maxCount": max_count, "maxCoreCount": 160}
    arrays = [array | {"buckets": list(buckets)}]
    return ClusterStatus.model_validate({"maxCount": max_count, "maxCoreCount": 160, "nodearrays": arrays})


def htc_only(*sizes: str, **changes: Any) -> Cluster:
    """A cluster of 30 nodes of 16 cores, of the first VM size or a further one."""
    part = partition(
        "htc",
        nodes=30,
        memory_mib=31_000,
        nodearray="htc",
        vm_size=sizes[0],
        vm_sizes=dict.fromkeys(sizes[1:]),
        boot_s=60,
        **changes,
    )
    return azure(partitions={"htc": part})


@dataclass
class Cloud:
    """A CycleCloud with one nodearray; ``refuses``: an error for the next request that creates nodes."""

    sizes: dict[str, dict[str, Any]]  # changes of each VM size's bucket
    machines: dict[str, Node] = field(default_factory=dict)
    requests: list[tuple[str, Sequence[NodeSet]]] = field(default_factory=list)
    status_asked: int = 0
    refuses: Exception | None = None

    async def nodes(self) -> tuple[Node, ...]:
        return tuple(self.machines.values())

    async def status(self, *, nodes: bool) -> ClusterStatus:
        assert not nodes
        self.status_asked += 1
        return status(*(bucket(name, **changes) for name, changes in self.sizes.items()), max_count=99)

    async def create_nodes(self, request_id: str, sets: Sequence[NodeSet]) -> Creation:
        self.requests.append((request_id, sets))
        refuses, self.refuses = self.refuses, None
        if refuses:
            raise refuses
        for each in sets:
            assert each.name_format
            self.set_node(
                each.name_format,
                "Acquiring",
                MachineType=each.vm_size,
                PlacementGroupId=each.placement_group_id,
                RequestId=request_id,
                NodeId=f"{each.name_format}-{len(self.requests)}",
            )
        return Creation(operation_id="1", sets=tuple(SetResult(added=1) for _ in sets))

    async def terminate_nodes(self, *, names: Sequence[str]) -> None:
        for name in names:
            del self.machines[name]

    def set_node(self, name: str, state: str, **changes: Any) -> None:
        """Makes a node, or moves it on."""
        before = self.machines[name].model_dump(by_alias=True) if name in self.machines else {}
        values = {"Name": name, "NodeId": name, "Template": "htc", "TargetState": "Started"} | before
        if state == "Ready":
            changes["PrivateIp"] = "10.0.0.1"
        self.machines[name] = Node.model_validate(values | {"Status": state} | changes)


class Hours:
    """The ledger's clock, which a test moves."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self._began = utc_now()

    def __call__(self) -> datetime:
        return self._began + timedelta(seconds=self.passed_s)


@dataclass
class There(Slurm):
    """A scheduler that takes every command and keeps which; ``refuses``: why it changes no node."""

    commands: list[str] = field(default_factory=list)
    load: Callable[[], Load] | None = None
    refuses: str = ""

    @override
    def read_load(self, answer: Answer) -> Load:
        assert self.load
        return self.load()

    async def run(self, command: Command) -> Answer:
        self.commands.append(f"{command.label} {command}")
        return Answer(0, "", "")

    @override
    def read_nodes_update(self, answer: Answer) -> None:
        if self.refuses:
            raise Refused(self.refuses)


class World:
    """A `Scaler` or `Onlooker` with all that it talks to; ``step`` is one poll."""

    def __init__(self, cluster: Cluster, cloud: Cloud, url: str, *, onlooker: bool = False) -> None:
        self.clock = Hours()
        self.cluster, self.cloud = cluster, cloud
        self.ledger = Ledger(url, clock=self.clock)
        self.ledger.migrate()
        self.there = There(load=self.load)
        self.states = {each.name: each for each in nodes(cluster, NodeStatus.OFF)}
        self.jobs: list[QueuedJob] = []
        self._onlooker = onlooker
        self.restart()

    def restart(self) -> None:
        """Another process goes on."""
        client = cast("CycleCloudClient", self.cloud)
        self.site = Site(self.cluster, self.there, cast("HeadNode", self.there), client)
        self.scaler = (Onlooker if self._onlooker else Scaler)(self.site, client, self.ledger)
        for part in (self.scaler._lives, self.scaler._views):
            part._clock = self.clock

    async def step(self, after_s: float = 0.0) -> CloudView:
        """One poll, so many seconds after the last."""
        self.clock.passed_s += after_s
        return await self.scaler.step(self.load())

    def load(self) -> Load:
        """What the scheduler says now."""
        return Load(CLOCK + self.clock.passed_s, tuple(self.states.values()), tuple(self.jobs))

    def says(self, name: str, scheduler: NodeStatus, **changes: Any) -> None:
        """The scheduler sees a node so."""
        self.states[name] = replace(self.states[name], status=scheduler, **changes)

    def comes_up(self, name: str) -> None:
        """A node is there for both."""
        self.cloud.set_node(name, "Ready")
        self.says(name, NodeStatus.UP)

    def asked(self) -> list[list[tuple[str | None, str | None]]]:
        """For each request so far, the VM size and placement group of each node."""
        return [[(each.vm_size, each.placement_group_id) for each in sets] for _, sets in self.cloud.requests]
