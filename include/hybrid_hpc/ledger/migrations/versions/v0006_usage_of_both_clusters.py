"""The usage of all jobs, not only of ours, of clusters and of VMs, and how far it is collected.

What `usage` held goes to `usage_jobs`, which holds more.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SAMPLED = (
    *("nodes_up", "nodes_booting", "nodes_off", "nodes_draining", "nodes_down"),
    *("cores", "cores_busy", "cores_free", "gpus", "gpus_busy"),
    *("jobs_running", "jobs_waiting", "jobs_held", "cores_waiting"),
)
SHARED = (
    'cluster, native_id, task, submitted_at, token, "user", project, partition, state, exit_code, '
    "nodes, cores, gpus, started_at, ended_at, elapsed_s, walltime_s, memory_asked_mib, max_rss_mib, cost_usd"
)

SUBMITTED_BY = "(SELECT NULLIF(jobs.submitted_by, '') FROM jobs WHERE jobs.token = usage.token)"


def upgrade() -> None:
    """Makes four tables, and moves the rows of one that goes."""
    _make_usage_jobs()
    _make_usage_samples()
    _make_usage_vm_hours()
    _make_watermarks()
    op.execute(
        f"INSERT INTO usage_jobs ({SHARED}, name, person, cpu_s, node_names) "  # noqa: S608  only columns' names
        f"SELECT {SHARED}, token, COALESCE({SUBMITTED_BY}, \"user\"), cpu_h * 3600, '[]' FROM usage"
    )
    op.drop_table("usage")


def downgrade() -> None:
    """Takes them away; what was known of our own jobs stays, in the table that there was."""
    _make_usage()
    op.execute(
        f"INSERT INTO usage ({SHARED}, core_h, cpu_h, gpu_h) "  # noqa: S608  as above
        f"SELECT {SHARED}, cores * elapsed_s / 3600, cpu_s / 3600, gpus * elapsed_s / 3600 FROM usage_jobs "
        "WHERE token <> ''"
    )
    for name in ("watermarks", "usage_vm_hours", "usage_samples", "usage_jobs"):
        op.drop_table(name)


def _make_usage_jobs() -> None:
    op.create_table(
        "usage_jobs",
        *(_text(name) for name in ("cluster", "native_id", "task")),
        _moment("submitted_at", nullable=False),
        *(_text(name) for name in ("token", "name", "user", "person", "project", "partition")),
        sa.Column("state", sa.String(32), nullable=False),
        _count("exit_code", nullable=True),
        *(_count(name) for name in ("nodes", "cores", "gpus")),
        *(_moment(name) for name in ("eligible_at", "started_at", "ended_at")),
        _number("elapsed_s"),
        *(_count(name, nullable=True) for name in ("walltime_s", "memory_asked_mib")),
        _number("cpu_s"),
        _number("max_rss_mib", nullable=True),
        _json("node_names"),
        _number("cost_usd"),
        sa.PrimaryKeyConstraint("cluster", "native_id", "task", "submitted_at", name="pk_usage_jobs"),
    )
    op.create_index("ix_usage_jobs_ended_at", "usage_jobs", ["ended_at"])
    op.create_index("ix_usage_jobs_person_ended_at", "usage_jobs", ["person", "ended_at"])
    op.create_index("ix_usage_jobs_project_ended_at", "usage_jobs", ["project", "ended_at"])
    ours = sa.text("token <> ''")
    op.create_index("ix_usage_jobs_token", "usage_jobs", ["token"], postgresql_where=ours, sqlite_where=ours)


def _make_usage_samples() -> None:
    op.create_table(
        "usage_samples",
        _text("cluster"),
        _moment("moment", nullable=False),
        _text("partition"),
        *(_count(name) for name in SAMPLED),
        sa.PrimaryKeyConstraint("cluster", "moment", "partition", name="pk_usage_samples"),
    )


def _make_usage_vm_hours() -> None:
    op.create_table(
        "usage_vm_hours",
        _text("cluster"),
        _moment("hour", nullable=False),
        *(_text(name) for name in ("category", "name", "vm_size", "priority")),
        _number("core_h"),
        *(_number(name, nullable=True) for name in ("node_h", "cost_usd")),
        sa.PrimaryKeyConstraint(
            *("cluster", "hour", "category", "name", "vm_size", "priority"), name="pk_usage_vm_hours"
        ),
    )


def _make_watermarks() -> None:
    op.create_table(
        "watermarks",
        *(_text(name) for name in ("cluster", "source")),
        *(_moment(name) for name in ("since", "until")),
        _count("unreadable"),
        _text("trouble"),
        _moment("trouble_since"),
        sa.PrimaryKeyConstraint("cluster", "source", name="pk_watermarks"),
    )


def _make_usage() -> None:
    """As revision 0001 made it."""
    op.create_table(
        "usage",
        *(_text(name) for name in ("cluster", "native_id", "task")),
        _moment("submitted_at", nullable=False),
        *(_text(name) for name in ("token", "user", "project", "partition")),
        sa.Column("state", sa.String(32), nullable=False),
        _count("exit_code", nullable=True),
        *(_count(name) for name in ("nodes", "cores", "gpus")),
        *(_moment(name) for name in ("started_at", "ended_at")),
        _number("wait_s", nullable=True),
        _number("elapsed_s"),
        _count("walltime_s", nullable=True),
        *(_number(name) for name in ("core_h", "cpu_h", "gpu_h")),
        _count("memory_asked_mib", nullable=True),
        _number("max_rss_mib", nullable=True),
        _number("cost_usd"),
        sa.PrimaryKeyConstraint("cluster", "native_id", "task", "submitted_at", name="pk_usage"),
    )
    op.create_index("ix_usage_token", "usage", ["token"])
    op.create_index("ix_usage_ended_at", "usage", ["ended_at"])


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _count(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=nullable)


def _number(name: str, *, nullable: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Float(), nullable=nullable)


def _moment(name: str, *, nullable: bool = True) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False)
