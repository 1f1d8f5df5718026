"""Waits on a cluster itself, without a job: on its queue, and on nodes that are up.

They share the poll of `hybrid_hpc_airflow.triggers`. Their class paths, too, stand in Airflow's database for
every waiting task: renaming a class or this module breaks those in flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk.execution_time.xcom import XCom
from airflow.triggers.base import TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.errors import HybridHpcError
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.waits import NodesWait, QueueWait, partitions_of_array
from hybrid_hpc.watch import Poll
from hybrid_hpc_airflow import connections
from hybrid_hpc_airflow.triggers import ClusterTrigger

RESULT = "return_value"


class TellingTrigger(ClusterTrigger):
    """Tells what is new, one line a change."""

    def __init__(self, *, cluster: str) -> None:
        super().__init__(cluster=cluster)
        self._told = ""

    def tell(self, text: str) -> None:
        """A line in the task's log, unless it was the last one."""
        if text != self._told:
            self._told = text
            self.log.info("%s: %s", self.cluster, text)

    async def success(self, result: dict[str, int]) -> TaskSuccessEvent:
        """Ends the task with a result for those after it.

        Sent along with the event, Airflow 3.3 hands it on as JSON text; its ``axcom_push`` wants an operator
        that a triggerer does not have.
        """
        ti = self.task_instance
        if ti is None:  # no Airflow is near
            return TaskSuccessEvent(xcoms={RESULT: dict(result)})
        where = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": ti.map_index}
        await XCom.aset(RESULT, dict(result), **where)
        return TaskSuccessEvent()


class QueueTrigger(TellingTrigger):
    """Waits until the queue of a cluster, or of one partition, is as `QueueWait` says."""

    def __init__(
        self,
        *,
        cluster: str,
        partition: str | None = None,
        pending_below: int | None = None,
        pending_above: int | None = None,
        free_cores_above: int | None = None,
    ) -> None:
        super().__init__(cluster=cluster)
        self.wait = QueueWait(partition, pending_below, pending_above, free_cores_above)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path and what makes an equal trigger elsewhere."""
        wait = self.wait
        return f"{__name__}.QueueTrigger", {
            "cluster": self.cluster,
            "partition": wait.partition,
            "pending_below": wait.pending_below,
            "pending_above": wait.pending_above,
            "free_cores_above": wait.free_cores_above,
        }

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Poll]) -> AsyncIterator[TriggerEvent]:
        """Ends the task with success, with what was counted as its result."""
        where = f"partition {self.wait.partition}: " if self.wait.partition else ""
        self.tell(f"{where}waits for {self.wait.wanted}")
        async for poll in shared_stream:
            if poll.load is None:
                self.tell(poll.trouble)
                continue
            standing = self.wait.look(poll.load)
            self.tell(f"{where}{standing.text}")
            if standing.over:
                yield await self.success(standing.counted)
                return


class NodesReadyTrigger(TellingTrigger):
    """Waits until so many nodes of a nodearray are up, and wishes for them meanwhile, so that they come.

    The wish is in the ledger: the cluster's watch asks for its nodes and keeps them from going. ``waiter``
    names one try of one task, which after a restart of the triggerer goes on where it was. ``timeout_s``
    after its wish the task is failed, or skipped where ``skips`` says so.
    """

    def __init__(
        self, *, cluster: str, nodearray: str, count: int, waiter: str, timeout_s: float, skips: bool = False
    ) -> None:
        super().__init__(cluster=cluster)
        self.nodearray = nodearray
        self.count = count
        self.waiter = waiter
        self.timeout_s = timeout_s
        self.skips = skips
        self._wished_at: datetime | None = None  # by the ledger's clock

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path and what makes an equal trigger elsewhere."""
        names = ("cluster", "nodearray", "count", "waiter", "timeout_s", "skips")
        return f"{__name__}.NodesReadyTrigger", {name: getattr(self, name) for name in names}

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Poll]) -> AsyncIterator[TriggerEvent]:
        """Ends the task with success when the nodes are up, with what was counted as its result."""
        ledger = await connections.open_ledger_async()
        wait = NodesWait(self.nodearray, self.count)
        self.tell(f"waits for {self.count} nodes of {self.nodearray} that are up")
        await self._wish(ledger)  # before the first poll, which then asks for them
        async for poll in shared_stream:
            await self._wish(ledger)
            cluster = load_clusters().cluster(self.cluster)
            standing = wait.look(poll.load, cluster) if poll.load else None
            words = (standing.text if standing else "", self._trouble(poll))
            self.tell("; ".join(filter(None, words)))
            if standing and standing.over:
                await self._end_wish(ledger)
                yield await self.success(standing.counted)
                return
            if self._is_late():
                await self._end_wish(ledger)
                self.log.error(
                    "%s: given up after %s: %s", self.cluster, timedelta(seconds=self.timeout_s), self._told
                )
                yield TaskSkippedEvent() if self.skips else TaskFailedEvent()
                return

    def _trouble(self, poll: Poll) -> str:
        """What keeps the nodes away, in the words of who said it."""
        if poll.trouble or poll.cloud is None:
            return poll.trouble or "its nodes are not ours to ask for: clusters.yaml has changed"
        parts = partitions_of_array(load_clusters().cluster(self.cluster), self.nodearray)
        return "; ".join(dict.fromkeys(filter(None, (poll.cloud.trouble.get(part.name) for part in parts))))

    def _is_late(self) -> bool:
        waited_s = (datetime.now(UTC) - self._wished_at).total_seconds() if self._wished_at else 0.0
        return waited_s > self.timeout_s

    async def _wish(self, ledger: Ledger) -> None:
        """A wish stands for as long as it is repeated; a ledger that does not answer delays it, no more."""
        try:
            row = await asyncio.to_thread(
                ledger.wish_for_nodes,
                self.waiter,
                cluster=self.cluster,
                nodearray=self.nodearray,
                count=self.count,
            )
        except HybridHpcError as error:
            self.log.warning("%s: nodes are not wished for yet: %s", self.cluster, error)
        else:
            self._wished_at = row.wished_at

    async def _end_wish(self, ledger: Ledger) -> None:
        try:
            await asyncio.to_thread(ledger.end_node_wish, self.waiter)
        except HybridHpcError as error:  # it ends by itself, a little later
            self.log.warning("%s: the wish for nodes is not ended yet: %s", self.cluster, error)

    async def on_kill(self) -> None:
        """A user ended this wait, and its wish with it; a wait that goes on elsewhere repeats its own."""
        await self._end_wish(await connections.open_ledger_async())
