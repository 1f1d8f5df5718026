"""One job from the wish to the result: what was asked for, decided, waited, used (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from hybrid_hpc.ledger.rows import JobRow
from hybrid_hpc.usage.rows import UsageRow
from hybrid_hpc_airflow.web.views import JobView, View

NARROWEST = 0.4  # percent: a step of a second is still to be seen beside one of a day


class OfferView(View):
    """What one cluster offered when the job was placed; None where the offer never came so far."""

    cluster: str
    chosen: bool
    partition: str = ""
    starts_in_s: float | None = None
    ends_in_s: float | None = None
    cost_usd: float | None = None
    why: str = ""  # why the job does not fit there; '' when it does


class StepView(View):
    """One step of the way; ``left`` and ``width`` are percent of the whole way, ``open``: it goes on."""

    word: str
    begun_at: datetime
    ended_at: datetime
    left: float
    width: float
    open: bool

    @property
    def seconds(self) -> float:
        """How long it took so far."""
        return (self.ended_at - self.begun_at).total_seconds()


class UsedView(View):
    """What all lives and tasks of a job used together; an efficiency is None where nothing is known."""

    core_h: float
    gpu_h: float
    cost_usd: float
    cpu_efficiency: float | None
    peak_mib: float | None  # of the largest process


class JobPage(View):
    """All of the page of one job."""

    now: datetime
    job: JobView
    asked: Mapping[str, str]
    sentence: str  # of the decision; '' when there is none
    offers: tuple[OfferView, ...]
    steps: tuple[StepView, ...]
    used: UsedView | None


def job_page(
    row: JobRow, decision: Mapping[str, Any] | None, usage: Sequence[UsageRow], now: datetime
) -> JobPage:
    """The page, of what the ledger has of the job."""
    made = decision or {}
    return JobPage(
        now=now,
        job=JobView.of(row),
        asked=asked_of(row.request_json),
        sentence=str(made.get("sentence", "")),
        offers=offers_of(made),
        steps=steps_of(row, now),
        used=used_of(usage) if usage else None,
    )


def asked_of(request: Mapping[str, Any]) -> dict[str, str]:
    """What the request says, but for what it leaves open and for the texts of scripts."""
    shown = {name: value for name, value in request.items() if name not in ("script", "name")}
    return {name: str(value) for name, value in shown.items() if value not in (None, "", [], {}, False)}


def offers_of(decision: Mapping[str, Any]) -> tuple[OfferView, ...]:
    """Every cluster's offer, of a decision as JSON."""
    return tuple(_offer(each, decision.get("cluster", "")) for each in decision.get("verdicts", ()))


def _offer(verdict: Mapping[str, Any], chosen: str) -> OfferView:
    best = verdict.get("best") or {}
    known = {name: best.get(name) for name in ("starts_in_s", "ends_in_s", "cost_usd")}
    return OfferView(
        cluster=verdict["cluster"],
        chosen=verdict["cluster"] == chosen,
        partition=best.get("partition") or "",
        why=(verdict.get("refusal") or {}).get("why") or "",
        **known,
    )


def steps_of(row: JobRow, now: datetime) -> tuple[StepView, ...]:
    """The steps so far. The cluster's clock may differ from ours: no step ends before it begins."""
    end = row.ended_at or row.settled_at or now
    marks = [("asked", row.intent_at), ("queued", row.released_at), ("ran", row.started_at)]
    begun = [(word, moment) for word, moment in marks if moment]
    borders = _rising([*(moment for _, moment in begun), end])
    whole_s = max((borders[-1] - borders[0]).total_seconds(), 1.0)
    goes_on = row.ended_at is None and row.settled_at is None
    return tuple(
        StepView(
            word=word,
            begun_at=borders[at],
            ended_at=borders[at + 1],
            left=100 * (borders[at] - borders[0]).total_seconds() / whole_s,
            width=max(100 * (borders[at + 1] - borders[at]).total_seconds() / whole_s, NARROWEST),
            open=goes_on and at == len(begun) - 1,
        )
        for at, (word, _) in enumerate(begun)
    )


def _rising(moments: Sequence[datetime]) -> list[datetime]:
    return [max(moments[: at + 1]) for at in range(len(moments))]


def used_of(usage: Sequence[UsageRow]) -> UsedView:
    """All rows of one job added up."""
    core_h = sum(row.core_h for row in usage)
    peaks = [row.max_rss_mib for row in usage if row.max_rss_mib is not None]
    return UsedView(
        core_h=core_h,
        gpu_h=sum(row.gpu_h for row in usage),
        cost_usd=sum(row.cost_usd for row in usage),
        cpu_efficiency=sum(row.cpu_h for row in usage) / core_h if core_h else None,
        peak_mib=max(peaks, default=None),
    )
