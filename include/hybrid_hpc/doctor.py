"""``python -m hybrid_hpc doctor``: checks every cluster from here to there, one finding a check."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from hybrid_hpc.clusters import Cluster, Partition
from hybrid_hpc.commands import Command
from hybrid_hpc.errors import AccessDenied, ConnectionLost, HybridHpcError, Refused, Unreachable
from hybrid_hpc.identity import kept_tables, named_identities
from hybrid_hpc.schedulers.base import Load, NodeState
from hybrid_hpc.site import Site

MAX_SKEW_S = 30.0
CHECK_TIMEOUT_S = 45.0  # more than a head node's own, which tells whether the login or the command hangs


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one cluster: what was found, and what to do when it is not well; each is one line."""

    cluster: str
    check: str
    well: bool
    found: str
    remedy: str = ""


OpenSite = Callable[[Cluster], Awaitable[Site]]
Result = tuple[bool, str]
Check = Callable[[Site], Awaitable[Result]]


async def examine(cluster: Cluster, open_site: OpenSite) -> AsyncIterator[Finding]:
    """Every check of one cluster in order; those behind a head node that cannot be reached are left out.

    Never raises for a cluster that is not well: a finding says so.
    """
    try:
        site = await open_site(cluster)
    except (HybridHpcError, ValueError) as error:
        yield _failed(cluster, "connections", error)
        return
    try:
        async for finding in _examine(site):
            yield finding
    finally:
        await site.close()


async def _examine(site: Site) -> AsyncIterator[Finding]:
    connected = await _find(site, "connection", _connection)
    yield connected
    if connected.well:
        for name, check in _BEHIND_THE_CONNECTION.items():
            yield await _find(site, name, check)
        if site.cluster.runs_as != "service":
            yield await _find(site, "accounts", _accounts)
    for name in kept_tables(site.cluster):
        found = f"runs_as is {site.cluster.runs_as}: {name} is only for jobs that were sent by it before"
        yield Finding(site.cluster.name, "accounts", True, found, f"Take {name} out when they have ended.")
    if site.cloud:
        yield await _find(site, "CycleCloud", _cyclecloud)


async def _find(site: Site, name: str, check: Check) -> Finding:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            well, found = await check(site)
    except TimeoutError:
        return _failed(site.cluster, name, Unreachable(f"no answer within {CHECK_TIMEOUT_S:.0f} s"))
    except (HybridHpcError, ValueError) as error:
        return _failed(site.cluster, name, error)
    return Finding(site.cluster.name, name, well, _line(found), "" if well else _remedy(site.cluster, name))


def _failed(cluster: Cluster, check: str, error: Exception) -> Finding:
    return Finding(cluster.name, check, False, _line(str(error)), _remedy(cluster, check, error))


def _line(text: str) -> str:
    """Other programs' words as one line that cannot steer a terminal."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _remedy(cluster: Cluster, check: str, error: Exception | None = None) -> str:
    """What to do; ``error`` tells apart why a connection failed."""
    no_key_file = error is not None and isinstance(error.__cause__, FileNotFoundError | PermissionError)
    if check == "connection" and (no_key_file or isinstance(error, AccessDenied)):
        check = "login"
    elif check == "connection" and isinstance(error, Unreachable):
        check = "address"
    elif check == "connection" and isinstance(error, ConnectionLost):
        check = "shell"
    conns = f"{cluster.ssh_connection} of type ssh"
    cloud = cluster.elastic.connection if cluster.elastic else ""
    if cloud:
        conns = f"{conns}, {cloud} of type cyclecloud"
    return REMEDIES[check].format(conns=conns, ssh=cluster.ssh_connection, cloud=cloud)


REMEDIES = {
    "connections": "Make or correct the Airflow connections that clusters.yaml names: {conns}.",
    "connection": "Make or correct the Airflow connection {ssh}, of type ssh: host, login, and key_file and"
    " host_key in its extra.",
    "address": "Correct host and port of the Airflow connection {ssh}, or start sshd there; mind firewalls.",
    "shell": "Logged in, but no command ends: `ssh host true` as that user must be quick and print nothing;"
    " look into its .bashrc.",
    "login": "Correct login, key and host_key of the Airflow connection {ssh}; the host key is what `cat"
    " /etc/ssh/ssh_host_ed25519_key.pub` prints on the head node.",
    "scheduler": "Log in as the same user and run the scheduler's own commands: they must be on the PATH of a"
    " shell that is no login shell, and the scheduler's daemon must run.",
    "partitions": "Make clusters.yaml say what the scheduler has.",
    "accounting": "Switch the scheduler's accounting on (Slurm: slurmdbd); without it no usage is known, and"
    " how a job ended only from its own exit record.",
    "clock": "Run an NTP client on the head node and on this machine.",
    "run directory": "Make storage_root in clusters.yaml a folder that the user owns, with mode 700, on a"
    " file system that the nodes see.",
    "accounts": "Correct ssh_connections, or people, in clusters.yaml; on the head node, the sudo rule and"
    " the files of hybrid-hpc-as.",
    "CycleCloud": "Correct the Airflow connection {cloud} (address, login, password, ca_file), or the"
    " cluster's name, nodearrays and VM sizes in clusters.yaml.",
}


async def _connection(site: Site) -> Result:
    shut = await site.head_node.shut()
    again = f"; everybody may use it again: it {shut.lasting}" if shut else ""
    began = time.monotonic()
    answer = await site.head_node.run(Command(("hostname",)))
    took_ms = (time.monotonic() - began) * 1000
    return True, f"{answer.stdout.strip() or 'connected'}, host key verified, {took_ms:.0f} ms{again}"


async def _scheduler(site: Site) -> Result:
    answer = await site.head_node.run(site.scheduler.version_command())
    return True, f"{site.scheduler.name} {site.scheduler.read_version(answer)}"


async def _partitions(site: Site) -> Result:
    load = await _load(site)
    wrong = [line for part in site.cluster.partitions.values() for line in _too_much(part, load)]
    names = ", ".join(site.cluster.partitions)
    return not wrong, "; ".join(wrong) or f"{names}; {len(load.nodes)} nodes, {len(load.jobs)} jobs"


def _too_much(partition: Partition, load: Load) -> Iterator[str]:
    """What clusters.yaml promises of a partition and the scheduler does not have: such jobs wait for ever."""
    nodes = [node for node in load.nodes if partition.name in node.partitions]
    if not nodes:
        there = sorted({name for node in load.nodes for name in node.partitions})
        yield f"the scheduler has no {partition.name}; it has {', '.join(there) or 'no nodes at all'}"
        return
    if partition.nodes > len(nodes):
        yield f"{partition.name} has {len(nodes)} nodes, not {partition.nodes}"
    yield from _too_large(partition, nodes)


def _too_large(partition: Partition, nodes: Sequence[NodeState]) -> Iterator[str]:
    for name, unit in (("cores", " cores"), ("memory_mib", "M of memory"), ("gpus", " GPUs")):
        said, most = getattr(partition, name), max(getattr(node, name) for node in nodes)
        if said > most:
            yield f"a node of {partition.name} has {most}{unit}, not {said}"


async def _accounting(site: Site) -> Result:
    kept = site.scheduler.read_accounting(await site.head_node.run(site.scheduler.accounting_command()))
    return kept, "records can be read" if kept else "the scheduler keeps no records"


async def _clock(site: Site) -> Result:
    skew_s = (await _load(site)).now - time.time()
    return abs(skew_s) <= MAX_SKEW_S, f"{skew_s:+.0f} s from here"


async def _load(site: Site) -> Load:
    return site.scheduler.read_load(await site.head_node.run(site.scheduler.load_command()))


async def _run_directory(site: Site) -> Result:
    root = await site.head_node.storage()
    probe = f"{root}/doctor-{time.time_ns()}"
    try:
        await site.head_node.write(probe, "hello\n")
        read = await site.head_node.read_small(probe, 100)
    finally:
        await site.head_node.run(Command(("rm", "-f", "--", probe)))
    well = read == "hello\n"
    return well, f"{root} can be written" if well else f"{root} does not keep what is written to it"


async def _accounts(site: Site) -> Result:
    """Whether everybody whom clusters.yaml names can act there."""
    identities, failed = named_identities(site.cluster), list[str]()
    for identity in identities:
        try:
            await site.head_node.acting_as(identity).storage()
        except HybridHpcError as error:
            failed.append(str(error))
    everybody = ", ".join(identities) or "nobody is named, people come by the rule alone"
    return not failed, "; ".join(failed) or everybody


async def _cyclecloud(site: Site) -> Result:
    if site.cloud is None or site.cluster.elastic is None:
        raise Refused("the cluster is not elastic")
    status = await site.cloud.status(nodes=False)
    missing = [
        f"{part.nodearray} with {part.vm_size}"
        for part in site.cluster.partitions.values()
        if part.nodearray and not status.bucket(part.nodearray, part.vm_size)
    ]
    if missing:
        return False, f"cluster {site.cluster.elastic.cluster} has no nodearray {', no '.join(missing)}"
    return True, f"cluster {site.cluster.elastic.cluster} is {status.state or 'there'}"


_BEHIND_THE_CONNECTION: dict[str, Check] = {
    "scheduler": _scheduler,
    "partitions": _partitions,
    "accounting": _accounting,
    "clock": _clock,
    "run directory": _run_directory,
}
