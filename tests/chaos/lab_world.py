"""A way to a real cluster that can be broken, and what the cluster itself says happened there."""

from __future__ import annotations

import asyncio
import ssl
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import httpx

from hybrid_hpc.breaker import Breaker
from hybrid_hpc.clusters import Cluster, load_clusters
from hybrid_hpc.collecting import Collected, collect
from hybrid_hpc.commands import Answer, Command
from hybrid_hpc.cyclecloud import CycleCloudClient
from hybrid_hpc.errors import HybridHpcError
from hybrid_hpc.headnode import HeadNode
from hybrid_hpc.jobs import JobKey, token
from hybrid_hpc.ledger import Job, JobRow, Ledger
from hybrid_hpc.ledger.database import utc_now
from hybrid_hpc.ownership import Remote
from hybrid_hpc.request import read_request
from hybrid_hpc.schedulers import scheduler
from hybrid_hpc.site import Site
from hybrid_hpc.submission import Patience, submit
from hybrid_hpc.watch import ClusterWatch
from lab import slurm
from lab.errors import LabError
from lab.lab import Lab
from lab.layout import ClusterLayout
from tests.chaos.proxy import Proxy

ONPREM = "onprem"
COUNTED = '#!/bin/bash\necho "$SLURM_JOB_ID" >> ran\n'  # counts its own executions, in its run directory
SLEEPING = COUNTED + "sleep 600\n"
QUICK = Patience(doubt_s=2.0, look_every_s=0.3)  # of a scheduler whose client does not repeat by itself


@dataclass(frozen=True)
class Way:
    """One cluster with a ledger; ``proxy`` stands before its sshd, where there is one."""

    lab: Lab
    site: Site
    ledger: Ledger
    proxy: Proxy | None = None

    @property
    def layout(self) -> ClusterLayout:
        return layout_of(self.lab, self.site.cluster.name)

    def watch(self) -> ClusterWatch:
        return ClusterWatch(self.site, self.ledger)

    async def submit(
        self,
        job: Job,
        head_node: Remote | None = None,
        *,
        patience: Patience = QUICK,
        crash: Callable[[str], None] | None = None,
    ) -> JobRow:
        """One try, as a worker makes it."""
        return await submit(
            job,
            scheduler=self.site.scheduler,
            head_node=head_node or self.site.head_node,
            ledger=self.ledger,
            patience=patience,
            crash=crash,
        )

    async def start(self, script: str = SLEEPING, **fields: Any) -> JobRow:
        """A job that has begun to run."""
        row = await self.submit(new_job(script, **fields))
        await self.sees(row, lambda report_state: report_state == "running", "its start")
        return self.row(row)

    async def sees(
        self, row: JobRow, wanted: Callable[[str], bool], what: str, *, limit_s: float = 60
    ) -> None:
        """Polls until the ledger's row is in a wanted state."""
        watch = self.watch()
        polled: list[str] = []
        try:
            async with asyncio.timeout(limit_s):
                while not wanted(self.row(row).state):
                    poll = await watch.poll()
                    polled.append(poll.trouble or self.row(row).state)
                    await asyncio.sleep(0.3)
        except TimeoutError:
            raise AssertionError(f"{what} was not seen in {limit_s:g} s: {polled[-5:]}") from None

    async def collect(self, row: JobRow, results: Path) -> Collected:
        return await collect(row, site=self.site, ledger=self.ledger, results=results)

    def row(self, row: JobRow) -> JobRow:
        """As the ledger has it now."""
        found = self.ledger.job(row.token)
        assert found
        return found

    def executions(self, token: str) -> list[str]:
        """The native ids under which the job's own script ran, one for each time."""
        file = run_dir(self.layout, token) / "ran"
        return file.read_text().split() if file.exists() else []


class Telling:
    """A head node that calls ``before`` as each command or file is about to be sent (a `Remote`)."""

    def __init__(self, head_node: HeadNode, before: Callable[[str], object]) -> None:
        self._head_node = head_node
        self._before = before

    def acting_as(self, identity: str) -> Telling:
        assert not identity
        return self

    async def run(self, command: Command, *, timeout_s: float | None = None) -> Answer:
        label = command.label or command.argv[0]
        self._before(label)
        try:
            return await self._head_node.run(command, timeout_s=timeout_s)
        finally:
            self._before(f"{label} done")

    async def storage(self) -> str:
        return await self._head_node.storage()

    async def make_dir(self, path: str) -> None:
        await self._head_node.make_dir(path)

    async def write(self, path: str, text: str, *, mode: int = 0o600) -> None:
        self._before(f"write {Path(path).name}")
        await self._head_node.write(path, text, mode=mode)


def new_job(
    script: str = COUNTED, *, partition: str = "batch", cluster: str = ONPREM, **fields: object
) -> Job:
    """A job that nobody has heard of yet."""
    request = read_request({"name": "chaos", "script": script, "walltime": "10", **fields})
    return Job(JobKey("chaos", uuid.uuid4().hex), request, cluster, partition, "ada")


def place(layout: ClusterLayout, ledger: Ledger, count: int, *options: str) -> list[JobRow]:
    """Jobs that sleep, as many as a test wants at once: put there as sbatch and a submission leave them."""
    rows: list[JobRow] = []
    for _ in range(count):
        row = ledger.intend(new_job(SLEEPING))
        wrap = ("--parsable", "-o", "/dev/null", "--no-requeue", "--wrap", "sleep 600", *options)
        native_id = slurm.ask(layout, "sbatch", f"--job-name={row.token}", *wrap).strip()
        ledger.record_native_id(row.token, native_id, utc_now(), "")
        ledger.mark_released(row.token)
        rows.append(row)
    return rows


def cluster_of(lab: Lab, name: str) -> Cluster:
    return load_clusters(lab.folder / "clusters.yaml").cluster(name)


def layout_of(lab: Lab, name: str) -> ClusterLayout:
    return next(layout for layout in lab.layout.clusters if layout.name == name)


def head_node(
    lab: Lab, name: str, ledger: Ledger | None = None, *, port: int | None = None, timeout_s: float = 30
) -> HeadNode:
    """The head node of a cluster, by way of ``port`` when there is one; its host key is checked."""
    cluster = cluster_of(lab, name)
    connection = lab.connections()[cluster.ssh_connection]
    extra = connection["extra"]

    async def connect() -> asyncssh.SSHClientConnection:
        return await asyncssh.connect(
            connection["host"],
            port or connection["port"],
            username=connection["login"],
            client_keys=[extra["key_file"]],
            known_hosts=f"{connection['host']} {extra['host_key']}".encode(),
            config=None,
            agent_path=None,
        )

    breaker = Breaker(name, store=ledger)
    return HeadNode(name, connect, storage_root=cluster.storage_root, timeout_s=timeout_s, breaker=breaker)


def site(
    lab: Lab,
    name: str,
    ledger: Ledger | None = None,
    *,
    port: int | None = None,
    timeout_s: float = 30,
    cloud: CycleCloudClient | None = None,
) -> Site:
    """As a worker opens it, with the breaker in the ledger."""
    cluster = cluster_of(lab, name)
    node = head_node(lab, name, ledger, port=port, timeout_s=timeout_s)
    return Site(cluster, scheduler(cluster.scheduler), node, cloud)


def cloud(lab: Lab, ledger: Ledger, proxy: Proxy, *, timeout_s: float) -> CycleCloudClient:
    """CycleCloud by way of a proxy, which has the server's own certificate."""
    connection = lab.connections()["cyclecloud"]
    return CycleCloudClient(
        f"https://127.0.0.1:{proxy.port}",
        connection["login"],
        connection["password"],
        "azure",
        ca_file=connection["extra"]["ca_file"],
        timeout_s=timeout_s,
        breaker=Breaker("azure", "CycleCloud", ledger),
    )


@contextmanager
def new_ledger(folder: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{folder}/ledger.db")
    ledger.migrate()
    yield ledger
    ledger.close()


def run_dir(layout: ClusterLayout, token: str) -> Path:
    """A job's run directory, as this machine sees it."""
    return layout.files / "scratch" / "hybrid-hpc" / token


@dataclass(frozen=True)
class Known:
    """What the cluster itself knows of the jobs of one name: everything that was ever taken."""

    queued: dict[str, str]  # native id -> state, reason
    recorded: dict[str, list[str]]  # native id -> the states of its lives

    @property
    def ids(self) -> set[str]:
        return {*self.queued, *self.recorded}

    @property
    def held(self) -> list[str]:
        return [native_id for native_id, said in self.queued.items() if "JobHeld" in said]


def known(layout: ClusterLayout, tokens: Iterable[str]) -> dict[str, Known]:
    """By name, from the cluster's own queue and accounting, asked without SSH."""
    found = {token: Known({}, {}) for token in tokens}
    for line in slurm.ask(layout, "squeue", "-h", "-t", "all", "-o", "%j|%A|%T %r").splitlines():
        name, native_id, said = line.split("|")
        if name in found:
            found[name].queued[native_id] = said
    records = ("sacct", "-n", "-X", "-D", "-P", "-S", "now-2hours", "-o", "jobname,jobid,state")
    for line in slurm.ask(layout, *records).splitlines():
        name, native_id, state = line.split("|")
        if name in found:
            found[name].recorded.setdefault(native_id, []).append(state.split(" ")[0])
    return found


def cancel_all(layout: ClusterLayout, tokens: Iterable[str]) -> None:
    """So that the next test finds an empty cluster."""
    ids = [native_id for each in known(layout, tokens).values() for native_id in each.queued]
    for first in range(0, len(ids), 100):
        try:
            slurm.ask(layout, "scancel", "-Q", *ids[first : first + 100])
        except LabError as error:
            assert "Invalid job id" in str(error) or "already" in str(error), error


async def end_all_nodes(layout: ClusterLayout, client: CycleCloudClient) -> None:
    """The next test counts on a cluster without nodes, and Slurm on none of those that were there."""
    if layout.powers_nodes:
        await eventually(lambda: not _power_down(layout), "the end of Slurm's nodes", step_s=1.0)
        return
    names = [node.name for node in await client.nodes() if node.wanted]
    if names:
        await client.terminate_nodes(names=names)
    async with asyncio.timeout(30):
        while [node for node in await client.nodes() if not node.gone]:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    if names or not _as_new(layout):
        await asyncio.to_thread(_restart_slurmctld, layout)


def _as_new(layout: ClusterLayout) -> bool:
    """False while Slurm counts on a node: one that Azure took back it misses only a while later."""
    states = slurm.ask(layout, "sinfo", "-h", "-N", "-o", "%T").split()
    return set(states) <= {"down"}


def _power_down(layout: ClusterLayout) -> list[str]:
    """Has Slurm end its nodes, those it waits for in vain too, on which it would put the next job.

    Gives those that are not off yet.
    """
    lines = [line.split() for line in slurm.ask(layout, "sinfo", "-h", "-N", "-o", "%N %T").splitlines()]
    there = sorted({name for name, state in lines if not state.endswith("~")})
    if on := sorted({name for name, state in lines if not state.endswith(("~", "%"))}):
        slurm.ask(layout, "scontrol", "update", f"nodename={','.join(on)}", "state=power_down_force")
    return there


def _restart_slurmctld(layout: ClusterLayout) -> None:
    """For up to ten seconds it may read an answer that a slurmd gave before its end, and count on it."""
    slurm.forget_nodes(layout)
    slurm.start_daemon(layout, "slurmctld", layout.controller_port)
    slurm.wait_for_daemon(layout, "slurmctld", layout.controller_port)


async def nodes_added(lab: Lab) -> list[str]:
    """Every node that CycleCloud has ever added, in order, from the server's own journal."""
    connection = lab.connections()["cyclecloud"]
    login = (connection["login"], connection["password"])
    trust = ssl.create_default_context(cafile=connection["extra"]["ca_file"])
    async with httpx.AsyncClient(base_url=connection["host"], auth=login, verify=trust) as client:
        events = (await client.get("/lab/log")).json()["events"]
    return [event["node"] for event in events if event["what"] == "NodeAdded"]


async def eventually(
    true: Callable[[], object], what: str, *, limit_s: float = 60, step_s: float = 0.2
) -> None:
    """Waits for what the cluster does by itself."""
    try:
        async with asyncio.timeout(limit_s):
            while not await asyncio.to_thread(true):  # noqa: ASYNC110  a cluster sends no events
                await asyncio.sleep(step_s)
    except TimeoutError:
        raise AssertionError(f"waited {limit_s:g} s in vain for {what}") from None


async def until_submitted(way: Way, job: Job, *, tries: int = 10, patience: Patience = QUICK) -> JobRow:
    """Tries again as Airflow does, after every failure that waiting may help."""
    for left in reversed(range(tries)):
        try:
            return await way.submit(job, patience=patience)
        except HybridHpcError as error:
            if not error.waiting_helps or not left:
                raise
        await asyncio.sleep(0.2)
    raise AssertionError


@contextmanager
def head_node_profile(layout: ClusterLayout, text: str) -> Iterator[None]:
    """What the head node's user has in .bashrc and .profile meanwhile."""
    home = layout.files / "home"
    files = [home / ".bashrc", home / ".profile"]
    for file in files:
        file.write_text(text)
    try:
        yield
    finally:
        for file in files:
            file.unlink()


def token_of(job: Job) -> str:
    return token(job.key)
