"""Which job on its cluster a row of the ledger stands for: looked for by its name, recorded, cancelled.

Every step may be repeated by anybody: a submission, a watch, a person's wish, the reconcile DAG.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from hybrid_hpc.commands import Answer, Command
from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import JobRow, Ledger
from hybrid_hpc.ledger.database import utc_now
from hybrid_hpc.outcome import Outcome
from hybrid_hpc.schedulers.base import Found, Scheduler


class Remote(Protocol):
    """What submitting and cancelling need of a `hybrid_hpc.headnode.HeadNode`."""

    async def run(self, command: Command, *, timeout_s: float | None = None) -> Answer:
        """Runs one command to its end."""

    async def storage(self) -> str:
        """The absolute folder of all run directories."""

    async def make_dir(self, path: str) -> None:
        """Makes a folder, harmlessly when it exists."""

    async def write(self, path: str, text: str, *, mode: int = 0o600) -> None:
        """Writes a whole file or nothing."""

    def acting_as(self, identity: str) -> Remote:
        """The same as another identity (`hybrid_hpc.identity`)."""


async def cancel(
    row: JobRow,
    *,
    scheduler: Scheduler,
    head_node: Remote,
    ledger: Ledger,
    now: Callable[[], datetime] = utc_now,
) -> JobRow:
    """Tells the cluster to cancel the job of a recorded wish; harmless when repeated or when it has ended.

    A job that never reached the scheduler is settled as cancelled. While its submission may still arrive,
    nothing is settled: call again. Raises ValueError when nobody wished it, `Unavailable` when the
    cluster or the ledger does not answer; the wish stands.
    """
    fresh = await fresh_row(ledger, row.token)
    if fresh.settled:
        return fresh
    if not fresh.cancel_wished:
        raise ValueError(f"nobody wished to cancel {fresh.token}: record that first")
    head_node = head_node.acting_as(fresh.runs_as)
    if fresh.native_id is None:
        doubtful = fresh.ambiguous(now())  # before the look: it must not end between the two
        found = await look(scheduler, head_node, fresh.token)
        if not found:
            return fresh if doubtful else await settle_unsent(ledger, fresh.token)
        fresh = await record_found(ledger, fresh.token, found, now())
    return await tell_to_cancel(fresh, scheduler, head_node, ledger)


async def adopt(
    row: JobRow,
    *,
    scheduler: Scheduler,
    head_node: Remote,
    ledger: Ledger,
    now: Callable[[], datetime] = utc_now,
) -> JobRow:
    """Records the job of this name that the cluster has, when there is one and none is recorded.

    It releases and cancels nothing, so it is harmless beside a submission that is alive: that one finds the
    job recorded and goes on. Raises `Unavailable` when the cluster or the ledger does not answer.
    """
    fresh = await fresh_row(ledger, row.token)
    if fresh.settled or fresh.native_id is not None:
        return fresh
    head_node = head_node.acting_as(fresh.runs_as)
    found = await look(scheduler, head_node, fresh.token)
    if not found:
        return fresh
    run_dir = fresh.run_dir or f"{await head_node.storage()}/{fresh.token}"
    return await record_found(ledger, fresh.token, found, now(), run_dir)


async def fresh_row(ledger: Ledger, token: str) -> JobRow:
    """The row as it is now. Raises LookupError when the ledger does not know the token."""
    row = await asyncio.to_thread(ledger.job, token)
    if row is None:
        raise LookupError(f"the ledger knows no job {token}: was its database exchanged?")
    return row


async def look(scheduler: Scheduler, head_node: Remote, token: str) -> list[Found]:
    """Every job of that name, the one to adopt first."""
    answer = await head_node.run(scheduler.find_command(token))
    return sorted(scheduler.read_find(answer, token), key=_adopt_first)


def _adopt_first(found: Found) -> tuple[int, int, str]:
    """What has run or runs, then what waits, then what was never released, then what ended before it ran."""
    never_ran = (JobState.CANCELLED, JobState.FAILED, JobState.DEADLINE, JobState.BOOT_FAIL)
    if found.state in never_ran:
        rank = 3
    elif found.state.started:
        rank = 0
    else:
        rank = 2 if found.state in (JobState.HELD, JobState.UNKNOWN) else 1
    return rank, len(found.native_id), found.native_id  # the shorter number is the lower one


async def record_found(
    ledger: Ledger, token: str, found: Sequence[Found], now: datetime, run_dir: str = ""
) -> JobRow:
    """Records the first of ``found`` unless another is recorded; the row says which one stands."""
    await asyncio.to_thread(ledger.record_native_id, token, found[0].native_id, now, run_dir)
    return await fresh_row(ledger, token)


async def settle_unsent(ledger: Ledger, token: str) -> JobRow:
    """Settles a job that was wished away before it reached the scheduler."""
    row = await fresh_row(ledger, token)
    said = f"cancelled by {row.cancel_requested_by or 'somebody'} before it was submitted: {row.cancel_why}"
    await asyncio.to_thread(ledger.settle, token, Outcome(JobState.CANCELLED, said, "never sent"))
    return await fresh_row(ledger, token)


async def tell_to_cancel(row: JobRow, scheduler: Scheduler, head_node: Remote, ledger: Ledger) -> JobRow:
    """Has the scheduler cancel a recorded job; it checks the name. Harmless when repeated."""
    if row.native_id is None:  # settled as never sent while it was being adopted
        return row
    command = scheduler.cancel_command(row.native_id, row.token)
    scheduler.read_cancel(await head_node.run(command))
    await asyncio.to_thread(ledger.cancel_sent, row.token)
    return await fresh_row(ledger, row.token)
