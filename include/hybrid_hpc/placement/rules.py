"""Rules that look at a job's offers as a whole: spot nodes, money, its deadline, others' GPUs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hybrid_hpc.budget_rules import Amount, Standing
from hybrid_hpc.clusters import Policy
from hybrid_hpc.placement.fits import Refusal
from hybrid_hpc.placement.outlook import PartitionVerdict
from hybrid_hpc.placement.view import ClusterView
from hybrid_hpc.placement.words import duration, usd

_Rule = Callable[["Judged", PartitionVerdict], Refusal | None]
_KEPT = Refusal("kept", "its nodes are kept for jobs that ask for GPUs")
_SPOT = Refusal("spot", "spot nodes, which the job does not allow")


@dataclass(slots=True)
class Judged:
    """One cluster while the rules are applied: its partitions' offers, or what keeps it out as a whole."""

    view: ClusterView
    refusal: Refusal | None
    offers: Sequence[PartitionVerdict]


def keep_off_spot(judged: Sequence[Judged]) -> None:
    """Refuses spot nodes, whatever else keeps the job off them now; one that is too large is told that."""
    for cluster in judged:
        if spot := cluster.view.spot_partitions:
            cluster.offers = [
                offer.refused(_SPOT) if offer.partition in spot and not _too_large(offer) else offer
                for offer in cluster.offers
            ]


def _too_large(offer: PartitionVerdict) -> bool:
    return offer.refusal is not None and offer.refusal.reached < _SPOT.reached


def hold_cost(judged: Sequence[Judged], limit_usd: float) -> None:
    """Refuses what could cost more than ``limit_usd``."""

    def refusal(_: Judged, offer: PartitionVerdict) -> Refusal | None:
        cost = offer.cost_usd or 0.0
        if cost <= limit_usd:
            return None
        return Refusal("cost", f"it could cost up to {usd(cost)}, the limit is {usd(limit_usd)}", have=-cost)

    _refuse(judged, refusal)


def hold_budget(judged: Sequence[Judged], standing: Standing, core_h: float) -> None:
    """Refuses what would exceed the project's budget, where that is its policy.

    ``core_h``: what the job takes at most, wherever it goes. Where a person is to be asked, nothing is
    refused unless something is within the budget: nobody is asked for what can be had without.
    """

    def refusal(cluster: Judged, offer: PartitionVerdict) -> Refusal | None:
        if standing.budget.when_spent == "on_premises_only" and not cluster.view.cluster.elastic:
            return None
        why = standing.why_not(Amount(offer.cost_usd or 0.0, core_h))
        return Refusal("budget", why, have=-(offer.cost_usd or 0.0)) if why else None

    fitting = [(cluster, offer) for cluster in judged for offer in cluster.offers if offer.fits]
    if not standing.asks or any(refusal(cluster, offer) is None for cluster, offer in fitting):
        _refuse(judged, refusal)


def hold_deadline(judged: Sequence[Judged], left_s: float, policy: Policy) -> bool:
    """Refuses what is late when something is in time. True when all is late: then a miss is charged."""
    ends = [offer.ends_in_s or 0.0 for cluster in judged for offer in cluster.offers if offer.fits]
    if ends and min(ends) > left_s:
        _charge(judged, policy.deadline_miss_usd)
        return True

    def refusal(_: Judged, offer: PartitionVerdict) -> Refusal | None:
        end = offer.ends_in_s or 0.0
        if end <= left_s:
            return None
        why = f"the result could come {duration(end - left_s)} after the deadline"
        return Refusal("deadline", why, have=-end)

    _refuse(judged, refusal)
    return False


def keep_gpus(judged: Sequence[Judged]) -> None:
    """For a job without GPUs: refuses nodes that have some, when there are others for it that stay."""

    def refusal(cluster: Judged, offer: PartitionVerdict) -> Refusal | None:
        return _KEPT if offer.partition in cluster.view.gpu_partitions else None

    fitting = ((cluster, offer) for cluster in judged for offer in cluster.offers if not offer.refusal)
    if any(not offer.risk and refusal(cluster, offer) is None for cluster, offer in fitting):
        _refuse(judged, refusal)


def _refuse(judged: Sequence[Judged], rule: _Rule) -> None:
    for cluster in judged:
        cluster.offers = [
            offer.refused(refusal) if offer.refusal is None and (refusal := rule(cluster, offer)) else offer
            for offer in cluster.offers
        ]


def _charge(judged: Sequence[Judged], more_usd: float) -> None:
    for cluster in judged:
        cluster.offers = [
            replace(offer, score_usd=(offer.score_usd or 0.0) + more_usd) if offer.fits else offer
            for offer in cluster.offers
        ]
