"""One poll of a cluster for everyone who waits on it: queue, nodes, accounting, scale-out.

A `ClusterWatch` makes one round trip a poll, however many jobs wait, and one more to the accounting when
jobs have left the queue. `polls` never ends and never raises: an exception out of a shared stream would
reach every waiting job, so a poll that fails says so in ``Poll.trouble`` and the next one comes later.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from hybrid_hpc import telemetry
from hybrid_hpc.cloud_view import CloudView, with_cloud
from hybrid_hpc.errors import HybridHpcError, Shut, Unavailable
from hybrid_hpc.jobs import JobReport, JobState
from hybrid_hpc.ledger import JobRow, Ledger
from hybrid_hpc.ownership import cancel
from hybrid_hpc.reports import history_reports, queue_reports, unanswered_reports
from hybrid_hpc.schedulers.base import Load
from hybrid_hpc.site import Site
from hybrid_hpc.snapshots import snapshot_of

log = logging.getLogger(__name__)

BACKOFF_S = 2.0
BACKOFF_CAP_S = 60.0
SPREAD_S = 3.0  # after the moment at which a breaker lets somebody try
GIVE_UP_S = 300.0  # the accounting lags by seconds; after this, the job's own exit record has to do
ACCOUNTING_LAG_S = 6.0  # Slurm completes the record of a job that was over at once every 5 s
SOON_S = 1.0
HURRIED_APART_S = 3.0  # many newcomers must not make many polls
SNAPSHOT_S = 10.0  # how often what a poll saw is kept for the pages


@dataclass(frozen=True, slots=True)
class Poll:
    """What one poll saw. ``trouble`` is '' when the cluster answered, else a sentence."""

    cluster: str
    reports: Mapping[str, JobReport] = field(default_factory=dict)  # by token
    cloud: CloudView | None = None
    load: Load | None = None
    trouble: str = ""


class CloudStep(Protocol):
    """What an elastic cluster's cloud side needs at each poll."""

    async def step(self, load: Load) -> CloudView:
        """One look, and what follows from it."""


class ClusterWatch:
    """Polls one cluster; closes its ``site`` in the end. ``scaler``: a `Scaler` or `Onlooker`."""

    def __init__(self, site: Site, ledger: Ledger, scaler: CloudStep | None = None) -> None:
        self.cluster = site.cluster
        self._site = site
        self._ledger = ledger
        self._scaler = scaler
        self._failures = 0
        self._hurry = asyncio.Event()
        self._shut_s: float | None = None  # from the last poll until the breaker lets somebody try
        self._unknown_since: dict[str, float] = {}  # token -> when neither queue nor accounting knew it
        self._kept_at = float("-inf")

    async def polls(self) -> AsyncIterator[Poll]:
        """Polls for ever, ``poll_s`` apart; after failures with backoff and jitter."""
        while True:
            self._hurry.clear()
            yield await self.poll()
            await self._pause(self._pause_s())

    def hurry(self) -> None:
        """Somebody new waits for nodes: the next poll comes at once, unless the cluster does not answer."""
        self._hurry.set()

    async def _pause(self, pause_s: float) -> None:
        """Until the next poll is due, or somebody new waits; never at once after the last or a failure."""
        began = time.monotonic()
        due, hurried = asyncio.create_task(asyncio.sleep(pause_s)), asyncio.create_task(self._hurry.wait())
        try:
            await asyncio.wait({due} if self._failures else {due, hurried}, return_when="FIRST_COMPLETED")
            if not due.done():
                apart_s = min(pause_s, HURRIED_APART_S)
                await asyncio.sleep(max(0.0, apart_s - (time.monotonic() - began)))
        finally:
            due.cancel()
            hurried.cancel()

    async def poll(self) -> Poll:
        """One poll; failure is an answer too (``trouble``)."""
        try:
            poll = await self._poll()
        except HybridHpcError as error:
            return self._failed(str(error), error.shut)
        except Exception as error:  # anything else would fail every waiting job
            log.exception("%s: poll failed", self.cluster.name)
            return self._failed(f"{type(error).__name__}: {error}")
        self._failures, self._shut_s = 0, None
        telemetry.count("hybrid_hpc.polls", cluster=self.cluster.name, outcome="answered")
        return poll

    def _failed(self, why: str, shut: Shut | None = None) -> Poll:
        """``shut``: the failure met or left an open breaker; then what is told stays the same."""
        self._failures += 1
        telemetry.count("hybrid_hpc.polls", cluster=self.cluster.name, outcome="failed")
        self._shut_s = shut.retry_after_s if shut else None
        log.warning("%s: poll %d in a row failed: %s", self.cluster.name, self._failures, why)
        told = shut.lasting if shut else f"does not answer: {why.removeprefix(f'{self.cluster.name}: ')}"
        return Poll(self.cluster.name, trouble=f"{self.cluster.title} {told}")

    def _pause_s(self) -> float:
        if self._shut_s is not None:
            return self._shut_s + random.uniform(0, SPREAD_S)  # noqa: S311
        if not self._failures:
            return min(SOON_S, self.cluster.poll_s) if self._record_is_due() else self.cluster.poll_s
        pause_s = min(BACKOFF_S * 2 ** (self._failures - 1), BACKOFF_CAP_S)
        return max(self.cluster.poll_s, random.uniform(pause_s / 2, pause_s))  # noqa: S311

    def _record_is_due(self) -> bool:
        """True when a job has just left the queue: its end would else be told a whole poll later."""
        now = time.monotonic()
        return any(now - since < ACCOUNTING_LAG_S for since in self._unknown_since.values())

    async def _poll(self) -> Poll:
        # Before the queue: a job that is submitted in between would look as if it had left it.
        rows = await asyncio.to_thread(self._ledger.open_jobs, self.cluster.name)
        rows = [row for row in rows if row.native_id]
        answer = await self._site.head_node.run(self._site.scheduler.load_command())
        # In threads: a long queue takes a second to read, and every wait of the triggerer shares its loop.
        load = await asyncio.to_thread(self._site.scheduler.read_load, answer)
        cloud = await self._scaler.step(load) if self._scaler else None
        if cloud:
            load = with_cloud(load, self.cluster, cloud.existing)
        reports, left = await asyncio.to_thread(queue_reports, rows, load, cloud)
        reports |= self._give_up(await self._ended(left))
        await asyncio.to_thread(self._ledger.observe, list(reports.values()))
        await self._keep(load, cloud)
        await self._cancel_wished(rows, reports)
        return Poll(self.cluster.name, reports, cloud, load)

    async def _keep(self, load: Load, cloud: CloudView | None) -> None:
        """What the cluster looks like, for the pages, now and then; no job waits for less because of it."""
        if time.monotonic() - self._kept_at < SNAPSHOT_S:
            return
        trouble = cloud.trouble if cloud else {}
        rows = await asyncio.to_thread(snapshot_of, load, self.cluster, trouble, self._ledger.now())
        try:
            await asyncio.to_thread(self._ledger.save_snapshot, rows)
        except HybridHpcError as error:
            log.warning("%s: its snapshot is not kept: %s", self.cluster.name, error)
        self._kept_at = time.monotonic()

    async def _ended(self, rows: Sequence[JobRow]) -> dict[str, JobReport]:
        """How jobs ended: only the accounting says it. Its silence must not blind the rest of the poll."""
        if not rows:
            return {}
        command = self._site.scheduler.history_command([str(row.native_id) for row in rows])
        try:
            records = self._site.scheduler.read_history(await self._site.head_node.run(command))
        except Unavailable as error:
            return unanswered_reports(rows, str(error))
        return history_reports(rows, records)

    def _give_up(self, reports: dict[str, JobReport]) -> dict[str, JobReport]:
        """Ends the wait for jobs of which nothing has been known for long; ``collect`` judges them."""
        now = time.monotonic()
        unknown = {token for token, report in reports.items() if report.state is JobState.UNKNOWN}
        self._unknown_since = {token: self._unknown_since.get(token, now) for token in unknown}
        lost = {token for token, since in self._unknown_since.items() if now - since > GIVE_UP_S}
        return {token: replace(report, given_up=token in lost) for token, report in reports.items()}

    async def _cancel_wished(self, rows: Sequence[JobRow], reports: Mapping[str, JobReport]) -> None:
        """Repeats every recorded wish to cancel until the job has left the queue."""
        site = self._site
        for row in rows:
            report = reports.get(row.token)
            if row.cancel_wished and report and not report.state.final:
                try:
                    await cancel(row, scheduler=site.scheduler, head_node=site.head_node, ledger=self._ledger)
                except HybridHpcError as error:  # the wish stands, and the other jobs want their poll
                    log.warning("%s: %s is not cancelled yet: %s", self.cluster.name, row.token, error)

    async def close(self) -> None:
        """Ends every connection."""
        await self._site.close()
