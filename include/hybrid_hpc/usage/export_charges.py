"""What each day cost, cut into charges that add up to what was paid (pure, pandas).

Jobs pay what the ledger has for them. Of the VMs of an elastic cluster the rest is overhead: the head node,
boots, and idle nodes with those on their way out. Jobs that would pay more than their nodes cost, because
clusters.yaml is dearer than Azure, pay together what the nodes cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pandas as pd

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.prices.table import SPOT
from hybrid_hpc.usage.costs import HOUR_S
from hybrid_hpc.usage.frames import inside_s
from hybrid_hpc.usage.vm_hours import HEAD_NODE
from hybrid_hpc.usage.windows import Window

WHOLE_CLUSTER = "cluster"  # CycleCloud's category of VMs that it does not tell apart


class Kind(StrEnum):
    """What a charge is for."""

    JOBS = "jobs"
    HEAD = "head node"
    BOOT = "nodes that boot"
    IDLE = "nodes without a job"


@dataclass(frozen=True, slots=True)
class Charge:
    """One day's cost of one thing; ``project`` '' where it is no project's.

    ``part`` is the partition of jobs, else the nodearray or node. ``vm_size`` and ``spot`` are those of an
    elastic cluster. ``estimated``: at Azure's retail prices, not from its bill.
    """

    day: Window
    cluster: str
    part: str
    project: str
    kind: Kind
    core_h: float
    usd: float
    vm_size: str = ""
    spot: bool = False
    estimated: bool = False


def charges(
    jobs: pd.DataFrame,
    vm_hours: pd.DataFrame,
    lives: pd.DataFrame,
    clusters: Mapping[str, Cluster],
    day: Window,
) -> Iterator[Charge]:
    """The charges of one day.

    ``jobs``: the day's usage with the columns cluster, partition, project, core_h and cost_usd; ``vm_hours``
    and ``lives``: frames of `VmHourRow` and `LifeRow`, of any time.
    """
    hours = vm_hours[(vm_hours["hour"] >= day.since) & (vm_hours["hour"] < day.until)]
    for name in sorted({*jobs["cluster"], *hours["cluster"]}):
        one = _OneCluster(name, clusters.get(name), day)
        yield from one.charges(
            *(frame[frame["cluster"] == name] for frame in (jobs, hours, lives)),
        )


@dataclass(frozen=True, slots=True)
class _OneCluster:
    """One cluster on one day; ``cluster`` None: clusters.yaml does not have it any more."""

    name: str
    cluster: Cluster | None
    day: Window

    def charges(self, jobs: pd.DataFrame, hours: pd.DataFrame, lives: pd.DataFrame) -> Iterator[Charge]:
        pools = self._pools(hours)
        in_pool = jobs["partition"].map(lambda partition: self._pool_of(partition, pools))
        for name, pool in pools.items():
            yield from self._pool(name, pool, jobs[in_pool == name], lives)
        yield from self._jobs(jobs[in_pool.isna()], 1.0)
        yield from self._head(hours[hours["category"] == HEAD_NODE])

    def _pools(self, hours: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """The VMs that jobs run on and whose cost is known, by nodearray; '' for all of them together."""
        nodes = hours[hours["category"] != HEAD_NODE]
        together = (nodes["category"] == WHOLE_CLUSTER).any()
        names = pd.Series("", index=nodes.index) if together else nodes["name"]
        return {str(name): vms for name, vms in nodes.groupby(names) if vms["cost_usd"].notna().all()}

    def _pool_of(self, partition: str, pools: Mapping[str, pd.DataFrame]) -> str | None:
        known = self.cluster.partitions.get(partition) if self.cluster else None
        names = ("", known.nodearray if known and known.nodearray else partition)
        return next((name for name in names if name in pools), None)

    def _pool(
        self, name: str, vms: pd.DataFrame, jobs: pd.DataFrame, lives: pd.DataFrame
    ) -> Iterator[Charge]:
        paid, asked = _sum(vms, "cost_usd"), _sum(jobs, "cost_usd")
        share = min(1.0, paid / asked) if asked else 1.0
        yield from self._jobs(jobs, share)
        boot = min(paid * self._booting(name, vms, lives), paid - asked * share)
        for kind, usd in ((Kind.BOOT, boot), (Kind.IDLE, paid - asked * share - boot)):
            if usd > 0:
                core_h = usd / paid * _sum(vms, "core_h")
                yield self._charge(name or self.name, kind, core_h, usd, vms)

    def _booting(self, name: str, vms: pd.DataFrame, lives: pd.DataFrame) -> float:
        """Which part of the VMs' hours nodes took to boot, 0 to 1, by the lives that the ledger knows."""
        here = lives[lives["nodearray"] == name] if name else lives
        end = here["up_at"].fillna(here["gone_at"]).fillna(here["seen_at"])
        boot_h = inside_s(here["asked_at"], end, self.day).clip(lower=0.0).sum() / HOUR_S
        node_h = _sum(vms, "node_h")
        return min(boot_h / node_h, 1.0) if node_h > 0 else 0.0

    def _head(self, vms: pd.DataFrame) -> Iterator[Charge]:
        for name, each in vms[vms["cost_usd"].notna()].groupby("name"):
            yield self._charge(str(name), Kind.HEAD, _sum(each, "core_h"), _sum(each, "cost_usd"), each)

    def _jobs(self, jobs: pd.DataFrame, share: float) -> Iterator[Charge]:
        for job in jobs[jobs["core_h"] > 0].to_dict(orient="records"):
            partition, project, usd = job["partition"], job["project"], job["cost_usd"] * share
            whose = (self.day, self.name, partition, project, Kind.JOBS)
            yield Charge(*whose, job["core_h"], usd, **self._of_partition(partition))

    def _of_partition(self, name: str) -> dict[str, Any]:
        known = self.cluster.partitions.get(name) if self.cluster else None
        elastic = self.cluster is not None and self.cluster.elastic is not None
        if known is None:
            return {"estimated": elastic}
        return {"vm_size": known.vm_size or "", "spot": known.spot is not None, "estimated": elastic}

    def _charge(self, part: str, kind: Kind, core_h: float, usd: float, vms: pd.DataFrame) -> Charge:
        vm_size, priority = vms.sort_values("core_h")[["vm_size", "priority"]].iloc[-1]
        how = {"vm_size": str(vm_size), "spot": priority == SPOT, "estimated": True}
        return Charge(self.day, self.name, part, "", kind, core_h, usd, **how)


def _sum(frame: pd.DataFrame, column: str) -> float:
    """NaN where one of them is not known."""
    return float(frame[column].to_numpy(dtype=float).sum())
