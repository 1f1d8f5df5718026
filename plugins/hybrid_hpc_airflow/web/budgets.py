"""The routes of the page *Budgets* and of the same as JSON; the month is in the address."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from hybrid_hpc.months import PATTERN
from hybrid_hpc_airflow.web.access import MayReadDep
from hybrid_hpc_airflow.web.budget_reading import read_budgets
from hybrid_hpc_airflow.web.budget_view import BudgetsPage
from hybrid_hpc_airflow.web.dependencies import BudgetsDep, LedgerDep, NowDep
from hybrid_hpc_airflow.web.rendering import budgets_html

page = APIRouter()
api = APIRouter(prefix="/api")
Month = Annotated[str | None, Query(pattern=f"^{PATTERN}$", description="2026-03; left out: this month")]


@page.get("/budgets", response_class=HTMLResponse)
def show(
    ledger: LedgerDep, budgets: BudgetsDep, may_read: MayReadDep, now: NowDep, month: Month = None
) -> HTMLResponse:
    """The page."""
    return HTMLResponse(budgets_html(read_budgets(ledger, budgets, may_read, now, month)))


@api.get("/budgets")
def as_json(
    ledger: LedgerDep, budgets: BudgetsDep, may_read: MayReadDep, now: NowDep, month: Month = None
) -> BudgetsPage:
    """Every project's budget in a month, and who was asked."""
    return read_budgets(ledger, budgets, may_read, now, month)
