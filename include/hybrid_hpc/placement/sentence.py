"""The sentence of a decision: what was chosen, and what the other choice would have meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hybrid_hpc.placement.decision import Verdict
from hybrid_hpc.placement.outlook import PartitionVerdict
from hybrid_hpc.placement.spot import Risk
from hybrid_hpc.placement.words import AT_ONCE_S, SAME_USD, at_most, duration, starts, usd


class Choice(NamedTuple):
    """A cluster that fits, and the best that it offers."""

    cluster: str
    offer: PartitionVerdict


def sentence(verdicts: Sequence[Verdict], ranked: Sequence[Choice], warnings: Sequence[str] = ()) -> str:
    """``azure (htc): starts in about 1 min for at most 0.85 USD; onprem would start about 29 min later
    and cost 0.53 USD less.``

    ``ranked``: the clusters that fit, the chosen one first; ``verdicts``: all clusters.
    """
    if not ranked:
        return _nowhere(verdicts)
    chosen = ranked[0]
    others = [verdict for verdict in verdicts if verdict.cluster != chosen.cluster]
    parts = [f"{chosen.cluster} ({chosen.offer.partition}): {_offer(chosen.offer)}"]
    if chosen.offer.risk:
        parts.append(_on_spot(chosen.offer, chosen.offer.risk, _that_stay(chosen.cluster, verdicts)))
    if len(ranked) > 1:
        parts.append(f"{ranked[1].cluster} would {_compared(ranked[1].offer, chosen.offer)}")
    elif others:
        parts.append(_only(others))
    parts += [f"{other.cluster}: {other.why}" for other in others if _worth_saying(other)]
    return "; ".join([*parts, *warnings]) + "."


def deadline_warning(offer: PartitionVerdict, left_s: float) -> str:
    """What to tell when no cluster has the result in time; the deadline is ``left_s`` away."""
    late = duration((offer.ends_in_s or 0.0) - left_s)
    return f"no cluster has the result by the deadline, it could come {late} late"


def _nowhere(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return "no cluster is named in clusters.yaml."
    helps = any(verdict.refusal and verdict.refusal.waiting_helps for verdict in verdicts)
    head = "no cluster can take this job now" if helps else "no cluster can ever take this job"
    return f"{head}: " + "; ".join(f"{verdict.cluster}: {verdict.why}" for verdict in verdicts) + "."


def _offer(best: PartitionVerdict) -> str:
    return f"{starts(best.starts_in_s or 0.0)} for {at_most(best.cost_usd or 0.0)}"


def _that_stay(cluster: str, verdicts: Sequence[Verdict]) -> list[PartitionVerdict]:
    """What fits in this cluster and cannot be evicted."""
    offers = [offer for verdict in verdicts if verdict.cluster == cluster for offer in verdict.partitions]
    return [offer for offer in offers if offer.fits and not offer.risk]


def _on_spot(chosen: PartitionVerdict, risk: Risk, stay: Sequence[PartitionVerdict]) -> str:
    """``spot: 0.45 USD less than htc even with the risk of an eviction (1 in 20 h)``."""
    if not stay:
        return f"spot: an eviction ({risk.rate}) is expected to cost {usd(risk.usd)}"
    other = min(stay, key=lambda offer: offer.score_usd or 0.0)
    saved = (other.cost_usd or 0.0) - (chosen.cost_usd or 0.0) - risk.usd
    than = f"{usd(abs(saved))} {'less' if saved >= 0 else 'more'} than {other.partition}"
    else_ = "; on demand when no spot node can be had"
    if saved >= 0:
        return f"spot: {than} even with the risk of an eviction ({risk.rate}){else_}"
    return f"spot: {than} with the risk of an eviction ({risk.rate}), and sooner{else_}"


def _worth_saying(other: Verdict) -> bool:
    return other.refusal is not None and other.refusal.rule != "pinned"


def _only(others: Sequence[Verdict]) -> str:
    """Names what the others lack when it is the same for all of them."""
    refusals = [other.refusal for other in others if other.refusal]
    if any(refusal.rule == "pinned" for refusal in refusals):
        return "the job asks for it by name"
    lacking = {refusal.wanted for refusal in refusals}
    wanted = lacking.pop() if len(lacking) == 1 else ""
    return f"the only cluster that can {f'give {wanted}' if wanted else 'take it'}"


def _compared(other: PartitionVerdict, best: PartitionVerdict) -> str:
    """``start about 29 min later and cost 0.53 USD less``, seen from the chosen one."""
    dearer = _dearer((other.cost_usd or 0.0) - (best.cost_usd or 0.0))
    return f"{_later(other, best)} and {dearer}{', on spot nodes' if other.risk else ''}"


def _later(other: PartitionVerdict, best: PartitionVerdict) -> str:
    """Compares the starts; the ends where the tasks of an array make those differ by something else."""
    start = (other.starts_in_s or 0.0) - (best.starts_in_s or 0.0)
    end = (other.ends_in_s or 0.0) - (best.ends_in_s or 0.0)
    if abs(end - start) < AT_ONCE_S:
        return _shifted("start", start)
    return _shifted("be done", end)


def _shifted(verb: str, seconds: float) -> str:
    if abs(seconds) < AT_ONCE_S:
        return f"{verb} at the same time"
    return f"{verb} about {duration(abs(seconds))} {'later' if seconds > 0 else 'sooner'}"


def _dearer(difference_usd: float) -> str:
    if abs(difference_usd) < SAME_USD:
        return "cost the same"
    return f"cost {usd(abs(difference_usd))} {'more' if difference_usd > 0 else 'less'}"
