"""A ledger with something of everything, as the pages' tests need it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import update

from hybrid_hpc.jobs import JobKey, JobReport, JobState
from hybrid_hpc.ledger import Job, JobRow, Ledger
from hybrid_hpc.ledger.jobs import JOBS
from hybrid_hpc.request import JobRequest
from tests.unit.ledger_databases import NOW

SUBMITTED = NOW - timedelta(hours=3)


class Clock:
    """A ledger's clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def add_job(
    ledger: Ledger,
    number: int,
    state: JobState = JobState.PENDING,
    *,
    name: str = "",
    dag_id: str = "hpc_job",
    cluster: str = "onprem",
    sentence: str = "",
    **columns: Any,
) -> JobRow:
    """An open job, with the native id 1000 + ``number``; ``columns`` are written as they are."""
    request = JobRequest(
        name=name or f"job-{number}", script="hostname", project=columns.pop("project", None)
    )
    key = JobKey(dag_id, columns.pop("run_id", f"manual__{number}"))
    row = ledger.intend(Job(key, request, cluster, "batch", columns.pop("by", "alice")))
    native_id = str(1000 + number)
    ledger.record_native_id(row.token, native_id, SUBMITTED, run_dir="/scratch/1")
    ledger.observe([JobReport(row.token, native_id, state, sentence=sentence)])
    return change(ledger, row.token, **columns) if columns else found(ledger, row.token)


def change(ledger: Ledger, token: str, **columns: Any) -> JobRow:
    """What time alone would bring about."""
    with ledger._transaction() as connection:
        connection.execute(update(JOBS).where(JOBS.c.token == token).values(columns))
    return found(ledger, token)


def rename(ledger: Ledger, token: str, name: str) -> None:
    """A name that the form would not take: another version's, or written by hand."""
    asked = {**found(ledger, token).request_json, "name": name}
    change(ledger, token, request=asked)


def found(ledger: Ledger, token: str) -> JobRow:
    row = ledger.job(token)
    assert row
    return row


def shut(ledger: Ledger, target: str, why: str) -> None:
    """A breaker that opened twelve minutes ago and lets one try pass in 40 s."""
    open_now = {"opened_at": NOW - timedelta(minutes=12), "probe_at": NOW + timedelta(seconds=40)}

    def opened(failures: int, opened_at: object) -> dict[str, Any]:
        return dict(open_now)

    ledger.note_failure(target, why, opened)


def reconciled(ledger: Ledger, *findings: Mapping[str, Any], open_jobs: int = 3) -> None:
    ledger.save_reconciliation(
        NOW - timedelta(minutes=2), seconds=1.25, open_jobs=open_jobs, findings=findings
    )
