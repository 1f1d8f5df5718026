"""Since when each node of an elastic cluster lives, and how long boots take: the ledger's, kept at hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from hybrid_hpc.clusters import Cluster, Partition
from hybrid_hpc.cyclecloud import Node
from hybrid_hpc.learnt import usual_boot_s
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.database import utc_now
from hybrid_hpc.ledger.lives import NewLife
from hybrid_hpc.ledger.rows import LifeRow
from hybrid_hpc.schedulers.base import Load, NodeStatus

RENEW_S = 20.0


class NodeLives:
    """What the ledger knows of one cluster's nodes; `look` brings both up to date once a poll.

    Writes when something changed, else every `RENEW_S`: that is the nodes' lease.
    """

    def __init__(self, cluster: Cluster, ledger: Ledger, clock: Callable[[], datetime] = utc_now) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._clock = clock
        self._rows: dict[str, LifeRow] = {}  # by node id
        self._boots: dict[tuple[str, str], list[float]] = {}
        self._renewed_at: float | None = None

    async def begin(self) -> None:
        """Reads what is known from before; does nothing the second time."""
        if self._renewed_at is None:
            await self._read()
            self._renewed_at = float("-inf")

    async def look(self, load: Load, nodes: Sequence[Node]) -> None:
        """Notes which nodes are new, up, busy and gone; one that is listed again was not gone."""
        await self.begin()
        states = {state.name: state for state in load.nodes}
        listed = {node.node_id: states.get(node.name) for node in nodes}
        new = [node for node in nodes if node.node_id not in self._rows]
        there = {node_id: state for node_id, state in listed.items() if state}
        up = {node_id for node_id, state in there.items() if state.status is NodeStatus.UP}
        busy = {node_id for node_id, state in there.items() if state.cores_busy}
        came = {node_id for node_id in up if node_id not in self._rows or not self._rows[node_id].up_at}
        gone = self._rows.keys() - listed.keys()
        if new or came or gone or time.monotonic() - (self._renewed_at or 0.0) >= RENEW_S:
            begun = [_new(node) for node in new]
            await asyncio.to_thread(self._ledger.begin_lives, self._cluster.name, begun)
            renewed = {"up": came, "busy": busy, "gone": gone}
            await asyncio.to_thread(self._ledger.renew_lives, self._cluster.name, set(listed), **renewed)
            await asyncio.to_thread(self._ledger.settle_requests, self._cluster.name)
            await self._read()
            self._renewed_at = time.monotonic()

    async def _read(self) -> None:
        rows = await asyncio.to_thread(self._ledger.lives, self._cluster.name)
        self._rows = {row.node_id: row for row in rows}
        self._boots = await asyncio.to_thread(self._ledger.boot_times_s, self._cluster.name)

    @property
    def names(self) -> frozenset[str]:
        """The nodes that are there, as far as is known."""
        return frozenset(row.name for row in self._rows.values())

    def asked_ago_s(self, name: str) -> float:
        """Since when a node was asked for; 0 for one that is not known yet."""
        asked = [row.asked_at for row in self._rows.values() if row.name == name]
        return max(0.0, (self._clock() - max(asked)).total_seconds()) if asked else 0.0

    def came_up(self, now: float) -> dict[str, float]:
        """When each node was first seen up, in the clock that says ``now``."""
        here = self._clock()
        return {
            row.name: now - (here - row.up_at).total_seconds() for row in self._rows.values() if row.up_at
        }

    def usual_boot_s(self, partition: Partition, vm_size: str) -> tuple[float | None, bool]:
        """As `hybrid_hpc.learnt.usual_boot_s`."""
        return usual_boot_s(self._boots, partition, vm_size)


def _new(node: Node) -> NewLife:
    return NewLife(node.node_id, node.name, node.nodearray, node.machine_type, node.request_id)
