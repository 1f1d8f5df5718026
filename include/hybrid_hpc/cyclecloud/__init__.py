"""Azure CycleCloud: a client of its REST API, and what it answers."""

from hybrid_hpc.cyclecloud.client import CycleCloudClient
from hybrid_hpc.cyclecloud.http import Patience
from hybrid_hpc.cyclecloud.models import (
    Bucket,
    ClusterStatus,
    ClusterUsage,
    Creation,
    Node,
    NodeArrayStatus,
    NodeManagement,
    NodeSet,
    Operation,
)

__all__ = [
    "Bucket",
    "ClusterStatus",
    "ClusterUsage",
    "Creation",
    "CycleCloudClient",
    "Node",
    "NodeArrayStatus",
    "NodeManagement",
    "NodeSet",
    "Operation",
    "Patience",
]
