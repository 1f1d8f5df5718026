"""Compares ledger, runs and queue (pure): what nobody owns, what was left halfway, what nobody can explain.

`hybrid_hpc.reconciling` carries out what is found. A wrong cancel is the worst error, so a job is only ever
cancelled when its run has ended, when somebody's wish to cancel stands in the ledger, or when it is held and
another job is recorded in its place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from hybrid_hpc.findings import CONFLICT, UNKNOWN, Action, Finding, InQueue, in_queue, liveliness
from hybrid_hpc.jobs import JobState
from hybrid_hpc.placement.words import counted, one_line

if TYPE_CHECKING:
    from hybrid_hpc.ledger.rows import JobRow
    from hybrid_hpc.schedulers.base import Load

__all__ = ["Action", "Finding", "Run", "compare"]

WISH_AGE = timedelta(minutes=1)  # until then, whoever wished a job away is cancelling it
INTENT_AGE = timedelta(minutes=1)  # until then, whoever submits a job is about to record it
UNRELEASED_AGE = timedelta(minutes=10)  # Airflow tries a dead submission again before that
STRAY_AGE_S = 600.0  # the head node's clock
UNKNOWN_AGE = timedelta(minutes=15)
SETTLED_AGE = timedelta(minutes=1)  # a job that has just ended may still stand in the queue we read

RUN_ENDED = "its DAG run has ended or was deleted"

Run = tuple[str, str]  # dag_id, run_id


@dataclass(frozen=True, slots=True)
class _World:
    cluster: str
    living: Collection[Run]
    now: datetime
    clock: float  # the head node's
    complete: bool  # False: lines of the queue could not be read, so that absence means nothing
    ours: Collection[str]

    def older(self, moment: datetime | None, limit: timedelta) -> bool:
        return moment is not None and self.now - moment > limit

    def age_s(self, moment: datetime | None) -> float | None:
        return None if moment is None else (self.now - moment).total_seconds()


def compare(
    cluster: str,
    rows: Iterable[JobRow],
    known: Iterable[JobRow],
    living: Collection[Run],
    load: Load,
    now: datetime,
    ours: Collection[str] = (),
) -> list[Finding]:
    """What is not as it should be on one cluster, at most one finding for each job.

    ``rows`` are the ledger's open rows, read *before* the queue; ``known`` the rows, settled or not, of other
    names in the queue, read after it; ``living`` the (dag_id, run_id) of open rows that are alive, asked
    last. In that order nothing that is just being submitted or settled looks lost. ``ours`` are the names
    whose run directory says that they belong to this ledger.
    """
    world = _World(cluster, living, now, load.now, not load.unreadable, ours)
    queue = in_queue(load.jobs)
    by_token = {row.token: row for row in (*rows, *known)}
    findings: list[Finding] = []
    for row in by_token.values():
        if row.cluster == cluster:  # two clusters of clusters.yaml may be one queue
            found = _of_settled if row.settled else _of_open
            findings += found(row, queue.get(row.token, {}), world)
    strangers = [job for token, jobs in queue.items() if token not in by_token for job in jobs.values()]
    return [*findings, *_of_strangers(strangers, world)]


def _of_open(row: JobRow, jobs: Mapping[str, InQueue], world: _World) -> Iterator[Finding]:
    if (row.dag_id, row.run_id) not in world.living:
        yield _unwanted(row, jobs, world, RUN_ENDED, row.intent_at)
    elif row.cancel_wished:
        if world.older(row.cancel_requested_at, WISH_AGE):
            why = f"{row.cancel_requested_by} wished to cancel it"
            yield _unwanted(row, jobs, world, why, row.cancel_requested_at)
    elif row.native_id is None:
        yield from _unrecorded(row, jobs, world)
    else:
        yield from _recorded(row, jobs.get(row.native_id), world)
    if row.native_id is not None:
        yield from (_double(row, job, world) for job in jobs.values() if job.native_id != row.native_id)


def _unwanted(
    row: JobRow, jobs: Mapping[str, InQueue], world: _World, why: str, since: datetime | None
) -> Finding:
    """To be cancelled where it may still stand in the queue, else only settled."""
    ended = why == RUN_ENDED
    if row.native_id is None or row.native_id in jobs or not world.complete:
        return _finding(row, Action.CANCEL, why, world.age_s(since))
    lost = world.older(row.unknown_since, UNKNOWN_AGE)
    return _finding(
        row, Action.SETTLE, f"{why}, and it has left the queue", world.age_s(since), closes=ended and lost
    )


def _unrecorded(row: JobRow, jobs: Mapping[str, InQueue], world: _World) -> Iterator[Finding]:
    if jobs and world.older(row.intent_at, INTENT_AGE):
        job = min(jobs.values(), key=lambda job: (liveliness(job.state), len(job.native_id), job.native_id))
        why = "it is in the queue, and its submission has not recorded it"
        yield _finding(row, Action.ADOPT, why, world.age_s(row.intent_at), native_id=job.native_id)


def _recorded(row: JobRow, job: InQueue | None, world: _World) -> Iterator[Finding]:
    """Of a living run, and nobody wished it away."""
    if job is None:
        if world.complete and world.older(row.unknown_since, UNKNOWN_AGE):
            why = "neither the queue nor the accounting knows it"
            yield _finding(row, Action.REPORT, why, world.age_s(row.unknown_since), alert=UNKNOWN)
    elif job.held and row.released_at is None and world.older(row.recorded_at, UNRELEASED_AGE):
        why = "its submission ended before it was released"
        yield _finding(row, Action.RELEASE, why, world.age_s(row.recorded_at))


def _double(row: JobRow, job: InQueue, world: _World) -> Finding:
    age_s, other = world.clock - job.submitted_at, job.native_id
    if job.held:
        why = f"a second submission of job {row.native_id}, never released"
        return _finding(row, Action.CANCEL_STRAY, why, age_s, native_id=other)
    why = f"a second job of the name of job {row.native_id}; it is {_words(job)}"
    return _finding(row, Action.REPORT, why, age_s, native_id=other, alert=CONFLICT)


def _of_settled(row: JobRow, jobs: Mapping[str, InQueue], world: _World) -> Iterator[Finding]:
    if world.older(row.settled_at, SETTLED_AGE):
        yield from (_undead(row, job, world) for job in jobs.values() if not _is_ending(row, job))


def _is_ending(row: JobRow, job: InQueue) -> bool:
    """True for a settled job whose nodes are being cleaned up: its own accounting record came before that."""
    return job.native_id == row.native_id and job.state is JobState.COMPLETING


def _undead(row: JobRow, job: InQueue, world: _World) -> Finding:
    age_s, native_id = world.clock - job.submitted_at, job.native_id
    if job.held:
        why = "it was taken very late, after its job was settled"
        return _finding(row, Action.CANCEL_STRAY, why, age_s, native_id=native_id)
    if row.cancel_wished:
        why = f"{row.cancel_requested_by} wished to cancel it; it is settled, yet {_words(job)}"
        return _finding(row, Action.CANCEL, why, age_s, native_id=native_id)
    why = f"it is settled as {_word(row.outcome)}, yet {_words(job)}"
    return _finding(row, Action.REPORT, why, age_s, native_id=native_id, alert=CONFLICT)


def _of_strangers(jobs: Sequence[InQueue], world: _World) -> Iterator[Finding]:
    """Jobs that this ledger does not know: another installation may share the account."""
    left: list[InQueue] = []
    for job in jobs:
        age_s = world.clock - job.submitted_at
        if job.held and age_s > STRAY_AGE_S and job.token in world.ours:
            why = "this ledger has submitted it and does not know it any more; never released"
            yield Finding(world.cluster, Action.CANCEL_STRAY, why, job.token, job.native_id, age_s=age_s)
        else:
            left.append(job)
    ours = [job for job in left if job.token in world.ours and not job.held]
    others = [job for job in left if job.token not in world.ours]
    if ours:
        why = "were submitted by this ledger, which does not know them: was an older copy of it restored?"
        yield _summed(ours, why, world)
    if others:
        why = "have names like ours and are not in this ledger: do they belong to another installation?"
        yield _summed(others, why, world)


def _summed(jobs: Sequence[InQueue], why: str, world: _World) -> Finding:
    users = one_line(", ".join(sorted({job.user for job in jobs})), 80)
    age_s = world.clock - min(job.submitted_at for job in jobs)
    said = f"{counted(len(jobs), 'job')} of {users} {why}"
    only = jobs[0] if len(jobs) == 1 else None
    return Finding(
        world.cluster,
        Action.REPORT,
        said,
        token=only.token if only else "",
        native_id=only.native_id if only else "",
        age_s=age_s,
    )


def _finding(
    row: JobRow,
    action: Action,
    why: str,
    age_s: float | None,
    *,
    native_id: str = "",
    alert: str = "",
    closes: bool = False,
) -> Finding:
    name = str(row.request_json.get("name", ""))  # not row.request, which is read anew at each call
    native_id = native_id or row.native_id or ""
    return Finding(row.cluster, action, why, row.token, native_id, name, age_s, alert, closes)


def _words(job: InQueue) -> str:
    return f"{_word(job.state)} in the queue"


def _word(state: JobState | None) -> str:
    return "nothing" if state is None else state.value.replace("_", " ")
