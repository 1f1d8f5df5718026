"""The ledger's tables of the budgets: what each placement may take, and what a person said to it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from hybrid_hpc.ledger.tables import BIG_ID, Base


class BudgetReservation(Base):
    """What one placement may take at most, and has used; all attempts at the job share it.

    There is one also where a project has no budget: it may get one in the middle of a month.
    """

    __tablename__ = "budget_reservations"
    __table_args__ = (
        Index("ix_budget_reservations_month_project", "month", "project"),
        Index("ix_budget_reservations_closed_at", "closed_at"),
    )

    decision_id: Mapped[int] = mapped_column(BIG_ID, ForeignKey("decisions.id"), primary_key=True)
    project: Mapped[str]  # '' for jobs without one
    month: Mapped[str]  # 2026-03, in UTC
    usd: Mapped[float]
    core_h: Mapped[float]
    reserved_at: Mapped[datetime | None]  # None: a person has not approved it
    closed_at: Mapped[datetime | None]  # from then on only what was really used counts
    used_usd: Mapped[float]  # by the attempts that had been settled when it was last measured
    used_core_h: Mapped[float]


class BudgetApproval(Base):
    """A job that would exceed its project's budget: who was asked when, and what came of it."""

    __tablename__ = "budget_approvals"
    __table_args__ = (Index("ix_budget_approvals_answered_at", "answered_at"),)

    decision_id: Mapped[int] = mapped_column(
        BIG_ID, ForeignKey("budget_reservations.decision_id"), primary_key=True
    )
    why: Mapped[str]
    asked_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
    answered_by: Mapped[str | None]  # '' when nobody did in time
    approved: Mapped[bool | None]
