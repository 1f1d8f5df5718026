"""The lives of nodes: when asked for, up, last busy, gone, and when somebody last looked at them."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds a table."""
    op.create_table(
        "node_lives",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("cluster", "node_id", "name", "nodearray", "vm_size")
        ),
        _moment("asked_at"),
        _moment("up_at", nullable=True),
        _moment("last_busy_at", nullable=True),
        _moment("seen_at"),
        _moment("gone_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_node_lives"),
        sa.UniqueConstraint("cluster", "node_id", name="uq_node_lives_cluster_node_id"),
    )
    op.create_index("ix_node_lives_cluster_gone_at", "node_lives", ["cluster", "gone_at"])
    op.create_index(
        "ix_node_lives_cluster_nodearray_vm_size", "node_lives", ["cluster", "nodearray", "vm_size"]
    )


def downgrade() -> None:
    """Removes it, with what is in it."""
    op.drop_table("node_lives")


def _moment(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)
