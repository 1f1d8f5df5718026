"""What clusters had, beside what jobs used: utilisation, and the three numbers kept apart (pure, pandas)."""

from __future__ import annotations

import pandas as pd

from hybrid_hpc.usage.costs import HOUR_S
from hybrid_hpc.usage.frames import inside_s
from hybrid_hpc.usage.vm_hours import HEAD_NODE
from hybrid_hpc.usage.windows import Window

STANDS_S = 1200.0  # how long a sample stands for, at most: a longer silence is a gap
STOOD = ("seen_s", "cores_s", "cores_busy_s", "jobs_waiting_s")


def utilisation(samples: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Index (cluster, partition), '' the whole cluster; a sample stands until the next one.

    Columns: ``utilisation``, busy cores against all that were up, 0 to 1; ``cores``, how many were up on
    average; ``jobs_waiting`` on average; ``seen``, the part of the window that samples stand for, 0 to 1.
    """
    return utilisation_of(stood(samples, window), (window.until - window.since).total_seconds())


def stood(samples: pd.DataFrame, window: Window) -> pd.DataFrame:
    """What can be added up of `utilisation`. Index (cluster, partition); columns `STOOD`, times seconds."""
    keys = ["cluster", "partition"]
    moments = samples.groupby(keys)["moment"]
    end = moments.shift(-1).fillna(pd.Timestamp(window.until))
    stands_s = (end - samples["moment"]).dt.total_seconds().clip(0.0, STANDS_S)
    weighted = samples[["cores", "cores_busy", "jobs_waiting"]].mul(stands_s, axis=0)
    sums = weighted.assign(seen=stands_s).groupby([samples[key] for key in keys]).sum()
    return sums.rename(columns=lambda name: f"{name}_s")[list(STOOD)]


def utilisation_of(added: pd.DataFrame, window_s: float | pd.Series) -> pd.DataFrame:
    """The columns of `utilisation`, of `stood` and of how long the window is."""
    seen_s = added["seen_s"].where(added["seen_s"] > 0)
    return pd.DataFrame(
        {
            "utilisation": added["cores_busy_s"] / added["cores_s"].where(added["cores_s"] > 0),
            "cores": added["cores_s"] / seen_s,
            "jobs_waiting": added["jobs_waiting_s"] / seen_s,
            "seen": added["seen_s"] / window_s,
        }
    )


def three_numbers(
    parts: pd.DataFrame, vm_hours: pd.DataFrame, lives: pd.DataFrame, window: Window
) -> pd.DataFrame:
    """Core-hours of jobs, core-hours of VMs, and money, which are three things. Index: cluster.

    Columns: ``job_core_h``, ``job_usd``; of clusters with VMs also ``vm_core_h`` and ``vm_usd`` (CycleCloud's
    estimate; NaN when it does not know every price), and what the VMs did beside jobs: ``head_core_h``,
    ``boot_core_h``, ``idle_core_h``, and ``other_core_h``, which is what is left: nodes on their way out,
    less the time that Azure took to give them.
    """
    jobs = parts.groupby("cluster")[["core_h", "cost_usd"]].sum().set_axis(["job_core_h", "job_usd"], axis=1)
    vms = _vms(vm_hours)
    nodes = _nodes(vm_hours, lives, window).reindex(vms.index, fill_value=0.0)
    table = jobs.join([vms, nodes], how="outer")
    table[["job_core_h", "job_usd"]] = table[["job_core_h", "job_usd"]].fillna(0.0)
    table["idle_core_h"] = (table.pop("up_core_h") - table["job_core_h"]).clip(lower=0.0)
    told = table[["job_core_h", "head_core_h", "boot_core_h", "idle_core_h"]].sum(axis=1)
    return table.assign(other_core_h=table["vm_core_h"] - told)


def _vms(vm_hours: pd.DataFrame) -> pd.DataFrame:
    """Index: cluster; columns vm_core_h, vm_usd, head_core_h."""
    head = vm_hours["core_h"].where(vm_hours["category"] == HEAD_NODE, 0.0)
    clusters = vm_hours.assign(head_core_h=head).groupby("cluster")
    sums = clusters[["core_h", "cost_usd", "head_core_h"]].sum(skipna=False)
    return sums.set_axis(["vm_core_h", "vm_usd", "head_core_h"], axis=1)


def _nodes(vm_hours: pd.DataFrame, lives: pd.DataFrame, window: Window) -> pd.DataFrame:
    """Index: cluster; columns boot_core_h and up_core_h, by what the ledger knows of the nodes' lives.

    A life whose end nobody saw lasts until it was seen last.
    """
    lives = lives.merge(_cores_of(vm_hours), how="left", on=["cluster", "vm_size"])
    end = lives["gone_at"].fillna(lives["seen_at"])
    boot_s = inside_s(lives["asked_at"], lives["up_at"].fillna(end), window)
    spans = pd.DataFrame({"boot_core_h": boot_s, "up_core_h": inside_s(lives["up_at"], end, window)})
    core_h = spans.clip(lower=0.0).fillna(0.0).mul(lives["vm_cores"] / HOUR_S, axis=0)
    return core_h.groupby(lives["cluster"]).sum()


def _cores_of(vm_hours: pd.DataFrame) -> pd.DataFrame:
    """How many cores a VM of each size has, by cluster and VM size."""
    known = vm_hours[vm_hours["node_h"] > 0]
    sums = known.groupby(["cluster", "vm_size"])[["core_h", "node_h"]].sum()
    return sums.assign(vm_cores=sums["core_h"] / sums["node_h"])[["vm_cores"]].reset_index()
