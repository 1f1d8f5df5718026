"""A cluster in memory for the doctor: healthy, until a test spoils it."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

from hybrid_hpc.clusters import Cluster, load_clusters
from hybrid_hpc.commands import Answer, Command
from hybrid_hpc.doctor import Finding, OpenSite, examine
from hybrid_hpc.errors import Shut
from hybrid_hpc.schedulers.base import Load, NodeState, NodeStatus
from hybrid_hpc.site import Site

CHECKS = ["connection", "scheduler", "partitions", "accounting", "clock", "run directory"]


class FakeHeadNode:
    """Answers every command at once, unless ``trouble`` has something for it."""

    def __init__(self) -> None:
        self.trouble: dict[str, Exception | asyncio.Event] = {}
        self.files: dict[str, str] = {}
        self.keeps = True
        self.closed = False
        self.open: Shut | None = None
        self.others: dict[str, FakeHeadNode] = {}  # by identity

    async def shut(self) -> Shut | None:
        return self.open

    def acting_as(self, identity: str) -> FakeHeadNode:
        return self.others[identity]

    async def run(self, command: Command) -> Answer:
        trouble = self.trouble.get(command.argv[0])
        if isinstance(trouble, asyncio.Event):
            await trouble.wait()
        elif trouble:
            raise trouble
        if command.argv[0] == "rm":
            self.files.pop(command.argv[-1], None)
        return Answer(0, "head1\n", "")

    async def storage(self) -> str:
        await self.run(Command(("storage",)))
        return "/scratch/hh"

    async def write(self, path: str, text: str) -> None:
        self.files[path] = text if self.keeps else ""

    async def read_small(self, path: str, limit: int) -> str | None:
        await self.run(Command(("read",)))
        return self.files[path][:limit]

    async def close(self) -> None:
        self.closed = True


class FakeScheduler:
    """Has what clusters.yaml says, keeps records, and has the right time."""

    name = "slurm"

    def __init__(self, cluster: Cluster) -> None:
        self.nodes = [node for name in cluster.partitions for node in nodes_of(cluster, name)]
        self.keeps_records = True
        self.skew_s = 0.0

    def version_command(self) -> Command:
        return Command(("version",))

    def read_version(self, _: Answer) -> str:
        return "22.05.8"

    def load_command(self) -> Command:
        return Command(("load",))

    def read_load(self, _: Answer) -> Load:
        return Load(time.time() + self.skew_s, tuple(self.nodes), ())

    def accounting_command(self) -> Command:
        return Command(("accounting",))

    def read_accounting(self, _: Answer) -> bool:
        return self.keeps_records


class FakeCloud:
    """Has every nodearray but those in ``lacks``."""

    def __init__(self) -> None:
        self.lacks: set[str] = set()
        self.trouble: Exception | None = None

    async def status(self, *, nodes: bool) -> Any:
        assert not nodes, "a heavy question"
        if self.trouble:
            raise self.trouble
        return SimpleNamespace(state="Started", bucket=lambda array, _: array not in self.lacks)

    async def aclose(self) -> None:
        return


def nodes_of(cluster: Cluster, name: str) -> list[NodeState]:
    part = cluster.partitions[name]
    shape = (part.cores, 0, part.memory_mib, 0, part.gpus)
    return [NodeState(f"{name}{n}", (name,), NodeStatus.UP, *shape) for n in range(part.nodes)]


class World:
    """One cluster of include/clusters.yaml with fakes behind it."""

    def __init__(self, name: str = "onprem") -> None:
        self.cluster = load_clusters().cluster(name)
        self.head_node = FakeHeadNode()
        self.scheduler = FakeScheduler(self.cluster)
        self.cloud = FakeCloud() if self.cluster.elastic else None

    async def open_site(self, cluster: Cluster) -> Site:
        return Site(cluster, cast(Any, self.scheduler), cast(Any, self.head_node), cast(Any, self.cloud))

    async def findings(self, open_site: OpenSite | None = None) -> dict[str, Finding]:
        found = [finding async for finding in examine(self.cluster, open_site or self.open_site)]
        assert self.head_node.closed or open_site
        assert all(finding.well != bool(finding.remedy) for finding in found)
        return {finding.check: finding for finding in found}
