"""Asking CycleCloud for the nodes that a queue needs: first looked up what can be had, then asked once."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from hybrid_hpc import telemetry
from hybrid_hpc.cyclecloud import ClusterStatus, Creation, CycleCloudClient, Node, NodeSet
from hybrid_hpc.demand import Demand, NewNode, NodeAsk, demand_of
from hybrid_hpc.errors import HybridHpcError
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.node_changes import NodeChanges
from hybrid_hpc.offers import CAPACITY_S, Failure, supply_of
from hybrid_hpc.schedulers.base import Load
from hybrid_hpc.site import Site
from hybrid_hpc.status_kept import KEEP_S, StatusKept
from hybrid_hpc.supply import SILENT, Made, Supply, partition_of
from hybrid_hpc.wishes import lease_s

log = logging.getLogger(__name__)

ASK_AGAIN_S = 60.0  # after a refusal: a quota or a lack of capacity does not go away in seconds
OURS = 100  # the requests of far more than a minute


@dataclass(frozen=True, slots=True)
class Asked:
    """What the queue and those without a job need, and the names of the nodes that were added just now.

    ``wishes``: how many nodes of a nodearray somebody waits for without a job.
    """

    demand: Demand
    names: frozenset[str] = frozenset()
    wishes: Mapping[str, int] = field(default_factory=dict)

    @property
    def vm_sizes(self) -> dict[str, str]:
        """The VM size of each node that was added just now, by name."""
        nodes = (node for ask in self.demand.asks for node in ask.nodes)
        return {node.name: node.vm_size for node in nodes if node.name in self.names}


class Asking:
    """One cluster's demand, met as far as Azure can; remembers what failed lately."""

    def __init__(
        self,
        site: Site,
        cloud: CycleCloudClient,
        ledger: Ledger,
        changes: NodeChanges,
        *,
        ask_again_s: float,
    ) -> None:
        self.cluster = site.cluster
        self._site = site
        self._cloud = cloud
        self._ledger = ledger
        self._changes = changes
        self._ask_again_s = ask_again_s
        self._status = StatusKept(cloud, keep_s=min(KEEP_S, ask_again_s))
        self._failures: dict[tuple[str, str], tuple[float, str]] = {}  # nodearray, VM size -> when, why
        self._silence: dict[str, tuple[float, str]] = {}  # nodearray -> when nothing could be asked for, why
        self._nodearrays = {part.nodearray or "" for part in site.cluster.partitions.values()} - {""}
        self._looked_at: datetime | None = None
        self._ours: deque[str] = deque(maxlen=OURS)  # request ids

    def looks(self) -> None:
        """Called before CycleCloud is asked which nodes it has: what others ask for later is not in there."""
        self._looked_at = self._ledger.now()

    def knows(self, node: Node) -> bool:
        """True for a node of one of the cluster's own nodearrays."""
        return node.nodearray in self._nodearrays

    async def step(self, load: Load, nodes: Iterable[Node], dead: Collection[str]) -> Asked:
        """Asks for what is missing, a partition's nodes in one request. ``dead``: nodes that were ended."""
        existing = {node.name: self._made(node, dead) for node in nodes}
        self._forget(load.now)
        wishes = await asyncio.to_thread(self._ledger.wished_nodes, self.cluster.name, lease_s(self.cluster))
        demand = await asyncio.to_thread(demand_of, load, self.cluster, existing, None, wishes)
        if not demand.asks:
            return Asked(demand, wishes=wishes)
        supply = await self._supply({ask.partition for ask in demand.asks}, load.now)
        demand = await asyncio.to_thread(demand_of, load, self.cluster, existing, supply, wishes)
        added: set[str] = set()
        for ask in demand.asks:
            added |= await self._ask_for(ask, load.now)
        return Asked(demand, frozenset(added), wishes)

    async def failed(self, node: Node, why: str, now: float) -> None:
        """A node did not come: its VM size is left alone for a while, and its request says why."""
        self._failures[node.nodearray, node.machine_type] = now, why
        await asyncio.to_thread(self._ledger.explain_nodes, node.request_id, why)

    def trouble(self, partition: str) -> str:
        """What failed lately in this partition's nodearray; '' for nothing."""
        nodearray = self.cluster.partitions[partition].nodearray or ""
        silence = [self._silence[nodearray][1]] if nodearray in self._silence else []
        failed = [why for (name, _), (_, why) in self._failures.items() if name == nodearray]
        return "; ".join(dict.fromkeys(silence + failed))

    def _made(self, node: Node, dead: Collection[str]) -> Made:
        leaves = not node.wanted or node.name in dead
        part = partition_of(self.cluster, node.nodearray, node.machine_type)
        return Made(node.machine_type, node.placement_group_id, part.name if part else "", leaves=leaves)

    def _forget(self, now: float) -> None:
        self._failures = {key: each for key, each in self._failures.items() if now - each[0] < CAPACITY_S}
        self._silence = {
            name: each for name, each in self._silence.items() if now - each[0] < self._ask_again_s
        }

    async def _supply(self, wanted: Collection[str], now: float) -> dict[str, Supply]:
        """What each wanted partition can get; of the others, nothing is asked for."""
        try:
            status = await self._status.now()
        except HybridHpcError as error:
            log.warning("%s: CycleCloud: %s", self.cluster.name, error)
            return {name: Supply((), f"{SILENT}: {silence(error)}") for name in wanted}
        return {name: self._supply_of(name, status, now) for name in self.cluster.partitions}

    def _supply_of(self, name: str, status: ClusterStatus, now: float) -> Supply:
        partition = self.cluster.partitions[name]
        if partition.nodearray in self._silence:
            return Supply((), self._silence[partition.nodearray][1])
        failures = {
            vm_size: Failure(now - at, why)
            for (nodearray, vm_size), (at, why) in self._failures.items()
            if nodearray == partition.nodearray
        }
        return supply_of(partition, status, failures, again_s=self._ask_again_s)

    async def _ask_for(self, ask: NodeAsk, now: float) -> set[str]:
        """Written down first, then asked: the request id makes asking twice asking once."""
        request_id = await asyncio.to_thread(self._request_id, ask)
        if not await asyncio.to_thread(self._is_written, ask, request_id):
            log.info("%s: others ask for %s at this moment", self.cluster.name, ", ".join(ask.names))
            return set()
        if refused := await self._changes.make(self._site.scheduler.admit_nodes_command(ask.names)):
            why = f"nodes are not asked for, they could take no job: {refused}"  # and would cost
            return await self._in_vain(ask, request_id, why, "Refused", now)
        self._status.forget()
        try:
            creation = await self._cloud.create_nodes(request_id, [_set(ask, node) for node in ask.nodes])
        except HybridHpcError as error:
            log.warning("%s: CycleCloud: %s", self.cluster.name, error)
            why = f"CycleCloud gave no nodes: {silence(error)}"
            return await self._in_vain(ask, request_id, why, type(error).__name__, now)
        message = "; ".join(dict.fromkeys(creation.messages))
        await asyncio.to_thread(self._ledger.answer_nodes, request_id, added=creation.added, message=message)
        log.info("%s: asked for %s, %d added", self.cluster.name, ", ".join(ask.names), creation.added)
        self._tell(len(ask.names), creation.added, "answered")
        return self._taken(ask, creation, now)

    async def _in_vain(self, ask: NodeAsk, request_id: str, why: str, outcome: str, now: float) -> set[str]:
        """No node was added; asked again after a while, until then the jobs are told why."""
        self._silence[ask.nodearray] = now, why
        await asyncio.to_thread(self._ledger.explain_nodes, request_id, why)
        self._tell(len(ask.names), 0, outcome)
        return set()

    def _tell(self, asked: int, added: int, outcome: str) -> None:
        name = self.cluster.name
        telemetry.count("hybrid_hpc.scale.requests", cluster=name, outcome=outcome)
        telemetry.count("hybrid_hpc.scale.nodes", asked, cluster=name, outcome="asked for")
        telemetry.count("hybrid_hpc.scale.nodes", added, cluster=name, outcome="added")

    def _is_written(self, ask: NodeAsk, request_id: str) -> bool:
        """False when somebody else asks for one of these nodes, or has since we looked."""
        self._ours.append(request_id)
        row = self._ledger.ask_for_nodes(
            request_id=request_id,
            cluster=self.cluster.name,
            nodearray=ask.nodearray,
            names=ask.names,
            for_jobs=ask.for_jobs,
            looked_at=self._looked_at,
            ours=self._ours,
        )
        return row is not None

    def _taken(self, ask: NodeAsk, creation: Creation, now: float) -> set[str]:
        """The names that were added, one set was sent for each. A VM size of which one was not has failed."""
        added: set[str] = set()
        for node, result in zip(ask.nodes, creation.sets, strict=False):
            if result.added:
                added.add(node.name)
            else:
                gave = f"Azure gave {creation.added} of {len(ask.nodes)} nodes"
                why = f"{gave}: {result.message or 'no reason given'}"
                self._failures[ask.nodearray, node.vm_size] = now, why
        return added

    def _request_id(self, ask: NodeAsk) -> str:
        """The same for the same demand and the same lives of the nodes, in every process."""
        earlier = self._ledger.times_asked(self.cluster.name, ask.names)
        nodes = [f"{node.name} {node.vm_size} {node.group}" for node in ask.nodes]
        text = "|".join((self.cluster.name, *nodes, *ask.for_jobs, str(earlier)))
        return str(uuid.uuid5(uuid.NAMESPACE_OID, text))


def _set(ask: NodeAsk, node: NewNode) -> NodeSet:
    return NodeSet(
        nodearray=ask.nodearray,
        vm_size=node.vm_size,
        placement_group_id=node.group or None,
        name_format=node.name,
    )


def silence(error: HybridHpcError) -> str:
    """Why CycleCloud did nothing; through an open breaker in words that stay the same."""
    return f"it {error.shut.lasting}" if error.shut else str(error)
