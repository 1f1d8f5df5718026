"""A client of CycleCloud's REST API for one cluster."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, Self, TypeVar
from urllib.parse import quote

import httpx

from hybrid_hpc.breaker import Breaker
from hybrid_hpc.breaker_rules import CYCLECLOUD
from hybrid_hpc.cyclecloud.http import Http, Patience, read, status_of
from hybrid_hpc.cyclecloud.models import (
    ClusterStatus,
    ClusterUsage,
    Creation,
    Granularity,
    ManagedNode,
    Node,
    NodeList,
    NodeManagement,
    NodeSet,
    Operation,
    count_sets,
)
from hybrid_hpc.errors import ConnectionLost, Refused, Unavailable, Unreadable

ResultT = TypeVar("ResultT", Creation, NodeManagement)


@dataclass(frozen=True, slots=True)
class _Wish(Generic[ResultT]):
    """A request that changes something, and how its result is made from its nodes when its answer is lost."""

    action: str
    body: Mapping[str, Any]
    kind: type[ResultT]
    read_back: Callable[[Sequence[Node]], ResultT]


class CycleCloudClient:
    """Nodes, limits and usage of one CycleCloud cluster, over HTTPS.

    Every method raises AccessDenied (401, 403, a certificate that is not trusted; never tried again), Refused
    (any other no, in CycleCloud's words), Unreachable (nothing was sent; Shut: nor was it tried, because the
    breaker is open), ConnectionLost (it may have been done), Unavailable (CycleCloud is not in service) and
    Unreadable. Questions are asked again by themselves. Without a ``breaker`` it has one that knows only what
    was seen here.

    A request that changes something carries a request id of the caller's. Asking twice with the same id is
    asking once: when CycleCloud knows it already, or when its first answer was lost, the result is read back.
    Without an id nothing is ever sent twice.
    """

    def __init__(  # noqa: PLR0913 - what a connection is made of
        self,
        base_url: str,
        username: str,
        password: str,
        cluster: str,
        *,
        ca_file: str | Path | None = None,
        timeout_s: float = 30,
        transport: httpx.AsyncBaseTransport | None = None,
        patience: Patience | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self.cluster = cluster
        self._path = f"/clusters/{quote(cluster, safe='')}"
        self._http = Http(
            base_url,
            httpx.BasicAuth(username, password),
            breaker or Breaker(cluster, CYCLECLOUD),
            ca_file=ca_file,
            timeout_s=timeout_s,
            patience=patience,
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"CycleCloudClient({self._http.base_url!r}, cluster={self.cluster!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.close()

    # questions

    async def status(self, *, nodes: bool = True) -> ClusterStatus:
        """Give the limits of the cluster and, unless ``nodes`` is False, its nodes. A heavy question."""
        query = {"nodes": "true"} if nodes else {}
        return read(ClusterStatus, await self._http.get(f"{self._path}/status", query))

    async def nodes(self, request_id: str | None = None, operation: str | None = None) -> tuple[Node, ...]:
        """Give all nodes, or those of a request or of an operation. One that is not known is Refused."""
        query = {"request_id": request_id, "operation": operation}
        given = {name: value for name, value in query.items() if value is not None}
        return read(NodeList, await self._http.get(f"{self._path}/nodes", given)).nodes

    async def asked(self, request_id: str) -> tuple[Node, ...] | None:
        """Give the nodes that a request of ours led to and that are still listed; None: it never arrived."""
        try:
            return await self.nodes(request_id=request_id)
        except Refused as error:
            if status_of(error) == 404:
                return None
            raise

    async def usage(
        self, start: datetime, end: datetime, granularity: Granularity = "hourly"
    ) -> ClusterUsage:
        """Give core-hours and cost, with details, of the whole hours or days around ``start`` and ``end``."""
        frame = {"timeframe": "custom", "from": _utc(start), "to": _utc(end)}
        query = {**frame, "granularity": granularity, "expand": "details"}
        return read(ClusterUsage, await self._http.get(f"{self._path}/usage", query))

    async def operation(self, operation_id: str) -> Operation:
        """Give what was asked for under an operation id, and when."""
        return read(Operation, await self._http.get(f"/operations/{quote(operation_id, safe='')}"))

    # nodes that come

    async def create_nodes(self, request_id: str, sets: Sequence[NodeSet]) -> Creation:
        """Ask for nodes. That it was accepted is no success: read the result's ``added`` and ``messages``."""

        def read_back(nodes: Sequence[Node]) -> Creation:
            counted = count_sets(sets, nodes)
            return Creation(operation_id="", sets=counted, already_asked=True, nodes=tuple(nodes))

        body = {"sets": [each.body() for each in sets]}
        return await self._once(request_id, _Wish("create", body, Creation, read_back))

    async def scale(self, nodearray: str, *, cores: int | None = None, nodes: int | None = None) -> Creation:
        """Ask for what is missing to a total of either cores or nodes. It never removes any."""
        query = {"totalCoreCount": cores, "totalNodeCount": nodes}
        given = {name: str(value) for name, value in query.items() if value is not None}
        path = f"{self._path}/scale/{quote(nodearray, safe='')}"
        return read(Creation, await self._http.post(path, query=given))

    # nodes that go, and come again

    async def terminate_nodes(
        self, *, names: Collection[str] = (), ids: Collection[str] = (), request_id: str | None = None
    ) -> NodeManagement:
        """End nodes, whatever their shutdown policy. Ones that are gone already are no error."""
        return await self._manage("terminate", names, ids, request_id)

    async def shutdown_nodes(
        self, *, names: Collection[str] = (), ids: Collection[str] = (), request_id: str | None = None
    ) -> NodeManagement:
        """Terminate or deallocate nodes, as the shutdown policy of each says."""
        return await self._manage("shutdown", names, ids, request_id)

    async def deallocate_nodes(
        self, *, names: Collection[str] = (), ids: Collection[str] = (), request_id: str | None = None
    ) -> NodeManagement:
        """End the VMs of nodes and keep the nodes, to be started again."""
        return await self._manage("deallocate", names, ids, request_id)

    async def remove_nodes(
        self, *, names: Collection[str] = (), ids: Collection[str] = (), request_id: str | None = None
    ) -> NodeManagement:
        """Terminate nodes and have CycleCloud forget them, the fixed ones too."""
        return await self._manage("remove", names, ids, request_id)

    async def start_nodes(
        self, *, names: Collection[str] = (), ids: Collection[str] = (), request_id: str | None = None
    ) -> NodeManagement:
        """Start nodes that are deallocated or failed."""
        return await self._manage("start", names, ids, request_id)

    async def _manage(
        self, action: str, names: Collection[str], ids: Collection[str], request_id: str | None
    ) -> NodeManagement:
        if not names and not ids:
            return NodeManagement(operation_id="", nodes=())
        body = {name: sorted(given) for name, given in (("names", names), ("ids", ids)) if given}
        return await self._once(request_id, _Wish(action, body, NodeManagement, _managed))

    # at most once

    async def _once(self, request_id: str | None, wish: _Wish[ResultT], *, again: bool = True) -> ResultT:
        """Post; when the answer is lost, or 409, find out whether CycleCloud has the request already."""
        if request_id is None:
            return await self._post(wish, {})
        try:
            return await self._post(wish, {"requestId": request_id})
        except (ConnectionLost, Unreadable, Refused) as error:
            nodes = await self._found(request_id, error)
            if nodes is not None:
                return wish.read_back(nodes)
            if isinstance(error, Refused) or not again:
                raise
        return await self._once(request_id, wish, again=False)  # 409 if the first one still arrives

    async def _found(self, request_id: str, error: Exception) -> tuple[Node, ...] | None:
        if isinstance(error, Refused):
            return await self.asked(request_id) if status_of(error) == 409 else None
        try:
            return await self.asked(request_id)
        except Unavailable as silence:
            raise ConnectionLost(f"{error}; whether it was done cannot be asked: {silence}") from error

    async def _post(self, wish: _Wish[ResultT], identity: Mapping[str, str]) -> ResultT:
        path = f"{self._path}/nodes/{wish.action}"
        return read(wish.kind, await self._http.post(path, {**identity, **wish.body}))


def _managed(nodes: Sequence[Node]) -> NodeManagement:
    served = tuple(ManagedNode(id=node.node_id, name=node.name) for node in nodes)
    return NodeManagement(operation_id="", nodes=served, already_asked=True)


def _utc(time: datetime) -> str:
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
