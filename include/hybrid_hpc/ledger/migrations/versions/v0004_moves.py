"""Jobs that leave a cluster which cannot run them, and the decisions where they go next."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_JOB = ["dag_id", "run_id", "group_id", "map_index", "generation"]
_FIRST = "uq_decisions_dag_id_run_id_group_id_map_index_generation"
_MOVES = "uq_decisions_dag_id_run_id_group_id_map_index_generation_move"
_LEFT = "uq_decisions_left_token"


def upgrade() -> None:
    """Adds two columns to each of two tables; a job may have several decisions from now on."""
    op.add_column("jobs", sa.Column("leave_requested_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("jobs", sa.Column("leave_why", sa.Text(), nullable=True))
    with op.batch_alter_table("decisions") as decisions:
        decisions.add_column(sa.Column("move", sa.Integer(), nullable=False, server_default="0"))
        decisions.add_column(sa.Column("left_token", sa.Text(), nullable=True))
        decisions.drop_constraint(_FIRST, type_="unique")
        decisions.create_unique_constraint(_MOVES, [*_JOB, "move"])
        decisions.create_unique_constraint(_LEFT, ["left_token"])


def downgrade() -> None:
    """Removes them, and the decisions about jobs that had moved: the first one is what stays."""
    op.execute("DELETE FROM decisions WHERE move > 0")
    with op.batch_alter_table("decisions") as decisions:
        decisions.drop_constraint(_LEFT, type_="unique")
        decisions.drop_constraint(_MOVES, type_="unique")
        decisions.create_unique_constraint(_FIRST, _JOB)
        decisions.drop_column("left_token")
        decisions.drop_column("move")
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("leave_why")
        jobs.drop_column("leave_requested_at")
