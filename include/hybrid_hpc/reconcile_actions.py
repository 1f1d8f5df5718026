"""The actions of a reconciliation on one cluster, each of them harmless when repeated."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime

from hybrid_hpc.collecting import StillUnknown, settle
from hybrid_hpc.errors import HybridHpcError
from hybrid_hpc.findings import UNKNOWN, Action, Finding
from hybrid_hpc.identity import SERVICE
from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import JobRow, Ledger
from hybrid_hpc.ownership import adopt, cancel
from hybrid_hpc.placement.words import one_line
from hybrid_hpc.site import Site
from hybrid_hpc.ways import JobNode

log = logging.getLogger(__name__)

BY = "hpc_reconcile"
BUDGET_S = 240.0  # the next reconciliation is five minutes away
SETTLED_AT_ONCE = 4  # each waits for the accounting, on one connection
TO_BE_SETTLED = "(to be settled)"


class Actions:
    """Acts on what was found on one cluster; what does not fit into ``budget_s`` is left to the next time."""

    def __init__(
        self, site: Site, ledger: Ledger, now: Callable[[], datetime], *, budget_s: float = BUDGET_S
    ) -> None:
        self._site = site
        self._ledger = ledger
        self._now = now
        self._until = time.monotonic() + budget_s
        self._settlers = asyncio.Semaphore(SETTLED_AT_ONCE)

    async def carry_out(self, findings: Sequence[Finding]) -> list[Finding]:
        """The findings with their results. First every job is told to end, then their ends are waited for."""
        done = [await self._acted(finding) for finding in findings]
        return list(await asyncio.gather(*(self._settled(finding) for finding in done)))

    async def _acted(self, finding: Finding) -> Finding:
        acts: dict[Action, Callable[[Finding], Awaitable[str]]] = {
            Action.ADOPT: self._adopt,
            Action.RELEASE: self._release,
            Action.CANCEL: self._cancel,
            Action.CANCEL_STRAY: self._cancel_stray,
        }
        act = acts.get(finding.action)
        if act is None:
            return replace(finding, result=TO_BE_SETTLED) if finding.action is Action.SETTLE else finding
        return replace(finding, result=await self._guarded(act, finding))

    async def _settled(self, finding: Finding) -> Finding:
        if finding.result != TO_BE_SETTLED:
            return finding
        async with self._settlers:
            return replace(finding, result=await self._guarded(self._settle, finding))

    async def _guarded(self, act: Callable[[Finding], Awaitable[str]], finding: Finding) -> str:
        """What came of it, in words; nothing but a death gets out of here."""
        if time.monotonic() > self._until:
            return "left to the next time: there is too much to do"
        try:
            return await act(finding)
        except HybridHpcError as error:
            return f"not done: {one_line(str(error))}"
        except Exception as error:  # the other findings want their turn
            log.exception("%s: %s of %s failed", finding.cluster, finding.action, finding.token)
            return f"not done: {one_line(f'{type(error).__name__}: {error}')}"

    async def _row(self, finding: Finding) -> JobRow | None:
        return await asyncio.to_thread(self._ledger.job, finding.token)

    async def _known(self, finding: Finding) -> JobRow:
        row = await self._row(finding)
        if row is None:
            raise LookupError(f"the ledger knows no job {finding.token} any more")
        return row

    async def _adopt(self, finding: Finding) -> str:
        row = await adopt(
            await self._known(finding),
            scheduler=self._site.scheduler,
            head_node=self._site.head_node,
            ledger=self._ledger,
            now=self._now,
        )
        return f"recorded as job {row.native_id}" if row.native_id else "no job of ours has that name now"

    async def _release(self, finding: Finding) -> str:
        row = await self._known(finding)
        if row.settled or row.cancel_wished or row.released_at or row.native_id != finding.native_id:
            return "left alone: somebody else was quicker"
        command = self._site.scheduler.release_command(finding.native_id, finding.token)
        self._site.scheduler.read_release(await self._way(row).run(command))
        await asyncio.to_thread(self._ledger.mark_released, row.token)
        return "released"

    async def _cancel(self, finding: Finding) -> str:
        row = await self._known(finding)
        if row.settled:
            return await self._cancel_again(row, finding)
        # The wish first: whoever submits or watches the job acts on it too, should we die now.
        await asyncio.to_thread(self._ledger.request_cancel, row.token, by=BY, why=finding.why)
        row = await cancel(
            row,
            scheduler=self._site.scheduler,
            head_node=self._site.head_node,
            ledger=self._ledger,
            now=self._now,
        )
        if row.settled:
            return row.sentence
        return TO_BE_SETTLED if row.native_id else "its submission may still arrive: looked for the next time"

    async def _cancel_again(self, row: JobRow, finding: Finding) -> str:
        """For a job that lives on although it was wished away and is settled."""
        if not row.cancel_wished or not finding.native_id:
            return f"settled meanwhile: {row.sentence}"
        await self._tell_to_cancel(finding, self._way(row))
        return "the cluster was told again"

    async def _cancel_stray(self, finding: Finding) -> str:
        """Looks at it again: it is cancelled only when it is ours, is held, and nothing stands for it."""
        row = await self._row(finding)
        if row and not row.settled and row.native_id in (None, finding.native_id):
            return "left alone: its submission goes on"
        way, command = self._way(row), self._site.scheduler.find_command(finding.token)
        found = self._site.scheduler.read_find(await way.run(command), finding.token)
        if not any(job.native_id == finding.native_id and job.state is JobState.HELD for job in found):
            return "left alone: no held job of ours has that id and name now"
        await self._tell_to_cancel(finding, way)
        return "cancelled"

    async def _tell_to_cancel(self, finding: Finding, way: JobNode) -> None:
        command = self._site.scheduler.cancel_command(finding.native_id, finding.token)
        self._site.scheduler.read_cancel(await way.run(command))

    def _way(self, row: JobRow | None) -> JobNode:
        """As whom the job runs; of one that the ledger has forgotten, as the cluster's own account."""
        return self._site.head_node.acting_as(row.runs_as if row else SERVICE)

    async def _settle(self, finding: Finding) -> str:
        row = await self._known(finding)
        if row.settled:
            return row.sentence
        try:
            _, outcome, _ = await settle(row, site=self._site, ledger=self._ledger)
        except StillUnknown as unknown:
            return await self._close(row, finding) if finding.closes else f"left open: {unknown}"
        return outcome.sentence

    async def _close(self, row: JobRow, finding: Finding) -> str:
        """Closes a job of which nothing will be known any more, once the accounting has said so itself.

        An accounting that does not answer may know it tomorrow: then `Unavailable` is raised.
        """
        site, native_id = self._site, str(row.native_id)
        answer = await site.head_node.run(site.scheduler.history_command([native_id]))
        records = site.scheduler.read_history(answer)
        if any((record.native_id, record.name) == (native_id, row.token) for record in records):
            return "left open: the accounting has it, without an end"
        why = f"{finding.why}; neither the accounting nor an exit record says how it ended"
        # A wish, so that it is cancelled should it ever come back.
        await asyncio.to_thread(self._ledger.request_cancel, row.token, by=BY, why=finding.why)
        await asyncio.to_thread(self._ledger.close_unknown, row.token, why)
        await asyncio.to_thread(self._ledger.clear_alert, row.token, UNKNOWN)
        return "closed: how it ended stays unknown for ever"
