"""Looking at CycleCloud where the cluster's own power saving asks for nodes: the same truth, no request."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from hybrid_hpc.asking import silence
from hybrid_hpc.cloud_view import CloudView, Standing
from hybrid_hpc.cyclecloud import CycleCloudClient, Node
from hybrid_hpc.errors import HybridHpcError
from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.node_lives import NodeLives
from hybrid_hpc.offers import supply_of
from hybrid_hpc.schedulers.base import Load, NodeStatus
from hybrid_hpc.site import Site
from hybrid_hpc.standings import booting_of, evictions, failing, failure_of, out_of_sight
from hybrid_hpc.status_kept import StatusKept
from hybrid_hpc.stuck_nodes import StuckNodes
from hybrid_hpc.supply import SILENT
from hybrid_hpc.two_views import MISSING, TwoViews

log = logging.getLogger(__name__)

_WAIT = frozenset({JobState.CONFIGURING, JobState.PENDING})
_UP = (NodeStatus.UP, NodeStatus.DRAINING)
NOT_MADE_S = 60.0  # a node that CycleCloud does not have for so long after the scheduler chose it never comes


class Onlooker:
    """Says where the nodes stand that the scheduler has asked for, and what blocks those that do not come."""

    def __init__(self, site: Site, cloud: CycleCloudClient, ledger: Ledger) -> None:
        self.cluster = site.cluster
        self._cloud = cloud
        self._status = StatusKept(cloud)
        self._lives = NodeLives(site.cluster, ledger)
        self._views = TwoViews(site.cluster, ledger)
        self._stuck = StuckNodes(site, ledger)
        self._nodearrays = {part.nodearray for part in site.cluster.partitions.values() if part.nodearray}

    async def step(self, load: Load) -> CloudView:
        """One look. A cloud that does not answer is told, not raised."""
        awaited = _awaited(load)
        try:
            listed = [node for node in await self._cloud.nodes() if node.nodearray in self._nodearrays]
            there = {node.name: node for node in listed if not node.gone}
            missing = {part for names, part in awaited.values() if not names <= there.keys()}
            blocked = await self._blocked(missing)
        except HybridHpcError as error:
            return self._silent(load, error)
        await self._lives.look(load, list(there.values()))
        differs = await self._views.compare(load, listed)
        hopeless = self._hopeless(there, differs)
        await self._stuck.look(load, hopeless)
        jobs = {
            job: Standing(
                booting_of(names, there, self._lives, self.cluster.partitions[partition], differs),
                _trouble(names, there, blocked.get(partition, ""), hopeless),
            )
            for job, (names, partition) in awaited.items()
            if partition in self.cluster.partitions
        }
        jobs |= out_of_sight(load, differs) | failing(load, there) | evictions(load, there)
        return CloudView(frozenset(there), blocked, jobs, differs)

    def _hopeless(self, there: Mapping[str, Node], differs: Mapping[str, str]) -> dict[str, str]:
        """Why nodes will not come, by name: they failed, or nobody has made them since long ago."""
        missing = {
            name: said for name, said in differs.items() if self._views.lasts_s(MISSING, name) >= NOT_MADE_S
        }
        failed = {name: why for name, node in there.items() if (why := failure_of(node))}
        return missing | failed

    async def _blocked(self, partitions: set[str]) -> dict[str, str]:
        """What keeps nodes of these partitions from being made, in Azure's words."""
        found: dict[str, str] = {}
        for name in sorted(partitions & self.cluster.partitions.keys()):
            own = self.cluster.partitions[name].model_copy(update={"vm_sizes": {}})
            supply = supply_of(own, await self._status.now(), {}, again_s=0)
            if supply.blocked:
                found[name] = supply.blocked
        return found

    def _silent(self, load: Load, error: HybridHpcError) -> CloudView:
        log.warning("%s: CycleCloud: %s", self.cluster.name, error)
        why = f"{SILENT}: {silence(error)}"
        jobs = {job.native_id: Standing(trouble=why) for job in load.jobs if job.state in _WAIT}
        return CloudView(trouble=dict.fromkeys(self.cluster.partitions, why), jobs=jobs)


def _trouble(
    names: frozenset[str], there: Mapping[str, Node], blocked: str, hopeless: Mapping[str, str]
) -> str:
    """Why a job's nodes do not come: one has failed, none can be made, one never was; '' if they may."""
    failed = [hopeless[name] for name in sorted(names & there.keys()) if name in hopeless]
    never_made = [hopeless[name] for name in sorted(names - there.keys()) if name in hopeless]
    blocked = "" if names <= there.keys() else blocked
    return next(filter(None, (*failed, blocked, *never_made)), "")


def _awaited(load: Load) -> dict[str, tuple[frozenset[str], str]]:
    """The jobs (native id) whose nodes the scheduler has chosen and that are not all up: which, and where."""
    up = {node.name for node in load.nodes if node.status in _UP}
    awaited: dict[str, tuple[frozenset[str], str]] = {}
    for job in load.jobs:
        names = frozenset(job.node_names) - up
        if job.state is JobState.CONFIGURING and names:
            before, partition = awaited.get(job.native_id, (frozenset(), job.partition.split(",")[0]))
            awaited[job.native_id] = before | names, partition
    return awaited
