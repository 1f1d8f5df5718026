"""From the ledger to the page of the budgets; it blocks for as long as the ledger takes."""

from __future__ import annotations

from datetime import datetime

from hybrid_hpc.budget_models import Budgets
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.months import month_name
from hybrid_hpc_airflow.web.budget_view import BudgetsPage, budgets_page
from hybrid_hpc_airflow.web.views import MayRead

ANSWERED = 50


def read_budgets(
    ledger: Ledger, budgets: Budgets, may_read: MayRead, now: datetime, month: str | None
) -> BudgetsPage:
    """A month, None for this one; jobs of DAGs that the reader may not see are left out of the approvals."""
    chosen = month or month_name(now)
    waiting = [row for row in ledger.waiting_approvals() if may_read(row.dag_id)]
    answered = [row for row in ledger.answered_approvals(chosen, ANSWERED) if may_read(row.dag_id)]
    return budgets_page(chosen, budgets, ledger.budgets_taken(chosen), waiting, answered, now)
