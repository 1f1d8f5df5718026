"""The ledger as one object: every question and every change, and its migrations."""

from __future__ import annotations

from hybrid_hpc.ledger.alerts import AlertQueries
from hybrid_hpc.ledger.breakers import BreakerQueries
from hybrid_hpc.ledger.budgets import BudgetQueries
from hybrid_hpc.ledger.cluster_usage import ClusterUsageQueries
from hybrid_hpc.ledger.database import unavailable
from hybrid_hpc.ledger.decisions import DecisionQueries
from hybrid_hpc.ledger.ended_usage import EndedUsageQueries
from hybrid_hpc.ledger.findings import FindingQueries
from hybrid_hpc.ledger.history import HistoryQueries
from hybrid_hpc.ledger.jobs import JobQueries
from hybrid_hpc.ledger.lives import LifeQueries
from hybrid_hpc.ledger.metrics import MetricQueries
from hybrid_hpc.ledger.overview import OverviewQueries
from hybrid_hpc.ledger.prices import PriceQueries
from hybrid_hpc.ledger.reconciliations import ReconciliationQueries
from hybrid_hpc.ledger.requests import ScaleQueries
from hybrid_hpc.ledger.rolled import RolledQueries
from hybrid_hpc.ledger.rollup import RollupQueries
from hybrid_hpc.ledger.snapshots import SnapshotQueries
from hybrid_hpc.ledger.usage import UsageQueries
from hybrid_hpc.ledger.watermarks import WatermarkQueries
from hybrid_hpc.ledger.wishes import WishQueries


class Ledger(
    JobQueries,
    DecisionQueries,
    BudgetQueries,
    UsageQueries,
    ClusterUsageQueries,
    WatermarkQueries,
    RollupQueries,
    RolledQueries,
    FindingQueries,
    EndedUsageQueries,
    ScaleQueries,
    WishQueries,
    LifeQueries,
    BreakerQueries,
    AlertQueries,
    ReconciliationQueries,
    OverviewQueries,
    MetricQueries,
    PriceQueries,
    HistoryQueries,
    SnapshotQueries,
):
    """What was decided, submitted, seen and used: our own database, never Airflow's.

    Each method is a transaction of its own, may be called from any thread, and raises `Unavailable` when
    the database does not answer. Nothing is connected before the first call.
    """

    def migrate(self) -> None:
        """Brings the tables to this version; harmless when they are, or when several do it at once."""
        # Alembic is half of what a task would import, and no task migrates.
        from hybrid_hpc.ledger.migrate import upgrade  # noqa: PLC0415

        with unavailable():
            upgrade(self._engine.url)
