"""Clusters beside their jobs: utilisation, and the core-hours of VMs kept apart from those of jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pandas as pd

from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.rows import LifeRow
from hybrid_hpc.usage.capacity import three_numbers
from hybrid_hpc.usage.frames import frame_of
from hybrid_hpc.usage.selection import Selection, sums_by, utilisation_by
from hybrid_hpc.usage.vm_hours import VmHourRow
from hybrid_hpc.usage.windows import Window
from hybrid_hpc_airflow.web.usage_views import CapacityView


def capacity_of(ledger: Ledger, wanted: Selection, now: datetime) -> tuple[CapacityView, ...]:
    """Of whole clusters, whichever jobs are asked for: nobody knows whose an idle VM is."""
    window = Window(wanted.window.since, max(min(wanted.window.until, now), wanted.window.since))
    whole = Selection(wanted.window, cluster=wanted.cluster)
    jobs = sums_by(ledger, whole, ["cluster"]).reset_index()
    vm_hours = frame_of(VmHourRow, ledger.vm_sums_between(window))
    lives = frame_of(LifeRow, ledger.lives_between(window))
    seconds = max((window.until - window.since).total_seconds(), 1.0)
    up = utilisation_by(ledger, whole, ["cluster"], seconds)
    numbers = three_numbers(jobs, vm_hours, lives, window).join(up[["utilisation", "seen"]], how="outer")
    told = numbers[numbers.index.isin(list(wanted.cluster))] if wanted.cluster else numbers
    return tuple(_view(str(cluster), row) for cluster, row in told.iterrows())


def _view(cluster: str, row: pd.Series) -> CapacityView:
    values: dict[str, Any] = {str(name): None if pd.isna(value) else value for name, value in row.items()}
    known = {name: values.get(name) for name in CapacityView.model_fields if name != "cluster"}
    return CapacityView.model_validate(
        {**known, "cluster": cluster, "seen": known["seen"] or 0.0, "job_core_h": known["job_core_h"] or 0.0}
    )
