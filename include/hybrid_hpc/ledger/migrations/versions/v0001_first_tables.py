"""Jobs, decisions, usage and requests for nodes."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY = ("dag_id", "run_id", "group_id", "map_index")


def upgrade() -> None:
    """Makes the first four tables."""
    _make_decisions()
    _make_jobs()
    _make_usage()
    _make_scale_requests()


def downgrade() -> None:
    """Removes them, with what is in them."""
    for name in ("scale_requests", "usage", "jobs", "decisions"):
        op.drop_table(name)


def _make_decisions() -> None:
    op.create_table(
        "decisions",
        _id(),
        *_key(),
        _json("request"),
        _json("decision"),
        _text("cluster"),
        _text("partition"),
        _text("sentence"),
        _text("submitted_by"),
        _moment("decided_at", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
        sa.UniqueConstraint(
            *KEY, "generation", name="uq_decisions_dag_id_run_id_group_id_map_index_generation"
        ),
    )


def _make_jobs() -> None:
    op.create_table(
        "jobs",
        _id(),
        _text("token"),
        *_key(),
        _text("attempt"),
        _json("request"),
        sa.Column("decision_id", _big_id(), nullable=True),
        _text("submitted_by"),
        _text("cluster"),
        _text("partition"),
        _text("run_dir"),
        _moment("intent_at", nullable=False),
        _moment("ambiguous_until"),
        _text("native_id", nullable=True),
        _moment("native_submitted_at"),
        _moment("recorded_at"),
        _moment("released_at"),
        _state("state", nullable=False),
        _moment("state_seen_at"),
        _text("reason"),
        _text("sentence"),
        _json("tasks"),
        _json("node_names"),
        _count("restarts", nullable=False),
        _moment("started_at"),
        _moment("ended_at"),
        _moment("settled_at"),
        _state("outcome"),
        _text("evidence", nullable=True),
        _count("exit_code"),
        _count("signal"),
        _moment("cancel_requested_at"),
        _text("cancel_requested_by", nullable=True),
        _text("cancel_why", nullable=True),
        _moment("cancel_sent_at"),
        _moment("cancel_confirmed_at"),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.id"], name="fk_jobs_decision_id"),
        sa.UniqueConstraint("token", name="uq_jobs_token"),
        sa.UniqueConstraint(*KEY, "generation", name="uq_jobs_dag_id_run_id_group_id_map_index_generation"),
        sa.UniqueConstraint(*KEY, "attempt", name="uq_jobs_dag_id_run_id_group_id_map_index_attempt"),
    )
    op.create_index("ix_jobs_cluster_native_id", "jobs", ["cluster", "native_id"])
    op.create_index("ix_jobs_cluster_settled_at", "jobs", ["cluster", "settled_at"])
    op.create_index("ix_jobs_decision_id", "jobs", ["decision_id"])


def _make_usage() -> None:
    op.create_table(
        "usage",
        *(_text(name) for name in ("cluster", "native_id", "task")),
        _moment("submitted_at", nullable=False),
        *(_text(name) for name in ("token", "user", "project", "partition")),
        _state("state", nullable=False),
        _count("exit_code"),
        *(_count(name, nullable=False) for name in ("nodes", "cores", "gpus")),
        _moment("started_at"),
        _moment("ended_at"),
        _number("wait_s", nullable=True),
        _number("elapsed_s"),
        _count("walltime_s"),
        *(_number(name) for name in ("core_h", "cpu_h", "gpu_h")),
        _count("memory_asked_mib"),
        _number("max_rss_mib", nullable=True),
        _number("cost_usd"),
        sa.PrimaryKeyConstraint("cluster", "native_id", "task", "submitted_at", name="pk_usage"),
    )
    op.create_index("ix_usage_token", "usage", ["token"])
    op.create_index("ix_usage_ended_at", "usage", ["ended_at"])


def _make_scale_requests() -> None:
    op.create_table(
        "scale_requests",
        _id(),
        *(_text(name) for name in ("request_id", "cluster", "nodearray")),
        _json("names"),
        _json("for_jobs"),
        _moment("asked_at", nullable=False),
        _moment("answered_at"),
        _count("added"),
        _text("message"),
        _moment("settled_at"),
        sa.PrimaryKeyConstraint("id", name="pk_scale_requests"),
        sa.UniqueConstraint("request_id", name="uq_scale_requests_request_id"),
    )
    op.create_index("ix_scale_requests_cluster_settled_at", "scale_requests", ["cluster", "settled_at"])


def _big_id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _id() -> sa.Column[int]:
    return sa.Column("id", _big_id(), nullable=False)


def _key() -> list[sa.Column[str] | sa.Column[int]]:
    texts = [_text(name) for name in ("dag_id", "run_id", "group_id")]
    counts = [_count(name, nullable=False) for name in ("map_index", "generation")]
    return [*texts, *counts]


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _count(name: str, *, nullable: bool = True) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=nullable)


def _number(name: str, *, nullable: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Float(), nullable=nullable)


def _moment(name: str, *, nullable: bool = True) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _state(name: str, *, nullable: bool = True) -> sa.Column[str]:
    return sa.Column(name, sa.String(32), nullable=nullable)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False)
