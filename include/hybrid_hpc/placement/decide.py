"""Where a job goes: hard rules first, then one ranking in USD (pure; the same in every caller)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from math import inf
from operator import attrgetter
from typing import Any

from hybrid_hpc.budget_rules import Amount, Standing
from hybrid_hpc.clusters import Policy
from hybrid_hpc.placement.decision import Decision, Verdict
from hybrid_hpc.placement.fits import Refusal, Shape, not_admitted, shape_of, too_large
from hybrid_hpc.placement.outlook import PartitionVerdict, nearest
from hybrid_hpc.placement.rules import Judged, hold_budget, hold_cost, hold_deadline, keep_gpus, keep_off_spot
from hybrid_hpc.placement.sentence import Choice, deadline_warning, sentence
from hybrid_hpc.placement.view import ClusterView
from hybrid_hpc.request import JobRequest

_Rank = Callable[[PartitionVerdict], Any]
_by_score: _Rank = attrgetter("score_usd")
_by_end: _Rank = attrgetter("ends_in_s", "score_usd")


def decide(
    request: JobRequest,
    views: Sequence[ClusterView],
    policy: Policy,
    now: float,
    budget: Standing | None = None,
) -> Decision:
    """The decision on one request. ``now`` is unix seconds; ``views`` in the order of clusters.yaml.

    ``budget``: where its project stands in this month, None without a limit.

    What passes the hard rules is ranked by its score in USD: the most it can cost, plus the value of the
    time until the result, plus what an eviction from spot nodes is expected to cost, plus
    `deadline_miss_usd` when the result comes too late. The lowest wins, the earlier cluster and partition in
    the file where scores are equal. Two rules hold only while something else is left: a result before the
    deadline (when none is in time, the earliest result wins, with a warning), and nodes with GPUs are kept
    for jobs that ask for GPUs.

    Never raises for a job that fits nowhere: see `Decision.raise_if_unplaced`.
    """
    shape = shape_of(request)
    judged = [_judge(view, request, shape, policy) for view in views]
    if not request.allows_spot:
        keep_off_spot(judged)
    if request.max_cost_usd is not None:
        hold_cost(judged, request.max_cost_usd)
    if budget:
        hold_budget(judged, budget, shape.core_h)
    left_s = request.deadline.timestamp() - now if request.deadline else inf
    late = left_s < inf and hold_deadline(judged, left_s, policy)
    if not request.gpus_per_node:
        keep_gpus(judged)
    rank = _by_end if late else _by_score
    verdicts = tuple(_verdict(cluster, rank) for cluster in judged)
    ranked = sorted(_fitting(verdicts), key=lambda choice: rank(choice.offer))
    over, notice = _of_budget(budget, ranked, shape)
    warnings = [deadline_warning(ranked[0].offer, left_s)] if late else []
    warnings += filter(None, [over and f"{over}: a person must approve it", notice])
    return Decision(
        cluster=ranked[0].cluster if ranked else "",
        partition=ranked[0].offer.partition if ranked else "",
        sentence=sentence(verdicts, ranked, warnings),
        warnings=tuple(warnings),
        verdicts=verdicts,
        inputs=tuple(view.inputs for view in views),
        policy=policy,
        decided_at=datetime.fromtimestamp(now, UTC),
        core_h=shape.core_h,
        budget=budget,
        over_budget=over,
    )


def _of_budget(budget: Standing | None, ranked: Sequence[Choice], shape: Shape) -> tuple[str, str]:
    """Why a person must approve what was chosen, or else what to tell of the budget; each '' for nothing."""
    if budget is None or not ranked:
        return "", ""
    cost = Amount(ranked[0].offer.cost_usd or 0.0, shape.core_h)
    over = budget.why_not(cost) if budget.asks else ""
    return over, "" if over else budget.notice(cost)


def _judge(view: ClusterView, request: JobRequest, shape: Shape, policy: Policy) -> Judged:
    refusal = not_admitted(request, view.cluster)
    if view.closed and not refusal:
        refusal = Refusal("account", view.closed)
    if refusal:
        return Judged(view, refusal, ())
    if view.outlook is None:
        return Judged(view, None, tuple(_unseen(view, shape)))
    return Judged(view, None, view.outlook.offers(shape, policy.value_of_time_usd_per_h))


def _unseen(view: ClusterView, shape: Shape) -> Iterator[PartitionVerdict]:
    """A cluster that does not answer still says for good what it can never hold."""
    silent = Refusal("unavailable", f"left out: {view.silence}", waiting_helps=True)
    for partition in view.cluster.partitions.values():
        yield PartitionVerdict(partition.name, too_large(shape, partition) or silent)


def _fitting(verdicts: Sequence[Verdict]) -> Iterator[Choice]:
    for verdict in verdicts:
        if verdict.best:
            yield Choice(verdict.cluster, verdict.best)


def _verdict(cluster: Judged, rank: _Rank) -> Verdict:
    offers = tuple(cluster.offers)
    best = min([offer for offer in offers if offer.refusal is None], key=rank, default=None)
    refusal = None if best else cluster.refusal or nearest(offers)
    return Verdict(cluster.view.cluster.name, best, refusal, offers)
