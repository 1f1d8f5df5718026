"""Nodes that somebody waits for without a job: asked for beside the queue's, and not let go meanwhile (pure).

Wishes for one nodearray are not added up: each waits until so many nodes are up.
"""

from __future__ import annotations

from collections.abc import Mapping

from hybrid_hpc.clusters import Cluster
from hybrid_hpc.placement.waiting import natural
from hybrid_hpc.schedulers.base import Load, NodeStatus
from hybrid_hpc.waits import nodes_of

LEASE_S = 600.0  # a wish that nobody has repeated for so long is nobody's: its run was deleted
LEASE_POLLS = 3


def lease_s(cluster: Cluster) -> float:
    """For how long a wish stands that is not repeated; waits repeat theirs at every poll."""
    return max(LEASE_S, LEASE_POLLS * cluster.poll_s)


def wished_for(wishes: Mapping[str, int], load: Load, cluster: Cluster) -> set[str]:
    """The nodes that stay for the sake of a wish: as many of those that are up, lowest names first."""
    kept: set[str] = set()
    for nodearray, count in wishes.items():
        up = (node.name for node in nodes_of(load, cluster, nodearray) if node.status is NodeStatus.UP)
        kept.update(sorted(up, key=natural)[:count])
    return kept
