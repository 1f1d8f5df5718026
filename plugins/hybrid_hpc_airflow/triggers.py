"""Waits that live in the triggerer: one poll of a cluster serves every task that waits on it.

The class paths of this module stand in Airflow's database for every waiting task: renaming a class or
this module breaks those in flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from functools import partial
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.errors import HybridHpcError
from hybrid_hpc.jobs import JobReport, JobState
from hybrid_hpc.ledger import JobRow, Ledger
from hybrid_hpc.resubmission import due, due_at_start, go_again, told
from hybrid_hpc.watch import ClusterWatch, Poll
from hybrid_hpc_airflow import connections
from hybrid_hpc_airflow.killed import cancel_if_wished, opened, ssh_turn
from hybrid_hpc_airflow.leaving import BlockedJob, goes_elsewhere, has_left

_watches: dict[str, ClusterWatch] = {}  # of this triggerer, by cluster
LOOK_AGAIN_S = 5.0
OPEN_AGAIN_S = 15.0


class ClusterTrigger(BaseEventTrigger):
    """Gets every poll of one cluster; all triggers of a cluster share one poll."""

    def __init__(self, *, cluster: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.cluster = cluster

    def shared_stream_key(self) -> Hashable:
        """One stream per cluster."""
        return ("hybrid_hpc", self.cluster)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[Poll]:
        """Polls for ever, as clusters.yaml says by then.

        Trouble is part of a poll, because an exception would reach every waiting job.
        """
        while True:
            try:
                watch = await connections.open_watch(load_clusters().cluster(kwargs["cluster"]))
            except Exception as error:  # noqa: BLE001  it would reach every waiting job: told, tried again
                yield Poll(kwargs["cluster"], trouble=f"{kwargs['cluster']} cannot be watched: {error}")
                await asyncio.sleep(OPEN_AGAIN_S)
                continue
            _watches[kwargs["cluster"]] = watch
            try:
                async for poll in watch.polls():
                    yield poll
                    if not _is_current(watch):
                        break
            finally:
                if _watches.get(kwargs["cluster"]) is watch:  # not one that was opened meanwhile
                    del _watches[kwargs["cluster"]]
                await watch.close()

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Without a shared stream: a poll of its own."""
        async for event in self.filter_shared_stream(self.open_shared_stream({"cluster": self.cluster})):
            yield event


def _is_current(watch: ClusterWatch) -> bool:
    """Whether clusters.yaml still says the same of its cluster; one that cannot be read changes nothing."""
    try:
        return load_clusters().cluster(watch.cluster.name) == watch.cluster
    except HybridHpcError:
        return True


class JobTrigger(ClusterTrigger):
    """Waits until a job has started (``phase='start'``) or has ended (``phase='end'``).

    Which job it is stands in the ledger under (dag_id, run_id, group, map_index): templates cannot pull
    XComs in the triggerer. Every change of where the job stands becomes one line of the task's log.
    """

    def __init__(  # noqa: PLR0913  all that finds the job again in another process
        self,
        *,
        cluster: str,
        phase: str,
        dag_id: str,
        run_id: str,
        group: str,
        map_index: int | str,
        wait_task_id: str,
        moves_left: int = 0,
    ) -> None:
        super().__init__(cluster=cluster)
        self.phase = phase
        self.dag_id = dag_id
        self.run_id = run_id
        self.group = group
        self.map_index = map_index
        self.wait_task_id = wait_task_id
        self.moves_left = moves_left
        self._token = ""
        self._told = ""
        self._due = False  # to be sent anew, whatever the next poll sees
        self._over = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path and what makes an equal trigger elsewhere."""
        names = ("cluster", "phase", "dag_id", "run_id", "group", "map_index", "wait_task_id", "moves_left")
        return f"{__name__}.JobTrigger", {name: getattr(self, name) for name in names}

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Poll]) -> AsyncIterator[TriggerEvent]:
        """Ends the task with success when the wait is over, however the job ended: ``collect`` judges.

        It ends as skipped when the job has left a cluster that could not run it, or is to go on elsewhere (a
        failed one would be tried again). What an earlier poll saw of it may be enough: a short job ends
        before somebody waits for its end.
        """
        ledger = await connections.open_ledger_async()
        row = await self._find(ledger)
        self._token = row.token
        if await self._has_gone(row, ledger) and not self._is_due(row := await self._find(ledger)):
            self._over = True
            yield TaskSkippedEvent()
            return
        seen, self._due = _seen(row), self._is_due(row)
        if self._wait_is_over(seen) and not self._due:
            self.log.info("%s: %s", self.cluster, seen.sentence)
            yield await self._ending(seen, ledger)
            return
        blocked = BlockedJob(self.cluster, self.moves_left, self.log)
        if self.phase == "start" and self.cluster in _watches:
            _watches[self.cluster].hurry()  # the nodes that it needs are asked for now
        async for poll in shared_stream:
            report = poll.reports.get(self._token)
            self._tell(poll, report)
            if await blocked.leaves(report, partial(self._find, ledger), ledger):
                if await self._goes_again(ledger):
                    blocked = BlockedJob(self.cluster, self.moves_left, self.log)
                    continue
                self._over = True
                yield TaskSkippedEvent()
                return
            ended = (report and self._wait_is_over(report)) or await self._is_settled(ledger, poll, report)
            if (ended or self._due) and not await self._goes_again(ledger):
                yield await self._ending(report, ledger)
                return

    async def _ending(self, report: JobReport | None, ledger: Ledger) -> TriggerEvent:
        """Success, however the job ended, unless it goes on elsewhere."""
        elsewhere = self.phase == "end" and await self._goes_elsewhere(ledger)
        self._over = True
        return TaskSkippedEvent() if elsewhere else TaskSuccessEvent(xcoms={"return_value": _summary(report)})

    async def _goes_elsewhere(self, ledger: Ledger) -> bool:
        while True:
            try:
                return await goes_elsewhere(await self._find(ledger), self.moves_left, ledger, self.log)
            except HybridHpcError as error:
                if not error.waiting_helps:
                    return False
                self.log.warning("%s: not known yet whether it moves on: %s", self.cluster, error)
                await asyncio.sleep(OPEN_AGAIN_S)

    async def _has_gone(self, row: JobRow, ledger: Ledger) -> bool:
        """True for a job that was leaving when the triggerer died; goes on with it where that stopped."""
        if not row.leave_requested_at:
            return False
        while not row.settled:
            try:
                return await has_left(row, row.leave_why or "", ledger, self.log)
            except HybridHpcError as error:
                self.log.warning("%s: it has not left yet, trying again: %s", self.cluster, error)
                await asyncio.sleep(OPEN_AGAIN_S)
                row = await self._find(ledger)
        return row.left

    def _is_due(self, row: JobRow) -> bool:
        return (due if self.phase == "end" else due_at_start)(row, load_clusters())

    async def _goes_again(self, ledger: Ledger) -> bool:
        """True when there is, or will be, another attempt to wait for: lost with its nodes, sent anew."""
        try:
            row = await self._find(ledger)
            sent = await self._sent_anew(row, ledger) if self._is_due(row) else None
        except HybridHpcError as error:
            self.log.warning("%s: not submitted anew: %s", self.cluster, error)
            self._due = error.waiting_helps
            return self._due
        waited_for, self._token, self._due = self._token, (sent or row).token, False
        return sent is not None or self._token != waited_for

    async def _sent_anew(self, row: JobRow, ledger: Ledger) -> JobRow | None:
        site_file = load_clusters()
        cluster = site_file.cluster(self.cluster)
        async with ssh_turn(), opened(await connections.open_site(cluster)) as site:
            anew = await go_again(row, site=site, ledger=ledger, clusters=site_file)
        if anew:
            attempts = await asyncio.to_thread(ledger.attempts, anew.key)
            self.log.info("%s: %s", self.cluster, told(attempts, site_file))
        return anew

    async def _find(self, ledger: Ledger) -> JobRow:
        """Our row; waits for a ledger that does not answer, because nothing is lost by waiting."""
        while True:
            try:
                row = await asyncio.to_thread(
                    ledger.latest_job, self.dag_id, self.run_id, self.group, int(self.map_index)
                )
            except HybridHpcError as error:
                self.log.warning("the ledger does not answer, looking again: %s", error)
            else:
                if row is None:
                    raise LookupError(f"the ledger knows no job of run {self.run_id}, group {self.group!r}")
                return row
            await asyncio.sleep(LOOK_AGAIN_S)

    def _tell(self, poll: Poll, report: JobReport | None) -> None:
        stage, sentence = poll.trouble, poll.trouble
        if report:
            stage, sentence = report.stage, report.sentence
        if stage and stage != self._told:
            self._told = stage
            self.log.info("%s: %s", self.cluster, sentence)

    def _wait_is_over(self, report: JobReport) -> bool:
        started = self.phase == "start" and report.state.started
        return report.state.final or report.given_up or started

    async def _is_settled(self, ledger: Ledger, poll: Poll, report: JobReport | None) -> bool:
        """A settled job is in no poll any more; whoever settled it has ended this wait, too."""
        if report or poll.trouble:
            return False
        try:
            row = await asyncio.to_thread(ledger.job, self._token)
        except HybridHpcError:
            return False
        return row is None or row.settled

    async def on_kill(self) -> None:
        """A user ended this wait: cancels the job, unless the wait was over or nobody wished it."""
        if not self._over:
            where = (self.dag_id, self.run_id, int(self.map_index), self.wait_task_id)
            await cancel_if_wished(*where, find=self._waited_for)

    async def _waited_for(self) -> JobRow:
        """The attempt of this wait; after a clear the newest one may be another's already."""
        ledger = await connections.open_ledger_async()
        row = await asyncio.to_thread(ledger.job, self._token) if self._token else None
        return row or await self._find(ledger)


class NodesTrigger(ClusterTrigger):
    """Waits until an elastic cluster has no node and no job left.

    As long as a node is there, somebody watches it; a job that waits will have one.
    """

    def __init__(self, *, cluster: str) -> None:
        super().__init__(cluster=cluster)
        self._told = ""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path and what makes an equal trigger elsewhere."""
        return f"{__name__}.NodesTrigger", {"cluster": self.cluster}

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Poll]) -> AsyncIterator[TriggerEvent]:
        """Ends the task when CycleCloud has no node of this cluster any more, and no job needs one."""
        async for poll in shared_stream:
            text = _nodes_text(poll)
            if text != self._told:
                self._told = text
                self.log.info("%s: %s", self.cluster, text)
            if _nothing_left(poll):
                yield TaskSuccessEvent()
                return


def _nothing_left(poll: Poll) -> bool:
    if poll.trouble or not poll.cloud or poll.cloud.existing or poll.cloud.trouble:
        return False
    in_queue = [report for report in poll.reports.values() if not report.state.final]
    return all(report.state is JobState.UNKNOWN for report in in_queue)


def _nodes_text(poll: Poll) -> str:
    if poll.trouble or not poll.cloud:
        return poll.trouble or "its nodes are not ours to watch"
    trouble = "; ".join(sorted(set(poll.cloud.trouble.values())))
    names = ", ".join(sorted(poll.cloud.existing)) or "no node"
    differs = "".join(f"; {said}" for _, said in sorted(poll.cloud.differs.items()))
    return f"{names} in Azure" + (f" ({trouble})" if trouble else "") + differs


def _seen(row: JobRow) -> JobReport:
    """The job as the last poll saw it."""
    return JobReport(
        row.token, row.native_id or "", row.state, node_names=row.node_names, sentence=row.sentence
    )


def _summary(report: JobReport | None) -> dict[str, Any]:
    """Empty for a job that somebody else has settled: ``collect`` reads the ledger."""
    if report is None:
        return {}
    return {
        "native_id": report.native_id,
        "state": report.state.value,
        "sentence": report.sentence,
        "nodes": list(report.node_names),
    }
