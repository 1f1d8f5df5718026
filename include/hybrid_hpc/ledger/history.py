"""Jobs that have ended, page by page, however many there are; and which DAGs jobs are of."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, or_, select

from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger.database import Database
from hybrid_hpc.ledger.jobs import COLUMNS, JOBS
from hybrid_hpc.ledger.rows import JobRow
from hybrid_hpc.ledger.search import searched

_AFTER_ALL = "\U0010ffff"  # in the bytes' order after every text that begins with what is before it


@dataclass(frozen=True, slots=True)
class JobSearch:
    """Which ended jobs are wanted; '' and None: all. ``text``: a token, or the beginning of a name."""

    text: str = ""
    project: str = ""
    outcome: JobState | None = None
    submitted_by: str = ""


class HistoryQueries(Database):
    """Every method is one transaction."""

    def ended_jobs(
        self, dag_ids: Collection[str], search: JobSearch, *, limit: int, before: str = ""
    ) -> list[JobRow]:
        """The newest settled jobs of these DAGs, at most ``limit``; those before the token ``before``."""
        if not dag_ids:
            return []
        wanted = [JOBS.c.settled_at.is_not(None), JOBS.c.dag_id.in_(sorted(dag_ids)), *_conditions(search)]
        if before:
            wanted.append(JOBS.c.id < select(JOBS.c.id).where(JOBS.c.token == before).scalar_subquery())
        statement = select(*COLUMNS).where(*wanted).order_by(JOBS.c.id.desc()).limit(limit)
        with self._transaction() as connection:
            return [JobRow(**row) for row in connection.execute(statement).mappings()]

    def jobs_of_run(self, dag_id: str, run_id: str) -> list[JobRow]:
        """Every attempt at every job of one run, the oldest first."""
        of_run = and_(JOBS.c.dag_id == dag_id, JOBS.c.run_id == run_id)
        statement = select(*COLUMNS).where(of_run).order_by(JOBS.c.id)
        with self._transaction() as connection:
            return [JobRow(**row) for row in connection.execute(statement).mappings()]

    def dag_ids(self) -> list[str]:
        """Every DAG that there is a job of, by one look into an index for each."""
        least = func.min(JOBS.c.dag_id)
        first = select(least.label("dag_id")).cte("dags", recursive=True)
        following = select(least).where(JOBS.c.dag_id > first.c.dag_id).scalar_subquery()
        dags = first.union_all(select(following).where(first.c.dag_id.is_not(None)))
        with self._transaction() as connection:
            return list(connection.scalars(select(dags.c.dag_id).where(dags.c.dag_id.is_not(None))))


def _conditions(search: JobSearch) -> list[ColumnElement[bool]]:
    """Each is answered by an index of its own."""
    name, project, person = searched(search.text).lower(), searched(search.project), search.submitted_by
    begins = and_(JOBS.c.search_name >= name, JOBS.c.search_name < name + _AFTER_ALL)
    wanted = [
        (search.text, or_(begins, JOBS.c.token == search.text)),
        (search.project, JOBS.c.search_project == project),
        (search.outcome, JOBS.c.outcome == search.outcome),
        (search.submitted_by, JOBS.c.search_person == searched(person)),
    ]
    return [condition for value, condition in wanted if value]
