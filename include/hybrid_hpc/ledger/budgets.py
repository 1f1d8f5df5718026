"""The budgets in the ledger: what is taken of them, who was asked and answered, what ended."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Select, and_, func, select, update

from hybrid_hpc.approvals import ApprovalRow
from hybrid_hpc.budget_rules import Amount, Taken
from hybrid_hpc.jobs import JobKey
from hybrid_hpc.ledger.database import Database
from hybrid_hpc.ledger.reserving import (
    APPROVALS,
    DECISIONS,
    NO_OPEN_JOB,
    RESERVED,
    close_ended,
    measure,
    of_job,
    same_job,
    taken_by_project,
)


@dataclass(frozen=True, slots=True)
class Idle:
    """A reservation that no open job needs; its run may still submit one."""

    decision_id: int
    dag_id: str
    run_id: str


class BudgetQueries(Database):
    """Every method is one transaction."""

    def budgets_taken(self, month: str) -> dict[str, Taken]:
        """What is taken in a month (``2026-03``), by project."""
        with self._transaction() as connection:
            return taken_by_project(connection, month)

    def budget_taken(self, project: str, month: str, *, without: JobKey) -> Taken:
        """What one project has taken; what is reserved for the job ``without`` is left out."""
        with self._transaction() as connection:
            return taken_by_project(connection, month, project, without=without).get(project, Taken())

    def granted(self, key: JobKey) -> Amount:
        """What a person has approved for this job since its cluster was last chosen afresh, at most."""
        newest = select(func.max(DECISIONS.c.generation)).where(same_job(key)).scalar_subquery()
        statement = (
            select(func.max(RESERVED.c.usd), func.max(RESERVED.c.core_h))
            .join(APPROVALS, APPROVALS.c.decision_id == RESERVED.c.decision_id)
            .join(DECISIONS, DECISIONS.c.id == RESERVED.c.decision_id)
            .where(same_job(key), DECISIONS.c.generation == newest, APPROVALS.c.approved.is_(True))
        )
        with self._transaction() as connection:
            usd, core_h = connection.execute(statement).one()
        return Amount(usd or 0.0, core_h or 0.0)

    def approval(self, decision_id: int) -> ApprovalRow | None:
        """What was asked about this placement; None when nobody has to be."""
        rows = self._approvals(_approvals().where(APPROVALS.c.decision_id == decision_id))
        return next(iter(rows), None)

    def answer_approval(self, decision_id: int, *, by: str, approved: bool) -> ApprovalRow:
        """The answer that stands: the first one. What is approved counts as reserved from now on.

        Raises LookupError when nobody was asked.
        """
        unanswered = and_(APPROVALS.c.decision_id == decision_id, APPROVALS.c.answered_at.is_(None))
        now = self._now()
        values = {"answered_at": now, "answered_by": by, "approved": approved}
        takes = {"reserved_at": now} if approved else {"closed_at": now}
        with self._transaction() as connection:
            if connection.execute(update(APPROVALS).where(unanswered).values(values)).rowcount:
                mine = RESERVED.c.decision_id == decision_id
                connection.execute(update(RESERVED).where(mine).values(takes))
        row = self.approval(decision_id)
        if row is None:
            raise LookupError(f"nobody was asked about placement {decision_id}")
        return row

    def waiting_approvals(self) -> list[ApprovalRow]:
        """Those that a person has yet to answer, the oldest first."""
        waits = and_(APPROVALS.c.answered_at.is_(None), RESERVED.c.closed_at.is_(None))
        return self._approvals(_approvals().where(waits).order_by(APPROVALS.c.asked_at))

    def answered_approvals(self, month: str, limit: int) -> list[ApprovalRow]:
        """Those of a month that were answered, the newest first."""
        answered = and_(APPROVALS.c.answered_at.is_not(None), RESERVED.c.month == month)
        newest = APPROVALS.c.answered_at.desc()
        return self._approvals(_approvals().where(answered).order_by(newest).limit(limit))

    def close_reservations(self, key: JobKey) -> int:
        """Closes what is reserved for this job, unless an attempt at it is open; gives how many were."""
        with self._transaction() as connection:
            return close_ended(connection, of_job(key), self._now())

    def measure_again(self, within: timedelta) -> None:
        """Adds up once more what those used that were closed in the last while."""
        with self._transaction() as connection:
            measure(connection, RESERVED.c.closed_at >= self._now() - within)

    def idle_reservations(self) -> list[Idle]:
        """Every one that no open job needs, the oldest first."""
        columns = (RESERVED.c.decision_id, DECISIONS.c.dag_id, DECISIONS.c.run_id)
        statement = (
            select(*columns)
            .join(DECISIONS, DECISIONS.c.id == RESERVED.c.decision_id)
            .where(RESERVED.c.closed_at.is_(None), NO_OPEN_JOB)
            .order_by(RESERVED.c.decision_id)
        )
        with self._transaction() as connection:
            return [Idle(*row) for row in connection.execute(statement)]

    def close_idle(self, decision_ids: Collection[int]) -> int:
        """Closes these, but for those that an open job needs by now; gives how many were."""
        with self._transaction() as connection:
            return close_ended(connection, RESERVED.c.decision_id.in_(decision_ids), self._now())

    def _approvals(self, statement: Select[Any]) -> list[ApprovalRow]:
        with self._transaction() as connection:
            return [ApprovalRow(*found) for found in connection.execute(statement)]


def _approvals() -> Select[Any]:
    of_request = DECISIONS.c.request["name"].as_string()
    columns = [
        *(RESERVED.c[name] for name in ("decision_id", "project", "month", "usd", "core_h")),
        *(APPROVALS.c[name] for name in ("why", "asked_at", "answered_at", "answered_by", "approved")),
        *(DECISIONS.c[name] for name in ("dag_id", "run_id")),
        of_request,
        *(DECISIONS.c[name] for name in ("cluster", "submitted_by")),
    ]
    return (
        select(*columns)
        .join(APPROVALS, APPROVALS.c.decision_id == RESERVED.c.decision_id)
        .join(DECISIONS, DECISIONS.c.id == RESERVED.c.decision_id)
    )
