"""A cluster with the ways to it: what everything that talks to a cluster is given."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from hybrid_hpc.cloud_view import with_cloud
from hybrid_hpc.clusters import Cluster, Partition
from hybrid_hpc.cyclecloud import ClusterStatus, CycleCloudClient
from hybrid_hpc.errors import HybridHpcError, Unavailable
from hybrid_hpc.headnode import HeadNode
from hybrid_hpc.identity import stranger
from hybrid_hpc.placement import ClusterView, partitions_that_fit
from hybrid_hpc.request import JobRequest
from hybrid_hpc.schedulers.base import Load, NodeStatus, Scheduler, Submission
from hybrid_hpc.supply import budget_of, partition_of

log = logging.getLogger(__name__)

LOOK_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Site:
    """``cloud`` is None for a cluster that is not elastic."""

    cluster: Cluster
    scheduler: Scheduler
    head_node: HeadNode
    cloud: CycleCloudClient | None = None

    async def close(self) -> None:
        """Ends every connection."""
        await self.head_node.close()
        if self.cloud:
            await self.cloud.aclose()


async def survey(
    clusters: Sequence[Cluster],
    request: JobRequest,
    open_site: Callable[[Cluster], Awaitable[Site]],
    person: str = "",
) -> list[ClusterView]:
    """Looks at every cluster side by side; one that does not answer is left out with the reason.

    So is one that has no account for the ``person`` who asks, without a look at it.
    """
    return list(await asyncio.gather(*(_look(cluster, request, open_site, person) for cluster in clusters)))


async def _look(
    cluster: Cluster, request: JobRequest, open_site: Callable[[Cluster], Awaitable[Site]], person: str
) -> ClusterView:
    if why := stranger(cluster, person):
        return ClusterView(cluster, closed=why.removeprefix(f"{cluster.name} "))
    try:
        async with asyncio.timeout(LOOK_TIMEOUT_S):
            site = await open_site(cluster)
            try:
                return await view(site, request)
            finally:
                await site.close()
    except TimeoutError:
        return ClusterView(cluster, unavailable=f"did not answer within {LOOK_TIMEOUT_S:.0f} s")
    except HybridHpcError as error:
        return ClusterView(cluster, unavailable=str(error).removeprefix(f"{cluster.name}: "))


async def view(site: Site, request: JobRequest) -> ClusterView:
    """One cluster as the placement sees it now. Raises `HybridHpcError` when it does not answer."""
    load = site.scheduler.read_load(await site.head_node.run(site.scheduler.load_command()))
    creatable: dict[str, int] = {}
    if site.cloud and site.cluster.elastic:
        status = await _cloud_status(site.cloud)
        load = with_cloud(load, site.cluster, (node.name for node in status.nodes if node.wanted))
        creatable = _creatable(site.cluster, status)
    estimates = await _estimates(site, request, load)
    return ClusterView(site.cluster, load=load, creatable=creatable, estimates=estimates)


async def _cloud_status(cloud: CycleCloudClient) -> ClusterStatus:
    try:
        return await cloud.status()
    except Unavailable as error:  # a person reads this beside the head node's own troubles
        raise Unavailable(f"CycleCloud does not answer: {error}") from error


def _creatable(cluster: Cluster, status: ClusterStatus) -> dict[str, int]:
    """How many more nodes could be made now, by partition: quotas and the cluster's own limits are in it."""
    there = [node for node in status.nodes if not node.gone]
    counted = ((partition_of(cluster, node.nodearray, node.machine_type), node) for node in there)
    budget = budget_of(cluster, ((part.name, node.machine_type) for part, node in counted if part))
    return {
        name: min(_available(part, status), budget.room(min(part.sizes.values())))
        for name, part in cluster.partitions.items()
        if part.nodearray
    }


def _available(partition: Partition, status: ClusterStatus) -> int:
    """How many CycleCloud would make, of all VM sizes together."""
    buckets = (status.bucket(partition.nodearray or "", vm_size or None) for vm_size in partition.sizes)
    return sum(bucket.available_count for bucket in buckets if bucket and bucket.valid)


async def _estimates(site: Site, request: JobRequest, load: Load) -> dict[str, float]:
    """The scheduler's own start estimate, asked only where it helps: a full partition of fixed nodes."""
    estimates: dict[str, float] = {}
    for partition in partitions_that_fit(request, site.cluster):
        free = sum(
            node.cores_free
            for node in load.nodes
            if partition.name in node.partitions and node.status is NodeStatus.UP
        )
        if partition.nodearray or free >= request.cores:
            continue
        submission = Submission("hh-estimate", request, partition.name, run_dir="/tmp")  # noqa: S108
        starts_at = await _estimate(site, submission)
        if starts_at is not None:
            estimates[partition.name] = starts_at
    return estimates


async def _estimate(site: Site, submission: Submission) -> float | None:
    """None when the scheduler does not say: the placement's own forecast stands then."""
    try:
        answer = await site.head_node.run(site.scheduler.start_estimate_command(submission))
        return site.scheduler.read_start_estimate(answer)
    except HybridHpcError as error:
        log.warning("%s: no start estimate for %s: %s", site.cluster.name, submission.partition, error)
        return None
