"""Who waits for nodes without a job."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds a table."""
    op.create_table(
        "node_wishes",
        _text("waiter"),
        _text("cluster"),
        _text("nodearray"),
        sa.Column("count", sa.Integer(), nullable=False),
        _moment("wished_at"),
        _moment("seen_at"),
        _moment("ended_at", nullable=True),
        sa.PrimaryKeyConstraint("waiter", name="pk_node_wishes"),
    )
    op.create_index("ix_node_wishes_cluster_ended_at", "node_wishes", ["cluster", "ended_at"])


def downgrade() -> None:
    """Removes it, with what is in it."""
    op.drop_table("node_wishes")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)
