"""From what one poll read to a report for each job of ours (pure)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

from hybrid_hpc.cloud_view import CloudView, Standing
from hybrid_hpc.endings import runs_text
from hybrid_hpc.jobs import JobReport, JobState
from hybrid_hpc.ledger.rows import JobRow
from hybrid_hpc.narration import Room, narrate
from hybrid_hpc.outcome import outcome_of
from hybrid_hpc.schedulers.base import JobRecord, Load, QueuedJob

log = logging.getLogger(__name__)

NOT_YET = "has left the queue; how it ended is not in the accounting yet"


def queue_reports(
    rows: Sequence[JobRow], load: Load, cloud: CloudView | None
) -> tuple[dict[str, JobReport], list[JobRow]]:
    """Reports by token of the jobs that stand in the queue, and the rows of those that do not."""
    queue, room = lines_by_job(load.jobs), Room.of(load)
    reports: dict[str, JobReport] = {}
    left: list[JobRow] = []
    for row in rows:
        lines = queue.get((str(row.native_id), row.token))
        if lines:
            reports[row.token] = queue_report(row, lines, room, cloud)
        else:
            left.append(row)
    return reports, left


def history_reports(rows: Sequence[JobRow], records: Sequence[JobRecord]) -> dict[str, JobReport]:
    """Reports by token of jobs that have left the queue."""
    by_job: dict[tuple[str, str], list[JobRecord]] = {}
    for record in records:
        by_job.setdefault((record.native_id, record.name), []).append(record)
    reports: dict[str, JobReport] = {}
    for row in rows:
        try:
            reports[row.token] = history_report(row, by_job.get((str(row.native_id), row.token), []))
        except ValueError:  # a row of an older version must not blind the others
            log.exception("%s: the ledger's row cannot be read", row.token)
    return reports


def unanswered_reports(rows: Sequence[JobRow], why: str) -> dict[str, JobReport]:
    """Jobs that have left the queue while the accounting does not answer: unknown, and said so."""
    sentence = f"has left the queue; the accounting does not answer: {why}"
    return {row.token: replace(_unknown(row), stage="no accounting", sentence=sentence) for row in rows}


def lines_by_job(jobs: Iterable[QueuedJob]) -> dict[tuple[str, str], list[QueuedJob]]:
    """Queue lines by (native id, name): an id that another job has taken over is not ours."""
    lines: dict[tuple[str, str], list[QueuedJob]] = {}
    for job in jobs:
        lines.setdefault((job.native_id, job.name), []).append(job)
    return lines


def queue_report(row: JobRow, lines: Sequence[QueuedJob], room: Room, cloud: CloudView | None) -> JobReport:
    """A job that stands in the queue; an array runs when any of its tasks runs."""
    stands = cloud.of(str(row.native_id), row.partition) if cloud else Standing()
    line = narrate(lines, room, booting=stands.booting, trouble=stands.trouble)
    tasks: dict[JobState, int] = {}
    for job in lines:
        tasks[job.state] = tasks.get(job.state, 0) + job.array_tasks
    running = [job for job in lines if job.state.started]
    first = (running or lines)[0]
    return JobReport(
        token=row.token,
        native_id=str(row.native_id),
        state=first.state,
        reason=first.reason,
        tasks=tasks,
        node_names=tuple(sorted({name for job in running for name in job.node_names})),
        started_at=min((job.starts_at for job in running if job.starts_at), default=None),
        stage=f"{line.stage} {row.restarts or ''}".rstrip(),
        sentence=line.text + runs_text(row.restarts + 1),
        blocked=(stands.trouble or line.text.removeprefix("pending: ")) if line.blocked else "",
    )


def history_report(row: JobRow, records: Sequence[JobRecord]) -> JobReport:
    """A job that has left the queue; without a record its state is unknown, not completed."""
    if not records:
        return _unknown(row)
    outcome = outcome_of(records, tasks=row.request.array_tasks)
    return JobReport(
        token=row.token,
        native_id=str(row.native_id),
        state=outcome.state,
        node_names=tuple(sorted({name for record in records for name in record.node_names})),
        started_at=min((record.started_at for record in records if record.started_at), default=None),
        stage=f"{outcome.state} {outcome.sentence}",
        sentence=outcome.sentence,
    )


def _unknown(row: JobRow) -> JobReport:
    return JobReport(row.token, str(row.native_id), JobState.UNKNOWN, stage=NOT_YET, sentence=NOT_YET)
