"""What people's pages show: clusters as last seen, the ends of outputs, and columns to search jobs by."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

NUMBERS = (
    *(f"nodes_{state}" for state in ("idle", "busy", "booting", "off", "draining", "down")),
    *("cores", "cores_busy", "cores_free", "gpus", "gpus_busy"),
    *("jobs_running", "jobs_waiting", "jobs_held", "cores_waiting"),
)
SEARCHES = ("search_name", "search_project", "search_person")
LETTERS = 200


def upgrade() -> None:
    """Adds two tables, three columns to ``jobs`` with what its rows say, and an index for each search."""
    op.create_table(
        "snapshots",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("cluster", "partition")),
        _moment("seen_at"),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in NUMBERS),
        sa.Column("busy_usd_per_hour", sa.Float(), nullable=False),
        sa.Column("trouble", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("cluster", "partition", name="pk_snapshots"),
    )
    op.create_table(
        "job_outputs",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("token", "tail")),
        _moment("kept_at"),
        sa.PrimaryKeyConstraint("token", name="pk_job_outputs"),
    )
    _add_searches()


def downgrade() -> None:
    """Takes them away; the outputs are lost here, not on the clusters."""
    op.drop_index("ix_jobs_outcome_id", "jobs")
    for name in SEARCHES:
        op.drop_index(f"ix_jobs_{name}_id", "jobs")
    with op.batch_alter_table("jobs") as jobs:
        for name in SEARCHES:
            jobs.drop_column(name)
    op.drop_table("job_outputs")
    op.drop_table("snapshots")


def _add_searches() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    for name in SEARCHES:
        bytewise = sa.Text(collation="C") if postgresql and name == "search_name" else sa.Text()
        op.add_column("jobs", sa.Column(name, bytewise, nullable=False, server_default=""))
    text = "request ->> '{}'" if postgresql else "json_extract(request, '$.{}')"
    name, project = (f"substr(coalesce({text.format(key)}, ''), 1, {LETTERS})" for key in ("name", "project"))
    op.execute(
        f"UPDATE jobs SET search_name = lower({name}), search_project = {project}, "  # noqa: S608  no text of others
        f"search_person = substr(submitted_by, 1, {LETTERS})"
    )
    for column in (*SEARCHES, "outcome"):
        op.create_index(f"ix_jobs_{column}_id", "jobs", [column, "id"])


def _moment(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)
