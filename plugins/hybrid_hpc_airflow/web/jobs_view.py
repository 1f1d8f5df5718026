"""Jobs that have ended, a page of them, and the jobs of one run (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlencode

from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger.rows import JobRow
from hybrid_hpc_airflow.web.views import JobView, View, Whose

OUTCOMES = tuple(state for state in JobState if state.final)


class EndedJobView(View):
    """One job that is settled."""

    job: JobView
    settled_at: datetime
    ran_s: float | None  # None: it never started

    @classmethod
    def of(cls, row: JobRow) -> EndedJobView:
        """The view of a settled row."""
        ran = (row.ended_at - row.started_at).total_seconds() if row.started_at and row.ended_at else None
        return cls(job=JobView.of(row), settled_at=row.settled_at or row.intent_at, ran_s=ran)


class SearchView(View):
    """What is looked for, as it stands in the address."""

    q: str = ""
    project: str = ""
    state: JobState | None = None
    whose: Whose

    def query(self, **others: str) -> str:
        """The same as an address's query, with ``others`` in the place of what it says."""
        said = {"q": self.q, "project": self.project, "state": self.state.value if self.state else ""}
        said = {**said, "whose": self.whose.word, **others}
        return "?" + urlencode({name: value for name, value in said.items() if value})

    @property
    def narrow(self) -> bool:
        """True when something is asked for that not every job meets."""
        return bool(self.q or self.project or self.state)


class EndedJobsPage(View):
    """The newest of them; ``next_query`` leads to older ones, '' when there are none."""

    now: datetime
    search: SearchView
    jobs: tuple[EndedJobView, ...]
    next_query: str
    first: bool  # nothing newer was left out


class RunPage(View):
    """The jobs of one DAG run; of each job the newest attempt."""

    now: datetime
    dag_id: str
    run_id: str
    jobs: tuple[JobView, ...]

    def only(self, group: str | None, map_index: int) -> JobView | None:
        """The run's only job, or that of a task group; None where it has several, or none."""
        named = [
            job for job in self.jobs if group is None or (job.group_id, job.map_index) == (group, map_index)
        ]
        return named[0] if len(named) == 1 else None


def ended_page(
    rows: Sequence[JobRow], search: SearchView, before: str, limit: int, now: datetime
) -> EndedJobsPage:
    """The page, of ``limit`` jobs and one more when there are more."""
    shown = rows[:limit]
    more = search.query(before=shown[-1].token) if len(rows) > limit else ""
    return EndedJobsPage(
        now=now,
        search=search,
        jobs=tuple(map(EndedJobView.of, shown)),
        next_query=more,
        first=not before,
    )


def newest_attempts(rows: Sequence[JobRow]) -> list[JobRow]:
    """Of every job the last of its rows, in the order in which the jobs were first asked for."""
    newest: dict[tuple[str, int], JobRow] = {}
    for row in rows:
        newest[row.group_id, row.map_index] = row
    return list(newest.values())
