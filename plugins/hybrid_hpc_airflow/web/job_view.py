"""One job from the wish to the result: what was asked for, decided, waited, used (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hybrid_hpc.ledger.rows import JobRow, LifeRow
from hybrid_hpc.usage.rows import UsageRow
from hybrid_hpc_airflow.web.attempts import AttemptView, attempts_of
from hybrid_hpc_airflow.web.steps import StepView, steps_of
from hybrid_hpc_airflow.web.views import JobView, View


class OfferView(View):
    """What one cluster offered when the job was placed; None where the offer never came so far."""

    cluster: str
    chosen: bool
    partition: str = ""
    starts_in_s: float | None = None
    ends_in_s: float | None = None
    cost_usd: float | None = None
    why: str = ""  # why the job does not fit there; '' when it does


class UsedView(View):
    """What all lives and tasks of a job used together; an efficiency is None where nothing is known."""

    core_h: float
    gpu_h: float
    cost_usd: float
    cpu_efficiency: float | None
    peak_mib: float | None  # of the largest process
    memory_mib: float | None  # asked for, on each node; None where nothing was
    elapsed_s: float  # of its longest life or task
    walltime_s: int | None

    @property
    def memory_share(self) -> float | None:
        """The largest process against what was asked for on its node."""
        return self.peak_mib / self.memory_mib if self.peak_mib is not None and self.memory_mib else None

    @property
    def walltime_share(self) -> float | None:
        """The longest life or task against what was asked for."""
        return self.elapsed_s / self.walltime_s if self.walltime_s else None


class JobPage(View):
    """All of the page of one job."""

    now: datetime
    job: JobView
    asked: Mapping[str, str]
    sentence: str  # of the decision; '' when there is none
    offers: tuple[OfferView, ...]
    steps: tuple[StepView, ...]
    used: UsedView | None
    attempts: tuple[AttemptView, ...]  # the oldest first, this one among them
    output: str | None  # its last lines, '' for none; None: not collected yet


@dataclass(frozen=True, slots=True)
class JobRows:
    """What the ledger has of one job, beside its row."""

    decision: Mapping[str, Any] | None = None
    usage: Sequence[UsageRow] = ()
    attempts: Sequence[JobRow] = ()
    lives: Sequence[LifeRow] = ()  # of its nodes
    output: str | None = None


def job_page(row: JobRow, known: JobRows, now: datetime) -> JobPage:
    """The page, of what the ledger has of the job."""
    made = known.decision or {}
    return JobPage(
        now=now,
        job=JobView.of(row),
        asked=asked_of(row.request_json),
        sentence=str(made.get("sentence", "")),
        offers=offers_of(made),
        steps=steps_of(row, now, known.lives),
        used=used_of(known.usage) if known.usage else None,
        attempts=attempts_of(known.attempts or [row], row.token),
        output=known.output,
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


def used_of(usage: Sequence[UsageRow]) -> UsedView:
    """All rows of one job added up."""
    core_h = sum(row.core_h for row in usage)
    peaks = [row.max_rss_mib for row in usage if row.max_rss_mib is not None]
    asked = [row.memory_asked_mib / max(row.nodes, 1) for row in usage if row.memory_asked_mib]
    return UsedView(
        core_h=core_h,
        gpu_h=sum(row.gpu_h for row in usage),
        cost_usd=sum(row.cost_usd for row in usage),
        cpu_efficiency=sum(row.cpu_h for row in usage) / core_h if core_h else None,
        peak_mib=max(peaks, default=None),
        memory_mib=max(asked, default=None),
        elapsed_s=max(row.elapsed_s for row in usage),
        walltime_s=max((row.walltime_s for row in usage if row.walltime_s), default=None),
    )
