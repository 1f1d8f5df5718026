"""Looking back: what was forecast and what came, and what jobs would have cost elsewhere (pure, pandas)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hybrid_hpc.clusters import Cluster, Partition
from hybrid_hpc.usage.costs import Held, cost_usd, whole_nodes_paid


def forecast_errors(placed: pd.DataFrame, by: Sequence[str] = ("cluster", "partition")) -> pd.DataFrame:
    """How far the forecast starts were from what came, of `PlacedRow` that started. Index: ``by``.

    Columns: ``placements``; ``bias_s``, the median of what came less what was forecast (above 0: too
    hopeful); ``error_p50_s`` and ``error_p90_s``, how far off, whichever way.
    """
    known = placed.dropna(subset=["starts_in_s", "started_at"])
    came_s = (known["started_at"] - known["decided_at"]).dt.total_seconds()
    late = known.assign(late_s=came_s - known["starts_in_s"].astype(float))
    late["off_s"] = late["late_s"].abs()
    groups = late.groupby(list(by))
    return pd.DataFrame(
        {
            "placements": groups.size(),
            "bias_s": groups["late_s"].median(),
            "error_p50_s": groups["off_s"].median(),
            "error_p90_s": groups["off_s"].quantile(0.9),
        }
    )


def cost_elsewhere(jobs: pd.DataFrame, clusters: Iterable[Cluster]) -> pd.DataFrame:
    """What the jobs of each cluster would have cost on each other one. Index (cluster, elsewhere).

    Each takes the cheapest partition that can hold it as it was, for as long as it ran; none of spot nodes,
    which a job must allow. Columns: ``jobs``;
    ``fit``, how many would have fitted there; of those ``usd`` here and ``usd_elsewhere``.
    """
    tables = [_elsewhere(jobs[jobs["cluster"] != cluster.name], cluster) for cluster in clusters]
    return pd.concat(tables).sort_index() if tables else pd.DataFrame()


def _elsewhere(jobs: pd.DataFrame, cluster: Cluster) -> pd.DataFrame:
    there = usd_on(jobs, cluster)
    fits = there.notna()
    figures = {
        "jobs": 1,
        "fit": fits.astype(int),
        "usd": jobs["cost_usd"].where(fits),
        "usd_elsewhere": there,
    }
    keys = {"cluster": jobs["cluster"], "elsewhere": cluster.name}
    return pd.DataFrame({**keys, **figures}, index=jobs.index).groupby(["cluster", "elsewhere"]).sum()


def usd_on(jobs: pd.DataFrame, cluster: Cluster) -> pd.Series:
    """What each life would cost on its cheapest partition there, not spot; NaN where it fits none."""
    whole = whole_nodes_paid(cluster)
    held = Held(
        *(jobs["nodes"], jobs["cores"], jobs["gpus"]),
        memory_mib=jobs["memory_asked_mib"].astype(float).fillna(0.0),
        elapsed_s=jobs["elapsed_s"],
    )
    offers = {
        name: cost_usd(held, each, whole_nodes=whole, larger=np.maximum, smaller=np.minimum).where(
            _fits(held, jobs["walltime_s"].astype(float), each)
        )
        for name, each in cluster.partitions.items()
        if not each.spot
    }
    return pd.DataFrame(offers, index=jobs.index).min(axis=1)


def _fits(held: Held, walltime_s: pd.Series, partition: Partition) -> Any:
    """As it was: on as many nodes, each with its share of all."""
    nodes = held.nodes.clip(lower=1)
    return (
        (nodes <= partition.nodes)
        & (held.cores / nodes <= partition.cores)
        & (held.memory_mib / nodes <= partition.memory_mib)
        & (held.gpus / nodes <= partition.gpus)
        & (walltime_s.fillna(0.0) <= partition.walltime_s)
    )
