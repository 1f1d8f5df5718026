"""All of the page *Now* (pure)."""

from __future__ import annotations

from datetime import datetime

from hybrid_hpc_airflow.web.cluster_view import ClusterView
from hybrid_hpc_airflow.web.views import AlertView, JobsView, ReconciliationView, View, Whose


class Page(View):
    """All of the page."""

    now: datetime
    whose: Whose
    alerts: tuple[AlertView, ...]
    clusters: tuple[ClusterView, ...]
    jobs: JobsView
    reconciliation: ReconciliationView | None

    @property
    def usd_per_hour(self) -> float | None:
        """What all clusters cost at the moment; None while not one of them is known."""
        known = [each.usd_per_hour for each in self.clusters if each.usd_per_hour is not None]
        return sum(known) if known else None
