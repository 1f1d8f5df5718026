"""A job for which no spot node can be had goes to nodes of the same cluster that stay (pure).

Who allows spot nodes asks for cheaper ones, and not for none. So this is neither a move nor a loss and counts
as neither; `on_blocked` is asked when the nodes that stay cannot be had, too.
"""

from __future__ import annotations

from hybrid_hpc.clusters import Cluster, Clusters
from hybrid_hpc.ledger.rows import JobRow
from hybrid_hpc.placement import cheapest_on_demand


def instead_of_spot(row: JobRow, cluster: Cluster) -> str | None:
    """Where on ``cluster`` a job of one of its spot partitions goes instead; None when nowhere."""
    if not cluster.spot(row.partition) or not row.request.allows_spot:
        return None
    return cheapest_on_demand(row.request, cluster)


def gave_up_spot(row: JobRow, clusters: Clusters) -> bool:
    """True for an attempt that was withdrawn from spot nodes, and whose job goes on on the same cluster."""
    cluster = clusters.clusters.get(row.cluster)
    wanted = row.left and not row.cancel_wished
    return wanted and cluster is not None and instead_of_spot(row, cluster) is not None
