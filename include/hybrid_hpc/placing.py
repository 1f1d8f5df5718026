"""A job is placed within its project's budget: decided by what is left, and reserved in the same step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta

from hybrid_hpc.budget_models import Budget, Budgets
from hybrid_hpc.budget_rules import BUDGET, Amount, Claim, Standing
from hybrid_hpc.clusters import Cluster, Policy
from hybrid_hpc.errors import BudgetTaken, Unavailable
from hybrid_hpc.jobs import JobKey
from hybrid_hpc.ledger import DecisionRow, Ledger
from hybrid_hpc.months import month_name
from hybrid_hpc.placement import ClusterView, Decision, decide
from hybrid_hpc.reconcile import Run
from hybrid_hpc.request import JobRequest

log = logging.getLogger(__name__)

LATE = timedelta(days=2)  # so long the accounting may tell more of a job that has ended
ROUNDS = 20  # of others who are quicker at the same budget


def place(
    key: JobKey,
    request: JobRequest,
    views: Sequence[ClusterView],
    policy: Policy,
    *,
    budgets: Budgets,
    ledger: Ledger,
    submitted_by: str = "",
) -> DecisionRow:
    """The placement that stands for this key, with what it takes of its project's budget reserved.

    Raises what `Decision.raise_if_unplaced` raises; then nothing is written.
    """
    for _ in range(ROUNDS):
        now = ledger.now()
        budget = standing_of(key, request.project, budgets, ledger, now)
        decision = decide(request, views, policy, now.timestamp(), budget)
        log.info("placement\n%s", decision.table())
        decision.raise_if_unplaced()
        try:
            row = ledger.record_decision(
                key,
                request=request,
                decision=decision,
                submitted_by=submitted_by,
                claim=claim_of(decision, request.project),
            )
        except BudgetTaken as error:
            log.info("placed again: %s", error)
        else:
            tell_of_budget(decision, ledger)
            return row
    raise Unavailable(f"the budget of {request.project} is claimed by too many at once")


def standing_of(
    key: JobKey, project: str | None, budgets: Budgets, ledger: Ledger, now: datetime, *, moving: bool = False
) -> Standing | None:
    """Where the project of a job stands without that job, None without a budget.

    ``moving``: the job has been placed before. Then nobody is asked: it may cost what was approved for it.
    """
    budget, name, month = budgets.of(project), project or "", month_name(now)
    if budget is None:
        return None
    taken = ledger.budget_taken(name, month, without=key)
    granted = ledger.granted(key) if moving else Amount()
    return Standing(name, month, budget, taken, granted, may_ask=not moving)


def claim_of(decision: Decision, project: str | None) -> Claim:
    """What a decision that was placed is to take, whether or not its project has a budget."""
    cost, over = decision.cost(), decision.over_budget
    within = decision.budget if decision.budget and not decision.budget.why_not(cost) else None
    return Claim(project or "", month_name(decision.decided_at), cost, within, over)


def budget_of(decision: DecisionRow, cluster: Cluster, budgets: Budgets) -> Budget | None:
    """What holds another attempt of a placement; None for one that goes on premises whatever is spent."""
    budget = budgets.of(decision.request.project)
    if budget and budget.when_spent == "on_premises_only" and not cluster.elastic:
        return None
    return budget


def tell_of_budget(decision: Decision, ledger: Ledger) -> None:
    """Raises the notice of a project that has taken so much of its budget: one a month."""
    budget = decision.budget
    if budget and (notice := budget.notice(decision.cost())):
        said = f"{notice[0].upper()}{notice[1:]}."
        ledger.raise_alert(f"{budget.name} {budget.month}", BUDGET, said)


def tidy_budgets(ledger: Ledger, living: Callable[[Collection[Run]], set[Run]]) -> int:
    """Frees what is reserved for runs that have ended without a job; what ended lately is measured once more.

    The notices of past months end.

    ``living`` says which of these (dag_id, run_id) are alive. Gives how many reservations were closed.
    """
    idle = ledger.idle_reservations()
    alive = living({(each.dag_id, each.run_id) for each in idle}) if idle else set()
    month = month_name(ledger.now())
    for alert in ledger.alerts((BUDGET,)):
        if alert.subject.rpartition(" ")[2] < month:
            ledger.clear_alert(alert.subject, BUDGET)
    ledger.measure_again(LATE)
    return ledger.close_idle([each.decision_id for each in idle if (each.dag_id, each.run_id) not in alive])
