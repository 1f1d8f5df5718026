"""The task that asks a person whether a job may exceed its project's budget: Airflow's human in the loop.

A DAG imports this only where a budget asks: Airflow's operator brings more along than a parser needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from hybrid_hpc.approvals import ApprovalRow, asked_text, refused_text
from hybrid_hpc.budget_models import Budget
from hybrid_hpc.budgets import load_budgets
from hybrid_hpc.errors import HybridHpcError, Unavailable
from hybrid_hpc_airflow.answers import earlier_answer
from hybrid_hpc_airflow.keys import job_key
from hybrid_hpc_airflow.patience import come_again

if TYPE_CHECKING:
    from hybrid_hpc.ledger import Ledger

APPROVE, REFUSE = "Approve", "Refuse"
PATIENCE_S = 120.0  # for the ledger, once a person has answered
AGAIN_S = 2.0
SOON = timedelta(seconds=1)  # Airflow takes no deadline that is over


class ApproveBudgetOperator(HITLOperator):
    """Waits, without a worker slot, until a person has approved that the job exceeds its project's budget.

    Skipped when it does not. The answer goes to the ledger, with who gave it and when, and stands there: no
    retry and no clear of this task asks again. Only the budget's ``approvers`` may answer, where it names
    some. Its result is ``{approved_by, usd, core_h}``. Raises `AirflowFailException` when it is refused, or
    when nobody has answered in time; nothing is sent then.
    """

    ui_color = "#fdf3d8"

    def __init__(self, *, group: str = "", **kwargs: Any) -> None:
        subject = "A job would exceed its project's budget"
        super().__init__(subject=subject, options=[APPROVE, REFUSE], **kwargs)
        self.group = group

    def execute(self, context: Context) -> Any:
        """Asks, unless it was answered before."""
        try:
            asked = self._asked(context)
        except HybridHpcError as error:
            come_again(context, error, "nobody is asked yet")
        if asked.answered_at:
            return self._go_on(asked, context)
        if answer := earlier_answer(context, asked.asked_at):
            return self._go_on(_keep(asked.decision_id, answer), context)
        budget = load_budgets().of(asked.project) or Budget()
        self.subject, self.body = asked_text(asked)
        self.assigned_users = [{"id": name, "name": name} for name in budget.approvers]
        late = asked.asked_at + timedelta(hours=budget.answer_within_h)
        self.response_timeout = max(late - _ledger().now(), SOON)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """The answer has come, or the time for it is over."""
        if event.get("error_type") not in (None, "timeout"):
            raise AirflowException(f"the answer cannot be read: {event.get('error')}")
        asked = _patiently(lambda: self._asked(context))
        return self._go_on(_keep(asked.decision_id, event), context)

    def _asked(self, context: Context) -> ApprovalRow:
        key, ledger = job_key(context, self.group), _ledger()
        decision = ledger.first_decision(key)
        asked = ledger.approval(decision.id) if decision else None
        if asked is None:
            raise AirflowSkipException("the job is within its project's budget")
        return asked

    def _go_on(self, asked: ApprovalRow, context: Context) -> dict[str, Any]:
        from hybrid_hpc_airflow.notes import write_note

        if not asked.approved:
            said = refused_text(asked)
            write_note(asked.dag_id, asked.run_id, said)
            raise AirflowFailException(said)
        self.log.info("approved by %s at %s: %s", asked.answered_by, asked.answered_at, asked.why)
        return {"approved_by": asked.answered_by, "usd": asked.usd, "core_h": asked.core_h}


def _ledger() -> Ledger:
    from hybrid_hpc_airflow.connections import open_ledger

    return open_ledger()


def _keep(decision_id: int, answer: Mapping[str, Any]) -> ApprovalRow:
    """The answer that stands; one that never came refuses."""
    user = answer.get("responded_by_user") or {}
    by, approved = user.get("name") or user.get("id") or "", answer.get("chosen_options") == [APPROVE]
    return _patiently(lambda: _ledger().answer_approval(decision_id, by=by, approved=approved))


def _patiently(ask: Callable[[], ApprovalRow]) -> ApprovalRow:
    """Waits for a ledger that is away: Airflow keeps no person's answer over a retry."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return ask()
        except Unavailable:
            if time.monotonic() > until:
                raise
            time.sleep(AGAIN_S)
