"""From Airflow connections to the plain objects of ``hybrid_hpc``; secrets stay in memory.

Connections: ``hybrid_hpc_ledger`` (postgres), one of type ssh per head node and one of type cyclecloud
per CycleCloud server, both named in clusters.yaml, and optionally ``hybrid_hpc_api`` (http): Airflow's own
REST API, used to write the decision into a run's note.
"""

from __future__ import annotations

import asyncio
import logging
from functools import cache
from typing import TYPE_CHECKING

from airflow.providers.ssh.hooks.ssh import SSHHookAsync
from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.execution_time.comms import DeadlockImminentError

from hybrid_hpc.breaker import Breaker
from hybrid_hpc.breaker_rules import CYCLECLOUD
from hybrid_hpc.clusters import Cluster
from hybrid_hpc.cyclecloud import CycleCloudClient
from hybrid_hpc.errors import AccessDenied, HybridHpcError, Refused, Unreachable
from hybrid_hpc.headnode import HeadNode
from hybrid_hpc.impersonation import ways
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.onlooking import Onlooker
from hybrid_hpc.scaling import Scaler
from hybrid_hpc.schedulers import scheduler
from hybrid_hpc.site import Site
from hybrid_hpc.watch import ClusterWatch
from hybrid_hpc_airflow.hook import cyclecloud_client

if TYPE_CHECKING:
    import asyncssh

log = logging.getLogger(__name__)

LEDGER = "hybrid_hpc_ledger"
API = "hybrid_hpc_api"
UNCHECKED = ("no_host_key_check", "ignore_hostkey_verification", "allow_host_key_change")
LOOKUPS = 100
LOOK_AGAIN_S = 0.05

# They tell every channel and request at INFO, which would bury what a scientist looks for in a task's log.
for _chatty in ("asyncssh", "httpx"):
    logging.getLogger(_chatty).setLevel(logging.WARNING)


async def connection(conn_id: str) -> Connection:
    """The connection, from a worker, the triggerer or a command; raises `Refused` without one."""
    try:
        found = await BaseHook.aget_connection(conn_id)
    except AirflowNotFoundException as error:
        raise _missing(conn_id) from error
    if isinstance(found, Connection):
        return found
    return Connection.from_uri(found.get_uri(), conn_id=conn_id)  # from the database itself: no task is near


def _missing(conn_id: str) -> Refused:
    return Refused(f"Airflow has no connection {conn_id}: an administrator must make it")


def open_ledger() -> Ledger:
    """The ledger, from a worker or the API server; raises `Refused` without a connection to it."""
    try:
        return _ledger_at(_ledger_url(BaseHook.get_connection(LEDGER)))
    except AirflowNotFoundException as error:
        raise _missing(LEDGER) from error


async def open_ledger_async() -> Ledger:
    """The ledger, from the triggerer."""
    return _ledger_at(_ledger_url(await connection(LEDGER)))


@cache
def _ledger_at(url: str) -> Ledger:
    """One pool a process: a triggerer holds a thousand waits."""
    return Ledger(url)


def _ledger_url(conn: Connection) -> str:
    from sqlalchemy import URL

    url = URL.create("postgresql+psycopg", conn.login, conn.password, conn.host, conn.port, conn.schema)
    return url.render_as_string(hide_password=False)


async def connect_ssh(conn_id: str) -> asyncssh.SSHClientConnection:
    """A new SSH connection, host key verified.

    Raises `AccessDenied` when the Airflow connection switches the verification off.
    """
    extra = await (await connection(conn_id)).aextra_dejson()
    unchecked = [name for name in UNCHECKED if str(extra.get(name, "")).lower() == "true"]
    if unchecked or str(extra.get("known_hosts", "default")).lower() in ("", "none"):
        why = unchecked[0] if unchecked else "known_hosts none"
        raise AccessDenied(f"connection {conn_id} has {why}: give it the head node's host_key instead")
    for _ in range(LOOKUPS):
        try:
            opened: asyncssh.SSHClientConnection = await _hook(conn_id).get_conn()  # type: ignore[no-untyped-call]
        except DeadlockImminentError:
            # The hook masks secrets with a blocking call, which Airflow refuses while another coroutine
            # talks to the supervisor. Nothing was sent yet: the same again, a little later.
            await asyncio.sleep(LOOK_AGAIN_S)
        else:
            return opened
    raise Unreachable(f"Airflow did not hand out connection {conn_id}: too much at once")


def _hook(conn_id: str) -> SSHHookAsync:
    return SSHHookAsync(ssh_conn_id=conn_id, keepalive_interval=15)


@cache
def _breaker(cluster: str, way: str, ledger: Ledger | None, *, insists: bool) -> Breaker:
    """One a process: what one connection meets keeps the others from meeting it."""
    return Breaker(cluster, way, ledger, insists=insists)


async def _ledger_for_breakers() -> Ledger | None:
    """None without one: a cluster can be looked at all the same, and a submission fails by itself."""
    try:
        return await open_ledger_async()
    except HybridHpcError as error:
        log.debug("no ledger, so breakers know only this process: %s", error)
        return None


def open_head_node(cluster: Cluster, ledger: Ledger | None = None, *, insists: bool = False) -> HeadNode:
    """The head node of a cluster; it connects when it is first used, and its breaker lets it.

    ``insists``: a person asks, so the breaker lets it always. Its connections are those of clusters.yaml and
    of nothing that a run says.
    """

    def through(conn_id: str, way: str) -> HeadNode:
        return HeadNode(
            f"{cluster.name} {way}".rstrip(),
            lambda: connect_ssh(conn_id),
            storage_root=cluster.storage_root,
            breaker=_breaker(cluster.name, way, ledger, insists=insists),
            way_as=ways(cluster, lambda project_conn_id, project: through(project_conn_id, f"as {project}")),
        )

    return through(cluster.ssh_connection, "")


async def open_cloud(
    cluster: Cluster, ledger: Ledger | None = None, *, insists: bool = False
) -> CycleCloudClient | None:
    """The CycleCloud client of an elastic cluster, None for any other; ``insists`` as in `open_head_node`."""
    if not cluster.elastic:
        return None
    conn = await connection(cluster.elastic.connection)
    breaker = _breaker(cluster.name, CYCLECLOUD, ledger, insists=insists)
    return cyclecloud_client(conn, await conn.aextra_dejson(), cluster.elastic.cluster, breaker=breaker)


async def open_site(cluster: Cluster, *, insists: bool = False) -> Site:
    """A cluster with the ways to it; the caller closes it. ``insists`` as in `open_head_node`."""
    return await _site(cluster, await _ledger_for_breakers(), insists=insists)


async def _site(cluster: Cluster, ledger: Ledger | None, *, insists: bool = False) -> Site:
    head_node = open_head_node(cluster, ledger, insists=insists)
    cloud = await open_cloud(cluster, ledger, insists=insists)
    return Site(cluster, scheduler(cluster.scheduler), head_node, cloud)


async def open_watch(cluster: Cluster) -> ClusterWatch:
    """The poll of a cluster; it asks for nodes where clusters.yaml says so, else only looks at them."""
    ledger = await open_ledger_async()
    site = await _site(cluster, ledger)
    if not site.cloud or not cluster.elastic:
        return ClusterWatch(site, ledger)
    step = Scaler if cluster.elastic.scaling == "cyclecloud" else Onlooker
    return ClusterWatch(site, ledger, step(site, site.cloud, ledger))
