"""From the ledger to the views; every function blocks for as long as the ledger takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from hybrid_hpc.clusters import Clusters
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.overview import OpenCount
from hybrid_hpc_airflow.web.cluster_reading import read_clusters
from hybrid_hpc_airflow.web.now_view import Page
from hybrid_hpc_airflow.web.views import (
    EVERYBODY,
    AlertView,
    FindingView,
    JobsView,
    JobView,
    MayRead,
    ReconciliationView,
    Whose,
    alert_views,
)

SHOWN = 200


def read_page(
    ledger: Ledger, clusters: Clusters, may_read: MayRead, now: datetime, whose: Whose = EVERYBODY
) -> Page:
    """Everything, in a handful of queries however many jobs there are."""
    counts = ledger.open_counts()
    return Page(
        now=now,
        whose=whose,
        alerts=read_alerts(ledger, may_read),
        clusters=read_clusters(ledger, clusters, counts, now),
        jobs=_jobs(ledger, counts, may_read, SHOWN, whose),
        reconciliation=read_reconciliation(ledger, may_read),
    )


def read_alerts(ledger: Ledger, may_read: MayRead) -> tuple[AlertView, ...]:
    """The alerts that stand, but for those about jobs that the reader may not see."""
    rows = ledger.alerts()
    unseen = _unseen(ledger, [row.subject for row in rows], may_read)
    return alert_views([row for row in rows if row.subject not in unseen])


def read_jobs(ledger: Ledger, may_read: MayRead, limit: int, whose: Whose = EVERYBODY) -> JobsView:
    """The newest open jobs that the reader may see."""
    return _jobs(ledger, ledger.open_counts(), may_read, limit, whose)


def read_reconciliation(ledger: Ledger, may_read: MayRead) -> ReconciliationView | None:
    """The last one, None before the first; of its findings the first ones."""
    row = next(iter(ledger.reconciliations(limit=1)), None)
    if row is None:
        return None
    findings = _findings(ledger, row.findings, may_read)
    return ReconciliationView(
        began_at=row.began_at,
        seconds=row.seconds,
        open_jobs=row.open_jobs,
        total=len(findings),
        findings=findings[:SHOWN],
    )


def _findings(
    ledger: Ledger, found: Sequence[Mapping[str, Any]], may_read: MayRead
) -> tuple[FindingView, ...]:
    views = [FindingView.of(finding) for finding in found]
    unseen = _unseen(ledger, {view.token for view in views}, may_read)
    return tuple(view for view in views if view.token not in unseen)


def _jobs(
    ledger: Ledger, counts: Sequence[OpenCount], may_read: MayRead, limit: int, whose: Whose
) -> JobsView:
    seen = {count.dag_id for count in counts if may_read(count.dag_id)}
    everybodys = _counted(counts, seen)
    total = _counted(ledger.open_counts(whose.by), seen) if whose.by else everybodys
    rows = ledger.newest_open_jobs(seen, limit, whose.by)
    return JobsView(
        total=total,
        others=everybodys - total,
        hidden=sum(count.jobs for count in counts) - everybodys,
        jobs=tuple(JobView.of(row) for row in rows),
    )


def _counted(counts: Sequence[OpenCount], dag_ids: Collection[str]) -> int:
    return sum(count.jobs for count in counts if count.dag_id in dag_ids)


def _unseen(ledger: Ledger, tokens: Collection[str], may_read: MayRead) -> set[str]:
    """Which of the tokens belong to jobs of DAGs that the reader may not see."""
    return {row.token for row in ledger.jobs_named(tokens) if not may_read(row.dag_id)}
