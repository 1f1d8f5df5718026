"""Every project's budget in one month: what is taken and left, what may come, and who was asked (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal
from urllib.parse import quote

from hybrid_hpc.approvals import ApprovalRow
from hybrid_hpc.budget_models import Budget, Budgets
from hybrid_hpc.budget_rules import NO_PROJECT, Standing, Taken
from hybrid_hpc.months import month_after, month_name, month_text, month_window
from hybrid_hpc_airflow.web.views import View

State = Literal["in order", "notice", "spent"]
EARLIEST = 1 / 31  # of a month: less says nothing about the rest
_BECOMES = {
    "on_premises_only": ("goes on premises only", "go on premises only"),
    "ask": ("waits for an approval", "wait for an approval"),
    "refuse": ("is refused", "are refused"),
}


class BarView(View):
    """Where the parts of a bar are, in percent of its width."""

    spent: float
    reserved: float  # its width; it begins where ``spent`` ends
    limit: float
    notice: float
    forecast: float | None


class LimitView(View):
    """One of a budget's limits; ``forecast``: what will be taken at the month's end, at the pace so far."""

    unit: str
    most: float
    spent: float
    reserved: float
    left: float
    share: float  # which part of the limit is taken
    forecast: float | None
    bar: BarView


class BudgetView(View):
    """One project's budget in one month, and what its state means for further jobs."""

    project: str
    name: str
    state: State
    meaning: str
    limits: tuple[LimitView, ...]


class UnlimitedView(View):
    """What a project without a budget has taken, what is reserved included."""

    name: str
    usd: float
    core_h: float


class ApprovalView(View):
    """A job that would exceed a budget; ``answer`` is '' while a person has yet to give one."""

    project: str
    name: str
    submitted_by: str
    cluster: str
    usd: float
    core_h: float
    why: str
    asked_at: datetime
    answered_at: datetime | None
    answer: str
    approved: bool | None
    dag_id: str
    run_id: str

    @property
    def run_path(self) -> str:
        """Where its DAG run is in Airflow's UI, below the UI's own address."""
        return f"dags/{quote(self.dag_id, safe='')}/runs/{quote(self.run_id, safe='')}"


class BudgetsPage(View):
    """All of the page of one month."""

    now: datetime
    month: str
    title: str
    before: str
    after: str
    budgets: tuple[BudgetView, ...]
    unlimited: tuple[UnlimitedView, ...]
    waiting: tuple[ApprovalView, ...]
    answered: tuple[ApprovalView, ...]


def budgets_page(
    month: str,
    budgets: Budgets,
    taken: Mapping[str, Taken],
    waiting: Sequence[ApprovalRow],
    answered: Sequence[ApprovalRow],
    now: datetime,
) -> BudgetsPage:
    """The page; projects that budgets.yaml names come first and in its order."""
    projects = list(dict.fromkeys([*budgets.projects, *sorted(taken)]))
    passed = _passed(month, now)
    return BudgetsPage(
        now=now,
        month=month,
        title=month_text(month),
        before=month_after(month, -1),
        after=month_after(month),
        budgets=tuple(_budgets(projects, month, budgets, taken, passed)),
        unlimited=tuple(_unlimited(projects, budgets, taken)),
        waiting=tuple(map(_approval, waiting)),
        answered=tuple(map(_approval, answered)),
    )


def _budgets(
    projects: Sequence[str], month: str, budgets: Budgets, taken: Mapping[str, Taken], passed: float | None
) -> Iterator[BudgetView]:
    for project in projects:
        if budget := budgets.of(project):
            yield _budget(Standing(project, month, budget, taken.get(project, Taken())), passed)


def _budget(standing: Standing, passed: float | None) -> BudgetView:
    limits = tuple(_limits(standing, passed))
    state = _state(max(limit.share for limit in limits), standing.budget)
    return BudgetView(
        project=standing.project,
        name=standing.name,
        state=state,
        meaning=_meaning(state, standing.budget),
        limits=limits,
    )


def _limits(standing: Standing, passed: float | None) -> Iterator[LimitView]:
    spent, reserved = standing.taken.spent, standing.taken.reserved
    parts = {"USD": (spent.usd, reserved.usd), "core-hours": (spent.core_h, reserved.core_h)}
    for limit in standing.limits():
        used, held = parts[limit.unit]
        forecast = max(used / passed, limit.taken) if passed else None
        yield LimitView(
            unit=limit.unit,
            most=limit.most,
            spent=used,
            reserved=held,
            left=limit.left,
            share=limit.share,
            forecast=forecast,
            bar=bar_of(used, held, limit.most, standing.budget.notice_at_percent, forecast),
        )


def bar_of(
    spent: float, reserved: float, most: float, notice_at_percent: float, forecast: float | None
) -> BarView:
    """The bar: as long as the limit, or as what is taken or forecast beyond it."""
    whole = max(most, spent + reserved, forecast or 0.0) or 1.0
    return BarView(
        spent=100 * spent / whole,
        reserved=100 * reserved / whole,
        limit=100 * most / whole,
        notice=notice_at_percent * most / whole,
        forecast=None if forecast is None else 100 * forecast / whole,
    )


def _passed(month: str, now: datetime) -> float | None:
    """Which part of the month is over; None for a month that is not this one, or has only begun."""
    if month != month_name(now):
        return None
    span = month_window(month)
    passed = (now - span.since) / (span.until - span.since)
    return passed if passed >= EARLIEST else None


def _state(share: float, budget: Budget) -> State:
    if share >= 1:
        return "spent"
    return "notice" if share * 100 >= budget.notice_at_percent else "in order"


def _meaning(state: State, budget: Budget) -> str:
    one, more = _BECOMES[budget.when_spent]
    if state == "spent":
        return f"Further jobs {more}."
    beginning = f"At least {budget.notice_at_percent:g} % is taken. A" if state == "notice" else "A"
    return f"{beginning} job that would exceed it {one}."


def _unlimited(
    projects: Sequence[str], budgets: Budgets, taken: Mapping[str, Taken]
) -> Iterator[UnlimitedView]:
    for project in projects:
        if budgets.of(project) is None:
            total = taken[project].total
            yield UnlimitedView(name=project or "without a project", usd=total.usd, core_h=total.core_h)


def _approval(row: ApprovalRow) -> ApprovalView:
    known = {
        name: getattr(row, name) for name in ApprovalView.model_fields if name not in ("project", "answer")
    }
    return ApprovalView(**known, project=row.project or NO_PROJECT, answer=_answer(row))


def _answer(row: ApprovalRow) -> str:
    if row.answered_at is None:
        return ""
    if not row.answered_by:
        return "nobody answered in time"
    return f"{'approved' if row.approved else 'refused'} by {row.answered_by}"
