"""The task of ``hpc_usage``: what the jobs in the ledger used, by cluster and project."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import BaseOperator, Context


class UsageReportOperator(BaseOperator):
    """Adds up the usage of the last ``days``; logs it as a table, its result is the table's rows."""

    def __init__(self, *, days: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.days = days

    def execute(self, context: Context) -> list[dict[Hashable, Any]]:
        """The rows: cluster, project, jobs, core_h, cpu_h, gpu_h, cost_usd, wait_p50_s."""
        from hybrid_hpc.usage.aggregate import (
            by_cluster_and_project,
            usage_frame,
            usage_table,
        )
        from hybrid_hpc_airflow.connections import open_ledger

        since = datetime.now(UTC) - timedelta(days=self.days)
        totals = by_cluster_and_project(usage_frame(open_ledger().usage_since(since)))
        self.log.info("usage of the last %d days\n%s", self.days, usage_table(totals))
        return [dict(row) for row in totals.reset_index().to_dict(orient="records")]
