"""Budgets: what each placement may take of its project's, and what a person said to it."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Makes two tables."""
    op.create_table(
        "budget_reservations",
        sa.Column("decision_id", _BIG_ID, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("project", "month")),
        *(
            sa.Column(name, sa.Float(), nullable=False)
            for name in ("usd", "core_h", "used_usd", "used_core_h")
        ),
        _moment("reserved_at"),
        _moment("closed_at"),
        sa.PrimaryKeyConstraint("decision_id", name="pk_budget_reservations"),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.id"], name="fk_budget_reservations_decision_id"),
    )
    op.create_index("ix_budget_reservations_month_project", "budget_reservations", ["month", "project"])
    op.create_index("ix_budget_reservations_closed_at", "budget_reservations", ["closed_at"])
    op.create_table(
        "budget_approvals",
        sa.Column("decision_id", _BIG_ID, nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        _moment("asked_at", nullable=False),
        _moment("answered_at"),
        sa.Column("answered_by", sa.Text(), nullable=True),
        sa.Column("approved", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("decision_id", name="pk_budget_approvals"),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["budget_reservations.decision_id"], name="fk_budget_approvals_decision_id"
        ),
    )
    op.create_index("ix_budget_approvals_answered_at", "budget_approvals", ["answered_at"])


def downgrade() -> None:
    """Takes them away, with what is in them."""
    op.drop_table("budget_approvals")
    op.drop_table("budget_reservations")


def _moment(name: str, *, nullable: bool = True) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)
