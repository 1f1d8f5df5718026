"""Open jobs for a page: how many are where, and the newest of them, however many there are."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, select

from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger.database import Database
from hybrid_hpc.ledger.jobs import COLUMNS, JOBS, OPEN
from hybrid_hpc.ledger.rows import JobRow


@dataclass(frozen=True, slots=True)
class OpenCount:
    """How many open jobs of one DAG are in one state on one cluster; ``recorded``: with a native id."""

    dag_id: str
    cluster: str
    state: JobState
    recorded: bool
    jobs: int


class OverviewQueries(Database):
    """Every method is one transaction."""

    def open_counts(self, submitted_by: str = "") -> list[OpenCount]:
        """Every open job is counted once; with ``submitted_by`` only this person's."""
        recorded = JOBS.c.native_id.is_not(None)
        of = [JOBS.c.dag_id, JOBS.c.cluster, JOBS.c.state, recorded]
        counted = [*of[:3], recorded.label("recorded"), func.count().label("jobs")]
        statement = select(*counted).where(OPEN, *_of_person(submitted_by)).group_by(*of)
        with self._transaction() as connection:
            return [OpenCount(**row) for row in connection.execute(statement).mappings()]

    def newest_open_jobs(self, dag_ids: Collection[str], limit: int, submitted_by: str = "") -> list[JobRow]:
        """The newest open jobs of these DAGs, and of this person, at most ``limit``, the newest first."""
        if not dag_ids:
            return []
        wanted = and_(OPEN, JOBS.c.dag_id.in_(sorted(dag_ids)), *_of_person(submitted_by))
        statement = select(*COLUMNS).where(wanted).order_by(JOBS.c.id.desc()).limit(limit)
        with self._transaction() as connection:
            return [JobRow(**row) for row in connection.execute(statement).mappings()]


def _of_person(submitted_by: str) -> list[ColumnElement[bool]]:
    return [JOBS.c.submitted_by == submitted_by] if submitted_by else []
