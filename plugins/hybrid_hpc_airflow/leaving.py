"""A waiting job whose cluster cannot run it: told, and after a while moved on, as its request says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from hybrid_hpc.budgets import load_budgets
from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.collecting import settle
from hybrid_hpc.errors import HybridHpcError
from hybrid_hpc.jobs import JobReport
from hybrid_hpc.learnt import as_learnt
from hybrid_hpc.ledger import JobRow, Ledger
from hybrid_hpc.moving import (
    gives_up_spot,
    leave,
    left_before,
    why_it_left,
    why_it_stays,
    why_not_elsewhere,
)
from hybrid_hpc.ownership import fresh_row
from hybrid_hpc.placement import ClusterView, Decision, decide
from hybrid_hpc.placing import standing_of
from hybrid_hpc.resubmission import lost_too_often
from hybrid_hpc.site import survey
from hybrid_hpc_airflow import connections
from hybrid_hpc_airflow.killed import opened, ssh_turn

LOOK_ELSEWHERE_AGAIN_S = 60.0
LONGEST_GAP_S = 60.0  # between two polls: what was not looked at does not count


class Log(Protocol):
    """The log of the task that waits."""

    def info(self, event: Any, *args: Any) -> Any:
        """A line."""

    def warning(self, event: Any, *args: Any) -> Any:
        """A line that stands out."""


class BlockedJob:
    """For how long the job of one wait has been blocked, and what is done when that is long enough."""

    def __init__(self, cluster: str, moves_left: int, log: Log) -> None:
        self._cluster = cluster
        self._moves_left = moves_left
        self._log = log
        self._blocked_s = 0.0
        self._seen_blocked_at: float | None = None
        self._not_before = 0.0
        self._halfway = False  # it may be on its way out: its job can never begin here
        self._told = ""

    async def leaves(
        self, report: JobReport | None, find: Callable[[], Awaitable[JobRow]], ledger: Ledger
    ) -> bool:
        """True when the job has left its cluster, and another wait may begin elsewhere, or its spot nodes."""
        self._count(report)
        try:
            if self._halfway and (row := await find()).leave_requested_at:
                return await has_left(row, row.leave_why or "", ledger, self._log)
            self._halfway = False
            if report is None or not self._is_long_enough(report):
                return False
            return await self._leaves(report, await find(), ledger)
        except HybridHpcError as error:
            self._halfway = True
            self._log.warning("%s: it stays for now: %s", self._cluster, error)
            return False

    def _is_long_enough(self, report: JobReport) -> bool:
        long = self._blocked_s >= load_clusters().policy.blocked_s
        return bool(report.blocked) and long and time.monotonic() >= self._not_before

    def _count(self, report: JobReport | None) -> None:
        """Adds up the time between polls that found it blocked: boots that fail again and again count."""
        now, before = time.monotonic(), self._seen_blocked_at
        self._seen_blocked_at = now if report and report.blocked else None
        if self._seen_blocked_at and before:
            self._blocked_s += min(now - before, LONGEST_GAP_S)

    async def _leaves(self, report: JobReport, row: JobRow, ledger: Ledger) -> bool:
        if gives_up_spot(row, report, load_clusters()):
            return await has_left(row, report.blocked, ledger, self._log)
        if stays := why_it_stays(row, report, self._moves_left):
            self._tell(f"it waits on: {stays}")
            return False
        if row.request.on_blocked == "move" and not await self._fits_elsewhere(row, ledger):
            return False
        return await has_left(row, report.blocked, ledger, self._log)

    async def _fits_elsewhere(self, row: JobRow, ledger: Ledger) -> bool:
        async with ssh_turn():
            decision = await decide_elsewhere(row, ledger, leaving=self._cluster)
        if not decision.placed:
            self._not_before = time.monotonic() + LOOK_ELSEWHERE_AGAIN_S
            self._tell(f"it waits on: {decision.sentence}")
        return decision.placed

    def _tell(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._log.info("%s: %s", self._cluster, text)


async def has_left(row: JobRow, why: str, ledger: Ledger, log: Log) -> bool:
    """Has the job leave its cluster; True when it is gone from there. Raises as `leave` does."""
    async with ssh_turn(), opened(await connections.open_site(load_clusters().cluster(row.cluster))) as site:
        gone = await leave(row, why, site=site, ledger=ledger)
    if gone and why_it_left(gone, load_clusters()):
        log.warning("%s: leaves this cluster, which cannot run it: %s", row.cluster, why)
    return gone is not None


async def goes_elsewhere(row: JobRow, moves_left: int, ledger: Ledger, log: Log) -> bool:
    """True when a job that lost its nodes too often here is to be sent anew elsewhere; it is settled then.

    Raises what `settle` raises; call again then.
    """
    clusters = load_clusters()
    if not lost_too_often(row, row.state, clusters) or why_not_elsewhere(row, moves_left):
        return False
    async with ssh_turn(), opened(await connections.open_site(clusters.cluster(row.cluster))) as site:
        await settle(row, site=site, ledger=ledger)
    row = await fresh_row(ledger, row.token)
    why = why_it_left(row, clusters)
    async with ssh_turn():
        decision = await decide_elsewhere(row, ledger, leaving=row.cluster)
    if why and decision.placed:
        log.warning("%s: moves on: %s", row.cluster, why)
    elif why:
        log.info("%s: it ends here: %s", row.cluster, decision.sentence)
    return bool(why) and decision.placed


async def decide_elsewhere(row: JobRow, ledger: Ledger, *, leaving: str = "") -> Decision:
    """Where the job would go without the clusters that it has left and the one that it is ``leaving``."""
    site_file = load_clusters()
    attempts = await asyncio.to_thread(ledger.attempts, row.key)
    left = left_before(row, attempts, site_file)
    left = {leaving: "", **left} if leaving else left
    remaining = [cluster for name, cluster in site_file.clusters.items() if name not in left]
    others = [await asyncio.to_thread(as_learnt, cluster, ledger) for cluster in remaining]
    looked = await survey(others, row.request, connections.open_site, row.submitted_by)
    seen = {view.cluster.name: view for view in looked}
    gone = {
        name: ClusterView(site_file.cluster(name), unavailable=_why_not(why)) for name, why in left.items()
    }
    views = [(seen | gone)[name] for name in site_file.clusters]
    request, now = row.request, datetime.now(UTC)
    project, budgets = request.project, load_budgets()
    budget = await asyncio.to_thread(standing_of, row.key, project, budgets, ledger, now, moving=True)
    return decide(request, views, site_file.policy, now.timestamp(), budget)


def _why_not(why: str) -> str:
    return f"it could not run this job ({why})" if why else "it cannot run this job"
