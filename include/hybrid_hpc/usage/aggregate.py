"""Usage added up: frames in, frames out (pure, pandas)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd

from hybrid_hpc.usage.collect import UsageRow

COLUMNS = ("jobs", "core_h", "cpu_h", "gpu_h", "cost_usd", "wait_p50_s")


def usage_frame(rows: Sequence[UsageRow]) -> pd.DataFrame:
    """One line per life of a job or array task, columns named as in `UsageRow`."""
    return pd.DataFrame([asdict(row) for row in rows], columns=list(UsageRow.__dataclass_fields__))


def by_cluster_and_project(frame: pd.DataFrame) -> pd.DataFrame:
    """Index (cluster, project); columns `COLUMNS`: jobs, hours, USD, and the median wait in seconds."""
    if frame.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    groups = frame.groupby(["cluster", "project"])
    return groups.agg(
        jobs=("token", "nunique"),
        core_h=("core_h", "sum"),
        cpu_h=("cpu_h", "sum"),
        gpu_h=("gpu_h", "sum"),
        cost_usd=("cost_usd", "sum"),
        wait_p50_s=("wait_s", "median"),
    )


def usage_table(frame: pd.DataFrame) -> str:
    """The aggregate as text for a log."""
    if frame.empty:
        return "no job has ended yet"
    return str(frame.reset_index().to_string(index=False, float_format="{:,.2f}".format))
