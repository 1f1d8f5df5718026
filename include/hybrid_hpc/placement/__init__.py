"""Placement: hard rules, expected start, money, one ranking, and the decision with its reason (pure)."""

from hybrid_hpc.placement.decide import decide
from hybrid_hpc.placement.decision import Decision, Verdict
from hybrid_hpc.placement.fits import Refusal, partitions_that_fit
from hybrid_hpc.placement.outlook import PartitionVerdict
from hybrid_hpc.placement.spot import Risk, cheapest_on_demand
from hybrid_hpc.placement.view import ClusterView

__all__ = [
    "ClusterView",
    "Decision",
    "PartitionVerdict",
    "Refusal",
    "Risk",
    "Verdict",
    "cheapest_on_demand",
    "decide",
    "partitions_that_fit",
]
