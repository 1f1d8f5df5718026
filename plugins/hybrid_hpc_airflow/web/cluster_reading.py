"""From the ledger to the views of clusters; every function blocks for as long as the ledger takes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from hybrid_hpc.breaker_rules import CYCLECLOUD
from hybrid_hpc.clusters import Cluster, Clusters
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.overview import OpenCount
from hybrid_hpc.ledger.rows import ScaleRow
from hybrid_hpc.snapshots import SnapshotRow
from hybrid_hpc.usage.samples import WHOLE
from hybrid_hpc_airflow.web.cluster_view import (
    ClusterView,
    LoadView,
    RefusalView,
    boot_views,
    refusal_view,
    vms_usd_per_hour,
)
from hybrid_hpc_airflow.web.views import WayView, stages

REFUSED_WITHIN = timedelta(minutes=10)
MOST_REFUSALS = 5  # a cluster's newest; the same one comes again every minute


def read_clusters(
    ledger: Ledger, clusters: Clusters, counts: Sequence[OpenCount], now: datetime
) -> tuple[ClusterView, ...]:
    """Those of clusters.yaml in its order, then those that it no longer has and that still have jobs.

    A few queries in all, and two for each elastic cluster.
    """
    ways = read_ways(ledger, clusters)
    seen, refused = ledger.snapshots(), ledger.short_requests(REFUSED_WITHIN)
    others = sorted({count.cluster for count in counts} | {way.cluster for way in ways})
    bare = [_bare(name, clusters, ways, counts) for name in dict.fromkeys([*clusters.names, *others])]
    loaded = [_with_load(view, seen, refused) for view in bare]
    return tuple(_with_nodes(view, clusters, ledger, now) for view in loaded)


def read_ways(ledger: Ledger, clusters: Clusters) -> tuple[WayView, ...]:
    """Every way to every cluster, and those to others that have failed, which clusters.yaml once had."""
    rows = {row.target: row for row in ledger.breakers()}
    known = [target for cluster in clusters.clusters.values() for target in _targets(cluster)]
    return tuple(WayView.of(target, rows.get(target)) for target in dict.fromkeys([*known, *rows]))


def _targets(cluster: Cluster) -> tuple[str, ...]:
    return (cluster.name, f"{cluster.name} {CYCLECLOUD}") if cluster.elastic else (cluster.name,)


def _bare(name: str, clusters: Clusters, ways: Sequence[WayView], counts: Sequence[OpenCount]) -> ClusterView:
    known = clusters.clusters.get(name)
    return ClusterView(
        name=name,
        title=known.title if known else "no longer in clusters.yaml",
        ways=tuple(way for way in ways if way.cluster == name),
        jobs=stages(counts, name),
        elastic=bool(known and known.elastic),
    )


def _with_load(view: ClusterView, seen: Sequence[SnapshotRow], refused: Sequence[ScaleRow]) -> ClusterView:
    """Jobs on premises cost what they keep busy."""
    loads = [LoadView.of(row) for row in seen if row.cluster == view.name]
    whole = next((load for load in loads if load.partition == WHOLE), None)
    return view.model_copy(
        update={
            "load": whole,
            "partitions": tuple(load for load in loads if load.partition != WHOLE),
            "refusals": _refusals(view.name, refused),
            "usd_per_hour": whole.busy_usd_per_hour if whole else None,
        }
    )


def _refusals(cluster: str, refused: Sequence[ScaleRow]) -> tuple[RefusalView, ...]:
    """One of each nodearray and message: asked again in vain is no news."""
    newest: dict[tuple[str, str], ScaleRow] = {}
    for row in refused:
        if row.cluster == cluster:
            newest.setdefault((row.nodearray, row.message), row)
    return tuple(refusal_view(row) for row in list(newest.values())[:MOST_REFUSALS])


def _with_nodes(view: ClusterView, clusters: Clusters, ledger: Ledger, now: datetime) -> ClusterView:
    """An elastic cluster costs what its nodes cost, busy or not."""
    if not view.elastic:
        return view
    cluster, lives = clusters.cluster(view.name), ledger.lives(view.name)
    return view.model_copy(
        update={
            "boots": boot_views(lives, cluster, ledger.boot_times_s(view.name), now),
            "nodes_there": len(lives),
            "usd_per_hour": vms_usd_per_hour(lives, cluster),
        }
    )
