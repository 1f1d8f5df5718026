"""One cluster as the page *Now* shows it: how full, what comes up, what keeps nodes away, its cost (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Self

from hybrid_hpc.cluster_models import Cluster
from hybrid_hpc.learnt import Boots, usual_boot_s
from hybrid_hpc.ledger.rows import LifeRow, ScaleRow
from hybrid_hpc.narration import LATE_S
from hybrid_hpc.snapshots import SnapshotRow
from hybrid_hpc.supply import partition_of
from hybrid_hpc_airflow.web.views import Stage, View, WayView

STALE_S = 900.0  # somebody looks at each cluster every five minutes, and at each poll while jobs wait
NODE_STATES = ("busy", "idle", "booting", "draining", "down", "off")


class LoadView(View):
    """How full one partition, or with '' the whole cluster, was when it was last seen."""

    partition: str
    seen_at: datetime
    nodes: Mapping[str, int]  # by state, in the order of `NODE_STATES`
    cores: int  # of nodes that are up
    cores_busy: int
    cores_free: int
    gpus: int
    gpus_busy: int
    jobs_running: int  # everybody's; array tasks count each
    jobs_waiting: int
    jobs_held: int
    cores_waiting: int
    busy_usd_per_hour: float
    trouble: str

    @classmethod
    def of(cls, row: SnapshotRow) -> Self:
        """The view of one row."""
        nodes = {state: getattr(row, f"nodes_{state}") for state in NODE_STATES}
        same = {name: getattr(row, name) for name in cls.model_fields if name != "nodes"}
        return cls(nodes=nodes, **same)


class BootView(View):
    """A node that was asked for and takes no jobs yet."""

    name: str
    nodearray: str
    vm_size: str
    asked_at: datetime
    seen_at: datetime
    asked_ago_s: float
    usual_s: float | None  # None: nobody knows
    learnt: bool  # from earlier boots, else as clusters.yaml says

    @property
    def share(self) -> float:
        """Which part of a usual boot is over, at most 1."""
        return min(self.asked_ago_s / self.usual_s, 1.0) if self.usual_s else 0.0

    @property
    def late(self) -> bool:
        """True when it takes far longer than usual."""
        return self.usual_s is not None and self.asked_ago_s > max(3 * self.usual_s, self.usual_s + LATE_S)


class RefusalView(View):
    """A request for nodes of which Azure gave fewer; ``message`` is in its own words."""

    nodearray: str
    asked: int
    added: int
    message: str
    answered_at: datetime


class ClusterView(View):
    """A cluster: its ways, its load as last seen, and how many of our open jobs are at which stage there."""

    name: str
    title: str
    ways: tuple[WayView, ...]
    jobs: Mapping[Stage, int]
    load: LoadView | None = None  # None: nobody has seen it yet
    partitions: tuple[LoadView, ...] = ()
    boots: tuple[BootView, ...] = ()
    refusals: tuple[RefusalView, ...] = ()
    elastic: bool = False
    nodes_there: int = 0  # of an elastic cluster: those that exist or boot, as far as is known
    usd_per_hour: float | None = None  # an estimate at the prices of clusters.yaml; None: not known

    @property
    def waiting(self) -> int:
        """Those of ours that have not started, the ones that are being submitted among them."""
        return self.jobs.get(Stage.WAITING, 0) + self.jobs.get(Stage.SUBMITTING, 0)

    def stale(self, now: datetime) -> bool:
        """True when what is shown is older than it should be."""
        return self.load is not None and (now - self.load.seen_at).total_seconds() > STALE_S


def boot_views(
    lives: Sequence[LifeRow], cluster: Cluster, boots: Boots, now: datetime
) -> tuple[BootView, ...]:
    """The nodes among ``lives`` that are not up yet, the oldest first."""
    return tuple(_boot(life, cluster, boots, now) for life in lives if life.up_at is None)


def _boot(life: LifeRow, cluster: Cluster, boots: Boots, now: datetime) -> BootView:
    partition = partition_of(cluster, life.nodearray, life.vm_size)
    usual_s, learnt = usual_boot_s(boots, partition, life.vm_size) if partition else (None, False)
    return BootView(
        asked_ago_s=max((now - life.asked_at).total_seconds(), 0.0),
        usual_s=usual_s,
        learnt=learnt,
        **{name: getattr(life, name) for name in ("name", "nodearray", "vm_size", "asked_at", "seen_at")},
    )


def vms_usd_per_hour(lives: Sequence[LifeRow], cluster: Cluster) -> float:
    """What all these nodes cost, boot included; one of a nodearray that is not known costs nothing here."""
    priced = [(life, partition_of(cluster, life.nodearray, life.vm_size)) for life in lives]
    return sum(
        partition.sizes.get(life.vm_size, partition.node_usd_per_hour)
        for life, partition in priced
        if partition
    )


def refusal_view(row: ScaleRow) -> RefusalView:
    """The view of a request that has an answer."""
    return RefusalView(
        nodearray=row.nodearray,
        asked=len(row.names),
        added=row.added or 0,
        message=row.message or "no reason given",
        answered_at=row.answered_at or row.asked_at,
    )
