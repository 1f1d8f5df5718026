"""Scaling out and in: one step a poll, for a cluster with ``scaling: cyclecloud``.

A step looks at CycleCloud's nodes beside the scheduler's, asks for the nodes that the queue needs, takes
in those that have come, and lets idle ones go in three moves that each need their own poll: drain, see
that no job is on them, terminate. So a node is never removed under a job.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import TypeVar

from hybrid_hpc.asking import ASK_AGAIN_S, Asked, Asking, silence
from hybrid_hpc.cloud_view import (
    OUR_REASON,
    CloudView,
    Standing,
    drained_by_others,
    elastic_nodes,
    with_cloud,
)
from hybrid_hpc.cyclecloud import CycleCloudClient, Node
from hybrid_hpc.demand import nodes_to_release
from hybrid_hpc.errors import HybridHpcError
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.narration import span
from hybrid_hpc.node_changes import NodeChanges
from hybrid_hpc.node_lives import NodeLives
from hybrid_hpc.schedulers.base import Load, NodeState, NodeStatus
from hybrid_hpc.site import Site
from hybrid_hpc.standings import booting_of, evictions, failing, failure_of, out_of_sight
from hybrid_hpc.supply import SILENT
from hybrid_hpc.two_views import UNUSED, TwoViews
from hybrid_hpc.waits import partitions_of_array
from hybrid_hpc.wishes import wished_for

log = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

IDLE_REASON = f"{OUR_REASON} idle"
EVICTED_REASON = f"{OUR_REASON} Azure takes it away"
FAILED_REASON = f"{OUR_REASON} Azure says that it failed"
OFF_REASON = f"{OUR_REASON} off until asked for"
_SPARED = (EVICTED_REASON, FAILED_REASON)
NEVER_CAME_S = 600.0  # a node that takes no job for so long has failed, whatever is said
NEVER_CAME_BOOTS = 5


class Scaler:
    """Asks for nodes, takes them in and lets them go; holds only what a restart may forget."""

    def __init__(
        self, site: Site, cloud: CycleCloudClient, ledger: Ledger, *, ask_again_s: float = ASK_AGAIN_S
    ) -> None:
        self.cluster = site.cluster
        self._site = site
        self._cloud = cloud
        self._changes = NodeChanges(site, ledger)
        self._asking = Asking(site, cloud, ledger, self._changes, ask_again_s=ask_again_s)
        self._lives = NodeLives(site.cluster, ledger)
        self._views = TwoViews(site.cluster, ledger)
        self._missing: set[str] = set()  # nodes that were there, and were not in the poll before this
        self._kept_at: dict[str, float] = {}  # nodes that somebody waited for without a job, and until when

    async def step(self, load: Load) -> CloudView:
        """One look and what follows from it. A cloud that does not answer is told, not raised."""
        self._asking.looks()
        listed, why = await self._tried(self._cloud.nodes())
        if listed is None:
            silent = f"{SILENT}: {why}"
            return CloudView(trouble=dict.fromkeys(self.cluster.partitions, silent))
        view = await self._step(load, [node for node in listed if self._asking.knows(node)])
        await self._changes.tell()
        return view

    async def _step(self, seen: Load, listed: Sequence[Node]) -> CloudView:
        there = {node.name: node for node in listed if not node.gone}
        nodes = [node for node in there.values() if node.wanted]
        load = with_cloud(seen, self.cluster, [node.name for node in nodes])
        await self._lives.begin()
        await self._mourn(load, nodes)
        await self._lives.look(load, [node for node in listed if not node.gone])
        differs = await self._views.compare(seen, listed)
        dead = await self._bury(load, nodes)
        nodes = [node for node in nodes if node.name not in dead]
        await self._take_in(load, nodes)
        await self._spare(load, nodes)
        asked = await self._asking.step(load, there.values(), dead)
        await self._let_go(load, nodes, wished_for(asked.wishes, load, self.cluster))
        known = {node.name: node for node in nodes}
        jobs = self._standings(load, asked, known, differs)
        jobs |= out_of_sight(load, differs) | failing(load, known) | evictions(load, known)
        trouble = self._wishes_trouble(asked) | _by_partition(load, jobs)
        return CloudView(frozenset(there.keys() | asked.names), trouble, jobs, differs)

    def _wishes_trouble(self, asked: Asked) -> dict[str, str]:
        """What keeps nodes away that somebody waits for without a job."""
        found = {name: why or self._asking.trouble(name) for name, why in asked.demand.short.items()}
        return {name: why for name, why in found.items() if why}

    async def _tried(self, call: Awaitable[ResultT]) -> tuple[ResultT | None, str]:
        """What CycleCloud answers, else None and why."""
        try:
            return await call, ""
        except HybridHpcError as error:
            log.warning("%s: CycleCloud: %s", self.cluster.name, error)
            return None, silence(error)

    async def _mourn(self, load: Load, nodes: Sequence[Node]) -> None:
        """Tells the scheduler of nodes that vanished: were there, and are missing in two polls in a row.

        One short answer of CycleCloud's must not end the jobs of every node. Of one that others drained the
        scheduler finds out by itself: our reason in the place of theirs would give it back.
        """
        known = [node for node in elastic_nodes(load, self.cluster) if not drained_by_others(node)]
        up = {node.name for node in known if _up(node)}
        missing = (up & (self._lives.names | self._missing)) - {node.name for node in nodes}
        vanished = sorted(missing & self._missing)
        self._missing = missing - set(vanished)
        if vanished:
            log.warning("%s: %s vanished from Azure", self.cluster.name, ", ".join(vanished))
            await self._retire(vanished)

    async def _bury(self, load: Load, nodes: list[Node]) -> set[str]:
        """Ends nodes that failed or never came, but for those that a job may have; keeps Azure's words."""
        states = {node.name: node for node in load.nodes}
        taken = {name for job in load.jobs for name in job.node_names}
        dead: set[str] = set()
        for node in nodes:
            state = states.get(node.name)
            if not node.keep_alive and (why := self._why_dead(node, state, taken=node.name in taken)):
                if not (state and state.reason.startswith(FAILED_REASON)):  # else it was told before
                    await self._asking.failed(node, why, load.now)
                dead.add(node.name)
        if dead:
            log.warning("%s: %s failed and will be ended", self.cluster.name, ", ".join(sorted(dead)))
            await self._tried(self._cloud.terminate_nodes(names=dead))
        if ours := [name for name in sorted(dead) if name in states and _drained_as_failed(states[name])]:
            await self._retire(ours)
        return dead

    def _why_dead(self, node: Node, state: NodeState | None, *, taken: bool) -> str:
        """Why a node is to be ended now; '' for one that has a job, or may get one at any moment."""
        up = state is not None and _up(state)
        if state and (state.cores_busy or state.status is NodeStatus.UP or (up and taken)):
            return ""
        return failure_of(node) or ("" if up else self._never_came(node))

    def _never_came(self, node: Node) -> str:
        """Why a node that the scheduler does not use is given up; '' while it may still come."""
        boot_s = max(part.boot_s for part in partitions_of_array(self.cluster, node.nodearray))
        waited_s = (
            self._views.lasts_s(UNUSED, node.name) if node.ready else self._lives.asked_ago_s(node.name)
        )
        if waited_s < max(NEVER_CAME_S, NEVER_CAME_BOOTS * boot_s):
            return ""
        return f"node {node.name} did not come within {span(waited_s)} and was ended"

    async def _take_in(self, load: Load, nodes: list[Node]) -> None:
        """Takes back into service what we put out of it and runs: asked for again in between, or spared."""
        ready = {node.name for node in nodes if node.ready}
        kept_out = [
            node.name
            for node in elastic_nodes(load, self.cluster)
            if node.name in ready and (_kept_off(node) or node.reason.startswith(_SPARED))
        ]
        if kept_out:
            await self._changes.make(self._site.scheduler.admit_nodes_command(kept_out))

    async def _spare(self, load: Load, nodes: list[Node]) -> None:
        """Lets no new job begin on a node of which Azure has given notice, or that failed while it is up."""
        there = {node.name for node in load.nodes if node.status is NodeStatus.UP}
        up = [node for node in nodes if node.name in there]
        if noticed := [node.name for node in up if node.evicting]:
            log.warning("%s: Azure is about to take %s away", self.cluster.name, ", ".join(noticed))
            await self._changes.make(self._site.scheduler.drain_nodes_command(noticed, EVICTED_REASON))
        if failed := [node for node in up if failure_of(node) and not node.keep_alive]:
            names = [node.name for node in failed]
            log.warning("%s: %s failed and will be ended without a job", self.cluster.name, ", ".join(names))
            drain = self._site.scheduler.drain_nodes_command(names, FAILED_REASON)
            if not await self._changes.make(drain):  # else it would be told anew at every poll
                for node in failed:
                    await self._asking.failed(node, failure_of(node), load.now)

    async def _let_go(self, load: Load, nodes: list[Node], kept: Collection[str]) -> None:
        """Terminates what is drained by us and empty, and drains what has been idle for long enough.

        ``kept``: nodes that somebody waits for without a job. Their idle time begins when nobody does any
        more: whoever did has yet to submit.
        """
        ours = {node.name for node in nodes if not node.keep_alive}
        self._kept_at |= dict.fromkeys(kept, load.now)
        drained = [node.name for node in elastic_nodes(load, self.cluster) if _drained_by_us(node)]
        if going := [name for name in drained if name in ours]:
            await self._tried(self._cloud.terminate_nodes(names=going))
        if drained:
            await self._retire(drained)
        up_since = self._lives.came_up(load.now)
        came_up = {name: max(at, self._kept_at.get(name, at)) for name, at in up_since.items()}
        idle = await asyncio.to_thread(nodes_to_release, load, self.cluster, came_up)
        if idle := [name for name in idle if name in ours and name not in kept]:
            log.info("%s: %s idle, let go", self.cluster.name, ", ".join(idle))
            await self._changes.make(self._site.scheduler.drain_nodes_command(idle, IDLE_REASON))

    async def _retire(self, names: list[str]) -> None:
        await self._changes.make(self._site.scheduler.retire_nodes_command(names, OFF_REASON))

    def _standings(
        self, load: Load, asked: Asked, nodes: Mapping[str, Node], differs: Mapping[str, str]
    ) -> dict[str, Standing]:
        """Where each job stands that waits for nodes; none is on its way before CycleCloud has it."""
        partitions = {job.native_id: job.partition.split(",")[0] for job in load.jobs}
        standings: dict[str, Standing] = {}
        for job in dict.fromkeys((*asked.demand.coming, *asked.demand.held)):
            name = partitions[job]
            coming = (nodes.keys() | asked.names) & set(asked.demand.coming.get(job, ()))
            trouble = asked.demand.held.get(job, "")
            if coming:
                partition, sizes = self.cluster.partitions[name], asked.vm_sizes
                booting = booting_of(coming, nodes, self._lives, partition, differs, sizes)
                standings[job] = Standing(booting, trouble)
            elif job in asked.demand.coming or trouble:
                standings[job] = Standing(trouble=trouble or self._asking.trouble(name))
        return standings


def _by_partition(load: Load, jobs: Mapping[str, Standing]) -> dict[str, str]:
    """What keeps nodes away, for those who look at the cluster and at no job."""
    return {
        name: jobs[job.native_id].trouble
        for job in load.jobs
        if job.native_id in jobs and jobs[job.native_id].trouble
        for name in job.partition.split(",")
    }


def _up(node: NodeState) -> bool:
    return node.status in (NodeStatus.UP, NodeStatus.DRAINING)


def _kept_off(node: NodeState) -> bool:
    return node.status is NodeStatus.BOOTING and node.reason.startswith(OUR_REASON)


def _drained_by_us(node: NodeState) -> bool:
    idle = node.status is NodeStatus.DRAINING and not node.cores_busy
    return idle and node.reason.startswith(IDLE_REASON)


def _drained_as_failed(node: NodeState) -> bool:
    return node.status is NodeStatus.DRAINING and node.reason.startswith(FAILED_REASON)
