"""What came of each request for nodes, and which node was made by which request."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds columns to two tables; requests of before are settled anew, from the lives of their nodes."""
    with op.batch_alter_table("scale_requests") as requests:
        requests.add_column(sa.Column("outcome", sa.Text(), nullable=False, server_default=""))
        requests.add_column(sa.Column("came", sa.Integer(), nullable=True))
    with op.batch_alter_table("node_lives") as lives:
        lives.add_column(sa.Column("request_id", sa.Text(), nullable=False, server_default=""))
        lives.create_index("ix_node_lives_request_id", ["request_id"])
    op.execute("UPDATE scale_requests SET settled_at = NULL")
    op.execute(
        "UPDATE node_lives SET request_id = COALESCE((SELECT MAX(request_id) FROM scale_requests "
        "WHERE scale_requests.cluster = node_lives.cluster "
        "AND scale_requests.nodearray = node_lives.nodearray "
        "AND scale_requests.asked_at = node_lives.asked_at), '')"
    )


def downgrade() -> None:
    """Removes them."""
    with op.batch_alter_table("node_lives") as lives:
        lives.drop_index("ix_node_lives_request_id")
        lives.drop_column("request_id")
    with op.batch_alter_table("scale_requests") as requests:
        requests.drop_column("came")
        requests.drop_column("outcome")
