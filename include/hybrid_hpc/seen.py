"""What a cluster looks like to those who look now and then, and do not ask CycleCloud, into the ledger."""

from __future__ import annotations

from datetime import timedelta

from hybrid_hpc.cloud_view import with_cloud
from hybrid_hpc.clusters import Cluster
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.schedulers.base import Load
from hybrid_hpc.snapshots import snapshot_of

WATCHED = timedelta(minutes=2)  # a snapshot as new as that is the watch's, which has asked CycleCloud


def with_known_nodes(load: Load, cluster: Cluster, ledger: Ledger) -> Load:
    """An elastic cluster's load with nodes off, or booting, that to the scheduler look broken."""
    if not cluster.elastic:
        return load
    return with_cloud(load, cluster, [life.name for life in ledger.lives(cluster.name)])


def keep_snapshot(load: Load, cluster: Cluster, ledger: Ledger) -> bool:
    """Keeps it for the pages, unless somebody who knows more has looked just now; then False."""
    return ledger.save_snapshot(snapshot_of(load, cluster, {}, ledger.now()), unless_within=WATCHED)
