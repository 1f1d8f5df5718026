"""From the ledger to the pages of jobs; every function blocks for as long as the ledger takes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from hybrid_hpc.ledger import JobRow, Ledger
from hybrid_hpc.ledger.history import JobSearch
from hybrid_hpc.ledger.rows import LifeRow
from hybrid_hpc.usage.windows import Window
from hybrid_hpc_airflow.web.job_view import JobPage, JobRows, job_page
from hybrid_hpc_airflow.web.jobs_view import (
    EndedJobsPage,
    RunPage,
    SearchView,
    ended_page,
    newest_attempts,
)
from hybrid_hpc_airflow.web.views import JobView, MayRead

A_PAGE = 50


def read_job(ledger: Ledger, token: str, may_read: MayRead, now: datetime) -> JobPage | None:
    """One job, None when there is none that the reader may see."""
    row = ledger.job(token)
    if row is None or not may_read(row.dag_id):
        return None
    known = JobRows(
        decision=ledger.decision_of(token),
        usage=ledger.usage_of(token),
        attempts=ledger.attempts(row.key),
        lives=_lives(ledger, row, now),
        output=ledger.output_of(token),
    )
    return job_page(row, known, now)


def _lives(ledger: Ledger, row: JobRow, now: datetime) -> Sequence[LifeRow]:
    """Of the nodes that it runs on; while it waits, of those that were asked for because of it."""
    names = set(row.node_names) or _asked_for(ledger, row)
    until = row.started_at or row.ended_at or row.settled_at or now
    return ledger.lives_of_nodes(row.cluster, names, Window(row.intent_at, until))


def _asked_for(ledger: Ledger, row: JobRow) -> set[str]:
    if row.settled:
        return set()
    asked = ledger.open_scale_requests(row.cluster)
    return {name for request in asked if row.native_id in request.for_jobs for name in request.names}


def read_ended(
    ledger: Ledger, search: SearchView, before: str, may_read: MayRead, now: datetime
) -> EndedJobsPage:
    """A page of ended jobs that the reader may see, the newest first."""
    dags = [dag_id for dag_id in ledger.dag_ids() if may_read(dag_id)]
    wanted = JobSearch(search.q, search.project, search.state, search.whose.by)
    rows = ledger.ended_jobs(dags, wanted, limit=A_PAGE + 1, before=before)
    return ended_page(rows, search, before, A_PAGE, now)


def read_run(ledger: Ledger, dag_id: str, run_id: str, may_read: MayRead, now: datetime) -> RunPage | None:
    """The jobs of one run, None when the reader may not see it."""
    if not may_read(dag_id):
        return None
    rows = newest_attempts(ledger.jobs_of_run(dag_id, run_id))
    return RunPage(now=now, dag_id=dag_id, run_id=run_id, jobs=tuple(map(JobView.of, rows)))
