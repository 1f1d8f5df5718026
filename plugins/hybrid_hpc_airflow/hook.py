"""The Airflow connection of type ``cyclecloud``: the client that it opens, and its test button.

Its form is in ``hybrid_hpc_provider``.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow.sdk import BaseHook, Connection

from hybrid_hpc.breaker import Breaker
from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.cyclecloud import ClusterStatus, CycleCloudClient, Patience
from hybrid_hpc.cyclecloud.http import status_of
from hybrid_hpc.errors import AccessDenied, HybridHpcError, Invalid, Problem, Refused

CA_FILE = "ca_file"
CLUSTER = "cluster"
_PORT = re.compile(r":\d+$")
TEST_TIMEOUT_S = 15.0
NOT_AGAIN_S = 300.0  # CycleCloud locks an account for so long, after five wrong logins
ONCE = (
    "It is not tried again for five minutes unless something is changed here,"
    " because five wrong logins lock an account"
)

_refused: dict[int, tuple[float, str]] = {}  # what was tried -> when it was refused, and the words


def cyclecloud_client(
    conn: Connection,
    extra: Mapping[str, Any],
    cluster: str,
    *,
    breaker: Breaker | None = None,
    timeout_s: float = 30,
    patience: Patience | None = None,
) -> CycleCloudClient:
    """The client of one cluster behind a connection. Raises `Invalid` for a URL or CA file that is none."""
    return CycleCloudClient(
        base_url(conn),
        username=conn.login or "",
        password=conn.password or "",
        cluster=cluster,
        ca_file=extra.get(CA_FILE) or None,
        breaker=breaker,
        timeout_s=timeout_s,
        patience=patience,
    )


def base_url(conn: Connection) -> str:
    """The server's address; HTTPS unless the connection says otherwise. A port in it wins over another."""
    host = conn.host or ""
    scheme, _, rest = (host if "://" in host else f"https://{host}").partition("://")
    authority, slash, path = rest.partition("/")
    port = f":{conn.port}" if conn.port and not _PORT.search(authority) else ""
    return f"{scheme}://{authority}{port}{slash}{path}"


class CycleCloudHook(BaseHook):
    """A connection to a CycleCloud server, for Airflow's UI and for tasks of anybody's."""

    conn_name_attr = "cyclecloud_conn_id"
    default_conn_name = "cyclecloud"
    conn_type = "cyclecloud"
    hook_name = "Azure CycleCloud"

    def __init__(self, cyclecloud_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.cyclecloud_conn_id = cyclecloud_conn_id

    def get_conn(self) -> CycleCloudClient:
        """A client of the cluster that the connection's extra names, else of the first in clusters.yaml.

        The caller closes it. Raises `Invalid` without any.
        """
        conn = self.get_connection(self.cyclecloud_conn_id)
        return cyclecloud_client(conn, conn.extra_dejson, self._clusters(conn.extra_dejson)[0])

    def test_connection(self) -> tuple[bool, str]:
        """Whether CycleCloud lets us in and knows the cluster, and a sentence about it; logs in once."""
        conn = self.get_connection(self.cyclecloud_conn_id)
        try:
            well, said = asyncio.run(self._try_once(conn))
        except (HybridHpcError, OSError) as error:
            well, said = False, str(error)
        if conn.password:  # a server may repeat what it was sent
            said = said.replace(conn.password, "***")
        return well, " ".join(said.split())

    async def _try_once(self, conn: Connection) -> tuple[bool, str]:
        extra = conn.extra_dejson
        _require(conn)
        tried = _fingerprint(conn, extra)
        at, words = _refused.get(tried, (0.0, ""))
        wait_s = at + NOT_AGAIN_S - time.monotonic()
        if words and wait_s > 0:
            return False, f"Not tried again for {wait_s:.0f} s, so that the account is not locked: {words}"
        try:
            return await self._look(conn, extra)
        except AccessDenied as error:
            _refused[tried] = (time.monotonic(), str(error))
            return False, f"{error}. {ONCE}."

    async def _look(self, conn: Connection, extra: Mapping[str, Any]) -> tuple[bool, str]:
        names, patience = self._clusters(extra), Patience(attempts=1)
        for name in names:
            async with cyclecloud_client(
                conn, extra, name, timeout_s=TEST_TIMEOUT_S, patience=patience
            ) as cloud:
                try:
                    status = await cloud.status(nodes=False)
                except Refused as error:
                    if status_of(error) != 404:
                        raise
                else:
                    return True, f"{base_url(conn)} lets {conn.login} in. {_seen(name, status)}"
        known = " or ".join(names)
        return False, f"{base_url(conn)} lets {conn.login} in, but has no cluster {known}. Correct its name."

    def _clusters(self, extra: Mapping[str, Any]) -> list[str]:
        """The test button hides the connection's id from us: then every elastic cluster may be meant."""
        if extra.get(CLUSTER):
            return [str(extra[CLUSTER])]
        elastic = [each.elastic for each in load_clusters().clusters.values() if each.elastic]
        ours = [each for each in elastic if each.connection == self.cyclecloud_conn_id]
        if not elastic:
            raise Invalid(
                [Problem("Cluster name", "is empty, and clusters.yaml has no elastic cluster", "Fill it in.")]
            )
        return list(dict.fromkeys(each.cluster for each in ours or elastic))


def _require(conn: Connection) -> None:
    """A login without a user or a password would count as a wrong one."""
    needed = {"URL": conn.host, "User": conn.login, "Password": conn.password}
    if missing := [name for name, value in needed.items() if not value]:
        raise Invalid([Problem(name, "is empty", "Fill it in.") for name in missing])


def _fingerprint(conn: Connection, extra: Mapping[str, Any]) -> int:
    """Equal for what CycleCloud would refuse again; Python salts it anew in every process."""
    ca_file = extra.get(CA_FILE)
    certificate = Path(ca_file).read_bytes() if ca_file and Path(ca_file).is_file() else ca_file
    return hash((base_url(conn), conn.login, conn.password, certificate))


def _seen(name: str, status: ClusterStatus) -> str:
    arrays = [
        f"{array.name} ({sum(bucket.active_count for bucket in array.buckets)} of {array.max_count} nodes)"
        for array in status.nodearrays
    ]
    state = status.state or "in no state that it tells"
    return f"Cluster {name} is {state}, with the nodearrays {', '.join(arrays) or 'none'}."
