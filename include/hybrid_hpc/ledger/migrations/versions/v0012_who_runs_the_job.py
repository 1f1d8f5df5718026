"""Who each job runs as on its cluster."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds a column; the jobs so far run as their cluster's own account."""
    op.add_column("jobs", sa.Column("runs_as", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Removes it."""
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("runs_as")
