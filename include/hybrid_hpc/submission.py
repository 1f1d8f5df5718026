"""Submitting exactly once: steps over a head node and the ledger.

The steps are: intent (committed before anything is sent), look for a job of that name, upload, submit
*held*, record by compare-and-set, release. Only a recorded job is ever released, and only one can be
recorded, so whatever dies and whenever, at most one job of a token runs. The same call made again goes on
where the last one stopped. What it cannot undo, a held job whose submission arrived very late, uses no node
and is what the reconcile DAG sweeps.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from hybrid_hpc import crash as crash_points
from hybrid_hpc import telemetry
from hybrid_hpc.errors import AccessDenied, ConnectionLost, SubmissionRefused, Unavailable, Unreachable
from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import Job, JobRow, Ledger
from hybrid_hpc.ledger.database import utc_now
from hybrid_hpc.ledger.rows import clears
from hybrid_hpc.outcome import Outcome
from hybrid_hpc.ownership import (
    Remote,
    cancel,
    fresh_row,
    look,
    record_found,
    settle_unsent,
    tell_to_cancel,
)
from hybrid_hpc.schedulers.base import Found, Scheduler, Submission

__all__ = ["Job", "Patience", "submit"]

log = logging.getLogger(__name__)

SUBMIT_TIMEOUT_S = 60.0
SCRIPT_MODE = 0o700
OWNER_FILE = "ledger"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a submission without an answer may still arrive, and how often to look for it meanwhile.

    sbatch repeats by itself for up to 120 s; hence 150. The moments are kept in the ledger by this
    machine's clock: workers whose clocks differ by more than half a minute need more.
    """

    doubt_s: float = 150.0
    look_every_s: float = 10.0
    now: Callable[[], datetime] = utc_now
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


async def submit(
    job: Job,
    *,
    scheduler: Scheduler,
    head_node: Remote,
    ledger: Ledger,
    patience: Patience | None = None,
    crash: Callable[[str], None] | None = None,
) -> JobRow:
    """The row of the one job of this attempt, recorded and released; it may have ended since.

    Earlier attempts at the same job get a wish to cancel first; those on this cluster are cancelled here,
    those on another by whoever watches it. Made again after any failure it goes on where that left off.

    Raises `SubmissionRefused` when the scheduler does not take the job or when it was cancelled before,
    which then is settled, and `Unavailable` when a step did not work: try again. Among those,
    `ConnectionLost` says that the job may have been taken; the next call looks for it before anything else.
    """
    crash = crash or partial(crash_points.at, whose=job.key.run_id)
    steps = _Steps(job, scheduler, head_node, ledger, patience or Patience(), crash)
    with telemetry.measured("hybrid_hpc.job.submit_time", cluster=job.cluster):
        return await steps.run()


@dataclass(frozen=True, slots=True)
class _Steps:
    job: Job
    scheduler: Scheduler
    head_node: Remote
    ledger: Ledger
    patience: Patience
    crash: Callable[[str], None]

    async def run(self) -> JobRow:
        await self._stop_if_superseded()
        await self._cancel_earlier_attempts()
        self.crash("before_intent")
        row = await asyncio.to_thread(self.ledger.intend, self.job)
        self.crash("after_intent")
        # As whom the row says, not the job: an earlier try may have sent it before clusters.yaml was changed.
        steps = replace(self, head_node=self.head_node.acting_as(row.runs_as))
        while row.native_id is None and not row.settled:
            row = await steps._try_to_record(row)
        return await steps._release(row)

    async def _stop_if_superseded(self) -> None:
        """A worker that slept while its task was cleared must not run the job beside the new attempt's."""
        key = self.job.key
        newest = await asyncio.to_thread(
            self.ledger.latest_job, key.dag_id, key.run_id, key.group, key.map_index
        )
        if newest and clears(newest.attempt) > clears(self.job.attempt):
            raise SubmissionRefused("its task was cleared, and a newer attempt has taken its place")

    async def _cancel_earlier_attempts(self) -> None:
        """A cleared task must not leave its job running beside the new one."""
        others = await asyncio.to_thread(self.ledger.open_attempts, self.job.key)
        # Read after the others: a try of this attempt that is alive now must not be taken for an earlier one.
        mine = await asyncio.to_thread(self.ledger.attempted, self.job)
        for row in others:
            if mine is None or row.generation < mine.generation:
                await self._cancel_earlier(row)

    async def _cancel_earlier(self, row: JobRow) -> None:
        why = "its task was cleared, and a new attempt takes its place"
        by = self.job.submitted_by or "hybrid-hpc"
        await asyncio.to_thread(self.ledger.request_cancel, row.token, by, why)
        if row.cluster == self.job.cluster:
            await cancel(
                row,
                scheduler=self.scheduler,
                head_node=self.head_node,
                ledger=self.ledger,
                now=self.patience.now,
            )

    async def _try_to_record(self, row: JobRow) -> JobRow:
        """One turn: look and adopt, or wait while a submission may still arrive, or submit."""
        doubtful = row.ambiguous(self.patience.now())  # before the look: it must not end between the two
        with telemetry.span("hpc.submit.look", token=row.token):
            found = await look(self.scheduler, self.head_node, row.token)
        self.crash("after_look")
        if found:
            return await self._record(row, found)
        if doubtful:
            await self._wait(row)
        elif row.cancel_wished:
            return await settle_unsent(self.ledger, row.token)
        else:
            with telemetry.span("hpc.submit.send", token=row.token):
                native_id = await self._send(row)
            if native_id:
                return await self._record(row, [Found(native_id, JobState.HELD)], sent=True)
        return await fresh_row(self.ledger, row.token)

    async def _wait(self, row: JobRow) -> None:
        assert row.ambiguous_until  # noqa: S101  narrows for the type checker; the row is ambiguous
        left_s = max((row.ambiguous_until - self.patience.now()).total_seconds(), 0.0)
        log.info(
            "%s: an earlier try may still arrive at %s; looking for it for another %.0f s before it is sent "
            "again",
            row.token,
            row.cluster,
            left_s,
        )
        await self.patience.sleep(min(left_s, self.patience.look_every_s))

    async def _send(self, row: JobRow) -> str | None:
        """The native id of a held job, None when somebody else was faster or wished it away."""
        submission = await self._upload(row)
        self.crash("after_upload")
        until = self.patience.now() + timedelta(seconds=self.patience.doubt_s)
        if not await asyncio.to_thread(self.ledger.sending, row.token, submission.run_dir, until):
            return None
        self.crash("before_send")
        try:
            native_id = await self._submit_held(submission)
        except (Unreachable, AccessDenied):
            await asyncio.to_thread(self.ledger.not_sent, row.token, until)
            raise
        except SubmissionRefused as refusal:
            await self._settle_refused(row.token, str(refusal))
            raise
        except Unavailable as lost:
            raise ConnectionLost(self._doubt(lost)) from lost
        self.crash("after_send")
        return native_id

    async def _upload(self, row: JobRow) -> Submission:
        run_dir = await self._run_dir(row.token)
        await self.head_node.make_dir(run_dir)
        await self.head_node.write(f"{run_dir}/script", row.request.script, mode=SCRIPT_MODE)
        # Whose job it is, should the ledger ever forget it: other installations may share the account.
        installation = await asyncio.to_thread(self.ledger.installation)
        await self.head_node.write(f"{run_dir}/{OWNER_FILE}", f"{installation}\n")
        directives = dict(self.job.directives)
        return Submission(
            row.token,
            row.request,
            row.partition,
            run_dir,
            directives,
            evictable=self.job.evictable,
            asked_by=row.submitted_by,
        )

    async def _run_dir(self, token: str) -> str:
        return f"{await self.head_node.storage()}/{token}"

    async def _submit_held(self, submission: Submission) -> str:
        command = self.scheduler.submit_command(submission)
        answer = await self.head_node.run(command, timeout_s=SUBMIT_TIMEOUT_S)
        return self.scheduler.read_submit(answer)

    def _doubt(self, lost: Unavailable) -> str:
        return (
            f"{str(lost).rstrip('.')}. Whether {self.job.cluster} took the job is not known: the next try "
            f"looks for it, and sends it again only after {self.patience.doubt_s:.0f} s without a trace of it"
        )

    async def _settle_refused(self, token: str, words: str) -> None:
        said = f"was not taken by the scheduler: {words}"
        await asyncio.to_thread(self.ledger.settle, token, Outcome(JobState.FAILED, said, "refusal"))

    async def _record(self, row: JobRow, found: Sequence[Found], *, sent: bool = False) -> JobRow:
        run_dir = row.run_dir if sent or row.run_dir else await self._run_dir(row.token)
        recorded = await record_found(self.ledger, row.token, found, self.patience.now(), run_dir)
        self.crash("after_record")
        if not sent:
            log.info("%s: found as job %s of an earlier try", row.token, recorded.native_id)
        for other in found:
            if other.native_id != recorded.native_id:
                await self._drop(row.token, other)
        return recorded

    async def _drop(self, token: str, other: Found) -> None:
        """Cancels a held job of ours that lost against the recorded one. It was never released."""
        if other.state is JobState.HELD:
            command = self.scheduler.cancel_command(other.native_id, token)
            self.scheduler.read_cancel(await self.head_node.run(command))
        elif not other.state.final:
            log.warning("%s: job %s has this name too and is %s", token, other.native_id, other.state)

    async def _release(self, row: JobRow) -> JobRow:
        """Starts the recorded job, or keeps the wish that came before it was recorded."""
        if row.native_id is None:
            raise SubmissionRefused(row.sentence)
        if row.settled or row.released_at:
            return row
        if row.cancel_wished:
            return await tell_to_cancel(row, self.scheduler, self.head_node, self.ledger)
        command = self.scheduler.release_command(row.native_id, row.token)
        with telemetry.span("hpc.submit.release", token=row.token):
            self.scheduler.read_release(await self.head_node.run(command))
        self.crash("after_release")
        await asyncio.to_thread(self.ledger.mark_released, row.token)
        self.crash("after_mark")
        return await fresh_row(self.ledger, row.token)
