"""The jobs' usage in the ledger: a row per life of a job, replaced when the accounting says more."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, func, or_, select

from hybrid_hpc.ledger.bulk import upsert
from hybrid_hpc.ledger.database import Database, table
from hybrid_hpc.ledger.decisions import DECISIONS
from hybrid_hpc.ledger.jobs import JOBS
from hybrid_hpc.ledger.rollup import mark_anew, note_longest
from hybrid_hpc.ledger.usage_tables import UsageJob
from hybrid_hpc.usage.days import DAY, days_touched, extent_of
from hybrid_hpc.usage.placed import PlacedRow, forecast_of
from hybrid_hpc.usage.rows import Ours, UsageRow
from hybrid_hpc.usage.windows import Window

USAGE = table(UsageJob)
_OURS = [JOBS.c[each.name] for each in fields(Ours)]
COLUMNS = [USAGE.c[each.name] for each in fields(UsageRow)]


class UsageQueries(Database):
    """Every method is one transaction."""

    def save_usage(self, rows: Sequence[UsageRow]) -> None:
        """Writes the rows, all or none; a life that is known is replaced, but an end is never taken back."""
        by_cluster = {cluster: [row for row in rows if row.cluster == cluster] for cluster in _clusters(rows)}
        with self._transaction() as connection:
            for cluster, of_cluster in by_cluster.items():
                _mark_days(connection, cluster, of_cluster)
                upsert(connection, USAGE, of_cluster, unless=_would_reopen)

    def usage_of(self, token: str) -> list[UsageRow]:
        """What one job used, a row for every life and array task, in the order of submission."""
        return self._usage(
            and_(USAGE.c.token == token, USAGE.c.token != ""), USAGE.c.submitted_at, USAGE.c.task
        )

    def usage_between(self, window: Window) -> list[UsageRow]:
        """Every life that ran or ended in the window, and those that run."""
        ended = or_(USAGE.c.ended_at >= window.since, USAGE.c.ended_at.is_(None))
        begun = or_(USAGE.c.started_at < window.until, USAGE.c.started_at.is_(None))
        return self._usage(and_(ended, begun), USAGE.c.ended_at)

    def placements_between(self, window: Window) -> list[PlacedRow]:
        """Every placement that was decided in the window and whose job has run."""
        decided = and_(DECISIONS.c.decided_at >= window.since, DECISIONS.c.decided_at < window.until)
        ran = and_(USAGE.c.token == JOBS.c.token, USAGE.c.token != "", USAGE.c.elapsed_s > 0)
        known = [DECISIONS.c[name] for name in ("cluster", "partition", "decided_at", "decision")]
        statement = (
            select(*known, func.min(USAGE.c.started_at), func.sum(USAGE.c.cost_usd))
            .join(JOBS, JOBS.c.decision_id == DECISIONS.c.id)
            .join(USAGE, ran)
            .where(decided)
            .group_by(DECISIONS.c.id)
            .order_by(DECISIONS.c.id)
        )
        with self._transaction() as connection:
            return [
                PlacedRow(cluster, partition, at, *forecast_of(decision), *came)
                for cluster, partition, at, decision, *came in connection.execute(statement)
            ]

    def our_jobs(self, cluster: str, names: Collection[str]) -> dict[str, Ours]:
        """Which of these job names are tokens of this ledger on that cluster.

        Another installation's tokens look the same.
        """
        if not names:
            return {}
        ours = and_(JOBS.c.cluster == cluster, JOBS.c.token.in_(sorted(names)))
        with self._transaction() as connection:
            found = connection.execute(select(*_OURS).where(ours))
            return {row.token: Ours(*row) for row in found}

    def _usage(self, which: ColumnElement[bool], *order: Any) -> list[UsageRow]:
        statement = select(*COLUMNS).where(which).order_by(*order)
        with self._transaction() as connection:
            return [UsageRow(*row) for row in connection.execute(statement)]


def _clusters(rows: Sequence[UsageRow]) -> list[str]:
    return sorted({row.cluster for row in rows})


def _mark_days(connection: Connection, cluster: str, rows: Sequence[UsageRow]) -> None:
    """Marks what is to be rolled up anew: where these lives lie, and where the ledger had them so far."""
    times = [USAGE.c[name] for name in ("started_at", "ended_at", "submitted_at", "elapsed_s")]
    known = and_(USAGE.c.cluster == cluster, USAGE.c.native_id.in_({row.native_id for row in rows}))
    before = [extent_of(*found) for found in connection.execute(select(*times).where(known))]
    extents = [extent_of(row.started_at, row.ended_at, row.submitted_at, row.elapsed_s) for row in rows]
    mark_anew(connection, DAY, cluster, days_touched([*before, *extents]))
    note_longest(connection, cluster, max((until - began).total_seconds() for began, until in extents))


def _would_reopen(known: Table, incoming: Any) -> ColumnElement[bool]:
    """An answer that was read before another one may be written after it."""
    return and_(known.c.ended_at.is_not(None), incoming.ended_at.is_(None))
