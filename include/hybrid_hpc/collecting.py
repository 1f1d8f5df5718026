"""The end of a job: evidence of how it ended, its output, its files, what it used; then it is settled."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from hybrid_hpc import job_story
from hybrid_hpc.clusters import Cluster
from hybrid_hpc.errors import AccessDenied, ConnectionLost, HybridHpcError, Refused, Unavailable
from hybrid_hpc.findings import UNKNOWN
from hybrid_hpc.headnode import RemoteFile
from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import JobRow, Ledger
from hybrid_hpc.ledger.database import utc_now
from hybrid_hpc.on_demand import instead_of_spot
from hybrid_hpc.outcome import ExitRecord, Outcome, outcome_of, read_exit_records, withdrawn
from hybrid_hpc.ownership import cancel
from hybrid_hpc.schedulers.base import CLAIM, WITHDRAWN, JobRecord
from hybrid_hpc.site import Site
from hybrid_hpc.usage.rows import Ours, UsageRow, is_usage, usage_row, usage_text
from hybrid_hpc.ways import JobNode

log = logging.getLogger(__name__)

PATIENCE_S = 90.0  # how long the accounting may lag behind the queue
LOOK_AGAIN_S = 1.0
TAIL_BYTES = 16 * 1024
EXIT_RECORD_BYTES = 64 * 1024
MAX_FILES = 1000


@dataclass(frozen=True, slots=True)
class Collected:
    """What a job left: how it ended, the end of its output, files brought back, usage."""

    row: JobRow
    outcome: Outcome
    tail: str
    files: tuple[Path, ...]
    usage: tuple[UsageRow, ...]
    missing: tuple[str, ...] = ()  # what could not be brought back, a sentence each

    @property
    def succeeded(self) -> bool:
        """True only for a job that is known to have completed."""
        return self.outcome.state is JobState.COMPLETED

    def lines(self) -> list[str]:
        """What to tell at the end, a line each."""
        lines = [f"brought back {path} ({path.stat().st_size:,} bytes)" for path in self.files]
        return [*lines, *self.missing, usage_text(self.usage), f"{self.row.cluster}: {self.outcome.sentence}"]

    def failure(self) -> str:
        """One sentence, then the last lines of the output."""
        last = "\n".join(f"    {line}" for line in self.tail.splitlines()[-12:])
        said = f"\nThe last lines of its output:\n{last}" if last else "\nIt wrote no output."
        return f"job {self.row.native_id} on {self.row.cluster}: {self.outcome.sentence}{said}"

    def summary(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "token": self.row.token,
            "cluster": self.row.cluster,
            "native_id": self.row.native_id,
            "state": self.outcome.state.value,
            "exit_code": self.outcome.exit_code,
            "sentence": self.outcome.sentence,
            "files": [str(path) for path in self.files],
            "core_h": round(sum(row.core_h for row in self.usage), 6),
            "cost_usd": round(sum(row.cost_usd for row in self.usage), 6),
        }


class StillRunning(Unavailable):
    """The job has not ended: collect it later."""


class StillUnknown(Unavailable):
    """The job has ended, or is lost, and nothing says how: collect it later."""


async def settle(row: JobRow, *, site: Site, ledger: Ledger) -> tuple[JobRow, Outcome, list[UsageRow]]:
    """Settles the job of ``row`` by evidence, with its usage; the row is as it was before.

    A job that has not ended is cancelled first when somebody wished it, or when it was never released.
    Raises `StillRunning` for any other, `StillUnknown` (with an alert) while nothing says how it ended, and
    `Unavailable` when the cluster does not answer; then nothing is settled.
    """
    fresh = await asyncio.to_thread(ledger.job, row.token)
    row, records, outcome = await _evidence(fresh or row, site, ledger)
    if row.leave_requested_at and await _was_withdrawn(row, site.head_node.acting_as(row.runs_as)):
        outcome = withdrawn(outcome, f"{row.cluster} {_lacks(row, site.cluster)} ({row.leave_why})")
    if not outcome.state.final:
        raise await asyncio.to_thread(_unknown, row, outcome, ledger)
    ours = Ours(row.token, row.native_id, row.submitted_by)
    usage = [usage_row(record, site.cluster, ours) for record in filter(is_usage, records)]
    await asyncio.to_thread(ledger.save_usage, usage)
    if await asyncio.to_thread(ledger.settle, row.token, outcome):
        await asyncio.to_thread(_tell_story, row.token, ledger)
    await asyncio.to_thread(ledger.clear_alert, row.token, UNKNOWN)
    return row, outcome, usage


def _tell_story(token: str, ledger: Ledger) -> None:
    if settled := ledger.job(token):
        job_story.tell(settled, ledger.decision_of(token))


def _lacks(row: JobRow, cluster: Cluster) -> str:
    return "had no spot nodes for it" if instead_of_spot(row, cluster) else "could not run it"


async def collect(row: JobRow, *, site: Site, ledger: Ledger, results: Path) -> Collected:
    """Settles the job of ``row`` as `settle` does; its files go to the local folder ``results``.

    A file that cannot be brought back keeps nothing from being settled.
    """
    row, outcome, usage = await settle(row, site=site, ledger=ledger)
    way = site.head_node.acting_as(row.runs_as)
    tail = await _tail(way, row.run_dir, outcome)
    await asyncio.to_thread(ledger.save_output, row.token, tail)
    files, missing = await _bring_back(way, row, results)
    return Collected(row, outcome, tail, tuple(files), tuple(usage), tuple(missing))


def _unknown(row: JobRow, outcome: Outcome, ledger: Ledger) -> StillUnknown:
    """Keeps since when it is unknown, and tells a person: time alone may never end this."""
    ledger.settle(row.token, outcome)  # seen, and left open
    fresh = ledger.job(row.token) or row
    since = f" since {fresh.unknown_since:%Y-%m-%d %H:%M} UTC" if fresh.unknown_since else ""
    said = f"job {row.native_id} ({row.request_json['name']}) is unknown{since}: {outcome.sentence}"
    ledger.raise_alert(row.token, UNKNOWN, said, cluster=row.cluster)
    return StillUnknown(f"{row.cluster}: {said}")


async def _evidence(row: JobRow, site: Site, ledger: Ledger) -> tuple[JobRow, list[JobRecord], Outcome]:
    """Accounting first, then the job's own exit record, then time; without evidence it is unknown."""
    # The queue first: a job that is queued again after a node failure looks ended in the accounting.
    queued = not row.state.final and await _still_queued(row, site)
    if queued:
        row = await _cancel(row, site, ledger)
    until = time.monotonic() + _patience_s(row, utc_now())
    while True:
        records = await _history(row, site)
        outcome = _outcome(row, records)
        late = time.monotonic() > until
        if late or outcome.state is JobState.FAILED:  # its own record has the exit code that Slurm cuts
            outcome = _outcome(row, records, await _exit_records(site.head_node.acting_as(row.runs_as), row))
        if outcome.state.final and not queued:
            return row, records, outcome
        if late:
            return row, records, await _of_one_that_may_run(row, site, outcome)
        await asyncio.sleep(LOOK_AGAIN_S)
        queued = queued and await _still_queued(row, site)


async def _of_one_that_may_run(row: JobRow, site: Site, outcome: Outcome) -> Outcome:
    """The outcome, unless the job is in the queue after all: then it has not ended, whatever is written."""
    if await _still_queued(row, site):
        told = ", though the cluster was told to cancel it" if row.cancel_wished else ""
        raise StillRunning(f"job {row.native_id} on {row.cluster} is still in the queue{told}")
    return outcome


def _patience_s(row: JobRow, now: datetime) -> float:
    """How long to wait for the accounting; not again for a job that was unknown for longer than that."""
    unknown_s = (now - row.unknown_since).total_seconds() if row.unknown_since else 0.0
    return 0.0 if unknown_s > PATIENCE_S else PATIENCE_S


async def _cancel(row: JobRow, site: Site, ledger: Ledger) -> JobRow:
    if row.released_at is None:
        await asyncio.to_thread(
            ledger.request_cancel, row.token, by="collect", why="its submission was not finished"
        )
    elif not row.cancel_wished:
        said = f"job {row.native_id} on {row.cluster} has not ended, and nobody wished to cancel it"
        raise StillRunning(said)
    return await cancel(row, scheduler=site.scheduler, head_node=site.head_node, ledger=ledger)


def _outcome(row: JobRow, records: list[JobRecord], exits: Sequence[ExitRecord] = ()) -> Outcome:
    who = f"{row.cancel_requested_by}: {row.cancel_why}" if row.cancel_wished else ""
    return outcome_of(records, exits, tasks=row.request.array_tasks, cancelled_by=who)


async def _was_withdrawn(row: JobRow, head_node: JobNode) -> bool:
    """True when its script never began and never will: the claim on its run directory is ours."""
    owner = await head_node.read_small(f"{row.run_dir}/{CLAIM}", len(WITHDRAWN) + 1)
    return owner is not None and owner.strip() == WITHDRAWN


async def _history(row: JobRow, site: Site) -> list[JobRecord]:
    native_id = str(row.native_id)
    try:
        answer = await site.head_node.run(site.scheduler.history_command([native_id]))
    except ConnectionLost as error:  # it hangs: the job's own record may still tell
        log.warning("%s: the accounting does not answer: %s", row.cluster, error)
        return []
    try:
        records = site.scheduler.read_history(answer)
    except Unavailable as error:  # the head node has answered, the accounting has not
        log.warning("%s: the accounting cannot be read: %s", row.cluster, error)
        return []
    return [record for record in records if record.native_id == native_id and record.name == row.token]


async def _still_queued(row: JobRow, site: Site) -> bool:
    answer = await site.head_node.run(site.scheduler.load_command())
    load = site.scheduler.read_load(answer)
    return any(job.native_id == row.native_id and job.name == row.token for job in load.jobs)


async def _exit_records(head_node: JobNode, row: JobRow) -> list[ExitRecord]:
    names = ["exit"]
    if row.request.array:
        names = await _names(head_node, row.run_dir, "exit.*")
    texts = [await head_node.read_small(f"{row.run_dir}/{name}", EXIT_RECORD_BYTES) for name in names]
    records = read_exit_records([text for text in texts if text])
    return [record for record in records if record.native_id == row.native_id]


async def _names(head_node: JobNode, run_dir: str, pattern: str) -> list[str]:
    """The names that can be read. None when it is refused: what a job leaves must not keep it open."""
    try:
        found = await head_node.find(run_dir, [pattern])
    except AccessDenied:
        raise
    except Refused as error:
        log.warning("no %s is looked at: %s", pattern, error)
        return []
    return sorted(file.path for file in found if _is_text(file.path))


def _is_text(name: str) -> bool:
    """A name of other bytes than UTF-8's cannot go into a command, a log or an XCom."""
    return name.encode(errors="ignore").decode() == name


async def _tail(head_node: JobNode, run_dir: str, outcome: Outcome) -> str:
    """The end of the output; of an array that failed, of the first task that did."""
    names = [f"output.{outcome.task}.log"] if outcome.task else []
    for name in [*names, "output.log"]:
        text = await head_node.tail(f"{run_dir}/{name}", TAIL_BYTES)
        if text is not None:
            return text
    logs = await _names(head_node, run_dir, "output.*.log")
    return await head_node.tail(f"{run_dir}/{logs[0]}", TAIL_BYTES) or "" if logs else ""


async def _bring_back(head_node: JobNode, row: JobRow, results: Path) -> tuple[list[Path], list[str]]:
    """Fetches every file that the request's output patterns match, and tells what could not be had."""
    fetched: dict[str, Path] = {}
    missing: list[str] = []
    for pattern in row.request.outputs:
        try:
            found = await head_node.find(row.run_dir, [pattern])
        except HybridHpcError as error:
            missing.append(f"{pattern} could not be looked for: {error}")
            continue
        if not found:
            missing.append(f"no file matches {pattern}")
        if len(found) > MAX_FILES:
            missing.append(f"{len(found) - MAX_FILES} more files match {pattern}: only {MAX_FILES} came back")
        for file in found[:MAX_FILES]:
            try:
                fetched[file.path] = await _fetch(head_node, row.run_dir, file, results)
            except (HybridHpcError, OSError) as error:
                name = file.path.encode(errors="backslashreplace").decode()
                missing.append(f"{name} could not be brought back: {error}")
    return sorted(fetched.values()), missing


async def _fetch(head_node: JobNode, run_dir: str, file: RemoteFile, results: Path) -> Path:
    if not _is_text(file.path):
        raise Refused("its name is not UTF-8; have the job give it another")
    target = results / file.path
    await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
    await head_node.fetch(run_dir, file, target)
    return target
