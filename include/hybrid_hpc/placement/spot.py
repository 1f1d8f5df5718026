"""Spot nodes: what an eviction is expected to cost a job, and the nodes that stay instead (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from math import expm1, inf

from hybrid_hpc.clusters import Cluster, Spot
from hybrid_hpc.placement.cost import HOUR_S, rates_of
from hybrid_hpc.placement.fits import Shape, partitions_that_fit, shape_of
from hybrid_hpc.request import JobRequest


@dataclass(slots=True)  # not frozen, as the offers that hold it
class Risk:
    """A node is evicted about once in ``every_h`` hours; the job is expected to lose ``usd`` by that."""

    every_h: float
    usd: float

    @property
    def rate(self) -> str:
        """``1 in 20 h``."""
        return f"1 in {self.every_h:g} h"


def risk_of(shape: Shape, node_turns: int, spot: Spot, cost_usd: float, value_usd_h: float) -> Risk:
    """The expected loss in USD of a job of this shape that costs ``cost_usd`` at most.

    Who is evicted has done half of the work, on average. A task loses half of its cost with any one of its
    nodes; the result is late by half of the walltime when any of the ``node_turns`` meets an eviction.
    """
    hours = shape.walltime_s / HOUR_S
    lost_usd = _probability(shape.nodes * hours, spot) * cost_usd / 2
    lost_h = _probability(node_turns * hours, spot) * hours / 2
    return Risk(spot.evicted_every_h, lost_usd + lost_h * value_usd_h)


def _probability(node_hours: float, spot: Spot) -> float:
    """Of at least one eviction in so many hours of nodes, at a rate that never changes."""
    return -expm1(-node_hours / spot.evicted_every_h)


def cheapest_on_demand(request: JobRequest, cluster: Cluster) -> str | None:
    """Of the partitions whose nodes stay and that hold the job, the cheapest; None when there is none.

    The same for whoever asks. None may cost more than the request allows; those with GPUs come last for a
    job without.
    """
    shape, limit_usd = shape_of(request), request.max_cost_usd or inf
    stay = [part for part in partitions_that_fit(request, cluster) if not part.spot]
    cost_usd = {part.name: rates_of(part, cluster).most_usd(shape) for part in stay}
    kept = {part.name: bool(part.gpus) and not request.gpus_per_node for part in stay}
    affordable = [name for name, usd in cost_usd.items() if usd <= limit_usd]
    return min(affordable, key=lambda name: (kept[name], cost_usd[name]), default=None)
