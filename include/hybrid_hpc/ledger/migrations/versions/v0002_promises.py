"""How long a job's state has been unknown, circuit breakers, alerts, what was reconciled, and who we are."""

from __future__ import annotations

import uuid
from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds a column and four tables."""
    op.add_column("jobs", _moment("unknown_since", nullable=True))
    _make_breakers()
    _make_alerts()
    _make_reconciliations()
    _make_installation()


def downgrade() -> None:
    """Removes them, with what is in them."""
    for name in ("installation", "reconciliations", "alerts", "breakers"):
        op.drop_table(name)
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("unknown_since")


def _make_breakers() -> None:
    op.create_table(
        "breakers",
        _text("target"),
        sa.Column("failures", sa.Integer(), nullable=False),
        _text("why"),
        _moment("changed_at"),
        _moment("opened_at", nullable=True),
        _moment("probe_at", nullable=True),
        sa.PrimaryKeyConstraint("target", name="pk_breakers"),
    )


def _make_alerts() -> None:
    op.create_table(
        "alerts",
        _text("subject"),
        _text("kind"),
        _text("cluster"),
        _text("sentence"),
        _moment("raised_at"),
        _moment("seen_at"),
        _moment("cleared_at", nullable=True),
        sa.PrimaryKeyConstraint("subject", "kind", name="pk_alerts"),
    )
    op.create_index("ix_alerts_cleared_at", "alerts", ["cleared_at"])


def _make_reconciliations() -> None:
    op.create_table(
        "reconciliations",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        _moment("began_at"),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("open_jobs", sa.Integer(), nullable=False),
        sa.Column("findings", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reconciliations"),
    )
    op.create_index("ix_reconciliations_began_at", "reconciliations", ["began_at"])


def _make_installation() -> None:
    installation = op.create_table(
        "installation", _text("id"), sa.PrimaryKeyConstraint("id", name="pk_installation")
    )
    op.bulk_insert(installation, [{"id": uuid.uuid4().hex}])


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)
