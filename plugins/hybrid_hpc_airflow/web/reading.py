"""From the ledger to the views; every function blocks for as long as the ledger takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from hybrid_hpc.breaker_rules import CYCLECLOUD
from hybrid_hpc.clusters import Cluster, Clusters
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.overview import OpenCount
from hybrid_hpc_airflow.web.job_view import JobPage, job_page
from hybrid_hpc_airflow.web.views import (
    AlertView,
    ClusterView,
    FindingView,
    JobsView,
    JobView,
    MayRead,
    Page,
    ReconciliationView,
    WayView,
    alert_views,
    stages,
)

SHOWN = 200


def read_page(ledger: Ledger, clusters: Clusters, may_read: MayRead, now: datetime) -> Page:
    """Everything, in a handful of queries however many jobs there are."""
    counts = ledger.open_counts()
    return Page(
        now=now,
        alerts=read_alerts(ledger, may_read),
        clusters=_cluster_views(clusters, read_ways(ledger, clusters), counts),
        jobs=_jobs(ledger, counts, may_read, SHOWN),
        reconciliation=read_reconciliation(ledger, may_read),
    )


def read_job(ledger: Ledger, token: str, may_read: MayRead, now: datetime) -> JobPage | None:
    """One job, None when there is none that the reader may see."""
    row = ledger.job(token)
    if row is None or not may_read(row.dag_id):
        return None
    return job_page(row, ledger.decision_of(token), ledger.usage_of(token), now)


def read_alerts(ledger: Ledger, may_read: MayRead) -> tuple[AlertView, ...]:
    """The alerts that stand, but for those about jobs that the reader may not see."""
    rows = ledger.alerts()
    unseen = _unseen(ledger, [row.subject for row in rows], may_read)
    return alert_views([row for row in rows if row.subject not in unseen])


def read_ways(ledger: Ledger, clusters: Clusters) -> tuple[WayView, ...]:
    """Every way to every cluster, and those to others that have failed, which clusters.yaml once had."""
    rows = {row.target: row for row in ledger.breakers()}
    known = [target for cluster in clusters.clusters.values() for target in _targets(cluster)]
    return tuple(WayView.of(target, rows.get(target)) for target in dict.fromkeys([*known, *rows]))


def read_jobs(ledger: Ledger, may_read: MayRead, limit: int) -> JobsView:
    """The newest open jobs that the reader may see."""
    return _jobs(ledger, ledger.open_counts(), may_read, limit)


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


def _jobs(ledger: Ledger, counts: Sequence[OpenCount], may_read: MayRead, limit: int) -> JobsView:
    seen = {count.dag_id for count in counts if may_read(count.dag_id)}
    total = sum(count.jobs for count in counts if count.dag_id in seen)
    rows = ledger.newest_open_jobs(seen, limit)
    hidden = sum(count.jobs for count in counts) - total
    return JobsView(total=total, hidden=hidden, jobs=tuple(JobView.of(row) for row in rows))


def _cluster_views(
    clusters: Clusters, ways: Sequence[WayView], counts: Sequence[OpenCount]
) -> tuple[ClusterView, ...]:
    """Those of clusters.yaml in its order, then those that it no longer has and that still have jobs."""
    others = sorted({count.cluster for count in counts} | {way.cluster for way in ways})
    titles = {name: cluster.title for name, cluster in clusters.clusters.items()}
    return tuple(
        ClusterView(
            name=name,
            title=titles.get(name, "no longer in clusters.yaml"),
            ways=tuple(way for way in ways if way.cluster == name),
            jobs=stages(counts, name),
        )
        for name in dict.fromkeys([*titles, *others])
    )


def _targets(cluster: Cluster) -> tuple[str, ...]:
    return (cluster.name, f"{cluster.name} {CYCLECLOUD}") if cluster.elastic else (cluster.name,)


def _unseen(ledger: Ledger, tokens: Collection[str], may_read: MayRead) -> set[str]:
    """Which of the tokens belong to jobs of DAGs that the reader may not see."""
    return {row.token for row in ledger.jobs_named(tokens) if not may_read(row.dag_id)}
