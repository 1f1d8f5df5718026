"""Promises about the page of the budgets: what is taken and left, what may come, and who was asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import pytest
from sqlalchemy import update

from hybrid_hpc.budget_models import Budget, Budgets
from hybrid_hpc.budget_rules import Amount, Taken
from hybrid_hpc.jobs import JobKey
from hybrid_hpc.ledger import DecisionRow, Ledger
from hybrid_hpc.ledger.decisions import DECISIONS
from hybrid_hpc.placing import place
from hybrid_hpc_airflow.web.budget_reading import read_budgets
from hybrid_hpc_airflow.web.budget_view import BudgetsPage, bar_of, budgets_page
from hybrid_hpc_airflow.web.rendering import budgets_html
from tests.unit.placement_world import POLICY, onprem, request, view

MID_MARCH = datetime(2026, 3, 16, 12, tzinfo=UTC)  # half of the month is over
HOSTILE = "<script>alert(1)</script>"
ALPHA = Budget(usd=100, core_h=1000, when_spent="on_premises_only")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.db", clock=lambda: MID_MARCH)
    made.migrate()
    yield made
    made.close()


def page(
    taken: dict[str, Taken], budget: Budget = ALPHA, *, month: str = "2026-03", now: datetime = MID_MARCH
) -> BudgetsPage:
    return budgets_page(month, Budgets(projects={"alpha": budget}), taken, [], [], now)


def text(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def asked(ledger: Ledger, run_id: str = "run", *, dag_id: str = "hpc_job") -> DecisionRow:
    budgets = Budgets(projects={"alpha": Budget(usd=1, when_spent="ask")})
    wish = request(cpus_per_task=16, walltime="10:00:00", project="alpha")
    where = [view(onprem())]
    key = JobKey(dag_id, run_id)
    return place(key, wish, where, POLICY, budgets=budgets, ledger=ledger, submitted_by=f"ada {HOSTILE}")


def rename(ledger: Ledger, decision: DecisionRow, name: str) -> None:
    """A name that the form would not take: another version's, or written by hand."""
    request = {**decision.request.model_dump(mode="json"), "name": name}
    with ledger._transaction() as connection:
        connection.execute(update(DECISIONS).where(DECISIONS.c.id == decision.id).values(request=request))


def everything(dag_id: str) -> bool:
    return True


def read(ledger: Ledger, may_read: Callable[[str], bool] = everything) -> BudgetsPage:
    return read_budgets(ledger, Budgets(), may_read, MID_MARCH + timedelta(minutes=5), None)


def test_used_reserved_and_left_add_up_to_the_limit() -> None:
    (budget,) = page({"alpha": Taken(Amount(30, 100), Amount(20, 50))}).budgets
    money, work = budget.limits
    assert (money.spent, money.reserved, money.left, money.share) == (30, 20, 50, 0.5)
    assert (work.unit, work.spent, work.reserved, work.left) == ("core-hours", 100, 50, 850)
    assert (money.bar.spent, money.bar.reserved, money.bar.limit, money.bar.notice) == (30, 20, 100, 80)


@pytest.mark.parametrize(
    ("spent", "state", "meaning"),
    [
        (79.9, "in order", "A job that would exceed it goes on premises only."),
        (80.0, "notice", "At least 80 % is taken. A job that would exceed it goes on premises only."),
        (100.0, "spent", "Further jobs go on premises only."),
    ],
)
def test_the_state_says_what_it_means(spent: float, state: str, meaning: str) -> None:
    (budget,) = page({"alpha": Taken(Amount(spent))}).budgets
    assert (budget.state, budget.meaning) == (state, meaning)


def test_the_nearer_of_both_limits_makes_the_state() -> None:
    (budget,) = page({"alpha": Taken(Amount(1, 1000))}).budgets
    assert budget.state == "spent"


def test_the_forecast_carries_the_use_on_and_is_never_less_than_what_is_taken() -> None:
    (budget,) = page({"alpha": Taken(Amount(60, 10), Amount(0, 40))}).budgets
    money, work = budget.limits
    assert money.forecast == pytest.approx(120)
    assert money.bar.limit == pytest.approx(100 * 100 / 120)
    assert work.forecast == 50


@pytest.mark.parametrize(
    ("month", "now"),
    [("2026-02", MID_MARCH), ("2026-04", MID_MARCH), ("2026-03", datetime(2026, 3, 1, 6, tzinfo=UTC))],
)
def test_there_is_no_forecast_of_another_month_nor_in_the_first_hours(month: str, now: datetime) -> None:
    shown = page({"alpha": Taken(Amount(60))}, month=month, now=now)
    assert shown.budgets[0].limits[0].forecast is None
    assert "forecast 1" not in text(budgets_html(shown))


def test_a_limit_of_nothing_is_spent_and_has_a_bar() -> None:
    (budget,) = page({}, Budget(usd=0)).budgets
    assert budget.state == "spent"
    assert bar_of(0, 0, 0, 80, None).limit == 0


def test_projects_without_a_budget_are_told_with_what_they_took() -> None:
    shown = page({"beta": Taken(Amount(2, 3), Amount(1, 1)), "": Taken(Amount(5, 6))})
    assert [(each.name, each.usd, each.core_h) for each in shown.unlimited] == [
        ("without a project", 5, 6),
        ("beta", 3, 4),
    ]


def test_who_waits_and_who_answered_what_when_and_for_how_much(ledger: Ledger) -> None:
    rename(ledger, asked(ledger, "waits"), HOSTILE)
    ledger.answer_approval(asked(ledger, "yes").id, by="admin", approved=True)
    ledger.answer_approval(asked(ledger, "no").id, by=f"eve {HOSTILE}", approved=False)
    ledger.answer_approval(asked(ledger, "late").id, by="", approved=False)
    shown = read(ledger)
    assert [row.run_id for row in shown.waiting] == ["waits"]
    assert {row.run_id: row.answer for row in shown.answered} == {
        "yes": "approved by admin",
        "no": f"refused by eve {HOSTILE}",
        "late": "nobody answered in time",
    }
    html = budgets_html(shown)
    assert HOSTILE not in html
    told = text(html)
    assert "Waiting for an approval 1" in told
    assert f"{HOSTILE} hpc_job / waits" in told
    assert "3.20 USD 160.00 core-hours 5 min ago" in told
    assert 'href="../dags/hpc_job/runs/waits"' in html


def test_approvals_of_dags_that_a_reader_may_not_see_are_left_out(ledger: Ledger) -> None:
    asked(ledger, "theirs", dag_id="secret_dag")
    ledger.answer_approval(asked(ledger, "done", dag_id="secret_dag").id, by="admin", approved=True)
    shown = read(ledger, lambda dag_id: dag_id == "hpc_job")
    assert (shown.waiting, shown.answered) == ((), ())
    assert len(read(ledger).waiting) == 1


def test_the_months_before_and_after_are_a_link_away() -> None:
    html = budgets_html(page({}, month="2026-01"))
    assert 'href="?month=2025-12"' in html
    assert 'href="?month=2026-02"' in html
    assert "January 2026" in html


def test_without_any_budget_the_page_says_where_they_come_from(ledger: Ledger) -> None:
    told = text(budgets_html(read(ledger)))
    assert "No project has a budget: an administrator writes them into budgets.yaml." in told
    assert "Nobody has been asked." in told
