"""Where a project stands in a month's budget, and whether one more job would exceed it (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from hybrid_hpc.budget_models import Budget
from hybrid_hpc.months import month_text

BUDGET = "budget"  # the kind of its alerts
NO_PROJECT = "the budget without a project"
_SLACK = 1e-9  # sums of floats: what is left exactly is enough


@dataclass(frozen=True, slots=True)
class Amount:
    """So much money and so much work."""

    usd: float = 0.0
    core_h: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.usd + other.usd, self.core_h + other.core_h)


@dataclass(frozen=True, slots=True)
class Taken:
    """What is taken of a budget: used already, and reserved for jobs that have not ended."""

    spent: Amount = Amount()
    reserved: Amount = Amount()

    @property
    def total(self) -> Amount:
        """Both together."""
        return self.spent + self.reserved


@dataclass(frozen=True, slots=True)
class Limit:
    """One of the two limits of a budget, and how much of it is taken."""

    most: float
    taken: float
    unit: str

    @property
    def left(self) -> float:
        """Never less than nothing."""
        return max(self.most - self.taken, 0.0)

    @property
    def share(self) -> float:
        """Which part is taken; 1 and more: it is spent. A limit of nothing is spent from the start."""
        return self.taken / self.most if self.most else 1.0

    def text(self, amount: float) -> str:
        """``3.10 USD``, ``1,200.00 core-hours``."""
        return f"{amount:,.2f} {self.unit}"


@dataclass(frozen=True, slots=True)
class Standing:
    """A project in one month (``2026-03``), before one more job.

    ``granted``: a person has approved so much for this job before. ``may_ask``: False where nobody can be
    asked, so that a budget with ``when_spent: ask`` refuses.
    """

    project: str  # '' for jobs without one
    month: str
    budget: Budget
    taken: Taken
    granted: Amount = Amount()
    may_ask: bool = True

    @property
    def name(self) -> str:
        """Whose budget it is, in words."""
        return self.project or NO_PROJECT

    @property
    def asks(self) -> bool:
        """True when a person is asked about what would exceed it."""
        return self.budget.when_spent == "ask" and self.may_ask

    def limits(self) -> Iterator[Limit]:
        """The limits that there are."""
        total = self.taken.total
        if self.budget.usd is not None:
            yield Limit(self.budget.usd, total.usd, "USD")
        if self.budget.core_h is not None:
            yield Limit(self.budget.core_h, total.core_h, "core-hours")

    def why_not(self, cost: Amount) -> str:
        """Why a job that takes ``cost`` at most would exceed it, as a clause; '' when it would not."""
        if cost.usd <= self.granted.usd and cost.core_h <= self.granted.core_h:
            return ""
        for limit in self.limits():
            asked = cost.usd if limit.unit == "USD" else cost.core_h
            if asked > limit.left + _SLACK:
                has = f"{self.name} has {limit.text(limit.left)} of {limit.text(limit.most)} left"
                return f"{has} for {month_text(self.month)}, this takes {limit.text(asked)} at most"
        return ""

    def notice(self, cost: Amount) -> str:
        """What to tell when a job that takes ``cost`` at most brings it to the notice; '' below it."""
        after = replace(self, taken=Taken(self.taken.spent, self.taken.reserved + cost))
        nearest = max(after.limits(), key=lambda limit: limit.share)
        if nearest.share * 100 < self.budget.notice_at_percent - _SLACK:
            return ""
        of = f"{nearest.text(nearest.taken)} of {nearest.text(nearest.most)}"
        return f"with this job {self.name} has taken {of} for {month_text(self.month)}"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a placed job is to take in a month (``2026-03``), at most.

    ``standing``: what it was placed by and must not exceed when it is written down; None: it may.
    ``over``: why it takes nothing before a person has approved it; '' when nobody must.
    """

    project: str
    month: str
    cost: Amount
    standing: Standing | None = None
    over: str = ""

    def holds(self, taken: Taken) -> bool:
        """False when others have taken so much meanwhile that the placement stands no more."""
        return self.standing is None or not replace(self.standing, taken=taken).why_not(self.cost)
