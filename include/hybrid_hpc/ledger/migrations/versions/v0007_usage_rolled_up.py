"""Usage rolled up by day and month, so that aggregates answer at ten million jobs.

Every day for which there is a row of usage is marked: the next report of hpc_usage rolls it up.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from hybrid_hpc.ledger.types import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLES = (
    *("usage_rolled", "usage_rolled_causes", "usage_rolled_samples"),
    *("usage_marks", "usage_longest", "usage_findings"),
)
WHO = ("cluster", "partition", "project", "person")
LIVES = sa.table(
    "usage_jobs",
    sa.column("cluster", sa.Text()),
    *(sa.column(name, UtcDateTime()) for name in ("submitted_at", "started_at", "ended_at")),
    sa.column("elapsed_s", sa.Float()),
)
_BETWEEN_S = {
    "postgresql": "greatest(elapsed_s, extract(epoch from ended_at - started_at))",
    "sqlite": "max(elapsed_s, coalesce(86400 * (julianday(ended_at) - julianday(started_at)), 0))",
}
SAMPLES = sa.table("usage_samples", sa.column("cluster", sa.Text()), sa.column("moment", UtcDateTime()))


def upgrade() -> None:
    """Makes the tables, and marks what they lack."""
    counts = map(_count, ("jobs", "failed", "memory_known"))
    _make_rolled("usage_rolled", ("cut",), WHO, *counts, *map(_number, _SUMS), *map(_packed, _PACKED))
    _make_rolled("usage_rolled_causes", ("cut",), (*WHO, "cause"), _count("lives"))
    _make_rolled("usage_rolled_samples", (), ("cluster", "partition"), *map(_number, _STOOD))
    _make_the_others()
    _mark_everything()


def downgrade() -> None:
    """Takes them away: all of it can be made again."""
    for name in reversed(TABLES):
        op.drop_table(name)


_SUMS = ("core_h", "cpu_h", "gpu_h", "cost_usd", "used_core_h", "had_core_h", "memory")
_PACKED = ("waits", "slowdowns")
_STOOD = ("seen_s", "cores_s", "cores_busy_s", "jobs_waiting_s")


def _make_rolled(name: str, cut: tuple[str, ...], who: tuple[str, ...], *columns: sa.Column[Any]) -> None:
    primary = sa.PrimaryKeyConstraint("span", *cut, "day", *who, name=f"pk_{name}")
    op.create_table(name, _text("span"), *map(_text, cut), _day(), *map(_text, who), *columns, primary)


def _make_the_others() -> None:
    op.create_table(
        "usage_marks",
        *(_text("span"), _text("cluster"), _day(), _count("marks")),
        sa.PrimaryKeyConstraint("span", "cluster", "day", name="pk_usage_marks"),
    )
    op.create_table(
        "usage_longest",
        *(_text("cluster"), _number("longest_s")),
        sa.PrimaryKeyConstraint("cluster", name="pk_usage_longest"),
    )
    op.create_table(
        "usage_findings",
        _text("kind"),
        *(sa.Column(name, sa.DateTime(timezone=True), nullable=False) for name in ("since", "until")),
        sa.Column("found", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.PrimaryKeyConstraint("kind", name="pk_usage_findings"),
    )


def _mark_everything() -> None:
    """From each cluster's first row to its last, and to today where something may still run."""
    connection = op.get_bind()
    began = sa.func.coalesce(LIVES.c.started_at, LIVES.c.ended_at, LIVES.c.submitted_at)
    until = sa.func.max(sa.func.coalesce(LIVES.c.ended_at, datetime.now(UTC)))
    of_lives = sa.select(LIVES.c.cluster, sa.func.min(began), until).group_by(LIVES.c.cluster)
    moments = (sa.func.min(SAMPLES.c.moment), sa.func.max(SAMPLES.c.moment))
    of_samples = sa.select(SAMPLES.c.cluster, *moments).group_by(SAMPLES.c.cluster)
    found = [*connection.execute(of_lives), *connection.execute(of_samples)]
    days = {(cluster, day) for cluster, since, until in found for day in _days(since, until)}
    marks = [{"span": "day", "cluster": cluster, "day": day, "marks": 1} for cluster, day in sorted(days)]
    op.bulk_insert(sa.table("usage_marks", *map(_named, ("span", "cluster", "marks")), _day()), marks)
    longest_s = f"max({_BETWEEN_S[connection.dialect.name]}) + 60"  # SQLite's days have not all digits
    op.execute(f"INSERT INTO usage_longest SELECT cluster, {longest_s} FROM usage_jobs GROUP BY cluster")  # noqa: S608


def _days(since: datetime, until: datetime) -> list[date]:
    numbers = range(since.toordinal(), max(since, until).toordinal() + 1)
    return [date.fromordinal(number) for number in numbers]


def _named(name: str) -> sa.ColumnClause[Any]:
    return sa.column(name)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _day() -> sa.Column[date]:
    return sa.Column("day", sa.Date(), nullable=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _number(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Float(), nullable=False)


def _packed(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)
