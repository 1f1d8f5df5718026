"""What the routes are given: the ledger, the clusters, the time. Tests put others in their place."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Depends

from hybrid_hpc.budgets import Budgets, load_budgets
from hybrid_hpc.clusters import Clusters, load_clusters
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.database import utc_now


def ledger() -> Ledger:
    """The ledger, from the API server's process; raises `Refused` without a connection to it."""
    from hybrid_hpc_airflow.connections import open_ledger

    return open_ledger()


def clusters() -> Clusters:
    """Those of clusters.yaml; raises `InvalidClusters`."""
    return load_clusters()


def budgets() -> Budgets:
    """Those of budgets.yaml; raises `InvalidBudgets`."""
    return load_budgets()


BudgetsDep = Annotated[Budgets, Depends(budgets)]
LedgerDep = Annotated[Ledger, Depends(ledger)]
ClustersDep = Annotated[Clusters, Depends(clusters)]
NowDep = Annotated[datetime, Depends(utc_now)]
