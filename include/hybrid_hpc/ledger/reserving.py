"""What is taken of budgets, and taking more of one: within the transaction that writes the placement down.

A job's most is reserved while it may run; what it used counts for each attempt that has ended. What others
used on the clusters is in the accounting alone. So no use counts twice.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, insert, or_, select, update

from hybrid_hpc.budget_rules import Amount, Claim, Standing, Taken
from hybrid_hpc.errors import BudgetSpent, BudgetTaken
from hybrid_hpc.jobs import JobKey
from hybrid_hpc.ledger import tables
from hybrid_hpc.ledger.budget_tables import BudgetApproval, BudgetReservation
from hybrid_hpc.ledger.database import one_at_a_time, table
from hybrid_hpc.ledger.rows import Job
from hybrid_hpc.ledger.usage_tables import UsageJob
from hybrid_hpc.months import month_window

APPROVALS = table(BudgetApproval)
DECISIONS = table(tables.Decision)
JOBS = table(tables.Job)
RESERVED = table(BudgetReservation)
USAGE = table(UsageJob)

_CORE_H = USAGE.c.cores * USAGE.c.elapsed_s / 3600
_HOLDS = and_(RESERVED.c.reserved_at.is_not(None), RESERVED.c.closed_at.is_(None))
_OF_SETTLED = and_(
    JOBS.c.decision_id == RESERVED.c.decision_id,
    JOBS.c.settled_at.is_not(None),
    USAGE.c.token == JOBS.c.token,
    USAGE.c.token != "",
)
_USED = {
    name: select(func.coalesce(func.sum(what), 0.0)).where(_OF_SETTLED).correlate(RESERVED).scalar_subquery()
    for name, what in (("used_usd", USAGE.c.cost_usd), ("used_core_h", _CORE_H))
}
_REFUSED = (
    select(APPROVALS.c.decision_id)
    .where(APPROVALS.c.decision_id == RESERVED.c.decision_id, APPROVALS.c.approved.is_(False))
    .exists()
)
NO_OPEN_JOB = (
    ~select(JOBS.c.id)
    .where(JOBS.c.decision_id == RESERVED.c.decision_id, JOBS.c.settled_at.is_(None))
    .exists()
)
_HAS_RUN = and_(
    select(JOBS.c.id)
    .where(JOBS.c.decision_id == RESERVED.c.decision_id, JOBS.c.settled_at.is_not(None))
    .correlate(RESERVED)
    .exists(),
    NO_OPEN_JOB,
)


def taken_by_project(
    connection: Connection, month: str, project: str | None = None, *, without: JobKey | None = None
) -> dict[str, Taken]:
    """What is taken in a month, of one project or of all; what is reserved for the job ``without`` is not."""
    found: dict[str, Taken] = defaultdict(Taken)
    for name, *sums in connection.execute(_ours(month, project, without)):
        found[name] = Taken(Amount(*sums[:2]), Amount(*sums[2:]))
    for name, *sums in connection.execute(_others(month, project)):
        found[name] = Taken(found[name].spent + Amount(*sums), found[name].reserved)
    return dict(found)


def one_budget_at_a_time(connection: Connection, claim: Claim) -> None:
    """First in the transaction: who claims of the same budget in the same month waits for its end."""
    one_at_a_time(connection, f"budget of {claim.project} in {claim.month}")


def reserve(connection: Connection, key: JobKey, decision_id: int, claim: Claim, now: datetime) -> None:
    """Writes down what this placement may take; what an earlier one of the same job left over is freed.

    Raises `BudgetTaken` when others have taken so much meanwhile that it does not fit any more.
    """
    close_ended(connection, of_job(key), now)
    if claim.standing:
        taken = taken_by_project(connection, claim.month, claim.project, without=key)
        if not claim.holds(taken.get(claim.project, Taken())):
            raise BudgetTaken(f"what {claim.standing.name} had left has been taken meanwhile")
    connection.execute(
        insert(RESERVED).values(
            decision_id=decision_id,
            project=claim.project,
            month=claim.month,
            usd=claim.cost.usd,
            core_h=claim.cost.core_h,
            reserved_at=None if claim.over else now,
            used_usd=0.0,
            used_core_h=0.0,
        )
    )
    if claim.over:
        asked = {"decision_id": decision_id, "why": claim.over, "asked_at": now}
        connection.execute(insert(APPROVALS).values(asked))


def require_left(connection: Connection, job: Job, decision_id: int | None) -> None:
    """What an attempt used that has ended is gone: raises `BudgetSpent` unless the most is there once more.

    What a person has approved was for the first one. The first attempt took what it needs as it was placed.
    """
    mine = RESERVED.c.decision_id == decision_id
    if job.within is None or not connection.scalar(select(_HAS_RUN).where(mine)):
        return
    reserved = connection.execute(select(RESERVED).where(mine)).one()
    cost = Amount(reserved.usd, reserved.core_h)
    one_budget_at_a_time(connection, Claim(reserved.project, reserved.month, cost))
    measure(connection, mine)
    taken = taken_by_project(connection, reserved.month, reserved.project, without=job.key)
    standing = Standing(reserved.project, reserved.month, job.within, taken.get(reserved.project, Taken()))
    if why := standing.why_not(cost):
        raise BudgetSpent(f"{why}: clear choose_cluster, which looks for what the budget allows")


def reopen(connection: Connection, decision_id: int | None) -> None:
    """Another attempt begins under the same placement: its most counts again, beside what is used."""
    mine = RESERVED.c.decision_id == decision_id
    again = {"closed_at": case((_REFUSED, RESERVED.c.closed_at), else_=None), **_USED}
    connection.execute(update(RESERVED).where(mine).values(again))


def close_ended(connection: Connection, which: ColumnElement[bool], now: datetime) -> int:
    """Closes those of ``which`` that no open job needs; gives how many."""
    ended = and_(RESERVED.c.closed_at.is_(None), which, NO_OPEN_JOB)
    return connection.execute(update(RESERVED).where(ended).values(closed_at=now, **_USED)).rowcount


def measure(connection: Connection, which: ColumnElement[bool]) -> None:
    """Adds up once more what they used, by what the accounting says now."""
    connection.execute(update(RESERVED).where(which).values(_USED))


def same_job(key: JobKey) -> ColumnElement[bool]:
    """Every placement of this job."""
    return and_(
        DECISIONS.c.dag_id == key.dag_id,
        DECISIONS.c.run_id == key.run_id,
        DECISIONS.c.group_id == key.group,
        DECISIONS.c.map_index == key.map_index,
    )


def of_job(key: JobKey) -> ColumnElement[bool]:
    """What is reserved by any placement of this job."""
    return RESERVED.c.decision_id.in_(select(DECISIONS.c.id).where(same_job(key)))


def _ours(month: str, project: str | None, without: JobKey | None) -> Select[Any]:
    holds = _HOLDS if without is None else and_(_HOLDS, ~of_job(without))
    sums = [
        *(func.sum(RESERVED.c[name]) for name in ("used_usd", "used_core_h")),
        *(func.sum(case((holds, RESERVED.c[name]), else_=0.0)) for name in ("usd", "core_h")),
    ]
    where = [RESERVED.c.month == month, *_of(project, RESERVED.c.project)]
    return select(RESERVED.c.project, *sums).where(*where).group_by(RESERVED.c.project)


def _others(month: str, project: str | None) -> Select[Any]:
    span = month_window(month)
    submitted = and_(USAGE.c.submitted_at >= span.since, USAGE.c.submitted_at < span.until)
    lately = or_(USAGE.c.ended_at >= span.since, USAGE.c.ended_at.is_(None))  # there is an index for that
    where = [USAGE.c.token == "", submitted, lately, *_of(project, USAGE.c.project)]
    return (
        select(USAGE.c.project, func.sum(USAGE.c.cost_usd), func.sum(_CORE_H))
        .where(*where)
        .group_by(USAGE.c.project)
    )


def _of(project: str | None, column: ColumnElement[str]) -> list[ColumnElement[bool]]:
    return [] if project is None else [column == project]
