"""A job's whole way through the real clusters, without Airflow: submitted, watched, collected."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from hybrid_hpc.breaker import Breaker
from hybrid_hpc.breaker_rules import CYCLECLOUD
from hybrid_hpc.clusters import Cluster, Clusters, Policy, load_clusters
from hybrid_hpc.collecting import Collected, collect
from hybrid_hpc.cyclecloud import CycleCloudClient
from hybrid_hpc.headnode import HeadNode
from hybrid_hpc.jobs import JobKey, JobReport
from hybrid_hpc.ledger import Job, JobRow, Ledger
from hybrid_hpc.onlooking import Onlooker
from hybrid_hpc.request import read_request
from hybrid_hpc.resubmission import go_again
from hybrid_hpc.scaling import Scaler
from hybrid_hpc.schedulers import scheduler
from hybrid_hpc.site import Site
from hybrid_hpc.submission import submit
from hybrid_hpc.watch import ClusterWatch, Poll
from lab.lab import Lab

PATIENCE_S = 90.0
Seen = Callable[[Poll, JobReport | None], bool]


@dataclass(frozen=True)
class Journey:
    """One cluster of a lab, with a ledger of its own and folder for results."""

    site: Site
    ledger: Ledger
    watch: ClusterWatch
    results: Path

    async def submit(self, partition: str, script: str, **fields: object) -> JobRow:
        request = read_request({"name": "journey", "script": script, "walltime": "10", **fields})
        key = JobKey("journey", uuid.uuid4().hex)
        cluster, evictable = self.site.cluster, self.site.cluster.spot(partition) is not None
        job = Job(key, request, cluster.name, partition, evictable=evictable)
        return await submit(
            job, scheduler=self.site.scheduler, head_node=self.site.head_node, ledger=self.ledger
        )

    async def until(self, row: JobRow, seen: Seen, what: str) -> list[tuple[Poll, JobReport | None]]:
        """Polls until ``seen`` says so; gives all that was seen. Fails at the deadline with what was told."""
        story: list[tuple[Poll, JobReport | None]] = []
        try:
            async with asyncio.timeout(PATIENCE_S):
                async for poll in self.watch.polls():
                    story.append((poll, poll.reports.get(row.token)))
                    if seen(*story[-1]):
                        return story
        except TimeoutError:
            raise AssertionError(f"{what} was not seen; told was: {sentences(story)}") from None
        return story

    async def run(self, partition: str, script: str, **fields: object) -> Collected:
        """From submission to the settled end."""
        row = await self.submit(partition, script, **fields)
        await self.until(row, ended, "the end of the job")
        return await self.collect(row)

    def site_file(self, **policy: int) -> Clusters:
        """A clusters.yaml of this cluster alone."""
        return Clusters(policy=Policy(**policy), clusters={self.site.cluster.name: self.site.cluster})

    async def go_again(self, row: JobRow, clusters: Clusters) -> JobRow | None:
        """The attempt that takes the place of this one; None when it may not go again."""
        return await go_again(row, site=self.site, ledger=self.ledger, clusters=clusters)

    def row(self, row: JobRow) -> JobRow:
        """As the ledger has it now."""
        found = self.ledger.job(row.token)
        assert found
        return found

    async def collect(self, row: JobRow) -> Collected:
        return await collect(row, site=self.site, ledger=self.ledger, results=self.results / row.token)


def ended(_poll: Poll, report: JobReport | None) -> bool:
    return report is not None and report.state.final


def started(_poll: Poll, report: JobReport | None) -> bool:
    return report is not None and report.state.started


def says(text: str) -> Seen:
    def seen(_poll: Poll, report: JobReport | None) -> bool:
        return report is not None and text in report.sentence

    return seen


def sentences(story: list[tuple[Poll, JobReport | None]]) -> list[str]:
    """What a log would show: each new stage once."""
    lines: dict[str, str] = {}
    for poll, report in story:
        if report:
            lines.setdefault(report.stage, report.sentence)
        elif poll.trouble:
            lines.setdefault(poll.trouble, poll.trouble)
    return list(lines.values())


@asynccontextmanager
async def journey(
    lab: Lab,
    name: str,
    folder: Path,
    *,
    timeout_s: float = 30,
    change: Callable[[Cluster], Cluster] = lambda cluster: cluster,
) -> AsyncIterator[Journey]:
    """A way to one cluster of a lab that is up; CycleCloud's answers are waited for ``timeout_s``.

    ``change``: what clusters.yaml would say otherwise.
    """
    cluster = change(load_clusters(lab.folder / "clusters.yaml").cluster(name))
    ledger = Ledger(f"sqlite:///{folder}/ledger.db")
    ledger.migrate()
    cloud = _cloud(lab, cluster, ledger, timeout_s)
    site = Site(cluster, scheduler(cluster.scheduler), _head_node(lab, cluster), cloud)
    scaler: Scaler | Onlooker | None = None
    if site.cloud and cluster.elastic and cluster.elastic.scaling == "cyclecloud":
        scaler = Scaler(site, site.cloud, ledger, ask_again_s=3)
    elif site.cloud:
        scaler = Onlooker(site, site.cloud, ledger)
    watch = ClusterWatch(site, ledger, scaler)
    try:
        yield Journey(site, ledger, watch, folder / "results")
    finally:
        await site.close()
        ledger.close()


def _head_node(lab: Lab, cluster: Cluster) -> HeadNode:
    connection = lab.connections()[cluster.ssh_connection]
    extra = connection["extra"]

    async def connect() -> asyncssh.SSHClientConnection:
        return await asyncssh.connect(
            connection["host"],
            connection["port"],
            username=connection["login"],
            client_keys=[extra["key_file"]],
            known_hosts=f"{connection['host']} {extra['host_key']}".encode(),
        )

    return HeadNode(cluster.name, connect, storage_root=cluster.storage_root)


def _cloud(lab: Lab, cluster: Cluster, ledger: Ledger, timeout_s: float) -> CycleCloudClient | None:
    if not cluster.elastic:
        return None
    connection = lab.connections()[cluster.elastic.connection]
    url = f"{connection['host']}:{connection['port']}" if connection.get("port") else connection["host"]
    login, ca_file = (connection["login"], connection["password"]), connection["extra"]["ca_file"]
    breaker = Breaker(cluster.name, CYCLECLOUD, ledger)
    return CycleCloudClient(
        url, *login, cluster.elastic.cluster, ca_file=ca_file, timeout_s=timeout_s, breaker=breaker
    )
